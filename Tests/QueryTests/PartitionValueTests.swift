// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import TestSupport
import Testing

@testable import Query

/// Values of partition columns that no folder can be named by, and bytes.
@Suite struct PartitionValueTests {
  private static let long = String(repeating: "ab", count: 400)
  private static let wide = String(repeating: "ü/", count: 200)

  private func table() throws -> ChangedTable {
    let fields = [("id", "long"), ("p", "string"), ("b", "binary")].map { StructField(name: $0.0, type: .primitive($0.1)) }
    return try ChangedTable(TableMetadata(schema: StructType(fields: fields), partitionColumns: ["p", "b"]))
  }

  @Test func valuesMayBeLongerThanNamesOfFolders() throws {
    let table = try table()
    try table.run(
      """
      INSERT INTO t VALUES (1, '\(Self.long)', 'x'::BLOB), (2, '\(Self.wide)', '\\x00\\x01'::BLOB), (3, 'short', NULL), (4, NULL, encode('é')),
        (5, '\(Self.long)', 'x'::BLOB), (6, '', ''::BLOB)
      """)
    let files = try table.delta.snapshot().files
    #expect(Set(files.map { $0.partitionValues["p"] ?? nil }) == [Self.long, Self.wide, "short", nil])
    #expect(Set(files.map { $0.partitionValues["b"] ?? nil }) == ["x", "\u{0}\u{1}", nil, "é"] && files.count == 5)
    for file in files {
      let path = try file.relativePath()
      #expect(FileManager.default.fileExists(atPath: table.folder.file("t/" + path)) && path.split(separator: "/").allSatisfy { $0.utf8.count <= 255 })
    }
    // Another file of a partition lies in the same folder.
    try table.run("INSERT INTO t VALUES (7, '\(Self.long)', 'x'::BLOB)")
    try table.run("UPDATE t SET id = id + 100 WHERE p = '\(Self.wide)'")
    try table.run("DELETE FROM t WHERE b = 'x'::BLOB AND id = 5")
    try table.optimize()
    let rows = try table.scanned()
    #expect(rows.count == 6 && rows.contains { $0.hasPrefix("{\"id\":102,") } && !rows.contains { $0.hasPrefix("{\"id\":5,") })
    let folders = try table.delta.snapshot().files.filter { $0.partitionValues["p"] == Self.long }.map { try $0.relativePath() }
    #expect(folders.count == 1)
    guard Peers.python != nil else { return }
    let seen = try Peers.run(
      """
      import sys, os, json, deltalake
      rows = deltalake.DeltaTable(sys.argv[1]).to_pyarrow_table().to_pylist()
      print(json.dumps(sorted([r['id'], r['p'], None if r['b'] is None else r['b'].hex()] for r in rows)))
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """, [table.folder.file("t")])
    let expected: JSONValue = [
      [1, .string(Self.long), "78"], [3, "short", .null], [4, .null, "c3a9"], [6, .null, .null], [7, .string(Self.long), "78"],
      [102, .string(Self.wide), "0001"],
    ]
    #expect(try JSONValue(parsing: seen) == expected)
  }

  @Test func bytesThatNoTextHasAreRefused() throws {
    let table = try table()
    let error = #expect(throws: PlatformError.self) { try table.run("INSERT INTO t VALUES (1, 'a', '\\xFF\\x00'::BLOB)") }
    #expect(error?.code == .invalidArgument && error?.message.contains("is no UTF-8") == true, "\(error as Any)")
    #expect(try table.scanned() == [])
  }

  @Test func namesOfFoldersAreCutAtWholeBytes() {
    #expect(DataFileWriter.folderName("p", "a b") == "p=a%20b")
    for count in 240..<300 {
      let name = DataFileWriter.folderName("p", String(repeating: "ü", count: count / 3))
      #expect(name.utf8.count <= 255 && name.split(separator: "%").dropFirst().allSatisfy { $0.prefix(2).allSatisfy(\.isHexDigit) && $0.count >= 2 })
    }
    #expect(DataFileWriter.folderName("p", Self.long) != DataFileWriter.folderName("p", Self.long + "c"))
  }
}
