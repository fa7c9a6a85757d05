// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Scheduling

/// Packages that tasks ask for: what is left of `environments` and `libraries` is lines for pip, and wheels with their hashes.
struct TaskPackages {
  var name = ""
  var requirements: [String] = []
  var wheels: [JSONValue] = []

  var isEmpty: Bool { requirements.isEmpty && wheels.isEmpty }

  mutating func add(_ other: TaskPackages) {
    requirements += other.requirements.filter { !requirements.contains($0) }
    wheels += other.wheels.filter { !wheels.contains($0) }
  }

  /// As the body of a task holds them: the shape of `PythonEnvironment`.
  var body: JSONValue { ["name": .string(name), "requirements": .array(requirements.map { .string($0) }), "wheels": .array(wheels)] }
}

extension WorkflowChecker {
  /// What is known of a wheel before it is read: that is later.
  static let wheelPrefix = (hash: "sha256:", data: "base64:")
  private static let lineLimit = 1_000

  /// `environments` of a job.
  mutating func readEnvironments(_ tree: YAMLTree, _ place: String) {
    guard !tree.isNull else { return }
    guard let items = tree.items else {
      return fail("PLT-1202", tree.line, place, "must be a list", hint: "environments: [ { environment_key: default, spec: { dependencies: [ six ] } } ]")
    }
    for (index, item) in items.enumerated() {
      let here = "\(place)[\(index)]"
      guard let members = map(item, here) else { continue }
      for member in members where !["environment_key", "spec"].contains(member.key) {
        unknown(member.key, member.line, here, known: ["environment_key", "spec"])
      }
      guard let key = item["environment_key"].flatMap({ text($0, here + ".environment_key") }), !key.isEmpty else {
        fail("PLT-1202", item.line, here, "'environment_key' is missing")
        continue
      }
      if environments[key] != nil { fail("PLT-1205", item.line, here, "environment_key '\(Self.short(key))' is used twice") }
      var packages = TaskPackages(name: key)
      if let spec = item["spec"], !spec.isNull { readSpec(spec, here + ".spec", into: &packages) }
      environments[key] = packages
    }
  }

  private mutating func readSpec(_ spec: YAMLTree, _ place: String, into packages: inout TaskPackages) {
    let known = ["client", "environment_version", "dependencies", "base_environment", "java_dependencies"]
    for member in map(spec, place) ?? [] where !member.value.isNull {
      let here = "\(place).\(member.key)"
      switch member.key {
      // The Python is the worker's, whatever version Databricks would take.
      case "client", "environment_version": _ = text(member.value, here)
      case "dependencies":
        guard let items = member.value.items else {
          fail("PLT-1202", member.line, here, "must be a list", hint: "dependencies: [ six, /Volumes/main/default/code/mine-1.0-py3-none-any.whl ]")
          continue
        }
        for (index, item) in items.enumerated() {
          guard let line = text(item, "\(here)[\(index)]") else { continue }
          requirement(line, item.line, "\(here)[\(index)]", into: &packages)
        }
      case "base_environment", "java_dependencies":
        if member.value.items?.isEmpty == true { continue }
        fail("PLT-1210", member.line, here, "'\(member.key)' is not built yet", hint: "Name what is needed in 'dependencies'.")
      default: unknown(member.key, member.line, place, known: known)
      }
    }
  }

  /// What a task that runs a person's Python needs, by its `environment_key` and `libraries`.
  mutating func packages(of tree: YAMLTree, _ place: String) -> TaskPackages {
    var packages = TaskPackages()
    if let value = tree["environment_key"], !value.isNull, let key = text(value, place + ".environment_key"), !key.isEmpty {
      if let found = environments[key] {
        packages = found
      } else {
        let keys = environments.keys.sorted()
        fail(
          "PLT-1205", value.line, place + ".environment_key", "there is no environment '\(Self.short(key))'",
          hint: Spelling.suggestion(for: key, among: keys).map { "Did you mean '\($0)'?" }
            ?? (keys.isEmpty ? "Declare it in 'environments' of the job." : "Environments: \(keys.joined(separator: ", "))."))
      }
    }
    guard let libraries = tree["libraries"], !libraries.isNull else { return packages }
    guard let items = libraries.items else {
      fail("PLT-1202", libraries.line, place + ".libraries", "must be a list", hint: "libraries: [ { pypi: { package: six } } ]")
      return packages
    }
    var own = TaskPackages(name: packages.name)
    for (index, item) in items.enumerated() { library(item, "\(place).libraries[\(index)]", into: &own) }
    packages.add(own)
    return packages
  }

  private mutating func library(_ item: YAMLTree, _ place: String, into packages: inout TaskPackages) {
    guard let members = map(item, place) else { return }
    for member in members where !member.value.isNull {
      let here = "\(place).\(member.key)"
      switch member.key {
      case "pypi":
        guard case .object(let fields)? = object(member.value, [.required("package", .text), .optional("repo", .text)], here) else { continue }
        if let repo = fields["repo"]?.stringValue { requirement("--extra-index-url \(repo)", member.line, here + ".repo", into: &packages) }
        if let package = fields["package"]?.stringValue { requirement(package, member.line, here + ".package", into: &packages) }
      case "whl":
        guard let path = text(member.value, here) else { continue }
        wheel(path, member.line, here, into: &packages)
      case "requirements":
        guard let path = text(member.value, here) else { continue }
        requirement("-r \(path)", member.line, here, into: &packages)
      case "jar", "egg", "maven", "cran": fail("PLT-1210", member.line, here, "libraries of this kind are not built", hint: "Use pypi, whl or requirements.")
      default: unknown(member.key, member.line, place, known: ["pypi", "whl", "requirements"])
      }
    }
  }

  // MARK: lines

  /// Options that say where packages come from and which are taken. Others would lead out of the environment, or to files of the worker.
  private static let options: Set<String> = [
    "-i", "--index-url", "--extra-index-url", "--no-index", "-f", "--find-links", "--pre", "--prefer-binary", "--only-binary", "--no-binary", "--trusted-host",
  ]

  /// One line as in a requirements file.
  mutating func requirement(_ raw: String, _ line: Int, _ place: String, into packages: inout TaskPackages, isInFile: Bool = false) {
    func bad(_ message: String, _ hint: String) { fail("PLT-4333", line, place, message, hint: hint) }
    let text = raw.trimmingCharacters(in: .whitespaces)
    if text.isEmpty || text.hasPrefix("#") { return }
    let shown = Self.short(text)
    guard text.utf8.count <= 2_000, packages.requirements.count < Self.lineLimit, !text.unicodeScalars.contains(where: { $0.value < 32 }) else {
      return bad("'\(shown)' is no requirement", "At most 1 000 lines of at most 2 000 bytes each.")
    }
    if text.hasPrefix("-") {
      let option = String(text.prefix { $0 != " " && $0 != "=" })
      if option == "-r" || option == "--requirement" {
        guard !isInFile else { return bad("a requirements file cannot name another", "Put its lines into one file.") }
        let path = text.dropFirst(option.count).trimmingCharacters(in: CharacterSet(charactersIn: " =\t"))
        for entry in (located(path, nil, line, place).flatMap { attached($0, line, place) } ?? "").split(whereSeparator: \.isNewline) {
          // A comment begins after a blank.
          let end = entry.firstRange(of: " #")?.lowerBound ?? entry.endIndex
          // Braces of the file are its own.
          requirement(Template.escape(String(entry[..<end])), line, place, into: &packages, isInFile: true)
        }
        return
      }
      guard Self.options.contains(option) else {
        return bad("'\(shown)' is not possible here", "Options: \(Self.options.sorted().joined(separator: ", ")), -r FILE.")
      }
      packages.requirements.append(text)
      return
    }
    let isPath = text.hasPrefix("/") || text.hasPrefix(".") || text.hasPrefix("dbfs:")
    if text.hasSuffix(".whl"), !text.contains("://"), !text.contains(" ") { return wheel(text, line, place, into: &packages) }
    guard !isPath, !text.hasPrefix("file:"), !text.contains("@ file:"), !text.contains("@file:") else {
      return bad("'\(shown)' is a path", "Of files there are wheels: /Volumes/CATALOG/SCHEMA/VOLUME/NAME.whl, or one beside the workflow file.")
    }
    guard let first = text.utf8.first, (48...57).contains(first) || (65...90).contains(first) || (97...122).contains(first) || text.hasPrefix("{{") else {
      return bad("'\(shown)' is no requirement", "As in a requirements file: six, six==1.17.0, 'six>=1.16,<2', name @ https://...")
    }
    packages.requirements.append(text)
  }

  /// A wheel in a volume, or one that was sent along.
  private mutating func wheel(_ path: String, _ line: Int, _ place: String, into packages: inout TaskPackages) {
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    let parts = name.dropLast(name.hasSuffix(".whl") ? 4 : 0).split(separator: "-", omittingEmptySubsequences: false)
    let isGood =
      name.hasSuffix(".whl") && (5...6).contains(parts.count) && !parts.contains("")
      && name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "._-+!".utf8.contains($0) }
    guard isGood, name.utf8.count <= 200 else {
      return fail("PLT-4333", line, place, "'\(Self.short(path))' is no wheel", hint: "Wheels are called name-version-py3-none-any.whl.")
    }
    guard !WorkspacePath.isOne(path) else {
      return fail("PLT-4333", line, place, "'\(Self.short(path))' is in the workspace", hint: "Wheels are in a volume, or beside the workflow file.")
    }
    guard let known = attached(path, line, place) else { return }
    // Settings that are stored: it is looked at when they run.
    if known.isEmpty, purpose == .definition { return }
    if known.hasPrefix(Self.wheelPrefix.hash) {
      let plain = path.hasPrefix("dbfs:") ? String(path.dropFirst("dbfs:".count)) : path
      let hash = String(known.dropFirst(Self.wheelPrefix.hash.count))
      packages.wheels.append(["name": .string(name), "path": .string(Template.escape(plain)), "sha256": .string(hash)])
    } else if known.hasPrefix(Self.wheelPrefix.data), let bytes = Data(base64Encoded: String(known.dropFirst(Self.wheelPrefix.data.count))) {
      packages.wheels.append(["name": .string(name), "data": .string(bytes.base64EncodedString()), "sha256": .string(SHA256Digest.hex(bytes))])
    } else {
      fail("PLT-4333", line, place, "'\(Self.short(path))' was not sent along as a wheel", hint: "Copy it into a volume: 'platform fs cp'.")
    }
  }
}
