// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
  /// Three nodes on a network of their own, and faults from a seed: cut off, stopped, killed, without disk space, with a wrong clock. What
  /// comes out at the end is what comes out undisturbed. `make chaos` injects more of them, and some that last: CHAOS_FAULTS, CHAOS_SEED.
  @Suite(.serialized) struct ChaosTests {
    private enum Fault: CaseIterable {
      case cutOff, stopWorker, stopLeader, fillDisk, killWorker, killExecutor, skewClock, killCoordinator, killPostgres
    }

    /// Such faults come once each, spread over a long run.
    private enum LastingFault: CaseIterable {
      case cutOffFirst, cutOffSecond, cutOffThird, freezePostgres, takePostgresAway
      static let cutOffSeconds: UInt32 = 30
      static let postgresSeconds: UInt32 = 60
      /// Fewer faults are no long run.
      static let fewest = 60
    }

    @Test(.enabled(if: NamespaceCluster.obstacle == nil, "\(NamespaceCluster.obstacle ?? "")"))
    func whateverHappensTheTablesAreTheSame() throws {
      let environment = ProcessInfo.processInfo.environment
      let seed = environment["CHAOS_SEED"].flatMap { UInt64($0) } ?? 20
      let count = environment["CHAOS_FAULTS"].flatMap { Int($0) } ?? 15
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
                  min_retry_interval_millis: 200
                  ingest_task: { input: "\(documents)", table: main.demo.documents }
                - task_key: prepare
                  max_retries: 50
                  min_retry_interval_millis: 200
                  depends_on: [ { task_key: ingest } ]
                  prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 60, overlap: 8 }
                - task_key: words
                  max_retries: 50
                  min_retry_interval_millis: 200
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
      // What the others were told, and how often. Status 0: nobody was there.
      let refusals = Mutex<[String: Int]>([:])
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
            refusals.withLock { $0[Self.reason(answer), default: 0] += 1 }
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
      func note(_ text: String) {
        log.append(text)
        if count >= LastingFault.fewest { print("      \(log.count)  \(text)") }
      }
      let kinds = Fault.allCases.filter { ($0 != .fillDisk || chaos.hasDisks) && ($0 != .skewClock || chaos.hasClocks) }
      var lasting = count >= LastingFault.fewest ? LastingFault.allCases[...] : []
      for turn in 0..<count {
        let fault = kinds[turn % kinds.count]
        let node = Int.random(in: 1...2, using: &random)
        let any = Int.random(in: 0...2, using: &random)
        let lasts = UInt32.random(in: 500_000...5_000_000, using: &random)
        let days = Int64.random(in: -2...2, using: &random)
        let shift = days * 86_400 + Int64.random(in: -90...90, using: &random)
        switch fault {
        case .cutOff:
          note("\(node) cut off for \(lasts / 1000) ms")
          try chaos.setLink(of: node, up: false)
          usleep(lasts)
          try chaos.setLink(of: node, up: true)
        case .fillDisk:
          note("disk of \(any) full for \(lasts / 1000) ms")
          try chaos.setDisk(of: any, full: true)
          usleep(lasts)
          try chaos.setDisk(of: any, full: false)
        case .skewClock:
          note("clock of \(any) \(shift) s off for \(lasts / 1000) ms")
          try chaos.setClock(of: any, seconds: shift)
          usleep(lasts)
          try chaos.setClock(of: any, seconds: 0)
        case .stopWorker, .stopLeader:
          note("\(fault) of \(node) for \(lasts / 1000) ms")
          stop(fault == .stopWorker ? chaos.worker(node) : chaos.coordinator(node - 1), lasts)
        case .killWorker, .killExecutor, .killCoordinator, .killPostgres:
          note("\(fault) of \(node)")
          let victim: Int32? =
            switch fault {
            case .killWorker: chaos.worker(node)
            case .killExecutor: chaos.executor(node)
            case .killCoordinator: chaos.coordinator(node - 1)
            default: (try? chaos.cluster.postgresProcesses())?.first  // just killed: none
            }
          if let victim { kill(victim, SIGKILL) }
        }
        usleep(UInt32.random(in: 200_000...2_000_000, using: &random))
        if !lasting.isEmpty, (turn + 1) % (count / LastingFault.allCases.count) == 0 {
          let fault = lasting.removeFirst()
          note("\(fault)")
          try inject(fault, into: chaos)
          let begin = Date()
          try chaos.cluster.wait("readiness after \(fault)", seconds: 60) { try chaos.http("GET", "/readyz").status == 200 && chaos.readyNodes() == 2 }
          note("all was well \(Int(Date().timeIntervalSince(begin) * 1000)) ms after it")
        }
      }
      try chaos.cluster.wait("quiet: \(log)", seconds: 120) { try chaos.readyNodes() == 2 }
      isOver.withLock { $0 = true }
      #expect(clients.wait(timeout: .now() + 180) == .success)
      for run in runs.withLock({ $0 }) { try finish(run) }
      #expect(try tables() == undisturbed, "seed \(seed): \(log)")
      // In one row: of many the command shows a thousand.
      let rows = try chaos.cli(["sql", "select string_agg(i, ' ' order by i) as i from main.demo.kept", "-o", "csv"])
      let kept = rows.out.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
      #expect(Set(kept).count == kept.count, "seed \(seed): doubled, \(log)")
      #expect(Set(acknowledged.withLock { $0 }).isSubset(of: kept), "seed \(seed): lost, \(log)")
      #expect(acknowledged.withLock { $0.count } > 0)
      let (ended, known) = (runs.withLock { $0.count }, acknowledged.withLock { $0.count })
      print("      \(count) faults of seed \(seed): \(ended) runs, \(known) inserts acknowledged, \(kept.count) there")
      let told = refusals.withLock { $0.sorted { $0.key < $1.key } }
      if count >= LastingFault.fewest { for (reason, times) in told { print("      \(times) x \(reason)") } }
      #expect(!told.contains { $0.key.hasPrefix(Self.unclear) }, "\(told)")
    }

    private static let unclear = "no reason: "

    /// What an answer says of why it acknowledges nothing: the number of an error, at least.
    private static func reason(_ answer: (status: Int, body: String)?) -> String {
      guard let answer, answer.status != 0 else { return "nobody there" }
      guard let body = try? JSONValue(parsing: answer.body) else { return "\(unclear)\(answer.status) \(answer.body)" }
      let message = body["status"]?["error"]?["message"]?.stringValue ?? body["message"]?.stringValue ?? ""
      let state = body["status"]?["state"]?.stringValue ?? ""
      let number = answer.body.firstMatch(of: /PLT-[0-9]{4}/).map { String($0.output) }
      if number == nil, message.isEmpty, state != "CANCELED" { return "\(unclear)\(answer.status) \(answer.body)" }
      // Identifiers and times are no other reason.
      return "\(answer.status) \(state) \(number ?? "") \(message.replacing(/[0-9a-f-]*[0-9][0-9a-f-]*/, with: "N").prefix(240))"
    }

    private func inject(_ fault: LastingFault, into chaos: NamespaceCluster) throws {
      switch fault {
      case .cutOffFirst, .cutOffSecond, .cutOffThird:
        let node = LastingFault.allCases.firstIndex(of: fault)!
        try chaos.setLink(of: node, up: false)
        sleep(LastingFault.cutOffSeconds)
        try chaos.setLink(of: node, up: true)
      case .freezePostgres:
        let processes = try chaos.cluster.postgresProcesses()
        for process in processes { kill(process, SIGSTOP) }
        sleep(LastingFault.postgresSeconds)
        for process in processes { kill(process, SIGCONT) }
      case .takePostgresAway:
        try chaos.holdSupervisor(true)
        if let server = try chaos.cluster.postgresProcesses().first { kill(server, SIGKILL) }
        sleep(LastingFault.postgresSeconds)
        try chaos.holdSupervisor(false)
      }
    }

    private func stop(_ process: Int32?, _ microseconds: UInt32) {
      guard let process else { return }
      kill(process, SIGSTOP)
      usleep(microseconds)
      kill(process, SIGCONT)
    }
  }
}
