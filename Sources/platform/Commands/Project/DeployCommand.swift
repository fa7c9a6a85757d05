// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Workspace

struct DeployCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "deploy", abstract: "Make the cluster have what the project says.",
    discussion: """
      EXAMPLES
        platform deploy
        platform deploy -t prod --var catalog=main --yes
        platform deploy --adopt raw --adopt nightly=12
      What the project does not have any more is deleted, after a question. A second call changes nothing.
      """)
  @Flag(name: [.customLong("yes"), .customLong("auto-approve")], help: "Do not ask before something is deleted.") var yes = false
  @Flag(help: "Only show what would be done.") var plan = false
  @Option(help: "Take over what exists under the name of this resource; of a job: KEY=NUMBER. May be repeated.") var adopt: [String] = []
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let session = try await ProjectSession.open(options)
    let project = try session.valid(options.output)
    let identity = project.identity
    let adopting = try Self.adopting(adopt, project)
    let deployment = ProjectDeployment(client: session.client, rootPath: identity.rootPath)
    let info = try await deployment.info()
    let state = try await deployment.state(info, for: project)
    let lookups = try await session.placing { try await deployment.numbers(project.lookups) }
    let todo = DeploymentPlan(project, state, lookups: lookups, adopting: adopting) { SHA256Digest.hex($0) }
    try PlanPrinter.refuse(todo, session.local, options.output)
    if plan {
      if options.output.isStructured { return try Report.structured(try PlanPrinter.json(todo, identity), options.output) }
      PlanPrinter.show(todo) { Report.data($0) }
      return Report.data("\(identity.name) for \(identity.target): \(PlanPrinter.counts(todo, PlanPrinter.ahead))")
    }
    // One that was cut short is brought to its end.
    if todo.changesAnything || info.state == "IN_PROGRESS" {
      try Removal.confirm(todo, "deploying \(identity.name) to \(identity.target)", yes: yes)
      try await session.placing {
        try await deployment.carryOut(todo, project, identity, state, lookups: lookups, adopting: adopting) { step in
          if options.output == .text || options.output == .wide { Report.note(PlanPrinter.line(step)) }
        }
      }
    }
    if options.output.isStructured { return try Report.structured(try PlanPrinter.json(todo, identity), options.output) }
    let already = todo.changesAnything ? "deployed" : "already deployed"
    Report.note("\(Report.check) \(identity.name) is \(already) to \(identity.target): \(PlanPrinter.counts(todo, PlanPrinter.done))")
    if let job = project.resources.first(where: { $0.kind == .jobs }) {
      Report.note("  Next  platform run \(job.key)\(options.target.map { " -t \($0)" } ?? "") --watch")
    }
  }

  /// By key; the number of a job, or nothing for what has a name.
  private static func adopting(_ words: [String], _ project: Project) throws -> [String: String] {
    var result: [String: String] = [:]
    for word in words {
      let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard let resource = project.resource(parts[0]) else {
        let keys = project.resources.map(\.key)
        let close = Spelling.suggestion(for: parts[0], among: keys)
        throw PlatformError(
          .notFound, "the project has no resource '\(parts[0])' in \(project.identity.target)",
          hint: close.map { "Did you mean '\($0)'?" } ?? "It has \(keys.joined(separator: ", ")).", number: "PLT-4273")
      }
      let isNumber = parts.count == 2 && (Int64(parts[1]) ?? 0) > 0
      guard resource.kind == .jobs ? isNumber : parts.count == 1 else {
        throw PlatformError(
          .invalidArgument, "--adopt \(word) cannot be done",
          hint: resource.kind == .jobs ? "Give the number of the job: --adopt \(parts[0])=NUMBER." : "Write --adopt \(parts[0]); its name is \(resource.name).",
          number: "PLT-4273")
      }
      result[parts[0]] = parts.count == 2 ? parts[1] : ""
    }
    return result
  }
}

/// The question before something is deleted.
enum Removal {
  /// - Throws: `invalidArgument` PLT-4281 when there is nobody to ask, `cancelled` for any answer but yes.
  static func confirm(_ plan: DeploymentPlan, _ what: String, yes: Bool) throws {
    let removals = plan.removals
    if yes || removals.isEmpty { return }
    for step in removals { Report.note(PlanPrinter.line(step)) }
    let data = removals.contains { $0.deletesData } ? " What is in schemas, volumes and models goes with them; for seven days it can be brought back." : ""
    let text = "\(what) deletes \(ProjectReport.count(removals.count, "resource"))."
    guard isatty(STDIN_FILENO) == 1 else {
      throw PlatformError(.invalidArgument, text + data, hint: "Add --yes to confirm.", number: "PLT-4281")
    }
    StandardStreams.error("\(text)\(data) Go on? [y/N] ")
    guard ["y", "yes"].contains((readLine() ?? "").lowercased()) else { throw PlatformError(.cancelled, "nothing was changed") }
  }
}

struct DestroyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "destroy", abstract: "Delete everything that a project has deployed to a target.",
    discussion: """
      EXAMPLES
        platform destroy
        platform destroy -t dev --yes
      """)
  @Flag(name: [.customLong("yes"), .customLong("auto-approve")], help: "Do not ask.") var yes = false
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let session = try await ProjectSession.open(options)
    let identity = try session.identity(options.output)
    let deployment = ProjectDeployment(client: session.client, rootPath: identity.rootPath)
    let info = try await deployment.info()
    guard info.version > 0 else {
      if options.output.isStructured {
        return try Report.structured(try PlanPrinter.json(DeploymentPlan(removing: DeploymentState()), identity), options.output)
      }
      return Report.note("\(identity.name) is not deployed to \(identity.target)")
    }
    let state = try await deployment.state(info, for: nil)
    let plan = DeploymentPlan(removing: state)
    try Removal.confirm(plan, "destroying \(identity.name) in \(identity.target)", yes: yes)
    try await deployment.carryOut(plan, nil, identity, state) { step in
      if options.output == .text || options.output == .wide { Report.note(PlanPrinter.line(step)) }
    }
    if options.output.isStructured { return try Report.structured(try PlanPrinter.json(plan, identity), options.output) }
    Report.note("\(Report.check) \(identity.name) is gone from \(identity.target): \(PlanPrinter.counts(plan, PlanPrinter.done))")
  }
}
