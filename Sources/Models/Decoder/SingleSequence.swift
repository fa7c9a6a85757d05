// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
public import Tensor

/// One sequence at a time through a decoder, for people who port and check models: all logits, hidden states, greedy text.
public final class SingleSequence {
  public let model: DecoderModel
  private let threads: Int
  /// Rows of a step; bounds the memory of a long prompt.
  private let chunk: Int
  private let collective: (any Collective)?
  private let adapter: LoRAAdapter?
  private let format: CacheFormat

  /// - Parameters:
  ///   - cache: how keys and values are kept.
  ///   - collective: of the ranks that have the model's parts; all of them call the same functions with the same values.
  ///   - adapter: that was loaded for this model, or this part of it.
  public init(
    model: DecoderModel, threads: Int = 1, chunk: Int = 256, collective: (any Collective)? = nil, adapter: LoRAAdapter? = nil,
    cache: CacheFormat = .f32
  ) {
    precondition(adapter.map { model.takes($0) } ?? true)
    self.model = model
    self.adapter = adapter
    format = cache
    self.collective = collective
    self.threads = threads
    self.chunk = max(1, chunk)
  }

  /// Hands the logits of all positions to `body`, [rows, vocabulary] at a time, in order.
  /// - Throws: `invalidArgument` (PLT-5202) for tokens that the model cannot take, `invalidFile` when it has no head, `unavailable` or
  ///   `timeout` when the rank of another part has gone, or what `body` throws.
  public func logits(_ ids: [Int32], _ body: (UnsafeBufferPointer<Float>) throws -> Void) throws {
    try checkHead()
    try check(ids, more: 0)
    let cache = try Cache(model, tokens: ids.count, rows: chunk, threads, collective, adapter, format)
    try cache.append(ids, chunk: chunk, logits: .all) { try body(cache.runner.logits($0)) }
  }

  /// Hands the final hidden states of all positions to `body`, [rows, hidden] at a time, in order.
  public func hiddenStates(_ ids: [Int32], _ body: (UnsafeBufferPointer<Float>) throws -> Void) throws {
    try check(ids, more: 0)
    let cache = try Cache(model, tokens: ids.count, rows: chunk, threads, collective, adapter, format)
    try cache.append(ids, chunk: chunk, logits: .all) { try body(cache.runner.hiddenStates($0)) }
  }

  /// The most likely token each time (ties: the lowest id), up to `limit` of them. One of `ends` is the last one.
  /// - Parameters:
  ///   - speculation: the most tokens that are supposed to follow and computed together with the last one; the answer does not depend on it.
  ///   - isCancelled: asked before each step.
  public func generate(
    _ ids: [Int32], limit: Int, ends: Set<Int32>, speculation: Int = 0, isCancelled: () -> Bool = { false }
  ) throws -> [Int32] {
    try checkHead()
    try check(ids, more: max(0, limit - 1))
    guard limit > 0 else { return [] }
    var cache = try Cache(model, tokens: ids.count + limit, rows: chunk, threads, collective, adapter, format)
    var last: [Float] = []
    try cache.append(ids, chunk: chunk, logits: .last) { batch in
      let logits = try cache.runner.logits(batch)
      if !logits.isEmpty { last = Array(logits) }
    }
    var made: [Int32] = []
    var lookup = PromptLookup()
    var draft: [Int32] = []
    while true {
      if isCancelled() { throw CancellationError() }
      // A row behind the last token, and one behind each of the draft.
      var drawn = 0
      while drawn <= draft.count {
        let row = last[drawn * model.vocabularySize..<min((drawn + 1) * model.vocabularySize, last.count)]
        let best = row.withUnsafeBufferPointer { row in row.isEmpty ? nil : row.baseAddress.map { pk_argmax($0, row.count) } }
        guard let top = best, row[row.startIndex + top].isFinite else {
          throw PlatformError(.invalidFile, "the model computed no finite logits behind token \(ids.count + made.count)", number: "PLT-5203")
        }
        made.append(Int32(top))
        drawn += 1
        guard made.count < limit, !ends.contains(Int32(top)) else { return made }
        guard drawn <= draft.count, draft[drawn - 1] == Int32(top) else { break }
      }
      cache.count -= draft.count - (drawn - 1)
      if !draft.isEmpty { lookup.note(drafted: draft.count, accepted: drawn - 1, length: ids.count + made.count) }
      let total = ids.count + made.count
      let steady = model.steadyLength ?? .max
      draft = Array(lookup.draft(behind: speculation > 0 ? ids + made : [], limit: min(speculation, limit - made.count - 1, steady - total, chunk - 1)))
      var pending = [made[made.count - 1]] + draft
      if let steady = model.longRotaryLength, total == steady + 1 {
        // All positions turn by other frequencies from here on, so the cache is made anew.
        cache = try Cache(model, tokens: ids.count + limit, rows: chunk, threads, collective, adapter, format)
        pending = ids + made
      }
      try cache.append(pending, chunk: chunk, logits: .tail(1 + draft.count)) { batch in
        let logits = try cache.runner.logits(batch)
        if !logits.isEmpty { last = Array(logits) }
      }
    }
  }

  private func checkHead() throws {
    guard model.hasHead else {
      throw PlatformError(
        .invalidFile, "the checkpoint has no lm_head and does not tie it to the embeddings, so it has no logits",
        hint: "Use 'platform model hidden' or 'embed'.", number: "PLT-4103")
    }
  }

  private func check(_ ids: [Int32], more: Int) throws {
    func refuse(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "PLT-5202") }
    guard !ids.isEmpty else { throw refuse("there are no token ids") }
    if let bad = ids.first(where: { $0 < 0 || $0 >= model.vocabularySize }) {
      throw refuse("token id \(bad) is outside the vocabulary of \(model.vocabularySize)")
    }
    if let limit = model.positionLimit, ids.count + more > limit {
      throw refuse("\(ids.count) tokens\(more > 0 ? " and \(more) more" : "") are beyond the \(limit) positions of the model")
    }
  }

  /// A cache for one sequence.
  private final class Cache {
    let runner: DecoderRunner
    private let blocks: [Int32]
    private let adapter: LoRAAdapter?
    /// Tokens that it holds. Where it is less than there were, those that come next take the places of the others.
    var count = 0

    init(
      _ model: DecoderModel, tokens: Int, rows: Int, _ threads: Int, _ collective: (any Collective)?, _ adapter: LoRAAdapter?, _ format: CacheFormat
    ) throws {
      self.adapter = adapter
      let blockCount = (tokens + DecoderRunner.blockSize - 1) / DecoderRunner.blockSize
      runner = try DecoderRunner(
        model: model, blockCount: blockCount, maxRows: min(rows, max(tokens, 1)), threads: threads, collective: collective, cache: format)
      blocks = (0..<Int32(blockCount)).map { $0 }
    }

    func append(_ ids: [Int32], chunk: Int, logits: DecoderBatch.Logits, _ step: (DecoderBatch) throws -> Void) throws {
      // Frequencies that depend on the length go by the whole text, not by its first chunk.
      runner.rotaryLength = count + ids.count
      let size = min(chunk, runner.maxRows)
      for start in stride(from: 0, to: ids.count, by: size) {
        let end = min(start + size, ids.count)
        var batch = DecoderBatch()
        let wanted: DecoderBatch.Logits = logits != .all && end < ids.count ? .none : logits
        batch.append(tokens: ids[start..<end], computed: count, blocks: blocks, logits: wanted, adapter: adapter)
        try step(batch)
        count += end - start
      }
    }
  }
}

extension DecoderModel {
  /// Length beyond which longrope takes its other set of divisors for all positions.
  var longRotaryLength: Int? {
    plan.rotary.compactMap { rotary in
      if case .longrope(_, _, let original, _) = rotary.scaling { original } else { nil }
    }.min()
  }
}
