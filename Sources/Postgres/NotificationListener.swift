// SPDX-License-Identifier: Apache-2.0

import CLibPQ
public import Core
import Foundation
import Synchronization

/// Hears what other sessions say with NOTIFY, on one connection and one thread of its own.
///
///     let listener = try NotificationListener(configuration, channels: ["jobs"])
///     for await event in listener.events {
///       switch event {
///       case .resynchronise: reread()             // also the first event
///       case .notification(_, let payload): apply(payload)
///       }
///     }
///
/// Postgres keeps no notifications for sessions that are away, so they are hints, never the truth: `.resynchronise` says when
/// some may have been missed. A lost connection is opened again after a growing pause, for as long as the listener runs.
public final class NotificationListener: Sendable {
  public enum Event: Sendable, Equatable {
    /// Listening began, began again after the connection was lost, or notifications were dropped because nobody took them out
    /// of the buffer: read the state itself. What is notified from here on arrives.
    case resynchronise
    case notification(channel: String, payload: String)
  }

  public struct Options: Sendable {
    /// Events that wait for the reader; above it notifications are dropped and one `.resynchronise` takes their place. A
    /// payload has less than 8000 bytes, so this bounds memory too (1024: 8 MB).
    public var bufferLimit = 1024
    /// Silence after which the server is asked for a sign of life. Ten times more notices a dead network as much later.
    public var heartbeat: Duration = .seconds(15)
    /// Pauses before connecting again.
    public var backoff = Backoff(firstMilliseconds: 100, limitMilliseconds: 5_000)
    public init() {}
  }

  public let channels: [String]
  /// For one reader. Ends after `stop`, and when the listener goes away; a reader that leaves (its task is cancelled) stops the listener.
  public let events: AsyncStream<Event>
  private let control: ListenerControl
  private let thread: BlockingPool

  /// Starts listening; returns at once. The first `.resynchronise` says that the server was reached.
  /// - Parameter configuration: how to connect, as for a pool; its `answerTimeout` bounds each of our own statements.
  /// - Throws: `invalidArgument` for no channel, more than 1000, or a name that is empty, longer than 63 bytes or holds NUL.
  public init(_ configuration: PostgresConfiguration, channels: [String], options: Options = Options()) throws {
    try configuration.validate()
    guard (1...1000).contains(channels.count), options.bufferLimit > 0, options.heartbeat > .zero else {
      throw PlatformError(.invalidArgument, "a listener needs 1 to 1000 channels, a buffer and a heartbeat")
    }
    let statements = try channels.map { "LISTEN \(try PostgresIdentifier.quote($0))" }
    self.channels = channels
    let control = try ListenerControl()
    self.control = control
    let (events, continuation) = AsyncStream<Event>.makeStream(bufferingPolicy: .bufferingOldest(options.bufferLimit))
    self.events = events
    continuation.onTermination = { _ in control.stop() }
    thread = BlockingPool(name: "pg-listen", threads: 1, queueLimit: 1)
    try thread.submit {
      ListenerLoop(configuration, statements, options, control, continuation).run()
    }
  }

  deinit { control.stop() }

  /// Why nothing is heard at the moment; nil while listening.
  public var problem: PlatformError? { control.problem }

  /// Notifications that were dropped so far because the buffer was full.
  public var droppedCount: Int { control.dropped.load(ordering: .relaxed) }

  /// Ends the stream and closes the connection; returns when both are done. Waits no longer than connecting or one statement
  /// may take. Safe to repeat.
  public func stop() async { await control.stopAndWait() }
}

/// What the listener's thread and its owner share. The pipe wakes the thread out of `poll`.
private final class ListenerControl: Sendable {
  private struct State {
    var stopping = false
    var ended = false
    var problem: PlatformError?
    var waiters: [CheckedContinuation<Void, Never>] = []
  }

  private let state = Mutex(State())
  let dropped = Atomic<Int>(0)
  let wakeReader: Int32
  private let wakeWriter: Int32

  init() throws {
    var ends: [Int32] = [-1, -1]
    guard pipe(&ends) == 0 else {
      throw PlatformError(.resourceExhausted, "no pipe for a Postgres listener: \(String(cString: strerror(errno)))")
    }
    for end in ends {
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
    }
    (wakeReader, wakeWriter) = (ends[0], ends[1])
  }

  deinit {
    close(wakeReader)
    close(wakeWriter)
  }

  var isStopping: Bool { state.withLock { $0.stopping } }
  var problem: PlatformError? {
    get { state.withLock { $0.problem } }
    set { state.withLock { $0.problem = newValue } }
  }

  func stop() {
    let first = state.withLock { state in
      defer { state.stopping = true }
      return !state.stopping
    }
    // The byte is never read: the pipe stays readable, so that no later wait can miss it.
    if first { _ = write(wakeWriter, [1], 1) }
  }

  func stopAndWait() async {
    stop()
    await withCheckedContinuation { continuation in
      let ended = state.withLock { state in
        if !state.ended { state.waiters.append(continuation) }
        return state.ended
      }
      if ended { continuation.resume() }
    }
  }

  func end() {
    let waiters = state.withLock { state in
      state.ended = true
      defer { state.waiters = [] }
      return state.waiters
    }
    waiters.forEach { $0.resume() }
  }

  /// Waits until `descriptor` is readable, the listener is stopped, or the time is over.
  /// - Returns: whether `descriptor` is readable.
  func wait(_ descriptor: Int32, milliseconds: Int) -> Bool {
    var descriptors = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0), pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
    let count = poll(&descriptors, 2, Int32(clamping: milliseconds))
    return count > 0 && descriptors[1].revents != 0
  }
}

/// The thread's side. Everything here is used by that one thread only.
private final class ListenerLoop {
  private let configuration: PostgresConfiguration
  private let statements: [String]
  private let options: NotificationListener.Options
  private let control: ListenerControl
  private let continuation: AsyncStream<NotificationListener.Event>.Continuation
  /// The reader has to be told that it may have missed something.
  private var owesMark = false

  init(
    _ configuration: PostgresConfiguration, _ statements: [String], _ options: NotificationListener.Options, _ control: ListenerControl,
    _ continuation: AsyncStream<NotificationListener.Event>.Continuation
  ) {
    self.configuration = configuration
    self.statements = statements
    self.options = options
    self.control = control
    self.continuation = continuation
  }

  func run() {
    var attempt = 0
    while !control.isStopping {
      do {
        let connection = try PostgresConnection(configuration)
        for statement in statements { _ = try connection.run(statement, []) }
        attempt = 0
        control.problem = nil
        owesMark = true
        try listen(connection)
      } catch {
        control.problem = (error as? PostgresError)?.platformError ?? PlatformError.from(error)
        attempt += 1
        _ = control.wait(-1, milliseconds: Int(options.backoff.delayMilliseconds(afterAttempt: attempt, unit: .random(in: 0..<1))))
      }
    }
    continuation.finish()
    control.end()
  }

  /// Hands out notifications until the listener is stopped.
  /// - Throws: when the connection is lost, or does not answer any more.
  private func listen(_ connection: PostgresConnection) throws {
    var heard = ContinuousClock.now
    while !control.isStopping {
      sendMark()
      let silence = heard.duration(to: .now)
      if silence >= options.heartbeat {
        _ = try connection.run("SELECT 1", [])
        heard = .now
      } else {
        // While a mark is owed, the reader may make room at any time, and nothing tells us.
        let pause = owesMark ? .milliseconds(50) : options.heartbeat - silence
        if !control.wait(connection.socket, milliseconds: max(1, pause.settingMilliseconds)) { continue }
        heard = .now
      }
      // What arrived before the connection broke is handed out all the same.
      let alive = connection.consumeInput()
      for one in connection.takeNotifications() { offer(.notification(channel: one.channel, payload: one.payload)) }
      if !alive { throw connection.failure(nil) }
    }
  }

  private func sendMark() {
    if owesMark, case .enqueued = continuation.yield(.resynchronise) { owesMark = false }
  }

  private func offer(_ event: NotificationListener.Event) {
    sendMark()
    // The mark, once there is room for it, stands for this event too.
    if !owesMark, case .enqueued = continuation.yield(event) { return }
    owesMark = true
    control.dropped.add(1, ordering: .relaxed)
  }
}

extension PostgresConnection {
  /// Notifications that have arrived.
  fileprivate func takeNotifications() -> [(channel: String, payload: String)] {
    var found: [(channel: String, payload: String)] = []
    while let notification = PQnotifies(handle) {
      found.append((String(cString: notification.pointee.relname), String(cString: notification.pointee.extra)))
      PQfreemem(notification)
    }
    return found
  }
}

extension PostgresPool {
  /// Tells every session that listens to `channel`, when this statement commits.
  /// - Throws: `invalidArgument` for a channel name of 0 or more than 63 bytes, or a payload of 8000 bytes and more.
  public func notify(channel: String, payload: String = "") async throws {
    try PostgresNotify.check(channel, payload)
    try await execute(PostgresNotify.sql, [.text(channel), .text(payload)])
  }
}

extension PostgresTransaction {
  /// As the pool's `notify`: it is sent when the transaction commits, and never when it rolls back.
  public func notify(channel: String, payload: String = "") throws {
    try PostgresNotify.check(channel, payload)
    try execute(PostgresNotify.sql, [.text(channel), .text(payload)])
  }
}

private enum PostgresNotify {
  static let sql = "SELECT pg_notify($1, $2)"

  static func check(_ channel: String, _ payload: String) throws {
    guard (1...63).contains(channel.utf8.count) else {
      throw PlatformError(.invalidArgument, "a notification channel's name has 1 to 63 bytes")
    }
    guard payload.utf8.count < 8000 else {
      throw PlatformError(
        .invalidArgument, "a notification holds at most 7999 bytes, this one has \(payload.utf8.count)",
        hint: "Store the data and send its key.")
    }
  }
}
