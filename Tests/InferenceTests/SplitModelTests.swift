// SPDX-License-Identifier: Apache-2.0

import Collectives
import Core
import Foundation
import Models
import Synchronization
import Tensor
import TestSupport
import Testing

@testable import Inference

/// An engine whose model is in parts: ranks are threads of this process that share memory.
@Suite(.timeLimit(.minutes(3))) struct SplitModelTests {
  private static let model = LlamaConfiguration(
    vocabularySize: 258, hiddenSize: 32, intermediateSize: 56, layerCount: 2, headCount: 4, keyValueHeadCount: 2, maxPositions: 256,
    tieWordEmbeddings: true, bosTokenID: 256, eosTokenIDs: [257])

  /// Ranks 1, 2, .. follow on threads of their own; how each of them ended.
  private final class Followers: Sendable {
    private let ends = Mutex<[Int: PlatformError?]>([:])
    private let group = DispatchGroup()

    init(_ name: String, folder: String, count: Int, leaves: Int? = nil, check: @escaping @Sendable () throws -> Void = {}) {
      for rank in 1..<count {
        group.enter()
        let thread = Thread { [self] in
          var end: PlatformError?
          do {
            let shared = try SharedMemoryGroup(name: name, rank: rank, worldSize: count, deadline: .seconds(60))
            defer { shared.leave() }
            let part = try DecoderModel(directory: folder, part: ModelPart(rank: rank, of: count))
            try SplitModel.follow(model: part, collective: shared, threads: 1) { if rank == leaves { try check() } }
          } catch {
            end = PlatformError.from(error)
          }
          ends.withLock { $0[rank] = .some(end) }
          group.leave()
        }
        thread.stackSize = 8 << 20
        thread.start()
      }
    }

    /// - Throws: `timeout` when they do not end.
    func wait() throws -> [Int: PlatformError?] {
      guard group.wait(timeout: .now() + 60) == .success else { throw PlatformError(.timeout, "the ranks did not end") }
      return ends.withLock { $0 }
    }
  }

  private func lead(
    _ name: String, folder: String, count: Int, lost: @escaping @Sendable (PlatformError) -> Void = { _ in }
  ) throws -> (engine: InferenceEngine, model: SplitModel) {
    let shared = try SharedMemoryGroup(name: name, rank: 0, worldSize: count, deadline: .seconds(60))
    let part = try DecoderModel(directory: folder, part: ModelPart(rank: 0, of: count))
    let split = try SplitModel(model: part, collective: shared, lost: lost)
    return (try InferenceEngine(model: split, tokenizer: ByteTokenizer(), configuration: configuration), split)
  }

  private var configuration: InferenceEngine.Configuration {
    var configuration = InferenceEngine.Configuration()
    configuration.scheduler.tokensPerStep = 64
    configuration.cacheBytes = 4 << 20
    return configuration
  }

  private func request(_ number: Int) -> GenerationRequest {
    var request = GenerationRequest(id: "\(number)", prompt: .tokens((0..<(7 + 31 * number)).map { Int32(($0 * 13 + number) % 250) }))
    request.maxTokens = 24
    request.ignoreEOS = true
    request.sampling.temperature = number % 2 == 0 ? 0 : 0.9
    request.sampling.seed = UInt64(number)
    return request
  }

  private func answers(_ engine: InferenceEngine) async throws -> [[Int32]] {
    try await withThrowingTaskGroup(of: (Int, [Int32]).self) { group in
      for number in 0..<5 { group.addTask { (number, try await engine.complete(request(number)).tokenIDs) } }
      return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }.sorted { $0.key < $1.key }.map(\.value)
    }
  }

  /// Also as the plain engine's own path for Llamas computes.
  @Test(arguments: [2, 3, 4]) func anEngineWithPartsDrawsTheSameTokens(count: Int) async throws {
    let folder = try TestModel.folder(Self.model, seed: 5)
    let whole = try InferenceEngine(
      model: GenerativeModels.open(folder.path), tokenizer: ByteTokenizer(), configuration: configuration)
    let expected = try await answers(whole)
    whole.shutdown()
    let name = "split-\(UUID().uuidString)"
    let followers = Followers(name, folder: folder.path, count: count)
    let (engine, model) = try lead(name, folder: folder.path, count: count)
    #expect(try await answers(engine) == expected)
    // Nothing to do for a while: the ranks stay together.
    #expect(model.rest())
    #expect(try await answers(engine) == expected)
    engine.shutdown()
    model.end()
    #expect(try followers.wait().allSatisfy { $0.value == nil })
  }

  /// Adapters are loaded by all ranks, kept within the bound, and change no bit that they do not change of a whole model.
  @Test(arguments: [2, 3]) func anEngineWithPartsTakesAdapters(count: Int) async throws {
    let folder = try TestModel.folder(Self.model, seed: 5)
    let adapters = TemporaryDirectory("adapters")
    let modules = AdapterFolder.llama(layers: 2, hidden: 32, keys: 16, inner: 56) + [("lm_head", 32, 258)]
    for (index, name) in ["a", "b", "c"].enumerated() { try AdapterFolder(modules, rank: 2 + index, seed: UInt64(index)).write(to: adapters.file(name)) }
    func answers(_ engine: InferenceEngine, _ store: AdapterStore) async throws -> [[Int32]] {
      try await withThrowingTaskGroup(of: (Int, [Int32]).self) { group in
        for number in 0..<16 {
          group.addTask {
            var one = request(number % 4)
            guard number % 4 > 0 else { return (number, try await engine.complete(one).tokenIDs) }
            let name = ["a", "b", "c"][number % 4 - 1]
            return try await store.with(.init(name: name, directory: adapters.file(name))) { adapter in
              one.adapter = adapter
              return (number, try await engine.complete(one).tokenIDs)
            }
          }
        }
        return try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }.sorted { $0.key < $1.key }.map(\.value)
      }
    }
    let whole = try InferenceEngine(model: GenerativeModels.open(folder.path), tokenizer: ByteTokenizer(), configuration: configuration)
    let expected = try await answers(whole, AdapterStore(model: whole.model, limit: 3))
    whole.shutdown()
    #expect(expected[1] == expected[5] && Set(expected[..<4]).count == 4)
    let name = "split-\(UUID().uuidString)"
    let followers = Followers(name, folder: folder.path, count: count)
    let (engine, model) = try lead(name, folder: folder.path, count: count)
    // Two places for three: they come and go.
    let store = AdapterStore(model: model, limit: 2)
    for _ in 0..<2 { #expect(try await answers(engine, store) == expected) }
    // One that is not there is refused, and nothing else happens.
    await #expect(throws: PlatformError.self) { try await store.with(.init(name: "d", directory: adapters.file("d"))) { _ in } }
    let known = try LoRAAdapter(name: "a", directory: adapters.file("a"), targets: try #require(model.adapterTargets))
    let other = #expect(throws: PlatformError.self) { try model.admit(known, directory: adapters.file("b")) }
    #expect(other?.number == "PLT-5291")
    #expect(throws: PlatformError.self) { try model.admit(known, directory: adapters.file("nowhere")) }
    #expect(try await answers(engine, store) == expected)
    engine.shutdown()
    model.end()
    #expect(try followers.wait().allSatisfy { $0.value == nil })
  }

  @Test func aRankThatGoesEndsAllRequestsSoThatTheyMove() async throws {
    let folder = try TestModel.folder(Self.model, seed: 5)
    let name = "split-\(UUID().uuidString)"
    let seen = Mutex(0)
    // The begin, and some steps.
    let followers = Followers(name, folder: folder.path, count: 3, leaves: 2) {
      let count = seen.withLock {
        $0 += 1
        return $0
      }
      if count > 6 { throw PlatformError(.internalError, "this rank has enough") }
    }
    let lost = Mutex<[PlatformError]>([])
    let (engine, _) = try lead(name, folder: folder.path, count: 3) { error in lost.withLock { $0.append(error) } }
    var failure: PlatformError?
    do {
      _ = try await engine.complete(request(3))
    } catch {
      failure = PlatformError.from(error)
    }
    #expect(failure?.code == .unavailable)
    #expect(lost.withLock { $0.map(\.number) } == ["PLT-2150"])
    let ends = try followers.wait()
    #expect(ends[2]??.message == "this rank has enough")
    #expect(ends[1]??.number == "PLT-2150")
    // Nothing is taken any more.
    #expect(throws: PlatformError.self) { try engine.generate(request(0)) }
  }

  @Test func ranksWithOtherModelsAreRefused() throws {
    let folder = try TestModel.folder(Self.model, seed: 5)
    var other = Self.model
    other.intermediateSize = 64
    let second = try TestModel.folder(other, seed: 5)
    let name = "split-\(UUID().uuidString)"
    let followers = Followers(name, folder: second.path, count: 2)
    var failure: PlatformError?
    do { _ = try lead(name, folder: folder.path, count: 2) } catch { failure = PlatformError.from(error) }
    #expect(failure?.number == "PLT-5291")
    #expect(try followers.wait()[1]??.number == "PLT-5291")
  }

  @Test func ordersSurviveTheWay() throws {
    var batch = DecoderBatch()
    for sequence in 0..<40 {
      batch.append(tokens: (0..<9).map { Int32($0 * sequence) }, computed: sequence, blocks: (0..<20).map { Int32($0 + sequence) }, logits: .last)
    }
    let spans = SplitOrder.step(tokens: [1, 2], positions: [0, 1], tables: [0, 0], blocks: [3], outputs: [1], adapters: [7, 0, 1, 9, 1, 2])
    let loads = [SplitOrder.load(number: 3, name: "höflich", directory: "/tmp/a b"), .unload(number: 3), spans]
    for order in [SplitOrder.begin(blocks: 1 << 20, rows: 256, cache: .int8), .rest, .end, SplitOrder(batch), SplitOrder(DecoderBatch())] + loads {
      let bytes = order.encoded
      #expect(try SplitOrder(decoding: bytes) == order)
      for cut in Set([0, 3, bytes.count / 2, bytes.count - 4]) where cut < bytes.count {
        #expect(throws: PlatformError.self) { try SplitOrder(decoding: Array(bytes[..<cut])) }
      }
    }
    #expect(SplitOrder(batch).encoded.count > SplitOrder.firstBytes)
  }
}
