// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
public import Models

/// Log-probabilities of given tokens under a model: for evaluation, not for serving. Belongs to one thread.
public final class SequenceScorer {
  public let model: any GenerativeModel
  private let runner: any GenerativeRunner
  private let blocks: [Int32]
  private let chunk: Int
  /// Longest sequence that can be scored, in tokens.
  public let maxTokens: Int

  /// - Parameter maxTokens: upper bound of a sequence; nil: the model's own limit.
  public init(model: any GenerativeModel, maxTokens: Int? = nil) throws {
    self.model = model
    let limit = max(2, min(maxTokens ?? .max, model.servedLength))
    let blockCount = KVBlockPool.blocks(forTokens: limit)
    chunk = min(limit, 64)
    self.maxTokens = limit
    blocks = (0..<blockCount).map { Int32($0) }
    runner = try model.makeRunner(blockCount: blockCount, maxRows: chunk)
  }

  /// Natural logarithms of P(tokens[i] | tokens[..<i]) for i = 1 ..< count: one value less than tokens. Blocking.
  /// - Throws: `invalidArgument` for a sequence that is too long or names a token outside the vocabulary.
  public func logProbabilities(of tokens: [Int32]) throws -> [Double] {
    let vocabulary = model.vocabularySize
    guard tokens.count <= maxTokens else {
      throw PlatformError(.invalidArgument, "\(tokens.count) tokens to score, at most \(maxTokens) fit", number: "PLT-4201")
    }
    if let bad = tokens.first(where: { $0 < 0 || $0 >= vocabulary }) {
      throw PlatformError(.invalidArgument, "token \(bad) is outside the vocabulary of \(vocabulary)", number: "PLT-4203")
    }
    var result: [Double] = []
    result.reserveCapacity(max(tokens.count - 1, 0))
    var start = 0
    // The last token predicts nothing that is asked for.
    while start < tokens.count - 1 {
      let count = min(chunk, tokens.count - 1 - start)
      var batch = DecoderBatch()
      batch.append(tokens: tokens[start..<start + count], computed: start, blocks: blocks, logits: .all)
      let logits = try runner.forward(batch)
      guard let base = logits.baseAddress else { break }
      for row in 0..<count {
        let next = Int(tokens[start + row + 1])
        result.append(Double(base[row * vocabulary + next]) - pk_log_sum_exp(base + row * vocabulary, vocabulary))
      }
      start += count
    }
    return result
  }
}

extension SequenceScorer {
  /// Loads the model of a Hugging Face folder. Blocking.
  public convenience init(directory: String, maxTokens: Int? = nil) throws {
    try self.init(model: GenerativeModels.open(directory), maxTokens: maxTokens)
  }

  public var vocabularySize: Int { model.vocabularySize }
}
