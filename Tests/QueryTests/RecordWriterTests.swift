// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import TestSupport
import Testing

/// Pushed records: several batches in one go, each wholly or not at all.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct RecordWriterTests {
  let folder = TemporaryDirectory("records")

  private func field(_ name: String, _ type: String, nullable: Bool = true, _ metadata: [String: JSONValue] = [:]) -> StructField {
    StructField(name: name, type: .primitive(type), nullable: nullable, metadata: metadata)
  }

  private func batch(_ id: String, _ body: Data, format: RecordBatch.Format = .ndjson, isPacked: Bool = false) throws -> RecordBatch {
    let path = folder.file(UUID().uuidString)
    try body.write(to: URL(fileURLWithPath: path))
    return RecordBatch(id: id, format: format, path: path, sizeBytes: Int64(body.count), isPacked: isPacked)
  }

  private func write(_ batches: [RecordBatch], _ fields: [StructField], partition: [String] = [], _ properties: [String: String] = [:]) throws
    -> StatementResult
  {
    var spec = StatementSpec(kind: .insert, sql: "", tables: [], outputDirectory: folder.file("t"))
    spec.records = batches
    spec.target = WriteTarget(
      name: "main.demo.t", schema: StructType(fields: fields).schemaString, partitionColumns: partition, properties: properties, version: 0)
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
  }

  private func rows(_ result: StatementResult, _ list: String = "*") throws -> [String] {
    guard !result.files.isEmpty else { return [] }
    return try Database().connect().rows(
      "SELECT CAST(to_json(r) AS VARCHAR) FROM (SELECT \(list) FROM read_parquet(\(SQLText.list(result.files.map(\.path))), hive_partitioning=false)) r ORDER BY 1"
    ).compactMap { $0[0].stringValue }
  }

  @Test func batchesAreWholeOrNotAtAll() throws {
    let fields = [field("id", "long", nullable: false), field("name", "string"), field("amount", "decimal(10,2)"), field("at", "timestamp")]
    let bodies = [
      #"{"id":1,"name":"a","amount":1.25,"at":"2024-01-02T03:04:05Z"}"# + "\n" + #"{"ID":2,"name":null}"# + "\n",
      #"{"id":3}"# + "\n\n" + #"{"id":"x"}"# + "\n" + #"{"id":true}"#,
      #"{"id":4}"# + "\n" + #"{"name":"no id"}"# + "\n",
      #"{"id":5}"# + "\nnonsense\n",
      #"{"id":6,"colour":"red"}"#,
      #"{"id":7,"amount":5}"#, "\n \n", #"{"id":8,"amount":2}"# + "\n" + #"{"id":9,"amount":-2}"#, #"{"id":10,"Id":11}"#,
    ]
    let result = try write(
      bodies.enumerated().map { try batch("b\($0)", Data($1.utf8)) }, fields, partition: ["name"],
      ["delta.constraints.positive": "amount > 0 OR amount IS NULL"])
    let outcomes = try #require(result.records)
    #expect(outcomes.map(\.rows) == [2, 0, 0, 0, 0, 1, 0, 0, 0])
    #expect(outcomes.map(\.line) == [nil, 3, 2, 2, 1, nil, nil, 2, 1])
    #expect(outcomes[1].refusal == #"'id' takes BIGINT, not "x""#)
    #expect(outcomes[2].refusal?.contains("NOT NULL column 'id'") == true)
    #expect(outcomes[3].refusal == "not JSON")
    #expect(outcomes[4].refusal == "the table has no column 'colour'")
    #expect(outcomes[6].refusal == "the batch has no records")
    #expect(outcomes[7].refusal?.contains("CHECK constraint 'positive'") == true && outcomes[7].refusal?.contains("-2") == true)
    #expect(outcomes[8].refusal == "'id' is given twice")
    #expect(result.rowCount == 3)
    #expect(
      try rows(result, "id, CAST(amount AS VARCHAR) amount, \"at\"") == [
        #"{"id":1,"amount":"1.25","at":"2024-01-02 03:04:05+00"}"#, #"{"id":2,"amount":null,"at":null}"#, #"{"id":7,"amount":"5.00","at":null}"#,
      ])
    #expect(Set(result.files.map { $0.partitionValues["name"] ?? "?" }) == ["a", nil])
  }

  @Test func numbersKeepTheirText() throws {
    let body = Data(#"{"d":1234567890123456.7891,"s":1.10}"#.utf8)
    let result = try write([batch("a", body)], [field("d", "decimal(20,4)"), field("s", "string")])
    #expect(try rows(result) == [#"{"d":1234567890123456.7891,"s":"1.10"}"#])
  }

  @Test func columnsThatComputeTheirValues() throws {
    let fields = [
      field("n", "long", ["delta.identity.start": 10, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": true]), field("x", "long"),
      field("y", "long", ["delta.generationExpression": "x * 2"]), field("z", "string", ["CURRENT_DEFAULT": "'none'"]),
    ]
    let result = try write(
      [
        batch("a", Data((#"{"x":1}"# + "\n" + #"{"x":2,"z":null}"#).utf8)), batch("b", Data(#"{"x":3,"y":6,"z":"own"}"#.utf8)),
        batch("c", Data(#"{"x":4,"y":9}"#.utf8)), batch("d", Data((#"{"x":5,"n":100}"# + "\n" + #"{"x":6}"#).utf8)), batch("e", Data(#"{"x":7,"n":50}"#.utf8)),
        batch("f", Data(#"{"x":8}"#.utf8)),
      ], fields, ["delta.feature.allowColumnDefaults": "supported"])
    let outcomes = try #require(result.records)
    #expect(outcomes.map(\.rows) == [2, 1, 0, 0, 1, 1])
    #expect(outcomes[2].refusal?.contains("generated column 'y'") == true && outcomes[2].line == 1)
    #expect(outcomes[3].refusal?.contains("give it in all records") == true)
    let written = try rows(result, "x, y, z")
    #expect(
      written == [
        #"{"x":1,"y":2,"z":"none"}"#, #"{"x":2,"y":4,"z":null}"#, #"{"x":3,"y":6,"z":"own"}"#, #"{"x":7,"y":14,"z":"none"}"#, #"{"x":8,"y":16,"z":"none"}"#,
      ])
    let numbers = try Set(rows(result, "n"))
    #expect(numbers.count == 5 && numbers.contains(#"{"n":50}"#) && numbers.contains(#"{"n":10}"#), "\(numbers)")
    #expect((result.identityMarks?["n"] ?? 0) >= 50)
  }

  /// One batch of several, so that the others are written.
  @Test func timesWithoutEndAreRefusedWithTheirBatch() throws {
    let fields = [
      field("id", "long"), field("day", "date"), StructField(name: "s", type: .structure(StructType(fields: [field("at", "timestamp")])), nullable: true),
    ]
    let bodies = [
      #"{"id":1,"day":"infinity"}"#, #"{"id":2,"s":{"at":"-Infinity"}}"#, #"{"id":3,"day":"2026-01-01","s":{"at":"2026-01-01T00:00:00Z"}}"#,
    ]
    let result = try write(bodies.enumerated().map { try batch("b\($0)", Data($1.utf8)) }, fields)
    #expect(result.records?.map(\.rows) == [0, 0, 1])
    #expect(result.records?[0].refusal?.contains("'day' takes DATE") == true && result.records?[1].refusal?.contains("'s' takes") == true)
  }

  @Test func packedAndDamagedBodies() throws {
    let fields = [field("id", "long")]
    let script = "import gzip,sys; open(sys.argv[1],'wb').write(gzip.compress(b'{\"id\":1}\\n{\"id\":2}\\n'))"
    guard Peers.python != nil else { return }
    _ = try Peers.run(script, [folder.file("packed")])
    let packed = try Data(contentsOf: URL(fileURLWithPath: folder.file("packed")))
    let result = try write(
      [batch("a", packed, isPacked: true), batch("b", packed.dropLast(9), isPacked: true), batch("c", Data(#"{"id":3}"#.utf8))], fields)
    #expect(result.records?.map(\.rows) == [2, 0, 1])
    #expect(result.records?[1].refusal?.contains("gzip") == true)
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func arrowStreams() throws {
    let script = """
      import pyarrow as pa, sys, datetime as d, decimal
      t = pa.table({
        'i8': pa.array([1,None,-3], pa.int8()), 'u64': pa.array([18446744073709551615,0,1], pa.uint64()), 'f': pa.array([1.5,float('nan'),None], pa.float32()),
        'h': pa.array([0.5,1.0,None], pa.float16()), 's': pa.array(['a"\\\\\\n','ü',None]), 'ls': pa.array(['x',None,''], pa.large_string()),
        'b': pa.array([b'\\x00\\xff',None,b''], pa.binary()), 'fb': pa.array([b'ab',None,b'cd'], pa.binary(2)), 't': pa.array([True,None,False]),
        'd': pa.array([decimal.Decimal('-12.34'),None,decimal.Decimal('0.05')], pa.decimal128(30,2)),
        'day': pa.array([d.date(2024,2,29),None,d.date(1901,1,1)]), 'ts': pa.array([d.datetime(2024,1,2,3,4,5,678901),None,d.datetime(1969,12,31,23,59,59)], pa.timestamp('us', 'UTC')),
        'l': pa.array([[1,2],None,[]], pa.list_(pa.int32())), 'st': pa.array([{'a':1,'b':'x'},None,{'a':None,'b':'y'}]),
        'm': pa.array([[('k',1)],None,[]], pa.map_(pa.string(), pa.int64())), 'c': pa.array(['p','q','p']).dictionary_encode()})
      with pa.ipc.new_stream(sys.argv[1], t.schema) as w:
        w.write_table(t.slice(0,1)); w.write_table(t.slice(1))
      """
    _ = try Peers.run(script, [folder.file("s.arrow")])
    let bytes = try Data(contentsOf: URL(fileURLWithPath: folder.file("s.arrow")))
    let fields = [
      field("i8", "byte"), field("u64", "decimal(20,0)"), field("f", "float"), field("h", "double"), field("s", "string"), field("ls", "string"),
      field("b", "binary"), field("fb", "binary"), field("t", "boolean"), field("d", "decimal(30,2)"), field("day", "date"), field("ts", "timestamp"),
      StructField(name: "l", type: .array(.primitive("integer"), containsNull: true), nullable: true),
      StructField(name: "st", type: .structure(StructType(fields: [field("a", "long"), field("b", "string")])), nullable: true),
      StructField(name: "m", type: .map(.primitive("string"), .primitive("long"), valueContainsNull: true), nullable: true), field("c", "string"),
    ]
    let result = try write([batch("a", bytes, format: .arrow)], fields)
    #expect(result.records?.first?.refusal == nil, "\(result.records?.first?.refusal ?? "")")
    let found = try rows(result, "i8, u64, f, h, s, ls, hex(b) b, hex(fb) fb, t, d, day, ts, l, st, m, c")
    #expect(
      found == [
        #"{"i8":-3,"u64":1,"f":null,"h":null,"s":null,"ls":"","b":"","fb":"6364","t":false,"d":0.05,"day":"1901-01-01","ts":"1969-12-31 23:59:59+00","l":[],"st":{"a":null,"b":"y"},"m":{},"c":"p"}"#,
        #"{"i8":1,"u64":18446744073709551615,"f":1.5,"h":0.5,"s":"a\"\\\n","ls":"x","b":"00FF","fb":"6162","t":true,"d":-12.34,"day":"2024-02-29","ts":"2024-01-02 03:04:05.678901+00","l":[1,2],"st":{"a":1,"b":"x"},"m":{"k":1},"c":"p"}"#,
        #"{"i8":null,"u64":0,"f":NaN,"h":1.0,"s":"ü","ls":null,"b":null,"fb":null,"t":null,"d":null,"day":null,"ts":null,"l":null,"st":null,"m":null,"c":"q"}"#,
      ])
    // Whatever is damaged: the batch is refused, or its rows are written; nothing crashes.
    var random = SplitMix64(seed: 4)
    var refused = 0
    let all = try (0..<200).map { index in
      var copy = bytes
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 0..<copy.count, using: &random)
        copy[at] = [0, 255, 127, UInt8.random(in: 0...255, using: &random)][Int.random(in: 0..<4, using: &random)]
      }
      if index % 5 == 0 { copy = copy.prefix(Int.random(in: 1..<copy.count, using: &random)) }
      return try batch("f\(index)", copy, format: .arrow)
    }
    for outcome in try write(all, fields).records ?? [] where outcome.refusal != nil { refused += 1 }
    #expect(refused > 40, "\(refused)")
  }
}
