// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct SubmitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "submit", abstract: "Submit a workflow file.",
    discussion: """
      EXAMPLES
        platform submit cluster/workflows/lifecycle.yml --watch
        platform submit etl.yml --param day=2026-01-01 --idempotency-key nightly-2026-01-01
      """)
  @Argument(help: "YAML file with a resources.jobs entry.") var file: String
  @Option(help: "Which job of the file, when it has several.") var job: String?
  @Option(name: .long, help: "Value of a variable: NAME=VALUE. May be repeated.") var param: [String] = []
  @Option(help: "The same key submits once: a second call returns the first run.") var idempotencyKey: String?
  @Flag(help: "Show progress until the run ends; the exit code tells how it ended.") var watch = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let client = try options.client()
    let submitted = try await Workflows.submit(
      client, file: file, job: job, parameters: try Workflows.parameters(param), idempotencyKey: idempotencyKey)
    for warning in submitted.warnings { Report.note("! \(warning)") }
    if !submitted.created { Report.note("run \(submitted.runID) already exists for this key") }
    guard watch else {
      if options.output.isStructured {
        try Report.structured(submitted, options.output)
      } else {
        Report.data("\(submitted.runID)")
        Report.note("  Next  platform runs watch \(submitted.runID)")
      }
      return
    }
    try await RunWatcher(client: client, output: options.output).watch(submitted.runID)
  }
}

enum Workflows {
  static func parameters(_ pairs: [String]) throws -> [String: String] {
    var result: [String: String] = [:]
    for pair in pairs {
      guard let equals = pair.firstIndex(of: "=") else {
        throw PlatformError(.invalidArgument, "--param \(pair) has no '='", hint: "Write --param NAME=VALUE.")
      }
      result[String(pair[..<equals])] = String(pair[pair.index(after: equals)...])
    }
    return result
  }

  static func submit(
    _ client: PlatformClient, file: String, job: String?, parameters: [String: String], idempotencyKey: String?
  ) async throws -> SubmitFileResponse {
    let text = try text(of: file)
    return try await client.post(
      "/api/2.2/jobs/runs/submit-file",
      SubmitFileRequest(
        file: file, text: text, attachments: attachments(text, beside: file), job: job, parameters: parameters,
        idempotencyKey: idempotencyKey))
  }

  /// - Throws: `notFound`, `invalidFile` PLT-1201.
  static func text(of file: String) throws -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: file, isDirectory: &isDirectory) else {
      throw PlatformError(.notFound, "no such file: \(file)", number: "PLT-1201")
    }
    guard !isDirectory.boolValue, let data = FileManager.default.contents(atPath: file) else {
      throw PlatformError(.invalidFile, "cannot read \(file)", number: "PLT-1201")
    }
    guard data.count <= 4 << 20, let text = String(data: data, encoding: .utf8) else {
      throw PlatformError(.invalidFile, "\(file) is not UTF-8 text of at most 4 MB", number: "PLT-1201")
    }
    return text
  }

  /// SQL and Python files, lists of requirements, wheels and notebooks beside the workflow that its text names: sent along, so that the server never opens a path of ours.
  static func attachments(_ text: String, beside file: String) -> [String: String] {
    let folder = (file as NSString).deletingLastPathComponent
    var found: [String: String] = [:]
    for word in text.split(whereSeparator: { " \t\n\"'{},[]".contains($0) })
    where [".sql", ".py", ".txt", ".whl", ".ipynb"].contains(where: { word.hasSuffix($0) }) && !word.contains("..") {
      let path = folder.isEmpty ? String(word) : folder + "/" + word
      if let data = FileManager.default.contents(atPath: path), data.count <= 1 << 20 {
        found[String(word)] = word.hasSuffix(".whl") ? "base64:" + data.base64EncodedString() : String(decoding: data, as: UTF8.self)
      }
    }
    return found
  }
}

struct RunsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "runs", abstract: "List, inspect, watch, cancel and repair runs.",
    subcommands: [List.self, Get.self, Watch.self, Logs.self, Cancel.self, Repair.self, Export.self, Artifacts.self, Delete.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs, newest first.")
    @Option(help: "How many.") var limit: Int = 20
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard (1...1000).contains(limit) else { throw PlatformError(.invalidArgument, "--limit must be 1 to 1000") }
      let page: RunList = try await options.client().get("/api/2.0/runs/list?limit=\(limit)")
      if options.output.isStructured { return try Report.structured(page, options.output) }
      guard !page.runs.isEmpty else { return Report.note("No runs yet.  Next: platform submit FILE --watch") }
      Report.table(
        ["RUN", "NAME", "STATE", "STARTED", "TOOK"],
        page.runs.map { run in
          let took = run.startedAt.map { Report.duration((run.endedAt ?? Date()).timeIntervalSince($0)) } ?? "-"
          return [run.runID, run.name, run.state, Report.ago(run.submittedAt), took]
        })
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One run with its tasks: where each ran, rows, seconds.")
    @Argument var run: String
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let info: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(run))")
      if options.output.isStructured { return try Report.structured(info, options.output) }
      RunPrinter.summary(info)
      try await RunPrinter.lossCurve(client, info)
    }
  }

  struct Watch: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Follow a run until it ends.")
    @Argument var run: String
    @OptionGroup var options: ClientOptions

    func run() async throws { try await RunWatcher(client: options.client(), output: options.output).watch(run) }
  }

  struct Logs: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Log lines of a run's tasks, kept for every attempt.")
    @Argument var run: String
    @Option(help: "Only this task.") var task: String?
    @Option(help: "Only this attempt.") var attempt: Int?
    @Flag(name: .shortAndLong, help: "Go on until the run ends.") var follow = false
    @Option(help: "Only lines that this regular expression matches.") var grep: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let filter = try LineFilter(grep)
      var after: Int64 = 0
      while true {
        let info: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(run))")
        var path = "/api/2.2/jobs/runs/logs?run_id=\(segment(run))&after=\(after)&limit=1000"
        if let task { path += "&task_key=\(segment(task))" }
        if let attempt { path += "&attempt=\(attempt)" }
        let page: LogPage = try await client.get(path)
        for line in page.lines {
          after = max(after, line.id)
          guard filter.takes(line.line) else { continue }
          if options.output == .json {
            let bytes = try JSONEncoder.platform.encode(line)
            Report.data(String(decoding: bytes, as: UTF8.self))
          } else {
            Report.data("\(line.taskKey)#\(line.attempt)  \(line.line)")
          }
        }
        if page.lines.count == 1000 { continue }
        if !follow || info.isFinished { return }
        try await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stop a run; what was committed stays.")
    @Argument var run: String
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let info: RunInfo = try await options.client().post("/api/2.0/runs/cancel", ["run_id": run])
      if options.output.isStructured { return try Report.structured(info, options.output) }
      Report.note(info.isFinished ? "run \(run) has already ended: \(info.state)" : "\(Report.check) cancelling run \(run)")
    }
  }
}
