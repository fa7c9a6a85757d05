// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Files of which nothing can be read end a load, or are put aside and told; what is put aside is whole or says that it is not.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct UnreadableFileTests {
  private struct Loaded {
    var result: FileLoadResult
    var rows: [String]
    var bad: [String]
  }

  private func load(
    _ files: [String: [UInt8]], _ format: FileRead.Format, _ schema: [Column], _ options: [String: String] = ["rescuedDataColumn": ""],
    quarantines: Bool = false
  ) throws -> Loaded {
    let folder = TemporaryDirectory("unreadable")
    let read = FileRead(
      view: "__load", format: format, options: try FileOptions(options, format: format), files: try FileReadTests.list(files, in: folder.path), schema: schema)
    let columns = schema + (read.options.rescuedColumn.map { [Column($0, .varchar)] } ?? [])
    var load = FileLoad(read: read, columns: columns, dataPath: folder.file("rows.parquet"), quarantinePath: folder.file("bad.parquet"), readAt: 0)
    load.quarantinesRows = quarantines
    let result = try load.run(context: QuietContext(scratchDirectory: folder.file("scratch")))
    let engine = try Database(settings: .init(threads: 1)).connect()
    func rows(_ file: WrittenFile?, _ what: String) throws -> [String] {
      guard let file else { return [] }
      return try engine.rows("SELECT CAST(to_json(q) AS VARCHAR) FROM (SELECT \(what) FROM '\(file.path)' ORDER BY ALL) q").map { $0[0].stringValue ?? "" }
    }
    let bad = try rows(result.quarantine, "parse_filename(file) AS file, line, byte_offset, reason, raw")
    return Loaded(result: result, rows: try rows(result.data, "*"), bad: bad)
  }

  private func read(_ bytes: [UInt8], _ format: FileRead.Format, _ options: [String: String] = [:], name: String = "a") throws -> [String] {
    let folder = TemporaryDirectory("unreadable")
    let spec = try FileReadTests.spec([name: bytes], format, options, in: folder.path, sql: "SELECT * FROM __files_0 ORDER BY ALL")
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.file("scratch"))).rows.map { JSONValue.array($0).sortedText }
  }

  static func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
    let folder = TemporaryDirectory("gzip")
    try Data(bytes).write(to: URL(fileURLWithPath: folder.file("a")))
    _ = try Program.run("/bin/gzip", [folder.file("a")])
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.file("a.gz"))))
  }

  /// One frame of one block that is not packed, below 256 bytes.
  static func zstd(_ bytes: [UInt8]) -> [UInt8] {
    let head = UInt32(bytes.count) << 3 | 1
    return [0x28, 0xB5, 0x2F, 0xFD, 0x20, UInt8(bytes.count)] + [0, 8, 16].map { UInt8(truncatingIfNeeded: head >> $0) } + bytes
  }

  static func damaged(_ kind: String) throws -> (name: String, bytes: [UInt8], format: FileRead.Format, reason: String) {
    switch kind {
    case "parquet": return ("a.parquet", Array("PAR1 and nothing".utf8), .parquet, "magic bytes")
    case "avro": return ("a.avro", Array(FileReadTests.avro.dropLast(20)), .avro, "it breaks off")
    case "gzip":
      var bytes = try gzip(Array("id\n1\n2\n".utf8))
      bytes[bytes.count - 6] ^= 1  // of the checksum
      return ("a.csv.gz", bytes, .csv, "damaged gzip at byte \(bytes.count - 4)")
    case "zstd": return ("a.csv.zst", Array(zstd(Array("id\n1\n".utf8)).dropLast(2)), .csv, "damaged zstd at byte 12: it ends too early")
    case "text": return ("a.json", Array("hello\nworld\n".utf8), .json, "none of its records (2) can be read: line 1: not JSON")
    case "array": return ("a.json", Array("[{\"id\":1},{\"id\"".utf8), .json, "Malformed JSON")
    default: return ("a.csv", Array("id,name\n1\n2\n".utf8), .csv, "none of its records (2) can be read: line 2: missing columns")
    }
  }

  @Test(arguments: ["parquet", "avro", "gzip", "zstd", "text", "array", "ragged"]) func nothingOfAFileCanBeRead(kind: String) throws {
    let (name, bytes, format, reason) = try Self.damaged(kind)
    let schema = kind == "ragged" ? [Column("id", .bigint), Column("name", .varchar)] : [Column("id", .bigint)]
    let error = #expect(throws: PlatformError.self) { try load([name: bytes], format, schema) }
    #expect(error?.number == "PLT-3290" && error?.path == "/Volumes/a/b/c/" + name, "\(String(describing: error))")
    #expect(error?.message.contains(reason) == true, "\(String(describing: error))")
    if kind == "text" { #expect(error?.line == 1) }
    let aside = try load([name: bytes], format, schema, quarantines: true)
    #expect(aside.result.rows == 0 && aside.result.badFiles == 1 && aside.result.unreadable == ["/Volumes/a/b/c/" + name] && aside.result.filesRead == 0)
    #expect(aside.bad.filter { $0.contains("\"line\":null") && $0.contains(name) && $0.contains(reason) }.count == 1, "\(aside.bad)")
    let ignoring = try load([name: bytes], format, schema, ["ignoreCorruptFiles": "true", "rescuedDataColumn": ""])
    #expect(ignoring.bad == aside.bad)
    #expect(throws: PlatformError.self) { try load([name: bytes], format, schema, ["mode": "FAILFAST"]) }
  }

  @Test func othersAreLoadedAndGoneFilesAreTold() throws {
    let files = ["a.json": Array("no\n".utf8), "b.json": Array("{\"id\":1}\nno\n".utf8), "c.json": []]
    let aside = try load(files, .json, [Column("id", .bigint)], quarantines: true)
    #expect(aside.rows == [#"{"id":1}"#] && aside.result.unreadable == ["/Volumes/a/b/c/a.json"] && aside.result.badRecords == 2 && aside.result.filesRead == 2)
    #expect(throws: PlatformError.self) { try load(files, .json, [Column("id", .bigint)]) }

    let folder = TemporaryDirectory("gone")
    var list = try FileReadTests.list(["a.json": Array("{\"id\":1}\n".utf8)], in: folder.path)
    list.append(.init(path: folder.file("b.json"), name: "/b.json", sizeBytes: 1, modifiedMilliseconds: 0))
    func loadListed(_ files: [FileRead.File], _ schema: [Column]?) throws -> FileLoadResult {
      let read = FileRead(view: "__load", format: .json, options: try FileOptions([:], format: .json), files: files, schema: schema)
      return try FileLoad(read: read, columns: schema ?? [], dataPath: folder.file("d.parquet"), quarantinePath: folder.file("q.parquet"), readAt: 0)
        .run(context: QuietContext(scratchDirectory: folder.path))
    }
    let result = try loadListed(list, [Column("id", .bigint)])
    #expect(result.rows == 1 && result.gone == ["/b.json"] && result.unreadable == [] && result.quarantine != nil)
    let probe = try loadListed([list[1]], nil)
    #expect(probe.columns.isEmpty && probe.gone == ["/b.json"])
  }

  @Test func cutRecordsSaySo() throws {
    let long = String(repeating: "é", count: 150_000)
    let columns = [Column("a", .bigint), Column("b", .varchar)]
    func check(_ loaded: Loaded, _ reason: String, _ bytes: Int, _ place: Comment) throws {
      let bad = try #require(loaded.bad.first { $0.contains(reason) }, place)
      let row = try JSONValue(parsing: bad)
      #expect(row["reason"]?.stringValue?.hasSuffix("; raw is cut: \(bytes) bytes in all") == true, "\(place): \(row["reason"] ?? .null)")
      #expect(row["raw"]?.stringValue?.unicodeScalars.count ?? 0 > 60_000, place)
    }
    let csv = "a,b\n1,x\n2,\(long),z\n3,y\n"
    try check(load(["a.csv": Array(csv.utf8)], .csv, columns), "too many columns", 300_004, "CSV")
    try check(load(["a.csv.gz": Self.gzip(Array(csv.utf8))], .csv, columns), "too many columns", 300_004, "packed")
    try check(load(["a.csv": Array("a,b\n1,x\n2,\"\(long)\n\",z\n3,y\n".utf8)], .csv, columns), "too many columns", 300_007, "lines")
    let open = try load(["a.csv": Array("a,b\n1,é\n2,\"\(long)\n3,ü\n".utf8)], .csv, columns)
    try check(open, "unquoted value", 300_009, "a quote that is not closed")
    #expect(open.rows == [#"{"a":1,"b":"é"}"#])
    try check(load(["a.json": Array("{\"a\":1}\n{\"b\":\"\(long)\"\n".utf8)], .json, columns), "not JSON", 300_007, "JSON")
    let big = String(repeating: "é", count: FileStaging.lineLimit / 2)
    let json = try load(["a.json": Array("{\"a\":1}\n{\"b\": \"\(big)\"}\n{\"a\":2,\"b\":\"é\"}\n".utf8)], .json, columns)
    try check(json, "line size over maximum", big.utf8.count + 9, "too long")
    #expect(json.rows.count == 2)
    // What is whole says nothing.
    let whole = try load(["a.csv": Array("a,b\n1,x\n2,\(String(repeating: "é", count: 15_000)),z\n".utf8)], .csv, columns)
    #expect(whole.bad.count == 1 && whole.bad[0].contains(#""reason":"too many columns","raw":"2,é"#) && whole.bad[0].contains(#"é,z"}"#))
    #expect(whole.result.reasons == ["too many columns": 1])
  }

  @Test func arraysOfOneLongLine() throws {
    let text = "\u{FEFF} [" + (0..<70).map { "{\"a\":\($0),\"b\":\"\(String(repeating: "y", count: 1 << 18))\"}" }.joined(separator: ",") + "]"
    #expect(text.utf8.count > FileStaging.lineLimit)
    #expect(try load(["a.json": Array(text.utf8)], .json, [Column("a", .bigint)], ["schemaEvolutionMode": "none"]).result.rows == 70)
  }

  @Test func keysThatStandTwiceAreNotLost() throws {
    let loaded = try load(["a.json": Array("{\"a\":1,\"a\":2}\n{\"a\":3}\n".utf8)], .json, [Column("a", .bigint)])
    #expect(loaded.rows == [#"{"a":3}"#])
    #expect(loaded.bad == [#"{"file":"a.json","line":1,"byte_offset":null,"reason":"a key stands twice in it","raw":"{\"a\":1,\"a\":2}"}"#])
    let lines = #expect(throws: PlatformError.self) { try load(["a.json": Array("{\n\"a\":1\n}\n".utf8)], .json, [Column("a", .bigint)]) }
    #expect(lines?.message.contains("multiLine") == true)
  }

  @Test func rescuedNumbersAreAsWritten() throws {
    let record = #"{"id":1,"a":1.10,"b":{"x":[1e3,123456789.123456789123,1,"1.50"]},"c":1,"d":12345678901234567890.5,"e":"q 1.0","f":1.0}"#
    let loaded = try load(["a.json": Array((record + "\n").utf8)], .json, [Column("id", .bigint), Column("d", .bigint)], ["schemaEvolutionMode": "rescue"])
    let row = try JSONValue(parsing: try #require(loaded.rows.first))
    #expect(
      row["_rescued_data"]?.stringValue
        == #"{"d":12345678901234567890.5,"a":1.10,"b":{"x":[1e3,123456789.123456789123,1,"1.50"]},"c":1,"e":"q 1.0","f":1.0,"_file_path":"/Volumes/a/b/c/a.json"}"#
    )
  }

  @Test func commentsBeginLines() throws {
    let text = "# made \"by hand\na,b\n# x \"y\n1,x # y\n2,\"#z\"\n3,\"p\n#q\"\n#\n4,z#\n"
    let wanted = [##"[1,"x # y",null]"##, ##"[2,"#z",null]"##, ##"[3,"p\n#q",null]"##, ##"[4,"z#",null]"##]
    #expect(try read(Array(text.utf8), .csv, ["comment": "#"]) == wanted)
    #expect(try read([0xEF, 0xBB, 0xBF] + Array(text.utf8), .csv, ["comment": "#"]) == wanted)
    #expect(try read(Self.gzip(Array(text.utf8)), .csv, ["comment": "#"], name: "a.csv.gz") == wanted)
    let carriages = text.replacing("p\n#q", with: "p").replacing("\n", with: "\r\n")
    #expect(try read(Array(carriages.utf8), .csv, ["comment": "#"]) == wanted.map { $0.replacing(#"p\n#q"#, with: "p") })
    // Several files, of which each has its own sign.
    let columns = [Column("a", .bigint), Column("b", .varchar)]
    let several = try load(
      ["a.csv": Array(text.utf8), "b.csv": Array("#c\na,b\n5,y\n".utf8), "c.csv": Array("a,b\n6,\u{1}#\n#\n7\n8,#\n".utf8)], .csv, columns,
      ["comment": "#", "rescuedDataColumn": ""])
    #expect(several.rows.count == 7 && several.rows[5] == "{\"a\":6,\"b\":\"\\u0001#\"}" && several.rows[6] == ##"{"a":8,"b":"#"}"##, "\(several.rows)")
    #expect(several.bad == [#"{"file":"c.csv","line":4,"byte_offset":11,"reason":"missing columns","raw":"7"}"#])
  }

  @Test func linesOfTextThatAreNoUTF8() throws {
    let latin: [UInt8] = Array("one\nd".utf8) + [0xE9, 10] + Array("two\n".utf8)
    let error = #expect(throws: PlatformError.self) { try read(latin, .text) }
    #expect(error?.number == "PLT-3291" && error?.line == 2 && error?.message == "a line is not UTF-8 at byte 4", "\(String(describing: error))")
    #expect(try read(latin, .text, ["encoding": "latin1"]) == [#"["dé"]"#, #"["one"]"#, #"["two"]"#])
    #expect(try read(latin, .text, ["mode": "DROPMALFORMED"]) == [#"["one"]"#, #"["two"]"#])
    let loaded = try load(["a.txt": latin], .text, [Column("value", .varchar)], [:])
    #expect(loaded.rows.count == 2 && loaded.bad.count == 1 && loaded.bad[0].contains("invalid encoding"), "\(loaded)")
    // Half a character of UTF-16.
    for bytes: [UInt8] in [[0xFF, 0xFE, 0x61, 0, 0x62], [0xFF, 0xFE, 0x61, 0, 0, 0xD8, 0x62, 0]] {
      let error = #expect(throws: PlatformError.self) { try read(bytes, .text) }
      #expect(error?.message.contains("UTF-16") == true && error?.message.contains("at byte 4") == true, "\(String(describing: error))")
    }
  }

  @Test(arguments: ["gz", "zst"]) func packedFilesWithSeveralLineEnds(packing: String) throws {
    func packed(_ text: String) throws -> [UInt8] { try packing == "gz" ? Self.gzip(Array(text.utf8)) : Self.zstd(Array(text.utf8)) }
    #expect(try read(packed("x\r\ny\n\r\nz\rq"), .text, name: "a.txt.\(packing)") == [#"[""]"#, #"["q"]"#, #"["x"]"#, #"["y"]"#, #"["z"]"#])
    #expect(try read(packed("a,b\n1,\"x\r\ny\"\r\n2,z"), .csv, name: "a.csv.\(packing)") == [#"[1,"x\r\ny",null]"#, #"[2,"z",null]"#])
    #expect(try read(packed("{\"a\":1}\r\n{\"a\":\r2}\n"), .json, name: "a.json.\(packing)") == ["[1,null]", "[2,null]"])
    let units = "a\né\n".utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
    let bytes: [UInt8] = [0xFF, 0xFE] + units
    #expect(try read(packing == "gz" ? Self.gzip(bytes) : Self.zstd(bytes), .csv, name: "a.csv.\(packing)") == [#"["é",null]"#])
    // Bad records are found in the text.
    let loaded = try load(["a.csv.\(packing)": packed("a,b\n1,x\n2\n")], .csv, [Column("a", .bigint), Column("b", .varchar)])
    #expect(loaded.bad.count == 1 && loaded.bad[0].contains(#""line":3,"byte_offset":8,"#), "\(loaded.bad)")
  }
}
