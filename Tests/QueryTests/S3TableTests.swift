// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Synchronization
import TestSupport
import Testing

@testable import Query

/// Delta tables in a bucket: our writers among one another, and with deltalake.
@Suite(.enabled(if: MotoServer.isThere, "no peer environment")) struct S3TableTests {
  static let columns = [Column("id", .bigint), Column("name", .varchar)]

  struct Bucket {
    var name: String
    var environment: [String: String]

    init(_ prefix: String = "lake") throws {
      name = "\(prefix)-\(UUID().uuidString.lowercased().prefix(13))"
      let endpoint = try MotoServer.shared().endpoint
      environment = ["AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": MotoServer.accessKey, "AWS_SECRET_ACCESS_KEY": MotoServer.secretKey]
      let script = """
        import boto3, sys
        boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1").create_bucket(Bucket=sys.argv[2])
        """
      _ = try Peers.run(script, [endpoint, name])
    }

    func table(_ path: String, cache: SnapshotCache? = nil) throws -> DeltaTable {
      let (store, path) = try ObjectStores.open("s3://\(name)/\(path)", environment: environment)
      return DeltaTable(store: store, path: path, parquet: DuckDBParquetHandler(), cache: cache)
    }

    /// One data file with these rows.
    func write(_ table: DeltaTable, _ ids: Range<Int>) throws -> AddFile {
      let folder = TemporaryDirectory("part")
      let writer = try ParquetTableWriter(path: folder.file("x.parquet"), columns: S3TableTests.columns)
      for id in ids { try writer.append([.int(Int64(id)), .string("row \(id)")]) }
      guard let file = try writer.finish() else { throw PlatformError(.internalError, "no rows") }
      let name = "part-\(UUID().uuidString).parquet"
      _ = try table.store.upload(file: file.path, to: table.path.appending(name))
      return AddFile(relativePath: name, size: file.sizeBytes, statistics: file.statistics)
    }

    func peer(_ body: String, _ arguments: [String] = []) throws -> String {
      let script = """
        import sys, deltalake, pyarrow as pa
        options = {"AWS_ENDPOINT_URL": sys.argv[1], "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1", "aws_conditional_put": "etag"}
        place = sys.argv[2]
        """
      // Threads of the package at times outlive the interpreter, which then aborts: it ends without taking itself apart.
      let end = "\nimport os\nsys.stdout.flush()\nos._exit(0)"
      return try Peers.run(script + "\n" + body + end, [MotoServer.shared().endpoint, "s3://\(name)/t"] + arguments)
    }
  }

  @Test func deltalakeAndWeWriteTheSameTable() throws {
    let bucket = try Bucket()
    let table = try bucket.table("t")
    _ = try table.create(schema: TypeMapping.schema(Self.columns), configuration: ["delta.checkpointInterval": "3"])
    for part in 0..<4 { _ = try table.append([bucket.write(table, part * 10..<part * 10 + 10)]) }
    let body = """
      t = deltalake.DeltaTable(place, storage_options=options)
      print(t.version(), t.to_pyarrow_table().num_rows)
      deltalake.write_deltalake(t, pa.table({"id": pa.array([100], pa.int64()), "name": ["theirs"]}), mode="append")
      """
    #expect(try bucket.peer(body) == "4 40\n")
    _ = try table.append([bucket.write(table, 200..<210)])
    let end = try table.snapshot()
    #expect(end.version == 6 && end.rowCount == 51)
    #expect(try bucket.peer("t = deltalake.DeltaTable(place, storage_options=options)\nprint(t.version(), t.to_pyarrow_table().num_rows)") == "6 51\n")
    // Old versions, and the log from the checkpoint on.
    #expect(try table.snapshot(version: 2).rowCount == 20 && table.latestVersion() == 6)
  }

  @Test func concurrentWritersLoseNothing() throws {
    let bucket = try Bucket()
    let first = try bucket.table("t")
    _ = try first.create(schema: TypeMapping.schema(Self.columns))
    let done = Mutex<[Int64]>([])
    let failures = Mutex<[String]>([])
    DispatchQueue.concurrentPerform(iterations: 4) { writer in
      do {
        let table = try bucket.table("t", cache: writer % 2 == 0 ? nil : SnapshotCache())
        for step in 0..<6 {
          let file = AddFile(relativePath: "w\(writer)-\(step)", size: 10, statistics: ["numRecords": 1])
          let outcome = try table.append([file], transaction: AppTransaction(appId: "w\(writer)", version: Int64(step + 1)))
          done.withLock { $0.append(outcome.version) }
        }
      } catch { failures.withLock { $0.append("\(error)") } }
    }
    #expect(failures.withLock { $0 } == [])
    #expect(done.withLock { $0.sorted() } == (1...24).map { Int64($0) })
    let end = try first.snapshot()
    #expect(end.version == 24 && end.files.count == 24)
  }

  /// Two writers on a store that ignores conditions would overwrite each other's versions: nothing is committed there.
  @Test func aStoreWithoutConditionsTakesNoCommits() throws {
    let bucket = try Bucket("careless")
    let error = #expect(throws: PlatformError.self) { try bucket.table("t").create(schema: TypeMapping.schema(Self.columns)) }
    #expect(error?.number == "PLT-3405")
    #expect(try !bucket.table("t").exists())
  }

  /// The same statements on a table in a folder and one in a bucket: the same rows, version by version, deletion vectors, partitions and
  /// the change feed included.
  @Test func statementsOnBucketsAreThoseOnFolders() throws {
    let bucket = try Bucket()
    let metadata = TableMetadata(
      schema: TypeMapping.schema(Self.columns + [Column("p", .varchar)]), partitionColumns: ["p"],
      configuration: ["delta.enableDeletionVectors": "true", "delta.enableChangeDataFeed": "true"])
    let local = try ChangedTable(metadata)
    let remote = try ChangedTable(metadata, bucket: (place: "s3://\(bucket.name)/deep/t", environment: bucket.environment))
    for statement in [
      "INSERT INTO t SELECT range, 'row ' || range, 'p ' || (range % 3) FROM range(3000)", "DELETE FROM t WHERE id % 10 = 3",
      "UPDATE t SET name = upper(name) WHERE id % 7 = 2", "DELETE FROM t WHERE id < 50", "INSERT INTO t VALUES (5, 'back', 'p 0')",
      "UPDATE t SET id = id + 10000, p = 'other' WHERE p = 'p 1' AND id % 2 = 0", "DELETE FROM t WHERE p = 'p 2'",
    ] {
      let (here, there) = (try local.run(statement), try remote.run(statement))
      #expect(here.rowCount == there.rowCount, "\(statement)")
      #expect(try local.rows() == remote.rows(), "\(statement)")
    }
    #expect(try local.rows(version: 2) == remote.rows(version: 2))
    #expect(try remote.replayed() == remote.rows())
    #expect(try remote.delta.snapshot().files.contains { $0.deletionVector != nil })
    // Whatever was written is named by the log: nothing of an attempt's own is left in the bucket.
    let names = try remote.delta.store.list(remote.delta.path).map(\.path.text)
    #expect(!names.contains { $0.contains("output-") || $0.contains("/.") }, "\(names)")
    // What is missing is named by its place.
    let spec = StatementSpec(
      kind: .select, sql: "SELECT * FROM v", tables: [.init(view: "v", files: ["s3://\(bucket.name)/none.parquet"], columns: Self.columns)])
    var files = RemoteTables(scratch: TemporaryDirectory("attempt").path, keys: KeyRing(), environment: bucket.environment)
    let error = #expect(throws: PlatformError.self) { try files.localised(spec) }
    #expect(error?.code == .notFound && error?.path == "s3://\(bucket.name)/none.parquet")
  }
}
