// SPDX-License-Identifier: Apache-2.0

import Core

/// Decides what each step computes. A value without clock, locks or model.
///
/// There is no prefill and no decode phase (vLLM's idea): a sequence has `total` tokens, of which `computed` are in the
/// cache, and every step hands out a token budget so that `computed` catches up. Sequences that run come first; of those,
/// the ones that lack a single token. When blocks run out, the sequence that was admitted last gives its blocks back and
/// waits at the front of the queue; it is computed again later. Blocks that were computed before for the same tokens, of whatever sequence, are
/// taken over instead (`PrefixKey`), and for those that a running sequence is about to compute the others wait: nobody computes them twice.
public struct BatchScheduler: Sendable {
  public struct Configuration: Codable, Sendable, Equatable {
    /// Sequences in a step.
    public var maxBatch = 16
    /// Tokens in a step. More makes prompts quicker and the steps of running requests slower.
    public var tokensPerStep = 256
    /// Requests that may wait; more are refused with `resourceExhausted`.
    public var queueLimit = 256
    public init() {}
  }

  public struct Work: Sendable, Equatable {
    public var id: Int
    /// First token of this piece, as an index into the sequence.
    public var computed: Int
    public var count: Int
    /// The sequence's blocks, in position order.
    public var blocks: [Int32]
    /// Whether the piece reaches the sequence's end, so that its next token can be drawn.
    public var drawsToken: Bool
    /// Rows behind the sequence's end, for tokens that are only supposed to follow.
    public var drafted = 0
  }

  struct Sequence: Sendable, Equatable {
    var id: Int
    var total: Int
    var computed = 0
    var blocks: [Int32] = []
    /// What the full blocks of its tokens hold.
    var keys: [PrefixKey] = []
    /// Whether blocks of others may be taken over.
    var takesOver = true
    /// Leading blocks that have been named, or were taken over.
    var named = 0
    /// Of full blocks that are not computed yet.
    var unnamedKeys: ArraySlice<PrefixKey> { keys[named...] }
  }

  public let configuration: Configuration
  public private(set) var pool: KVBlockPool
  public private(set) var preemptionCount = 0
  /// Tokens of sequences that were admitted and could have been found in the cache, and those that were.
  public private(set) var prefixQueries = 0
  public private(set) var prefixHits = 0
  private(set) var waiting: [Sequence] = []
  private(set) var running: [Sequence] = []

  public init(configuration: Configuration, blockCount: Int) {
    precondition(configuration.maxBatch > 0 && configuration.tokensPerStep >= configuration.maxBatch)
    self.configuration = configuration
    pool = KVBlockPool(capacity: blockCount)
  }

  public var waitingCount: Int { waiting.count }
  public var runningCount: Int { running.count }
  public var isIdle: Bool { waiting.isEmpty && running.isEmpty }

  /// Queues a sequence with `tokens` known tokens that may grow to `limit`. `keys` name its full blocks; without any, nothing is kept of it.
  /// - Throws: `resourceExhausted` when the queue is full, `invalidArgument` when the cache could never hold it.
  mutating func submit(id: Int, tokens: Int, limit: Int, keys: [PrefixKey] = [], takesOver: Bool = true) throws {
    precondition(tokens > 0 && limit >= tokens)
    guard KVBlockPool.blocks(forTokens: limit) <= pool.capacity else {
      throw PlatformError(
        .invalidArgument,
        "the request may need \(limit) tokens of cache, there is room for \(pool.capacity * KVBlockPool.blockSize)",
        hint: "Ask for fewer tokens or give the engine more cache.", number: "PLT-4204")
    }
    guard waiting.count < configuration.queueLimit else {
      throw PlatformError(
        .resourceExhausted, "\(waiting.count) requests are already waiting", hint: "Try again later.", number: "PLT-4205")
    }
    precondition(keys.count <= tokens / KVBlockPool.blockSize)
    waiting.append(Sequence(id: id, total: tokens, keys: keys, takesOver: takesOver))
  }

  /// What the next step computes, at most one piece a sequence. Empty exactly when nothing is left to do.
  /// The caller computes all of it and reports with `completed`.
  public mutating func nextStep() -> [Work] {
    var budget = configuration.tokensPerStep
    var planned: [Int: Int] = [:]
    var preempted = false
    // Single tokens first, so that a long prompt does not hold up what is being streamed.
    for wantsSingle in [true, false] {
      for id in running.map(\.id) where budget > 0 {
        // An earlier turn of this loop may have preempted it.
        guard let index = running.firstIndex(where: { $0.id == id }) else { continue }
        let missing = running[index].total - running[index].computed
        guard missing > 0, (missing == 1) == wantsSingle, planned[id] == nil else { continue }
        let count = min(missing, budget)
        guard reserve(id, upTo: running[index].computed + count, preempted: &preempted, planned: &planned, budget: &budget)
        else { continue }
        planned[id] = count
        budget -= count
      }
    }
    var coming = preempted || waiting.isEmpty ? [] : Set(running.flatMap(\.unnamedKeys))
    var place = 0
    while !preempted, budget > 0, running.count < configuration.maxBatch, place < waiting.count {
      let next = waiting[place]
      let found = known(next)
      // What it lacks next is about to be there. It keeps its place; when the other is pushed out or removed, it computes that itself.
      if let lacking = found.lacking, coming.contains(lacking) {
        place += 1
        continue
      }
      // Room for all that is known of it and one block to grow, so that it does not push others out at once.
      let wanted = min(KVBlockPool.blocks(forTokens: next.total) + 1 - found.count + found.free, pool.capacity)
      guard pool.freeCount >= wanted || running.isEmpty else { break }
      var blocks = next.keys[..<found.count].compactMap { pool.revive($0) }
      let start = blocks.count * KVBlockPool.blockSize
      let count = min(next.total - start, budget)
      guard let more = pool.allocate(KVBlockPool.blocks(forTokens: start + count) - blocks.count) else {
        pool.release(blocks)
        break
      }
      blocks += more
      var sequence = waiting.remove(at: place)
      sequence.blocks = blocks
      sequence.computed = start
      sequence.named = found.count
      if sequence.takesOver {
        prefixQueries += next.total
        prefixHits += start
      }
      running.append(sequence)
      coming.formUnion(sequence.unnamedKeys)
      planned[sequence.id] = count
      budget -= count
    }
    return running.compactMap { sequence in
      planned[sequence.id].map { count in
        Work(
          id: sequence.id, computed: sequence.computed, count: count, blocks: sequence.blocks,
          drawsToken: sequence.computed + count == sequence.total)
      }
    }
  }

  /// Makes room for `count` supposed tokens behind a planned piece that reaches its sequence's end. Nobody is pushed out for them: there may be room
  /// for fewer.
  mutating func draft(_ count: Int, behind work: inout Work) {
    precondition(work.drawsToken && count >= 0)
    guard let index = running.firstIndex(where: { $0.id == work.id }) else { return }
    let tokens = work.computed + work.count
    let missing = KVBlockPool.blocks(forTokens: tokens + count) - running[index].blocks.count
    if missing > 0, let more = pool.allocate(min(missing, pool.freeCount)) { running[index].blocks += more }
    work.blocks = running[index].blocks
    work.drafted = min(count, work.blocks.count * KVBlockPool.blockSize - tokens)
  }

  /// A piece was computed; `drew` tells whether a token was drawn behind it and the sequence goes on.
  /// - Parameter accepted: how many of the supposed tokens were drawn, besides the one behind them.
  public mutating func completed(_ work: Work, drew: Bool, accepted: Int = 0) {
    precondition(accepted >= 0 && accepted <= work.drafted && (drew || accepted == 0))
    guard let index = running.firstIndex(where: { $0.id == work.id }) else { return }
    running[index].computed += work.count + accepted
    if drew { running[index].total += 1 + accepted }
    nameBlocks(index)
  }

  /// The keys of a sequence that has grown.
  mutating func setKeys(_ id: Int, _ keys: [PrefixKey]) {
    guard let index = running.firstIndex(where: { $0.id == id }) else { return }
    running[index].keys = keys
    nameBlocks(index)
  }

  private mutating func nameBlocks(_ index: Int) {
    let full = min(running[index].computed / KVBlockPool.blockSize, running[index].keys.count)
    while running[index].named < full {
      pool.name(running[index].blocks[running[index].named], running[index].keys[running[index].named])
      running[index].named += 1
    }
  }

  /// Leading blocks that need not be computed, how many of those nobody holds, and the key of the first that is not there and that would be taken
  /// over if it were. The last token always is computed, for its logits.
  private func known(_ sequence: Sequence) -> (count: Int, free: Int, lacking: PrefixKey?) {
    guard sequence.takesOver else { return (0, 0, nil) }
    var (count, free) = (0, 0)
    for key in sequence.keys.prefix((sequence.total - 1) / KVBlockPool.blockSize) {
      let (isThere, isFree) = pool.find(key)
      guard isThere else { return (count, free, key) }
      count += 1
      free += isFree ? 1 : 0
    }
    return (count, free, nil)
  }

  /// Forgets a sequence, wherever it is.
  public mutating func remove(_ id: Int) {
    if let index = running.firstIndex(where: { $0.id == id }) {
      pool.release(running.remove(at: index).blocks)
    } else {
      waiting.removeAll { $0.id == id }
    }
  }

  /// Extends the blocks of `id` to hold `tokens`, preempting from the end of `running`. False when `id` itself had to go.
  private mutating func reserve(
    _ id: Int, upTo tokens: Int, preempted: inout Bool, planned: inout [Int: Int], budget: inout Int
  ) -> Bool {
    while let index = running.firstIndex(where: { $0.id == id }) {
      let missing = KVBlockPool.blocks(forTokens: tokens) - running[index].blocks.count
      if missing <= 0 { return true }
      if let more = pool.allocate(missing) {
        running[index].blocks += more
        return true
      }
      var victim = running.removeLast()
      pool.release(victim.blocks)
      budget += planned.removeValue(forKey: victim.id) ?? 0
      victim.blocks = []
      victim.computed = 0
      victim.named = 0
      waiting.insert(victim, at: 0)
      preempted = true
      preemptionCount += 1
    }
    return false
  }

  /// What must always hold; for tests.
  var isConsistent: Bool {
    let held = running.flatMap(\.blocks)
    return pool.isConsistent(held: held) && Set(held).count == pool.usedCount && running.allSatisfy { Set($0.blocks).count == $0.blocks.count }
      && running.count <= configuration.maxBatch && waiting.allSatisfy { $0.blocks.isEmpty && $0.computed == 0 }
      && running.allSatisfy { $0.computed <= $0.total && $0.computed <= $0.blocks.count * KVBlockPool.blockSize }
      && Set((running + waiting).map(\.id)).count == running.count + waiting.count
  }
}
