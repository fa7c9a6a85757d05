// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Core
import Foundation

extension PostgresConnection {
  /// COPY ... FROM STDIN in text form.
  /// - Parameter bound: for the whole load; nil takes the configuration's `answerTimeout`.
  /// - Returns: the number of rows.
  func copyIn(_ sql: String, _ rows: [[PostgresValue]], within bound: Duration? = nil) throws -> Int {
    try copyIn(sql, within: bound) { put in
      var buffer: [UInt8] = []
      buffer.reserveCapacity(1 << 18)
      func send() throws {
        try buffer.withUnsafeBytes { try put($0) }
        buffer.removeAll(keepingCapacity: true)
      }
      for row in rows {
        for (index, value) in row.enumerated() {
          if index > 0 { buffer.append(9) }
          Self.appendCopyText(try value.textForm("column \(index + 1)"), to: &buffer)
        }
        buffer.append(10)
        if buffer.count >= 1 << 18 { try send() }
      }
      try send()
    }
  }

  /// COPY ... FROM STDIN with bytes in the form that the statement asks for.
  /// - Parameter produce: calls `put` with piece after piece; what it throws makes the server forget the rows before it.
  /// - Returns: the number of rows.
  func copyIn(_ sql: String, within bound: Duration? = nil, _ produce: (_ put: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws -> Int {
    let limit = try begin(sql, bound)
    guard PQsendQuery(handle, sql) == 1 else { throw failure(nil) }
    try flush(limit)
    guard let start = try nextResult(limit) else { throw failure(nil) }
    guard PQresultStatus(start) == PGRES_COPY_IN else {
      defer { PQclear(start) }
      let refusal = failure(start)
      while let rest = try nextResult(limit) { PQclear(rest) }
      throw refusal
    }
    PQclear(start)
    var problem: (any Error)?
    /// Sends in pieces that the socket has to take: libpq would keep any amount in memory.
    func put(_ bytes: UnsafeRawBufferPointer) throws {
      var sent = 0
      while sent < bytes.count {
        let count = min(bytes.count - sent, 1 << 18)
        let queued = PQputCopyData(handle, (bytes.baseAddress! + sent).assumingMemoryBound(to: CChar.self), Int32(count))
        if queued < 0 { throw failure(nil) }
        if queued == 1 {
          sent += count
          try flush(limit)
        } else {
          try waitToSend(limit)
        }
      }
    }
    do {
      try produce(put)
    } catch let error as PostgresError where error.isConnectionLoss {
      throw error
    } catch {
      problem = error  // a value that cannot be sent: the server is told, and forgets the rows before it
    }
    while true {
      let queued = PQputCopyEnd(handle, problem == nil ? nil : "aborted by the client")
      if queued == 1 { break }
      if queued < 0 { throw failure(nil) }
      try waitToSend(limit)
    }
    try flush(limit)
    var affected = 0
    while let result = try nextResult(limit) {
      defer { PQclear(result) }
      do { affected += try read(result).affected } catch { problem = problem ?? error }
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
