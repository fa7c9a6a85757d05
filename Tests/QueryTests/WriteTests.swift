// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import TestSupport
import Testing

/// Rows that statements write obey the table: its partitions, columns and rules.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct WriteTests {
  let folder = TemporaryDirectory("write")

  private func field(_ name: String, _ type: String, nullable: Bool = true, _ metadata: [String: JSONValue] = [:]) -> StructField {
    StructField(name: name, type: .primitive(type), nullable: nullable, metadata: metadata)
  }

  private func target(_ fields: [StructField], partition: [String] = [], _ properties: [String: String] = [:]) -> WriteTarget {
    WriteTarget(name: "main.demo.t", schema: StructType(fields: fields).schemaString, partitionColumns: partition, properties: properties, version: 0)
  }

  private func insert(_ text: String, _ target: WriteTarget, syncingHost: String? = nil) throws -> StatementResult {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    var spec = StatementSpec(kind: plan.kind, sql: plan.sql, tables: [], insertColumns: plan.insertColumns, outputDirectory: folder.file("t"))
    spec.insert = plan.insert
    spec.target = target
    spec.syncingHost = syncingHost
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
  }

  @Test func theDiskIsLeftToWhoCommitsOnTheSameMachine() throws {
    let plain = target([field("id", "long")])
    #expect(try insert("INSERT INTO t VALUES (1)", plain).isUnsynced == nil)
    #expect(try insert("INSERT INTO t VALUES (1)", plain, syncingHost: "another@machine").isUnsynced == nil)
    let left = try insert("INSERT INTO t VALUES (1)", plain, syncingHost: ProcessSupport.hostID)
    #expect(try left.isUnsynced == true && rows(left) == [#"{"id":1}"#])
    // Folders of partitions are new, too.
    let parted = target([field("id", "long"), field("p", "string")], partition: ["p"])
    #expect(try insert("INSERT INTO t VALUES (1, 'a')", parted, syncingHost: ProcessSupport.hostID).isUnsynced == nil)
  }

  /// Rows of the files as text, in order.
  private func rows(_ result: StatementResult, _ list: String = "*") throws -> [String] { try rows(result.files, list) }

  private func rows(_ files: [WrittenFile], _ list: String = "*") throws -> [String] {
    guard !files.isEmpty else { return [] }
    return try Database().connect().rows(
      "SELECT CAST(to_json(r) AS VARCHAR) FROM (SELECT \(list) FROM read_parquet(\(SQLText.list(files.map(\.path))), hive_partitioning=false)) r ORDER BY 1"
    ).compactMap { $0[0].stringValue }
  }

  private func failure(_ body: () throws -> Void) -> PlatformError? {
    do {
      try body()
      return nil
    } catch { return error as? PlatformError }
  }

  @Test func whatTheLogCannotHoldIsNoPartition() throws {
    let target = target([field("id", "long"), field("day", "date"), field("at", "timestamp")], partition: ["day", "at"])
    for (day, at, column) in [
      ("date '2024-01-01'", "timestamptz '10001-01-01 00:00:00+00'", "at"), ("date '0044-03-15 (BC)'", "timestamptz '2024-01-01 00:00:00+00'", "day"),
      ("'infinity'::date", "timestamptz '2024-01-01 00:00:00+00'", "day"),
    ] {
      let error = failure { _ = try insert("INSERT INTO t SELECT 1, \(day), \(at)", target) }
      #expect(error?.code == .invalidArgument && error?.message.contains("partition column '\(column)'") == true, "\(day), \(at): \(error as Any)")
    }
    #expect(try insert("INSERT INTO t SELECT 1, date '9999-12-31', timestamptz '0001-01-01 00:00:00+00'", target).files.count == 1)
  }

  /// The engine's own statistics miss NaN among values that it writes as a dictionary.
  @Test func boundsThatLeaveOutNaNAreNone() throws {
    let inner = StructType(fields: [StructField(name: "x", type: .primitive("float"))])
    let target = target([field("id", "long"), field("d", "double"), field("e", "double"), StructField(name: "s", type: .structure(inner))])
    let statistics = try insert(
      """
      INSERT INTO t SELECT range, CASE WHEN range = 4000 THEN 'NaN'::DOUBLE ELSE range % 7 END, range % 7, {x: CASE WHEN range = 3 THEN 'NaN'::FLOAT ELSE 1 END}
      FROM range(20000)
      """, target
    ).files[0].statistics
    for (bounds, id, e) in [("minValues", 0, 0.0), ("maxValues", 19_999, 6)] {
      let found = statistics[bounds]?.objectValue ?? [:]
      #expect(found["id"] == .integer(Int64(id)) && found["e"]?.doubleValue == e && found.count == 2, "\(statistics)")
    }
    #expect(statistics["nanCount"] == ["e": 0])
  }

  @Test func eachPartitionHasItsFileAndFolder() throws {
    let target = target([field("id", "long"), field("p", "string"), field("day", "date"), field("at", "timestamp")], partition: ["p", "day", "at"])
    let result = try insert(
      """
      INSERT INTO t VALUES (1, 'a/b=c%', DATE '2024-02-29', TIMESTAMPTZ '2024-01-01 10:00:00.5+02'), (2, NULL, NULL, NULL),
        (3, '', DATE '2024-02-29', NULL), (4, 'a/b=c%', DATE '2024-02-29', TIMESTAMPTZ '2024-01-01 08:00:00.5+00'), (5, 'ü x', NULL, NULL)
      """, target)
    let found = Dictionary(
      uniqueKeysWithValues: try result.files.map { file in
        (try rows([file]).joined(separator: " "), file)
      })
    let first = try #require(found[#"{"id":1} {"id":4}"#])
    #expect(first.partitionValues == ["p": "a/b=c%", "day": "2024-02-29", "at": "2024-01-01T08:00:00.500000Z"])
    #expect(first.path.contains("/p=a%2Fb%3Dc%25/day=2024-02-29/at=2024-01-01T08%3A00%3A00.500000Z/part-"))
    #expect(found[#"{"id":2}"#]?.partitionValues == ["p": nil, "day": nil, "at": nil] as [String: String?])
    #expect(found[#"{"id":3}"#]?.partitionValues == ["p": nil, "day": "2024-02-29", "at": nil] as [String: String?])
    #expect(found[#"{"id":5}"#]?.path.contains("/p=%C3%BC%20x/day=__HIVE_DEFAULT_PARTITION__/") == true)
    #expect(first.statistics["numRecords"] == 2 && first.statistics["minValues"] == ["id": 1] && first.statistics["maxValues"] == ["id": 4])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("t")).allSatisfy { $0.hasPrefix("p=") })
    // What crosses to the coordinator comes back the same, nulls included.
    #expect(try JSONValue(encoding: result).decode(StatementResult.self).files == result.files)
  }

  @Test func largeResultsBecomeSeveralFiles() throws {
    let query = "INSERT INTO t SELECT (hash(range) % 9223372036854775807)::BIGINT, range % 2 FROM range(1500000)"
    let plain = try insert(query, target([field("id", "long"), field("p", "long")], ["delta.targetFileSize": "3mb"]))
    #expect(plain.files.count > 2 && plain.rowCount == 1_500_000)
    let split = try insert(query, target([field("id", "long"), field("p", "long")], partition: ["p"], ["delta.targetFileSize": "2mb"]))
    #expect(split.files.count > 3 && split.rowCount == 1_500_000)
    #expect(split.files.allSatisfy { $0.sizeBytes < 4 << 20 && $0.partitionValues.count == 1 })
    #expect(split.files.filter { $0.partitionValues["p"] == "1" }.reduce(0) { $0 + $1.rows } == 750_000)
  }

  @Test func mappedColumnsHavePhysicalNamesAndIDs() throws {
    func mapped(_ field: StructField, _ id: Int64) -> StructField {
      var field = field
      field.metadata["delta.columnMapping.id"] = .integer(id)
      field.metadata["delta.columnMapping.physicalName"] = .string("col-\(id)")
      return field
    }
    func inner(_ id: Int64) -> StructType { StructType(fields: [mapped(field("x y", "integer"), id), mapped(field("z", "string"), id + 1)]) }
    let target = target(
      [
        mapped(field("id", "long"), 1), mapped(StructField(name: "s", type: .structure(inner(3))), 2),
        mapped(StructField(name: "l", type: .array(.structure(inner(8)), containsNull: true)), 5),
        mapped(StructField(name: "m", type: .map(.primitive("string"), .structure(inner(10)), valueContainsNull: true)), 6), mapped(field("p", "string"), 7),
      ], partition: ["p"], ["delta.columnMapping.mode": "name"])
    let result = try insert(
      """
      INSERT INTO t VALUES (1, {'x y': 5, 'z': 'q'}, [{'x y': 6, 'z': NULL}], MAP {'k': {'x y': 7, 'z': 'w'}}, 'a'), (2, NULL, NULL, NULL, 'a')
      """, target)
    #expect(
      try rows(result) == [
        #"{"col-1":1,"col-2":{"col-3":5,"col-4":"q"},"col-5":[{"col-8":6,"col-9":null}],"col-6":{"k":{"col-10":7,"col-11":"w"}}}"#,
        #"{"col-1":2,"col-2":null,"col-5":null,"col-6":null}"#,
      ])
    let file = try #require(result.files.first)
    #expect(file.partitionValues == ["col-7": "a"])
    #expect(file.statistics["minValues"] == ["col-1": 1, "col-2": ["col-3": 5, "col-4": "q"]])
    #expect(file.statistics["nullCount"]?["col-2"] == ["col-3": 1, "col-4": 1])
    let ids = try Database().connect().rows("SELECT name, field_id FROM parquet_schema('\(file.path)') WHERE name LIKE 'col-%'")
    #expect(ids.count == 10 && ids.allSatisfy { row in row[0].stringValue == "col-\(row[1].intValue ?? 0)" })
  }

  @Test func rowsObeyTheTable() throws {
    let nested = StructType(fields: [field("a", "long", nullable: false)])
    let target = target(
      [
        field("id", "long", nullable: false), field("x", "double"), field("twice", "double", ["delta.generationExpression": "x * 2"]),
        field("name", "string", ["CURRENT_DEFAULT": "'none'", "__CHAR_VARCHAR_TYPE_STRING": "varchar(6)"]),
        StructField(name: "s", type: .structure(nested)), StructField(name: "l", type: .array(.primitive("long"), containsNull: false)),
      ], ["delta.constraints.small": "`x` < 100 OR x = 1e6"])
    #expect(
      try rows(insert("INSERT INTO t (id, x, s) VALUES (1, 2, {'a': 1}), (2, 1e6, NULL)", target)) == [
        #"{"id":1,"x":2.0,"twice":4.0,"name":"none","s":{"a":1},"l":null}"#, #"{"id":2,"x":1000000.0,"twice":2000000.0,"name":"none","s":null,"l":null}"#,
      ])
    #expect(
      try rows(insert("INSERT INTO t (name, id, twice, x) VALUES (DEFAULT, 1, 8, 4), ('q', 2, 10, 5)", target), "name") == [
        #"{"name":"none"}"#, #"{"name":"q"}"#,
      ])
    #expect(try rows(insert("INSERT INTO t (id, twice, x) VALUES (1, DEFAULT, 4)", target), "twice") == [#"{"twice":8.0}"#])
    #expect(try rows(insert("INSERT INTO t BY NAME SELECT 3 AS ID, 7 AS x", target), "id, twice") == [#"{"id":3,"twice":14.0}"#])
    let refused = [
      ("(id, x) VALUES (1, 5), (2, 300)", #"a row breaks the CHECK constraint 'small' (`x` < 100 OR x = 1e6) of main.demo.t: {"x":300.0}"#),
      ("(id, x) VALUES (1, NULL)", #"a row breaks the CHECK constraint 'small' (`x` < 100 OR x = 1e6) of main.demo.t: {"x":null}"#),
      ("(x) VALUES (5)", #"a row breaks the NOT NULL column 'id' of main.demo.t: {"id":null}"#),
      ("(id, x, twice) VALUES (1, 5, 11)", #"a row breaks the generated column 'twice' (x * 2) of main.demo.t: {"x":5.0,"twice":11.0}"#),
      ("(id, x, name) VALUES (1, 5, 'seven77')", #"a row breaks the length of 'name' (varchar(6)) of main.demo.t: {"name":"seven77"}"#),
      ("(id, x, s) VALUES (1, 5, {'a': NULL})", "a row breaks the NOT NULL column 's.a' of main.demo.t"),
      ("(id, x, l) VALUES (1, 5, [1, NULL])", "a row breaks the array 'l' without null of main.demo.t"),
    ]
    for (rows, message) in refused {
      let error = failure { _ = try insert("INSERT INTO t " + rows, target) }
      #expect(error?.message.hasPrefix(message) == true && error?.number == "PLT-3204", "\(error?.message ?? "nothing was refused")")
    }
    for rows in [
      "(id, nope) VALUES (1, 2)", "(id, id) VALUES (1, 2)", "VALUES (1)", "BY NAME SELECT 1 AS nope", "(id, x) VALUES (1, 'text')", "(id) VALUES (1, 2)",
    ] {
      #expect(failure { _ = try insert("INSERT INTO t " + rows, target) }?.code == .invalidArgument, "\(rows)")
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.file("t")).allSatisfy { $0.hasSuffix(".parquet") })
  }

  @Test func identityColumnsCount() throws {
    let always = try IdentityColumn(name: "id", start: 10, step: 5, highWaterMark: 23).field()
    let result = try insert("INSERT INTO t (v) VALUES ('a'), ('b')", target([always, field("v", "string")]))
    #expect(try rows(result) == [#"{"id":25,"v":"a"}"#, #"{"id":30,"v":"b"}"#])
    #expect(result.identityMarks == ["id": 30])
    #expect(try rows(insert("INSERT INTO t VALUES (DEFAULT, 'a')", target([always, field("v", "string")]))) == [#"{"id":25,"v":"a"}"#])
    #expect(failure { _ = try insert("INSERT INTO t VALUES (1, 'a')", target([always, field("v", "string")])) }?.number == "PLT-3205")
    let open = try IdentityColumn(name: "id", start: 0, step: -1, allowsExplicitInsert: true).field()
    let mixed = try insert("INSERT INTO t VALUES (-7, 'a'), (DEFAULT, 'b')", target([open, field("v", "string")]))
    #expect(try rows(mixed) == [#"{"id":-1,"v":"b"}"#, #"{"id":-7,"v":"a"}"#])
    #expect(mixed.identityMarks == ["id": -7])
  }

  @Test func partitionClauseFillsItsColumns() throws {
    let target = target([field("p", "string"), field("id", "long"), field("q", "integer")], partition: ["p", "q"])
    let result = try insert("INSERT OVERWRITE TABLE t PARTITION (p = 'x' || 'y', q) SELECT 7, 8", target)
    #expect(try rows(result) == [#"{"id":7}"#] && result.files[0].partitionValues == ["p": "xy", "q": "8"])
    #expect(try QueryProbe.partitionValue("DATE '2024-01-01' + 1", field("d", "date")) == "2024-01-02")
    #expect(try QueryProbe.partitionValue("NULL", field("d", "date")) == nil)
    #expect(failure { _ = try QueryProbe.partitionValue("(SELECT count(*) FROM read_text('/etc/passwd'))", field("d", "long")) } != nil)
  }

  @Test func statisticsFollowTheProperties() throws {
    let fields = [field("a", "long"), field("b", "string"), field("c", "float"), field("d", "decimal(10,2)"), field("e", "boolean")]
    let text = "INSERT INTO t VALUES (1, repeat('z', 80), 'nan'::FLOAT, 12.5, true), (2, repeat('a', 80), 0.1, -3, false)"
    let all = try #require(try insert(text, target(fields)).files.first?.statistics)
    #expect(all["minValues"] == ["a": 1, "b": .string(String(repeating: "a", count: 32)), "d": .number(-3)])
    #expect(all["maxValues"] == ["a": 2, "b": .string(String(repeating: "z", count: 32) + "\u{10FFFF}"), "d": 12.5])
    #expect(all["nullCount"] == ["a": 0, "b": 0, "c": 0, "d": 0, "e": 0])
    #expect(try insert(text, target(fields, ["delta.dataSkippingNumIndexedCols": "1"])).files[0].statistics["nullCount"] == ["a": 0])
    #expect(try insert(text, target(fields, ["delta.dataSkippingStatsColumns": "d, `e`"])).files[0].statistics["nullCount"] == ["d": 0, "e": 0])
    let float = try #require(try insert("INSERT INTO t (c) VALUES (0.1)", target(fields)).files.first?.statistics)
    #expect(float["maxValues"]?["c"]?.doubleValue == Double(Float(0.1)))
  }
}
