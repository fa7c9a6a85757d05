// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Tables of another Postgres come in: all rows, or each new row once.
  @Suite(.serialized) struct PostgresSourceTests {
    private struct Source {
      let cluster: LocalCluster
      let bridge: SocketBridge
      var folder: String { cluster.data + "/pg" }

      init(_ label: String) throws {
        cluster = try LocalCluster(label)
        let up = try cluster.start(workers: 1)
        guard up.status == 0 else { throw PlatformError(.unavailable, up.all) }
        // Another database of the cluster's own server, reached by TCP.
        bridge = try SocketBridge(to: cluster.data + "/pg/.s.PGSQL.5432")
        _ = try psql("CREATE DATABASE shop", database: "postgres")
        let made = try cluster.cli(
          [
            "connections", "create", "shop_db", "--type", "POSTGRESQL", "--option", "host=127.0.0.1", "--option", "port=\(bridge.port)", "--option",
            "database=shop", "--option", "user=platform", "--secret", "password=SHOP_PASSWORD",
          ], environment: ["SHOP_PASSWORD": "swordfish"])
        guard made.status == 0 else { throw PlatformError(.unavailable, made.all) }
      }

      @discardableResult func psql(_ sql: String, database: String = "shop") throws -> String {
        let answer = try LocalCluster.run(
          "/usr/bin/psql", ["-h", folder, "-U", "platform", "-d", database, "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-c", sql], timeout: 60)
        guard answer.status == 0 else { throw PlatformError(.internalError, "psql: \(answer.all)") }
        return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
      }

      func file(_ body: String) -> String {
        """
        resources:
          jobs:
            j:
              name: pull
              tasks:
                - task_key: pull
                  max_retries: 3
                  postgres_task: { connection: shop_db, \(body) }
        """
      }

      /// Copies, and returns the task's values.
      func copy(_ body: String) throws -> JSONValue {
        let done = try cluster.finish(try cluster.submit(file(body)))
        guard done["state"] == "SUCCEEDED" else { throw PlatformError(.internalError, "\(done.task("pull").sortedText)") }
        return done.task("pull")["values"] ?? .null
      }
    }

    @Test func typesAndSnapshots() throws {
      let source = try Source("pgtypes")
      try source.psql(
        """
        CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN small AS int CHECK (VALUE < 10);
        CREATE TABLE everything (id int8 PRIMARY KEY, b bool, i2 int2, d small, f4 float4, f8 float8, n numeric(38,10), free numeric, t text, v varchar(20),
          u uuid, day date, at timestamp, tz timestamptz, clock time, j jsonb, bytes bytea, tags text[], numbers int4[], exact numeric(20,2)[], m mood, gap interval);
        INSERT INTO everything VALUES (1, true, -2, 9, 1.5, 'NaN', 1234567890123456789012345678.0123456789, 1e40, E'a,"b"\\nc\\\\', '', '00000000-0000-0000-0000-000000000001',
          '2024-02-29', '2024-01-02 03:04:05.678901', '2024-01-02 03:04:05+02', '23:59:59.5', '{"a": [1, null]}', '\\x00ff', '{a,NULL,"x,y"}', '{1,2}',
          '{123456789012345678.91}', 'glad', '1 day');
        INSERT INTO everything (id) VALUES (2);
        """)
      let values = try source.copy("table: public.everything, target: main.demo.everything")
      #expect(values["rows_out"] == 2, "\(values.sortedText)")
      let row = try source.cluster.scalar(
        """
        select concat_ws('|', id, b, i2, d, f4, f8, n, length(free), t, v = '', u, day, "at", tz, clock, j, hex(bytes), to_json(tags), to_json(numbers), exact, m, gap)
        from main.demo.everything where id = 1
        """)
      #expect(
        row.stringValue
          == "1|true|-2|9|1.5|nan|1234567890123456789012345678.0123456789|41|a,\"b\"\nc\\|true|00000000-0000-0000-0000-000000000001|2024-02-29|2024-01-02 03:04:05.678901+00|2024-01-02 01:04:05+00|23:59:59.5|{\"a\": [1, null]}|00FF|[\"a\",null,\"x,y\"]|[1,2]|[123456789012345678.91]|glad|1 day",
        "\(row.sortedText)")
      #expect(try source.cluster.scalar("select count(*) from main.demo.everything where b is null and t is null and bytes is null and tags is null") == 1)
      // A snapshot takes the place of the one before; a query chooses.
      try source.psql("DELETE FROM everything WHERE id = 1; INSERT INTO everything (id, t) VALUES (3, 'new'), (4, 'x')")
      #expect(try source.copy(#"query: "SELECT id, t FROM everything WHERE id < 4", target: main.demo.everything"#)["rows_out"] == 2)
      #expect(try source.cluster.scalar("select string_agg(id, ',' order by id) from main.demo.everything") == "2,3")
      // What cannot be: secrets are never shown, sockets are refused, and nothing is changed at the source.
      #expect(try !source.cluster.cli(["connections", "get", "shop_db", "-o", "json"]).out.contains("swordfish"))
      for (bad, words) in [
        ("table: public.none, target: main.demo.x", "PLT-3129"), (#"query: "DELETE FROM everything RETURNING id", target: main.demo.x"#, "PLT-3129"),
        (#"query: "SELECT 1) AS q; DELETE FROM everything; SELECT (1", target: main.demo.x"#, "PLT-3129"),
      ] {
        let done = try source.cluster.finish(try source.cluster.submit(source.file(bad).replacing("max_retries: 3", with: "max_retries: 0")))
        #expect(done["state"] == "FAILED" && done.task("pull").sortedText.contains(words) && !done.sortedText.contains("swordfish"), "\(done.sortedText)")
      }
      #expect(try source.psql("SELECT count(*) FROM everything") == "3")
      #expect(
        try source.cluster.cli(["connections", "create", "own", "--type", "POSTGRESQL", "--option", "host=\(source.folder)", "--option", "user=platform"])
          .status == 0)
      let own = try source.cluster.finish(
        try source.cluster.submit(
          source.file("table: platform.api_tokens, target: main.demo.x").replacing("shop_db", with: "own").replacing("max_retries: 3", with: "max_retries: 0")))
      #expect(own["state"] == "FAILED" && own.sortedText.contains("PLT-3124"), "\(own.sortedText)")
      // The command makes a table of it.
      let imported = try source.cluster.cli(
        ["import", "postgres://platform@127.0.0.1:\(source.bridge.port)/shop", "main.demo.imported", "--from", "public.everything"])
      #expect(imported.status == 0 && imported.err.contains("3 rows"), "\(imported.all)")
      #expect(
        try source.cluster.cli(["import", "postgres://platform@127.0.0.1:\(source.bridge.port)/shop", "main.demo.imported", "--from", "everything"]).status != 0
      )
      #expect(try !source.cluster.cli(["connections", "list"]).out.contains("import_"))
      // Names that files cannot have, arrays of arrays, and days before the first year.
      try source.psql(
        """
        CREATE TABLE odd ("Weird Col" int, grid int[][], day date, at timestamptz, days date[]);
        INSERT INTO odd VALUES (1, '{{1,2},{3,4}}', '0044-03-15 BC', '0044-03-15 01:02:03+00 BC', '{0044-03-15 BC,2024-01-01}')
        """)
      for _ in 0..<2 {
        let values = try source.copy("table: public.odd, target: main.demo.odd")
        #expect(values["rows_out"] == 1, "\(values.sortedText)")
      }
      #expect(
        try source.cluster.scalar("select concat_ws('|', \"Weird Col\", grid, day, \"at\", days) from main.demo.odd")
          == "1|{{1,2},{3,4}}|0044-03-15 (BC)|0044-03-15 (BC) 01:02:03+00|['0044-03-15 (BC)', 2024-01-01]")
      // What fails leaves nothing: the next import begins anew.
      try source.psql("CREATE TABLE wrong (f float8, d timestamp); INSERT INTO wrong VALUES (1, '294270-01-01')")
      let url = "postgres://platform@127.0.0.1:\(source.bridge.port)/shop"
      let failed = try source.cluster.cli(["import", url, "main.demo.wrong", "--from", "public.wrong"])
      #expect(failed.status != 0 && failed.all.contains("does not fit its column"), "\(failed.all)")
      #expect(try source.cluster.cli(["sql", "select * from main.demo.wrong"]).all.contains("does not exist"))
      try source.psql("UPDATE wrong SET d = '2024-01-01'")
      let again = try source.cluster.cli(["import", url, "main.demo.wrong", "--from", "public.wrong"])
      #expect(again.status == 0, "\(again.all)")
      // Nothing comes after infinity.
      try source.psql("CREATE TABLE endless (id int, at timestamptz); INSERT INTO endless VALUES (1, '2024-01-01'), (2, 'infinity')")
      let endless = try source.cluster.finish(
        try source.cluster.submit(
          source.file("table: public.endless, target: main.demo.endless, mode: incremental, watermark: at").replacing("max_retries: 3", with: "max_retries: 0"))
      )
      #expect(endless["state"] == "FAILED" && endless.sortedText.contains("PLT-3127"), "\(endless.sortedText)")
    }

    @Test func eachNewRowOnceWhateverIsKilled() throws {
      let source = try Source("pgnew")
      let cluster = source.cluster
      try source.psql(
        """
        CREATE TABLE orders (id int8 PRIMARY KEY, updated_at timestamptz NOT NULL, price numeric(9,2));
        INSERT INTO orders SELECT i, timestamptz '2024-01-01' + (i / 7) * interval '1 minute', i FROM generate_series(1, 5000) i
        """)
      let body = "table: public.orders, target: main.demo.orders, mode: incremental, watermark: updated_at, batch_rows: 600"
      #expect(
        try cluster.cli([
          "sql",
          "create table main.demo.orders (id bigint not null, updated_at timestamp, price decimal(9,2), kind bigint generated always as (id % 2)) partitioned by (kind)",
        ]).status == 0)
      let run = try cluster.submit(source.file(body))
      var random = SplitMix64(seed: 9)
      for _ in 0..<3 {
        usleep(UInt32.random(in: 700_000...2_000_000, using: &random))
        for process in cluster.processes(["coordinator"]) { kill(process, SIGKILL) }
      }
      let done = try cluster.finish(run)
      #expect(done["state"] == "SUCCEEDED", "\(done.task("pull").sortedText)")
      func state() throws -> JSONValue { try cluster.scalar("select count(*) || '/' || count(distinct id) || '/' || sum(price) from main.demo.orders") }
      #expect(try state() == "5000/5000/12502500.00")
      // Nothing new; then company for the highest watermark, and rows above it.
      #expect(try source.copy(body)["rows_out"] == 0)
      try source.psql("INSERT INTO orders SELECT i, (SELECT max(updated_at) FROM orders), i FROM generate_series(5001, 5003) i")
      #expect(try source.copy(body)["rows_out"] == 3)
      try source.psql("INSERT INTO orders VALUES (5004, (SELECT max(updated_at) FROM orders), 1), (5005, '2030-01-01', 1)")
      #expect(try source.copy(body)["rows_out"] == 2)
      #expect(try source.copy(body)["rows_out"] == 0)
      #expect(try cluster.scalar("select count(*) || '/' || count(distinct id) from main.demo.orders") == "5005/5005")
      try source.psql("ALTER TABLE orders ADD COLUMN note text; INSERT INTO orders VALUES (5006, '2031-01-01', 1, 'more')")
      #expect(try source.copy(body)["rows_out"] == 1)
      #expect(try cluster.scalar("select note from main.demo.orders where id = 5006") == "more")
      try source.psql("ALTER TABLE orders ALTER updated_at DROP NOT NULL; INSERT INTO orders VALUES (5007, NULL, 1)")
      let refused = try cluster.finish(try cluster.submit(source.file(body).replacing("max_retries: 3", with: "max_retries: 0")))
      #expect(refused["state"] == "FAILED" && refused.sortedText.contains("PLT-3127"), "\(refused.sortedText)")
    }
  }
}
