// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// As `InteropTests`, with columns of every type that both writers know: values go through Parquet files of the engine's, so that neither
/// side's text form is between them.
@Suite(.enabled(if: isInstalled && Peers.python != nil, "no peer environment")) struct InteropTypesTests {
  static let steps = ProcessInfo.processInfo.environment["INTEROP_STEPS"].flatMap(Int.init) ?? 6
  static let seed = ProcessInfo.processInfo.environment["INTEROP_SEED"].flatMap { UInt64($0) } ?? 1

  /// Name, type in the log, type of the engine, expression of a value from the row's number `k`.
  static let columns: [(name: String, type: DeltaType, engine: String, value: String)] = [
    ("k", .primitive("long"), "BIGINT", "k"),
    (
      "d0", .primitive("decimal(38,0)"), "DECIMAL(38,0)",
      "CASE k % 5 WHEN 0 THEN NULL WHEN 1 THEN 99999999999999999999999999999999999999 WHEN 2 THEN -99999999999999999999999999999999999999 ELSE k END"
    ),
    (
      "d18", .primitive("decimal(38,18)"), "DECIMAL(38,18)",
      "CASE k % 4 WHEN 0 THEN '12345678901234567890.123456789012345678' WHEN 1 THEN '-0.000000000000000001' WHEN 2 THEN NULL ELSE '1.5' END"
    ),
    ("d5", .primitive("decimal(5,2)"), "DECIMAL(5,2)", "k % 900 + 0.25"),
    ("b1", .primitive("byte"), "TINYINT", "CASE WHEN k % 7 = 0 THEN NULL WHEN k % 2 = 0 THEN -128 ELSE 127 END"),
    ("b2", .primitive("short"), "SMALLINT", "CASE WHEN k % 2 = 0 THEN -32768 ELSE 32767 END"),
    ("b4", .primitive("integer"), "INTEGER", "CASE WHEN k % 2 = 0 THEN -2147483648 ELSE 2147483647 END"),
    ("b8", .primitive("long"), "BIGINT", "CASE WHEN k % 2 = 0 THEN -9223372036854775808 ELSE 9223372036854775807 END"),
    ("f4", .primitive("float"), "FLOAT", "CASE k % 5 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0.0' WHEN 2 THEN 'Infinity' WHEN 3 THEN '1e-45' ELSE '3.4028235e38' END"),
    (
      "f8", .primitive("double"), "DOUBLE",
      "CASE k % 6 WHEN 0 THEN 'NaN' WHEN 1 THEN '-0.0' WHEN 2 THEN '-Infinity' WHEN 3 THEN '5e-324' WHEN 4 THEN NULL ELSE '0.1' END"
    ),
    ("o", .primitive("boolean"), "BOOLEAN", "CASE k % 3 WHEN 0 THEN NULL WHEN 1 THEN true ELSE false END"),
    (
      "s", .primitive("string"), "VARCHAR",
      "CASE k % 7 WHEN 0 THEN '' WHEN 1 THEN E'line\\nbreak\\ttab' WHEN 2 THEN 'e' || chr(769) || ' \u{1F600} \u{202E}x' WHEN 3 THEN '\"''`\\\\%/;' WHEN 4 THEN repeat('\u{00FC}', 300) WHEN 5 THEN NULL ELSE chr(65533) || chr(1) END"
    ),
    ("y", .primitive("binary"), "BLOB", "CASE k % 4 WHEN 0 THEN ''::BLOB WHEN 1 THEN '\\x00\\xFF\\x80'::BLOB WHEN 2 THEN NULL ELSE encode('t' || k) END"),
    (
      "day", .primitive("date"), "DATE",
      "CASE k % 5 WHEN 0 THEN '0001-01-01' WHEN 1 THEN '9999-12-31' WHEN 2 THEN '1969-12-31' WHEN 3 THEN NULL ELSE '2024-02-29' END"
    ),
    (
      "ts", .primitive("timestamp"), "TIMESTAMP WITH TIME ZONE",
      "CASE k % 4 WHEN 0 THEN '1969-12-31 23:59:59.999999+00' WHEN 1 THEN '2262-04-12 00:00:00.000001+00' WHEN 2 THEN NULL ELSE '2024-02-29 12:00:00+00' END"
    ),
    ("n", .primitive("timestamp_ntz"), "TIMESTAMP", "CASE k % 3 WHEN 0 THEN '1900-01-01 00:00:00.000001' WHEN 1 THEN NULL ELSE '2024-03-31 02:30:00' END"),
    (
      "st",
      .structure(
        StructType(fields: [
          StructField(name: "a", type: .primitive("long"), nullable: true),
          StructField(
            name: "in", type: .structure(StructType(fields: [StructField(name: "x", type: .primitive("decimal(38,2)"), nullable: true)])), nullable: true),
        ])), "STRUCT(a BIGINT, \"in\" STRUCT(x DECIMAL(38,2)))",
      "CASE k % 4 WHEN 0 THEN NULL WHEN 1 THEN {'a': k, 'in': NULL} WHEN 2 THEN {'a': NULL, 'in': {'x': 1.25}} ELSE {'a': k, 'in': {'x': NULL}} END"
    ),
    (
      "l", .array(.structure(StructType(fields: [StructField(name: "v", type: .primitive("string"), nullable: true)])), containsNull: true),
      "STRUCT(v VARCHAR)[]", "CASE k % 4 WHEN 0 THEN NULL WHEN 1 THEN [] WHEN 2 THEN [{'v': NULL}, NULL] ELSE [{'v': 'x' || k}, {'v': ''}] END"
    ),
    (
      "m", .map(.primitive("string"), .array(.primitive("integer"), containsNull: true), valueContainsNull: true), "MAP(VARCHAR, INTEGER[])",
      "CASE k % 4 WHEN 0 THEN NULL WHEN 1 THEN MAP {} WHEN 2 THEN MAP {'': [1, NULL], 'b': NULL} ELSE MAP {'k' || k: [k % 100]} END"
    ),
  ]

  static let fields = columns.map { StructField(name: $0.name, type: $0.type, nullable: true) }
  static func rows(_ numbers: Range<Int>) -> String {
    "SELECT \(columns.map { "CAST(\($0.value) AS \($0.engine)) AS \($0.name)" }.joined(separator: ", ")) FROM (SELECT range AS k FROM range(\(numbers.lowerBound), \(numbers.upperBound)))"
  }

  /// Texts of rows that tell NaN, -0.0 and bytes apart.
  static func texts(_ query: String, _ engine: Connection) throws -> [String] {
    let shown = columns.map { $0.name == "y" ? "hex(y) AS y" : $0.name }.joined(separator: ", ")
    return try engine.rows("SELECT CAST(r AS VARCHAR) FROM (SELECT \(shown) FROM (\(query))) AS r").compactMap { $0[0].stringValue }.sorted()
  }

  private func scanned(_ table: ChangedTable, _ engine: Connection, sharing folders: [String] = []) throws -> [String] {
    let snapshot = try table.delta.snapshot()
    let view = "scan_\(snapshot.version)"
    try TableScan(snapshot, folder: table.folder.file("t"), sharedFolders: folders).define(view, on: engine)
    defer { _ = try? engine.execute("DROP VIEW IF EXISTS \(view)") }  // another version has another name
    return try Self.texts("SELECT * FROM \(view)", engine)
  }

  private func seen(_ peer: PeerSession, _ table: ChangedTable, _ engine: Connection) throws -> [String] {
    let path = table.folder.file("seen-\(UUID().uuidString).parquet")
    try peer.send(["op": "write_rows", "to": .string(path)])
    let list = Self.columns.map { "CAST(\($0.name) AS \($0.engine)) AS \($0.name)" }.joined(separator: ", ")
    return try Self.texts("SELECT \(list) FROM read_parquet(\(SQLText.literal(path)))", engine)
  }

  @Test(arguments: [false, true]) func everyTypeGoesBothWays(isPartitioned: Bool) throws {
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'")
    let table = try ChangedTable(
      TableMetadata(schema: StructType(fields: Self.fields), partitionColumns: isPartitioned ? ["o"] : [], configuration: ["delta.checkpointInterval": "4"]))
    let peer = try PeerSession(table: table.folder.file("t"))
    var random = SplitMix64(seed: Self.seed)
    try engine.execute("CREATE TABLE e AS \(Self.rows(0..<12))")
    try table.run("INSERT INTO t \(Self.rows(0..<12))")
    func check(_ what: String) throws {
      let expected = try Self.texts("SELECT * FROM e", engine)
      #expect(try scanned(table, engine) == expected, "seed \(Self.seed): \(what)")
      #expect(try seen(peer, table, engine) == expected, "seed \(Self.seed), the peer: \(what)")
    }
    try check("the first rows")
    var refusals: [String] = []
    for step in 0..<Self.steps {
      let (first, isPeers) = (100 * (step + 1), step % 2 == 0)
      let modulus = Int.random(in: 3...6, using: &random)
      let kind = step < 2 ? 0 : Int.random(in: 0..<4, using: &random)
      var sql: String?
      var order: JSONValue = ["op": "compact"]
      switch kind {
      case 0:
        sql = "INSERT INTO t \(Self.rows(first..<first + 9))"
        let path = table.folder.file("given-\(step).parquet")
        try engine.execute("COPY (\(Self.rows(first..<first + 9))) TO \(SQLText.literal(path)) (FORMAT parquet)")
        order = ["op": "append_file", "from": .string(path)]
      case 1:
        sql = "DELETE FROM t WHERE k % \(modulus) = 1"
        order = ["op": "delete", "predicate": .string("k % \(modulus) = 1")]
      case 2:
        sql = "UPDATE t SET d5 = d5 + 1, f8 = -f8, s = upper(s) WHERE k % \(modulus) = 0"
        order = ["op": "update", "predicate": .string("k % \(modulus) = 0"), "updates": ["d5": "CAST(d5 + 1 AS DECIMAL(5,2))", "f8": "-f8", "s": "upper(s)"]]
      default: break
      }
      var isDone = false
      if isPeers {
        let before = try table.delta.snapshot().version
        do {
          try peer.send(order)
          isDone = true
        } catch {
          refusals.append("\(order.sortedText.prefix(100)): \(error)")
          #expect(try table.delta.snapshot().version == before)
        }
      }
      if !isDone { if let sql { try table.run(sql) } else { try table.optimize() } }
      if let sql {
        try engine.execute(sql.replacing("INTO t ", with: "INTO e ").replacing("FROM t ", with: "FROM e ").replacing("UPDATE t ", with: "UPDATE e "))
      }
      try check("step \(step), \(isDone ? "the peer's" : "ours"): \(order.sortedText.prefix(200))")
    }
    #expect(refusals.isEmpty, "\(refusals)")
  }

  /// Columns that compute their values: what the peer does not keep it has to refuse.
  @Test func columnsWithoutATypeAreNull() throws {
    let table = try ChangedTable(nil)
    _ = try Peers.run(
      """
      import sys, pyarrow as pa
      from deltalake import write_deltalake
      write_deltalake(sys.argv[1], pa.table({"id": [1, 2], "nothing": pa.nulls(2)}))
      write_deltalake(sys.argv[1], pa.table({"id": [3], "nothing": pa.nulls(1)}), mode="append")
      """, [table.folder.file("t")])
    let engine = try Database().connect()
    for files in [1, 2] {
      let snapshot = try table.delta.snapshot(version: Int64(files - 1))
      try TableScan(snapshot, folder: table.folder.file("t")).define("t\(files)", on: engine)
      let row = try #require(try engine.rows("SELECT count(*), count(nothing), CAST(sum(id) AS BIGINT) FROM t\(files)").first)
      #expect(row[0] == .int(files == 1 ? 2 : 3) && row[1] == .int(0) && row[2] == .int(files == 1 ? 3 : 6), "\(row)")
    }
    #expect(throws: PlatformError.self) { try table.run("INSERT INTO t VALUES (4, NULL)") }
  }

  @Test(arguments: ["default", "generated", "identity"]) func computedColumns(kind: String) throws {
    let engine = try Database(settings: .init(threads: 1)).connect()
    var fields = [
      StructField(name: "a", type: .primitive("long"), nullable: true), StructField(name: "b", type: .primitive("long"), nullable: true),
    ]
    switch kind {
    case "default": fields[1].metadata["CURRENT_DEFAULT"] = "7"
    case "generated": fields[1].metadata["delta.generationExpression"] = "a * 2"
    default:
      fields[1].metadata["delta.identity.start"] = 1
      fields[1].metadata["delta.identity.step"] = 1
      fields[1].metadata["delta.identity.allowExplicitInsert"] = false
    }
    let table = try ChangedTable(TableMetadata(schema: StructType(fields: fields)))
    try table.run("INSERT INTO t (a) VALUES (1), (2)")
    let before = try table.rows()
    let peer = try PeerSession(table: table.folder.file("t"))
    #expect(try peer.send(["op": "rows"]).decode([String].self).count == 2)
    let path = table.folder.file("given.parquet")
    try engine.execute("COPY (SELECT 5::BIGINT AS a, 99::BIGINT AS b) TO \(SQLText.literal(path)) (FORMAT parquet)")
    let version = try table.delta.snapshot().version
    let refusal = #expect(throws: PlatformError.self, "\(kind)") { try peer.send(["op": "append_file", "from": .string(path)]) }
    #expect(refusal?.message.isEmpty == false)
    #expect(try table.delta.snapshot().version == version)
    #expect(try table.rows() == before)
    try table.run("INSERT INTO t (a) VALUES (3)")
    #expect(try peer.send(["op": "rows"]).decode([String].self).count == 3)
  }

  /// A deep clone is a table like others; a shallow one is for us alone.
  @Test(arguments: [false, true]) func clones(isDeep: Bool) throws {
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'")
    let source = try ChangedTable(TableMetadata(schema: StructType(fields: Self.fields), partitionColumns: ["o"], configuration: [:]))
    try source.run("INSERT INTO t \(Self.rows(0..<12))")
    try source.run("DELETE FROM t WHERE k % 4 = 1")
    let snapshot = try source.delta.snapshot()
    let clone = try ChangedTable(nil)
    let made = isDeep ? try TableClone.deep(snapshot, name: "c") : try TableClone.shallow(snapshot, root: "file://" + source.folder.file("t"), name: "c")
    for file in made.copies.map(\.path) {
      let target = clone.folder.file("t/" + file)
      try FileManager.default.createDirectory(atPath: (target as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: source.folder.file("t/" + file), toPath: target)
    }
    _ = try clone.delta.create(
      made.metadata, features: made.tableProtocol.features, actions: made.actions.filter { if case .add = $0 { true } else { false } }, transaction: nil,
      operation: "CLONE")
    let expected = try Self.texts(Self.rows(0..<12) + " WHERE k % 4 <> 1", engine)
    let peer = try PeerSession(table: clone.folder.file("t"))
    if isDeep {
      #expect(try seen(peer, clone, engine) == expected)
      let path = clone.folder.file("given.parquet")
      try engine.execute("COPY (\(Self.rows(20..<24))) TO \(SQLText.literal(path)) (FORMAT parquet)")
      try peer.send(["op": "append_file", "from": .string(path)])
      #expect(try scanned(clone, engine) == (expected + Self.texts(Self.rows(20..<24), engine)).sorted())
    } else {
      #expect(try scanned(clone, engine, sharing: [source.folder.path]) == expected)
      // The peer takes every path for one below the table: it finds no file, and says so.
      let refusal = #expect(throws: PlatformError.self) { try seen(peer, clone, engine) }
      #expect(refusal?.message.contains("not found") == true)
      try clone.run("INSERT INTO t \(Self.rows(20..<24))")
      #expect(try scanned(clone, engine, sharing: [source.folder.path]) == (expected + Self.texts(Self.rows(20..<24), engine)).sorted())
    }
    // The source has seen nothing of it.
    #expect(try source.delta.snapshot().version == snapshot.version)
  }
}
