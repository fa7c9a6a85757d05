// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct JobsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "jobs", abstract: "Stored jobs: create, look, run, pause, change, delete.",
    discussion: """
      EXAMPLES
        platform jobs create platform.yml
        platform jobs run "refresh assistant" --param day=2026-01-31 --watch
        platform jobs list
      """,
    subcommands: [List.self, Get.self, Create.self, Reset.self, Run.self, Pause.self, Resume.self, Permissions.self, Delete.self])

  /// The number of a job that is named by its number or its name.
  static func number(_ job: String, _ client: PlatformClient) async throws -> Int64 {
    if let number = Int64(job) { return number }
    return try await numberOfName(job, client)
  }

  /// - Throws: `notFound` PLT-4200, `conflict` PLT-4220.
  static func numberOfName(_ job: String, _ client: PlatformClient) async throws -> Int64 {
    let page: JSONValue = try await client.get("/api/2.2/jobs/list?limit=100&name=\(segment(job))")
    let found = (page["jobs"]?.arrayValue ?? []).compactMap { $0["job_id"]?.intValue }
    guard let first = found.first else {
      throw PlatformError(.notFound, "there is no job '\(job)'", hint: "List them with 'platform jobs list'.", number: "PLT-4200")
    }
    guard found.count == 1 else {
      throw PlatformError(
        .conflict, "\(found.count) jobs are named '\(job)'", hint: "Give the number of one: \(found.map(String.init).joined(separator: ", ")).",
        number: "PLT-4220")
    }
    return Int64(first)
  }

  fileprivate static func date(_ value: JSONValue?) -> String {
    value?.intValue.map { Report.ago(Date(timeIntervalSince1970: Double($0) / 1000)) } ?? "-"
  }

  /// When it starts by itself.
  fileprivate static func next(_ job: JSONValue) -> String {
    if let time = job["next_run_time"]?.intValue {
      return Date(timeIntervalSince1970: Double(time) / 1000).formatted(.iso8601)
    }
    let settings = job["settings"] ?? .null
    return ["schedule", "trigger", "continuous"].contains { settings[$0]?["pause_status"]?.stringValue == "PAUSED" } ? "paused" : "-"
  }

  /// - Throws: `invalidArgument` PLT-4231 for a job that has nothing to pause.
  fileprivate static func setPause(_ job: String, _ status: String, _ options: ClientOptions) async throws {
    let client = try options.client()
    let number = try await number(job, client)
    let info: JSONValue = try await client.get("/api/2.2/jobs/get?job_id=\(number)")
    guard let key = ["schedule", "trigger", "continuous"].first(where: { info["settings"]?[$0]?.objectValue != nil }),
      var members = info["settings"]?[key]?.objectValue
    else {
      throw PlatformError(
        .invalidArgument, "job \(number) has no schedule and no trigger", hint: "Give it one in its file: 'platform jobs reset \(number) FILE'.",
        number: "PLT-4231")
    }
    members["pause_status"] = .string(status)
    let body: JSONValue = ["job_id": .integer(number), "new_settings": .object([key: .object(members)])]
    let answer: JSONValue = try await client.post("/api/2.2/jobs/update", body)
    if options.output.isStructured { return try Report.structured(answer, options.output) }
    let after: JSONValue = try await client.get("/api/2.2/jobs/get?job_id=\(number)")
    Report.note(status == "PAUSED" ? "job \(number) is paused" : "job \(number) starts next at \(next(after))")
  }

  struct Pause: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a job's schedule or trigger rest; it can still be run.")
    @Argument(help: "Number or name.") var job: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try await JobsCommand.setPause(job, "PAUSED", options) }
  }

  struct Resume: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Let a job's schedule or trigger go on; times that passed meanwhile are left out.")
    @Argument(help: "Number or name.") var job: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try await JobsCommand.setPause(job, "UNPAUSED", options) }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Jobs, newest first.")
    @Option(help: "How many.") var limit: Int = 25
    @Option(help: "Only those of this name.") var name: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard (1...100).contains(limit) else { throw PlatformError(.invalidArgument, "--limit must be 1 to 100", number: "PLT-4217") }
      var path = "/api/2.2/jobs/list?limit=\(limit)"
      if let name { path += "&name=\(segment(name))" }
      let page: JSONValue = try await options.client().get(path)
      if options.output.isStructured { return try Report.structured(page, options.output) }
      let jobs = page["jobs"]?.arrayValue ?? []
      guard !jobs.isEmpty else { return Report.note("No jobs\(name.map { " named '\($0)'" } ?? " yet").  Next: platform jobs create FILE") }
      Report.table(
        ["JOB", "NAME", "CREATOR", "CREATED", "NEXT"],
        jobs.map { job in
          [
            job["job_id"]?.intValue.map { String($0) } ?? "-", job["settings"]?["name"]?.stringValue ?? "-",
            job["creator_user_name"]?.stringValue ?? "-", JobsCommand.date(job["created_time"]),
            JobsCommand.next(job),
          ]
        })
      if page["has_more"]?.boolValue == true { Report.note("There are more: --limit, or -o json for next_page_token.") }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One job with its tasks and settings.")
    @Argument(help: "Number or name.") var job: String
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let info: JSONValue = try await client.get("/api/2.2/jobs/get?job_id=\(try await JobsCommand.number(job, client))")
      if options.output.isStructured { return try Report.structured(info, options.output) }
      let settings = info["settings"] ?? .null
      Report.data(
        "\(settings["name"]?.stringValue ?? "-")  job \(info["job_id"]?.intValue ?? 0)  by \(info["creator_user_name"]?.stringValue ?? "-")"
          + "  \(JobsCommand.date(info["created_time"]))")
      for parameter in settings["parameters"]?.arrayValue ?? [] {
        Report.data("  parameter \(parameter["name"]?.stringValue ?? "-") = \(parameter["default"]?.stringValue ?? "")")
      }
      Report.table(
        ["TASK", "KIND", "AFTER", "RUN IF"],
        (settings["tasks"]?.arrayValue ?? []).map { task in
          let kind = task.objectValue?.keys.sorted().first { $0.hasSuffix("_task") } ?? "-"
          let after = (task["depends_on"]?.arrayValue ?? []).map { one in
            (one["task_key"]?.stringValue ?? "-") + (one["outcome"].map { "=\($0.stringValue ?? $0.sortedText)" } ?? "")
          }
          return [
            task["task_key"]?.stringValue ?? "-", String(kind.dropLast("_task".count)), after.isEmpty ? "-" : after.joined(separator: " "),
            task["run_if"]?.stringValue ?? "ALL_SUCCESS",
          ]
        })
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Store the job of a workflow file, or of JSON settings.",
      discussion: """
        EXAMPLES
          platform jobs create platform.yml --job refresh
          platform jobs create settings.json
        """)
    @Argument(help: "YAML file with a resources.jobs entry, or a .json file with a job's settings.") var file: String
    @Option(help: "Which job of the file, when it has several.") var job: String?
    @Option(name: .long, help: "Value of a variable: NAME=VALUE. May be repeated.") var param: [String] = []
    @OptionGroup var options: ClientOptions

    func run() async throws { try await JobsCommand.store(file, job: job, param: param, replacing: nil, options) }
  }

  struct Reset: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Replace a job's settings; runs that are under way keep theirs.")
    @Argument(help: "Number or name of the stored job.") var stored: String
    @Argument(help: "YAML file with a resources.jobs entry, or a .json file with a job's settings.") var file: String
    @Option(help: "Which job of the file, when it has several.") var job: String?
    @Option(name: .long, help: "Value of a variable: NAME=VALUE. May be repeated.") var param: [String] = []
    @OptionGroup var options: ClientOptions

    func run() async throws { try await JobsCommand.store(file, job: job, param: param, replacing: stored, options) }
  }

  fileprivate static func store(_ file: String, job: String?, param: [String], replacing stored: String?, _ options: ClientOptions) async throws {
    let client = try options.client()
    let number = stored == nil ? nil : try await number(stored ?? "", client)
    let text = try Workflows.text(of: file)
    let answer: JSONValue
    if file.hasSuffix(".json") {
      let settings = try JSONValue(parsing: text)
      if let number {
        _ = try await client.post("/api/2.2/jobs/reset", JSONValue.object(["job_id": .integer(number), "new_settings": settings]), as: JSONValue.self)
        answer = ["job_id": .integer(number)]
      } else {
        answer = try await client.post("/api/2.2/jobs/create", settings)
      }
    } else {
      let request = SubmitFileRequest(
        file: file, text: text, attachments: Workflows.attachments(text, beside: file), job: job, parameters: try Workflows.parameters(param))
      answer = try await client.post(number.map { "/api/2.2/jobs/reset-file?job_id=\($0)" } ?? "/api/2.2/jobs/create-file", request)
    }
    for warning in answer["warnings"]?.arrayValue ?? [] { Report.note("! \(warning.stringValue ?? "")") }
    if options.output.isStructured { return try Report.structured(answer, options.output) }
    let id = answer["job_id"]?.intValue ?? 0
    Report.data("\(id)")
    Report.note("  Next  platform jobs run \(id) --watch")
  }

  struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Start a run of a job.",
      discussion: """
        EXAMPLES
          platform jobs run 7 --watch
          platform jobs run refresh --param day=2026-01-31 --only +report
        """)
    @Argument(help: "Number or name.") var job: String
    @Option(name: .long, help: "Value of a job parameter: NAME=VALUE. May be repeated.") var param: [String] = []
    @Option(name: .long, help: "Only this task; +TASK also what comes before it, TASK+ what comes after it. May be repeated.") var only: [String] = []
    @Option(help: "The same token starts once: a second call returns the first run.") var idempotencyToken: String?
    @Flag(help: "Show progress until the run ends; the exit code tells how it ended.") var watch = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      var body: [String: JSONValue] = ["job_id": .integer(try await JobsCommand.number(job, client))]
      let parameters = try Workflows.parameters(param)
      if !parameters.isEmpty { body["job_parameters"] = .object(parameters.mapValues { .string($0) }) }
      if !only.isEmpty { body["only"] = .array(only.map { .string($0) }) }
      if let idempotencyToken { body["idempotency_token"] = .string(idempotencyToken) }
      let answer: JSONValue = try await client.post("/api/2.2/jobs/run-now", JSONValue.object(body))
      let run = String(answer["run_id"]?.intValue ?? 0)
      if watch { return try await RunWatcher(client: client, output: options.output).watch(run) }
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      Report.data(run)
      Report.note("  Next  platform runs watch \(run)")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Delete a job; its runs stay.")
    @Argument(help: "Number or name.") var job: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let number = try await JobsCommand.number(job, client)
      try Confirmation.require("\(number)", toDelete: "job \(number)", yes: yes)
      let answer: JSONValue = try await client.post("/api/2.2/jobs/delete", ["job_id": number])
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      Report.note("job \(number) is deleted")
    }
  }
}

/// What `runs` can do with runs of stored jobs, and with all others.
extension RunsCommand {
  struct Repair: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run tasks of an ended run again; what succeeded stays.",
      discussion: """
        EXAMPLES
          platform runs repair 42                   what failed, and what was skipped because of it
          platform runs repair 42 --from train      this task and everything after it
          platform runs repair 42 --task judge      this task alone
        """)
    @Argument var run: String
    @Option(name: .long, help: "This task. May be repeated.") var task: [String] = []
    @Option(name: .long, help: "This task and all that come after it. May be repeated.") var from: [String] = []
    @Flag(help: "Show progress until the run ends; the exit code tells how it ended.") var watch = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard task.isEmpty || from.isEmpty else { throw PlatformError(.invalidArgument, "--task and --from exclude each other", number: "PLT-4213") }
      guard let number = Int64(run) else { throw PlatformError(.invalidArgument, "'\(run)' is no number of a run", number: "PLT-4217") }
      let client = try options.client()
      let info: JSONValue = try await client.get("/api/2.2/jobs/runs/get?run_id=\(number)&include_history=true")
      var body: [String: JSONValue] = ["run_id": .integer(number)]
      if task.isEmpty && from.isEmpty {
        body["rerun_all_failed_tasks"] = true
      } else {
        body["rerun_tasks"] = .array((task + from).map { .string($0) })
        body["rerun_dependent_tasks"] = .bool(!from.isEmpty)
      }
      if let last = info["repair_history"]?.arrayValue?.last?["id"] { body["latest_repair_id"] = last }
      let answer: JSONValue = try await client.post("/api/2.2/jobs/runs/repair", JSONValue.object(body))
      if watch { return try await RunWatcher(client: client, output: options.output).watch(run) }
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      Report.data(run)
      Report.note("  Next  platform runs watch \(run)")
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Write what each task printed as a page, into a folder.")
    @Argument var run: String
    @Option(help: "The folder; made when it is not there.") var into: String = "."
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let answer: JSONValue = try await options.client().get("/api/2.2/jobs/runs/export?run_id=\(segment(run))")
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      try FileManager.default.createDirectory(atPath: into, withIntermediateDirectories: true)
      for view in answer["views"]?.arrayValue ?? [] {
        let name = (view["name"]?.stringValue ?? "task").map { $0.isLetter || $0.isNumber || "_-".contains($0) ? $0 : "_" }
        let path = "\(into)/run-\(segment(run))-\(String(name)).html"
        try Data((view["content"]?.stringValue ?? "").utf8).write(to: URL(fileURLWithPath: path))
        Report.data(path)
      }
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove an ended run from all lists.")
    @Argument var run: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard let number = Int64(run) else { throw PlatformError(.invalidArgument, "'\(run)' is no number of a run", number: "PLT-4217") }
      try Confirmation.require("\(number)", toDelete: "run \(number)", yes: yes)
      let answer: JSONValue = try await options.client().post("/api/2.2/jobs/runs/delete", ["run_id": number])
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      Report.note("run \(number) is deleted")
    }
  }
}
