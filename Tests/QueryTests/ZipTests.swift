// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Zip archives as sources. The archives are made by Python's `zipfile`.
@Suite(.enabled(if: isInstalled && Peers.python != nil, "no peer environment")) struct ZipTests {
  /// Makes an archive of `members` and returns its bytes.
  private func zip(_ members: [(name: String, text: String)], stored: Bool = false) throws -> [UInt8] {
    let folder = TemporaryDirectory("zip")
    let given = JSONValue.array(members.map { .array([.string($0.name), .string($0.text)]) })
    try Data(given.sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("members.json")))
    _ = try Peers.run(
      """
      import json, sys, zipfile
      z = zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_STORED if sys.argv[3] == "1" else zipfile.ZIP_DEFLATED)
      for name, text in json.load(open(sys.argv[2])): z.writestr(name, text)
      z.close()
      """, [folder.file("a.zip"), folder.file("members.json"), stored ? "1" : "0"])
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder.file("a.zip"))))
  }

  private func rows(_ files: [String: [UInt8]], _ format: FileRead.Format, _ options: [String: String] = [:], _ sql: String) throws -> [[JSONValue]] {
    let folder = TemporaryDirectory("zipped")
    let spec = try FileReadTests.spec(files, format, options, in: folder.path, sql: sql, metadata: true)
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).rows
  }

  @Test(arguments: [false, true]) func membersAreFiles(stored: Bool) throws {
    let archive = try zip(
      [("a.csv", "id,name\n1,one\n"), ("in/b.csv", "id,name\n2,\"two\nlines\"\n3\n"), ("__MACOSX/a.csv", "no\n"), ("in/.hidden", "no\n"), ("in/", "")],
      stored: stored)
    let found = try rows(
      ["x.csv.zip": archive, "y.csv": Array("id,name\n4,four\n".utf8)], .csv, [:],
      "SELECT string_agg(coalesce(id::VARCHAR, 'bad') || '=' || substr(_metadata.file_path, 16), ' ' ORDER BY id NULLS LAST) FROM __files_0")
    #expect(found[0][0] == "1=x.csv.zip/a.csv 2=x.csv.zip/in/b.csv 4=y.csv bad=x.csv.zip/in/b.csv")
    let lines = try rows(
      ["x.zip": try zip([("1.json", "{\"a\":1}\n"), ("2.json", "[{\"a\":2},{\"a\":3}]")], stored: stored)], .json, [:], "SELECT max(a), count(*) FROM __files_0"
    )
    #expect(lines[0] == [3, 3])
    #expect(FileRead.Format(fileName: "x.csv.zip") == .csv && FileRead.Format(fileName: "x.zip") == nil)
    // A name without an ending, and what is packed inside.
    #expect(try rows(["x": archive], .csv, ["compression": "zip"], "SELECT count(*) FROM __files_0")[0][0] == 3)
  }

  /// Each is refused as a whole, by name, and spoils no other file.
  @Test func whatIsRefused() throws {
    let plain = try zip([("a.csv", "id\n1\n"), ("b.csv", "id\n2\n")])
    // Bit 0 of the flags, in the header of each member and in the directory.
    var locked = plain
    for at in 0..<locked.count - 10 {
      if Array(locked[at..<at + 4]) == [0x50, 0x4B, 3, 4] { locked[at + 6] |= 1 }
      if Array(locked[at..<at + 4]) == [0x50, 0x4B, 1, 2] { locked[at + 8] |= 1 }
    }
    // The directory says that less comes out.
    var liar = plain
    if let at = (0..<liar.count - 46).first(where: { Array(liar[$0..<$0 + 4]) == [0x50, 0x4B, 1, 2] }) { liar[at + 24] = 2 }
    var wrong = plain
    if let at = (0..<wrong.count - 46).first(where: { Array(wrong[$0..<$0 + 4]) == [0x50, 0x4B, 1, 2] }) { wrong[at + 16] ^= 1 }
    let bomb = try zip([("a.csv", "id\n" + String(repeating: "0", count: 12 << 20))])
    let nested = try zip([("a.csv", "id\n1\n"), ("inner.zip", "x")])
    for (bytes, reason) in [
      (locked, "encrypted"), (liar, "larger than it says"), (wrong, "is damaged"), (bomb, "more than 1000 times"), (nested, "inside of the zip"),
      (Array("not a zip".utf8), "not a zip archive"), (Array(plain.dropLast(30)), "not a zip archive"), ([], "not a zip archive"),
    ] {
      let folder = TemporaryDirectory("refused")
      let files = try FileReadTests.list(["bad.zip": bytes, "good.csv": Array("id\n7\n".utf8)], in: folder.path)
      let loaded = try IngestFuzzTests.load(files, .csv, [:], folder.path)
      #expect(
        loaded.rows == 1 && loaded.badFiles == 1 && loaded.text.contains("/Volumes/a/b/c/bad.zip") && loaded.text.contains(reason), "\(reason): \(loaded)")
      // Nothing is left behind.
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().filter { $0.hasPrefix("member-") } == [])
      let error = #expect(throws: PlatformError.self) { try rows(["bad.zip": bytes], .csv, [:], "SELECT * FROM __files_0") }
      #expect(error.map { "\($0)".contains("bad.zip") } == true, "\(String(describing: error))")
    }
  }

  @Test func damagedArchivesEndNothing() throws {
    let good = try zip([("a.csv", "id,name\n" + (0..<200).map { "\($0),n\($0 % 9)\n" }.joined()), ("b.csv", "id,name\n1000,x\n")])
    let folder = TemporaryDirectory("damaged-zip")
    for round in 0..<IngestFuzzTests.count * 3 {
      var random = SplitMix64(seed: SplitMix64.mix(IngestFuzzTests.seed &* 31 &+ UInt64(round)))
      let bytes = DamagedFileTests.mutate(good, last: 130, &random)
      let files = try FileReadTests.list(["a.zip": bytes, "b.csv": Array("id,name\n7,y\n".utf8)], in: folder.path)
      let loaded = try IngestFuzzTests.load(files, .csv, [:], folder.path)
      // All of the archive or nothing: its checksums are looked at. Names are no part of them.
      #expect(
        loaded.rows == (loaded.badFiles == 0 ? 202 : 1) || loaded.rows + loaded.bad < 202 && loaded.badFiles == 0,
        "round \(round): \(loaded.rows) \(loaded.badFiles)")
    }
  }
}
