// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The statements of one transaction. Valid only inside the closure that received it; synchronous, so that nothing is
/// awaited between BEGIN and COMMIT.
public final class PostgresTransaction {
  private let connection: PostgresConnection

  init(_ connection: PostgresConnection) { self.connection = connection }

  public func query(_ sql: String, _ parameters: [PostgresValue] = []) throws -> [PostgresRow] {
    do { return try connection.run(sql, parameters).rows } catch let error as PostgresError { throw TransactionFailure(error) }
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = []) throws -> Int {
    do { return try connection.run(sql, parameters).affected } catch let error as PostgresError { throw TransactionFailure(error) }
  }
}

/// Carries the server's own error through the caller's closure, so that a retry can be decided by SQLSTATE.
struct TransactionFailure: Error {
  var error: PostgresError
  init(_ error: PostgresError) { self.error = error }
}

/// A fixed number of connections, each on a thread of its own: the smallest design and the fastest that was measured.
///
/// Calls wait in a bounded queue. A connection that died while idle is opened anew; a statement whose connection breaks under
/// it fails with `unavailable` and is never repeated, because it may have been done.
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

  /// Connects lazily; the first call shows whether the server can be reached.
  /// - Throws: `badConfiguration` for a configuration that cannot work.
  public init(_ configuration: PostgresConfiguration) throws {
    try configuration.validate()
    self.configuration = configuration
    threads = BlockingPool(name: "postgres", threads: configuration.poolSize, queueLimit: configuration.queueLimit)
    idle = Mutex((0..<configuration.poolSize).map { _ in Slot() })
  }

  public func query(_ sql: String, _ parameters: [PostgresValue] = []) async throws -> [PostgresRow] {
    try await withConnection { try $0.run(sql, parameters).rows }
  }

  /// - Returns: the number of affected rows.
  @discardableResult
  public func execute(_ sql: String, _ parameters: [PostgresValue] = []) async throws -> Int {
    try await withConnection { try $0.run(sql, parameters).affected }
  }

  /// Runs `body` between BEGIN and COMMIT; an error rolls back. Serialisation failures and deadlocks run it again, up to
  /// five times, so `body` must have no effects of its own.
  public func transaction<T: Sendable>(
    isolation: Isolation = .readCommitted, _ body: @escaping @Sendable (PostgresTransaction) throws -> T
  ) async throws -> T {
    let backoff = Backoff(firstMilliseconds: 10, limitMilliseconds: 500)
    return try await withConnection { connection in
      var attempt = 0
      while true {
        attempt += 1
        do {
          _ = try connection.run("BEGIN ISOLATION LEVEL \(isolation.rawValue)", [])
          let result = try body(PostgresTransaction(connection))
          _ = try connection.run("COMMIT", [])
          return result
        } catch {
          if !connection.isBroken && connection.inTransaction {
            _ = try? connection.run("ROLLBACK", [])  // a connection that cannot roll back is broken, which the next call sees
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
  /// - Returns: the number of rows stored.
  @discardableResult
  public func copyIn(table: String, columns: [String], rows: [[PostgresValue]]) async throws -> Int {
    let names = try columns.map(PostgresIdentifier.quote).joined(separator: ", ")
    let sql = "COPY \(try PostgresIdentifier.quote(table)) (\(names)) FROM STDIN"
    return try await withConnection { try $0.copyIn(sql, rows) }
  }

  /// Several statements in one text, outside of a transaction of ours.
  func script(_ sql: String) async throws { try await withConnection { try $0.runScript(sql) } }

  /// Refuses further calls and closes idle connections; one in use closes with the pool.
  public func close() {
    closed.store(true, ordering: .releasing)
    idle.withLock { for slot in $0 { slot.connection = nil } }
  }

  func withConnection<T: Sendable>(_ body: @escaping @Sendable (PostgresConnection) throws -> T) async throws -> T {
    guard !closed.load(ordering: .acquiring) else { throw PlatformError(.unavailable, "the Postgres pool is closed") }
    return try await threads.run { [self] in
      guard let slot = idle.withLock({ $0.popLast() }) else {
        throw PlatformError(.internalError, "more pool threads than connections")
      }
      defer { idle.withLock { $0.append(slot) } }
      do {
        return try Self.run(body, slot, configuration)
      } catch let error as PostgresError {
        throw error.platformError
      }
    }
  }

  private static func run<T>(
    _ body: (PostgresConnection) throws -> T, _ slot: Slot, _ configuration: PostgresConfiguration
  ) throws -> T {
    // A connection that died while it was idle (the server restarted) is opened anew before anything is sent on it.
    if slot.connection?.isDead == true { slot.connection = nil }
    let connection = try slot.connection ?? PostgresConnection(configuration)
    slot.connection = connection
    do {
      return try body(connection)
    } catch let error as PostgresError where error.isConnectionLoss {
      // Whether the statement was done cannot be known: the caller decides, nothing is repeated here.
      slot.connection = nil
      throw error
    }
  }
}
