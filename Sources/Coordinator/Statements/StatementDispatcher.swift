// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Logging
import ObjectStore
import Query
import Synchronization
import Transport

/// Sends statements to workers and gives their answers back to who waits.
final class StatementDispatcher: Sendable {
  private struct Pending {
    var payload: Data
    var continuation: CheckedContinuation<Data, any Error>
    var progress: (@Sendable (Int) -> Void)?
  }

  private struct State {
    var queue = StatementQueue()
    var pending: [String: Pending] = [:]
  }

  private let server: any ControlServing
  private let logger: Logger
  private let state = Mutex(State())

  init(server: any ControlServing, logger: Logger) {
    self.server = server
    self.logger = logger
  }

  var counts: (running: Int, waiting: Int) { state.withLock { ($0.queue.runningCount, $0.queue.waitingCount) } }

  /// Runs one order on some worker. Cancelling the task interrupts the executor and returns at once.
  /// - Parameters:
  ///   - id: unique in this process' life.
  ///   - progress: called with percent, from any thread.
  /// - Throws: what the executor throws; `resourceExhausted`, `unavailable`, `CancellationError`.
  func run(_ id: String, _ order: StatementOrder, progress: (@Sendable (Int) -> Void)? = nil) async throws -> StatementAnswer {
    var order = order
    let keys = order.spec.keys(of: .shared)
    if !keys.isEmpty { order.keys = keys }
    return try await run(id, StatementMessage(order), progress: progress)
  }

  /// As `run(_:_:progress:)`, for an order that is written out already and needs no keys.
  func run(_ id: String, _ message: StatementMessage, progress: (@Sendable (Int) -> Void)? = nil) async throws -> StatementAnswer {
    let payload = message.encoded
    guard payload.count < 15 << 20 else {
      throw PlatformError(
        .resourceExhausted, "the statement reads too many files to be sent to a worker", hint: "OPTIMIZE the table, or read fewer partitions.",
        number: "PLT-2113")
    }
    let answer = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Data, any Error>) in
        let effects: [StatementQueue.Effect]? = state.withLock { state in
          if Task.isCancelled { return nil }
          do {
            state.pending[id] = Pending(payload: payload, continuation: continuation, progress: progress)
            return try state.queue.submit(id, now: ProcessSupport.wallMilliseconds)
          } catch {
            return [.fail(id: id, PlatformError.from(error))]
          }
        }
        guard let effects else { return continuation.resume(throwing: CancellationError()) }
        perform(effects)
      }
    } onCancel: {
      cancel(id)
    }
    return try StatementAnswer(decoding: answer)
  }

  private func cancel(_ id: String) {
    let (pending, effects) = state.withLock { ($0.pending.removeValue(forKey: id), $0.queue.cancel(id)) }
    perform(effects)
    pending?.continuation.resume(throwing: CancellationError())
  }

  private func perform(_ effects: [StatementQueue.Effect]) {
    for effect in effects {
      switch effect {
      case .send(let id, let attempt, let worker):
        guard let payload = state.withLock({ $0.pending[id]?.payload }) else {
          // Cancelled in between: its slot was never used.
          perform(state.withLock { $0.queue.finished(id, attempt: attempt, worker: worker, isLost: false).effects })
          continue
        }
        do {
          try server.send(
            .assign(.init(unit: StatementLink.prefix + id, attempt: attempt), kind: StatementLink.kind, payload: payload, timeoutMilliseconds: 0),
            to: worker)
          // A cancel that has overtaken this message is said again.
          if state.withLock({ $0.pending[id] == nil }) {
            try server.send(.cancel(.init(unit: StatementLink.prefix + id, attempt: attempt), reason: "cancelled"), to: worker)
          }
        } catch {
          logger.debug("not sent", metadata: ["node": "\(worker)", "error": "\(error)"])
          let next = state.withLock {
            $0.queue.finished(id, attempt: attempt, worker: worker, isLost: true, reason: "worker '\(worker)' cannot be reached").effects
          }
          perform(next)
        }
      case .cancel(let id, let attempt, let worker):
        // Not connected: then the worker ends the statement by itself.
        try? server.send(.cancel(.init(unit: StatementLink.prefix + id, attempt: attempt), reason: "cancelled"), to: worker)
      case .fail(let id, let error):
        state.withLock { $0.pending.removeValue(forKey: id) }?.continuation.resume(throwing: error)
      }
    }
  }

  // MARK: the control link

  /// Workers that are connected.
  var workerCount: Int { state.withLock { $0.queue.workerCount } }

  func workerUp(_ name: String, slots: Int) {
    perform(state.withLock { $0.queue.workerUp(name, slots: StatementLink.concurrency(slots: slots)) })
  }

  func workerDown(_ name: String) { perform(state.withLock { $0.queue.workerDown(name) }) }

  func tick() { perform(state.withLock { $0.queue.tick(now: ProcessSupport.wallMilliseconds) }) }

  /// - Returns: whether the message was about a statement.
  func received(_ message: ControlMessage, from node: String) -> Bool {
    guard let key = message.unit, key.unit.hasPrefix(StatementLink.prefix) else { return false }
    let id = String(key.unit.dropFirst(StatementLink.prefix.count))
    switch message {
    case .unitFinished(_, let outcome, let result, let error):
      let failure = error.isEmpty ? nil : try? JSONDecoder.platform.decode(PlatformError.self, from: error)  // unreadable: said so below
      let (pending, effects) = state.withLock { state -> (Pending?, [StatementQueue.Effect]) in
        let (counts, effects) = state.queue.finished(
          id, attempt: key.attempt, worker: node, isLost: outcome == .lost, reason: failure?.message ?? "")
        return (counts ? state.pending.removeValue(forKey: id) : nil, effects)
      }
      if let pending {
        switch outcome {
        case .succeeded: pending.continuation.resume(returning: result)
        case .cancelled: pending.continuation.resume(throwing: CancellationError())
        case .failed, .lost:
          pending.continuation.resume(
            throwing: failure ?? PlatformError(.internalError, "the statement failed without saying why"))
        }
      }
      perform(effects)
    case .unitProgress(_, let done, _, _): state.withLock { $0.pending[id]?.progress }?(Int(done))
    default: break
    }
    return true
  }
}
