// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Rows that break a rule of their table, put aside with file, line and reason when a load says so.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct RowQuarantineTests {
  private static let fields = [
    StructField(name: "id", type: .primitive("long"), nullable: false),
    StructField(name: "code", type: .primitive("string"), nullable: true, metadata: ["__CHAR_VARCHAR_TYPE_STRING": "varchar(3)"]),
    StructField(name: "price", type: .primitive("double"), nullable: true),
  ]

  private static func target() throws -> WriteTarget {
    WriteTarget(
      name: "main.demo.r", schema: StructType(fields: fields).schemaString, partitionColumns: [], properties: ["delta.constraints.positive": "price > 0"],
      version: 0)
  }

  private func load(_ files: [String: String], _ format: FileRead.Format, _ options: [String: String] = [:], quarantines: Bool) throws -> (
    result: FileLoadResult, rows: [String], bad: [String]
  ) {
    let folder = TemporaryDirectory("rules")
    let columns = try TypeMapping.columns(StructType(fields: Self.fields))
    let given = try FileReadTests.list(files.mapValues { Array($0.utf8) }, in: folder.path)
    var options = try FileOptions(options, format: format)
    options.rescuedColumn = nil
    var load = FileLoad(
      read: FileRead(view: "__load", format: format, options: options, files: given, schema: columns), columns: columns,
      dataPath: folder.file("t/data.parquet"), quarantinePath: folder.file("bad.parquet"), readAt: 0)
    load.target = try Self.target()
    load.quarantinesRows = quarantines
    let result = try load.run(context: QuietContext(scratchDirectory: folder.path))
    let engine = try Database(settings: .init(threads: 1)).connect()
    func texts(_ paths: [String], _ what: String) throws -> [String] {
      guard !paths.isEmpty else { return [] }
      return try engine.rows("SELECT \(what) AS t FROM read_parquet(\(SQLText.list(paths))) ORDER BY 1").compactMap { $0[0].stringValue }
    }
    return (
      result, try texts(result.parts.map(\.path), "concat_ws('|', id, code, price)"),
      try texts(result.quarantine.map { [$0.path] } ?? [], "concat_ws('|', parse_filename(file), coalesce(line, -1), reason, raw)")
    )
  }

  @Test func linesOfCSV() throws {
    let text = "id,code,price\n1,abc,5\n\n,abc,5\n3,abcd,5\nbroken\n4,x,-1\nq,x,1\n5,\"y\",\n6,é,2\n"
    let (result, rows, bad) = try load(["a.csv": text], .csv, quarantines: true)
    #expect(rows == ["1|abc|5.0", "6|é|2.0"])
    #expect(result.rows == 2 && result.badRecords == 6)
    #expect(bad.count == 6)
    for (line, word) in [
      (4, "NOT NULL column 'id'"), (5, "length of 'code' (varchar(3))"), (6, "missing columns"), (7, "CHECK constraint 'positive'"), (8, "do not fit"),
      (9, "CHECK constraint 'positive'"),
    ] {
      #expect(bad.filter { $0.hasPrefix("a.csv|\(line)|") && $0.contains(word) }.count == 1, "\(line) \(word): \(bad)")
    }
    #expect(bad.contains { $0.contains(#""code":"abcd""#) }, "\(bad)")
    // Where records are not lines, no line is made up.
    let (_, some, unknown) = try load(["a.csv": "id,code,price\n1,\"a\nb\",5\n2,abcd,5\n"], .csv, quarantines: true)
    #expect(some == ["1|a\nb|5.0"] && unknown.count == 1 && unknown[0].hasPrefix("a.csv|-1|breaks the length"), "\(unknown)")
    // Comments, skipped lines, several files.
    let options = ["comment": "#", "skipRows": "2", "header": "true"]
    let (_, _, commented) = try load(
      ["a.csv": "x\ny\n# c\nid,code,price\n# d\n1,abcd,1\n", "b.csv": "x\ny\nid,code,price\n2,a,0\n"], .csv, options, quarantines: true)
    #expect(commented.map { $0.prefix(8) } == ["a.csv|6|", "b.csv|4|"], "\(commented)")
  }

  @Test func linesOfJSON() throws {
    let text = #"{"id":1,"code":"abc","price":1}"# + "\n\n" + #"{"code":"abc","price":1}"# + "\nnonsense\n" + #"{"id":2,"code":"abcd","price":1}"# + "\n"
    let (result, rows, bad) = try load(["a.json": text], .json, quarantines: true)
    #expect(rows == ["1|abc|1.0"] && result.badRecords == 3)
    #expect(bad.map { $0.prefix(9) }.map(String.init) == ["a.json|3|", "a.json|4|", "a.json|5|"], "\(bad)")
    #expect(result.reasons.values.reduce(0, +) == 3 && result.reasons.keys.contains { $0.contains("NOT NULL") })
  }

  @Test func otherwiseTheLoadFails() throws {
    let error = #expect(throws: PlatformError.self) { try load(["a.csv": "id,code,price\n1,abcd,5\n"], .csv, quarantines: false) }
    #expect(error?.number == "PLT-3204")
    #expect(try Self.target().hasRules)
    #expect(try !WriteTarget(name: "t", schema: StructType(fields: [StructField(name: "a", type: .primitive("long"), nullable: true)]).schemaString).hasRules)
    // All of them.
    let (result, rows, bad) = try load(["a.csv": "id,code,price\n1,abcd,5\n"], .csv, quarantines: true)
    #expect(result.rows == 0 && rows.isEmpty && bad.count == 1 && result.target != nil)
  }
}
