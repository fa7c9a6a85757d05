// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Logging
import Serving
import Synchronization
import TestSupport
import Testing
import Transport

/// A replica that says the letters of the alphabet, one token each, and dies after a given number of tokens.
private final class ScriptedReplica: ReplicaChannel {
  let diesAfter: Int?
  let calls = Mutex<[GenerateCall]>([])
  init(diesAfter: Int? = nil) { self.diesAfter = diesAfter }
  func close() {}

  func call(verb: String, payload: Data, deadline: Duration) -> AsyncThrowingStream<Data, any Error> {
    AsyncThrowingStream { continuation in
      if verb == ReplicaVerb.metrics {
        guard diesAfter == nil else { return continuation.finish(throwing: PlatformError(.unavailable, "killed")) }
        var frame = MetricFrame()
        frame.families = [.init("f", .gauge, "h", [.init(["a": "b"], 1)])]
        continuation.yield((try? JSONEncoder.platform.encode(frame)) ?? Data())
        return continuation.finish()
      }
      guard let call = try? JSONDecoder.platform.decode(GenerateCall.self, from: payload) else {
        return continuation.finish(throwing: PlatformError(.invalidArgument, "not a call"))
      }
      calls.withLock { $0.append(call) }
      let wanted = call.maxTokens ?? 5
      for (sent, token) in (call.emittedTokens.count..<wanted).enumerated() {
        if sent == diesAfter { return continuation.finish(throwing: PlatformError(.unavailable, "killed")) }
        let last = token == wanted - 1
        let frame = GenerateFrame(
          text: String(UnicodeScalar(UInt8(97 + token))), tokens: [Int32(token)], finish: last ? "length" : nil,
          promptTokens: last ? 3 : nil, completionTokens: last ? wanted : nil)
        continuation.yield((try? JSONEncoder.platform.encode(frame)) ?? Data())
      }
      continuation.finish()
    }
  }
}

@Suite struct ServingGatewayTests {
  private func gateway(_ replicas: [String: ScriptedReplica], _ folder: TemporaryDirectory) throws -> (ServingGateway, InferenceSpool) {
    let spool = try InferenceSpool(directory: folder.path)
    let gateway = ServingGateway(spool: spool, logger: Logger(label: "test"), connect: { replicas[$0.unit]! })
    gateway.set(ServedEndpoint(name: "e", kind: "generate", model: "m/1", createdAt: Date()))
    for unit in replicas.keys.sorted() {
      gateway.replicaReady(.init(unit: unit, attempt: 1, node: "w", address: "a", publicKey: "k"), endpoint: "e")
    }
    return (gateway, spool)
  }

  @Test func replicasAreAskedForTheirMetricsAndOneThatIsDeadIsLeftOut() async throws {
    let folder = TemporaryDirectory("gateway")
    let (gateway, _) = try gateway(["a": ScriptedReplica(), "b": ScriptedReplica(diesAfter: 0), "c": ScriptedReplica()], folder)
    let told = await gateway.replicaMetrics()
    #expect(told.map(\.unit) == ["a", "c"] && told.allSatisfy { $0.endpoint == "e" && $0.frame.families.count == 1 })
  }

  private let origin = RequestOrigin(requestID: "q", principal: "p", operation: "completions", stream: true)

  @Test func aRequestWhoseReplicaDiesGoesOnElsewhereWithoutRepeatingText() async throws {
    let folder = TemporaryDirectory("gateway")
    // 'a' is chosen first (both idle, insertion order), says two letters and dies.
    let replicas = ["a": ScriptedReplica(diesAfter: 2), "b": ScriptedReplica()]
    let (gateway, spool) = try gateway(replicas, folder)
    var call = GenerateCall(requestID: "q")
    call.prompt = "x"
    call.maxTokens = 6
    var text = ""
    for try await frame in gateway.generate(endpoint: "e", call, origin: origin) { text += frame.text }
    #expect(text == "abcdef")
    #expect(replicas["b"]!.calls.withLock { $0.first?.emittedTokens } == [0, 1])
    let record = try #require(spool.drain().flatMap(\.records).first)
    #expect(record.replicas == ["a", "b"])
    #expect(record.output == "abcdef" && record.outcome == "length" && record.completionTokens == 6 && record.promptTokens == 3)
    // The count goes down when the stream's other end is gone, which the last frame may overtake.
    for _ in 0..<200 where !gateway.replicas(of: "e").allSatisfy({ $0.outstanding == 0 }) { try await Task.sleep(for: .milliseconds(10)) }
    #expect(gateway.replicas(of: "e").allSatisfy { $0.outstanding == 0 })
  }

  @Test func anAdaptersRequestKeepsItsVersionWhereverItGoesOn() async throws {
    let folder = TemporaryDirectory("gateway")
    let replicas = ["a": ScriptedReplica(diesAfter: 2), "b": ScriptedReplica()]
    let (gateway, spool) = try gateway(replicas, folder)
    func serve(_ version: Int) {
      gateway.set(
        ServedEndpoint(
          name: "e", kind: "generate", model: "m/1", createdAt: Date(),
          adapters: [ServedAdapter(name: "polite", model: "p/\(version)", location: "/p/\(version)")]))
    }
    serve(1)
    #expect(gateway.served("polite")?.endpoint.name == "e" && gateway.served("polite")?.model == "p/1" && gateway.served("e")?.adapter == nil)
    #expect(gateway.served("nobody") == nil && gateway.endpoint("polite") == nil)
    var call = GenerateCall(requestID: "q")
    call.maxTokens = 6
    var text = ""
    for try await frame in gateway.generate(endpoint: "polite", call, origin: origin) {
      text += frame.text
      serve(2)
    }
    #expect(text == "abcdef")
    #expect(replicas["b"]!.calls.withLock { $0.map(\.adapter) } == [AdapterCall(name: "polite", directory: "/p/1")])
    let record = try #require(spool.drain().flatMap(\.records).first)
    #expect(record.endpoint == "polite" && record.model == "p/1" && record.replicas == ["a", "b"])
    // One that is asked next has the next version, and the model alone has none.
    for name in ["polite", "e"] { for try await _ in gateway.generate(endpoint: name, call, origin: origin) {} }
    #expect(replicas["b"]!.calls.withLock { $0.map { $0.adapter?.directory } } == ["/p/1", "/p/2", nil] || replicas["a"]!.calls.withLock { $0.count } > 1)
  }

  @Test(arguments: [1, 2]) func anAnswerNeverGoesOnWithAnotherModel(next: Int) async throws {
    let folder = TemporaryDirectory("gateway")
    let replicas = ["a": ScriptedReplica(diesAfter: 2), "b": ScriptedReplica()]
    let spool = try InferenceSpool(directory: folder.path)
    let gateway = ServingGateway(spool: spool, logger: Logger(label: "test"), connect: { replicas[$0.unit]! })
    gateway.set(ServedEndpoint(name: "e", kind: "generate", model: "m/1", createdAt: Date()))
    for (unit, generation) in [("a", 1), ("b", next)] {
      gateway.replicaReady(.init(unit: unit, attempt: 1, node: "w", address: "a", publicKey: "k", generation: generation), endpoint: "e")
    }
    var call = GenerateCall(requestID: "q")
    call.prompt = "x"
    call.maxTokens = 4
    var text = ""
    var failure: PlatformError?
    do {
      for try await frame in gateway.generate(endpoint: "e", call, origin: origin) { text += frame.text }
    } catch { failure = PlatformError.from(error) }
    // Before its first token a request may go to any; this one has two.
    #expect(text == (next == 1 ? "abcd" : "ab"))
    #expect(failure?.number == (next == 1 ? nil : "PLT-5292"))
    #expect(replicas["b"]!.calls.withLock { $0.count } == (next == 1 ? 1 : 0))
    #expect(spool.drain().flatMap(\.records).map(\.status) == [next == 1 ? 200 : 503])
  }

  @Test func aRepeatedAnnouncementDisturbsNothing() async throws {
    let folder = TemporaryDirectory("gateway")
    let opened = Mutex(0)
    let spool = try InferenceSpool(directory: folder.path)
    let gateway = ServingGateway(spool: spool, logger: Logger(label: "test")) { _ in
      opened.withLock { $0 += 1 }
      return ScriptedReplica()
    }
    let replica = RouterState.Replica(unit: "a", attempt: 1, node: "w", address: "x", publicKey: "k")
    gateway.replicaReady(replica, endpoint: "e")
    gateway.replicaDraining(unit: "a", endpoint: "e")
    gateway.replicaReady(replica, endpoint: "e")
    #expect(opened.withLock { $0 } == 1)
    #expect(gateway.replicas(of: "e").map(\.draining) == [true])
    var restarted = replica
    restarted.attempt = 2
    gateway.replicaReady(restarted, endpoint: "e")
    #expect(opened.withLock { $0 } == 2)
    #expect(gateway.replicas(of: "e").map(\.draining) == [false])
  }

  @Test func aStoppedEndpointRefusesAtOnceAndFinishesWhatItHas() async throws {
    let folder = TemporaryDirectory("gateway")
    let (gateway, spool) = try gateway(["a": ScriptedReplica()], folder)
    var call = GenerateCall(requestID: "q")
    call.prompt = "x"
    call.maxTokens = 4
    var text = ""
    for try await frame in gateway.generate(endpoint: "e", call, origin: origin) {
      if text.isEmpty {
        // In the order in which they come.
        gateway.replicaDraining(unit: "a", endpoint: "e")
        gateway.replicaGone(unit: "a", attempt: 1, endpoint: "e")
        gateway.setStopped(true, endpoint: "e")
      }
      text += frame.text
    }
    #expect(text == "abcd")
    for _ in 0..<100 where !gateway.replicas(of: "e").isEmpty { try await Task.sleep(for: .milliseconds(20)) }
    #expect(gateway.replicas(of: "e").isEmpty)
    await #expect { for try await _ in gateway.generate(endpoint: "e", call, origin: origin) {} } throws: {
      PlatformError.from($0).number == "PLT-4540"
    }
    #expect(spool.drain().flatMap(\.records).map(\.status) == [200, 503])
    // Set again by a deployment, and served by a replica that is ready before that.
    gateway.replicaReady(.init(unit: "a", attempt: 2, node: "w", address: "a", publicKey: "k"), endpoint: "e")
    for try await frame in gateway.generate(endpoint: "e", call, origin: origin) { text += frame.text }
    #expect(text == "abcdabcd")
  }

  @Test func failedRequestsAreLoggedWithTheirStatus() async throws {
    let folder = TemporaryDirectory("gateway")
    let (gateway, spool) = try gateway([:], folder)
    await #expect(throws: PlatformError.self) {
      for try await _ in gateway.generate(endpoint: "nobody", GenerateCall(requestID: "q"), origin: origin) {}
    }
    gateway.logRefused(endpoint: "e", origin: origin, error: PlatformError(.invalidArgument, "bad body"))
    let records = spool.drain().flatMap(\.records)
    #expect(records.map(\.status) == [404, 400])
    #expect(records.allSatisfy { $0.outcome == "error" && !$0.error.isEmpty })
  }

  @Test func everyReplicaDeadIsAnErrorNotAHang() async throws {
    let folder = TemporaryDirectory("gateway")
    let (gateway, spool) = try gateway(["a": ScriptedReplica(diesAfter: 0)], folder)
    gateway.replicaGone(unit: "a", attempt: 1, endpoint: "e")
    let task = Task {
      for try await _ in gateway.generate(endpoint: "e", GenerateCall(requestID: "q"), origin: origin) {}
    }
    try await Task.sleep(for: .milliseconds(100))
    task.cancel()
    _ = await task.result
    // The consumer has gone: the record says so.
    for _ in 0..<100 where spool.pendingBytes == 0 { try await Task.sleep(for: .milliseconds(20)) }
    #expect(spool.drain().flatMap(\.records).map(\.status) == [499])
  }
}
