// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation
import Synchronization

/// What a loop does with its sockets. Made and used on the loop's thread only.
protocol LoopHandler: AnyObject, SendableMetatype {
  associatedtype Command: Sendable
  /// The sockets to watch, in a fixed order between two calls of `tick`.
  var sockets: [Socket] { get }
  /// Reads what socket `index` has.
  func receive(_ index: Int)
  func perform(_ command: Command)
  /// Timers. Called after every wake-up; returns the milliseconds until it wants to be called again.
  func tick(now: Int64) -> Int
  /// The loop ends; sockets are closed by the handler.
  func stop()
}

/// One thread that owns all sockets of a transport. Others reach it through a bounded queue and an eventfd, which is
/// written only when the thread may be asleep.
final class SocketLoop<Handler: LoopHandler>: Sendable {
  private struct State {
    var commands: [Handler.Command] = []
    var isStopping = false
    var hasEnded = false
    var waiting: [CheckedContinuation<Void, Never>] = []
  }

  private let name: String
  private let queueLimit: Int
  private let wakeDescriptor: Int32
  private let isAsleep = Atomic<Bool>(false)
  private let state = Mutex(State())

  /// Starts the thread and makes the handler on it. Blocks until the handler is ready, well below a millisecond of work.
  /// - Throws: what `make` throws.
  init(name: String, queueLimit: Int = 10_000, make: @escaping @Sendable () throws -> Handler) throws {
    self.name = name
    self.queueLimit = queueLimit
    let descriptor = ps_eventfd()
    guard descriptor >= 0 else {
      throw PlatformError(.resourceExhausted, "cannot open an eventfd: \(String(cString: strerror(-descriptor)))")
    }
    wakeDescriptor = descriptor
    let started = DispatchSemaphore(value: 0)
    let box = StartBox()
    let thread = Thread { [self] in
      ps_set_thread_name(name)
      let handler: Handler
      do {
        handler = try make()
      } catch {
        box.failure.withLock { $0 = error }
        started.signal()
        return
      }
      started.signal()
      run(handler)
    }
    thread.stackSize = 1 << 20
    thread.start()
    started.wait()
    if let error = box.failure.withLock({ $0 }) { throw error }
  }

  /// How the thread tells the initialiser that the handler could not be made.
  private final class StartBox: Sendable {
    let failure = Mutex<(any Error)?>(nil)
  }

  deinit { Foundation.close(wakeDescriptor) }

  /// Queues a command.
  /// - Throws: `resourceExhausted` when the queue is full, `unavailable` after `close`.
  func post(_ command: Handler.Command) throws {
    try state.withLock { state in
      guard !state.isStopping else { throw PlatformError(.unavailable, "\(name) is closed") }
      guard state.commands.count < queueLimit else {
        throw PlatformError(
          .resourceExhausted, "\(name): \(queueLimit) messages are already waiting to be sent", hint: "Try again later.")
      }
      state.commands.append(command)
    }
    wake()
  }

  private func wake() {
    guard isAsleep.exchange(false, ordering: .sequentiallyConsistent) else { return }
    var one: UInt64 = 1
    _ = write(wakeDescriptor, &one, 8)
  }

  /// Asks the loop to end. Queued commands are still performed.
  func close() {
    state.withLock { $0.isStopping = true }
    wake()
  }

  /// Returns when the loop has ended and its addresses are free again.
  func ended() async {
    await withCheckedContinuation { continuation in
      let done = state.withLock { state in
        if state.hasEnded { return true }
        state.waiting.append(continuation)
        return false
      }
      if done { continuation.resume() }
    }
  }

  private func run(_ handler: Handler) {
    var wait = 0
    while true {
      isAsleep.store(true, ordering: .sequentiallyConsistent)
      let hasWork = state.withLock { !$0.commands.isEmpty || $0.isStopping }
      let sockets = handler.sockets
      let ready = Socket.poll(
        sockets.map { ($0, .readable) }, descriptor: wakeDescriptor, milliseconds: hasWork ? 0 : max(0, min(wait, 1000)))
      isAsleep.store(false, ordering: .sequentiallyConsistent)
      var drained: UInt64 = 0
      _ = read(wakeDescriptor, &drained, 8)
      let (commands, stopping) = state.withLock { state in
        let taken = state.commands
        state.commands.removeAll(keepingCapacity: true)
        return (taken, state.isStopping)
      }
      for command in commands { handler.perform(command) }
      for (index, readiness) in ready.enumerated() where readiness.contains(.readable) { handler.receive(index) }
      wait = handler.tick(now: monotonicMilliseconds())
      if stopping { break }
    }
    handler.stop()
    let waiting = state.withLock { state in
      state.hasEnded = true
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }
}
