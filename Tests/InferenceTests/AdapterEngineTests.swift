// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Synchronization
import TestSupport
import Testing

@testable import Inference

/// What tasks say, in order.
private final class Notes: Sendable {
  private let said = Mutex<[String]>([])
  var texts: [String] { said.withLock { $0 } }
  func add(_ text: String) { said.withLock { $0.append(text) } }
}

/// Requests with different adapters in one engine.
@Suite(.timeLimit(.minutes(2))) struct AdapterEngineTests {
  private let folder = TemporaryDirectory("adapters")
  private let model: LlamaModel

  init() throws {
    model = try TestModel.random(TestModel.small, seed: 5)
    for (index, name) in ["a", "b", "c"].enumerated() {
      let modules = AdapterFolder.llama(layers: 2, hidden: 32, keys: 16, inner: 56, index == 1 ? ["q_proj", "v_proj"] : nil)
      try AdapterFolder(modules, rank: 3 + index, seed: UInt64(index + 1)).write(to: folder.file(name))
    }
  }

  private func adapter(_ name: String) throws -> LoRAAdapter {
    try LoRAAdapter(name: name, directory: folder.file(name), targets: try #require(model.adapterTargets))
  }

  private func engine(_ change: (inout InferenceEngine.Configuration) -> Void = { _ in }) throws -> InferenceEngine {
    var configuration = InferenceEngine.Configuration()
    change(&configuration)
    return try InferenceEngine(model: model, tokenizer: ByteTokenizer(), configuration: configuration)
  }

  /// Few beginnings, so that the cache is asked, and every adapter with each of them.
  private func requests() throws -> [GenerationRequest] {
    let adapters: [LoRAAdapter?] = [nil, try adapter("a"), try adapter("b"), try adapter("c")]
    return (0..<32).map { index in
      var request = GenerationRequest(id: "r\(index)", prompt: .text(String(repeating: "beginning \(index / 4 % 3) ", count: 3) + "\(index % 2)"))
      request.maxTokens = 20 + index % 9 * 4
      request.ignoreEOS = true
      request.logprobs = 1
      request.adapter = adapters[index % 4]
      request.sampling = .greedy
      if index % 3 == 1 {
        request.sampling.temperature = 0.8
        request.sampling.seed = UInt64(index)
      }
      return request
    }
  }

  private func answers(_ engine: InferenceEngine, _ requests: [GenerationRequest]) async throws -> [GenerationEvent] {
    try await withThrowingTaskGroup(of: (Int, GenerationEvent).self) { group in
      for (index, request) in requests.enumerated() {
        group.addTask {
          var event = try await engine.complete(request)
          event.usage?.cachedTokens = 0
          return (index, event)
        }
      }
      var all = [GenerationEvent?](repeating: nil, count: requests.count)
      for try await (index, event) in group { all[index] = event }
      return all.compactMap { $0 }
    }
  }

  @Test func answersAreThoseOfEachAdapterAloneWhateverIsInTheBatchOrTheCache() async throws {
    let requests = try requests()
    var expected: [GenerationEvent] = []
    for request in requests { expected += try await answers(engine { $0.scheduler.maxBatch = 1 }, [request]) }
    // Requests 4 n + 0...3 are of the same beginning: the adapter makes the difference.
    #expect(Set(expected.map(\.tokenIDs)).count > 12)
    let shared = try engine()
    for _ in 0..<2 { #expect(try await answers(shared, requests) == expected) }
    #expect(shared.statistics.prefixHits > 0)
    #expect(shared.statistics.runningAdapters.isEmpty && shared.statistics.waitingAdapters.isEmpty)
    let chunked = try engine {
      $0.scheduler.maxBatch = 5
      $0.scheduler.tokensPerStep = 7
      $0.threads = 3
    }
    #expect(try await answers(chunked, requests.reversed()) == expected.reversed())
    let tight = try engine { $0.cacheBytes = 14 * 16 * model.cacheBytesPerToken(.f32) }
    #expect(try await answers(tight, requests) == expected)
    #expect(tight.statistics.preemptions > 0)
    let ahead = try engine { $0.speculation = 4 }
    #expect(try await answers(ahead, requests) == expected)
  }

  @Test func aRequestThatMovesGoesOnWithItsAdapter() async throws {
    for var request in try requests()[..<8] {
      let whole = try await engine().complete(request)
      request.emittedTokenIDs = Array(whole.tokenIDs[..<3])
      let rest = try await engine().complete(request)
      #expect(request.emittedTokenIDs + rest.tokenIDs == whole.tokenIDs)
    }
  }

  @Test func blocksOfOneAdapterAreNotFoundByAnother() throws {
    let plain = PrefixKey(salt: "p")
    #expect(plain != PrefixKey(salt: "p", adapter: "1") && PrefixKey(salt: "p", adapter: "1") != PrefixKey(salt: "p", adapter: "2"))
    #expect(
      PrefixKey(salt: "p", adapter: "1") != PrefixKey(salt: "q", adapter: "1") && PrefixKey(salt: "p", adapter: "1") == PrefixKey(salt: "p", adapter: "1"))
  }

  @Test func anAdapterOfAnotherModelIsRefused() throws {
    var other = TestModel.small
    other.layerCount = 1
    let foreign = try TestModel.random(other, seed: 1)
    let engine = try InferenceEngine(model: foreign, tokenizer: ByteTokenizer())
    var request = GenerationRequest(id: "r", prompt: .text("x"))
    request.adapter = try adapter("a")
    #expect(throws: PlatformError.self) { try engine.generate(request) }
  }

  @Test func adaptersInMemoryAreBoundedAndThoseInUseStay() async throws {
    let store = AdapterStore(model: model, limit: 2)
    func reference(_ name: String) -> AdapterStore.Reference { .init(name: name, directory: folder.file(name)) }
    func use(_ name: String) async throws { try await store.with(reference(name)) { #expect($0.name == name) } }
    func names() async -> [String] { await store.residents.map(\.name) }
    try await use("a")
    try await use("b")
    try await use("a")
    try await use("c")
    #expect(await names() == ["a", "c"])
    // Both places are in use: the third waits until one is free.
    let notes = Notes()
    try await store.with(reference("a")) { _ in
      let waiting = try await store.with(reference("c")) { _ in
        let waiting = Task { [self] in try await store.with(.init(name: "b", directory: folder.file("b"))) { _ in notes.add("b") } }
        // One more of an adapter that is there needs no place.
        try await store.with(reference("a")) { _ in notes.add("a") }
        for _ in 0..<50 { await Task.yield() }
        notes.add("c")
        return waiting
      }
      try await waiting.value
    }
    #expect(notes.texts == ["a", "c", "b"])
    #expect(await names() == ["a", "b"])
    // One that waits and is cancelled, and one that is not there.
    try await store.with(reference("a")) { _ in
      try await store.with(reference("b")) { _ in
        let waiting = Task { [self] in try await store.with(.init(name: "c", directory: folder.file("c"))) { _ in } }
        for _ in 0..<50 { await Task.yield() }
        waiting.cancel()
        await #expect(throws: CancellationError.self) { try await waiting.value }
      }
    }
    await #expect(throws: PlatformError.self) { try await use("nobody") }
    try await use("c")
    try await use("a")
    #expect(await names() == ["a", "c"])
  }

  @Test func manyUsersOfManyAdaptersAllGetTheirs() async throws {
    let store = AdapterStore(model: model, limit: 2)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<120 {
        let name = ["a", "b", "c"][index % 3]
        let reference = AdapterStore.Reference(name: name, directory: folder.file(name))
        group.addTask {
          try await store.with(reference) { adapter in
            #expect(adapter.name == name)
            #expect(await store.residents.count <= 2)
            for _ in 0..<index % 7 { await Task.yield() }
          }
        }
      }
      try await group.waitForAll()
    }
  }
}
