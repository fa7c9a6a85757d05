// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

@testable import Training

/// A gang of threads in one process: each operation deposits, waits, reads, waits.
final class ThreadGang: @unchecked Sendable {  // everything is protected by `condition`
  let world: Int
  private let condition = NSCondition()
  private var arrived = 0
  private var generation = 0
  private var failed = false
  var slots: [[Float]]
  var bytes: [UInt8] = []

  init(_ world: Int) {
    self.world = world
    slots = Array(repeating: [], count: world)
  }

  func wait(_ deposit: () -> Void = {}) throws {
    condition.lock()
    defer { condition.unlock() }
    deposit()
    arrived += 1
    let mine = generation
    if arrived == world {
      arrived = 0
      generation += 1
      condition.broadcast()
    }
    while generation == mine && !failed { condition.wait() }
    // A peer that left behind this step does not undo it: the ranks agree on what the step said.
    if generation == mine { throw PlatformError(.unavailable, "a peer has left") }
  }

  func fail() {
    condition.lock()
    failed = true
    condition.broadcast()
    condition.unlock()
  }

  /// Runs `body` once a rank, each on a thread, and returns the results in rank order.
  static func run<T: Sendable>(_ world: Int, _ body: @escaping @Sendable (any Collective) throws -> T) throws -> [T] {
    if world == 1 { return [try body(SingleRank())] }
    let gang = ThreadGang(world)
    let results = Results<T>(world)
    let group = DispatchGroup()
    for rank in 0..<world {
      group.enter()
      let thread = Thread {
        let result = Result { try body(ThreadCollective(gang, rank: rank)) }
        if case .failure = result { gang.fail() }
        results.set(rank, result)
        group.leave()
      }
      thread.stackSize = 16 << 20
      thread.start()
    }
    group.wait()
    return try results.all()
  }

  final class Results<T: Sendable>: @unchecked Sendable {  // protected by `lock`
    private let lock = NSLock()
    private var items: [Result<T, any Error>?]
    init(_ count: Int) { items = Array(repeating: nil, count: count) }
    func set(_ index: Int, _ result: Result<T, any Error>) { lock.withLock { items[index] = result } }
    func all() throws -> [T] { try lock.withLock { try items.compactMap { try $0?.get() } } }
  }
}

final class ThreadCollective: Collective {
  let gang: ThreadGang
  let rank: Int
  var worldSize: Int { gang.world }
  init(_ gang: ThreadGang, rank: Int) {
    self.gang = gang
    self.rank = rank
  }

  private func exchange(_ input: UnsafePointer<Float>, _ count: Int, _ read: ([[Float]]) -> Void) throws {
    try gang.wait { gang.slots[rank] = Array(UnsafeBufferPointer(start: input, count: count)) }
    read(gang.slots)
    try gang.wait()
  }

  func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    try exchange(buffer, count) { slots in
      for index in 0..<count { buffer[index] = slots.dropFirst().reduce(slots[0][index]) { $0 + $1[index] } }
    }
  }
  func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws {
    try exchange(buffer, count) { slots in
      for index in 0..<count { buffer[index] = slots.reduce(-.infinity) { max($0, $1[index]) } }
    }
  }
  func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
    try exchange(input, count) { slots in
      for (rank, slot) in slots.enumerated() {
        for index in 0..<count { output[rank * count + index] = slot[index] }
      }
    }
  }
  func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) throws {
    try gang.wait {
      if rank == root { gang.bytes = Array(UnsafeRawBufferPointer(start: buffer, count: byteCount)) }
    }
    if rank != root { gang.bytes.withUnsafeBytes { buffer.copyMemory(from: $0.baseAddress!, byteCount: byteCount) } }
    try gang.wait()
  }
  func barrier() throws { try gang.wait() }
}

/// Stops after a number of steps, as a killed attempt would between two steps.
final class StoppingContext: WorkContext, @unchecked Sendable {  // protected by `lock`
  let scratchDirectory = NSTemporaryDirectory()
  private let lock = NSLock()
  private var looks = 0
  private var points: [(name: String, step: Int64)] = []
  private let limit: Int
  init(looks limit: Int) { self.limit = limit }
  var isCancelled: Bool {
    lock.withLock {
      looks += 1
      return looks > limit
    }
  }
  func log(_ line: String) {}
  func progress(done: Int64, total: Int64, unit: String) {}
  func metric(_ name: String, step: Int64, value: Double) { lock.withLock { points.append((name, step)) } }
  /// The steps of a curve.
  func steps(of name: String) -> [Int64] { lock.withLock { points.filter { $0.name == name }.map(\.step) } }
}

func tiny(world: Int = 1, steps: Int = 12, checkpointEvery: Int = 0, tied: Bool = false) -> TrainingConfiguration {
  TrainingConfiguration(
    vocabularySize: 64, hiddenSize: 32, intermediateSize: 48, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
    tieWordEmbeddings: tied, sequenceLength: 16, batchTokens: 64, steps: steps, learningRate: 3e-3, warmupSteps: 4, seed: 7,
    checkpointEvery: checkpointEvery, tensorParallel: world, validationRows: 8)
}

/// Documents in which a token follows from the one before, with some noise.
func writeTokens(_ path: String, seed: UInt64 = 3, tokenizer: String = "tokenizer") throws {
  var generator = SplitMix64(seed: seed)
  let documents = (0..<40).map { _ in
    var id: Int32 = Int32.random(in: 2..<64, using: &generator)
    return (0..<50).map { _ -> Int32 in
      id = generator.nextUnit() < 0.8 ? 2 + (id * 5 + 3) % 62 : Int32.random(in: 2..<64, using: &generator)
      return id
    }
  }
  try TokenShardFile.write(
    documents, vocabularySize: 64, beginning: 0, end: 1, tokenizerSHA256: SHA256Digest.hex(tokenizer), to: path)
}
