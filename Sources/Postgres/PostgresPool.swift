// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The statements of one transaction. Valid only inside the closure that received it; synchronous, so that nothing is
/// awaited between BEGIN and COMMIT.
public final class PostgresTransaction {
  private let connection: PostgresConnection
  private let bound: Duration?

  init(_ connection: PostgresConnection, within bound: Duration?) {
    self.connection = connection
    self.bound = bound
  }

  /// - Parameter bound: how long to wait for the answer; nil takes the transaction's.
  public func query(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) throws -> [PostgresRow] {
    do { return try connection.run(sql, parameters, within: bound ?? self.bound).rows } catch let error as PostgresError { throw TransactionFailure(error) }
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) throws -> Int {
    do { return try connection.run(sql, parameters, within: bound ?? self.bound).affected } catch let error as PostgresError { throw TransactionFailure(error) }
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
/// server that hangs the queue empties at once instead of one bound after the other. A connection that died while idle is opened anew; a statement whose connection breaks under
/// it fails with `unavailable`, one that is not answered in time with `timeout`; neither is repeated, because it may have been done.
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

  /// Connects lazily; the first call shows whether the server can be reached.
  /// - Throws: `badConfiguration` for a configuration that cannot work.
  public init(_ configuration: PostgresConfiguration) throws {
    try configuration.validate()
    self.configuration = configuration
    threads = BlockingPool(name: "postgres", threads: configuration.poolSize, queueLimit: configuration.queueLimit)
    idle = Mutex((0..<configuration.poolSize).map { _ in Slot() })
  }

  /// - Parameter bound: how long to wait for a free connection, and then for the answer; nil takes the configuration's `answerTimeout`.
  /// - Throws: `timeout` naming the statement's first words and the bound, when a hung server gave no answer.
  public func query(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) async throws -> [PostgresRow] {
    try await withConnection(within: bound) { try $0.run(sql, parameters, within: bound).rows }
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = [], within bound: Duration? = nil) async throws -> Int {
    try await withConnection(within: bound) { try $0.run(sql, parameters, within: bound).affected }
  }

  /// Runs `body` between BEGIN and COMMIT; an error rolls back. Serialisation failures and deadlocks run it again, up to
  /// five times, so `body` must have no effects of its own.
  /// - Parameter bound: how long to wait for the answer to each statement; nil takes the configuration's `answerTimeout`.
  public func transaction<T: Sendable>(
    isolation: Isolation = .readCommitted, within bound: Duration? = nil, _ body: @escaping @Sendable (PostgresTransaction) throws -> T
  ) async throws -> T {
    let backoff = Backoff(firstMilliseconds: 10, limitMilliseconds: 500)
    return try await withConnection(within: bound) { connection in
      var attempt = 0
      while true {
        attempt += 1
        do {
          _ = try connection.run("BEGIN ISOLATION LEVEL \(isolation.rawValue)", [], within: bound)
          let result = try body(PostgresTransaction(connection, within: bound))
          _ = try connection.run("COMMIT", [], within: bound)
          return result
        } catch {
          if !connection.isBroken && connection.inTransaction {
            _ = try? connection.run("ROLLBACK", [], within: bound)  // a connection that cannot roll back is broken, which the next call sees
          }
          let server = (error as? TransactionFailure)?.error ?? error as? PostgresError
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
    return try await withConnection(within: bound) { try $0.copyIn(sql, rows, within: bound) }
  }

  /// Refuses further calls and closes idle connections; one in use closes with the pool.
  public func close() {
    closed.store(true, ordering: .releasing)
    idle.withLock { for slot in $0 { slot.connection = nil } }
  }

  func withConnection<T: Sendable>(
    within bound: Duration?, _ body: @escaping @Sendable (PostgresConnection) throws -> T
  ) async throws -> T {
    guard !closed.load(ordering: .acquiring) else { throw PlatformError(.unavailable, "the Postgres pool is closed") }
    let patience = bound ?? configuration.answerTimeout
    let asked = ContinuousClock.now
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
      do {
        return try run(body, slot)
      } catch let error as PostgresError {
        throw error.platformError
      }
    }
  }

  private func run<T>(_ body: (PostgresConnection) throws -> T, _ slot: Slot) throws -> T {
    // A connection that died while it was idle (the server restarted) is opened anew before anything is sent on it.
    if slot.connection?.isDead == true { slot.connection = nil }
    let connection = try slot.connection ?? PostgresConnection(configuration, canceller: canceller)
    slot.connection = connection
    // Whether a statement on a lost connection was done cannot be known: the caller decides, nothing is repeated here.
    defer { if connection.isBroken { slot.connection = nil } }
    do {
      return try body(connection)
    } catch let error as PostgresError where error.isConnectionLoss {
      slot.connection = nil
      throw error
    }
  }
}
