// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// Replicas that consist of several ranks.
@Suite struct RankTests {
  private func spec(_ payload: JSONValue = 1, replicas: Int = 1, ranks: Int? = 2, cpus: Double? = nil) -> ServiceSpec {
    ServiceSpec(
      name: "s", kind: "serve", payload: payload, replicas: replicas, demand: cpus.map { Demand(cpus: $0) }, ranks: ranks)
  }

  private func listen(_ bench: inout Bench, _ one: Assignment) {
    bench.send(.unitReady(worker: one.worker, unit: one.unit, attempt: one.attempt, address: "\(one.unit)#\(one.attempt)", publicKey: "k"))
  }

  private func serve(_ bench: inout Bench, _ one: Assignment) {
    bench.send(.unitReady(worker: one.worker, unit: one.unit, attempt: one.attempt, address: "serving", publicKey: "s"))
  }

  private func table(_ bench: Bench) -> PeerTable? {
    bench.effects.compactMap { if case .peerTable(let table) = $0 { table } else { nil } }.first
  }

  private func announced(_ effects: [Effect]) -> [ReadyReplica] { effects.compactMap { if case .replicaReady(let one) = $0 { one } else { nil } } }
  private func gone(_ effects: [Effect]) -> [String] { effects.compactMap { if case .replicaGone(_, let unit, _) = $0 { unit } else { nil } } }

  /// A replica of two ranks that serves.
  private func serving(_ bench: inout Bench, _ wanted: ServiceSpec) throws -> [Assignment] {
    bench.send(.serviceSet(wanted))
    let ranks = bench.assignments
    #expect(ranks.map(\.unit) == ["service/s/0", "service/s/0/1"])
    for one in ranks { listen(&bench, one) }
    serve(&bench, try #require(ranks.first))
    return ranks
  }

  @Test func ranksMeetBeforeTheReplicaServes() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    bench.send(.serviceSet(spec()))
    let ranks = bench.assignments
    // There is room for both on one worker.
    #expect(ranks.map(\.worker) == ["a", "a"])
    #expect(ranks.map { $0.gang?.rank } == [0, 1] && ranks.allSatisfy { $0.gang?.size == 2 && $0.gang?.gang == "service/s/0" && $0.gang?.generation == 1 })
    listen(&bench, ranks[1])
    #expect(table(bench) == nil)
    // Rank 0 is no replica yet, whatever it says.
    listen(&bench, ranks[0])
    #expect(announced(bench.effects).isEmpty)
    let met = try #require(table(bench))
    #expect(met.members.map(\.hostID) == ["h", "h"])
    #expect(met.members.map(\.address) == ["service/s/0#1", "service/s/0/1#1"] && met.generation == 1)
    // A rank that repeats its report did not get the table.
    listen(&bench, ranks[1])
    #expect(table(bench) == met)
    #expect(bench.replicas(of: "s").isEmpty)
    serve(&bench, ranks[0])
    #expect(announced(bench.effects).map(\.address) == ["serving"])
    #expect(announced(bench.effects).map(\.unit) == ["service/s/0"])
    #expect(bench.replicas(of: "s") == ["a": 2])
  }

  @Test func ranksGoToSeveralWorkersWhenNoneHasRoomForAll() throws {
    var bench = Bench()
    bench.join("a", slots: 2)
    // Only one of them fits: all or none.
    bench.send(.serviceSet(spec(cpus: 2)))
    #expect(bench.assignments.isEmpty)
    bench.join("b", slots: 3)
    #expect(bench.assignments.map(\.worker).sorted() == ["a", "b"])
    // As few workers as possible.
    bench.join("c", slots: 4)
    bench.join("d", slots: 8)
    bench.send(.serviceSet(ServiceSpec(name: "t", kind: "serve", payload: 1, replicas: 1, demand: Demand(cpus: 2), ranks: 6)))
    #expect(Dictionary(grouping: bench.assignments, by: \.worker).mapValues(\.count) == ["c": 2, "d": 4])
  }

  @Test func aRankThatEndsTakesTheOthersWithIt() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    let first = try serving(&bench, spec(cpus: 2))
    bench.finish(first[1], .failed(PlatformError(.unavailable, "ended with signal 9")))
    #expect(gone(bench.effects) == ["service/s/0"])
    #expect(bench.cancelled == ["service/s/0"])
    // What rank 0 says of its end, or of its beginning, changes nothing any more.
    bench.finish(first[0], .failed(PlatformError(.unavailable, "rank 1 has gone")))
    serve(&bench, first[0])
    #expect(announced(bench.effects).isEmpty)
    #expect(bench.unit("service/s/0")?.failures == 1)
    let again = try #require(bench.wait(upTo: 60_000) { if case .assign = $0 { true } else { false } })
    #expect(again > bench.now - 1)
    let second = bench.assignments
    #expect(second.map { $0.gang?.generation } == [2, 2] && second.map(\.attempt) == [2, 2])
    for one in second { listen(&bench, one) }
    // They are on two workers, which need not see the same memory.
    #expect(table(bench)?.generation == 2 && table(bench)?.members.map(\.hostID) == ["", ""])
    serve(&bench, second[0])
    #expect(announced(bench.effects).count == 1)
  }

  @Test func aWorkerThatIsLostEndsTheReplicaElsewhereToo() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    let first = try serving(&bench, spec(cpus: 2))
    bench.join("c")
    let other = try #require(first.last?.worker)
    bench.send(.workerLost(worker: other, incarnation: 1))
    #expect(gone(bench.effects) == ["service/s/0"])
    #expect(bench.cancelled.contains("service/s/0"))
    // The old rank 0 still has its processors until it says that it ended, and a rank that is lost is no failure.
    #expect(bench.unit("service/s/0")?.failures == 0 && bench.unit("service/s/0")?.losses == 1)
    bench.finish(first[0], .cancelled)
    #expect(bench.assignments.count == 2 && bench.assignments.allSatisfy { $0.worker != other && $0.attempt == 2 })
  }

  @Test func aSilentWorkerOfAnyRankTakesTheReplicaOutOfTheRoute() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    let ranks = try serving(&bench, spec(cpus: 2))
    let (lead, other) = (try #require(ranks.first), try #require(ranks.last))
    let held = UnitAttempt(unit: lead.unit, attempt: 1)
    var effects = bench.pass(5_000, alive: [lead.worker: [held]])
    #expect(gone(effects).contains("service/s/0"))
    effects = bench.pass(1_000, alive: [lead.worker: [held], other.worker: [UnitAttempt(unit: other.unit, attempt: 1)]])
    #expect(announced(effects).contains { $0.unit == "service/s/0" && $0.address == "serving" })
  }

  @Test func aChangeOfTheNumberOfRanksRollsAndDrainsRankZeroOnly() throws {
    var bench = Bench()
    bench.join("a")
    let old = try serving(&bench, spec())
    bench.send(.serviceSet(spec(ranks: 4)))
    let new = bench.assignments
    #expect(new.map(\.unit) == ["service/s/1", "service/s/1/1", "service/s/1/2", "service/s/1/3"])
    for one in new { listen(&bench, one) }
    #expect(gone(bench.effects).isEmpty)
    serve(&bench, new[0])
    #expect(gone(bench.effects) == ["service/s/0"])
    #expect(bench.effects.contains { if case .drainReplica(_, "service/s/0", _) = $0 { true } else { false } })
    // The router hears that it drains before it hears that it goes.
    let order = bench.effects.compactMap { effect -> String? in
      switch effect {
      case .drainReplica: "drain"
      case .replicaGone: "gone"
      default: nil
      }
    }
    #expect(order == ["drain", "gone"])
    bench.finish(old[0])
    #expect(bench.cancelled == ["service/s/0/1"])
    #expect(bench.unit("service/s/0/1")?.state == .ended)
    // One rank is a replica as it ever was.
    bench.send(.serviceSet(spec(ranks: 1)))
    let single = try #require(bench.assignments.first)
    #expect(bench.assignments.count == 1 && single.gang == nil)
    bench.ready(single)
    #expect(announced(bench.effects).map(\.unit) == ["service/s/2"])
  }

  @Test func aReplicaThatDoesNotServeYetIsStoppedNotDrained() throws {
    var bench = Bench()
    bench.join("a")
    bench.send(.serviceSet(spec()))
    listen(&bench, try #require(bench.assignments.first))
    bench.send(.serviceRemoved(name: "s"))
    #expect(bench.cancelled == ["service/s/0", "service/s/0/1"])
    #expect(!bench.effects.contains { if case .drainReplica = $0 { true } else { false } })
  }

  @Test func anotherSchedulerKnowsTheRanks() throws {
    var bench = Bench()
    bench.join("a")
    bench.join("b")
    let ranks = try serving(&bench, spec(cpus: 2))
    let held = Dictionary(grouping: ranks, by: \.worker).mapValues { $0.map { UnitAttempt(unit: $0.unit, attempt: $0.attempt) } }
    bench.restart()
    for (worker, units) in held.sorted(by: { $0.key < $1.key }) { bench.join(worker, held: units) }
    #expect(bench.assignments.isEmpty && bench.cancelled.isEmpty)
    serve(&bench, ranks[0])
    #expect(announced(bench.effects).map(\.address) == ["serving"])
    // Before the ranks had met: the next one sends the table.
    var early = Bench()
    early.join("a")
    early.send(.serviceSet(spec()))
    let both = early.assignments
    for one in both { listen(&early, one) }
    early.restart()
    early.join("a", held: both.map { UnitAttempt(unit: $0.unit, attempt: $0.attempt) })
    listen(&early, both[1])
    #expect(table(early)?.members.count == 2)
  }
}
