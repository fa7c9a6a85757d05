// SPDX-License-Identifier: Apache-2.0

import API
import Core
import Foundation
import Query
import Synchronization

/// One statement from its arrival until its result is forgotten.
///
/// PENDING -> RUNNING (a worker was asked) -> SUCCEEDED, FAILED or CANCELED; nothing follows those.
final class StatementRecord: Sendable {
  private struct Waiter {
    var until: ContinuousClock.Instant
    var continuation: CheckedContinuation<Void, Never>
  }

  private struct State {
    var view: StatementView
    var kind = ""
    var tables: JSONValue = .array([])
    var endedMilliseconds: Int64?
    var waiters: [Waiter] = []
    var task: Task<Void, Never>?
    var isCancelled = false
    /// From here on it is not cancelled: what it wrote becomes visible.
    var isCommitting = false
    /// Folder of the stored chunks.
    var directory: String?
  }

  let id: String
  let submission: StatementSubmission
  let principal: Principal
  let startedMilliseconds: Int64
  let limit: Duration
  let deadline: ContinuousClock.Instant
  private let state: Mutex<State>

  init(id: String, _ submission: StatementSubmission, by principal: Principal, limit: Duration) {
    self.id = id
    self.submission = submission
    self.principal = principal
    startedMilliseconds = ProcessSupport.wallMilliseconds
    self.limit = limit
    deadline = .now + limit
    var view = StatementView(id: id, state: .pending)
    view.format = submission.format
    view.isInline = submission.isInline
    state = Mutex(State(view: view))
  }

  var view: StatementView { state.withLock { $0.view } }
  var isFinal: Bool { state.withLock { $0.view.state.isFinal } }
  var directory: String? { state.withLock { $0.directory } }
  var endedMilliseconds: Int64? { state.withLock { $0.endedMilliseconds } }
  /// Bytes of the result in memory.
  var residentBytes: Int { state.withLock { $0.view.firstRows.count } }

  /// The task that runs the statement; at once cancelled when that was asked before.
  func attach(_ task: Task<Void, Never>) {
    let cancel = state.withLock { state in
      guard !state.view.state.isFinal else { return false }
      state.task = task
      return state.isCancelled
    }
    if cancel { task.cancel() }
  }

  func running(_ kind: String, tables: JSONValue) {
    state.withLock { state in
      if state.view.state == .pending { state.view.state = .running }
      state.kind = kind
      state.tables = tables
    }
  }

  func progress(_ percent: Int) { state.withLock { $0.view.percent = percent } }

  /// - Returns: false when it was cancelled before.
  func beginCommit() -> Bool {
    state.withLock { state in
      guard !state.isCancelled, !state.view.state.isFinal else { return false }
      state.isCommitting = true
      return true
    }
  }

  func endCommit() { state.withLock { $0.isCommitting = false } }

  /// The end. Only the first one counts.
  func finish(_ final: StatementView.State, directory: String? = nil, _ change: (inout StatementView) -> Void = { _ in }) {
    let waiters = state.withLock { state -> [Waiter] in
      guard !state.view.state.isFinal else { return [] }
      change(&state.view)
      state.view.state = final
      state.view.percent = nil
      state.directory = directory
      state.endedMilliseconds = ProcessSupport.wallMilliseconds
      state.task = nil
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters { waiter.continuation.resume() }
  }

  /// Stops it, unless it has ended or its commit has begun. The state follows when the executor was told.
  func cancel() {
    let task = state.withLock { state -> Task<Void, Never>? in
      guard !state.view.state.isFinal, !state.isCommitting else { return nil }
      state.isCancelled = true
      return state.task
    }
    task?.cancel()
  }

  /// Returns at the end, when the time is over, or when the task is cancelled.
  func wait(until: ContinuousClock.Instant) async {
    await withTaskCancellationHandler {
      await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
        let isOver = state.withLock { state in
          if state.view.state.isFinal || until <= .now || Task.isCancelled { return true }
          state.waiters.append(Waiter(until: until, continuation: continuation))
          return false
        }
        if isOver { continuation.resume() }
      }
    } onCancel: {
      wake(all: true, now: .now)
    }
  }

  /// Wakes those whose time is over.
  func wake(all: Bool = false, now: ContinuousClock.Instant) {
    let due = state.withLock { state -> [Waiter] in
      guard !state.waiters.isEmpty else { return [] }
      let due = state.waiters.filter { all || $0.until <= now }
      state.waiters.removeAll { all || $0.until <= now }
      return due
    }
    for waiter in due { waiter.continuation.resume() }
  }

  /// The rows are forgotten; what is left says so.
  func close() {
    state.withLock { state in
      if state.view.state == .succeeded { state.view.state = .closed }
      state.view.firstRows = Data()
      state.view.chunks = []
      state.directory = nil
    }
  }

  var historyEntry: StatementHistoryPage.Entry {
    state.withLock { state in
      StatementHistoryPage.Entry(
        id: id, text: submission.statement, kind: state.kind, principal: principal.name, engine: StatementService.engine,
        state: state.view.state.rawValue, startedMilliseconds: startedMilliseconds, endedMilliseconds: state.endedMilliseconds,
        rows: state.view.affectedRows ?? state.view.rowCount, bytes: state.view.chunks.reduce(0) { $0 + $1.bytes },
        error: state.view.error?.message, tables: state.tables)
    }
  }
}
