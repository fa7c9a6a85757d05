// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

/// One libpq connection. Belongs to the thread that holds it; every call blocks, no longer than its bound.
final class PostgresConnection {
  let handle: OpaquePointer
  let configuration: PostgresConfiguration
  private let canceller: PostgresCanceller?
  let pulse: ServerPulse?
  /// Set when an answer did not come in time: it may still come, so nothing else can be asked here.
  private(set) var isAbandoned = false
  /// Names of the statements that the server keeps for this connection.
  private var kept: [String: String] = [:]
  private var keepsStatements = true

  /// Connects and applies the session settings.
  /// - Parameter canceller: asks the server to stop a statement that took too long; without it the connection is only closed.
  /// - Throws: `unavailable` when the server cannot be reached within the deadline, `badConfiguration` when it refuses us.
  init(_ configuration: PostgresConfiguration, canceller: PostgresCanceller? = nil, pulse: ServerPulse? = nil) throws {
    let seconds = max(2, configuration.connectTimeout.settingMilliseconds / 1000)
    let settings = [
      "-c search_path=\(configuration.schema)",
      "-c statement_timeout=\(configuration.statementTimeout.settingMilliseconds)",
      "-c lock_timeout=\(configuration.lockTimeout.settingMilliseconds)",
      "-c idle_in_transaction_session_timeout=\(configuration.idleInTransactionTimeout.settingMilliseconds)",
      "-c client_min_messages=warning", "-c bytea_output=hex", "-c TimeZone=UTC", "-c DateStyle=ISO,YMD",
    ].joined(separator: " ")
    // `dbname` with expand_dbname takes a whole connection string; what comes after it overrides.
    let parameters: [(String, String)] = [
      ("dbname", configuration.connectionString), ("application_name", configuration.applicationName),
      ("connect_timeout", String(seconds)), ("options", settings), ("client_encoding", "UTF8"), ("keepalives", "1"),
      ("keepalives_idle", "5"), ("keepalives_interval", "5"), ("keepalives_count", "3"), ("tcp_user_timeout", "5000"),
      ("target_session_attrs", configuration.requiresWritable ? "read-write" : "any"),
    ]
    let keys = parameters.map { strdup($0.0) } + [nil]
    let values = parameters.map { strdup($0.1) } + [nil]
    defer { (keys + values).forEach { free($0) } }
    var keyPointers = keys.map { UnsafePointer($0) }
    var valuePointers = values.map { UnsafePointer($0) }
    guard let opened = PQconnectdbParams(&keyPointers, &valuePointers, 1) else {
      throw PlatformError(.resourceExhausted, "no memory for a Postgres connection")
    }
    guard PQstatus(opened) == CONNECTION_OK else {
      let text = String(cString: PQerrorMessage(opened)).split(separator: "\n").first.map(String.init) ?? "connection failed"
      PQfinish(opened)
      let refused = ["authentication failed", "does not exist", "no pg_hba.conf"].contains { text.contains($0) }
      throw PlatformError(
        refused ? .badConfiguration : .unavailable, "Postgres: \(text)",
        hint: refused ? "Check the connection string." : "Is the server running and reachable?", number: "PLT-1109")
    }
    handle = opened
    self.configuration = configuration
    self.canceller = canceller
    self.pulse = pulse
    // Writing may wait as long as reading when the server hangs, so neither is left to libpq; nor is the last message, at closing.
    PQsetnonblocking(opened, 1)
    // NOTICE lines of the server have no reader here.
    PQsetNoticeProcessor(opened, { _, _ in }, nil)
  }

  deinit { PQfinish(handle) }

  /// Gives the connection up because `limit` is over. Asks the server to stop the statement first.
  func abandon(_ limit: StatementLimit) -> PostgresError {
    isAbandoned = true
    let stopped = canceller?.cancel(handle) ?? false
    return PostgresError(
      timeout: "no answer within \(limit.bound) to '\(limit.words)'; the connection was closed"
        + (stopped ? " and the server was asked to stop the statement" : ""))
  }

  /// Gives the connection up because its server shows no sign of life: there is nobody to ask to stop the statement.
  func abandonSilent(_ limit: StatementLimit) -> PostgresError {
    isAbandoned = true
    return PostgresError(timeout: "the server does not answer: no sign of life while '\(limit.words)' ran; the connection was closed")
  }

  /// The connection cannot go on although the server is well.
  func abandon() { isAbandoned = true }

  /// The descriptor to poll; negative when the connection is lost.
  var socket: Int32 { PQsocket(handle) }
  /// Takes in what the server sent. False: the connection is lost.
  func consumeInput() -> Bool { PQconsumeInput(handle) == 1 && !isBroken }

  var isBroken: Bool { isAbandoned || PQstatus(handle) != CONNECTION_OK }
  /// Broken, or closed by the other end while nobody used it: an idle server has nothing to say unless it says goodbye.
  var isDead: Bool {
    if isBroken { return true }
    var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, 0) > 0 else { return false }
    return PQconsumeInput(handle) == 0 || isBroken || descriptor.revents & Int16(POLLHUP | POLLERR) != 0
  }
  var inTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

  /// Runs one statement with parameters. Returns its rows and the number of affected rows.
  /// - Parameter bound: how long to wait for the whole answer; nil takes the configuration's `answerTimeout`.
  /// - Throws: `PostgresError`; after one that `isConnectionLoss` the connection is of no more use.
  func run(_ sql: String, _ parameters: [PostgresValue], within bound: Duration? = nil) throws -> (rows: [PostgresRow], affected: Int) {
    guard parameters.count <= 65_535 else {
      throw PlatformError(.invalidArgument, "a statement takes at most 65535 parameters, not \(parameters.count)", hint: "Use copyIn.")
    }
    return try send(sql, parameters, bound) {
      PQsendQueryParams(handle, sql, Int32(parameters.count), nil, $0, nil, nil, 0)
    }
  }

  /// As `run`, for one of a few statements that come again and again: the server reads and plans it once for this connection, which is most of
  /// what a short one takes. Between this and the server may be a pool that hands statements on to changing servers: then it is run as any other.
  func runKept(_ sql: String, _ parameters: [PostgresValue], within bound: Duration? = nil) throws -> (rows: [PostgresRow], affected: Int) {
    guard keepsStatements, !inTransaction else { return try run(sql, parameters, within: bound) }
    do {
      let name = try kept[sql] ?? keep(sql, bound)
      return try send(sql, parameters, bound) { PQsendQueryPrepared(handle, name, Int32(parameters.count), $0, nil, nil, 0) }
    } catch let error as PostgresError where Self.forgotten.contains(error.sqlState) {
      keepsStatements = false
      return try run(sql, parameters, within: bound)
    }
  }

  /// No such statement, there is one of this name already, and what it gives has changed: nothing was done.
  private static let forgotten: Set<String> = ["26000", "42P05", "0A000"]

  private func keep(_ sql: String, _ bound: Duration?) throws -> String {
    let name = "kept\(kept.count)"
    _ = try send(sql, [], bound) { _ in PQsendPrepare(handle, name, sql, 0, nil) }
    kept[sql] = name
    return name
  }

  private func send(
    _ sql: String, _ parameters: [PostgresValue], _ bound: Duration?, _ body: (UnsafePointer<UnsafePointer<CChar>?>?) -> Int32
  ) throws -> (rows: [PostgresRow], affected: Int) {
    let texts = try parameters.enumerated().map { index, value in try value.textForm("parameter $\(index + 1)") }
    let copies = texts.map { $0.map { strdup($0) } ?? nil }
    defer { copies.forEach { free($0) } }
    let pointers = copies.map { UnsafePointer<CChar>($0) }
    let limit = try begin(sql, bound)
    let sent = pointers.withUnsafeBufferPointer { body($0.baseAddress) }
    guard sent == 1 else { throw failure(nil) }
    try flush(limit)
    return try finish(limit)
  }

  /// Decodes one result, or throws what the server said.
  func read(_ result: OpaquePointer) throws -> (rows: [PostgresRow], affected: Int) {
    switch PQresultStatus(result) {
    case PGRES_COMMAND_OK: return ([], Self.affected(result))
    case PGRES_TUPLES_OK:
      let fields = PQnfields(result)
      let columns = PostgresRow.Columns(
        names: (0..<fields).map { String(cString: PQfname(result, $0)) }, types: (0..<fields).map { PQftype(result, $0) })
      let rows = (0..<PQntuples(result)).map { row in
        PostgresRow(
          columns: columns,
          values: (0..<fields).map { field in
            if PQgetisnull(result, row, field) == 1 { return .null }
            let length = Int(PQgetlength(result, row, field))
            return PQgetvalue(result, row, field).withMemoryRebound(to: UInt8.self, capacity: length) {
              PostgresTypes.decode(UnsafeBufferPointer(start: $0, count: length), type: columns.types[Int(field)])
            }
          })
      }
      return (rows, Self.affected(result))
    default: throw failure(result)
    }
  }

  private static func affected(_ result: OpaquePointer) -> Int { Int(String(cString: PQcmdTuples(result))) ?? 0 }

  func failure(_ result: OpaquePointer?) -> PostgresError {
    func field(_ code: UnicodeScalar) -> String? {
      result.flatMap { PQresultErrorField($0, Int32(code.value)) }.map { String(cString: $0) }
    }
    return PostgresError(
      sqlState: field("C") ?? "", message: field("M") ?? String(cString: PQerrorMessage(handle)).trimmingCharacters(in: .whitespacesAndNewlines),
      constraint: field("n"), table: field("t"))
  }
}
