// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import Synchronization

/// The child process that runs interactive statements, one at a time. It holds no credentials and may be killed at any moment.
public enum StatementExecutorProcess {
  /// Serves statements until standard input ends, then exits.
  /// - Parameters:
  ///   - memoryLimit: of the SQL engine, for example `1GB`.
  ///   - scratch: folder for what does not fit memory.
  public static func run(memoryLimit: String, threads: Int, scratch: String) async {
    let settings = StatementSession.Settings(memoryLimit: memoryLimit, threads: threads, scratch: scratch)
    ProcessSupport.ignoreBrokenPipes()
    let executor = StatementExecutor(channel: ExecutorChannel(), session: StatementSession(settings))
    await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
      start("commands", stack: 1 << 20) {
        executor.readCommands()
        done.resume()
      }
      start("statement", stack: 64 << 20) { executor.work() }
      start("watch", stack: 1 << 20) { executor.watch() }
    }
    exit(0)
  }

  private static func start(_ name: String, stack: Int, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread(block: body)
    thread.name = name
    thread.stackSize = stack
    thread.start()
  }
}

private final class StatementExecutor: Sendable {
  private struct State {
    var waiting: StatementFrame?
    /// The statement that runs, and since when.
    var running: (number: UInt32, since: ContinuousClock.Instant)?
    var cancelled: UInt32 = 0
    var isWatching = false
  }

  /// How long an idle executor keeps the tables of its last query in memory.
  private static let tableSeconds = 60.0

  private let channel: ExecutorChannel
  private let session: StatementSession
  private let state = Mutex(State())
  private let arrived = DispatchSemaphore(value: 0)
  private let watched = DispatchSemaphore(value: 0)

  init(channel: ExecutorChannel, session: StatementSession) {
    self.channel = channel
    self.session = session
  }

  private func send(_ kind: StatementFrameKind, _ number: UInt32, _ payload: Data = Data()) {
    channel.send(StatementFrame(kind: kind, number: number, payload: payload).encoded)
  }

  func readCommands() {
    var reader = StatementFrameReader()
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count == 0 || (count < 0 && errno != EINTR) { return }
      guard count > 0 else { continue }
      guard let frames = buffer.withUnsafeBytes({ reader.feed(UnsafeRawBufferPointer(rebasing: $0[..<count])) }) else { return }
      for frame in frames {
        switch frame.kind {
        case .run:
          state.withLock { $0.waiting = frame }
          arrived.signal()
        case .cancel:
          let hits = state.withLock { state in
            state.cancelled = frame.number
            return state.running?.number == frame.number
          }
          if hits { session.interrupt() }
        default: break
        }
      }
    }
  }

  /// The thread on which statements run.
  func work() {
    prepare()
    send(.ready, 0)
    while true {
      if arrived.wait(timeout: .now() + Self.tableSeconds) == .timedOut {
        session.close()
        arrived.wait()
      }
      let taken = state.withLock { state -> (frame: StatementFrame, wake: Bool, isCancelled: Bool)? in
        guard let frame = state.waiting else { return nil }
        state.waiting = nil
        state.running = (frame.number, .now)
        defer { state.isWatching = true }
        return (frame, !state.isWatching, state.cancelled == frame.number)
      }
      guard let taken else { continue }
      if taken.wake { watched.signal() }
      if taken.isCancelled {
        send(.cancelled, taken.frame.number)
      } else {
        perform(taken.frame)
      }
      prepare()
    }
  }

  private func prepare() {
    // What cannot be made ahead is made for the statement, which then says what is wrong.
    try? session.prepare()
  }

  private func perform(_ frame: StatementFrame) {
    let answer: (StatementFrameKind, Data)
    do {
      answer = (.succeeded, try session.run(StatementMessage(decoding: frame.payload)).encoded())
    } catch is CancellationError {
      answer = (.cancelled, Data())
    } catch {
      answer = (.failed, (try? JSONEncoder.platform.encode(PlatformError.from(error))) ?? Data())  // an error is always encodable
    }
    state.withLock { $0.running = nil }
    send(answer.0, frame.number, answer.1)
  }

  /// Interrupts again what was cancelled, and reports progress of what takes long. Sleeps for good while nothing runs.
  func watch() {
    var idle = 0
    var reported: UInt8 = 0
    while true {
      let (running, isCancelled) = state.withLock { ($0.running, $0.running.map { $0.number } == $0.cancelled) }
      idle = running == nil ? idle + 1 : 0
      if isCancelled { session.interrupt() }
      if let running, ContinuousClock.now - running.since > .milliseconds(300), let share = session.progress {
        let percent = UInt8(max(0, min(100, share * 100)))
        if percent != reported { send(.progress, running.number, Data([percent])) }
        reported = percent
      }
      if idle > 40 {
        let sleeps = state.withLock { state in
          if state.running == nil { state.isWatching = false }
          return !state.isWatching
        }
        if sleeps { watched.wait() }
        idle = 0
      }
      usleep(25_000)
    }
  }
}
