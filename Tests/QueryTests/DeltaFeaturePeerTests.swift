// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import TestSupport
import Testing

/// Table features between our tables and the Python package `deltalake`.
@Suite(.enabled(if: isInstalled && Peers.python != nil, "no peer environment")) struct DeltaFeaturePeerTests {
  static let schema = StructType(fields: [StructField(name: "id", type: .primitive("long")), StructField(name: "name", type: .primitive("string"))])

  func table(_ folder: TemporaryDirectory) throws -> DeltaTable {
    DeltaTable(
      store: try LocalObjectStore(root: folder.path), path: try ObjectPath("t"), parquet: DuckDBParquetHandler(),
      dataFeatures: [.deletionVectors, .columnMapping, .typeWidening, .checkConstraints, .identityColumns])
  }

  /// A data file with rows `ids`, under the physical names of `schema`.
  func add(_ folder: TemporaryDirectory, _ name: String, ids: Range<Int>, schema: StructType = schema) throws -> AddFile {
    let columns = [Column(schema.fields[0].physicalName, .bigint), Column(schema.fields[1].physicalName, .varchar)]
    let path = folder.file("t/" + name)
    try FileManager.default.createDirectory(atPath: folder.file("t"), withIntermediateDirectories: true)
    let writer = try ParquetTableWriter(path: path, columns: columns)
    for id in ids { try writer.append([.int(Int64(id)), .string("n\(id)")]) }
    let file = try #require(try writer.finish())
    return AddFile(relativePath: name, size: file.sizeBytes, statistics: file.statistics)
  }

  /// Rows as the peer sees them: ids in order.
  func peerIDs(_ folder: TemporaryDirectory, version: Int64? = nil) throws -> [Int] {
    let script = """
      import os, sys, json, pyarrow as pa
      from deltalake import DeltaTable, QueryBuilder
      t = DeltaTable(sys.argv[1], version=int(sys.argv[2]) if sys.argv[2] else None)
      rows = pa.table(QueryBuilder().register("t", t).execute("select * from t").read_all()).to_pylist()
      for r in rows: assert r["name"] == "n%d" % r["id"], r
      print(json.dumps(sorted(r["id"] for r in rows)))
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """
    return try JSONValue(parsing: Peers.run(script, [folder.file("t"), version.map(String.init) ?? ""])).decode([Int].self)
  }

  @Test func peersLeaveOutRowsOfDeletionVectors() throws {
    let folder = TemporaryDirectory("vectors")
    let table = try table(folder)
    _ = try table.create(schema: Self.schema, configuration: ["delta.enableDeletionVectors": "true", "delta.checkpointInterval": "3"])
    _ = try table.append([try add(folder, "a.parquet", ids: 0..<100), try add(folder, "b.parquet", ids: 100..<70_100)])
    var base = try table.snapshot()
    let first = DeletionVector([3, 50, 51, 52, 99])
    let second = DeletionVector(UInt64(10)..<69_990)
    var rewrite = CommitPlan.Rewrite()
    rewrite.deleted = zip(base.files, try table.writeDeletionVectors([first, second])).map { ($0, $1) }
    _ = try table.commit(.rewrite(rewrite, where: .unknown, read: base.files, operation: "DELETE"), onto: &base)
    var again = CommitPlan.Rewrite()
    again.deleted = [(base.files[0], .inline(first.union(DeletionVector([0]))))]
    _ = try table.commit(.rewrite(again, where: .unknown, read: base.files, operation: "DELETE"), onto: &base)
    let gone: Set<Int> = [3, 50, 51, 52, 99]
    let expected = (0..<100).filter { !gone.contains($0) } + Array(100..<110) + Array(70_090..<70_100)
    #expect(try peerIDs(folder, version: 2) == expected)
    #expect(try peerIDs(folder) == expected.filter { $0 != 0 })
    #expect(try table.snapshot().rowCount == Int64(expected.count - 1))
    // The same from the checkpoint alone.
    for version in 0..<3 { try FileManager.default.removeItem(atPath: folder.file("t/_delta_log/0000000000000000000\(version).json")) }
    let fromCheckpoint = try table.snapshot()
    #expect(try peerIDs(folder) == expected.filter { $0 != 0 })
    #expect(try table.deletionVector(of: fromCheckpoint.files[1]) == second)
  }

  @Test func peersReadCheckpointsOfTheSecondKind() throws {
    let folder = TemporaryDirectory("v2")
    let table = try table(folder)
    _ = try table.create(schema: Self.schema, configuration: ["delta.checkpointPolicy": "v2", "delta.checkpointInterval": "5"])
    for index in 0..<7 {
      let outcome = try table.append(
        [try add(folder, "f\(index).parquet", ids: index * 10..<index * 10 + 10)], transaction: AppTransaction(appId: "a", version: Int64(index)))
      #expect(outcome.checkpointProblem == nil)
    }
    for version in 0..<5 { try FileManager.default.removeItem(atPath: folder.file("t/_delta_log/0000000000000000000\(version).json")) }
    #expect(try table.snapshot().files.count == 7)
    #expect(try table.snapshot().transactions["a"]?.version == 6)
    #expect(try peerIDs(folder) == Array(0..<70))
  }

  @Test func peersReadMappedColumns() throws {
    let folder = TemporaryDirectory("mapping")
    let table = try table(folder)
    _ = try table.create(
      ColumnMapping.newTable(
        TableMetadata(
          schema: StructType(fields: [
            StructField(name: "key", type: .primitive("long")), StructField(name: "name", type: .primitive("string")),
            StructField(name: "old", type: .primitive("string")),
          ]))))
    var base = try table.snapshot()
    _ = try table.append([try add(folder, "a.parquet", ids: 0..<5, schema: base.schema)])
    base = try table.snapshot()
    var change = SchemaChange(base)
    try change.renameColumn(["key"], to: "id")
    try change.dropColumn(["old"])
    _ = try table.commit(change.plan(operation: "RENAME COLUMN"), onto: &base)
    _ = try table.append([try add(folder, "b.parquet", ids: 5..<9, schema: base.schema)])
    #expect(try peerIDs(folder) == Array(0..<9))
  }

  @Test func peersReadTablesWithWriterFeatures() throws {
    let folder = TemporaryDirectory("writer")
    let table = try table(folder)
    var fields = Self.schema.fields
    fields[0] = try IdentityColumn(name: "id", start: 0).field()
    _ = try table.create(
      schema: StructType(fields: fields),
      configuration: [
        "delta.enableRowTracking": "true", "delta.rowTracking.materializedRowIdColumnName": "_row-id-col-1",
        "delta.rowTracking.materializedRowCommitVersionColumnName": "_row-commit-version-col-1", "delta.enableInCommitTimestamps": "true",
        "delta.constraints.positive": "id >= 0", "delta.enableChangeDataFeed": "true", "delta.checkpointInterval": "3",
      ])
    for index in 0..<5 { _ = try table.append([try add(folder, "f\(index).parquet", ids: index * 10..<index * 10 + 10)]) }
    #expect(try peerIDs(folder) == Array(0..<50))
    #expect(try table.snapshot().files.compactMap(\.baseRowId) == [0, 10, 20, 30, 40])
    #expect(try table.changes(1...5).map(\.kind) == Array(repeating: .inserted, count: 5))
  }

  @Test func ourReaderFollowsThePeersFeatures() throws {
    let folder = TemporaryDirectory("features")
    let script = """
      import os, sys, json, datetime, pyarrow as pa
      from deltalake import DeltaTable, write_deltalake
      path = sys.argv[1]
      def rows(a, b):
          return pa.table({"id": pa.array(range(a, b), pa.int64()),
                           "p": pa.array([None if i % 7 == 0 else "x" + str(i % 3) for i in range(a, b)]),
                           "d": pa.array([datetime.date(2020, 1, 1 + i % 2) for i in range(a, b)])})
      for v in range(12):
          write_deltalake(path, rows(v * 10, v * 10 + 10), mode="append", partition_by=["p", "d"],
                          configuration={"delta.enableChangeDataFeed": "true", "delta.checkpointInterval": "4"})
      t = DeltaTable(path)
      t.alter.add_constraint({"positive": "id >= 0"})
      t.delete("id % 10 = 3")
      t.update(updates={"id": "id + 1000"}, predicate="id = 4")
      t.optimize.compact()
      t.create_checkpoint()
      t.delete("d = '2020-01-02'")
      t = DeltaTable(path)
      actions = pa.table(t.get_add_actions(flatten=True)).to_pylist()
      changes = pa.table(t.load_cdf(starting_version=0)).to_pylist()
      counts = {}
      for c in changes:
          key = "%d %s" % (c["_commit_version"], c["_change_type"])
          counts[key] = counts.get(key, 0) + 1
      print(json.dumps({"version": t.version(), "files": sorted([a["path"], a["partition.p"], str(a["partition.d"]), a["num_records"], a["size_bytes"]] for a in actions),
                        "changes": counts, "rows": sorted(t.to_pyarrow_table()["id"].to_pylist())}, default=str))
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """
    let peer = try JSONValue(parsing: Peers.run(script, [folder.file("t")]))
    let table = try table(folder)
    let snapshot = try table.snapshot()
    #expect(Int(snapshot.version) == peer["version"]?.intValue)
    let files = try #require(peer["files"]?.arrayValue)
    #expect(snapshot.files.count == files.count && !files.isEmpty)
    for (own, theirs) in zip(snapshot.files.sorted { $0.path < $1.path }, files) {
      let item = try #require(theirs.arrayValue)
      #expect(own.partitionValues["d"] == item[2].stringValue && own.partitionValues["p"] ?? nil == item[1].stringValue)
      #expect(own.size == Int64(item[4].intValue ?? -1) && own.rowCount == Int64(item[3].intValue ?? -1))
      #expect(FileManager.default.fileExists(atPath: folder.file("t/" + (try own.relativePath()))), "\(own.path)")
    }
    #expect(snapshot.metadata.checkConstraints.map(\.name) == ["positive"])
    // Every row that a condition selects lies in a file that is not skipped.
    let skipper = FileSkipper(snapshot)
    let day = FilePredicate.compare(column: ["d"], .equal, .date(18_262))
    #expect(snapshot.files.allSatisfy { skipper.mayMatch($0, day) } && !snapshot.files.contains { skipper.mayMatch($0, .not(day)) })
    let kept = snapshot.files.filter { skipper.mayMatch($0, .compare(column: ["id"], .greater, .integer(1000))) }
    #expect(!kept.isEmpty && kept.count < snapshot.files.count)
    // The change feed: rows by version and kind, counted from the files that we would read.
    var counts: [String: Int] = [:]
    let database = try Database(settings: .init(threads: 1)).connect()
    for change in try table.changes(0...snapshot.version) {
      guard case .relative(let relative) = try AddFile(path: change.path, partitionValues: [:], size: 0, modificationTime: 0).location() else { continue }
      let source = "read_parquet('\(folder.file("t/" + relative).replacing("'", with: "''"))')"
      let kind = change.kind == .recorded ? "_change_type" : "'\(change.kind.rawValue)'"
      for row in try database.rows("SELECT \(kind), count(*)::VARCHAR FROM \(source) GROUP BY 1") {
        counts["\(change.version) \(row[0].stringValue ?? "")", default: 0] += Int(row[1].stringValue ?? "") ?? 0
      }
    }
    let expected = try #require(peer["changes"]?.objectValue).compactMapValues(\.intValue)
    #expect(counts == expected)
  }

  @Test func partitionValuesOfAnyTextAreFound() throws {
    let folder = TemporaryDirectory("partitions")
    let script = """
      import os, sys, json, pyarrow as pa
      from deltalake import DeltaTable, write_deltalake
      values = [None, "é", "a/b", "a=b", "100%", "a b", "x:y", "%25", "q'x", "ü#?&"]
      write_deltalake(sys.argv[1], pa.table({"id": pa.array(range(len(values)), pa.int64()), "p": pa.array(values)}), partition_by=["p"])
      print(json.dumps(values))
      sys.stdout.flush()
      os._exit(0)  # the interpreter's teardown can race with native threads of the package
      """
    let values = try #require(JSONValue(parsing: Peers.run(script, [folder.file("t")])).arrayValue)
    let snapshot = try table(folder).snapshot()
    #expect(Set(snapshot.files.map { $0.partitionValues["p"] ?? nil }) == Set(values.map(\.stringValue)))
    for file in snapshot.files {
      #expect(FileManager.default.fileExists(atPath: folder.file("t/" + (try file.relativePath()))), "\(file.path)")
    }
    let skipper = FileSkipper(snapshot)
    for value in values {
      let condition = value.stringValue.map { FilePredicate.compare(column: ["p"], .equal, .string($0)) } ?? .isNull(["p"])
      #expect(snapshot.files.count { skipper.mayMatch($0, condition) } == 1)
    }
  }
}
