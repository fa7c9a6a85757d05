// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
  /// Three nodes on a network of their own, and faults from a seed: cut off, stopped, killed. What comes out at the end is what comes out
  /// undisturbed. `make chaos` injects more of them: CHAOS_FAULTS, CHAOS_SEED.
  @Suite(.serialized) struct ChaosTests {
    private enum Fault: CaseIterable {
      case cutOff, stopWorker, stopLeader, killWorker, killExecutor, killCoordinator, killPostgres
    }

    @Test(.enabled(if: NamespaceCluster.obstacle == nil, "\(NamespaceCluster.obstacle ?? "")"))
    func whateverHappensTheTablesAreTheSame() throws {
      let environment = ProcessInfo.processInfo.environment
      let seed = environment["CHAOS_SEED"].flatMap { UInt64($0) } ?? 20
      let faults = environment["CHAOS_FAULTS"].flatMap { Int($0) } ?? 15
      let chaos = try NamespaceCluster("chaos")
      defer { chaos.stop() }
      try chaos.start()
      let documents = try chaos.cluster.documents(40)
      let workflow = try chaos.cluster.write(
        "chaos.yml",
        """
        resources:
          jobs:
            j:
              name: chaos
              tasks:
                - task_key: ingest
                  max_retries: 50
                  ingest_task: { input: "\(documents)", table: main.demo.documents }
                - task_key: prepare
                  max_retries: 50
                  depends_on: [ { task_key: ingest } ]
                  prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 60, overlap: 8 }
                - task_key: words
                  max_retries: 50
                  depends_on: [ { task_key: prepare } ]
                  sql_task:
                    statement: >-
                      create or replace table main.demo.words as
                      select path, count(*) as n, sum(tokens)::bigint as t from main.demo.chunks group by path
                    shards: 4
                    partition_by: [path]
        """)
      @Sendable func submit() throws -> String? {
        let answer = try chaos.cli(["submit", workflow], timeout: 90)
        return answer.status == 0 ? answer.out.trimmingCharacters(in: .whitespacesAndNewlines) : nil
      }
      @Sendable func state(_ run: String) throws -> String {
        let answer = try chaos.cli(["runs", "get", run, "-o", "json"], timeout: 60)
        return answer.status == 0 ? try JSONValue(parsing: answer.out)["state"]?.stringValue ?? "" : ""
      }
      func finish(_ run: String) throws {
        var last = ""
        try chaos.cluster.wait("the end of run \(run)", seconds: 300) {
          last = try state(run)
          return ["SUCCEEDED", "FAILED", "CANCELLED"].contains(last)
        }
        if last != "SUCCEEDED" { Issue.record("run \(run) is \(last): \(try chaos.cli(["runs", "get", run]).all)") }
      }
      func tables() throws -> String {
        var text = ""
        for query in ["path, sha256 from main.demo.documents", "chunk_id, text, split from main.demo.chunks", "* from main.demo.words"] {
          let answer = try chaos.cli(["sql", "select \(query) order by all", "-o", "csv"])
          guard answer.status == 0 else { throw PlatformError(.internalError, "\(query): \(answer.all)") }
          text += answer.out
        }
        return text
      }
      try finish(try #require(try submit()))
      let undisturbed = try tables()
      #expect(undisturbed.count > 1000)
      #expect(try chaos.cli(["sql", "create table main.demo.kept (i bigint)"]).status == 0)

      // Work goes on all the time: the workflow again and again, and inserts of which each acknowledged one has to be there.
      let isOver = Mutex(false)
      let acknowledged = Mutex<[Int]>([])
      let runs = Mutex<[String]>([])
      let clients = DispatchGroup()
      clients.enter()
      Thread.detachNewThread {
        var number = 0
        while !isOver.withLock({ $0 }) {
          number += 1
          let body = #"{"statement": "insert into main.demo.kept values (\#(number))", "wait_timeout": "40s", "on_wait_timeout": "CANCEL"}"#
          let answer = try? chaos.http("POST", "/api/2.0/sql/statements", body: body, coordinator: number % 2)  // nobody there: not acknowledged
          guard answer?.status == 200, answer?.body.contains(#""state":"SUCCEEDED""#) == true else {
            usleep(100_000)
            continue
          }
          acknowledged.withLock { $0.append(number) }
        }
        clients.leave()
      }
      clients.enter()
      Thread.detachNewThread {
        while !isOver.withLock({ $0 }) {
          guard let run = (try? submit()) ?? nil else { continue }  // nobody there: again
          runs.withLock { $0.append(run) }
          while !isOver.withLock({ $0 }), let now = try? state(run), !["SUCCEEDED", "FAILED", "CANCELLED"].contains(now) { usleep(200_000) }
        }
        clients.leave()
      }

      var random = SplitMix64(seed: seed)
      var log: [String] = []
      for turn in 0..<faults {
        let fault = Fault.allCases[turn % Fault.allCases.count]
        let node = Int.random(in: 1...2, using: &random)
        let lasts = UInt32.random(in: 500_000...5_000_000, using: &random)
        log.append("\(fault) of \(node) for \(lasts / 1000) ms")
        switch fault {
        case .cutOff:
          try chaos.setLink(of: node, up: false)
          usleep(lasts)
          try chaos.setLink(of: node, up: true)
        case .stopWorker: stop(chaos.worker(node), lasts)
        case .stopLeader: stop(chaos.coordinator(node - 1), lasts)
        case .killWorker: chaos.worker(node).map { _ = kill($0, SIGKILL) }
        case .killExecutor: chaos.executor(node).map { _ = kill($0, SIGKILL) }
        case .killCoordinator: chaos.coordinator(node - 1).map { _ = kill($0, SIGKILL) }
        case .killPostgres: try? chaos.cluster.postgresProcesses().first.map { _ = kill($0, SIGKILL) }  // just killed: none
        }
        usleep(UInt32.random(in: 200_000...2_000_000, using: &random))
      }
      try chaos.cluster.wait("quiet: \(log)", seconds: 120) { try chaos.readyNodes() == 2 }
      isOver.withLock { $0 = true }
      #expect(clients.wait(timeout: .now() + 180) == .success)
      for run in runs.withLock({ $0 }) { try finish(run) }
      #expect(try tables() == undisturbed, "seed \(seed): \(log)")
      let rows = try chaos.cli(["sql", "select i from main.demo.kept order by i", "-o", "csv"])
      let kept = rows.out.split(whereSeparator: \.isNewline).compactMap { Int($0) }
      #expect(Set(kept).count == kept.count, "seed \(seed): doubled, \(log)")
      #expect(Set(acknowledged.withLock { $0 }).isSubset(of: kept), "seed \(seed): lost, \(log)")
      #expect(acknowledged.withLock { $0.count } > 0)
      let (ended, known) = (runs.withLock { $0.count }, acknowledged.withLock { $0.count })
      print("      \(faults) faults of seed \(seed): \(ended) runs, \(known) inserts acknowledged, \(kept.count) there")
    }

    private func stop(_ process: Int32?, _ microseconds: UInt32) {
      guard let process else { return }
      kill(process, SIGSTOP)
      usleep(microseconds)
      kill(process, SIGCONT)
    }
  }
}
