// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

/// Until when one statement may take, and how to name it.
struct StatementLimit {
  let bound: Duration
  let deadline: ContinuousClock.Instant
  private let sql: String

  init(_ sql: String, _ bound: Duration) {
    self.sql = sql
    self.bound = bound
    deadline = .now + bound
  }

  /// The statement's first words. Values are never in them: they travel as parameters.
  var words: String {
    let words = sql.split(maxSplits: 8, omittingEmptySubsequences: true, whereSeparator: \.isWhitespace)
    let text = words.prefix(8).joined(separator: " ")
    return words.count > 8 || text.count > 80 ? text.prefix(80) + " ..." : text
  }

  /// What is left, in milliseconds rounded up; 0 when it is over. Never more than a day, after which one looks again.
  var remainingMilliseconds: Int32 {
    let left = ContinuousClock.now.duration(to: deadline)
    return left <= .zero ? 0 : Int32(min(left.settingMilliseconds, 86_400_000))
  }
}

/// The asynchronous half of libpq under `poll` (PostgreSQL manual, "Asynchronous Command Processing"): nothing here waits longer
/// than the statement's limit, whatever the server does.
extension PostgresConnection {
  /// Begins one statement.
  /// - Throws: a connection loss when the connection was given up before; `internalError` for a text that C would cut.
  func begin(_ sql: String, _ bound: Duration?) throws -> StatementLimit {
    guard !isAbandoned else { throw PostgresError(sqlState: "", message: "the connection was given up after an earlier statement") }
    guard !sql.utf8.contains(0) else { throw PlatformError(.internalError, "a statement holds a NUL character") }
    return StatementLimit(sql, bound ?? configuration.answerTimeout)
  }

  /// Waits until everything that libpq holds back was taken by the socket.
  func flush(_ limit: StatementLimit) throws {
    while true {
      switch PQflush(handle) {
      case 0: return
      case 1: try waitToSend(limit)
      default: throw failure(nil)
      }
    }
  }

  /// Waits until the socket takes more. The server may have to be read first: it stops reading while nobody reads its answer.
  func waitToSend(_ limit: StatementLimit) throws {
    let ready = try wait(Int16(POLLIN | POLLOUT), limit)
    if ready & Int16(POLLIN | POLLHUP | POLLERR) != 0 && PQconsumeInput(handle) == 0 { throw failure(nil) }
  }

  /// The next result of the running statement, or nil after its last. The caller frees it.
  func nextResult(_ limit: StatementLimit) throws -> OpaquePointer? {
    while PQisBusy(handle) == 1 {
      _ = try wait(Int16(POLLIN), limit)
      if PQconsumeInput(handle) == 0 { throw failure(nil) }
    }
    return PQgetResult(handle)
  }

  /// Reads all results of the running statement.
  /// - Returns: the last one. Throws the first failure.
  func finish(_ limit: StatementLimit) throws -> (rows: [PostgresRow], affected: Int) {
    var answer: (rows: [PostgresRow], affected: Int) = ([], 0)
    var problem: (any Error)?
    while let result = try nextResult(limit) {
      defer { PQclear(result) }
      switch PQresultStatus(result) {
      case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
        // The statement would go on for ever, and only closing the connection ends it on both sides.
        abandon()
        throw PlatformError(.invalidArgument, "'\(limit.words)' begins a COPY, which is not an ordinary statement", hint: "Use copyIn.")
      default:
        do { answer = try read(result) } catch { problem = problem ?? error }
      }
    }
    if let problem { throw problem }
    return answer
  }

  /// Waits for the socket.
  /// - Returns: the events that came.
  /// - Throws: a timeout when the limit is over; the connection is given up then.
  private func wait(_ events: Int16, _ limit: StatementLimit) throws -> Int16 {
    var descriptor = pollfd(fd: PQsocket(handle), events: events, revents: 0)
    guard descriptor.fd >= 0 else { throw failure(nil) }
    while true {
      // The socket is looked at once more when the time is over: this process may have been stopped, and not the server.
      let remaining = limit.remainingMilliseconds
      let milliseconds = min(remaining, pulse?.sliceMilliseconds ?? remaining)
      let count = poll(&descriptor, 1, milliseconds)
      if count > 0 {
        pulse?.heard()
        return descriptor.revents
      }
      if count == 0 && remaining == 0 { throw abandon(limit) }
      if count == 0, let pulse, milliseconds < remaining, !pulse.isAlive() { throw abandonSilent(limit) }
      if count < 0 && errno != EINTR {
        throw PostgresError(sqlState: "", message: "poll: \(String(cString: strerror(errno)))")
      }
    }
  }
}
