// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Damaged files on the way into a table: nothing ends the process, no file spoils another, and whatever text of a file is still whole
/// comes out as a row, rescued, or in the quarantine. `FUZZ_COUNT` mutants of each sample and mode (5), from `FUZZ_SEED` (1).
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct IngestFuzzTests {
  static let count = ProcessInfo.processInfo.environment["FUZZ_COUNT"].flatMap(Int.init) ?? 5
  static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

  /// How the files are read.
  enum Mode: String, CaseIterable, CustomTestStringConvertible {
    case inferred, rescuing, strict, texts, failFast, dropping
    var testDescription: String { rawValue }

    var options: [String: String] {
      switch self {
      case .inferred: ["schemaEvolutionMode": "addNewColumns"]
      case .rescuing: ["schema": "id BIGINT, name VARCHAR, day DATE", "rescuedDataColumn": "_rescued_data"]
      case .strict: ["schema": "id BIGINT, name VARCHAR, day DATE"]
      case .texts: ["inferColumnTypes": "false", "schemaEvolutionMode": "addNewColumns"]
      case .failFast: ["mode": "FAILFAST"]
      case .dropping: ["mode": "DROPMALFORMED"]
      }
    }
    var keepsEverything: Bool { self != .failFast && self != .dropping }
  }

  enum Kind: String, CaseIterable, CustomTestStringConvertible {
    case csv, lines, array, parquet
    var testDescription: String { rawValue }
    var format: FileRead.Format { self == .csv ? .csv : self == .parquet ? .parquet : .json }
    var ending: String { self == .csv ? "csv" : self == .parquet ? "parquet" : "json" }
  }

  /// Marks that are looked for in what comes out: `q` file `x` record `z`.
  static func mark(_ file: Int, _ record: Int) -> String { "q\(100 + file)x\(100 + record)z" }

  static func sample(_ kind: Kind, _ file: Int, _ folder: String) throws -> [UInt8] {
    let records = 0..<12
    switch kind {
    case .csv:
      let rows = records.map { record in
        let name = mark(file, record)
        let shown = [name, "\"\(name)\"", "\"a, \(name)\"", "\"a\"\"\(name)\"", "\"two\n\(name)\"", "é\(name)"][record % 6]
        return "\(record * 7),\(shown),2024-01-\(10 + record)"
      }
      return Array((["id,name,day"] + rows).joined(separator: "\n").utf8) + [10]
    case .lines, .array:
      let rows = records.map { record in
        "{\"id\":\(record * 7),\"name\":\"\(["", "é", "\\\"", "\\u00e9"][record % 4])\(mark(file, record))\",\"day\":\"2024-01-\(10 + record)\",\"more\":{\"l\":[1,null,\(record)]}}"
      }
      return Array((kind == .lines ? rows.joined(separator: "\n") + "\n" : "[" + rows.joined(separator: ",\n") + "]").utf8)
    case .parquet:
      let path = folder + "/sample-\(file).parquet"
      let engine = try Database(settings: .init(threads: 1)).connect()
      try engine.execute(
        """
        COPY (SELECT range * 7 AS id, 'q\(100 + file)x' || (100 + range) || 'z' AS name, DATE '2024-01-10' + CAST(range AS INTEGER) AS day, [range] AS l FROM range(12))
        TO \(SQLText.literal(path)) (FORMAT parquet)
        """)
      defer { unlink(path) }
      return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }
  }

  static let tokens: [[UInt8]] =
    [
      "\"", "\"\"", ",", "\n", "\r\n", "\r", "{", "}", "[", "]", ":", "\\", "\\ud800", "null", "1e999", "99999999999999999999", "\u{0}", "\u{FEFF}", "é", "#",
      " ",
    ]
    .map { Array($0.utf8) } + [[0xFF], [0xC3], [0xFF, 0xFE], [0x80, 0x80]]

  static func mutate(_ given: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
    var bytes = given
    for _ in 0..<Int.random(in: 1...4, using: &random) where bytes.count > 16 {
      let at = Int.random(in: 0..<bytes.count, using: &random)
      let end = min(bytes.count, at + Int.random(in: 1...12, using: &random))
      switch Int.random(in: 0..<7, using: &random) {
      case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
      case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      case 2: bytes.removeSubrange(at..<end)
      case 3, 4: bytes.insert(contentsOf: tokens[Int.random(in: 0..<tokens.count, using: &random)], at: at)
      case 5: bytes.replaceSubrange(at..<end, with: tokens[Int.random(in: 0..<tokens.count, using: &random)])
      default: bytes.removeSubrange(max(16, at)...)
      }
    }
    return bytes
  }

  struct Loaded {
    var rows: Int64 = 0
    var bad: Int64 = 0
    var badFiles = 0
    /// Names of columns, all rows and the quarantine as one text.
    var text = ""
  }

  /// Probe, load, and load again while there are new columns: as a task does it.
  static func load(_ files: [FileRead.File], _ format: FileRead.Format, _ given: [String: String], _ folder: String) throws -> Loaded {
    let options = try FileOptions(given, format: format)
    let context = QuietContext(scratchDirectory: folder)
    func run(_ schema: [Column]?, _ columns: [Column]) throws -> FileLoadResult {
      let read = FileRead(view: "__load", format: format, options: options, files: files, schema: schema)
      var load = FileLoad(read: read, columns: columns, dataPath: folder + "/data.parquet", quarantinePath: folder + "/bad.parquet", readAt: 0)
      load.threads = 1
      load.quarantinesRows = true
      return try load.run(context: context)
    }
    var schema = options.schema ?? []
    if schema.isEmpty { schema = try run(nil, []).columns }
    for _ in 0..<5 {
      let columns = schema.filter { $0.name != options.rescuedColumn } + (options.rescuedColumn.map { [Column($0, .varchar)] } ?? [])
      let result = try run(schema, columns)
      if !result.newColumns.isEmpty, options.evolution == .addNewColumns {
        schema += result.newColumns
        continue
      }
      var loaded = Loaded(rows: result.rows, bad: result.badRecords, badFiles: result.badFiles, text: schema.map(\.name).joined(separator: "\n"))
      let engine = try Database(settings: .init(threads: 1)).connect()
      for path in [result.data?.path, result.quarantine?.path].compactMap({ $0 }) {
        let rows = try engine.rows("SELECT CAST(to_json(t) AS VARCHAR) FROM read_parquet(\(SQLText.literal(path))) t")
        if path == result.data?.path { #expect(Int64(rows.count) == result.rows) }
        loaded.text += rows.map { "\n" + ($0[0].stringValue ?? "") }.joined()
        unlink(path)
      }
      return loaded
    }
    throw PlatformError(.conflict, "the files' columns do not settle")
  }

  @Test(arguments: Kind.allCases, Mode.allCases) func everythingIsAccountedFor(_ kind: Kind, _ mode: Mode) throws {
    let folder = TemporaryDirectory("ingest-fuzz")
    let perLoad = 5
    for start in stride(from: 0, to: Self.count, by: perLoad) {
      var files: [FileRead.File] = []
      var bytes: [[UInt8]] = []
      for file in 0...perLoad {
        var random = SplitMix64(seed: SplitMix64.mix(Self.seed &* 7919 &+ UInt64(start + file)) ^ UInt64(Kind.allCases.firstIndex(of: kind) ?? 0))
        let good = try Self.sample(kind, file, folder.path)
        // The last one is whole.
        bytes.append(file == perLoad ? good : Self.mutate(good, &random))
        let name = "f\(file).\(kind.ending)"
        try Data(bytes[file]).write(to: URL(fileURLWithPath: folder.file(name)))
        files.append(.init(path: folder.file(name), name: "/Volumes/a/b/c/" + name, sizeBytes: Int64(bytes[file].count), modifiedMilliseconds: 0))
      }
      let place = Comment("seed \(Self.seed), files \(start)..<\(start + perLoad)")
      let loaded: Loaded
      do {
        loaded = try Self.load(files, kind.format, mode.options, folder.path)
      } catch let error as PlatformError {
        // Only who asks for it fails, and by the name of a file.
        #expect(mode == .failFast && error.number == "PLT-3114" && error.path?.hasPrefix("/Volumes/a/b/c/f") == true, "\(error) \(place)")
        continue
      }
      let missing = (0..<12).map { Self.mark(perLoad, $0) }.filter { !loaded.text.contains($0) }
      #expect(missing.isEmpty && loaded.rows + loaded.bad >= 12, place)
      guard mode.keepsEverything, kind != .parquet else { continue }
      for file in 0..<perLoad {
        let text = kind == .csv ? Self.behindHeader(bytes[file]) : String(decoding: bytes[file], as: UTF8.self)
        // A file of which nothing can be read is in the quarantine by its name.
        guard !loaded.text.contains("\"file\":\"\(files[file].name)\",\"line\":null") else { continue }
        let lost = (0..<12).map { Self.mark(file, $0) }.filter { text.contains($0) && !loaded.text.contains($0) }
        #expect(lost.isEmpty, "\(kind) \(mode), file \(file): \(place) \(text.debugDescription.prefix(1500))")
      }
      guard kind == .lines else { continue }
      let records = bytes[0..<perLoad].reduce(12) { sum, bytes in sum + Self.lines(bytes) }
      if loaded.badFiles == 0 { #expect(loaded.rows + loaded.bad == Int64(records), place) }
    }
  }

  /// A CSV file's text without its first record, whose values are names.
  static func behindHeader(_ bytes: [UInt8]) -> String {
    var lines = String(decoding: bytes, as: UTF8.self).split(omittingEmptySubsequences: false) { $0.isNewline }.map(String.init)
    var header = ""
    while !lines.isEmpty {
      header += lines.removeFirst() + "\n"
      if header.contains(where: { !$0.isWhitespace }), FileStaging.fields(header, delimiter: ",", quote: "\"", escape: "\"") != nil { break }
    }
    return lines.joined(separator: "\n")
  }

  /// Lines with anything on them.
  static func lines(_ bytes: [UInt8]) -> Int {
    bytes.split { $0 == 10 || $0 == 13 }.filter { line in line.contains { $0 != 32 && $0 != 9 } }.count
  }
}
