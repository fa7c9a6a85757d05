// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

/// Our tables opened by the Python package `deltalake`, and its tables opened by us.
@Suite(.enabled(if: isInstalled && Peers.python != nil, "no peer environment")) struct DeltaPeerTests {
  let columns = [
    Column("id", .bigint), Column("name", .varchar), Column("price", .decimal(9, 2)), Column("at", .timestampTZ),
    Column("v", .list(.float)),
  ]

  func table(_ folder: TemporaryDirectory) throws -> DeltaTable {
    DeltaTable(store: try LocalObjectStore(root: folder.path), path: try ObjectPath("t"), parquet: DuckDBParquetHandler())
  }

  func add(_ folder: TemporaryDirectory, _ name: String, ids: Range<Int>) throws -> AddFile {
    let writer = try ParquetTableWriter(path: folder.file("t/" + name), columns: columns)
    for id in ids {
      try writer.append([
        .int(Int64(id)), id % 3 == 0 ? .null : .string("name é \(id)"), .decimal("\(id).25"),
        .timestamp(Int64(id) * 1_000_001),
        .floats([Float(id), -1]),
      ])
    }
    let file = try #require(try writer.finish())
    return AddFile(relativePath: name, size: file.sizeBytes, statistics: file.statistics)
  }

  func ids(_ table: DeltaTable, _ folder: TemporaryDirectory, version: Int64) throws -> [Int] {
    let scan = try ParquetScan(
      files: table.snapshot(version: version).files.map { folder.file("t/") + (try $0.relativePath()) }, columns: ["id"],
      orderBy: "id")
    var ids: [Int] = []
    while let chunk = try scan.next() { for row in 0..<chunk.count { ids.append(Int(chunk.column(0).int64(row))) } }
    return ids
  }

  @Test func peersReadEveryVersionOfOurTables() throws {
    let folder = TemporaryDirectory("delta")
    let table = try table(folder)
    _ = try table.create(schema: TypeMapping.schema(columns), name: "t", configuration: ["delta.checkpointInterval": "10"])
    var version: Int64 = 0
    for round in 0..<23 {
      let file = try add(folder, round == 7 ? "odd name %é.parquet" : "f\(round).parquet", ids: round * 10..<round * 10 + 10)
      let outcome =
        round % 9 == 8
        ? try table.overwrite([file], readVersion: version)
        : try table.append([file], transaction: AppTransaction(appId: "peer", version: Int64(round)))
      #expect(outcome.checkpointProblem == nil)
      version = outcome.version
    }
    #expect(version == 23)
    let script = """
      import os, sys, json
      from deltalake import DeltaTable
      out = []
      for v in range(int(sys.argv[2]) + 1):
          rows = DeltaTable(sys.argv[1], version=v).to_pyarrow_table().to_pylist()
          for r in rows:
              i = r["id"]
              assert r["name"] == (None if i % 3 == 0 else "name é %d" % i), r
              assert str(r["price"]) == "%d.25" % i, r
              assert round(r["at"].timestamp() * 1e6) == i * 1000001, r
              assert r["v"] == [float(i), -1.0], r
          out.append(sorted(r["id"] for r in rows))
      print(json.dumps(out))
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """
    let peers = try JSONValue(parsing: Peers.run(script, [folder.file("t"), "23"])).decode([[Int]].self)
    for version in 0...23 { #expect(try ids(table, folder, version: Int64(version)) == peers[version]) }
    // From the checkpoint alone, without the commits before it.
    for version in 0..<20 {
      try FileManager.default.removeItem(
        atPath: folder.file("t/_delta_log/\(String(repeating: "0", count: version < 10 ? 19 : 18))\(version).json"))
    }
    let again = try JSONValue(
      parsing: Peers.run(
        """
        import os, sys, json
        from deltalake import DeltaTable
        rows = DeltaTable(sys.argv[1]).to_pyarrow_table().to_pylist()
        print(json.dumps(sorted(r["id"] for r in rows)))
        sys.stdout.flush()
        os._exit(0)  # the interpreter's teardown can race with native threads of the package
        """, [folder.file("t")])
    ).decode([Int].self)
    #expect(again == peers[23])
    #expect(try ids(table, folder, version: 23) == peers[23])
  }

  @Test func ourReaderFollowsPeersTables() throws {
    let folder = TemporaryDirectory("delta")
    let script = """
      import sys, pyarrow as pa
      from deltalake import DeltaTable, write_deltalake
      path = sys.argv[1]
      for v in range(14):
          t = pa.table({"id": pa.array(range(v * 10, v * 10 + 10), pa.int64()),
                        "m": pa.array([[("k", v)]] * 10, pa.map_(pa.string(), pa.int64())),
                        "s": pa.array([{"a": v, "b": "x"}] * 10)})
          write_deltalake(path, t, mode="overwrite" if v == 6 else "append")
          if v == 10: DeltaTable(path).create_checkpoint()
      """
    _ = try Peers.run(script, [folder.file("t")])
    let table = try table(folder)
    for version in 0..<14 {
      let first = version < 6 ? 0 : 60
      #expect(try ids(table, folder, version: Int64(version)) == Array(first..<version * 10 + 10))
    }
    #expect(try table.snapshot().rowCount == 80)
    #expect(
      try TypeMapping.columns(table.snapshot().schema).map(\.type.sql)
        == ["BIGINT", "MAP(VARCHAR, BIGINT)", "STRUCT(\"a\" BIGINT, \"b\" VARCHAR)"])
    // And we may write on, readable by the peer.
    #expect(try table.overwrite([], readVersion: 13).version == 14)
    #expect(
      try Peers.run(
        """
        import os, sys
        from deltalake import DeltaTable
        t = DeltaTable(sys.argv[1])
        print(t.version(), t.to_pyarrow_table().num_rows)
        sys.stdout.flush()
        os._exit(0)  # the interpreter's teardown can race with native threads of the package
        """,
        [folder.file("t")]) == "14 0\n")
  }
}
