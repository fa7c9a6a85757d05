// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation
import Workspace

struct ValidateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "validate", abstract: "Check a project's files, without changing anything.",
    discussion: """
      EXAMPLES
        platform validate
        platform validate --strict -t prod --var catalog=test
        platform validate -o json | jq .resources.jobs
      All errors are told at once, with file, line and field. No cluster is needed; in GitHub Actions they annotate the lines.
      """)
  @Flag(help: "Warnings are errors too.") var strict = false
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let local = try LocalProject.find(options.project)
    var context = try options.context()
    context.user = await Self.user(options)
    let reading = local.read(context)
    try ProjectReport.problems(reading, local, options.output, isStrict: strict)
    guard let project = reading.project else { return }
    if options.output.isStructured { return try Report.structured(project.configuration, options.output) }
    let identity = project.identity
    Report.note(
      "\(Report.check) \(identity.name) is valid for \(identity.target), \(ProjectReport.count(project.resources.count, "resource")) for \(identity.rootPath)")
    Report.note("  Next  platform plan\(options.target.map { " -t \($0)" } ?? "")")
  }

  /// Who would deploy, as the cluster says, or who sits here when there is none.
  private static func user(_ options: ProjectOptions) async -> String {
    let environment = ProcessInfo.processInfo.environment
    let here = environment["PLATFORM_USER"] ?? environment["USER"] ?? "admin"
    guard let client = try? options.client.client() else { return here }  // no cluster is known
    return (try? await withDeadline(.seconds(2), "asking for the user") { try await ProjectSession.user(client) }) ?? here  // none answers
  }
}

struct PlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "What 'deploy' would do.",
    discussion: """
      EXAMPLES
        platform plan
        platform plan -t prod -o json
      """)
  @OptionGroup var options: ProjectOptions

  func run() async throws {
    let session = try await ProjectSession.open(options)
    let project = try session.valid(options.output)
    let deployment = ProjectDeployment(client: session.client, rootPath: project.identity.rootPath)
    let state = try await deployment.state(try await deployment.info(), for: project)
    let lookups = try await session.placing { try await deployment.numbers(project.lookups) }
    let plan = DeploymentPlan(project, state, lookups: lookups) { SHA256Digest.hex($0) }
    try PlanPrinter.refuse(plan, session.local, options.output)
    if options.output.isStructured { return try Report.structured(try PlanPrinter.json(plan, project.identity), options.output) }
    PlanPrinter.show(plan) { Report.data($0) }
    Report.data("\(project.identity.name) for \(project.identity.target): \(PlanPrinter.counts(plan, PlanPrinter.ahead))")
    if plan.changesAnything { Report.note("  Next  platform deploy\(options.target.map { " -t \($0)" } ?? "")") }
  }
}
