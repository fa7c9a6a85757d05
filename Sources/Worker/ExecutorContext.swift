// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Transport

/// What running work sees of its executor.
final class ExecutorContext: WorkContext {
  private struct State {
    var cancelled = false
    var draining = false
    var peers: [GangPeer]?
    var lastProgress: (done: Int64, total: Int64, unit: String)?
    var lastSent: ContinuousClock.Instant?
    var onStop: (@Sendable (_ draining: Bool) -> Void)?
    var hasScratch = false
    /// Of a batch: its parts.
    var batchCount: Int?
  }

  /// Which of the executor's works it is.
  let number: UInt32
  private let scratch: String
  let gang: AssignedWork.Seat?
  /// Values of secrets by `scope/key`.
  let secrets: [String: String]
  private let session: ExecutorSession
  private let state = Mutex(State())
  private let changed = DispatchSemaphore(value: 0)

  init(session: ExecutorSession, number: UInt32, scratch: String, gang: AssignedWork.Seat?, secrets: [String: String]) {
    self.number = number
    self.secrets = secrets
    self.session = session
    self.scratch = scratch
    self.gang = gang
  }

  /// Where a rank or replica listens: this node's address, any free port.
  var listenAddress: String { "tcp://\(ProcessInfo.processInfo.environment[ExecutorChild.addressVariable] ?? "127.0.0.1"):0" }

  /// A folder of this attempt's own, made when it is first asked for; what cannot be made shows when it is written to.
  var scratchDirectory: String {
    state.withLock { state in
      guard !state.hasScratch else { return }
      state.hasScratch = true
      try? FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    }
    return scratch
  }

  var isCancelled: Bool { state.withLock { $0.cancelled } }

  func log(_ line: String) { session.send(.log, number, Data(line.prefix(4000).utf8)) }
  func metric(_ name: String, step: Int64, value: Double) { send(.metric, ExecutorMetric(name: name, step: step, value: value)) }

  private func send(_ kind: ExecutorFrameKind, _ event: some Encodable) {
    guard let payload = try? JSONEncoder.platform.encode(event) else { return }  // events hold only encodable values
    session.send(kind, number, payload)
  }

  /// At most five reports a second; the last one is sent at the end. Parts of a batch make none: the batch does.
  func progress(done: Int64, total: Int64, unit: String) {
    guard state.withLock({ $0.batchCount == nil }) else { return }
    report(done: done, total: total, unit: unit)
  }

  /// The work is a batch of so many parts. The first fifth of a second, in which most of them end, nothing is told.
  func beginBatch(of count: Int) {
    state.withLock { state in
      state.batchCount = count
      state.lastSent = .now
    }
  }

  func batchProgress(ended: Int) {
    guard let count = state.withLock({ $0.batchCount }) else { return }
    report(done: Int64(ended), total: Int64(count), unit: "parts")
  }

  private func report(done: Int64, total: Int64, unit: String) {
    let now = ContinuousClock.now
    let due = state.withLock { state in
      state.lastProgress = (done, total, unit)
      if let last = state.lastSent, now - last < .milliseconds(200) { return false }
      state.lastSent = now
      state.lastProgress = nil
      return true
    }
    if due { send(.progress, ExecutorProgress(done: done, total: total, unit: unit)) }
  }

  func flushProgress() {
    // Of a batch the end says all.
    if let last = state.withLock({ $0.batchCount == nil ? $0.lastProgress : nil }) {
      send(.progress, ExecutorProgress(done: last.done, total: last.total, unit: last.unit))
    }
  }

  /// Tells where this rank or replica listens.
  func announce(address: String, publicKey: String) {
    send(.endpoint, ExecutorEndpoint(address: address, publicKey: publicKey))
  }

  /// Blocks until the coordinator has sent every rank's address.
  func waitForPeers(deadline seconds: Int) throws -> [GangPeer] {
    let end = DispatchTime.now() + .seconds(seconds)
    while true {
      if let peers = state.withLock({ $0.peers }) { return peers }
      try checkCancelled()
      if changed.wait(timeout: end) == .timedOut {
        throw PlatformError(.timeout, "the other ranks did not appear within \(seconds) s")
      }
    }
  }

  /// `body` is called at once when the work is cancelled or drained, also when that has already happened.
  func onStop(_ body: @escaping @Sendable (_ draining: Bool) -> Void) {
    let now = state.withLock { state -> Bool? in
      state.onStop = body
      return state.cancelled ? false : state.draining ? true : nil
    }
    if let now { body(now) }
  }

  func receive(peers: [GangPeer]) {
    state.withLock { $0.peers = peers }
    changed.signal()
  }

  func cancel() {
    let stop = state.withLock { state in
      state.cancelled = true
      return state.onStop
    }
    changed.signal()
    stop?(false)
  }

  func drain() {
    let stop = state.withLock { state in
      state.draining = true
      return state.onStop
    }
    stop?(true)
  }
}
