// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import DuckDB
import Foundation
import Query

/// Numbered batches in a table's log. Functions block.
extension LakeTables {
  /// Adds files under a batch number. When the log has this number already, nothing is written.
  /// - Parameter columns: what the files were written for; the table is made with them when it does not exist.
  func append(
    _ entry: TableEntry, columns: [Column], files: [WrittenFile], application: String, number: Int64, operation: String
  ) throws -> Int64 {
    let table = try open(entry)
    let prefix = entry.location + "/"
    let adds = try files.map { file in
      guard file.path.hasPrefix(prefix) else { throw PlatformError(.internalError, "a data file lies outside of its table: \(file.path)") }
      return AddFile(relativePath: String(file.path.dropFirst(prefix.count)), size: file.sizeBytes, statistics: file.statistics)
    }
    let transaction = AppTransaction(appId: application, version: number)
    let schema = TypeMapping.schema(columns)
    if try !table.exists() {
      do {
        return try table.create(schema: schema, name: "\(entry.name)", files: adds, transaction: transaction, operation: operation).version
      } catch let error as PlatformError where error.code == .alreadyExists {
        // Somebody was faster: appended below.
      }
    }
    return try table.append(adds, expectedSchema: schema, transaction: transaction, operation: operation).version
  }

  /// What a load has to obey, for a table that has partitions, rules or columns that compute their values; nil for a plain one.
  func ruled(_ entry: TableEntry) async throws -> WriteTarget? {
    try await BlockingPool.shared.run {
      let table = try log(entry)
      guard try table.exists() else { return nil }
      let snapshot = try table.snapshot()
      let schema = snapshot.schema
      let isPlain =
        try snapshot.metadata.partitionColumns.isEmpty && schema.generatedColumns.isEmpty && schema.defaults.isEmpty
        && schema.identityColumns().isEmpty && ColumnMapping.mode(snapshot.metadata) == .none
      let target = Base(entry: entry, snapshot: snapshot).target
      return try isPlain && !target.hasRules ? nil : target
    }
  }

  /// As `append`, for files that were written by a table's rules.
  /// - Throws: `conflict` when the table's columns or rules have changed since.
  func append(
    _ entry: TableEntry, _ results: [FileLoadResult], application: String, number: Int64, operation: String
  ) throws -> Int64 {
    guard let made = results.lazy.compactMap(\.target).first, let schema = made.schema, let version = made.version else {
      throw PlatformError(.internalError, "a load says nothing of its table")
    }
    let table = try open(entry, Self.writtenFeatures)
    let transaction = AppTransaction(appId: application, version: number)
    var base = try table.snapshot(version: version)
    var plan = CommitPlan.append(try Self.adds(results.flatMap(\.parts), entry), operation: operation)
    let marked = try StatementPlanner.marked(StructType(parsing: schema), results.lazy.compactMap(\.identityMarks).first)
    plan.actions = try SchemaChange.actions(base, schema: marked, configuration: made.properties, partitionColumns: made.partitionColumns) + plan.actions
    plan.reads.applications = [application]
    return try table.commit(plan, onto: &base, transaction: transaction).version
  }

  /// The last batch number that the log has, and the table's latest version. Nil without table or number.
  func recorded(_ entry: TableEntry, application: String) throws -> (number: Int64, version: Int64)? {
    let table = try open(entry)
    guard try table.exists() else { return nil }
    let snapshot = try table.snapshot()
    return snapshot.transactions[application].map { ($0.version, snapshot.version) }
  }

  /// The table's columns; nil when it is not made yet.
  func columns(_ entry: TableEntry) throws -> [Column]? {
    let table = try log(entry)
    return try table.exists() ? TypeMapping.columns(table.snapshot().schema) : nil
  }

  /// Adds the columns that the table has not; one with the name of another type stays as it is.
  /// - Returns: all columns of the table.
  func addColumns(_ entry: TableEntry, _ columns: [Column]) async throws -> [Column] {
    let all = try await BlockingPool.shared.run {
      let table = try log(entry)
      var attempt = 0
      while true {
        var base = try table.snapshot()
        var change = SchemaChange(base)
        let present = Set(base.schema.fields.map { $0.name.lowercased() })
        let missing = columns.filter { !present.contains($0.name.lowercased()) }
        if missing.isEmpty { return try TypeMapping.columns(base.schema) }
        for column in missing { try change.addColumn(StructField(name: column.name, type: TypeMapping.delta(column.type))) }
        do {
          _ = try table.commit(change.plan(operation: "ADD COLUMNS"), onto: &base)
        } catch let error as PlatformError where error.code == .conflict && attempt < 10 {
          attempt += 1
        }
      }
    }
    try await catalog.updateColumns(entry.name, all.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) })
    return all
  }
}
