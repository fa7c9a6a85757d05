// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

/// One libpq connection. Belongs to the pool thread that holds it; every call blocks.
final class PostgresConnection {
  let handle: OpaquePointer

  /// Connects and applies the session settings.
  /// - Throws: `unavailable` when the server cannot be reached within the deadline, `badConfiguration` when it refuses us.
  init(_ configuration: PostgresConfiguration) throws {
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
    // NOTICE lines of the server have no reader here.
    PQsetNoticeProcessor(opened, { _, _ in }, nil)
  }

  deinit { PQfinish(handle) }

  /// The descriptor to poll; negative when the connection is lost.
  var socket: Int32 { PQsocket(handle) }
  /// Takes in what the server sent. False: the connection is lost.
  func consumeInput() -> Bool { PQconsumeInput(handle) == 1 && !isBroken }

  var isBroken: Bool { PQstatus(handle) != CONNECTION_OK }
  /// Broken, or closed by the other end while nobody used it: an idle server has nothing to say unless it says goodbye.
  var isDead: Bool {
    if isBroken { return true }
    var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
    guard poll(&descriptor, 1, 0) > 0 else { return false }
    return PQconsumeInput(handle) == 0 || isBroken || descriptor.revents & Int16(POLLHUP | POLLERR) != 0
  }
  var inTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

  /// Runs one statement with parameters. Returns its rows and the number of affected rows.
  func run(_ sql: String, _ parameters: [PostgresValue]) throws -> (rows: [PostgresRow], affected: Int) {
    let texts = try parameters.enumerated().map { index, value in try value.textForm("parameter $\(index + 1)") }
    let copies = texts.map { $0.map { strdup($0) } ?? nil }
    defer { copies.forEach { free($0) } }
    let pointers = copies.map { UnsafePointer<CChar>($0) }
    let result = pointers.withUnsafeBufferPointer {
      PQexecParams(handle, sql, Int32(parameters.count), nil, $0.baseAddress, nil, nil, 0)
    }
    return try read(result)
  }

  /// Several statements without parameters, as in migrations.
  func runScript(_ sql: String) throws { _ = try read(PQexec(handle, sql)) }

  private func read(_ result: OpaquePointer?) throws -> (rows: [PostgresRow], affected: Int) {
    guard let result else { throw failure(nil) }
    defer { PQclear(result) }
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

  /// COPY ... FROM STDIN in text form.
  /// - Returns: the number of rows.
  func copyIn(_ sql: String, _ rows: [[PostgresValue]]) throws -> Int {
    guard let start = PQexec(handle, sql) else { throw failure(nil) }
    guard PQresultStatus(start) == PGRES_COPY_IN else {
      defer { PQclear(start) }
      throw failure(start)
    }
    PQclear(start)
    var problem: (any Error)?
    var buffer: [UInt8] = []
    buffer.reserveCapacity(1 << 18)
    func flush() {
      let sent = buffer.withUnsafeBytes { PQputCopyData(handle, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count)) }
      if sent != 1 { problem = failure(nil) }
      buffer.removeAll(keepingCapacity: true)
    }
    do {
      for row in rows {
        for (index, value) in row.enumerated() {
          if index > 0 { buffer.append(9) }
          Self.appendCopyText(try value.textForm("column \(index + 1)"), to: &buffer)
        }
        buffer.append(10)
        if buffer.count > 1 << 18 { flush() }
        if problem != nil { break }
      }
      if problem == nil && !buffer.isEmpty { flush() }
    } catch {
      problem = error
    }
    PQputCopyEnd(handle, problem == nil ? nil : "aborted by the client")
    var affected = 0
    while let result = PQgetResult(handle) {
      if problem == nil {
        do { affected += try read(result).affected } catch { problem = error }
      } else {
        PQclear(result)
      }
    }
    if let problem { throw problem }
    return affected
  }

  private static func appendCopyText(_ text: String?, to buffer: inout [UInt8]) {
    guard let text else { return buffer.append(contentsOf: [92, 78]) }  // \N
    for byte in text.utf8 {
      switch byte {
      case 92: buffer.append(contentsOf: [92, 92])
      case 9: buffer.append(contentsOf: [92, 116])
      case 10: buffer.append(contentsOf: [92, 110])
      case 13: buffer.append(contentsOf: [92, 114])
      default: buffer.append(byte)
      }
    }
  }
}
