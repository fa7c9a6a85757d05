// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Coordinator

@Suite struct StatementQueueTests {
  private func queue(_ slots: [String: Int]) -> StatementQueue {
    var queue = StatementQueue()
    for (name, count) in slots.sorted(by: { $0.key < $1.key }) { _ = queue.workerUp(name, slots: count) }
    return queue
  }

  private func workers(_ effects: [StatementQueue.Effect]) -> [String] {
    effects.compactMap { if case .send(_, _, let worker) = $0 { worker } else { nil } }
  }

  @Test func statementsGoWhereThereIsMostRoom() throws {
    var queue = queue(["a": 2, "b": 4])
    var placed: [String] = []
    for index in 0..<6 { placed += workers(try queue.submit("s\(index)", now: 0)) }
    #expect(placed.filter { $0 == "a" }.count == 2)
    #expect(placed.filter { $0 == "b" }.count == 4)
    #expect(try queue.submit("waits", now: 0).isEmpty)
    #expect(queue.waitingCount == 1)
    let (counts, effects) = queue.finished("s0", attempt: 1, worker: placed[0], isLost: false)
    #expect(counts)
    #expect(effects == [.send(id: "waits", attempt: 1, worker: placed[0])])
  }

  @Test func aFullQueueRefusesByNumber() throws {
    var queue = StatementQueue()
    for index in 0..<StatementQueue.waitingLimit { _ = try queue.submit("s\(index)", now: 0) }
    #expect { try queue.submit("one too many", now: 0) } throws: { ($0 as? PlatformError)?.number == "PLT-3230" }
  }

  @Test func aLostWorkersStatementRunsOnceMoreAndThenFails() throws {
    var queue = queue(["a": 1, "b": 1])
    #expect(try queue.submit("s", now: 0) == [.send(id: "s", attempt: 1, worker: "a")])
    #expect(queue.workerDown("a") == [.send(id: "s", attempt: 2, worker: "b")])
    // The first attempt's late answer changes nothing.
    #expect(queue.finished("s", attempt: 1, worker: "a", isLost: false).counts == false)
    guard case .fail("s", let error)? = queue.workerDown("b").first else { return #expect(Bool(false), "the second loss is the end") }
    #expect(error.number == "PLT-3232")
    #expect(queue.runningCount == 0 && queue.waitingCount == 0)
  }

  @Test func anExecutorThatDiesIsNotTheEndOfItsStatement() throws {
    var queue = queue(["a": 1])
    _ = try queue.submit("s", now: 0)
    let (counts, effects) = queue.finished("s", attempt: 1, worker: "a", isLost: true)
    #expect(!counts)
    #expect(effects == [.send(id: "s", attempt: 2, worker: "a")])
  }

  @Test func aCancelledStatementKeepsItsSlotUntilTheWorkerAnswers() throws {
    var queue = queue(["a": 1])
    _ = try queue.submit("s", now: 0)
    #expect(try queue.submit("next", now: 0).isEmpty)
    #expect(queue.cancel("s") == [.cancel(id: "s", attempt: 1, worker: "a")])
    let (counts, effects) = queue.finished("s", attempt: 1, worker: "a", isLost: false)
    #expect(!counts)
    #expect(effects == [.send(id: "next", attempt: 1, worker: "a")])
    #expect(queue.cancel("unknown").isEmpty)
  }

  @Test func withoutWorkersAStatementWaitsOnlySoLong() throws {
    var queue = StatementQueue()
    _ = try queue.submit("s", now: 1000)
    #expect(queue.tick(now: 1000 + StatementQueue.workerMilliseconds).isEmpty)
    guard case .fail("s", _)? = queue.tick(now: 1001 + StatementQueue.workerMilliseconds).first else {
      return #expect(Bool(false), "it has waited long enough")
    }
    #expect(queue.workerUp("a", slots: 1).isEmpty)
  }

  /// Random events: never more on a worker than it has room for, and every statement ends exactly once.
  @Test(arguments: [1, 7, 42, 1234] as [UInt64]) func noStatementIsLostOrDoubled(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    var queue = queue(["a": 2, "b": 3])
    var placed: [String: (attempt: Int, worker: String)] = [:]
    var open: Set<String> = []
    var next = 0
    func apply(_ effects: [StatementQueue.Effect]) {
      for effect in effects {
        switch effect {
        case .send(let id, let attempt, let worker):
          #expect(open.contains(id), "a statement that has ended was sent")
          placed[id] = (attempt, worker)
        case .fail(let id, _): #expect(open.remove(id) != nil)
        case .cancel: break
        }
      }
    }
    for _ in 0..<2000 {
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<4:
        next += 1
        open.insert("s\(next)")
        do { apply(try queue.submit("s\(next)", now: 0)) } catch { open.remove("s\(next)") }
      case 4..<8:
        guard let (id, place) = placed.sorted(by: { $0.key < $1.key }).randomElement(using: &random) else { continue }
        placed[id] = nil
        let (counts, effects) = queue.finished(
          id, attempt: place.attempt, worker: place.worker, isLost: Int.random(in: 0..<4, using: &random) == 0)
        if counts { #expect(open.remove(id) != nil) }
        apply(effects)
      case 8: apply(queue.workerDown(Bool.random(using: &random) ? "a" : "b"))
      default:
        let name = Bool.random(using: &random) ? "a" : "b"
        apply(queue.workerUp(name, slots: name == "a" ? 2 : 3))
      }
      #expect(queue.runningCount <= 5)
    }
    apply(queue.workerUp("c", slots: 10_000))
    for (id, place) in placed { if queue.finished(id, attempt: place.attempt, worker: place.worker, isLost: false).counts { open.remove(id) } }
    #expect(open.isEmpty && queue.waitingCount == 0)
  }
}
