// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
  /// The database dies, or falls silent, while the cluster works: nobody has to restart anything, and nothing acknowledged is lost.
  @Suite(.serialized) struct PostgresOutageTests {
    @Test func aKilledAndAFrozenPostgresAreWaitedFor() throws {
      let cluster = try LocalCluster("pgaway")
      #expect(try cluster.start(workers: 1).status == 0)
      let before = ["coordinator", "worker"].flatMap { cluster.processes([$0]) }.sorted()
      let ledger = try InsertLedger(cluster, table: "main.default.kept")
      try ledger.advance(cluster, by: 5)
      // A job that is under way meanwhile.
      let run = try cluster.submit(
        """
        resources:
          jobs:
            j:
              name: n
              tasks:
                - task_key: long
                  sql_task: { statement: "create table main.default.made as select count(*) as n from range(1000)" }
        """)

      kill(try cluster.postgresProcesses()[0], SIGKILL)
      // Waits for the new server instead of failing.
      let bridged = try LocalCluster.call(cluster.http, "GET", "/api/2.1/unity-catalog/catalogs", token: cluster.token)
      #expect(bridged.status == 200 || bridged.status == 503, "\(bridged)")
      try ledger.advance(cluster, by: 5)
      #expect(try cluster.finish(run)["state"] == "SUCCEEDED")

      // Stopped: connections stay open, and nobody answers.
      let frozen = try cluster.postgresProcesses()
      for process in frozen { kill(process, SIGSTOP) }
      defer { for process in frozen { kill(process, SIGCONT) } }
      try cluster.wait("unreadiness") { try LocalCluster.call(cluster.http, "GET", "/readyz", token: nil).status == 503 }
      let answers = Mutex<[String: (status: Int, headers: String, body: String)]>([:])
      DispatchQueue.concurrentPerform(iterations: 3) { index in
        let path = ["/api/2.1/unity-catalog/catalogs", "/api/2.2/jobs/list", "/v1/models"][index]
        // A token that nobody has seen: it cannot be checked now.
        let token = path == "/v1/models" ? "plt_never_seen" : cluster.token
        let answer = try? LocalCluster.call(cluster.http, "GET", path, token: token)  // none is seen below
        answers.withLock { $0[path] = answer }
      }
      for (path, answer) in answers.withLock({ $0 }) {
        #expect(answer.status == 503 && answer.headers.contains("retry-after: ") && answer.body.contains("PLT-1109"), "\(path): \(answer)")
        #expect(answer.body.contains(path == "/v1/models" ? #""type":"server_error""# : #""error_code":"TEMPORARILY_UNAVAILABLE""#), "\(path): \(answer)")
      }
      #expect(answers.withLock { $0.count } == 3)
      #expect(try LocalCluster.call(cluster.http, "GET", "/livez", token: nil).status == 200)
      // What needs no database goes on for whoever was known.
      #expect(try LocalCluster.call(cluster.http, "POST", "/v1/completions", token: cluster.token, body: #"{"model": "none", "prompt": "x"}"#).status == 404)
      for process in frozen { kill(process, SIGCONT) }
      try cluster.wait("readiness") { try LocalCluster.call(cluster.http, "GET", "/readyz", token: nil).status == 200 }
      try ledger.advance(cluster, by: 5)
      #expect(try ledger.verdict(cluster) == nil)
      #expect(try cluster.scalar("select n from main.default.made") == 1000)
      #expect(["coordinator", "worker"].flatMap { cluster.processes([$0]) }.sorted() == before, "nobody was restarted")
    }
  }
}
