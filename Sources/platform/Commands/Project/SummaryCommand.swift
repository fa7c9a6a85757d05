// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Workspace

struct SummaryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "summary", abstract: "What a project has deployed to a target.",
    discussion: """
      EXAMPLES
        platform summary
        platform summary -t prod -o json
      """)
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let session = try await ProjectSession.open(options)
    let identity = try session.identity(options.output)
    let info = try await ProjectDeployment(client: session.client, rootPath: identity.rootPath).info()
    if options.output.isStructured { return try Report.structured(info, options.output) }
    guard info.version > 0 else { return Report.note("\(identity.name) is not deployed to \(identity.target).  Next: platform deploy") }
    let when = Report.ago(Date(timeIntervalSince1970: Double(info.deployedAt) / 1000))
    Report.data(
      "\(identity.name)  \(identity.target)  \(info.rootPath)  \(info.state == "DEPLOYED" ? "deployed" : "cut short, deploy it again") \(when) by \(info.deployedBy)"
    )
    let order = ProjectResource.Kind.allCases.map(\.rawValue)
    let sorted = info.resources.sorted { a, b in
      let (x, y) = (order.firstIndex(of: a.kind) ?? order.count, order.firstIndex(of: b.kind) ?? order.count)
      return (x, a.key) < (y, b.key)
    }
    Report.table(
      ["KIND", "KEY", "ID", "NAME"],
      sorted.map { one in
        let name = one.settings?["name"]?.stringValue ?? (one.kind == ProjectResource.Kind.jobs.rawValue ? "deleted" : one.pending ? "not made yet" : one.id)
        return [ProjectResource.Kind(rawValue: one.kind)?.noun ?? one.kind, one.key, one.id, name]
      })
  }
}

struct RunKeyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Start a run of a deployed job by its key in the project.",
    discussion: """
      EXAMPLES
        platform run refresh --watch
        platform run refresh -t prod --param day=2026-01-31 --only +report
      """)
  @Argument(help: "The job's key in resources.jobs.") var key: String
  @Option(name: .long, help: "Value of a job parameter: NAME=VALUE. May be repeated.") var param: [String] = []
  @Option(name: .long, help: "Only this task; +TASK also what comes before it, TASK+ what comes after it. May be repeated.") var only: [String] = []
  @Option(help: "The same token starts once: a second call returns the first run.") var idempotencyToken: String?
  @Flag(help: "Show progress until the run ends; the exit code tells how it ended.") var watch = false
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let parameters = try Workflows.parameters(param)
    let session = try await ProjectSession.open(options)
    let identity = try session.identity(options.output)
    let info = try await ProjectDeployment(client: session.client, rootPath: identity.rootPath).info()
    let jobs = info.resources.filter { $0.kind == ProjectResource.Kind.jobs.rawValue && $0.settings != nil }
    guard let job = jobs.first(where: { $0.key == key }), let number = Int64(job.id) else {
      let inFile = session.reading.project?.resources.filter { $0.kind == .jobs }.map(\.key) ?? []
      if inFile.contains(key) {
        throw PlatformError(
          .notFound, "job '\(key)' is not deployed to \(identity.target)", hint: "Deploy it with 'platform deploy\(options.target.map { " -t \($0)" } ?? "")'.",
          number: "PLT-4273")
      }
      let keys = Set(jobs.map(\.key) + inFile).sorted()
      let close = Spelling.suggestion(for: key, among: keys)
      throw PlatformError(
        .notFound, "\(identity.name) has no job '\(key)' in \(identity.target)",
        hint: close.map { "Did you mean '\($0)'?" } ?? (keys.isEmpty ? "It has none." : "It has \(keys.joined(separator: ", "))."), number: "PLT-4273")
    }
    var body: [String: JSONValue] = ["job_id": .integer(number)]
    if !parameters.isEmpty { body["job_parameters"] = .object(parameters.mapValues { .string($0) }) }
    if !only.isEmpty { body["only"] = .array(only.map { .string($0) }) }
    if let idempotencyToken { body["idempotency_token"] = .string(idempotencyToken) }
    let answer: JSONValue = try await session.client.post("/api/2.2/jobs/run-now", JSONValue.object(body))
    let run = String(answer["run_id"]?.intValue ?? 0)
    if watch { return try await RunWatcher(client: session.client, output: options.output).watch(run) }
    if options.output.isStructured { return try Report.structured(answer, options.output) }
    Report.data(run)
    Report.note("  Next  platform runs watch \(run)")
  }
}
