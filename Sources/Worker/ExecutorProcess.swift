// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import Transport

/// The child process in which work runs: reads orders, does them one after the other, reports. It holds no credentials and may be
/// killed at any moment.
public enum ExecutorProcess {
  /// Serves orders until standard input ends, then exits.
  public static func run() async {
    ProcessSupport.ignoreBrokenPipes()
    let session = ExecutorSession(channel: ExecutorChannel())
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
      let thread = Thread {
        session.readFrames()
        done.resume()
      }
      thread.stackSize = 1 << 20
      thread.start()
    }
    exit(0)
  }
}

/// The conversation with the worker. One thread reads, another one works.
final class ExecutorSession: Sendable {
  private struct Ordered {
    var spec: WorkSpec
    var keys: [StorageKeys]
    var context: ExecutorContext
  }
  private struct State {
    var waiting: [Ordered] = []
    var current: ExecutorContext?
    var hasThread = false
  }
  private let channel: ExecutorChannel
  private let state = Mutex(State())
  /// Counts what was ordered.
  private let ordered = DispatchSemaphore(value: 0)

  init(channel: ExecutorChannel) { self.channel = channel }

  func send(_ kind: ExecutorFrameKind, _ number: UInt32, _ payload: Data = Data()) {
    channel.send(ExecutorFrame(kind: kind, number: number, payload: payload).encoded)
  }

  func readFrames() {
    var reader = ExecutorFrameReader()
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count == 0 || (count < 0 && errno != EINTR) { return }
      guard count > 0 else { continue }
      guard let frames = buffer.withUnsafeBytes({ reader.feed(UnsafeRawBufferPointer(rebasing: $0[..<count])) }) else { return }
      for frame in frames { handle(frame) }
    }
  }

  private func handle(_ frame: ExecutorFrame) {
    switch frame.kind {
    case .run:
      do {
        try accept(frame)
      } catch {
        fail(frame.number, PlatformError.from(error))
      }
    case .peers:
      guard let peers = try? JSONDecoder.platform.decode([GangPeer].self, from: frame.payload) else { return }  // the worker wrote it
      context(frame.number)?.receive(peers: peers)
    case .cancel:
      let running = state.withLock { state -> ExecutorContext? in
        state.waiting.removeAll { $0.context.number == frame.number }
        return state.current.flatMap { $0.number == frame.number ? $0 : nil }
      }
      // What ended in the meantime has said so already; a second end is nobody's.
      if let running { running.cancel() } else { send(.returned, frame.number) }
    case .takeBack:
      let isWaiting = state.withLock { state in
        let count = state.waiting.count
        state.waiting.removeAll { $0.context.number == frame.number }
        return state.waiting.count < count
      }
      if isWaiting { send(.returned, frame.number) }
    case .drain: context(frame.number)?.drain()
    case .progress, .metric, .log, .endpoint, .succeeded, .failed, .cancelled, .returned: break
    }
  }

  private func context(_ number: UInt32) -> ExecutorContext? {
    state.withLock { state in
      ([state.current] + state.waiting.map(\.context)).lazy.compactMap { $0 }.first { $0.number == number }
    }
  }

  private func accept(_ frame: ExecutorFrame) throws {
    let order = try ExecutorOrder(decoding: frame.payload)
    let work = try AssignedWork(json: JSONValue(parsing: order.work))
    let context = ExecutorContext(session: self, number: frame.number, scratch: order.scratch, gang: work.gang, secrets: work.secrets ?? [:])
    let spec = WorkSpec(unit: order.unit, attempt: order.attempt, kind: order.kind, payload: work.payload)
    let isFirst = state.withLock { state in
      state.waiting.append(Ordered(spec: spec, keys: work.keys ?? [], context: context))
      defer { state.hasThread = true }
      return !state.hasThread
    }
    ordered.signal()
    guard isFirst else { return }
    let thread = Thread { [self] in serve() }
    thread.stackSize = 64 << 20
    thread.start()
  }

  private func serve() {
    while true {
      ordered.wait()
      let next = state.withLock { state -> Ordered? in
        // What was ordered may have been taken off the queue.
        guard !state.waiting.isEmpty else { return nil }
        let next = state.waiting.removeFirst()
        state.current = next.context
        return next
      }
      if let next { perform(next) }
    }
  }

  private func perform(_ ordered: Ordered) {
    KeyRing.shared.replace(ordered.keys)
    let context = ordered.context
    do {
      let result = try WorkKinds.run(ordered.spec, context: context)
      context.flushProgress()
      end(context, .succeeded, result.sortedData)
    } catch is CancellationError {
      end(context, .cancelled)
    } catch {
      if context.isCancelled { end(context, .cancelled) } else { end(context, .failed, Self.encoded(PlatformError.from(error))) }
    }
  }

  private func end(_ context: ExecutorContext, _ kind: ExecutorFrameKind, _ payload: Data = Data()) {
    send(kind, context.number, payload)
    let rest = state.withLock { state -> [Ordered] in
      state.current = nil
      // What was stopped in the middle may have left something behind in this process: nothing else is begun in it.
      guard context.isCancelled else { return [] }
      defer { state.waiting = [] }
      return state.waiting
    }
    for one in rest { send(.returned, one.context.number) }
  }

  private func fail(_ number: UInt32, _ error: PlatformError) { send(.failed, number, Self.encoded(error)) }

  private static func encoded(_ error: PlatformError) -> Data { (try? JSONEncoder.platform.encode(error)) ?? Data() }  // always encodable
}
