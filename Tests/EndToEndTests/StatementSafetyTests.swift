// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// What no text may do: reach files, settings or other people's results, keep a worker busy after its end, take all memory.
  @Suite(.serialized) struct StatementSafetyTests {
    private let path = "/api/2.0/sql/statements"

    private func post(_ cluster: LocalCluster, _ body: JSONValue) throws -> (status: Int, body: JSONValue, text: String) {
      let answer = try cluster.http("POST", path, token: cluster.token, body: body.sortedText)
      return (answer.status, (try? JSONValue(parsing: answer.body)) ?? .null, answer.body)  // no JSON: the test says so
    }

    private func state(_ value: JSONValue) -> String { value["status"]?["state"]?.stringValue ?? "" }

    /// Each would show or write the file, or change the engine, if it ran.
    private func attacks(_ file: String, _ folder: String) -> [String] {
      let readers = [
        "read_csv", "read_csv_auto", "read_text", "read_blob", "read_json", "read_json_auto", "read_ndjson", "read_parquet", "parquet_scan", "sniff_csv",
        "glob", "parquet_metadata",
      ]
      var list = readers.flatMap { reader in
        [
          "select * from \(reader)('\(file)')", "select (select count(*) from \(reader)('\(file)'))",
          "with s as (select * from \(reader)('\(file)')) select * from s",
          "select * from range(1) t, lateral (select * from \(reader)('\(file)'))", "select * from (describe select * from \(reader)('\(file)'))",
          "insert into main.default.safe select 1 from \(reader)('\(file)')", "create table main.default.stolen as select * from \(reader)('\(file)')",
          "delete from main.default.safe where a in (select 1 from \(reader)('\(file)'))", "explain select * from \(reader)('\(file)')",
          "create or replace temp view v as select * from \(reader)('\(file)'); select * from v",
          "create function main.default.f_\(reader)() returns table (x string) return select * from \(reader)('\(file)')",
        ]
      }
      list += [
        "select * from '\(file)'", "select * from \"\(file)\"", "select * from `\(file)`", "from '\(file)'", "table '\(file)'", "summarize '\(file)'",
        "select * from '\(folder)/*'", "select * from file('\(file)')", "select * from read_files('\(file)')",
        "select * from read_files('\(folder)', format => 'csv')", "select * from read_files('/Volumes/main/default/../../..\(file)')",
        "select * from query('select * from read_text(''\(file)'')')",
        "select * from query_table('\(file)')", "select * from json_execute_serialized_sql(json_serialize_sql('select * from read_text(''\(file)'')'))",
        "select * from duckdb_settings()", "select * from duckdb_secrets()", "select * from duckdb_logs()", "select * from duckdb_temporary_files()",
        "select * from pragma_database_list()", "select * from duckdb_variables()", "select current_setting('temp_directory')",
        "select list_transform(['memory_limit'], lambda x: current_setting(x))", "select 'memory_limit'.current_setting()",
        "select system.main.current_setting('threads')", "select \"current_setting\"('threads')", "select getenv('HOME')", "select write_log('x')",
        "select sleep_ms(60000)", "set memory_limit = '99GB'", "set global threads = 64", "set enable_external_access = true", "reset lock_configuration",
        "pragma enable_external_access", "pragma threads = 9", "pragma add_parquet_key('a', 'b')", "call pragma_version()", "call enable_logging()",
        "attach '\(folder)/x.db' as x", "attach ':memory:' as x", "detach memory", "install httpfs", "load httpfs", "load '\(folder)/x.duckdb_extension'",
        "copy (select 1) to '\(folder)/written.csv'", "copy main.default.safe to '\(folder)/written.parquet'", "export database '\(folder)'",
        "import database '\(folder)'", "create secret s (type s3)", "checkpoint", "force checkpoint", "vacuum", "prepare p as select 1", "execute p",
        "create macro m() as 1", "create type t as enum ('a')", "create sequence q", "create index i on safe (a)", "begin", "rollback",
        "select 1; copy (select 1) to '\(folder)/written.csv'", "select 1) as probe limit 0; copy (select 1) to '\(folder)/written.csv' --",
        "select * from (select 1) ); attach '\(folder)/x.db' as x; --", "create table main.default.outside location '/etc' as select 1 as a",
        "create table main.default.outside2 (a int) location '\(folder)'", "create external volume main.default.vol location '/etc'",
        "copy into main.default.safe from '\(folder)' fileformat = csv", "select * from delta.`\(folder)`", "select * from parquet.`\(file)`",
        "create table main.default.\"../../escape\" as select 1 as a", "select * from main.default.\"../safe\"",
      ]
      return list
    }

    @Test func noTextReachesFilesOrSettings() throws {
      let cluster = try LocalCluster("statements-attacks")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.cli(["sql", "create table main.default.safe as select 1 as a"]).status == 0)
      let folder = cluster.folder.path + "/private"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let file = folder + "/secret.csv"
      try Data("word\nTOPSECRET\n".utf8).write(to: URL(fileURLWithPath: file))
      for attack in attacks(file, folder) {
        let answer = try post(cluster, ["statement": .string(attack), "wait_timeout": "20s"])
        #expect(!answer.text.contains("TOPSECRET"), "\(attack)\n\(answer.text)")
        #expect(answer.status == 400 || state(answer.body) == "FAILED", "\(attack)\n\(answer.text)")
        let code = answer.body["status"]?["error"]?["error_code"]?.stringValue ?? ""
        #expect(code != "INTERNAL_ERROR" && code != "TEMPORARILY_UNAVAILABLE", "\(attack)\n\(answer.text)")
      }
      // Values and names that come beside the text are no text.
      for (field, value) in [
        ("parameters", [["name": "t", "value": .string("safe; copy (select 1) to '\(folder)/written.csv'")]]),
        ("parameters", [["name": "t", "value": .string("'\(file)'")]]),
        ("parameters", [["name": "t", "value": "read_text"]]), ("catalog", .string("main\".\"default\".\"safe\" -- ")), ("schema", .string("../../\(folder)")),
      ] as [(String, JSONValue)] {
        var body: [String: JSONValue] = ["statement": field == "parameters" ? "select * from identifier(:t)" : "select * from safe"]
        body[field] = value
        let answer = try post(cluster, .object(body))
        #expect(answer.status == 400 || state(answer.body) == "FAILED", "\(field) \(value.sortedText)\n\(answer.text)")
        #expect(!answer.text.contains("TOPSECRET"))
      }
      let typed = try post(
        cluster, ["statement": "select :a as a", "parameters": [["name": "a", "value": "1", "type": "INT); copy (select 1) to '/tmp/x'; --"]]])
      #expect(typed.status == 400 || state(typed.body) == "FAILED", "\(typed.text)")
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["secret.csv"])
      // Nothing has changed for those who come later.
      #expect(try cluster.scalar("select a from main.default.safe") == 1)
      #expect(try post(cluster, ["statement": "select 6 * 7"]).body["result"]?["data_array"] == [["42"]])
    }

    @Test func aStatementEndsWhenItIsToldToAndTakesNoMoreThanItsShare() throws {
      let cluster = try LocalCluster("statements-limits")
      #expect(try cluster.start(workers: 1).status == 0)
      #expect(try cluster.cli(["sql", "create table main.default.t as select range as i from range(10)"]).status == 0)
      for text in [
        "select sum(a.range * b.range) from range(3000000) a, range(3000000) b",
        "insert into main.default.t select sum(a.range * b.range) from range(3000000) a, range(3000000) b",
        "update main.default.t set i = (select sum(a.range * b.range) from range(3000000) a, range(3000000) b)",
      ] {
        let id = try post(cluster, ["statement": .string(text), "wait_timeout": "0s"]).body["statement_id"]?.stringValue ?? ""
        try cluster.wait("it runs") { cluster.executor("statement") != nil }
        let process = try #require(cluster.executor("statement"))
        let asked = ContinuousClock.now
        #expect(try cluster.http("POST", "\(path)/\(id)/cancel", token: cluster.token, body: "{}").status == 200)
        try cluster.wait("the executor is free", seconds: 5) { cluster.executor("statement") == nil }
        #expect(ContinuousClock.now - asked < .seconds(2), "\(text)")
        // Interrupted and not killed: it does nothing any more.
        let before = Self.processorTime(process)
        usleep(300_000)
        #expect(Self.processorTime(process) - before < 15, "\(text)")
        let status = try JSONValue(parsing: cluster.http("GET", "\(path)/\(id)", token: cluster.token).body)
        #expect(state(status) == "CANCELED")
      }
      #expect(try cluster.scalar("select count(*) from main.default.t") == 10)
      // More memory than an executor has: it says so, and goes on with the next.
      let large = try post(cluster, ["statement": "select len(list(range)) from range(2000000000)", "wait_timeout": "50s"])
      #expect(large.body["status"]?["error"]?["error_code"] == "RESOURCE_EXHAUSTED", "\(large.text)")
      #expect(try post(cluster, ["statement": "select 6 * 7"]).body["result"]?["data_array"] == [["42"]])
    }

    /// Hundredths of a second that a process has computed.
    private static func processorTime(_ process: Int32) -> Int {
      guard let data = FileManager.default.contents(atPath: "/proc/\(process)/stat") else { return 0 }
      let fields = String(decoding: data, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
      guard fields.count > 12 else { return 0 }
      return (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
    }
  }
}
