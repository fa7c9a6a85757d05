// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import Postgres
import Query

/// How far sources were copied into tables. The table's log is the authority: each commit holds its number (`txn`) and the mark that it ends
/// with. Postgres keeps the newest, because a log forgets its old commits.
struct PullLedger: Sendable {
  let pool: PostgresPool

  static func parameter(_ mark: PostgresRead.Mark) throws -> JSONValue { .string(String(decoding: try JSONEncoder.platform.encode(mark), as: UTF8.self)) }

  /// Where the copies of an application stand.
  /// - Parameter committed: the number of the last commit in the log, nil when there is none.
  /// - Throws: `conflict` PLT-3125 when neither knows.
  func mark(_ table: UUID, application: String, committed: Int64?, history: @escaping @Sendable () throws -> [DeltaTable.HistoryEntry]) async throws
    -> PostgresRead.Mark?
  {
    guard let committed else { return nil }
    let row = try await pool.query(
      "SELECT mark FROM pull_marks WHERE table_id = $1::uuid AND application = $2 AND number = $3::bigint",
      [.text(table.uuidString), .text(application), .int(Int(committed))]
    ).first
    if let text: String = try row?.get("mark") { return try JSONDecoder.platform.decode(PostgresRead.Mark.self, from: Data(text.utf8)) }
    let found = try await BlockingPool.shared.run {
      try history().lazy.compactMap { entry -> PostgresRead.Mark? in
        guard let facts = entry.info?.operationParameters, facts["source"]?.stringValue == application, facts["epochId"]?.stringValue == String(committed),
          let text = facts["mark"]?.stringValue
        else { return nil }
        return try? JSONDecoder.platform.decode(PostgresRead.Mark.self, from: Data(text.utf8))  // not ours: looked for further
      }.first
    }
    guard let found else {
      throw PlatformError(
        .conflict, "the table's log has copies of this source, but not where the last one ended", hint: "Copy into another table.", number: "PLT-3125")
    }
    return found
  }

  func record(_ table: UUID, application: String, number: Int64, _ mark: PostgresRead.Mark) async throws {
    _ = try await pool.execute(
      """
      INSERT INTO pull_marks (table_id, application, number, mark) VALUES ($1::uuid, $2, $3::bigint, $4::jsonb)
      ON CONFLICT (table_id, application) DO UPDATE SET number = excluded.number, mark = excluded.mark WHERE pull_marks.number < excluded.number
      """, [.text(table.uuidString), .text(application), .int(Int(number)), .encoding(JSONValue(encoding: mark))])
  }
}

enum PullMigrations {
  static let all: [Migration] = [
    Migration(
      component: "pull", number: 1, name: "how far sources were copied",
      sql: """
        CREATE TABLE pull_marks (
          table_id uuid NOT NULL, application text NOT NULL, number bigint NOT NULL, mark jsonb NOT NULL, PRIMARY KEY (table_id, application)
        );
        """)
  ]
}
