// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization

/// The child process in which work runs: reads commands, runs one work at a time, reports. It holds no credentials and may be
/// killed at any moment.
public enum ExecutorProcess {
  /// Serves commands until standard input ends, then exits.
  public static func run() async {
    ProcessSupport.ignoreBrokenPipes()
    let session = ExecutorSession(channel: ExecutorChannel())
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
      let thread = Thread {
        session.readCommands()
        done.resume()
      }
      thread.stackSize = 1 << 20
      thread.start()
    }
    exit(0)
  }
}

/// The conversation with the worker.
final class ExecutorSession: Sendable {
  private struct State {
    var context: ExecutorContext?
  }
  private let channel: ExecutorChannel
  private let state = Mutex(State())

  init(channel: ExecutorChannel) { self.channel = channel }

  func send(_ event: ExecutorEvent) {
    guard var line = try? JSONEncoder.platform.encode(event) else { return }  // events hold only encodable values
    line.append(UInt8(ascii: "\n"))
    channel.send(line)
  }

  func readCommands() {
    var splitter = LineSplitter(limit: 256 << 20)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count == 0 || (count < 0 && errno != EINTR) { return }
      guard count > 0 else { continue }
      let lines = buffer.withUnsafeBytes { splitter.feed(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
      for line in lines {
        do {
          handle(try JSONDecoder.platform.decode(ExecutorCommand.self, from: Data(line)))
        } catch {
          send(.failed(PlatformError(.internalError, "unreadable executor command: \(JSONValue.reason(error))")))
        }
      }
    }
  }

  private func handle(_ command: ExecutorCommand) {
    switch command {
    case .run(let spec, let scratch, let gang, let keys, let secrets):
      KeyRing.shared.replace(keys)
      let context = ExecutorContext(session: self, scratch: scratch, gang: gang, secrets: secrets)
      state.withLock { $0.context = context }
      let thread = Thread { [self] in perform(spec, context) }
      thread.stackSize = 64 << 20
      thread.name = spec.kind
      thread.start()
    case .peers(let peers): state.withLock { $0.context }?.receive(peers: peers)
    case .cancel(let reason): state.withLock { $0.context }?.cancel(reason)
    case .drain: state.withLock { $0.context }?.drain()
    }
  }

  private func perform(_ spec: WorkSpec, _ context: ExecutorContext) {
    send(.started)
    do {
      let result = try WorkKinds.run(spec, context: context)
      context.flushProgress()
      send(.succeeded(result))
    } catch is CancellationError {
      send(.cancelled)
    } catch {
      let failure = PlatformError.from(error)
      send(context.isCancelled ? .cancelled : .failed(failure))
    }
    state.withLock { if $0.context === context { $0.context = nil } }
  }
}

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
  }

  private let scratch: String
  let gang: GangSeat?
  /// Values of secrets by `scope/key`.
  let secrets: [String: String]
  private let session: ExecutorSession
  private let state = Mutex(State())
  private let changed = DispatchSemaphore(value: 0)

  init(session: ExecutorSession, scratch: String, gang: GangSeat?, secrets: [String: String]) {
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

  func log(_ line: String) { session.send(.log(String(line.prefix(4000)))) }
  func metric(_ name: String, step: Int64, value: Double) {
    session.send(.metric(name: name, step: step, value: value))
  }

  /// At most five reports a second; the last one is sent at the end.
  func progress(done: Int64, total: Int64, unit: String) {
    let now = ContinuousClock.now
    let due = state.withLock { state in
      state.lastProgress = (done, total, unit)
      if let last = state.lastSent, now - last < .milliseconds(200) { return false }
      state.lastSent = now
      state.lastProgress = nil
      return true
    }
    if due { session.send(.progress(done: done, total: total, unit: unit)) }
  }

  func flushProgress() {
    if let last = state.withLock({ $0.lastProgress }) {
      session.send(.progress(done: last.done, total: last.total, unit: last.unit))
    }
  }

  /// Tells where this rank or replica listens.
  func announce(address: String, publicKey: String) {
    session.send(.endpoint(address: address, publicKey: publicKey))
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

  func cancel(_ reason: String) {
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
