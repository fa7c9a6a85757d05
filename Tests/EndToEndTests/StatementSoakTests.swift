// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport
import Testing

extension EndToEnd {
  /// Clients change one table by statements while executors, workers and the coordinator are killed. At the end the table's history must
  /// read as changes made one after the other: all that was acknowledged is in it once, what was not is wholly in it or not at all, and nothing
  /// else is. `SOAK_SECONDS` (8) and `SOAK_CLIENTS` (6).
  @Suite(.serialized) struct StatementSoakTests {
    static let seconds = ProcessInfo.processInfo.environment["SOAK_SECONDS"].flatMap(Double.init) ?? 8
    static let clients = ProcessInfo.processInfo.environment["SOAK_CLIENTS"].flatMap(Int.init) ?? 6
    static let table = "main.demo.soak"

    struct Row: Equatable {
      var value: Int
      /// How many changes it has seen, and the last of them.
      var changes: Int
      var last: String
    }
    typealias Rows = [String: Row]

    /// A function of the rows before it, and the statement that does the same.
    struct Change: Sendable {
      enum Kind: CaseIterable { case append, update, updateMany, delete, merge }
      var id = "c-" + UUID().uuidString.lowercased().prefix(13)
      var kind: Kind
      var keys: [String] = []
      var amount: Int

      init(_ kind: Kind, known: [String]) {
        self.kind = kind
        amount = Int.random(in: 1..<100)
        switch kind {
        case .append: keys = ["\(id)-a", "\(id)-b"]
        case .update, .delete: keys = [known.randomElement() ?? "shared-0"]
        case .updateMany: break
        // Keys that everybody uses: whether they are there depends on all files.
        case .merge: keys = (0..<8).shuffled().prefix(3).map { "shared-\($0)" }
        }
      }

      func apply(to rows: inout Rows) {
        func add(_ key: String) { rows[key] = Row(value: (rows[key]?.value ?? 0) + amount, changes: (rows[key]?.changes ?? 0) + 1, last: id) }
        switch kind {
        case .append, .merge: keys.forEach(add)
        case .update: for key in keys where rows[key] != nil { add(key) }
        case .updateMany: for (key, row) in rows where row.value % 7 == amount % 7 { add(key) }
        case .delete: for key in keys { rows[key] = nil }
        }
      }

      /// Conditions name the change, so that the history does.
      var sql: String {
        let set = "set v = v + \(amount), n = n + 1, last = '\(id)'"
        switch kind {
        case .append: return "insert into \(table) values " + keys.map { "('\($0)', \(amount), 1, '\(id)')" }.joined(separator: ", ")
        case .update: return "update \(table) \(set) where k = '\(keys[0])' and '\(id)' <> ''"
        case .updateMany: return "update \(table) \(set) where v % 7 = \(amount % 7) and '\(id)' <> ''"
        case .delete: return "delete from \(table) where k = '\(keys[0])' and '\(id)' <> ''"
        case .merge:
          let source = keys.map { "('\($0)')" }.joined(separator: ", ")
          return """
            merge into \(table) as t using (select * from (values \(source)) as x(k)) as s on t.k = s.k
            when matched then update set v = t.v + \(amount), n = t.n + 1, last = '\(id)'
            when not matched then insert (k, v, n, last) values (s.k, \(amount), 1, '\(id)')
            """
        }
      }
    }

    enum Outcome: Equatable {
      case done(affected: Int)
      case failed(String)
      /// No answer: it may be in the table or not.
      case unknown
    }

    /// What clients tell one another and the test.
    final class Journal: Sendable {
      struct State {
        var changes: [String: Change] = [:]
        var outcomes: [String: Outcome] = [:]
        var known = (0..<8).map { "shared-\($0)" }
        var isOver = false
      }
      let state = Mutex(State())

      var acknowledged: Int { state.withLock { $0.outcomes.values.count { if case .done = $0 { true } else { false } } } }

      func begin() -> Change? {
        state.withLock { state in
          guard !state.isOver else { return nil }
          let change = Change(Change.Kind.allCases.randomElement()!, known: state.known)
          state.changes[change.id] = change
          return change
        }
      }

      func end(_ change: Change, _ outcome: Outcome) {
        state.withLock { state in
          state.outcomes[change.id] = outcome
          guard case .done = outcome else { return }
          if change.kind == .append { state.known += change.keys }
          if change.kind == .delete { state.known.removeAll { change.keys.contains($0) && !$0.hasPrefix("shared") } }
        }
      }
    }

    private static func ask(_ cluster: LocalCluster, _ token: String, _ change: Change) -> Outcome {
      let body: JSONValue = ["statement": .string(change.sql), "wait_timeout": "50s"]
      guard let answer = try? cluster.http("POST", "/api/2.0/sql/statements", token: token, body: body.sortedText), answer.status == 200,
        let value = try? JSONValue(parsing: answer.body)
      else { return .unknown }
      switch value["status"]?["state"]?.stringValue {
      case "SUCCEEDED":
        let cell = value["result"]?["data_array"]?.arrayValue?.first?.arrayValue?.first
        return .done(affected: cell?.intValue.map { Int($0) } ?? cell?.stringValue.flatMap { Int($0) } ?? -1)
      case "FAILED":
        return .failed("\(value["status"]?["error"]?["error_code"]?.stringValue ?? ""): \(value["status"]?["error"]?["message"]?.stringValue ?? "")")
      default: return .unknown
      }
    }

    private static func children(of parent: Int32) -> [Int32] {
      ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(parent)/task")) ?? []).flatMap { thread in  // it has just ended: none
        String(decoding: FileManager.default.contents(atPath: "/proc/\(parent)/task/\(thread)/children") ?? Data(), as: UTF8.self)
          .split(separator: " ").compactMap { Int32($0) }
      }
    }

    private func kill(_ cluster: LocalCluster, _ random: inout SplitMix64) -> String? {
      let workers = cluster.processes(["worker"])
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<60:
        let executors = workers.flatMap(Self.children)
        return executors.randomElement(using: &random).map { Foundation.kill($0, SIGKILL) == 0 ? "executor" : "" }
      case 60..<90: return workers.randomElement(using: &random).map { Foundation.kill($0, SIGKILL) == 0 ? "worker" : "" }
      default: return cluster.processes(["coordinator"]).first.map { Foundation.kill($0, SIGKILL) == 0 ? "coordinator" : "" }
      }
    }

    private func rows(_ cluster: LocalCluster, _ sql: String) throws -> [[JSONValue]] {
      var last: LocalCluster.Output?
      for _ in 0..<20 {
        let answer = try cluster.cli(["sql", sql, "-o", "json", "--limit", "10000000"])
        if answer.status == 0 { return try JSONValue(parsing: answer.out)["rows"]?.arrayValue?.map { $0.arrayValue ?? [] } ?? [] }
        last = answer
        usleep(500_000)
      }
      throw PlatformError(.internalError, "sql failed: \(last?.all ?? "")")
    }

    private func number(_ value: JSONValue) -> Int { value.intValue.map { Int($0) } ?? value.stringValue.flatMap { Int($0) } ?? .min }
    private func row(_ cells: ArraySlice<JSONValue>) -> (key: String, row: Row) {
      let cells = Array(cells)
      return (cells[0].stringValue ?? "", Row(value: number(cells[1]), changes: number(cells[2]), last: cells[3].stringValue ?? ""))
    }

    @Test func killedStatementsLeaveASerialHistory() throws {
      let cluster = try LocalCluster("soak")
      #expect(try cluster.start(workers: 2).status == 0)
      let made = try cluster.cli([
        "sql",
        """
        create table \(Self.table) (k string, v bigint, n bigint, last string)
        tblproperties ('delta.enableChangeDataFeed' = 'true', 'delta.isolationLevel' = 'Serializable', 'delta.enableDeletionVectors' = 'true',
          'delta.checkpointInterval' = '10')
        """,
      ])
      #expect(made.status == 0, "\(made.all)")
      let (journal, token) = (Journal(), cluster.token)
      let group = DispatchGroup()
      for _ in 0..<Self.clients {
        group.enter()
        Thread.detachNewThread {
          defer { group.leave() }
          while let change = journal.begin() {
            let outcome = Self.ask(cluster, token, change)
            journal.end(change, outcome)
            if outcome == .unknown { usleep(300_000) }
          }
        }
      }
      var random = SystemRandomNumberGenerator()
      var own = SplitMix64(seed: random.next())
      var kills: [String: Int] = [:]
      let end = ContinuousClock.now + .seconds(Self.seconds)
      while ContinuousClock.now < end {
        // In the midst of work: some was done since the last one died, or nothing is for long.
        let wanted = journal.acknowledged + Int.random(in: 1...12, using: &own)
        let patience = min(end, ContinuousClock.now + .seconds(10))
        while journal.acknowledged < wanted, ContinuousClock.now < patience { usleep(20_000) }
        usleep(UInt32.random(in: 0..<200_000, using: &own))
        if let victim = kill(cluster, &own) { kills[victim, default: 0] += 1 }
      }
      // On a busy machine little was done by then.
      let patience = ContinuousClock.now + .seconds(60)
      while journal.acknowledged < 20, ContinuousClock.now < patience { usleep(100_000) }
      journal.state.withLock { $0.isOver = true }
      group.wait()
      let (changes, outcomes) = journal.state.withLock { ($0.changes, $0.outcomes) }

      // One after the other, as the table's versions have them.
      let last = number(try #require(try rows(cluster, "describe history \(Self.table) limit 1").first?.first))
      let history = try rows(cluster, "describe history \(Self.table) limit \(last + 1)")
      var named: [Int: [String]] = [:]
      for entry in history {
        let text = entry[5].stringValue ?? entry.map(\.sortedText).joined()
        named[number(entry[0])] = text.matches(of: #/'(c-[0-9a-f-]{13})'/#).map { String($0.output.1) }
      }
      var (model, found): (Rows, [String: Int]) = ([:], [:])
      for start in stride(from: 1, through: last, by: 100) {
        let feed = try rows(
          cluster,
          "select k, v, n, last, _change_type, _commit_version from table_changes('\(Self.table)', \(start), \(min(start + 99, last))) order by _commit_version"
        )
        let byVersion = Dictionary(grouping: feed) { number($0[5]) }
        for version in start...min(start + 99, last) {
          let entries = byVersion[version] ?? []
          var actual = model
          for entry in entries where ["delete", "update_preimage"].contains(entry[4].stringValue) {
            let (key, old) = row(entry[0..<4])
            #expect(actual[key] == old, "version \(version) says of \(key) that it was \(old)")
            actual[key] = nil
          }
          for entry in entries where ["insert", "update_postimage"].contains(entry[4].stringValue) {
            let (key, new) = row(entry[0..<4])
            #expect(actual.updateValue(new, forKey: key) == nil, "version \(version) has \(key) twice")
          }
          let ids = Set(entries.filter { ["insert", "update_postimage"].contains($0[4].stringValue) }.map { $0[3].stringValue ?? "" }).union(
            named[version] ?? [])
          for id in ids {
            guard let change = changes[id] else {
              Issue.record("nobody made the change '\(id)' of version \(version)")
              continue
            }
            #expect(found.updateValue(version, forKey: id) == nil, "\(id) is there twice")
            change.apply(to: &model)
          }
          let wrong = Set(actual.keys).union(model.keys).filter { actual[$0] != model[$0] }
          #expect(
            wrong.isEmpty,
            """
            version \(version) is not what \(ids.map { changes[$0]?.sql ?? $0 }) make of the one before: \
            \(wrong.map { "\($0): \(actual[$0].map { "\($0)" } ?? "gone"), not \(model[$0].map { "\($0)" } ?? "gone")" })
            """)
          model = actual
        }
      }
      var present: Rows = [:]
      for entry in try rows(cluster, "select k, v, n, last from \(Self.table) version as of \(last)") {
        let (key, row) = row(entry[...])
        #expect(present.updateValue(row, forKey: key) == nil, "\(key) is there twice")
      }
      #expect(present == model)
      var counts: [String: Int] = [:]
      for (id, outcome) in outcomes {
        switch outcome {
        case .done(let affected):
          counts["done", default: 0] += 1
          #expect((affected > 0) == (found[id] != nil), "\(changes[id].map { "\($0)" } ?? id) was acknowledged with \(affected) rows")
        case .failed(let reason):
          counts["failed, \(reason.prefix { $0 != ":" })", default: 0] += 1
          // A coordinator that died may have committed it before.
          if found[id] != nil { #expect(reason.hasPrefix("TEMPORARILY_UNAVAILABLE"), "\(id) is in version \(found[id] ?? 0), and failed: \(reason)") }
        case .unknown: counts[found[id] == nil ? "no answer, not there" : "no answer, there", default: 0] += 1
        }
      }
      print("soak: \(last) versions, \(model.count) rows, killed \(kills), statements \(counts)")
      #expect(last >= 10 && counts["done", default: 0] >= 10, "\(counts), \(kills)")
    }
  }
}
