// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Query
import Scheduling
import Serving

/// The logged requests of an endpoint as a table: what monitors compare, and what SQL can ask.
struct InferenceTable: Sendable {
  let reader: InferenceLogReader
  let tables: LakeTables

  /// At most this many requests, the newest, are taken.
  static let rowLimit = 50_000

  static let columns = [
    Column("request_id", .varchar), Column("time", .timestampTZ), Column("model", .varchar), Column("operation", .varchar),
    Column("status", .bigint), Column("outcome", .varchar), Column("prompt_tokens", .bigint), Column("completion_tokens", .bigint),
    Column("first_token_ms", .double), Column("total_ms", .double), Column("input", .varchar), Column("output", .varchar),
  ]

  /// Replaces the table's rows by the endpoint's newest requests. Repeated with the same key, it keeps what the first call wrote.
  /// - Returns: files with the older and with the newer half of the requests.
  /// - Throws: `notFound` (PLT-4502) when nothing was logged.
  func write(_ endpoint: String, to name: ThreePartName, call: StageCall) async throws -> (older: [String], newer: [String]) {
    let total = try await reader.count(endpoint: endpoint, limit: Self.rowLimit)
    guard total > 0 else {
      throw PlatformError(
        .notFound, "no request to the endpoint '\(endpoint)' has been logged",
        hint: "Send it some requests first, or correct the name; 'platform endpoints list' shows all.", number: "PLT-4502")
    }
    let entry = try await tables.prepare(name, columns: Self.columns, by: "run \(call.id.run)")
    let unique = UUID().uuidString.prefix(8)
    var files: [WrittenFile] = []
    var seen = 0
    try await reader.newest(total, endpoint: endpoint) { page in
      // A page that lies across the middle makes two files.
      let cut = min(max(0, total / 2 - seen), page.count)
      seen += page.count
      for (half, part) in [("older", page[..<cut]), ("newer", page[cut...])] where !part.isEmpty {
        let path = "\(entry.location)/\(half)-\(String(format: "%06d", files.count))-\(call.id.run)-\(unique).parquet"
        let rows = part.map(Self.row)
        let file = try await BlockingPool.shared.run {
          let writer = try ParquetTableWriter(path: path, columns: Self.columns)
          for row in rows { try writer.append(row) }
          return try writer.finish()
        }
        if let file { files.append(file) }
      }
    }
    _ = try await tables.commit(
      entry, columns: Self.columns, files: files, mode: .overwrite, key: call.commitKey + "/requests", operation: "WRITE")
    let written = try await tables.resolve(name).files
    func half(_ prefix: String) -> [String] { written.filter { ($0 as NSString).lastPathComponent.hasPrefix(prefix) } }
    return (half("older-"), half("newer-"))
  }

  private static func row(_ request: InferenceLogReader.Request) -> [SQLValue] {
    [
      .string(request.requestID), .timestamp(Int64((request.time.timeIntervalSince1970 * 1_000_000).rounded())), .string(request.model),
      .string(request.operation), .int(Int64(request.status)), .string(request.outcome), .int(Int64(request.promptTokens)),
      .int(Int64(request.completionTokens)), request.firstTokenMilliseconds.map { .double($0) } ?? .null, .double(request.totalMilliseconds),
      .string(request.input), .string(request.output),
    ]
  }
}
