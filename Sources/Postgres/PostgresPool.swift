// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The statements of one transaction. Valid only inside the closure that received it; synchronous, so that nothing is
/// awaited between BEGIN and COMMIT.
public final class PostgresTransaction {
  private let connection: PostgresConnection
  private let bound: Duration?
  /// Whether anything but queries ran.
  private(set) var hasWritten = false

  init(_ connection: PostgresConnection, within bound: Duration?) {
    self.connection = connection
    self.bound = bound
  }

  /// - Parameter bound: how long to wait for the answer; nil takes the transaction's.
  public func query(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) throws -> [PostgresRow] {
    try run(sql, parameters, bound).rows
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) throws -> Int {
    try run(sql, parameters, bound).affected
  }

  private func run(_ sql: String, _ parameters: [PostgresValue], _ bound: Duration?) throws -> (rows: [PostgresRow], affected: Int) {
    if !PostgresPool.isQuery(sql) { hasWritten = true }
    do { return try connection.run(sql, parameters, within: bound ?? self.bound) } catch let error as PostgresError { throw TransactionFailure(error) }
  }
}

/// Carries the server's own error through the caller's closure, so that a retry can be decided by SQLSTATE.
struct TransactionFailure: Error {
  var error: PostgresError
  init(_ error: PostgresError) { self.error = error }
}

/// A fixed number of connections, each on a thread of its own: the smallest design and the fastest that was measured.
///
/// Calls wait in a bounded queue. One that waited there longer than its bound fails as soon as its turn comes, without being sent: behind a
/// server that hangs the queue empties at once instead of one bound after the other. A connection that died while idle is opened anew.
///
/// With an `outagePatience` a call outlives a server that is away for a moment: it waits for a connection, and is run again when its own
/// broke under it and it changes nothing, or was certainly not done. A transaction whose COMMIT was not answered is looked up by its
/// number when the server is back. Whatever else breaks fails with `unavailable`, and what is not answered in time with `timeout`:
/// neither is repeated, because it may have been done.
public final class PostgresPool: Sendable {
  public enum Isolation: String, Sendable {
    case readCommitted = "READ COMMITTED"
    case repeatableRead = "REPEATABLE READ"
    case serializable = "SERIALIZABLE"
  }

  private final class Slot: @unchecked Sendable {  // used by the one thread that took it out of `idle`
    var connection: PostgresConnection?
  }

  public let configuration: PostgresConfiguration
  private let threads: BlockingPool
  private let idle: Mutex<[Slot]>
  private let closed = Atomic<Bool>(false)
  private let canceller = PostgresCanceller()
  private let pulse: ServerPulse?
  private let fence = Mutex<(@Sendable (PostgresTransaction) throws -> Void)?>(nil)

  /// Connects lazily; the first call shows whether the server can be reached.
  /// - Throws: `badConfiguration` for a configuration that cannot work.
  public init(_ configuration: PostgresConfiguration) throws {
    try configuration.validate()
    self.configuration = configuration
    pulse = ServerPulse(configuration)
    threads = BlockingPool(name: "postgres", threads: configuration.poolSize, queueLimit: configuration.queueLimit)
    idle = Mutex((0..<configuration.poolSize).map { _ in Slot() })
  }

  /// From now on `check` begins every transaction, and whatever changes something is one: what throws there leaves nothing behind.
  public func setFence(_ check: (@Sendable (PostgresTransaction) throws -> Void)?) { fence.withLock { $0 = check } }

  /// - Parameter bound: how long to wait for a free connection, and then for the answer; nil takes the configuration's `answerTimeout`.
  /// - Throws: `timeout` naming the statement's first words and the bound, when a hung server gave no answer.
  public func query(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) async throws -> [PostgresRow] {
    let isQuery = Self.isQuery(sql)
    if !isQuery, isFenced { return try await transaction(within: bound) { try $0.query(sql, parameters) } }
    return try await withConnection(within: bound, mayRepeat: { isQuery }) { try $0.run(sql, parameters, within: bound).rows }
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) async throws -> Int {
    let isQuery = Self.isQuery(sql)
    if !isQuery, isFenced { return try await transaction(within: bound) { try $0.execute(sql, parameters) } }
    return try await withConnection(within: bound, mayRepeat: { isQuery }) { try $0.run(sql, parameters, within: bound).affected }
  }

  /// Runs one statement that makes sure by itself that nobody else has taken over, and that does the same when it runs twice: it needs no
  /// transaction around it and no check before it, which is one round trip instead of six, and may be sent again when its answer was lost.
  /// The server keeps its plan for each connection, so its text has to be one of a few, and its plan right for all parameters.
  public func repeatable(_ sql: String, _ parameters: [PostgresValue], within bound: Duration? = nil) async throws -> [PostgresRow] {
    try await withConnection(within: bound, mayRepeat: { true }) { try $0.runKept(sql, parameters, within: bound).rows }
  }

  private var isFenced: Bool { fence.withLock { $0 != nil } }

  /// Whether a statement is one that reads, by its first word.
  static func isQuery(_ sql: String) -> Bool {
    guard let start = sql.utf8.firstIndex(where: { $0 > 32 }) else { return false }
    return sql[start...].utf8.prefix(6).elementsEqual("SELECT".utf8, by: { $0 & 0xDF == $1 })
  }

  /// Runs `body` between BEGIN and COMMIT; an error rolls back. Serialisation failures and deadlocks run it again, up to
  /// five times, and a lost connection within the `outagePatience`, so `body` must have no effects of its own.
  /// - Parameter bound: how long to wait for the answer to each statement; nil takes the configuration's `answerTimeout`.
  public func transaction<T: Sendable>(
    isolation: Isolation = .readCommitted, within bound: Duration? = nil, _ body: @escaping @Sendable (PostgresTransaction) throws -> T
  ) async throws -> T {
    let backoff = Backoff(firstMilliseconds: 10, limitMilliseconds: 500)
    let progress = CommitProgress<T>()
    let settles = configuration.outagePatience > .zero
    let fence = fence.withLock { $0 }
    return try await withConnection(within: bound, mayRepeat: { progress.mayRepeat }) { connection in
      if let settled = try progress.settle(connection) { return settled }
      var attempt = 0
      while true {
        attempt += 1
        do {
          let transaction = PostgresTransaction(connection, within: bound)
          _ = try connection.run("BEGIN ISOLATION LEVEL \(isolation.rawValue)", [], within: bound)
          try fence?(transaction)
          let result = try body(transaction)
          if settles && transaction.hasWritten { try progress.prepare(connection, result) }
          _ = try connection.run("COMMIT", [], within: bound)
          return result
        } catch {
          if !connection.isBroken && connection.inTransaction {
            _ = try? connection.run("ROLLBACK", [], within: bound)  // a connection that cannot roll back is broken, which the next call sees
          }
          let server = (error as? TransactionFailure)?.error ?? error as? PostgresError
          // The server has spoken: it did not commit.
          if let server, !server.sqlState.isEmpty { progress.refused() }
          if let server, server.isSerializationFailure, attempt < 5 {
            Thread.sleep(forTimeInterval: Double(backoff.delayMilliseconds(afterAttempt: attempt, unit: .random(in: 0..<1))) / 1000)
            continue
          }
          throw server ?? error
        }
      }
    }
  }

  /// Loads rows by COPY.
  /// - Parameter bound: for the whole load; nil takes the configuration's `answerTimeout`.
  /// - Returns: the number of rows stored.
  @discardableResult
  public func copyIn(table: String, columns: [String], rows: [[PostgresValue]], within bound: Duration? = nil) async throws -> Int {
    let names = try columns.map(PostgresIdentifier.quote).joined(separator: ", ")
    let sql = "COPY \(try PostgresIdentifier.quote(table)) (\(names)) FROM STDIN"
    return try await withConnection(within: bound, mayRepeat: { false }) { try $0.copyIn(sql, rows, within: bound) }
  }

  /// Refuses further calls and closes idle connections; one in use closes with the pool.
  public func close() {
    closed.store(true, ordering: .releasing)
    idle.withLock { for slot in $0 { slot.connection = nil } }
  }

  /// - Parameter mayRepeat: whether `body` may run again after it lost its connection without an answer.
  func withConnection<T: Sendable>(
    within bound: Duration?, mayRepeat: @escaping @Sendable () -> Bool = { false }, _ body: @escaping @Sendable (PostgresConnection) throws -> T
  ) async throws -> T {
    guard !closed.load(ordering: .acquiring) else { throw PlatformError(.unavailable, "the Postgres pool is closed") }
    let patience = bound ?? configuration.answerTimeout
    let asked = ContinuousClock.now
    let outageEnds = asked + min(patience, configuration.outagePatience)
    return try await threads.run { [self] in
      guard asked.duration(to: .now) <= patience else {
        throw PlatformError(
          .timeout, "no Postgres connection became free within \(patience); nothing was sent",
          hint: "Is the server overloaded, stopped or cut off?", number: "PLT-1109")
      }
      guard let slot = idle.withLock({ $0.popLast() }) else {
        throw PlatformError(.internalError, "more pool threads than connections")
      }
      defer { idle.withLock { $0.append(slot) } }
      while true {
        do {
          return try run(body, slot)
        } catch let failure as Unreachable {
          guard mayWait(outageEnds) else { throw failure.error }
        } catch let error as PostgresError {
          // Where the server gave the connection up, it has not done the statement.
          guard error.isConnectionLoss, !error.sqlState.isEmpty || mayRepeat(), mayWait(outageEnds) else { throw error.platformError }
        }
      }
    }
  }

  /// Lets a moment pass.
  /// - Returns: false when it is too late to try again.
  private func mayWait(_ end: ContinuousClock.Instant) -> Bool {
    guard ContinuousClock.now < end, !closed.load(ordering: .acquiring) else { return false }
    Thread.sleep(forTimeInterval: 0.1)
    return true
  }

  /// There is no connection: nothing was sent.
  private struct Unreachable: Error { var error: PlatformError }

  private func connect() throws -> PostgresConnection {
    do {
      return try PostgresConnection(configuration, canceller: canceller, pulse: pulse)
    } catch let error as PlatformError where error.code == .unavailable {
      throw Unreachable(error: error)
    }
  }

  private func run<T>(_ body: (PostgresConnection) throws -> T, _ slot: Slot) throws -> T {
    // A connection that died while it was idle (the server restarted) is opened anew before anything is sent on it.
    if slot.connection?.isDead == true { slot.connection = nil }
    let connection = try slot.connection ?? connect()
    slot.connection = connection
    defer { if connection.isBroken { slot.connection = nil } }
    do {
      return try body(connection)
    } catch let error as PostgresError where error.isConnectionLoss {
      slot.connection = nil
      throw error
    }
  }
}
