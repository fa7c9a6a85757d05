// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Serving

/// Predictions from figures that were measured elsewhere.
@Suite struct ServingPlanTests {
  /// 8 billion weights of 4 bits on nodes of 25 GB/s.
  private let large = ServingPlan.Model(
    layers: 32, weightBytes: 4.7e9, weightBytesPerToken: 4.7e9, multiplicationsPerToken: 8e9, cacheBytesPerToken: 2.6e5,
    gatheredBytesPerToken: 32 * 4 * (3 * 4096 + 14336) + 4 * 128_000)
  private let small = ServingPlan.Model(
    layers: 30, weightBytes: 1.4e8, weightBytesPerToken: 1.4e8, multiplicationsPerToken: 1.35e8, cacheBytesPerToken: 4.6e4,
    gatheredBytesPerToken: 30 * 4 * (3 * 576 + 1536) + 4 * 49_152)
  private let node = ServingPlan.Node(memoryBytes: 1.6e10, bytesPerSecond: 2.5e10, multiplicationsPerSecond: 4e11)
  private let ethernet = ServingPlan.Link(meetingSeconds: 1.2e-4, bytesPerSecond: 1.18e8)

  @Test func aLargeModelIsQuickerSplitAndASmallOneWhole() throws {
    let plan = ServingPlan(model: large, nodes: [node, node], link: ethernet)
    #expect(plan.layouts.map(\.tensorParallel) == [1, 2] && plan.layouts.map(\.replicas) == [2, 1])
    #expect(plan.quickest == 1 && plan.most == 0)
    let gain = plan.layouts[1].tokensPerSecondOfOne / plan.layouts[0].tokensPerSecondOfOne
    #expect(gain > 1.3 && gain < 2)
    #expect(plan.layouts[1].memoryBytesPerNode < plan.layouts[0].memoryBytesPerNode)
    #expect(plan.advice.contains("tensor_parallel: 2 answers one user") && plan.advice.contains("2 replicas"))
    let other = ServingPlan(model: small, nodes: [node, node], link: ethernet)
    #expect(other.quickest == 0 && other.most == 0 && other.advice.contains("Replicas beat splitting"))
  }

  /// Splitting pays exactly when what is read less takes longer than the meetings.
  @Test(arguments: [1e-6, 1e-5, 1e-4, 3e-4, 1e-3]) func theRuleOfThumbHolds(meeting: Double) {
    var model = small
    model.cacheBytesPerToken = 0
    model.multiplicationsPerToken = 0
    for ranks in [2, 4] {
      let link = ServingPlan.Link(meetingSeconds: meeting, bytesPerSecond: 1e12)
      let saved = model.weightBytesPerToken / node.bytesPerSecond * (1 - 1 / Double(ranks))
      let pays = ServingPlan.step(model, node, link, ranks: ranks, rows: 1) < ServingPlan.step(model, node, nil, ranks: 1, rows: 1)
      #expect(pays == (saved > ServingPlan.meeting(model, link, ranks: ranks, rows: 1)))
    }
  }

  @Test func whatDoesNotFitIsNotRecommended() {
    var tight = node
    tight.memoryBytes = 3.5e9
    let plan = ServingPlan(model: large, nodes: [tight, tight, tight], link: ethernet)
    #expect(plan.layouts.map(\.fits) == [false, false, true])
    #expect(plan.quickest == 2 && plan.most == 2 && plan.advice == "Splitting is best: tensor_parallel: 3.")
    tight.memoryBytes = 1e9
    let none = ServingPlan(model: large, nodes: [tight], link: nil)
    #expect(none.quickest == nil && none.most == nil && none.advice.contains("No layout fits"))
    #expect(none.layouts.count == 1)
  }

  @Test func theSlowestNodeDecides() {
    var slow = node
    slow.bytesPerSecond = 5e9
    let even = ServingPlan(model: small, nodes: [slow, slow], link: ethernet)
    #expect(ServingPlan(model: small, nodes: [node, slow], link: ethernet) == even)
    let link = ServingPlan.Link(smallSeconds: 1e-4, largeSeconds: 1.01e-2, largeBytes: 1e6)
    #expect(abs(link.bytesPerSecond - 1e8) < 1 && link.meetingSeconds == 1e-4)
  }
}
