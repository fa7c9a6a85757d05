// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import TestSupport
import Testing

/// Random statements on tables of every kind come to what the engine makes of them, at every version and for every reader.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ChangeHistoryTests {
  static let fields = [
    StructField(name: "id", type: .primitive("long")), StructField(name: "name", type: .primitive("string")),
    StructField(name: "score", type: .primitive("double")), StructField(name: "p", type: .primitive("string")),
    StructField(name: "day", type: .primitive("date")),
  ]
  static let columns = [Column("id", .bigint), Column("name", .varchar), Column("score", .double), Column("p", .varchar), Column("day", .date)]

  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case plain, partitioned, vectors, partitionedVectors, mapped, feed, everything
    var testDescription: String { rawValue }

    func metadata() throws -> TableMetadata {
      var configuration: [String: String] = [:]
      if [.vectors, .partitionedVectors, .everything].contains(self) { configuration["delta.enableDeletionVectors"] = "true" }
      if [.feed, .everything].contains(self) { configuration["delta.enableChangeDataFeed"] = "true" }
      if self == .everything {
        configuration["delta.enableInCommitTimestamps"] = "true"
        configuration["delta.checkpointInterval"] = "4"
      }
      let metadata = TableMetadata(
        schema: StructType(fields: fields), partitionColumns: [.partitioned, .partitionedVectors, .everything].contains(self) ? ["p", "day"] : [],
        configuration: configuration)
      return [.mapped, .everything].contains(self) ? try ColumnMapping.newTable(metadata) : metadata
    }
  }

  private struct Generator {
    var random: SplitMix64

    mutating func number(_ range: Range<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func row() -> String {
      let p = ["'a'", "'b c/d=%'", "NULL", "'ü'"][number(0..<4)]
      let day = number(0..<3) == 0 ? "NULL" : "DATE '2024-01-0\(number(1..<4))'"
      return "(\(number(0..<60)), \(number(0..<5) == 0 ? "NULL" : "'n\(number(0..<9))'"), \(number(0..<100)) / 4.0, \(p), \(day))"
    }

    mutating func condition() -> String {
      switch number(0..<6) {
      case 0: "id % \(number(2..<6)) = 0"
      case 1: "score > \(number(5..<25))"
      case 2: "p = 'a'"
      case 3: "p IS NULL AND id < \(number(5..<60))"
      case 4: "name LIKE 'n\(number(0..<9))%'"
      default: "day = DATE '2024-01-0\(number(1..<4))' OR id = \(number(0..<60))"
      }
    }

    mutating func statement() -> String {
      switch number(0..<8) {
      case 0, 1: "INSERT INTO t VALUES " + (0..<number(1..<12)).map { _ in row() }.joined(separator: ", ")
      case 2: "INSERT INTO t (p, id, score) SELECT p, id + 100, score FROM s WHERE id % \(number(2..<5)) = 1"
      case 3: "DELETE FROM t WHERE \(condition())"
      case 4: "UPDATE t SET score = score + \(number(1..<9)), name = upper(name) WHERE \(condition())"
      case 5: "UPDATE t SET p = CASE WHEN p = 'a' THEN 'b c/d=%' ELSE 'a' END, day = NULL WHERE \(condition())"
      case 6:
        """
        MERGE INTO t USING s ON t.id = s.id WHEN MATCHED AND s.gone THEN DELETE WHEN MATCHED THEN UPDATE SET score = s.score, name = s.name
          WHEN NOT MATCHED AND s.id % \(number(2..<4)) = 0 THEN INSERT (id, name, p) VALUES (s.id, s.name, s.p)
        """
      default: "MERGE INTO t USING s ON t.id = s.id AND t.p = 'a' WHEN NOT MATCHED BY SOURCE AND t.score < \(number(1..<10)) THEN DELETE"
      }
    }
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment"), arguments: Kind.allCases) func randomStatementsComeToWhatTheEngineComesTo(_ kind: Kind) throws
  {
    let seed = UInt64(Kind.allCases.firstIndex(of: kind) ?? 0) + 41
    let engine = try Database(settings: .init(threads: 1)).connect()
    try engine.execute("SET TimeZone='UTC'")
    let sourceFolder = TemporaryDirectory("source")
    let source = sourceFolder.file("s.parquet")
    try engine.execute(
      """
      CREATE TABLE t (id BIGINT, name VARCHAR, score DOUBLE, p VARCHAR, day DATE);
      CREATE TABLE s AS SELECT range * 2 AS id, 's' || range AS name, range / 2.0 AS score, ['a', 'b c/d=%', NULL, 'ü'][1 + range % 4] AS p,
        range % 5 = 0 AS gone FROM range(40);
      COPY s TO \(SQLText.literal(source)) (FORMAT parquet)
      """)
    let table = try ChangedTable(
      kind.metadata(),
      sources: ["s": ([source], [Column("id", .bigint), Column("name", .varchar), Column("score", .double), Column("p", .varchar), Column("gone", .boolean)])])
    var generator = Generator(random: SplitMix64(seed: seed))
    var versions: [Int64: [String]] = [:]
    for step in 0..<16 {
      let statement = step == 0 ? "INSERT INTO t VALUES " + (0..<30).map { _ in generator.row() }.joined(separator: ", ") : generator.statement()
      try engine.execute(statement)
      try table.run(statement)
      let expected = try ChangedTable.texts("SELECT id, name, score, p, day FROM t", engine)
      let rows = try table.rows()
      try #require(rows == expected, "seed \(seed), step \(step): \(statement)")
      versions[try table.delta.snapshot().version] = rows
    }
    for (version, rows) in versions { #expect(try table.rows(version: version) == rows) }
    let last = try table.rows()
    if try table.delta.snapshot().properties.hasChangeDataFeed { #expect(try table.replayed() == last) }
    // A mapped table takes a reader that knows how; the peer does not.
    guard kind != .mapped, kind != .everything else { return }
    let expected = sourceFolder.file("versions.json")
    try Data(JSONValue(encoding: Dictionary(uniqueKeysWithValues: versions.map { (String($0), $1) })).sortedText.utf8).write(to: URL(fileURLWithPath: expected))
    let answer = try Peers.run(
      """
      import json, os, sys, pyarrow as pa
      from deltalake import DeltaTable, QueryBuilder
      for version, rows in json.load(open(sys.argv[2])).items():
          t = DeltaTable(sys.argv[1], version=int(version))
          seen = pa.table(QueryBuilder().register("t", t).execute("select id, name, score, p, day from t").read_all()).to_pylist()
          key = lambda r: json.dumps(r, sort_keys=True, default=str)
          wanted = sorted(key(json.loads(r)) for r in rows)
          found = sorted(key(r) for r in seen)
          if wanted != found: print(version, len(wanted), len(found), [x for x in wanted if x not in found][:2], [x for x in found if x not in wanted][:2])
      print("done")
      sys.stdout.flush()
      os._exit(0)
      """, [table.folder.file("t"), expected])
    #expect(answer == "done\n", "seed \(seed)")
  }

  @Test func rowsKeepTheirIDs() throws {
    let metadata = TableMetadata(
      schema: StructType(fields: Self.fields),
      configuration: [
        "delta.enableRowTracking": "true", RowTracking.rowIdColumnProperty: "_row-id-col-x", RowTracking.rowCommitVersionColumnProperty: "_row-version-col-x",
      ])
    let table = try ChangedTable(metadata)
    try table.run("INSERT INTO t (id) SELECT range FROM range(10)")
    try table.run("INSERT INTO t (id) SELECT range + 10 FROM range(10)")
    try table.run("UPDATE t SET score = 1 WHERE id = 12")
    try table.run("DELETE FROM t WHERE id = 3")
    try table.run(
      "MERGE INTO t USING (SELECT 13 AS id UNION ALL SELECT 99) AS s ON t.id = s.id WHEN MATCHED THEN UPDATE SET score = 2 WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    let snapshot = try table.delta.snapshot()
    let engine = try Database().connect()
    var ids: [Int64: (id: Int64, version: Int64)] = [:]
    for file in snapshot.files {
      let path = table.folder.file("t/" + (try file.relativePath()))
      let present = try engine.query("SELECT * FROM read_parquet(\(SQLText.literal(path))) LIMIT 0").columns.map(\.name)
      let own = present.contains("_row-id-col-x") ? "\"_row-id-col-x\", \"_row-version-col-x\"" : "NULL::BIGINT, NULL::BIGINT"
      for row in try engine.rows("SELECT id, file_row_number, \(own) FROM read_parquet(\(SQLText.literal(path)), file_row_number=true)") {
        let number = try #require(row[1].intValue)
        let (base, version) = (try #require(file.baseRowId), try #require(file.defaultRowCommitVersion))
        ids[try #require(row[0].intValue)] = (
          row[2].intValue ?? base + number, row[3].intValue ?? version
        )
      }
    }
    #expect(ids.count == 20 && Set(ids.values.map(\.id)).count == 20)
    for id in Int64(0)..<20 where id != 3 { #expect(ids[id]?.id == id) }
    #expect(ids[5]?.version == 1 && ids[15]?.version == 2 && ids[12]?.version == 3 && ids[13]?.version == 5 && ids[99]?.version == 5)
  }

  @Test func changedRowsObeyTheTable() throws {
    var fields = Self.fields
    fields[1].metadata["CURRENT_DEFAULT"] = "'fresh'"
    fields.append(StructField(name: "half", type: .primitive("double"), metadata: ["delta.generationExpression": "score / 2"]))
    fields.append(try IdentityColumn(name: "number", start: 100).field())
    let table = try ChangedTable(
      TableMetadata(schema: StructType(fields: fields), configuration: ["delta.constraints.low": "score < 50", "delta.enableDeletionVectors": "true"]))
    try table.run("INSERT INTO t (id, score) VALUES (1, 10), (2, 20)")
    try table.run("UPDATE t SET score = score + 2, name = DEFAULT WHERE id = 1")
    try table.run("MERGE INTO t USING (SELECT 3 AS id, 8 AS score) AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, score) VALUES (s.id, s.score)")
    func row(_ id: Int, _ score: Double, _ number: Int) -> String {
      "{\"id\":\(id),\"name\":\"fresh\",\"score\":\(score),\"p\":null,\"day\":null,\"half\":\(score / 2),\"number\":\(number)}"
    }
    #expect(try table.rows() == [row(1, 12, 100), row(2, 20, 101), row(3, 8, 102)])
    let before = try table.delta.snapshot().version
    for (statement, text) in [
      ("UPDATE t SET score = 60 WHERE id = 2", "CHECK constraint 'low'"), ("UPDATE t SET half = 3 WHERE id = 2", "generated column 'half'"),
      ("UPDATE t SET number = 3 WHERE id = 2", "identity column 'number'"),
      ("MERGE INTO t USING (SELECT 9 AS id) AS s ON t.id = s.id WHEN NOT MATCHED THEN INSERT (id, score) VALUES (9, 99)", "CHECK constraint 'low'"),
    ] {
      #expect(throws: (any Error).self, "\(statement)") { try table.run(statement) }
      do { try table.run(statement) } catch { #expect("\(error)".contains(text), "\(error)") }
    }
    #expect(try table.delta.snapshot().version == before)
  }

  @Test func conditionsReplaceTheirRows() throws {
    for kind in [Kind.plain, .partitionedVectors] {
      let table = try ChangedTable(kind.metadata())
      try table.run("INSERT INTO t (id, p) SELECT range, CASE WHEN range % 2 = 0 THEN 'a' ELSE 'b' END FROM range(10)")
      try table.run("INSERT INTO t (id, p) REPLACE WHERE p = 'a' AND id > 2 SELECT 50, 'a' UNION ALL SELECT 51, 'a'")
      #expect(try table.rows().count == 9)
      #expect(throws: PlatformError.self) { try table.run("INSERT INTO t (id, p) REPLACE WHERE p = 'a' VALUES (7, 'b')") }
      #expect(try table.rows().count == 9)
    }
  }
}
