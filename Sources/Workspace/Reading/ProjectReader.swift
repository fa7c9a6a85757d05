// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

extension Project {
  /// Names of project files, the first that is there counts.
  public static let fileNames = ["platform.yml", "platform.yaml", "databricks.yml", "databricks.yaml"]

  /// Reads the project whose main file is `file`. Does no input or output but through `files`.
  public static func read(_ file: String, _ files: ProjectFiles, _ context: ProjectContext) -> ProjectReading {
    var reader = ProjectReader(files: files, context: context)
    let project = reader.read(file)
    return reader.reading(project)
  }
}

/// Reads a project, step by step, and collects all that is wrong.
struct ProjectReader {
  let files: ProjectFiles
  let context: ProjectContext
  var sources = SourceMap()
  var identity: Project.Identity?
  var targets: [String] = []
  private var errors: [PlatformError] = []
  private var warnings: [(message: String, line: Int)] = []
  var lookups: [JobLookup] = []

  init(files: ProjectFiles, context: ProjectContext) {
    self.files = files
    self.context = context
  }

  var hasErrors: Bool { !errors.isEmpty }

  mutating func fail(_ number: String, _ line: Int, _ place: String, _ message: String, hint: String = "") {
    errors.append(PlatformError(.invalidFile, place.isEmpty ? message : "\(place): \(message)", hint: hint, number: number, line: line))
  }

  mutating func fail(_ error: PlatformError) { errors.append(error) }

  mutating func warn(_ line: Int, _ message: String) { warnings.append((message, line)) }

  mutating func ignore(_ place: String, _ line: Int, _ why: String = "") {
    warn(line, "'\(place)' is ignored" + (why.isEmpty ? "" : ": \(why)"))
  }

  mutating func unknown(_ key: String, _ line: Int, _ place: String, known: [String]) {
    let close = Spelling.suggestion(for: key, among: known)
    fail(
      "PLT-1202", line, place, "unknown key '\(key)'", hint: close.map { "Did you mean '\($0)'?" } ?? "Known here: \(known.sorted().joined(separator: ", ")).")
  }

  /// With files and lines, each once, in their order.
  func reading(_ project: Project?) -> ProjectReading {
    var result = ProjectReading(identity: identity, targets: targets)
    var seen: Set<String> = []
    let ordered = errors.enumerated().sorted { ($0.element.line ?? 0, $0.offset) < ($1.element.line ?? 0, $1.offset) }
    result.errors = ordered.map { $0.element.path == nil ? sources.located($0.element) : $0.element }
      .filter { seen.insert("\($0.path ?? "") \($0.line ?? 0) \($0.message)").inserted }
    let sorted = warnings.enumerated().sorted { ($0.element.line, $0.offset) < ($1.element.line, $1.offset) }
    result.warnings = sorted.map {
      ProjectReading.Warning(message: $0.element.message, path: sources.path($0.element.line), line: sources.line($0.element.line))
    }
    .filter { seen.insert("! \($0.path) \($0.line) \($0.message)").inserted }
    result.project = result.errors.isEmpty ? project : nil
    return result
  }

  // MARK: Files

  mutating func read(_ file: String) -> Project? {
    guard var root = load(file) else { return nil }
    checkKeys(root, ProjectKeys.top, "", except: ["resources"])
    guard root.members != nil else { return nil }
    var owners: [String: (place: String, line: Int)] = [:]
    noteResources(root, &owners)
    for path in included(root, except: file) {
      guard let part = load(path) else { continue }
      guard part.members != nil else {
        fail("PLT-1202", part.line, "", "must be a mapping")
        continue
      }
      checkKeys(part, ProjectKeys.top, "", except: ["resources"])
      if let nested = part.members?.first(where: { $0.key == "include" }) {
        ignore("include", nested.line, "only the project's main file includes others")
      }
      noteResources(part, &owners)
      do {
        root = try TreeMerge.merge(root, part.setting("include", nil), "")
      } catch { fail(error) }
    }
    return resolve(root)
  }

  private mutating func load(_ path: String) -> YAMLTree? {
    do {
      guard let text = try files.text(path) else {
        fail(PlatformError(.invalidFile, "there is no file '\(path)'", number: "PLT-1201", path: path, line: 1))
        return nil
      }
      return try sources.parse(text, path: path)
    } catch {
      fail(PlatformError.from(error))
      return nil
    }
  }

  /// Files that `include` names, each once, in the order of the patterns.
  private mutating func included(_ root: YAMLTree, except main: String) -> [String] {
    var found: [String] = []
    var seen: Set<String> = [main]
    for item in root["include"]?.items ?? [] {
      guard let text = item.scalar else { continue }
      guard !text.hasPrefix("/"), let pattern = IncludePattern(text) else {
        fail("PLT-4274", item.line, "include", "'\(text)' leads out of the project", hint: "Paths are relative to the project's folder.")
        continue
      }
      var matches = pattern.hasWildcards ? pattern.matches(in: files) : []
      // A plain path may lead through links.
      if !pattern.hasWildcards, let path = ProjectFiles.inside(text, from: "") { matches = [path] }
      if matches.isEmpty { warn(item.line, "'\(text)' of include matches no file") }
      for path in matches where seen.insert(path).inserted {
        guard [".yml", ".yaml", ".json"].contains(where: path.hasSuffix) else {
          fail("PLT-4274", item.line, "include", "'\(path)' is no YAML or JSON file", hint: "Files that tasks name need not be included.")
          continue
        }
        do {
          guard try files.text(path) != nil else {
            fail("PLT-4274", item.line, "include", "there is no file '\(path)'", hint: "Paths are relative to the project's folder.")
            continue
          }
        } catch {
          var error = PlatformError.from(error)
          (error.path, error.line) = (nil, item.line)
          fail(error)
          continue
        }
        found.append(path)
      }
    }
    return found
  }

  /// A key names one resource of the whole project, whatever its kind: `run KEY` has to know which.
  private mutating func noteResources(_ tree: YAMLTree, _ owners: inout [String: (place: String, line: Int)]) {
    for kind in tree["resources"]?.members ?? [] {
      for resource in kind.value.members ?? [] {
        let place = "resources.\(kind.key).\(resource.key)"
        if let first = owners[resource.key] {
          fail(
            "PLT-4275", resource.line, place, "the key '\(resource.key)' is used twice",
            hint: "First used in \(sources.path(first.line)):\(sources.line(first.line)) (\(first.place)).")
        } else {
          owners[resource.key] = (place, resource.line)
        }
      }
    }
  }
}
