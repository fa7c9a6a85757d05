// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Tables in S3 on a real cluster, opened with keys that only the catalog has.
  @Suite(.serialized, .enabled(if: MotoServer.isThere, "no peer environment")) struct BucketTests {
    @Test func tablesInBucketsAreTables() throws {
      let cluster = try LocalCluster("buckets")
      #expect(try cluster.start(workers: 2).status == 0)
      let (endpoint, bucket) = (try MotoServer.shared().endpoint, "cluster-\(UUID().uuidString.lowercased().prefix(13))")
      _ = try Peers.run(
        """
        import boto3, sys
        boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1").create_bucket(Bucket=sys.argv[2])
        """, [endpoint, bucket])
      func sql(_ text: String) throws -> LocalCluster.Output { try cluster.cli(["sql", text]) }
      func post(_ path: String, _ body: JSONValue) throws -> Int {
        try cluster.http("POST", "/api/2.1/unity-catalog" + path, token: cluster.token, body: body.sortedText).status
      }
      let place = "s3://\(bucket)/lake/t"
      // Outside of all external locations nothing is looked at.
      let refused = try sql("create table main.demo.t (id bigint, name string, p string) partitioned by (p) location '\(place)'")
      #expect(refused.status != 0 && refused.all.contains("outside of the external locations"), "\(refused.all)")
      let keys: JSONValue = ["access_key_id": "test-access", "secret_access_key": "very-secret-key", "endpoint": .string(endpoint)]
      #expect(try post("/storage-credentials", ["name": "moto", "s3_access_key": keys]) == 200)
      #expect(try post("/external-locations", ["name": "lake", "url": .string("s3://\(bucket)/lake"), "credential_name": "moto"]) == 200)

      let made = try sql(
        "create table main.demo.t (id bigint, name string, p string) partitioned by (p) location '\(place)' tblproperties ('delta.enableDeletionVectors' = 'true')"
      )
      #expect(made.status == 0, "\(made.all)")
      let filled = try sql("insert into main.demo.t select range, 'row ' || range, 'p' || (range % 2) from range(1000)")
      #expect(filled.status == 0, "\(filled.all)")
      let deleted = try sql("delete from main.demo.t where id % 10 = 3")
      #expect(deleted.err.contains("100 rows"), "\(deleted.all)")
      let updated = try sql("update main.demo.t set name = 'new' where id < 20 and p = 'p1'")
      #expect(updated.err.contains("8 rows"), "\(updated.all)")
      #expect(try cluster.scalar("select count(*) from main.demo.t") == 900)
      #expect(try cluster.scalar("select count(*) from main.demo.t version as of 1") == 1000)
      #expect(try cluster.scalar("select count(*) from main.demo.t where name = 'new' and p = 'p1'") == 8)
      let optimized = try sql("optimize main.demo.t")
      #expect(optimized.status == 0, "\(optimized.all)")
      // Rows go from bucket to lake and back.
      #expect(try sql("create table main.demo.copy as select * from main.demo.t where id < 100").status == 0)
      let back = try sql("insert into main.demo.t select id + 5000, name, p from main.demo.copy")
      #expect(back.status == 0, "\(back.all)")
      #expect(try cluster.scalar("select cast(sum(id) as bigint) from main.demo.t where id >= 5000") == 454_470)
      let detail = try cluster.cli(["sql", "describe detail main.demo.t", "-o", "csv"]).out
      #expect(detail.contains(place), "\(detail)")
      let seen = try Peers.run(
        """
        import sys, deltalake
        o = {"AWS_ENDPOINT_URL": sys.argv[1], "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}
        t = deltalake.DeltaTable(sys.argv[2], storage_options=o)
        print(t.version() >= 4, len(t.file_uris()) > 0)
        __import__("os")._exit(sys.stdout.flush() or 0)
        """, [endpoint, place])
      #expect(seen == "True True\n")

      // A table that is there gets a second name after it lost its first; the bucket keeps its rows.
      #expect(try sql("drop table main.demo.t").status == 0)
      #expect(try sql("create table main.demo.again location '\(place)'").status == 0)
      #expect(try cluster.scalar("select count(*) from main.demo.again") == 990)

      // The keys are in no log, no database row of a run and no file but the sealed one.
      let runs = try cluster.cli(["runs", "list", "-o", "json"]).out
      #expect(!runs.contains("very-secret-key"))
      let leaked = try LocalCluster.run("/bin/grep", ["-rl", "very-secret-key", cluster.data], timeout: 60)
      #expect(leaked.out == "", "\(leaked.out)")

      // Without its keys the place is closed; what the catalog says is still there.
      #expect(try cluster.http("DELETE", "/api/2.1/unity-catalog/storage-credentials/moto?force=true", token: cluster.token).status == 200)
      let closed = try sql("select count(*) from main.demo.again")
      #expect(closed.status != 0 && closed.all.contains("PLT-3401"), "\(closed.all)")
    }
  }
}
