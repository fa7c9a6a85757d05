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
          let (run, tasks, _) = try await store.records(of: runID)
          if let run, run.state.isTerminal {
            if run.state == .succeeded { return tasks.first?.values ?? .null }
            throw run.error ?? tasks.compactMap(\.error).first ?? PlatformError(.cancelled, "run \(runID) was cancelled")
          }
          // Woken at the end; looked at now and then anyway, should the end have come before the wait.
          await withTaskGroup(of: Void.self) { group in
            group.addTask { await waiters.wait(for: runID) }
            group.addTask {
              try? await Task.sleep(for: .milliseconds(250))  // cancelled: poked below all the same
              waiters.poke(runID)
            }
            await group.next()
            waiters.poke(runID)
            group.cancelAll()
          }
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

  /// Returns when the run has ended, or at the next `ended` for it; the caller looks at the stored state.
  func wait(for run: String) async {
    await withCheckedContinuation { continuation in
      waiting.withLock { $0[run, default: []].append(continuation) }
    }
  }

  /// Lets all waiters of `run` look again.
  func poke(_ run: String) { ended(run) }
}
