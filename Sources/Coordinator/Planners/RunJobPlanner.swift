// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Jobs
import Scheduling

/// A task that runs another job to its end. It needs no worker: the run is started while the task is planned, under a key of the
/// attempt, so that a coordinator that starts again finds it instead of starting another.
struct RunJobPlanner: TaskPlanner {
  let launcher: JobLauncher

  private struct Body: Decodable {
    var job_id: Int64
    var job_parameters: [String: JSONValue]?
  }

  private func key(_ call: StageCall) -> String { "run-job:\(call.id.run)/\(call.id.task)/\(call.id.attempt)" }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let child = try await start(body, call)
    while true {
      let run = try await launcher.store.storedRun(child)
      if let state = run.record?.state, state.isTerminal {
        guard state == .succeeded else {
          let reason = run.record?.error.map { ": \($0.message)" } ?? ""
          throw PlatformError(
            .failed, "run \(child) of job \(body.job_id) ended \(state.rawValue)\(reason)", hint: "See 'platform runs get \(child)'.", number: "PLT-4219")
        }
        return .none
      }
      let (id, attempt) = (call.id, call.id.attempt)
      let position = try await launcher.currentRunner().inspect { $0.position(run: id.run, task: id.task) }
      guard let position, position.attempt == attempt, position.state == .planning else {
        // The task was cancelled, or took too long.
        try await launcher.cancel(child)
        throw PlatformError(.cancelled, "the task has ended")
      }
      await launcher.waiters.wait(for: child, atMost: .seconds(1))
    }
  }

  private func start(_ body: Body, _ call: StageCall) async throws -> String {
    if let known = try await launcher.store.run(withKey: key(call)) { return known }
    let job = try await launcher.store.job(body.job_id)
    let parent = try await launcher.store.storedRun(call.id.run)
    try await requireRight(toRun: job.id, call.id.run)
    var request = JobLauncher.Request(settings: job.settings, user: parent.creator)
    request.attachments = job.attachments
    request.job = job.id
    request.parameters = (body.job_parameters ?? [:]).mapValues { $0.stringValue ?? $0.sortedText }
    request.key = key(call)
    request.trigger = "RUN_JOB_TASK"
    request.parent = call.id.run
    // The task waits for the job's other runs.
    request.queues = true
    return try await launcher.start(request).run
  }

  /// A run may start what its job's owner may, or who started it when it is no job's.
  private func requireRight(toRun job: Int64, _ run: String) async throws {
    let owner = try await launcher.store.rights(ofRun: run).owner
    let isAdministrator = try await Users(pool: launcher.catalog.pool).all().contains { $0.name == owner && $0.isAdministrator }
    if isAdministrator { return }
    try CoordinatorService.require(.manageRun, of: try await launcher.store.rights(ofJob: job), JobViewer(user: owner), "start runs of job \(job)")
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    guard let child = try await launcher.store.run(withKey: key(call)) else {
      throw PlatformError(.internalError, "the run of job \(body.job_id) is not there")
    }
    return .taskDone(values: [
      "run_id": .integer(Int64(child) ?? 0), "job_id": .integer(body.job_id), "summary": .string("run \(child) of job \(body.job_id)"),
    ])
  }
}
