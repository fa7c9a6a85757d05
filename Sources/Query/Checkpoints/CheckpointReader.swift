// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import Synchronization

/// Reads checkpoint files into actions. Most rows of a checkpoint are files with nothing but a path, a size, a time and
/// statistics: those come as columns. Everything else comes as JSON and is read as a line of a commit is.
struct CheckpointReader {
  /// One engine for all checkpoints of the process: opening one costs more than most checkpoints do.
  private static let engine = Mutex<Database?>(nil)

  static func connect() throws -> Connection {
    try engine.withLock { held in
      // Damage that the engine takes for its own fault makes it refuse everything from then on.
      if let held, let connection = try? held.connect(), (try? connection.execute("SELECT 1")) != nil { return connection }
      let database = try Database(settings: .init(threads: min(2, ProcessInfo.processInfo.activeProcessorCount)))
      held = database
      return try database.connect()
    }
  }

  let connection: Connection
  /// For messages.
  let name: String

  /// What the fast way reads of `add`, with the types that it reads.
  private static let plain: [(name: String, types: Set<SQLType>)] = [
    ("path", [.varchar]), ("size", [.bigint]), ("modificationTime", [.bigint]), ("dataChange", [.boolean]), ("stats", [.varchar]),
  ]

  /// - Parameter file: a local parquet file.
  func actions(file: String) throws -> [Action] {
    let source = "read_parquet(\(SQLText.literal(file)))"
    let known = Set(DuckDBParquetHandler.columns.map(\.name))
    let present = try connection.query("SELECT * FROM \(source) LIMIT 0").columns.filter { known.contains($0.name) }
    guard !present.isEmpty else { throw PlatformError(.invalidFile, "the checkpoint holds no actions") }
    let row = "CAST(to_json({\(present.map { "\(SQLText.identifier($0.name)): \(SQLText.identifier($0.name))" }.joined(separator: ", "))}) AS VARCHAR)"
    var actions: [Action] = []
    guard let isPlain = plainCondition(present) else {
      let stream = try connection.query("SELECT \(row) FROM \(source)")
      while let chunk = try stream.next() {
        let texts = chunk.column(0)
        for index in 0..<chunk.count { try append(texts, index, to: &actions) }
      }
      return actions
    }
    let stream = try connection.query(
      """
      SELECT plain, CASE WHEN plain THEN NULL ELSE \(row) END, "add"."path", "add"."size", "add"."modificationTime", "add"."dataChange", "add"."stats",
        CASE WHEN plain AND cardinality("add".partitionValues) > 0 THEN CAST(to_json("add".partitionValues) AS VARCHAR) END
      FROM (SELECT coalesce(\(isPlain), false) AS plain, * FROM \(source))
      """)
    while let chunk = try stream.next() {
      let columns = (0..<8).map(chunk.column)
      for index in 0..<chunk.count {
        guard columns[0].bool(index) else {
          try append(columns[1], index, to: &actions)
          continue
        }
        var file = AddFile(
          path: columns[2].string(index), partitionValues: [:], size: columns[3].int64(index),
          modificationTime: columns[4].isNull(index) ? 0 : columns[4].int64(index), dataChange: columns[5].isNull(index) ? true : columns[5].bool(index))
        if !columns[6].isNull(index) { file.stats = columns[6].string(index) }
        if !columns[7].isNull(index) {
          let values = try JSONValue(parsing: columns[7].string(index)).objectValue ?? [:]
          file.partitionValues = values.mapValues(\.stringValue)
        }
        do { _ = try file.location() } catch { throw PlatformError.from(error).named(name) }
        actions.append(.add(file))
      }
    }
    return actions
  }

  private func append(_ texts: ColumnVector, _ index: Int, to actions: inout [Action]) throws {
    guard !texts.isNull(index) else { return }
    if let action = try Action.parsing(row: Data(texts.string(index).utf8), name: name) { actions.append(action) }
  }

  /// When a row is a file that the fast way reads whole; nil where the checkpoint's columns do not allow it.
  private func plainCondition(_ present: [ResultStream.Column]) -> String? {
    guard case .structure(let fields)? = present.first(where: { $0.name == "add" })?.type else { return nil }
    let types = Dictionary(fields.map { ($0.name, $0.type) }) { first, _ in first }
    guard Self.plain.allSatisfy({ column in types[column.name].map(column.types.contains) ?? false }),
      types["partitionValues"] == .map(.varchar, .varchar)
    else { return nil }
    let read = Set(Self.plain.map(\.name) + ["partitionValues", "partitionValues_parsed", "stats_parsed"])
    var conditions = ["\"add\".\"path\" IS NOT NULL", "\"add\".\"size\" >= 0"]
    conditions += fields.map(\.name).filter { !read.contains($0) }.map { "\"add\".\(SQLText.identifier($0)) IS NULL" }
    if types["stats_parsed"] != nil { conditions.append("(\"add\".\"stats\" IS NOT NULL OR \"add\".\"stats_parsed\" IS NULL)") }
    // Two actions in one row are damage, which the slow way reports.
    conditions += present.map(\.name).filter { $0 != "add" }.map { "\(SQLText.identifier($0)) IS NULL" }
    return conditions.joined(separator: " AND ")
  }
}

extension PlatformError {
  /// This error about the file `name`.
  fileprivate func named(_ name: String) -> PlatformError {
    var copy = self
    copy.message = "\(message): '\((path ?? "").prefix(300))'"
    copy.path = name
    return copy
  }
}
