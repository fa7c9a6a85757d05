// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// Statements on tables whose files other writers made: the rows are those that the engine gives for the same statement.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ForeignFileTests {
  enum Kind: String, CaseIterable {
    /// Columns are found by id; each file has its own names for them.
    case byID
    /// The same, and the table tracks rows.
    case byIDTracked
    /// Names in other letters.
    case letterCase
    /// Columns that are called as what the engine adds to files.
    case engineNames
    /// Values of partitions that paths escape.
    case partitioned
    /// Files and deletion vectors of another table.
    case shallowClone
  }

  /// A table of three columns with 40 rows in four files, and the engine's own table of the same rows.
  final class Subject {
    let table: ChangedTable
    let source: ChangedTable?
    let engine: Connection
    let names: [String]

    init(_ kind: Kind, vectors: Bool) throws {
      names = kind == .engineNames ? ["file_index", "filename", "file_row_number"] : ["id", "name", "note"]
      engine = try Database(settings: .init(threads: 1)).connect()
      try engine.execute("SET TimeZone='UTC'")
      let types = ["long", "string", "long"]
      var metadata = TableMetadata(
        schema: StructType(fields: zip(names, types).map { StructField(name: $0, type: .primitive($1)) }),
        partitionColumns: kind == .partitioned ? ["name"] : [],
        configuration: vectors ? ["delta.enableDeletionVectors": "true"] : [:])
      if kind == .byIDTracked {
        metadata.configuration.merge([
          "delta.enableRowTracking": "true", RowTracking.rowIdColumnProperty: "_row-id-x", RowTracking.rowCommitVersionColumnProperty: "_row-version-x",
        ]) { $1 }
      }
      if kind == .byID || kind == .byIDTracked { metadata = try ColumnMapping.newTable(metadata, mode: .id) }
      let sources = TemporaryDirectory("source")
      keeps = sources
      let brought = sources.file("s.parquet")
      let columns = [Column("id", .bigint), Column("name", .varchar), Column("note", .bigint)]
      try engine.execute(
        "CREATE TABLE s AS SELECT i AS id, 'new ' || i AS name, -i AS note FROM range(25, 60, 2) AS r(i); COPY s TO \(SQLText.literal(brought)) (FORMAT parquet)"
      )
      let made = try ChangedTable(metadata, sources: ["s": ([brought], columns)])
      try Self.fill(made, kind, names, engine)
      guard kind == .shallowClone else {
        (table, source) = (made, nil)
        return
      }
      try made.run("DELETE FROM t WHERE id % 10 = 3")
      try engine.execute("DELETE FROM t WHERE id % 10 = 3")
      let root = made.folder.file("t")
      let clone = try TableClone.shallow(made.delta.snapshot(), root: "file://" + root, name: "c")
      (table, source) = (try ChangedTable(nil, sources: ["s": ([brought], columns)]), made)
      table.sharedFolders = [root]
      _ = try table.delta.create(
        clone.metadata, features: clone.tableProtocol.features, actions: clone.actions.filter { if case .add = $0 { true } else { false } }, transaction: nil,
        operation: "CLONE")
    }
    private let keeps: TemporaryDirectory

    private static func fill(_ table: ChangedTable, _ kind: Kind, _ names: [String], _ engine: Connection) throws {
      let schema = try table.delta.snapshot().schema
      try engine.execute(
        "CREATE TABLE t AS SELECT i AS \(names[0]), CASE WHEN i // 10 = 3 THEN NULL ELSE 'a b/ü=%20 ' || i // 10 END AS \(names[1]), i * 7 AS \(names[2]) FROM range(40) AS r(i)"
      )
      var added: [AddFile] = []
      for part in 0..<4 {
        let own: [String] =
          switch kind {
          case .byID, .byIDTracked: (0..<3).map { "any\(part % 2 == 0 ? $0 : 2 - $0)" }
          case .letterCase: part % 2 == 0 ? ["ID", "Name", "nOTE"] : ["id", "NAME", "note"]
          default: names
          }
        let list = zip(own, names).filter { kind != .partitioned || $1 != "name" }.map { "\($1) AS \(SQLText.identifier($0))" }
        let ids = zip(own, schema.fields).compactMap { name, field in field.columnId.map { "\(name): \($0)" } }
        let options = kind == .byID || kind == .byIDTracked ? ", FIELD_IDS {\(ids.joined(separator: ", "))}" : ""
        let folder = kind == .partitioned ? "name=a b%2Fü=%2520 \(part)/" : ""
        let path = table.folder.file("t/\(folder)\(part).parquet")
        try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try engine.execute(
          "COPY (SELECT \(list.joined(separator: ", ")) FROM t WHERE \(names[0]) // 10 = \(part) ORDER BY ALL) TO \(SQLText.literal(path)) (FORMAT parquet\(options))"
        )
        var file = AddFile(
          relativePath: "\(folder)\(part).parquet", size: try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64 ?? 0,
          statistics: ["numRecords": 10])
        if kind == .partitioned { file.partitionValues = ["name": part == 3 ? nil : "a b/ü=%20 \(part)"] }
        added.append(file)
      }
      _ = try table.delta.append(added)
    }

    /// Runs a statement on both; `id`, `name` and `note` in it are the table's columns.
    func run(_ statement: String) throws {
      var text = statement
      if names[0] != "id" {
        for (word, name) in zip(["t.id", "t.name", "t.note"], names) { text = text.replacing(word, with: "t." + name) }
        for (word, name) in zip(["SET id", "SET name", "SET note"], names) { text = text.replacing(word, with: "SET " + name) }
        text = text.replacing("(id, name, note)", with: "(\(names.joined(separator: ", ")))")
      }
      try table.run(text)
      try engine.execute(text)
    }

    var expected: [String] { get throws { try ChangedTable.texts("SELECT * FROM t", engine) } }
    var rows: [String] { get throws { try table.scanned() } }
  }

  @Test(arguments: Kind.allCases, [false, true]) func statementsKeepTheRows(_ kind: Kind, vectors: Bool) throws {
    guard kind != .shallowClone || vectors else { return }
    let subject = try Subject(kind, vectors: vectors)
    #expect(try subject.rows == subject.expected)
    let before = try subject.source?.delta.snapshot().version
    for statement in [
      "UPDATE t SET note = t.note + 1 WHERE t.id % 10 = 4",
      "DELETE FROM t WHERE t.id % 10 = 5",
      "UPDATE t SET name = 'other' WHERE t.id IN (7, 36)",
      "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.id % 5 = 2 THEN DELETE WHEN MATCHED THEN UPDATE SET note = s.note WHEN NOT MATCHED THEN INSERT (id, name, note) VALUES (s.id, s.name, s.note)",
    ] {
      try subject.run(statement)
    }
    #expect(try subject.rows == subject.expected, "changes")
    try subject.table.optimize()
    #expect(try subject.rows == subject.expected, "OPTIMIZE")
    #expect(try subject.table.delta.snapshot().files.allSatisfy { $0.deletionVector == nil })
    try subject.run("DELETE FROM t WHERE t.id < 20")
    #expect(try subject.rows == subject.expected, "DELETE after OPTIMIZE")
    if let source = subject.source {
      // Nothing of the source was touched, and nothing new lies there.
      #expect(try source.delta.snapshot().version == before)
      #expect(try source.scanned().count == 36)
      let names = try FileManager.default.contentsOfDirectory(atPath: source.folder.file("t"))
      #expect(names.filter { $0.hasSuffix(".parquet") }.count == 4 && names.filter { $0.hasSuffix(".bin") }.count == 1)
    }
  }

  /// Row ids that the log gives by file go with the rows, whatever the files call their columns.
  @Test(arguments: [false, true]) func rowIDsStay(vectors: Bool) throws {
    let subject = try Subject(.byIDTracked, vectors: vectors)
    let first = try Dictionary(uniqueKeysWithValues: subject.table.delta.snapshot().files.map { (try $0.relativePath(), $0.baseRowId ?? -1) })
    try subject.run("UPDATE t SET note = 0 WHERE t.id % 10 = 4")
    try subject.run("DELETE FROM t WHERE t.id % 10 = 5")
    try subject.table.optimize()
    let files = try subject.table.delta.snapshot().files.map { subject.table.folder.file("t/" + (try $0.relativePath())) }
    let id = try subject.table.delta.snapshot().schema.fields[0].physicalName
    let found = try subject.engine.rows(
      "SELECT \(SQLText.identifier(id)), \"_row-id-x\", \"_row-version-x\" FROM read_parquet(\(SQLText.list(files))) ORDER BY 1")
    #expect(found.count == 36)
    for row in found {
      let own = try #require(row[0].intValue)
      #expect(row[1].intValue == (first["\(own / 10).parquet"] ?? -1) + own % 10 && row[2].intValue == (own % 10 == 4 ? 2 : 1))
    }
  }

  /// A log leads to no file that the table may not share.
  @Test func filesOfOthersAreRefused() throws {
    let subject = try Subject(.shallowClone, vectors: true)
    subject.table.sharedFolders = [subject.table.folder.path]
    #expect(errorCode { try subject.table.run("DELETE FROM t WHERE id = 1") } == .permissionDenied)
    #expect(errorCode { try subject.table.optimize() } == .permissionDenied)
  }
}
