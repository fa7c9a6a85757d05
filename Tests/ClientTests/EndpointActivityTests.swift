// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Client

/// What `platform ps` and `stop` make of the cluster's answers.
@Suite struct EndpointActivityTests {
  private func replica(_ unit: String, _ state: String = "READY", tokens: Int64? = nil, running: Int? = nil) -> EndpointInfo.Replica {
    .init(
      unit: unit, node: "w\(unit)", state: state, outstanding: 3,
      load: tokens.map { ReplicaLoad(residentBytes: 100, running: running, waiting: 1, generatedTokens: $0) })
  }
  private func endpoint(_ wanted: Int, _ replicas: [EndpointInfo.Replica]) -> EndpointInfo {
    EndpointInfo(name: "e", kind: "generate", model: "models:/main.demo.chat/3", desiredReplicas: wanted, replicas: replicas)
  }

  @Test func statesSayWhatIsServed() {
    let cases: [(Int, [String], EndpointActivity.State)] = [
      (0, [], .stopped), (0, ["DRAINING"], .stopping), (1, [], .starting), (1, ["STARTING"], .starting), (2, ["READY", "STARTING"], .degraded),
      (2, ["READY", "READY"], .running), (1, ["READY", "DRAINING"], .running),
    ]
    for (wanted, states, expected) in cases {
      let one = EndpointActivity(endpoint(wanted, states.enumerated().map { replica("\($0)", $1) }))
      #expect(one.state == expected && one.isShown == (expected != .stopped), "\(wanted) \(states): \(one.state)")
    }
  }

  @Test func loadIsThatOfAllReplicas() {
    let before = endpoint(2, [replica("a", tokens: 100, running: 2), replica("b", tokens: 900, running: 1), replica("d", tokens: 5)])
    // 'b' was started again, 'c' is new, and 'd' tells nothing this time.
    let now = endpoint(2, [replica("a", tokens: 300, running: 2), replica("b", tokens: 10, running: 0), replica("c", tokens: 50, running: 1), replica("d")])
    let one = EndpointActivity(now, before: before, seconds: 2)
    #expect(one.tokensPerSecond == 100 && one.memoryBytes == 300 && one.waiting == 3)
    #expect(one.running == 2 + 0 + 1 + 3 && one.nodes == ["wa", "wb", "wc", "wd"])
    let alone = EndpointActivity(now)
    #expect(alone.tokensPerSecond == nil && EndpointActivity(endpoint(1, [replica("a")])).memoryBytes == nil)
    var split = endpoint(1, [replica("a")])
    split.replicas[0].ranks = ["w2", "w1", "-"]
    #expect(EndpointActivity(split).nodes == ["w1", "w2"])
  }

  @Test func namesOfOtherThingsSayWhatTheyAre() throws {
    var chat = endpoint(1, [])
    chat.adapters = [.init(name: "polite", model: "models:/main.demo.polite/1")]
    let list = [chat, EndpointInfo(name: "minilm", kind: "embed", model: "models:/system.ai.minilm/1", desiredReplicas: 1, replicas: [])]
    #expect(try StopChoice.endpoints(["minilm", "e", "minilm"], among: list).map(\.name) == ["minilm", "e"])
    func refusal(_ name: String, _ list: [EndpointInfo]) -> PlatformError? {
      do {
        _ = try StopChoice.endpoints(["e", name].filter { name in name != "e" || !list.isEmpty }, among: list)
        return nil
      } catch { return error }
    }
    for (name, part) in [
      ("polite", "platform stop e"), ("main.demo.chat", "served by e"), ("models:/main.demo.chat/3", "served by e"), ("minilmm", "Did you mean 'minilm'"),
      ("other", "There are: e, minilm."), ("main.demo.cha", "There are: e, minilm."), ("", "There are"),
    ] {
      let error = refusal(name, list)
      #expect(error?.number == "PLT-4304" && error?.code == .notFound && error?.hint.contains(part) == true, "\(name): \(String(describing: error))")
    }
    #expect(refusal("x", [])?.hint == "Nothing is being served.")
  }
}
