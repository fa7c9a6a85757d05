// SPDX-License-Identifier: Apache-2.0

import Core
import Serving
import Testing

@Suite struct RouterStateTests {
  private func replica(_ unit: String, attempt: Int = 1) -> RouterState.Replica {
    .init(unit: unit, attempt: attempt, node: "w", address: "tcp://127.0.0.1:1", publicKey: "k")
  }

  @Test func theLeastLoadedReplicaIsChosenAndTiesRotate() {
    var router = RouterState()
    for name in ["a", "b", "c"] { router.replicaReady(replica(name), endpoint: "e") }
    let first = (0..<3).map { _ in router.choose(endpoint: "e", work: 10)!.unit }
    #expect(Set(first) == ["a", "b", "c"])
    router.finished(unit: "b", attempt: 1, endpoint: "e", work: 10)
    #expect(router.choose(endpoint: "e", work: 10)?.unit == "b")
  }

  @Test func drainingAndExcludedReplicasAreNotOffered() {
    var router = RouterState()
    router.replicaReady(replica("a"), endpoint: "e")
    router.replicaReady(replica("b"), endpoint: "e")
    router.drain(unit: "a", endpoint: "e")
    #expect(router.choose(endpoint: "e", work: 1)?.unit == "b")
    #expect(router.choose(endpoint: "e", work: 1, excluding: ["b#1"]) == nil)
    #expect(router.choose(endpoint: "other", work: 1) == nil)
  }

  @Test func aDrainingReplicaIsForgottenWithItsLastRequest() {
    var router = RouterState()
    router.replicaReady(replica("a"), endpoint: "e")
    for _ in 0..<2 { _ = router.choose(endpoint: "e", work: 1) }
    router.drain(unit: "a", endpoint: "e")
    #expect(router.replicaGone(unit: "a", attempt: 1, endpoint: "e") == nil)
    #expect(router.finished(unit: "a", attempt: 1, endpoint: "e", work: 1) == nil && router.replicas(of: "e").map(\.outstanding) == [1])
    #expect(router.finished(unit: "a", attempt: 1, endpoint: "e", work: 1)?.unit == "a" && router.replicas(of: "e").isEmpty)
    // One that died has no last request, and one that drains without any goes at once.
    router.replicaReady(replica("b"), endpoint: "e")
    _ = router.choose(endpoint: "e", work: 1)
    #expect(router.replicaGone(unit: "b", attempt: 1, endpoint: "e")?.unit == "b")
    router.replicaReady(replica("c"), endpoint: "e")
    router.drain(unit: "c", endpoint: "e")
    #expect(router.replicaGone(unit: "c", attempt: 1, endpoint: "e")?.unit == "c")
  }

  @Test func anOlderAttemptCannotRemoveOrUnloadANewerOne() {
    var router = RouterState()
    router.replicaReady(replica("a", attempt: 1), endpoint: "e")
    _ = router.choose(endpoint: "e", work: 5)
    router.replicaReady(replica("a", attempt: 2), endpoint: "e")
    _ = router.choose(endpoint: "e", work: 5)
    router.finished(unit: "a", attempt: 1, endpoint: "e", work: 5)
    #expect(router.replicas(of: "e")[0].outstanding == 1)
    #expect(router.replicaGone(unit: "a", attempt: 1, endpoint: "e") == nil)
    #expect(router.replicas(of: "e").count == 1)
  }

  @Test func aRestartedReplicaIsOfferedToTheRequestThatItsPredecessorFailed() {
    var router = RouterState()
    router.replicaReady(replica("a", attempt: 1), endpoint: "e")
    #expect(router.choose(endpoint: "e", work: 1, excluding: ["a#1"]) == nil)
    router.replicaReady(replica("a", attempt: 2), endpoint: "e")
    #expect(router.choose(endpoint: "e", work: 1, excluding: ["a#1"])?.attempt == 2)
  }

  @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
  func bookedWorkNeverGoesNegativeAndEndsAtZero(seed: UInt64) {
    var random = SplitMix64(seed: seed)
    var router = RouterState()
    for name in 0..<4 { router.replicaReady(replica("r\(name)"), endpoint: "e") }
    var open: [(String, Int)] = []
    for _ in 0..<2000 {
      if Bool.random(using: &random), let chosen = router.choose(endpoint: "e", work: 3) {
        open.append((chosen.unit, chosen.attempt))
      } else if let index = open.indices.randomElement(using: &random) {
        let (unit, attempt) = open.remove(at: index)
        router.finished(unit: unit, attempt: attempt, endpoint: "e", work: 3)
      }
      #expect(router.replicas(of: "e").reduce(0) { $0 + $1.outstanding } == open.count)
    }
    for (unit, attempt) in open { router.finished(unit: unit, attempt: attempt, endpoint: "e", work: 3) }
    #expect(router.replicas(of: "e").allSatisfy { $0.outstanding == 0 && $0.outstandingWork == 0 })
  }
}
