// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Several coordinators on one Postgres: any of them takes requests, and another one leads when the first dies or freezes.
  @Suite(.serialized) struct StandbyTests {
    @Test func aKilledAndAFrozenLeaderAreReplaced() throws {
      let cluster = try LocalCluster("standby")
      #expect(try cluster.start(workers: 2, ["--coordinators", "2"]).status == 0)
      let all = [cluster.http, try cluster.otherCoordinator()]
      try cluster.wait("two coordinators") { cluster.processes(["coordinator"]).count == 2 }
      func status(_ address: String) throws -> JSONValue? {
        let answer = try LocalCluster.call(address, "GET", "/api/2.0/status", token: cluster.token)
        return answer.status == 200 ? try JSONValue(parsing: answer.body) : nil
      }
      func sameEpoch() throws -> Bool {
        guard let one = try status(all[0])?["epoch"] else { return false }
        return try status(all[1])?["epoch"] == one
      }
      var (leader, standby) = try cluster.roles(all)
      // What goes through the one that stands by is what the leader says.
      try cluster.wait("one answer of both", sameEpoch)
      for address in all {
        try cluster.wait("\(address) to be ready") { try LocalCluster.call(address, "GET", "/readyz", token: nil).status == 200 }
        try cluster.wait("401 of \(address)") { try LocalCluster.call(address, "GET", "/api/2.0/status", token: "plt_wrong").status == 401 }
        try cluster.wait("404 of \(address)") { try LocalCluster.call(address, "GET", "/api/2.2/jobs/get?job_id=99", token: cluster.token).status >= 400 }
        // Sent as it happens, not when it is over.
        let command = "curl -s -N --max-time 60 http://\(address)/api/2.0/console/events -H 'Authorization: Bearer \(cluster.token)' | grep -m 1 data:"
        #expect(try LocalCluster.run("/bin/sh", ["-c", command], timeout: 90).out.contains("data:"), "\(address)")
      }
      let through = ["PLATFORM_HOST": "http://\(standby)", "PLATFORM_TOKEN": cluster.token]
      // Larger than any buffer on the way, there and back.
      let large = cluster.folder.file("large")
      var random = SplitMix64(seed: 7)
      let bytes = Data((0..<(3 << 20)).map { _ in UInt8.random(in: 0...255, using: &random) })
      try bytes.write(to: URL(fileURLWithPath: large))
      #expect(try cluster.cli(["volumes", "create", "main.default.files"], environment: through).status == 0)
      let up = try cluster.cli(["fs", "cp", large, "/Volumes/main/default/files/large"], environment: through)
      #expect(up.status == 0, "\(up.all)")
      let down = try cluster.cli(["fs", "cp", "/Volumes/main/default/files/large", large + ".back"], environment: through)
      #expect(down.status == 0 && FileManager.default.contents(atPath: large + ".back") == bytes, "\(down.all)")

      (leader, standby) = try cluster.roles(all)
      let ledger = try InsertLedger(cluster, table: "main.default.kept", addresses: [standby])
      try ledger.advance(cluster, by: 3)
      let statement = "select count(*) as n, sum(hash(range) % 1000)::bigint as s from range(20000000)"
      func submit() throws -> String {
        let file = try cluster.write(
          "job.yml",
          """
          resources:
            jobs:
              j:
                name: n
                tasks:
                  - task_key: ingest
                    ingest_task: { input: "\(try cluster.documents(60))", table: main.demo.documents }
                  - task_key: heavy
                    sql_task: { statement: "create or replace table main.default.heavy as \(statement)" }
                  - task_key: prepare
                    depends_on: [ { task_key: ingest } ]
                    prepare_task: { source: main.demo.documents, output: main.demo.chunks, chunk_tokens: 60, overlap: 8 }
          """)
        let answer = try cluster.cli(["submit", file], environment: through)
        guard answer.status == 0 else { throw PlatformError(.internalError, "submit: \(answer.all)") }
        return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      func finish(_ run: String) throws {
        var state = ""
        try cluster.wait("the end of run \(run)", seconds: 240) {
          let there = ["PLATFORM_HOST": "http://\(standby)", "PLATFORM_TOKEN": cluster.token]
          let answer = try cluster.cli(["runs", "get", run, "-o", "json"], environment: there)
          guard answer.status == 0 else { return false }
          state = try JSONValue(parsing: answer.out)["state"]?.stringValue ?? ""
          return ["SUCCEEDED", "FAILED", "CANCELLED"].contains(state)
        }
        #expect(state == "SUCCEEDED")
      }
      func counts() throws -> [JSONValue] {
        try ["count(*) from main.demo.documents", "count(*) from main.demo.chunks", "n from main.default.heavy", "s from main.default.heavy"].map {
          try cluster.scalar("select " + $0)
        }
      }
      try finish(try submit())
      let undisturbed = try counts()
      let epoch = try #require(try status(standby)?["epoch"]?.intValue)

      // Killed.
      var run = try submit()
      kill(try cluster.coordinator(leader), SIGKILL)
      let killed = Date()
      // The standby, or the dead one's successor, which is started at once: whoever comes first when the lease ends.
      try cluster.wait("the next epoch") { try (status(standby)?["epoch"]?.intValue ?? 0) > epoch }
      note("somebody else led \(String(format: "%.1f", Date().timeIntervalSince(killed))) s after the leader was killed")
      try ledger.advance(cluster, by: 3)
      try finish(run)
      #expect(try counts() == undisturbed)
      try cluster.wait("both, one as a standby", sameEpoch)
      #expect(try ledger.verdict(cluster) == nil)

      // Frozen for longer than the lease, and woken again.
      run = try submit()
      var frozen: Int32 = 0
      try cluster.wait("a frozen leader") {
        (leader, standby) = try cluster.roles(all)
        frozen = try cluster.coordinator(leader)
        kill(frozen, SIGSTOP)
        // It may have lost its turn in that moment.
        if try cluster.leader(evenLate: true) == leader { return true }
        kill(frozen, SIGCONT)
        return false
      }
      defer { kill(frozen, SIGCONT) }
      let stopped = Date()
      try cluster.wait("the other's turn") { try cluster.leader() == standby && status(standby) != nil }
      note("the standby led \(String(format: "%.1f", Date().timeIntervalSince(stopped))) s after the leader was frozen")
      let other = try InsertLedger(cluster, table: "main.default.others", addresses: [standby])
      try other.advance(cluster, by: 3)
      kill(frozen, SIGCONT)
      try cluster.wait("the end of the woken one") { kill(frozen, 0) != 0 || LocalCluster.isZombie(frozen) }
      try finish(run)
      #expect(try counts() == undisturbed)
      try cluster.wait("the woken one as a standby", sameEpoch)
      #expect(try other.verdict(cluster) == nil)
      let down2 = try cluster.cli(["down"])
      #expect(down2.status == 0 && cluster.processes([]).isEmpty, "\(down2.all)")
    }

    /// For whoever reads the log; nothing depends on it.
    private func note(_ text: String) { print("      \(text)") }
  }
}

extension LocalCluster {
  /// The second coordinator's address for clients.
  func otherCoordinator() throws -> String {
    let parts = http.split(separator: ":")
    return "\(parts[0]):\(Int(parts[1])! + 10)"
  }

  /// The process of the coordinator at an address.
  func coordinator(_ address: String) throws -> Int32 {
    guard let found = processes(["coordinator", "--bind", address]).first else { throw PlatformError(.notFound, "no coordinator at \(address)") }
    return found
  }

  /// The addresses of the one that leads and of the other one.
  func roles(_ all: [String]) throws -> (leader: String, standby: String) {
    var found = ""
    try wait("a leader") {
      found = try leader()
      return all.contains(found)
    }
    return (found, all.first { $0 != found } ?? "")
  }

  /// The address of the coordinator that holds the lease; empty when nobody does.
  /// - Parameter evenLate: also when it has run out.
  func leader(evenLate: Bool = false) throws -> String {
    let query = "SELECT http FROM platform.scheduler_lease" + (evenLate ? "" : " WHERE expires_at > clock_timestamp()")
    let answer = try Self.run("/usr/bin/psql", ["-h", data + "/pg", "-U", "platform", "-d", "platform", "-At", "-c", query], timeout: 30)
    guard answer.status == 0 else { throw PlatformError(.internalError, "psql: \(answer.all)") }
    return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Ended, and not waited for yet.
  static func isZombie(_ process: Int32) -> Bool {
    guard let text = FileManager.default.contents(atPath: "/proc/\(process)/stat").map({ String(decoding: $0, as: UTF8.self) }) else { return true }
    return text.split(separator: ")").last?.split(separator: " ").first == "Z"
  }
}
