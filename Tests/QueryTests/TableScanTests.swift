// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

/// Views of Delta tables hold exactly the tables' rows.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct TableScanTests {
  static let features: Set<TableFeature> = [.deletionVectors, .columnMapping, .typeWidening]

  func table(_ folder: TemporaryDirectory) throws -> DeltaTable {
    try FileManager.default.createDirectory(atPath: folder.file("t"), withIntermediateDirectories: true)
    return DeltaTable(
      store: try LocalObjectStore(root: folder.path), path: try ObjectPath("t"), parquet: DuckDBParquetHandler(), dataFeatures: Self.features)
  }

  /// A file that the engine writes from a query.
  func file(
    _ folder: TemporaryDirectory, _ name: String, _ query: String, options: String = "", partition: [String: String?] = [:]
  ) throws -> AddFile {
    let path = folder.file("t/" + name)
    try FileManager.default.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    let connection = try Database(settings: .init(threads: 1)).connect()
    try connection.execute("SET TimeZone='UTC'; COPY (\(query)) TO \(SQLText.literal(path)) (FORMAT parquet\(options))")
    let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int64 ?? 0
    let rows = try connection.rows("SELECT count(*) FROM read_parquet([\(SQLText.literal(path))], hive_partitioning=false)").first?[0].intValue ?? 0
    var add = AddFile(relativePath: name, size: size, statistics: ["numRecords": .integer(rows)])
    add.partitionValues = partition
    return add
  }

  func scan(_ table: DeltaTable, _ folder: TemporaryDirectory, version: Int64? = nil) throws -> TableScan {
    try TableScan(table.snapshot(version: version), folder: folder.file("t"))
  }

  func query(_ scan: TableScan, _ sql: String, _ folder: TemporaryDirectory, kind: StatementKind = .select) throws -> [[JSONValue]] {
    // As it travels.
    let sent = try JSONValue(encoding: scan).decode(TableScan.self)
    #expect(sent == scan)
    let spec = StatementSpec(kind: kind, sql: sql, tables: [.init(view: "t", scan: sent)])
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).rows
  }

  @Test func partitionValuesHaveTheirTypes() throws {
    let folder = TemporaryDirectory("partitions")
    let table = try table(folder)
    let types: [(name: String, type: String, text: String, sql: String)] = [
      ("s", "string", "a b/ü'\"=%20[*]?", "'a b/ü''\"=%20[*]?'"), ("b", "boolean", "true", "true"), ("i", "integer", "-7", "-7::INT"),
      ("l", "long", "9223372036854775807", "9223372036854775807"), ("sh", "short", "-3", "-3::SMALLINT"), ("bt", "byte", "4", "4::TINYINT"),
      ("f", "float", "1.5", "1.5::FLOAT"), ("d", "double", "NaN", "'NaN'::DOUBLE"),
      ("dec", "decimal(30,4)", "12345678901234567890.1234", "12345678901234567890.1234"),
      ("dt", "date", "0001-02-03", "DATE '0001-02-03'"), ("ts", "timestamp", "2024-02-29 12:00:00.123456", "TIMESTAMPTZ '2024-02-29 12:00:00.123456+00'"),
      ("tz", "timestamp", "2024-02-29T12:00:00.5+02:00", "TIMESTAMPTZ '2024-02-29 10:00:00.5+00'"),
      ("nt", "timestamp_ntz", "1969-12-31 23:59:59.000001", "TIMESTAMP '1969-12-31 23:59:59.000001'"),
      ("bin", "binary", "\u{0}A\u{ff}", "'\\x00A\\xC3\\xBF'::BLOB"),
    ]
    let fields = [StructField(name: "id", type: .primitive("long"))] + types.map { StructField(name: $0.name.uppercased(), type: .primitive($0.type)) }
    _ = try table.create(
      TableMetadata(schema: StructType(fields: fields), partitionColumns: types.map { $0.name.uppercased() }), features: [.timestampNtz])
    var values = Dictionary(uniqueKeysWithValues: types.map { ($0.name.uppercased(), $0.text as String?) })
    let full = try file(folder, "s=a [x]*?/1.parquet", "SELECT 1::BIGINT AS id", partition: values)
    for key in values.keys { values[key] = .some(nil) }
    values["I"] = ""
    let empty = try file(folder, "s=__HIVE_DEFAULT_PARTITION__/2.parquet", "SELECT 2::BIGINT AS id", partition: values)
    _ = try table.append([full, empty])
    let scan = try scan(table, folder)
    let conditions = types.map { "\($0.name) IS NOT DISTINCT FROM \($0.sql) AND typeof(\($0.name)) = typeof(\($0.sql))" }
    for (column, condition) in zip(types, conditions) where column.type != "decimal(30,4)" {
      #expect(try query(scan, "SELECT id FROM t WHERE \(condition)", folder) == [[1]], "\(column.name)")
    }
    #expect(try query(scan, "SELECT dec = 12345678901234567890.1234, typeof(dec) FROM t WHERE id = 1", folder) == [[true, "DECIMAL(30,4)"]])
    #expect(try query(scan, "SELECT id FROM t WHERE coalesce(\(types.map { "\($0.name)::VARCHAR" }.joined(separator: ","))) IS NULL", folder) == [[2]])
    #expect(try query(scan, "SELECT count(*), count(i) FROM t", folder) == [[2, 1]])
  }

  @Test func valuesThatAreNoneAreRefused() throws {
    let folder = TemporaryDirectory("bad")
    let table = try table(folder)
    _ = try table.create(
      TableMetadata(
        schema: StructType(fields: [StructField(name: "id", type: .primitive("long")), StructField(name: "day", type: .primitive("date"))]),
        partitionColumns: ["day"]))
    _ = try table.append([try file(folder, "1.parquet", "SELECT 1::BIGINT AS id", partition: ["day": "yesterday"])])
    let scan = try scan(table, folder)
    #expect { try query(scan, "SELECT * FROM t", folder) } throws: { error in
      let error = PlatformError.from(error)
      return error.code == .invalidFile && error.message.contains("'day' is no date") && error.path?.hasSuffix("1.parquet") == true
    }
  }

  @Test func deletedRowsAreLeftOut() throws {
    let folder = TemporaryDirectory("vectors")
    let table = try table(folder)
    _ = try table.create(
      schema: StructType(fields: [StructField(name: "id", type: .primitive("long"))]), configuration: ["delta.enableDeletionVectors": "true"])
    _ = try table.append(
      try (0..<4).map {
        try file(folder, "\($0).parquet", "SELECT range AS id FROM range(\($0 * 100_000), \(($0 + 1) * 100_000))", options: ", ROW_GROUP_SIZE 20000")
      })
    var base = try table.snapshot()
    var random = SystemRandomNumberGenerator()
    let some = DeletionVector((0..<30_000).map { _ in UInt64.random(in: 0..<100_000, using: &random) })
    let most = DeletionVector(UInt64(5)..<99_990)
    let stored = try table.writeDeletionVectors([some, most])
    var away = stored[1]
    away.storage = .absolute
    away.pathOrInlineDv = "file://" + folder.file("t/") + (try #require(try stored[1].relativePath()))
    var rewrite = CommitPlan.Rewrite()
    rewrite.deleted = [(base.files[0], stored[0]), (base.files[1], away), (base.files[2], .inline(DeletionVector([0, 99_999])))]
    _ = try table.commit(.rewrite(rewrite, where: .unknown, read: base.files, operation: "DELETE"), onto: &base)
    let scan = try scan(table, folder)
    let left =
      (0..<100_000).filter { !some.contains(UInt64($0)) }.count + 15 + 99_998 + 100_000
    #expect(try query(scan, "SELECT count(*) FROM t", folder) == [[.integer(Int64(left))]])
    let sum = (0..<100_000).reduce(Int64(0)) { $0 + (some.contains(UInt64($1)) ? 0 : Int64($1)) }
    #expect(try query(scan, "SELECT sum(id)::BIGINT FROM t WHERE id < 100000", folder) == [[.integer(sum)]])
    // Conditions take out rows and row groups before the vector is asked.
    let expected = (0..<100_000).filter { $0 % 7 == 0 && $0 > 61_000 && !some.contains(UInt64($0)) }.count
    #expect(try query(scan, "SELECT count(*) FROM t WHERE id % 7 = 0 AND id > 61000 AND id < 100000", folder) == [[.integer(Int64(expected))]])
    #expect(
      try query(scan, "SELECT id FROM t WHERE id BETWEEN 100000 AND 199999 ORDER BY 1 LIMIT 7", folder).map { $0[0].intValue } == [
        100_000, 100_001, 100_002, 100_003, 100_004, 199_990, 199_991,
      ])
    #expect(try query(scan, "SELECT count(*) FROM t WHERE id IN (200000, 200001, 299999)", folder) == [[1]])
    #expect(try self.scan(table, folder, version: 1).files.allSatisfy { $0.deletions == nil })
    // A vector that is not what the log says: the file is named, nothing is returned.
    let vector = folder.file("t/") + (try #require(try stored[0].relativePath()))
    var bytes = try Data(contentsOf: URL(filePath: vector))
    for damage in 0..<3 {
      switch damage {
      case 0: bytes[40] ^= 1
      case 1: bytes = bytes.prefix(30)
      default: try FileManager.default.removeItem(atPath: vector)
      }
      if damage < 2 { try bytes.write(to: URL(filePath: vector)) }
      #expect { try query(scan, "SELECT count(*) FROM t", folder) } throws: {
        PlatformError.from($0).code == .invalidFile && PlatformError.from($0).path != nil
      }
    }
  }

  static func nested(_ mode: ColumnMapping.Mode) throws -> TableMetadata {
    let inner = StructType(fields: [StructField(name: "x", type: .primitive("long")), StructField(name: "new", type: .primitive("string"))])
    return try ColumnMapping.newTable(
      TableMetadata(
        schema: StructType(fields: [
          StructField(name: "Id", type: .primitive("long")), StructField(name: "s", type: .structure(inner)),
          StructField(name: "l", type: .array(.structure(inner), containsNull: true)),
          StructField(name: "m", type: .map(.primitive("string"), .structure(inner), valueContainsNull: true)),
          StructField(name: "late", type: .primitive("double")), StructField(name: "part", type: .primitive("string")),
        ]), partitionColumns: ["part"]), mode: mode)
  }

  @Test(arguments: [ColumnMapping.Mode.name, .id, .none]) func columnsAreFoundByNameOrId(_ mode: ColumnMapping.Mode) throws {
    let folder = TemporaryDirectory("mapping")
    let table = try table(folder)
    _ = try table.create(Self.nested(mode))
    let schema = try table.snapshot().schema
    func own(_ field: StructField) -> String { SQLText.identifier(field.physicalName) }
    func inner(_ type: DeltaType) -> [StructField] {
      switch type {
      case .structure(let type): type.fields
      case .array(let item, _): inner(item)
      case .map(_, let value, _): inner(value)
      default: []
      }
    }
    let fields = schema.fields
    // Narrow, without the new field.
    func pack(_ type: DeltaType, _ value: Int) -> String { "{\(SQLText.literal(inner(type)[0].physicalName)): \(value)::INT}" }
    let ids = mode == .id
    // By id the names of the first level may be anything.
    func top(_ index: Int) -> String { ids ? "any\(index)" : own(fields[index]) }
    let query1 =
      "SELECT 1::INT AS \(top(0)), \(pack(fields[1].type, 2)) AS \(top(1)), [\(pack(fields[2].type, 3)), NULL] AS \(top(2)), MAP {'k': \(pack(fields[3].type, 4))} AS \(top(3))"
    let query2 = "SELECT 9::INT AS \(top(0)), NULL::\(pack(fields[1].type, 2).isEmpty ? "" : "STRUCT(a INT)") AS unrelated"
    let options = ids ? ", FIELD_IDS {\((0..<4).map { "\(top($0)): \(fields[$0].columnId ?? 0)" }.joined(separator: ", "))}" : ""
    let options2 = ids ? ", FIELD_IDS {\(top(0)): \(fields[0].columnId ?? 0)}" : ""
    let part = [fields[5].physicalName: "p" as String?]
    _ = try table.append([
      try file(folder, "1.parquet", query1, options: options, partition: part), try file(folder, "2.parquet", query2, options: options2, partition: part),
    ])
    let scan = try scan(table, folder)
    let rows = try query(scan, "SELECT ID, s.x, s.new, l[1].x, l[2] IS NULL, m['k'].x, typeof(m), late, part FROM t ORDER BY id", folder)
    #expect(
      rows == [
        [1, 2, .null, 3, true, 4, "MAP(VARCHAR, STRUCT(x BIGINT, \"new\" VARCHAR))", .null, "p"],
        [9, .null, .null, .null, true, .null, "MAP(VARCHAR, STRUCT(x BIGINT, \"new\" VARCHAR))", .null, "p"],
      ])
    #expect(try query(scan, "SELECT s IS NULL, l IS NULL, m IS NULL FROM t WHERE id = 9", folder) == [[true, true, true]])
    #expect(try query(scan, "SELECT count(*) FROM t WHERE id = 9 AND part = 'p'", folder) == [[1]])
    #expect(try query(scan, "SELECT part, count(*) FROM t GROUP BY 1", folder) == [["p", 2]])
  }

  @Test func conditionsReachTheReaderOfTheFiles() throws {
    let folder = TemporaryDirectory("pushdown")
    let table = try table(folder)
    _ = try table.create(
      schema: StructType(fields: [
        StructField(name: "file_index", type: .primitive("long")), StructField(name: "filename", type: .primitive("string")),
        StructField(name: "moment", type: .primitive("timestamp")), StructField(name: "wide", type: .primitive("string")),
      ]))
    _ = try table.append([
      try file(folder, "1.parquet", "SELECT 7::SMALLINT AS FILE_INDEX, 'x' AS filename, TIMESTAMP '2024-01-01 00:00:00' AS moment, 'w' AS wide"),
      try file(folder, "2.parquet", "SELECT 8::BIGINT AS file_index, 'y' AS filename, TIMESTAMPTZ '2024-01-01 00:00:00+00' AS moment, 'w' AS wide"),
    ])
    let scan = try scan(table, folder)
    let moment = "moment = TIMESTAMPTZ '2024-01-01 00:00:00+00'"
    #expect(try query(scan, "SELECT file_index, filename FROM t WHERE \(moment) ORDER BY 1", folder) == [[7, "x"], [8, "y"]])
    let plan = try query(scan, "SELECT moment FROM t WHERE wide = 'w'", folder, kind: .explain).flatMap { $0 }.compactMap(\.stringValue).joined()
    #expect(plan.contains("Projections: moment") && plan.contains("Filters: wide='w'") && !plan.contains("FILTER "), "\(plan)")
  }
}
