// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Workspace

/// Options of every command about a project.
struct ProjectOptions: ParsableArguments {
  @Option(name: .shortAndLong, help: "Which target. Default: PLATFORM_TARGET, or the one that the project says.")
  var target: String?
  @Option(name: .customLong("var"), help: "Value of a variable of the project: NAME=VALUE. May be repeated.")
  var variables: [String] = []
  @Option(name: .long, help: "Folder of the project. Default: this one, or the nearest above it that has a project file.")
  var project: String?
  @OptionGroup var client: ClientOptions

  var output: OutputFormat { client.output }

  func context() throws -> ProjectContext {
    let environment = ProcessInfo.processInfo.environment
    func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
    var context = ProjectContext(target: target ?? given("PLATFORM_TARGET") ?? given("DATABRICKS_BUNDLE_TARGET"))
    context.environment = environment
    for pair in variables {
      guard let equals = pair.firstIndex(of: "=") else {
        throw PlatformError(.invalidArgument, "--var \(pair) has no '='", hint: "Write --var NAME=VALUE.")
      }
      context.variables[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
    }
    return context
  }
}

/// A project on this machine.
struct LocalProject {
  var folder: String
  /// The name of its main file.
  var file: String

  /// - Throws: `notFound` PLT-4270.
  static func find(_ given: String?) throws -> LocalProject {
    let start = URL(fileURLWithPath: given ?? FileManager.default.currentDirectoryPath).standardizedFileURL.path
    var folder = start
    while true {
      for name in Project.fileNames where FileManager.default.fileExists(atPath: folder + "/" + name) { return LocalProject(folder: folder, file: name) }
      if given != nil || folder == "/" { break }
      folder = (folder as NSString).deletingLastPathComponent
    }
    throw PlatformError(
      .notFound, "there is no platform.yml or databricks.yml in \(start)\(given == nil ? " or above it" : "")", hint: "Make one with 'platform init NAME'.",
      number: "PLT-4270")
  }

  func read(_ context: ProjectContext) -> ProjectReading {
    var context = context
    context.git = git
    return Project.read(file, .local(folder), context)
  }

  /// As this shell would name the file.
  func shown(_ path: String) -> String {
    let whole = folder == "/" ? "/" + path : folder + "/" + path
    let here = FileManager.default.currentDirectoryPath + "/"
    return whole.hasPrefix(here) ? String(whole.dropFirst(here.count)) : whole
  }

  /// What is checked out, when the project lies in a repository.
  private var git: ProjectContext.GitFacts {
    var place = folder
    while !FileManager.default.fileExists(atPath: place + "/.git/HEAD") {
      if place == "/" { return ProjectContext.GitFacts() }
      place = (place as NSString).deletingLastPathComponent
    }
    func text(_ path: String) -> String? {
      FileManager.default.contents(atPath: "\(place)/.git/\(path)").map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
    }
    guard let head = text("HEAD") else { return ProjectContext.GitFacts() }
    guard head.hasPrefix("ref: ") else { return ProjectContext.GitFacts(commit: head) }
    let reference = String(head.dropFirst("ref: ".count))
    let branch = reference.hasPrefix("refs/heads/") ? String(reference.dropFirst("refs/heads/".count)) : reference
    return ProjectContext.GitFacts(branch: branch, commit: reference.contains("..") ? nil : text(reference))
  }
}

/// A project that was read for somebody, and the cluster that it is for.
struct ProjectSession {
  var local: LocalProject
  var reading: ProjectReading
  var client: PlatformClient

  /// Reads the project and asks the cluster who is deploying.
  /// - Throws: `ExitCode` 65 after it has reported what is wrong with the files; PLT-4270; `unavailable` when no cluster is known.
  static func open(_ options: ProjectOptions) async throws -> ProjectSession {
    let local = try LocalProject.find(options.project)
    var context = try options.context()
    // Where it is deployed may be in the file, who deploys is known there.
    let first = local.read(context)
    guard let identity = first.identity else {
      try ProjectReport.problems(first, local, options.output)
      throw ExitCode(ExitCodes.of(.invalidFile))
    }
    var target = options.client
    let environment = ProcessInfo.processInfo.environment
    if target.host == nil, (environment["PLATFORM_HOST"] ?? "").isEmpty, let host = identity.host { target.host = host }
    let client = try target.client()
    context.host = client.host
    context.user = try await user(client)
    return ProjectSession(local: local, reading: local.read(context), client: client)
  }

  static func user(_ client: PlatformClient) async throws -> String {
    let me: JSONValue = try await client.get("/api/2.0/preview/scim/v2/Me")
    return me["userName"]?.stringValue ?? ""
  }

  /// - Throws: `ExitCode` 65 after it has reported what is wrong.
  func valid(_ output: OutputFormat) throws -> Project {
    try ProjectReport.problems(reading, local, output)
    guard let project = reading.project else { throw ExitCode(ExitCodes.of(.invalidFile)) }
    return project
  }

  /// Does something for the project; what the cluster refuses has its place in a file as this shell names it.
  func placing<T>(_ body: () async throws -> T) async throws -> T {
    do {
      return try await body()
    } catch let error as PlatformError where error.path != nil {
      var error = error
      error.path = error.path.map(local.shown)
      throw error
    }
  }

  /// Which deployment is meant, also when other parts of the files have errors.
  func identity(_ output: OutputFormat) throws -> Project.Identity {
    if let identity = reading.identity { return identity }
    try ProjectReport.problems(reading, local, output)
    throw ExitCode(ExitCodes.of(.invalidFile))
  }
}

/// Errors and warnings of a project's files.
enum ProjectReport {
  /// - Throws: `ExitCode` 65 when there are errors, or warnings that count as such.
  static func problems(_ reading: ProjectReading, _ local: LocalProject, _ output: OutputFormat, isStrict: Bool = false) throws {
    let errors = reading.errors.map { error in
      var error = error
      error.path = error.path.map(local.shown)
      return error
    }
    let isRefused = !errors.isEmpty || (isStrict && !reading.warnings.isEmpty)
    if output == .json && isRefused {
      Report.note(object(errors, reading.warnings, local).sortedText)
    } else {
      for warning in reading.warnings { Report.note("! \(local.shown(warning.path)):\(warning.line)  \(warning.message)") }
      for error in errors { Report.failure(error, json: false) }
      if isRefused {
        Report.note("\(Report.cross) \(count(errors.count, "error")), \(count(reading.warnings.count, "warning"))\(errors.isEmpty ? " (--strict)" : "")")
      }
    }
    annotate(errors, reading.warnings, local)
    if isRefused { throw ExitCode(ExitCodes.of(.invalidFile)) }
  }

  static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  private static func object(_ errors: [PlatformError], _ warnings: [ProjectReading.Warning], _ local: LocalProject) -> JSONValue {
    func error(_ one: PlatformError) -> [String: JSONValue] {
      [
        "error_code": "INVALID_PARAMETER_VALUE", "code": .string(one.number), "message": .string(one.message), "hint": .string(one.hint),
        "path": one.path.map { .string($0) } ?? .null, "line": one.line.map { .integer(Int64($0)) } ?? .null, "retryable": false,
      ]
    }
    let strict = PlatformError(.invalidFile, "there are warnings, and --strict was given", number: "PLT-1202")
    var result = error(errors.first ?? strict)
    result["errors"] = .array(errors.map { .object(error($0)) })
    result["warnings"] = .array(
      warnings.map { ["message": .string($0.message), "path": .string(local.shown($0.path)), "line": .integer(Int64($0.line))] })
    return .object(result)
  }

  /// In GitHub Actions they show beside the lines of a change.
  private static func annotate(_ errors: [PlatformError], _ warnings: [ProjectReading.Warning], _ local: LocalProject) {
    let environment = ProcessInfo.processInfo.environment
    guard environment["GITHUB_ACTIONS"] == "true" else { return }
    let root = (environment["GITHUB_WORKSPACE"].map { $0.hasSuffix("/") ? $0 : $0 + "/" }) ?? ""
    func place(_ path: String) -> String {
      let whole = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
      return !root.isEmpty && whole.hasPrefix(root) ? String(whole.dropFirst(root.count)) : path
    }
    for error in errors {
      Report.note(
        annotation("error", place(error.path ?? local.file), error.line ?? 1, error.number, error.message + (error.hint.isEmpty ? "" : "\n" + error.hint)))
    }
    for warning in warnings { Report.note(annotation("warning", place(local.shown(warning.path)), warning.line, "", warning.message)) }
  }

  static func annotation(_ kind: String, _ path: String, _ line: Int, _ title: String, _ message: String) -> String {
    func text(_ text: String) -> String { text.replacing("%", with: "%25").replacing("\r", with: "%0D").replacing("\n", with: "%0A") }
    func property(_ value: String) -> String { text(value).replacing(":", with: "%3A").replacing(",", with: "%2C") }
    return "::\(kind) file=\(property(path)),line=\(line)\(title.isEmpty ? "" : ",title=\(property(title))")::\(text(message))"
  }
}
