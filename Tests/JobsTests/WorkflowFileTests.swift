// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Scheduling
import Testing

@testable import Jobs

@Suite struct WorkflowFileTests {
  static let lifecyclePath = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("cluster/workflows/lifecycle.yml").path

  static func parse(_ text: String, job: String? = nil, parameters: [String: String] = [:], files: [String: String] = [:])
    -> ParsedWorkflow
  {
    WorkflowFile.parse(text: text, path: "w.yml", job: job, parameters: parameters, attachments: files)
  }

  /// `tasks` from line 5 on, one a line.
  static func job(_ tasks: String...) -> String {
    "resources:\n  jobs:\n    one:\n      tasks:\n" + tasks.map { "        - { \($0) }" }.joined(separator: "\n") + "\n"
  }

  struct Bad: Sendable, CustomTestStringConvertible {
    var text: String
    var number: String
    var line: Int
    /// Of message and hint.
    var says: String
    var testDescription: String { "\(number) \(says)" }
  }

  static let embed = "embed_task: { source: a.b.c, output: a.b.d }"
  static func train(_ more: String) -> String {
    job("task_key: t, train_task: { data: a.b.c, register_as: a.b.m, \(more) }")
  }

  static let bad: [Bad] = [
    Bad(text: "", number: "PLT-1200", line: 1, says: "empty"),
    Bad(
      text: job("task_key: t, deploy_task: { endpoint: e, model: a.b.m, adapters: { polite: nothing } }"), number: "PLT-1204", line: 5,
      says: "tasks[0].deploy_task.adapters.polite: 'nothing'"),
    Bad(
      text: job("task_key: t, deploy_task: { endpoint: e, model: a.b.m, adapters: { a/b: a.b.p } }"), number: "PLT-1204", line: 5,
      says: "'a/b' is not a usable name"),
    Bad(text: job("task_key: t, deploy_task: { endpoint: e, model: a.b.m, adapters: [ a.b.p ] }"), number: "PLT-1202", line: 5, says: "Names with models"),
    Bad(text: job("task_key: t, deploy_task: { endpoint: e, model: a.b.m, max_loras: 0 }"), number: "PLT-1203", line: 5, says: "1 to 256"),
    Bad(text: "a: [1, 2\nb: 3\n", number: "PLT-1200", line: 2, says: "not valid YAML"),
    Bad(text: "a: 1\na: 2\n", number: "PLT-1200", line: 1, says: "'a' is given twice"),
    Bad(text: String(repeating: "[", count: 100_000), number: "PLT-1200", line: 1, says: "nested"),
    Bad(text: String(repeating: "- ", count: 100_000), number: "PLT-1200", line: 1, says: "nested"),
    Bad(text: String(repeating: "[\"]\", ", count: 20_000), number: "PLT-1200", line: 1, says: ""),
    Bad(
      text: "a: " + String(repeating: "[", count: 80) + String(repeating: "]", count: 80), number: "PLT-1200", line: 1,
      says: "nested"),
    Bad(text: "- 1\n", number: "PLT-1202", line: 1, says: "mapping"),
    Bad(text: "resource: {}\n", number: "PLT-1202", line: 1, says: "Did you mean 'resources'?"),
    Bad(text: "resources: { schemas: {} }\n", number: "PLT-1202", line: 1, says: "'jobs' is missing"),
    Bad(text: "resources: { jobs: { a: { tasks: [] } } }", number: "PLT-1202", line: 1, says: "has no tasks"),
    Bad(text: "resources:\n  jobs: { a: {}, b: {} }", number: "PLT-1208", line: 2, says: "2 jobs: a, b"),
    Bad(text: job("task_key: t"), number: "PLT-1202", line: 5, says: "says nothing to do"),
    Bad(text: job(embed), number: "PLT-1202", line: 5, says: "'task_key' is missing"),
    Bad(text: job("task_key: t/1, \(embed)"), number: "PLT-1204", line: 5, says: "not a usable key"),
    Bad(text: job("task_key: t, max_retry: 1, \(embed)"), number: "PLT-1202", line: 5, says: "unknown key 'max_retry'"),
    Bad(
      text: job("task_key: t, max_retires: 1, \(embed)"), number: "PLT-1202", line: 5, says: "Did you mean 'max_retries'?"),
    Bad(text: job("task_key: t, resources: { cpus: 0 }, \(embed)"), number: "PLT-1203", line: 5, says: "out of range"),
    Bad(text: job("task_key: t, resources: { gpus: 1 }, \(embed)"), number: "PLT-1202", line: 5, says: "unknown key 'gpus'"),
    Bad(text: job("task_key: t, resources: { memory: much }, \(embed)"), number: "PLT-1202", line: 5, says: "no number of bytes"),
    Bad(text: job("task_key: t, node_labels: ssd, \(embed)"), number: "PLT-1202", line: 5, says: "must be a mapping"),
    Bad(text: job("task_key: t, max_retries: 101, \(embed)"), number: "PLT-1203", line: 5, says: "Use 0 to 100."),
    Bad(text: job("task_key: t, timeout_seconds: soon, \(embed)"), number: "PLT-1202", line: 5, says: "whole number"),
    Bad(
      text: job("task_key: t, \(embed), sql_task: { statement: SELECT 1 }"), number: "PLT-1202", line: 5,
      says: "embed_task and sql_task"),
    Bad(
      text: job("task_key: t, spark_jar_task: { notebook_path: x }"), number: "PLT-1210", line: 5,
      says: "'spark_jar_task' is not built yet"),
    Bad(
      text: job("task_key: t, embed_task: { source: b.c, output: a.b.c }"), number: "PLT-1204", line: 5,
      says: "tasks[0].embed_task.source: 'b.c'"),
    Bad(text: job("task_key: t, embed_task: { source: a.b.c }"), number: "PLT-1202", line: 5, says: "'output' is missing"),
    Bad(text: job("task_key: t, \(embed)", "task_key: t, \(embed)"), number: "PLT-1205", line: 6, says: "used twice"),
    Bad(
      text: job("task_key: t, \(embed), depends_on: [ { task_key: s } ]"), number: "PLT-1205", line: 5, says: "no task 's'"),
    Bad(
      text: job(
        "task_key: a, \(embed), depends_on: [ { task_key: b } ]", "task_key: b, \(embed), depends_on: [ { task_key: a } ]"),
      number: "PLT-1205", line: 5, says: "a -> b -> a"),
    Bad(
      text: job(
        "task_key: a, \(embed)", "task_key: d, deploy_task: { endpoint: e, model: \"{{tasks.a.values.model_uri}}\" }"),
      number: "PLT-1206", line: 6, says: "may not have ended"),
    Bad(
      text: job("task_key: d, deploy_task: { endpoint: e, model: \"{{tasks.a}}\" }"), number: "PLT-1206", line: 5,
      says: "not a reference"),
    Bad(
      text: job("task_key: d, deploy_task: { endpoint: e, model: a.b.c/0 }"), number: "PLT-1204", line: 5, says: "a.b.c/0"),
    Bad(
      text: job("task_key: d, deploy_task: { endpoint: e, model: a.b.c, replicas: 65 }"), number: "PLT-1203", line: 5,
      says: "0 to 64"),
    Bad(
      text: job("task_key: d, deploy_task: { endpoint: e, model: a.b.c, dtype: fp8 }"), number: "PLT-1203", line: 5,
      says: "Write auto, f32, bf16, int8, int4."),
    Bad(
      text: job("task_key: d, deploy_task: { endpoint: e, model: a.b.c, threads: 0 }"), number: "PLT-1203", line: 5,
      says: "1 to 256"),
    Bad(
      text: job("task_key: t, embed_task: { source: \"${var.x}\", output: a.b.c }"), number: "PLT-1207", line: 5,
      says: "unknown variable"),
    Bad(
      text: train("compute: { tensor_parallel: 3 }"), number: "PLT-1203", line: 5,
      says: "tasks[0].train_task.compute.tensor_parallel: 3 does not"),
    Bad(
      text: train("compute: { tensor_parallel: 2, min_tensor_parallel: 3 }"), number: "PLT-1203", line: 5,
      says: "3 does not divide tensor_parallel 2"),
    Bad(text: train("heads: 6, kv_heads: 4"), number: "PLT-1203", line: 5, says: "4 does not divide the 6 heads"),
    Bad(text: train("batch_tokens: 100"), number: "PLT-1203", line: 5, says: "sequence_length"),
    Bad(
      text: job("task_key: p, prepare_task: { source: a.b.c, output: a.b.d, split: { train: 0.9, test: 0.2 } }"),
      number: "PLT-1203", line: 5,
      says: "more than 1"),
    Bad(
      text: job("task_key: i, ingest_task: { table: a.b.c, limit: lots }"), number: "PLT-1202", line: 5,
      says: "no number of bytes"),
    Bad(
      text: job("task_key: i, ingest_task: { table: a.b.c, limit: 99999999TB }"), number: "PLT-1202", line: 5,
      says: "no number of bytes"),
    Bad(
      text: job("task_key: s, sql_task: { file: { path: q.sql } }"), number: "PLT-1211", line: 5,
      says: "'q.sql' was not sent"),
    Bad(
      text: job("task_key: s, sql_task: { statement: SELECT 1, shards: many }"), number: "PLT-1203", line: 5, says: "'many' is no number of shards"),
    Bad(
      text: job("task_key: s, prepare_task: { source: a.b.c, output: a.b.d, shards: 1025 }"), number: "PLT-1203", line: 5,
      says: "Use auto, or 1 to 1024"),
    Bad(
      text: job("task_key: s, sql_task: { statement: SELECT 1, partition_by: id }"), number: "PLT-1202", line: 5, says: "must be a list"),
    Bad(
      text: job("task_key: s, sql_task: { statement: SELECT 1, parameters: 3 }"), number: "PLT-1202", line: 5,
      says: "must be names with values"),
    Bad(
      text: job("task_key: s, sql_task: { statement: SELECT 1, parameters: [ { value: 3 } ] }"), number: "PLT-1202", line: 5,
      says: "'name' is missing"),
    Bad(
      text: job("task_key: m, monitor_task: { endpoint: e, table: a.b.e, output: a.b.d }"), number: "PLT-1203", line: 5,
      says: "not both"),
    Bad(
      text: job("task_key: m, monitor_task: { table: a.b.e, output: a.b.d }"), number: "PLT-1202", line: 5,
      says: "'baseline' is missing"),
    Bad(text: job("task_key: m, monitor_task: { output: a.b.d }"), number: "PLT-1202", line: 5, says: "'table' or 'endpoint'"),
  ]

  @Test(arguments: bad) func aBadFileIsRefused(_ bad: Bad) {
    let parsed = Self.parse(bad.text)
    #expect(parsed.run == nil)
    let found = parsed.errors.contains {
      $0.number == bad.number && $0.line == bad.line && (bad.says.isEmpty || ($0.message + " " + $0.hint).contains(bad.says))
    }
    #expect(found, "\(parsed.errors)")
    #expect(parsed.errors.allSatisfy { $0.code == .invalidFile && $0.path == "w.yml" && $0.line != nil })
  }

  @Test func allErrorsAreReportedAtOnce() {
    let parsed = Self.parse(
      Self.job(
        "task_key: a, embed_tsk: {}", "task_key: b, max_retries: -1, \(Self.embed)",
        "task_key: c, spark_jar_task: { notebook_path: x }"))
    #expect(Set(parsed.errors.map(\.number)).isSuperset(of: ["PLT-1202", "PLT-1203", "PLT-1210"]))
    #expect(parsed.errors.map { $0.line ?? 0 } == parsed.errors.map { $0.line ?? 0 }.sorted())
  }

  @Test func anAliasBombIsRefused() {
    var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for level in 1...9 {
      text += "a\(level): &a\(level) [\(Array(repeating: "*a\(level - 1)", count: 9).joined(separator: ", "))]\n"
    }
    #expect(Self.parse(text).errors.map(\.number) == ["PLT-1200"])
  }

  @Test func theLifecycleFileIsGood() throws {
    let text = try String(contentsOfFile: Self.lifecyclePath, encoding: .utf8)
    let parsed = Self.parse(text, parameters: ["limit": "5MB"])
    #expect(parsed.errors == [])
    #expect(parsed.warnings == [])
    var run = try #require(parsed.run)
    #expect(run.name == "document lifecycle" && run.id.isEmpty)
    run.id = "r"
    #expect(Scheduler.problem(with: run) == nil)
    func task(_ key: String) throws -> TaskSpec { try #require(run.tasks.first { $0.key == key }) }
    #expect(try task("ingest").body["limit"] == 5_000_000)
    #expect(try task("ingest").maxRetries == 1)
    #expect(try task("prepare").body["split"] == ["train": 0.9, "test": 0.1])
    #expect(try task("index").kind == "index_sync")
    #expect(try task("train").body["steps"] == 600)
    #expect(try task("train").body["compute"] == ["tensor_parallel": 2])
    #expect(try task("evaluate").body["gate"] == ["max_ratio_to_unigram": 0.25, "below_bigram": true])
    #expect(try task("deploy").body["model"] == "{{tasks.train.values.model_uri}}")
    #expect(try task("monitor").dependsOn == ["embed", "deploy"])
    #expect(Self.parse(text, parameters: ["limt": "1"]).errors.contains { $0.hint == "Did you mean 'limit'?" })
  }

  @Test func parametersFilesWarningsAndChoice() throws {
    let text = """
      bundle: { name: x }
      targets: { dev: { default: true } }
      resources:
        jobs:
          other: { tasks: [ { task_key: o, sql_task: { statement: SELECT 1 } } ] }
          mine:
            schedule: { quartz_cron_expression: "0 0 3 * * ?" }
            parameters: [ { name: day, default: mon } ]
            tasks:
              - { task_key: s, sql_task: { file: { path: q.sql } }, timeout_seconds: 9, min_retry_interval_millis: 400 }
              - { task_key: t, sql_task: { statement: "SELECT '{{job.parameters.day}}'" } }
      """
    let bound = Self.parse(
      Self.job(
        "task_key: s, sql_task: { file: { path: q.sql }, schema: demo, parameters: { day: 2026-01-31, n: 3, x: 2.5, t: '3', b: true, z: null } }",
        "task_key: t, sql_task: { statement: 'SELECT :d', parameters: [ { name: d, value: 7, type: 'DECIMAL(10, 2)' }, { name: e, value: 7 } ] }"),
      files: ["q.sql": "SELECT :day; SELECT :n"])
    #expect(bound.errors == [])
    #expect(
      bound.run?.tasks.first?.body == [
        "statement": "SELECT :day; SELECT :n", "schema": "demo",
        "parameters": [
          ["name": "day", "value": "2026-01-31"], ["name": "n", "value": 3], ["name": "x", "value": 2.5], ["name": "t", "value": "3"],
          ["name": "b", "value": true], ["name": "z", "value": nil],
        ],
      ])
    #expect(bound.run?.tasks.last?.body["parameters"] == [["name": "d", "value": "7", "type": "DECIMAL(10, 2)"], ["name": "e", "value": 7]])
    let sharded = Self.parse(
      Self.job("task_key: s, sql_task: { file: { path: q.sql }, shards: 8, partition_by: [id, day] }", "task_key: t, sql_task: { statement: S, shards: auto }"),
      files: ["q.sql": "SELECT 2"])
    #expect(sharded.errors == [])
    #expect(
      sharded.run?.tasks.map(\.body) == [["statement": "SELECT 2", "shards": "8", "partition_by": ["id", "day"]], ["statement": "S", "shards": "auto"]])
    let parsed = Self.parse(text, job: "mine", parameters: ["day": "tue"], files: ["q.sql": "SELECT 2"])
    #expect(parsed.errors == [])
    #expect(parsed.warnings == ["w.yml:2: 'targets' is ignored", "w.yml:7: 'resources.jobs.mine.schedule' is ignored"])
    let run = try #require(parsed.run)
    #expect(run.tasks.map(\.body) == [["statement": "SELECT 2"], ["statement": "SELECT 'tue'"]])
    #expect(run.tasks[0].timeoutMs == 9000)
    #expect(run.tasks[0].retryBackoff.delayMilliseconds(afterAttempt: 1, unit: 0) >= 400)
  }

  @Test func mutatedFilesNeverTrap() throws {
    let original = Array(try String(contentsOfFile: Self.lifecyclePath, encoding: .utf8).utf8)
    var random = SplitMix64(seed: 7)
    func below(_ count: Int) -> Int { Int(random.next() % UInt64(count)) }
    let odd = Array("{}[]:-,&*!|>'\"%@`#?\n\t ${}~0é".utf8)
    for round in 0..<2_000 {
      var bytes = original
      for _ in 0..<(1 + below(4)) {
        let place = below(bytes.count)
        switch below(4) {
        case 0: bytes.remove(at: place)
        case 1: bytes.insert(odd[below(odd.count)], at: place)
        case 2: bytes[place] = odd[below(odd.count)]
        default:
          bytes.replaceSubrange(
            place..<min(bytes.count, place + below(60)), with: original[below(original.count)...].prefix(below(60)))
        }
      }
      let parsed = Self.parse(String(decoding: bytes, as: UTF8.self))
      #expect((parsed.run == nil) == !parsed.errors.isEmpty, "round \(round)")
    }
  }
}
