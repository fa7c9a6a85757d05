// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct FileReadTests {
  /// Rows of files as `read_files` gives them, ordered by all columns.
  private func read(
    _ files: [String: [UInt8]], _ format: FileRead.Format, _ options: [String: String] = [:], order: String = "ALL", metadata: Bool = false
  ) throws -> (columns: [Column], rows: [[JSONValue]]) {
    let folder = TemporaryDirectory("files")
    let spec = try Self.spec(files, format, options, in: folder.path, sql: "SELECT * FROM __files_0 ORDER BY \(order)", metadata: metadata)
    let result = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
    return (result.columns, result.rows)
  }

  static func list(_ files: [String: [UInt8]], in folder: String) throws -> [FileRead.File] {
    try files.sorted { $0.key < $1.key }.map { name, bytes in
      try Data(bytes).write(to: URL(fileURLWithPath: folder + "/" + name))
      return FileRead.File(path: folder + "/" + name, name: "/Volumes/a/b/c/" + name, sizeBytes: Int64(bytes.count), modifiedMilliseconds: 0)
    }
  }

  static func spec(
    _ files: [String: [UInt8]], _ format: FileRead.Format, _ options: [String: String], in folder: String, sql: String, metadata: Bool = false
  ) throws -> StatementSpec {
    var spec = StatementSpec(kind: .select, sql: sql, tables: [])
    spec.fileReads = [
      FileRead(
        view: "__files_0", format: format, options: try FileOptions(options, format: format), files: try list(files, in: folder), hasMetadata: metadata)
    ]
    return spec
  }

  private func text(_ rows: [[JSONValue]]) -> [String] { rows.map { JSONValue.array($0).sortedText } }
  private func types(_ columns: [Column]) -> [String] { columns.map { "\($0.name) \($0.type.sql)" } }

  @Test func typesOfCSVAreFoundOut() throws {
    let (columns, rows) = try read(
      ["a.csv": Array("id,price,day,at,ok,name\n1,2.5,2026-01-31,2026-01-31 12:00:00,true,\"x, \"\"y\"\"\"\n2,,,,,\n".utf8)], .csv)
    #expect(
      types(columns) == [
        "id BIGINT", "price DOUBLE", "day DATE", "at TIMESTAMP WITH TIME ZONE", "ok BOOLEAN", "name VARCHAR", "_rescued_data VARCHAR",
      ])
    #expect(
      text(rows) == [
        #"[1,2.5,"2026-01-31","2026-01-31T12:00:00.000000Z",true,"x, \"y\"",null]"#, "[2,null,null,null,null,null,null]",
      ])
  }

  /// Small plain files are read without the engine, packed ones by it: nothing else tells them apart.
  @Test(arguments: [FileRead.Format.json, .text, .csv]) func smallFilesAreReadAsTheEngineReadsThem(format: FileRead.Format) throws {
    let texts = [
      "{\"n\":1}\n\n{\"n\":2}", "\u{feff}{\"n\":1}\n", "  {\"n\":1}\nnonsense\n[1]\n\n\n", "{\"n\":1}\r\n{\"n\":2}\r\n", "\n\n{\"n\":1}", "[{\"n\":1}]", "{",
      "{\"n\":\"\u{fc}\u{2028}\u{b}\"}\n\t\n{\"m\":1}\n", "", "\n\n", "a,b\n1,2\n",
      "\n\na,b\n1,2", "a,\"b\nc\"\n1,2\n", "a\n\n1\n", "{\"n\":\"a\u{0}b\"}\n",
    ].map { Array($0.utf8) }
    func seen(_ bytes: [UInt8], _ options: [String: String]) -> [String] {
      do {
        let (columns, rows) = try read(["a": bytes], format, options)
        return types(columns) + text(rows)
      } catch { return [(error as? PlatformError)?.message ?? "\(error)"] }
    }
    let folder = TemporaryDirectory("packed")
    for (number, bytes) in texts.enumerated() {
      try Data(bytes).write(to: URL(fileURLWithPath: folder.file("\(number)")))
      _ = try Program.run("/bin/gzip", [folder.file("\(number)")])
      let packed = Array(FileManager.default.contents(atPath: folder.file("\(number).gz")) ?? Data())
      #expect(seen(bytes, [:]) == seen(packed, ["compression": "gzip"]), "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
    }
  }

  @Test func raggedAndBrokenRecordsKeepTheirText() throws {
    let (_, rows) = try read(["a.csv": Array("a,b\n1,2\n3\n4,5,6\n7,\"open\n".utf8)], .csv)
    #expect(rows.count == 4)
    #expect(rows.contains { $0[0] == 1 && $0[1] == 2 && $0[2] == .null })
    #expect(rows.filter { $0[2].stringValue?.contains(#""_corrupt_record":"4,5,6""#) == true }.count == 1)
    #expect(try read(["a.csv": Array("a,b\n1,2\n3\n".utf8)], .csv, ["mode": "dropMalformed"]).rows.count == 1)
    #expect { try read(["a.csv": Array("a,b\n1,2\n3\n".utf8)], .csv, ["mode": "FAILFAST"]) } throws: {
      ($0 as? PlatformError)?.number == "PLT-3114" && ($0 as? PlatformError)?.line == 3
    }
  }

  @Test func headersMayDiffer() throws {
    let (columns, rows) = try read(["a.csv": Array("a,b\n1,x\n".utf8), "b.csv": Array("b,c,c\ny,2.5,3\n".utf8), "c.csv": [], "d.csv": Array("a,b".utf8)], .csv)
    #expect(types(columns) == ["a BIGINT", "b VARCHAR", "c DOUBLE", "c_2 BIGINT", "_rescued_data VARCHAR"])
    #expect(text(rows) == [#"[1,"x",null,null,null]"#, #"[null,"y",2.5,3,null]"#])
  }

  @Test func valuesThatDoNotFitAreRescued() throws {
    let options = ["schema": "id BIGINT, n INTEGER", "rescuedDataColumn": "_rescued_data"]
    let (_, rows) = try read(["a.csv": Array("id,n,z\n1,12.7,q\n2,5,\n".utf8)], .csv, options)
    #expect(rows[0][1] == .null && rows[1][1] == 5 && rows[1][2] == .null)
    #expect(rows[0][2].stringValue == #"{"n":"12.7","z":"q","_file_path":"/Volumes/a/b/c/a.csv"}"#)
  }

  static func encoded(_ name: String) -> [UInt8] {
    let text = "a,b\né,2\n"
    switch name {
    case "utf-16":
      var out: [UInt8] = [0xFF, 0xFE]
      for unit in text.utf16 { out += [UInt8(unit & 255), UInt8(unit >> 8)] }
      return out
    case "utf-16be":
      var out: [UInt8] = []
      for unit in text.utf16 { out += [UInt8(unit >> 8), UInt8(unit & 255)] }
      return out
    case "latin1": return text.unicodeScalars.map { UInt8($0.value) }
    default: return [0xEF, 0xBB, 0xBF] + Array(text.replacing("\n", with: "\r\n").utf8)
    }
  }

  @Test(arguments: ["utf-16", "utf-16be", "latin1", "utf-8"])
  func encodings(name: String) throws {
    let (columns, rows) = try read(["a.csv": Self.encoded(name)], .csv, ["encoding": name])
    #expect(columns.map(\.name) == ["a", "b", "_rescued_data"])
    #expect(text(rows) == [#"["é",2,null]"#])
  }

  @Test func optionsOfCSV() throws {
    let bytes = Array("# made by hand\nx;y;z\n'a;b';31.01.2026;NA\n".utf8)
    let (columns, rows) = try read(
      ["a.csv": bytes], .csv, ["sep": ";", "quote": "'", "comment": "#", "nullValue": "NA", "dateFormat": "dd.MM.yyyy", "schemaHints": "z INT"])
    #expect(types(columns) == ["x VARCHAR", "y DATE", "z INTEGER", "_rescued_data VARCHAR"])
    #expect(text(rows) == [#"["a;b","2026-01-31",null,null]"#])
    let headless = try read(["a.csv": Array("1,2\n3,4\n".utf8)], .csv, ["header": "false"])
    #expect(headless.columns.map(\.name) == ["_c0", "_c1", "_rescued_data"] && headless.rows.count == 2)
    #expect { try FileOptions(["delimitr": ","], format: .csv) } throws: { ($0 as? PlatformError)?.hint == "Did you mean 'delimiter'?" }
  }

  @Test func recordsOfJSON() throws {
    let lines = #"{"a":1,"b":{"c":[1,2.5]},"d":"2026-01-31"}"# + "\n\nnonsense\n[1]\n" + #"{"a":2,"b":{"c":[]},"e":"x"}"# + "\n"
    let (columns, rows) = try read(["a.json": Array(lines.utf8)], .json, order: "a NULLS LAST, _rescued_data")
    #expect(types(columns) == ["a BIGINT", "b STRUCT(\"c\" DOUBLE[])", "d DATE", "e VARCHAR", "_rescued_data VARCHAR"])
    #expect(rows.count == 4 && rows[0][1].sortedText == #"{"c":[1,2.5]}"# && rows[0][2] == "2026-01-31")
    #expect(rows[3][4].stringValue?.contains("nonsense") == true || rows[2][4].stringValue?.contains("nonsense") == true)
    let array = try read(["a.json": Array(#"[{"a":1},{"a":"x","q/~\"":true}]"#.utf8)], .json)
    #expect(types(array.columns) == ["a VARCHAR", "q/~\" BOOLEAN", "_rescued_data VARCHAR"])
    #expect(array.rows.count == 2)
  }

  @Test func nestedValuesThatDoNotFitAreRescued() throws {
    let lines = #"{"s":{"a":1,"b":"x"}}"# + "\n" + #"{"s":{"a":"no","b":"x"}}"# + "\n" + #"{"s":{"a":3}}"# + "\n"
    let (_, rows) = try read(
      ["a.json": Array(lines.utf8)], .json, ["schema": "s STRUCT(a INT, b VARCHAR)", "rescuedDataColumn": "_rescued_data"], order: "_rescued_data")
    #expect(rows.map { $0[1] == .null } == [false, true, true])
    #expect(rows[0][1].stringValue?.contains(#""s":{"a":"no","b":"x"}"#) == true)
  }

  @Test func numbersWithinValuesAreNotRounded() throws {
    let options = ["schema": "l ARRAY<INT>, s STRUCT<a: INT>, m MAP<STRING, BIGINT>, d STRUCT<x: DOUBLE>", "rescuedDataColumn": "_rescued_data"]
    let good = [
      #"{"l":[1,-2,null],"s":{"a":3.0},"m":{"k":9007199254740993},"d":{"x":1.5}}"#, #"{"l":null,"s":{"a":null},"m":{},"d":null}"#, #"{"l":["7",1e2]}"#,
    ]
    let bad = [#"{"l":[1.5,2]}"#, #"{"s":{"a":1.7}}"#, #"{"m":{"k":"2.5"}}"#, #"{"m":{"a":1,"k":-0.5}}"#, #"{"d":{"x":"1_0"}}"#, #"{"l":["1_0"]}"#]
    let json = try read(["a.json": Array((good + bad).joined(separator: "\n").utf8)], .json, options, order: "_rescued_data").rows
    #expect(json.count == good.count + bad.count)
    for line in bad {
      let members = line.dropFirst().dropLast()
      #expect(json.filter { $0[4].stringValue?.hasPrefix("{\(members),") == true }.count == 1, "\(line): \(json)")
    }
    let kept = text(json.filter { $0[4] == .null }).sorted()
    #expect(
      kept == [
        #"[[1,-2,null],{"a":3},[{"key":"k","value":9007199254740993}],{"x":1.5},null]"#, "[[7,100],null,null,null,null]", #"[null,{"a":null},[],null,null]"#,
      ], "\(kept)")
    // JSON in a field of CSV, and typed values.
    let csv = try read(
      ["a.csv": Array("l;s\n[1];{\"a\":2}\n[1.5];{\"a\":2}\n".utf8)], .csv, options.merging(["sep": ";", "quote": ""]) { $1 }, order: "_rescued_data")
    #expect(csv.rows.map { $0[4] == .null } == [false, true] && csv.rows[0][4].stringValue?.contains(#""l":"[1.5]""#) == true, "\(csv.rows)")
    let folder = TemporaryDirectory("files")
    try Database(settings: .init(threads: 1)).connect().execute(
      """
      COPY (FROM (VALUES (1, [1.0::DOUBLE, NULL, 2], {'b': NULL::VARCHAR, 'a': 3.0::DECIMAL(3, 1)}, MAP {'k': '4'}, {'x': '1.5'}), (2, [1.5], NULL, NULL, NULL),
        (3, NULL, {'b': 'x', 'a': 1.7}, NULL, NULL), (4, NULL, NULL, MAP {'k': '2.5'}, NULL), (5, NULL, NULL, NULL, {'x': '1_0'})) AS t(id, l, s, m, d))
      TO '\(folder.path)/a.parquet' (FORMAT parquet)
      """)
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a.parquet")))
    let typed = try read(["a.parquet": bytes], .parquet, options.merging(["schema": "id INT, " + (options["schema"] ?? "")]) { $1 }, order: "id").rows
    #expect(typed.map { $0[5] == .null } == [true, false, false, false, false], "\(typed)")
    #expect(text([Array(typed[0].prefix(5))]) == [#"[1,[1,null,2],{"a":3},[{"key":"k","value":4}],{"x":1.5}]"#])
  }

  @Test func keysThatAStructLacksAreKept() throws {
    let options = ["schema": "id INT, s STRUCT<a: INT>, l ARRAY<STRUCT<x: INT>>", "rescuedDataColumn": "_rescued_data"]
    let lines = [
      #"{"id":1,"s":{"a":1,"extra":"kept"}}"#, #"{"id":2,"s":{"a":1,"extra":null}}"#, #"{"id":3,"l":[{"x":1},{"x":2,"y/~":3}]}"#,
      #"{"id":4,"s":{"A":1}}"#, #"{"id":5,"s":{"a":2},"l":[{"x":null},null]}"#,
    ]
    let files = ["a.json": Array(lines.joined(separator: "\n").utf8)]
    let rows = try read(files, .json, options, order: "id").rows
    #expect(rows.map { $0[3] == .null } == [false, true, false, false, true], "\(rows)")
    #expect(rows[0][3].stringValue?.hasPrefix(#"{"s":{"a":1,"extra":"kept"},"#) == true && rows[2][3].stringValue?.contains(#""y/~":3"#) == true, "\(rows)")
    #expect(text(rows.map { Array($0[1...2]) })[0] == #"[{"a":1},null]"# && text(rows.map { Array($0[1...2]) })[2] == #"[null,[{"x":1},{"x":2}]]"#)
    let none = try read(files, .json, options.merging(["schemaEvolutionMode": "none"]) { $1 }, order: "id").rows
    #expect(none.allSatisfy { $0[3] == .null }, "\(none)")
    let folder = TemporaryDirectory("files")
    try Database(settings: .init(threads: 1)).connect().execute(
      """
      COPY (FROM (VALUES (1, {'b': 'x', 'a': 3}, [{'x': 1}]), (2, {'b': NULL, 'a': 4}, [{'x': 2}])) AS t(id, s, l)) TO '\(folder.path)/a.parquet' (FORMAT parquet)
      """)
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a.parquet")))
    let typed = try read(["a.parquet": bytes], .parquet, options, order: "id").rows
    #expect(typed.map { $0[3] == .null } == [false, true] && text(typed.map { [$0[1]] }) == [#"[{"a":3}]"#, #"[{"a":4}]"#], "\(typed)")
  }

  @Test func textsWithUnderscoresAreNoNumbers() throws {
    let bytes = Array("month,n\n2024_01,1\n2024_02,2.5\n".utf8)
    let (columns, rows) = try read(["a.csv": bytes], .csv)
    #expect(types(columns) == ["month VARCHAR", "n DOUBLE", "_rescued_data VARCHAR"])
    #expect(text(rows) == [#"["2024_01",1,null]"#, #"["2024_02",2.5,null]"#])
    for type in ["DOUBLE", "FLOAT", "DECIMAL(20,2)", "BIGINT"] {
      let typed = try read(["a.csv": bytes], .csv, ["schema": "month \(type)", "rescuedDataColumn": "r"]).rows
      #expect(typed.allSatisfy { $0[0] == .null && $0[1].stringValue?.contains(#""month":"2024_0"#) == true }, "\(type): \(typed)")
    }
    let json = try read(["a.json": Array(#"{"a":"1_0"}"#.utf8)], .json, ["schema": "a DOUBLE", "rescuedDataColumn": "r"])
    #expect(text(json.rows) == [#"[null,"{\"a\":\"1_0\",\"_file_path\":\"/Volumes/a/b/c/a.json\"}"]"#])
  }

  @Test func textsThatHoldTheWordNullAreRescued() throws {
    let lines = [#"{"s":{"a":"nullable"}}"#, #"{"s":{"a":"null"}}"#, #"{"s":{"a":"\"null"}}"#, #"{"s":{"a":null}}"#].joined(separator: "\n")
    let rows = try read(["a.json": Array(lines.utf8)], .json, ["schema": "s STRUCT<a: INT>", "rescuedDataColumn": "r"], order: "r").rows
    #expect(rows.map { $0[1] == .null } == [false, false, false, true], "\(rows)")
  }

  @Test func yearsOfTwoDigits() throws {
    let bytes = Array("d\n31.01.85\n01.02.26\n".utf8)
    for (pattern, wanted) in [("dd.MM.yy", ["2026-02-01", "2085-01-31"]), ("%d.%m.%y", ["1985-01-31", "2026-02-01"])] {
      let (columns, rows) = try read(["a.csv": bytes], .csv, ["dateFormat": pattern], order: "d")
      #expect(types(columns)[0] == "d DATE" && rows.map { $0[0].stringValue ?? "" } == wanted, "\(pattern): \(rows)")
    }
  }

  @Test func deepNestingIsABadRecord() throws {
    let deep = #"{"a":"# + String(repeating: "[", count: 400_000) + String(repeating: "]", count: 400_000) + "}"
    let (_, rows) = try read(["a.json": Array((deep + "\n{\"a\":1}\n").utf8)], .json)
    #expect(rows.count == 2)
  }

  @Test func packedFilesAndNamesWithPatterns() throws {
    let folder = TemporaryDirectory("files")
    try Data("a\n1\n".utf8).write(to: URL(fileURLWithPath: folder.path + "/a[1]*?.csv"))
    _ = try Program.run("/bin/gzip", ["-k", folder.path + "/a[1]*?.csv"])
    for name in ["a[1]*?.csv", "a[1]*?.csv.gz"] {
      var spec = StatementSpec(kind: .select, sql: "SELECT a, _metadata.file_name FROM __files_0", tables: [])
      spec.fileReads = [
        FileRead(
          view: "__files_0", format: .csv, options: try FileOptions([:], format: .csv),
          files: [.init(path: folder.path + "/" + name, name: name, sizeBytes: 4, modifiedMilliseconds: 0)], hasMetadata: true)
      ]
      let result = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path))
      #expect(result.rows == [[1, .string(name)]])
    }
  }

  @Test(arguments: [
    ("SELECT *, _metadata.file_name FROM FILES", ["* EXCLUDE (_metadata), _metadata"]),
    ("SELECT f.*, x.* FROM FILES AS f JOIN t AS x ON f._metadata IS NULL", ["f.* EXCLUDE (_metadata), x.* FROM"]),
    ("SELECT * EXCLUDE (a), _metadata FROM FILES", ["* EXCLUDE (_metadata, a), _metadata"]),
    ("SELECT * EXCLUDE a, _metadata FROM FILES", ["* EXCLUDE (_metadata, a), _metadata"]),
    ("SELECT * FROM (SELECT *, _metadata FROM FILES) AS q", ["SELECT * FROM (SELECT * EXCLUDE (_metadata), _metadata"]),
    ("SELECT * EXCLUDE (_metadata) FROM FILES", ["* EXCLUDE (_metadata) FROM"]), ("SELECT * FROM FILES", ["SELECT * FROM"]),
    ("INSERT INTO t FROM FILES WHERE _metadata.file_name = 'a.csv'", ["SELECT * EXCLUDE (_metadata) FROM __files_0"]),
    ("FROM FILES SELECT *, _metadata", ["SELECT * EXCLUDE (_metadata), _metadata"]),
    ("SELECT * FROM (FROM FILES WHERE _metadata IS NULL)", ["SELECT * FROM (SELECT * EXCLUDE (_metadata) FROM"]),
    ("WITH q AS (FROM FILES AS f JOIN t USING (id) WHERE _metadata IS NULL) FROM q", ["AS (SELECT * EXCLUDE (_metadata) FROM __files_0"]),
    ("SELECT * FROM t SEMI JOIN FILES AS f ON t.id = f.id AND f._metadata.file_name = 'a'", ["SELECT * FROM"]),
    ("SELECT * FROM FILES AS f ANTI JOIN t ON t.id = f._metadata.file_size", ["SELECT * EXCLUDE (_metadata) FROM"]),
    ("SELECT count(*), COLUMNS(*) FROM FILES WHERE _metadata IS NULL", ["count(*)", "COLUMNS(*)"]),
  ])
  func starsLeaveMetadataOut(_ text: String, _ expected: [String]) throws {
    let plan = try StatementPlan(
      parsing: text.replacing("FILES", with: "read_files('/Volumes/main/demo/in/a.csv')"), catalog: "main", schema: "demo")
    for part in expected { #expect(plan.sql.contains(part), "\(plan.sql)") }
  }

  @Test func parquetWithOtherColumns() throws {
    let folder = TemporaryDirectory("files")
    let connection = try Database(settings: .init(threads: 1)).connect()
    try connection.execute(
      "COPY (SELECT 1 AS a, 'x' AS b) TO '\(folder.path)/1.parquet'; COPY (SELECT 2.5::DOUBLE AS a, DATE '2026-01-31' AS c) TO '\(folder.path)/2.parquet'")
    let files = try ["1.parquet", "2.parquet"].map { name in
      (name, Array(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/" + name))))
    }
    let (columns, rows) = try read(Dictionary(uniqueKeysWithValues: files), .parquet)
    #expect(types(columns) == ["a DOUBLE", "b VARCHAR", "c DATE", "_rescued_data VARCHAR"])
    #expect(text(rows) == [#"[1,"x",null,null]"#, #"[2.5,null,"2026-01-31",null]"#])
    let narrow = try read(Dictionary(uniqueKeysWithValues: files), .parquet, ["schema": "a INT", "rescuedDataColumn": "r"])
    #expect(narrow.rows.map { $0[0] } == [1, .null] && narrow.rows[1][1].stringValue?.contains(#""a":"2.5""#) == true)
    #expect(throws: PlatformError.self) { try read(["x.parquet": Array("PAR1 no".utf8)], .parquet) }
  }

  @Test func textAndBinary() throws {
    let (_, lines) = try read(["a.txt": Array("x\n\ny, \"z\n".utf8)], .text)
    #expect(lines.map { $0[0] } == ["", "x", "y, \"z"])
    #expect(try read(["a.txt": Array("x\ny\n".utf8)], .text, ["wholeText": "true"]).rows == [["x\ny\n"]])
    let (columns, rows) = try read(["a.bin": [0, 255, 1]], .binaryFile)
    #expect(columns.map(\.name) == ["path", "modificationTime", "length", "content"] && rows[0][2] == 3 && rows[0][3] == "AP8B")
  }

  @Test func statementsNameFiles() throws {
    let plan = try StatementPlan(
      parsing: "SELECT r.a, count(*) FROM read_files('/Volumes/a/b/c/*.csv', format => 'csv', header => false) r JOIN t ON t.a = r.a GROUP BY 1",
      catalog: "main", schema: "demo")
    #expect(plan.fileRequests == [.init(view: "__files_0", path: "/Volumes/a/b/c/*.csv", arguments: ["format": "csv", "header": "false"], hasMetadata: false)])
    #expect(plan.references.map(\.name.name) == ["t"] && plan.sql.contains("__files_0") && !plan.sql.contains("read_files"))
    #expect(throws: PlatformError.self) { try StatementPlan(parsing: "SELECT * FROM read_files(a || 'b')", catalog: "m", schema: "d") }
    #expect(throws: PlatformError.self) { try StatementPlan(parsing: "SELECT * FROM read_csv('/etc/passwd')", catalog: "m", schema: "d") }
  }

  /// Damaged bytes give rows, bad records or an error, and nothing else.
  @Test(arguments: [FileRead.Format.csv, .json, .avro]) func damagedFiles(format: FileRead.Format) throws {
    let seeds: [[UInt8]] =
      switch format {
      case .csv: [Array("a,b,c\n1,\"x\ny\",3\n4,5,6\n".utf8)]
      case .json: [Array("{\"a\":1,\"b\":[1,{\"c\":null}]}\n{\"a\":\"\\u00e9\"}\n".utf8), Array("[{\"a\":1},{\"b\":2}]".utf8)]
      default: [Self.avro]
      }
    var random = SplitMix64(seed: 7)
    for round in 0..<60 {
      var bytes = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<3, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: at)
        default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: at)
        }
        if bytes.isEmpty { bytes = [0] }
      }
      do { _ = try read(["f": bytes], format) } catch is PlatformError {}
    }
  }

  /// `fastavro`: two records {"a": int, "b": [null, string]}.
  static let avro: [UInt8] = {
    let schema = #"{"type":"record","name":"r","fields":[{"name":"a","type":"int"},{"name":"b","type":["null","string"]}]}"#
    let sync = [UInt8](repeating: 7, count: 16)
    func long(_ value: Int) -> [UInt8] {
      var rest = UInt64(value) << 1
      var out: [UInt8] = []
      while rest > 127 {
        out.append(UInt8(rest & 127) | 128)
        rest >>= 7
      }
      return out + [UInt8(rest)]
    }
    var body: [UInt8] = [2, 0, 4, 2]
    body += long(2)
    body += Array("hé".utf8.prefix(2))
    var out: [UInt8] = Array("Obj".utf8)
    out.append(1)
    out += long(1)
    out += long(11)
    out += Array("avro.schema".utf8)
    out += long(schema.utf8.count)
    out += Array(schema.utf8)
    out.append(0)
    out += sync
    out += long(2)
    out += long(body.count)
    out += body
    out += sync
    return out
  }()

  @Test func bytesOfAvro() throws {
    let (columns, rows) = try read(["a.avro": Self.avro], .avro)
    #expect(types(columns) == ["a INTEGER", "b VARCHAR", "_rescued_data VARCHAR"])
    #expect(rows.count == 2 && rows[0][0] == 1 && rows[0][1] == .null && rows[1][0] == 2)
    #expect(AvroWriter.decimal([0xFF, 0x85], scale: 2) == "-1.23" && AvroWriter.decimal([0x30, 0x39], scale: 0) == "12345")
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment"), arguments: ["null", "deflate"]) func avroOfAPeer(codec: String) throws {
    let folder = TemporaryDirectory("files")
    let script = """
      import sys, decimal, datetime, fastavro
      schema = {"type":"record","name":"r","namespace":"n","fields":[
        {"name":"i","type":"long"},{"name":"d","type":"double"},{"name":"s","type":["null","string"]},{"name":"b","type":"bytes"},
        {"name":"m","type":{"type":"map","values":"int"}},{"name":"l","type":{"type":"array","items":"string"}},
        {"name":"p","type":{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}},
        {"name":"t","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"y","type":{"type":"int","logicalType":"date"}},
        {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]}},{"name":"o","type":{"type":"record","name":"o","fields":[{"name":"x","type":"int"}]}}]}
      rows = [{"i":i*10**12,"d":float("nan") if i==1 else i/4,"s":None if i%2 else "é\\"%d"%i,"b":bytes([0,255,i%256]),"m":{"k":i},"l":["x"]*(i%3),
        "p":decimal.Decimal("-1.23")*i,"t":datetime.datetime(2026,1,31,12,0,0,i,tzinfo=datetime.timezone.utc),"y":datetime.date(2026,1,31),"e":"AB"[i%2],"o":{"x":i}} for i in range(5000)]
      fastavro.writer(open(sys.argv[1],"wb"), fastavro.parse_schema(schema), rows, codec=sys.argv[2])
      """
    let path = folder.path + "/a.avro"
    _ = try Peers.run(script, [path, codec])
    var spec = StatementSpec(
      kind: .select,
      sql:
        "SELECT count(*), sum(i)::VARCHAR, sum(p)::VARCHAR, count(s), count(DISTINCT t), min(y), sum(o.x), sum(len(l)), max(hex(b)), count(*) FILTER (isnan(d)), sum(m['k']), count(_rescued_data), max(e) FROM __files_0",
      tables: [])
    let size = Int64((try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0)
    spec.fileReads = [
      FileRead(
        view: "__files_0", format: .avro, options: try FileOptions([:], format: .avro),
        files: [.init(path: path, name: "a.avro", sizeBytes: size, modifiedMilliseconds: 0)])
    ]
    let row = try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).rows[0].map { $0.stringValue ?? $0.sortedText }
    #expect(
      row == [
        "5000", "12497500000000000000", "-15371925.00", "2500", "5000", "2026-01-31", "12497500", "4999", "00FFFF", "1", "12497500", "0", "B",
      ])
  }
}
