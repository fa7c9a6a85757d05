// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Testing

@Suite struct EndpointRequestTests {
  private func node(_ host: String, _ cpus: Double?, state: String = "READY") -> NodeInfo {
    NodeInfo(
      name: host, state: state, hostID: host, slots: 4, running: [], residentBytes: 0, lastSeen: nil, version: "1", cpus: cpus, memoryBytes: nil, labels: nil,
      load: nil)
  }

  @Test(arguments: [
    ("main.demo.chat", true), ("main.demo.chat/3", true), ("main.demo.chat@champion", true), ("models:/main.demo.chat/3", true), ("hf:org/name", false),
    ("https://host/a.b.c", false), ("main.demo", false), ("main.demo.chat/x", false), ("org/name", false), ("a.Q4_0.gguf", false), ("./a.b.c", false),
    ("main..chat", false), ("", false),
  ]) func namesOfTheCatalogAreTold(_ text: String, _ isOne: Bool) {
    #expect(EndpointRequest.isRegistered(text) == isOne)
  }

  @Test func replicasOfOneMachineShareItsProcessors() {
    let pair = [node("a", 1), node("a", 1)]
    #expect(EndpointRequest.threads(replicas: 1, nodes: pair) == 2)
    #expect(EndpointRequest.threads(replicas: 2, nodes: pair) == 1)
    #expect(EndpointRequest.threads(replicas: 5, nodes: pair) == 1)
    let two = [node("a", 8), node("b", 6), node("c", 64, state: "LOST")]
    #expect(EndpointRequest.threads(replicas: 2, nodes: two) == 6)
    #expect(EndpointRequest.threads(replicas: 3, nodes: two) == 3)
    #expect(EndpointRequest.threads(replicas: 1, nodes: [node("a", 128)]) == 16)
    #expect(EndpointRequest.threads(replicas: 1, nodes: []) == 1)
    #expect(EndpointRequest.threads(replicas: 1, nodes: [node("a", nil)]) == 1)
  }

  @Test func namesAndAdaptersAreChecked() throws {
    try EndpointRequest.check(name: "gpt-4o.mini_x", wait: 0, isReplaced: false, among: [])
    for name in ["", "a b", ".a", "a/b", "ä", String(repeating: "a", count: 101)] {
      #expect(throws: PlatformError.self) { try EndpointRequest.check(name: name, wait: 0, isReplaced: false, among: []) }
    }
    #expect(throws: PlatformError.self) { try EndpointRequest.check(name: "a", wait: -1, isReplaced: false, among: []) }
    #expect(try EndpointRequest.adapters(["a=main.x.a", "b=main.x.b@c=d"]) == ["a": "main.x.a", "b": "main.x.b@c=d"])
    for pairs in [["a"], ["=b"], ["a="], ["a=b", "a=c"]] { #expect(throws: PlatformError.self) { try EndpointRequest.adapters(pairs) } }
    #expect(EndpointRequest.registeredName("gpt-4o.mini") == "main.default.gpt_4o_mini")
  }
}
