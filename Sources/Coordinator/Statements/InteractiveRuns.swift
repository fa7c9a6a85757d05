// SPDX-License-Identifier: Apache-2.0

import API
import Client
import Core
import Jobs
import Scheduling
import Synchronization

/// Statements that become several units of work are runs of the scheduler: it spreads the units over workers, repeats what is lost, and
/// goes on after a restart.
struct InteractiveRuns: Sendable {
  let store: JobStore
  let runner: JobRunner
  let waiters: RunWaiters

  /// Runs an internal one-task run to its end. Cancelling the task cancels the run.
  /// - Returns: the task's values.
  func runToEnd(_ spec: RunSpec, by principal: Principal, limit: Duration) async throws -> JSONValue {
    var spec = spec
    spec.id = try await store.create(spec, submittedBy: principal.name).runID
    let runID = spec.id
    try await runner.submit(.runSubmitted(spec))
    do {
      return try await withDeadline(limit, spec.name) {
        while true {
          let (run, tasks) = try await store.runAndTasks(of: runID)
          if let run, run.state.isTerminal {
            if run.state == .succeeded { return tasks.first?.values ?? .null }
            throw run.error ?? tasks.compactMap(\.error).first ?? PlatformError(.cancelled, "run \(runID) was cancelled")
          }
          // Woken at the end; looked at now and then anyway, should the end have come before the wait.
          await waiters.wait(for: runID, atMost: .milliseconds(250))
          try Task.checkCancellation()
        }
      }
    } catch {
      await runner.post(.runCancelRequested(run: runID))
      throw error
    }
  }

  /// Runs a statement as the SQL task of a run.
  /// - Parameter body: as in a workflow's SQL task.
  func statement(_ body: JSONValue, by principal: Principal, limit: Duration) async throws -> StatementResponse {
    let values: JSONValue
    do {
      values = try await runToEnd(
        RunSpec(id: "", name: JobStore.statementRunName, tasks: [TaskSpec(key: "statement", kind: "sql", body: body)]), by: principal,
        limit: limit)
    } catch let error as PlatformError {
      throw Self.withoutPlace(error)
    }
    guard let response = values["response"] else { throw PlatformError(.internalError, "the statement returned nothing") }
    return try response.decode()
  }

  /// Whoever typed a statement does not know that it is a run with one task: that part of the message goes.
  static func withoutPlace(_ error: PlatformError) -> PlatformError {
    var copy = error
    copy.message.trimPrefix(#/(planning stage \d+ of 'statement'|committing stage \d+ of 'statement'|\d+\/statement\/\d+\/\d+\/\d+): /#)
    return copy
  }
}

/// Wakes those who wait for a run's end.
final class RunWaiters: Sendable {
  private let waiting = Mutex<[String: [CheckedContinuation<Void, Never>]]>([:])

  func ended(_ run: String) {
    let list = waiting.withLock { $0.removeValue(forKey: run) } ?? []
    for one in list { one.resume() }
  }

  /// Returns when the run has ended, or after `limit` at the latest; the caller looks at the stored state.
  func wait(for run: String, atMost limit: Duration) async {
    var timer: Task<Void, Never>?
    await withCheckedContinuation { continuation in
      waiting.withLock { $0[run, default: []].append(continuation) }
      // Begun when the wait is in the list, so that it always has something to end.
      timer = Task { if (try? await Task.sleep(for: limit)) != nil { ended(run) } }
    }
    timer?.cancel()
  }
}
