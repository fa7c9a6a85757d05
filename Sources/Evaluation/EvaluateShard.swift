// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Inference
import Tokenizers

/// Work of kind `evaluate`: the perplexity of a language model on test text, beside n-gram baselines on the same tokens.
public struct EvaluateShard: Codable, Sendable, Equatable {
  /// Files of token ids, little-endian and unsigned, without a header.
  public struct TokenFiles: Codable, Sendable, Equatable {
    /// Absolute paths; a sequence does not continue from one file into the next.
    public var paths: [String]
    /// 2 or 4.
    public var bytesPerToken: Int
    /// Id that begins a new sequence (and is its first token); nil: a file is one sequence.
    public var separator: Int32?
    public init(paths: [String], bytesPerToken: Int, separator: Int32? = nil) {
      self.paths = paths
      self.bytesPerToken = bytesPerToken
      self.separator = separator
    }
  }

  /// Hugging Face model folder with its tokenizer.
  public var modelDirectory: String
  /// Tokens that the baselines are counted on; nil: the caller gives texts.
  public var train: TokenFiles?
  /// Tokens that are scored; nil: the caller gives texts.
  public var test: TokenFiles?
  /// Share of the training sequences on which the interpolation weights are fitted.
  public var heldOutShare = 0.1
  /// Longest sequence that is scored at once; longer ones are cut into pieces. Nil: the model's limit, at most 1024.
  public var contextLength: Int?

  public init(modelDirectory: String) { self.modelDirectory = modelDirectory }
}

public struct EvaluateResult: Codable, Sendable, Equatable {
  /// exp of the mean negative log-likelihood of a test token.
  public var perplexity: Double
  public var unigram: Double
  public var bigram: Double
  public var trigram: Double
  /// Scored tokens: all but the first of each piece, the same for the model and the baselines.
  public var tokens: Int
  public var trainTokens: Int
  /// Interpolation weights of the three orders.
  public var weights: [Double]
}

/// The two texts of an evaluation.
public enum EvaluationPart: Sendable { case train, test }

/// Runs an evaluation on the calling thread. `texts` is asked for the parts that the shard names no token files for.
///
/// A text becomes one sequence that begins with the tokenizer's begin (or end) token, where it has one, so that its first
/// real token is scored as well.
/// - Throws: `invalidArgument` without test tokens, `invalidFile` for unusable files, `CancellationError`.
public func evaluate(
  _ shard: EvaluateShard, context: any WorkContext, texts: (EvaluationPart) throws -> [String] = { _ in [] }
) throws -> EvaluateResult {
  let model = try LanguageModel(directory: shard.modelDirectory, contextLength: min(shard.contextLength ?? 1024, 1 << 20))
  let train = try sequences(shard.train, model.vocabularySize) {
    model.encode(try texts(.train), try tokenizer(shard))
  }
  let test = try sequences(shard.test, model.vocabularySize) { model.encode(try texts(.test), try tokenizer(shard)) }
  return try evaluate(model: model, train: train, test: test, heldOutShare: shard.heldOutShare, context: context)
}

private func tokenizer(_ shard: EvaluateShard) throws -> any Tokenizer { try TokenizerFile.open(shard.modelDirectory) }

private func sequences(
  _ files: EvaluateShard.TokenFiles?, _ vocabularySize: Int, orElse: () throws -> [[Int32]]
) throws -> [[Int32]] {
  guard let files else { return try orElse() }
  return try files.paths.flatMap { try files.read($0, vocabularySize: vocabularySize) }
}

func evaluate(
  model: LanguageModel, train: [[Int32]], test: [[Int32]], heldOutShare: Double, context: any WorkContext
) throws -> EvaluateResult {
  let pieces = test.flatMap { model.pieces($0) }
  guard !pieces.isEmpty else {
    throw PlatformError(
      .invalidArgument, "there are no test tokens to evaluate \(test.isEmpty ? "on" : "on: every text is shorter than two tokens")",
      hint: "The data needs rows whose split is 'test': prepare it with a train share below 1.", number: "PLT-4414")
  }
  let parts = InterpolatedNGram.split(train, share: heldOutShare)
  context.log("counting n-grams of \(train.count) sequences")
  let baseline = try InterpolatedNGram(
    counted: parts.counted, heldOut: parts.heldOut, vocabularySize: model.vocabularySize)
  try context.checkCancelled()
  var sum = 0.0
  var tokens = 0
  for (index, piece) in pieces.enumerated() {
    try context.checkCancelled()
    let scores = try model.logProbabilities(of: piece)
    sum -= scores.reduce(0, +)
    tokens += scores.count
    context.progress(done: Int64(index + 1), total: Int64(pieces.count), unit: "sequences")
  }
  func perplexity(_ order: Int) -> Double {
    let score = baseline.negativeLogLikelihood(pieces, order: order)
    return exp(score.sum / Double(score.tokens))
  }
  let result = EvaluateResult(
    perplexity: exp(sum / Double(tokens)), unigram: perplexity(1), bigram: perplexity(2), trigram: perplexity(3),
    tokens: tokens, trainTokens: train.reduce(0) { $0 + $1.count }, weights: baseline.weights)
  guard result.perplexity.isFinite else {
    throw PlatformError(.invalidFile, "the model's perplexity is not finite: its weights are damaged or overflow")
  }
  return result
}

/// The model as evaluation sees it.
final class LanguageModel {
  let vocabularySize: Int
  private let scorer: SequenceScorer

  init(directory: String, contextLength: Int) throws {
    scorer = try SequenceScorer(directory: directory, maxTokens: contextLength)
    vocabularySize = scorer.vocabularySize
  }

  func logProbabilities(of tokens: [Int32]) throws -> [Double] { try scorer.logProbabilities(of: tokens) }

  func encode(_ texts: [String], _ tokenizer: any Tokenizer) -> [[Int32]] {
    let first = tokenizer.special.beginning ?? tokenizer.special.end
    return texts.map { text in
      let ids = tokenizer.encode(text, addSpecialTokens: false)
      return (first.map { [$0] } ?? []) + ids
    }
  }

  /// Cuts a sequence to what fits; pieces of one token have nothing to score.
  func pieces(_ tokens: [Int32]) -> [[Int32]] {
    stride(from: 0, to: tokens.count, by: scorer.maxTokens)
      .map { Array(tokens[$0..<min($0 + scorer.maxTokens, tokens.count)]) }
      .filter { $0.count > 1 }
  }
}

extension EvaluateShard.TokenFiles {
  /// The sequences of one file.
  /// - Throws: `notFound`, `invalidFile` for a length that is no multiple of the token size or an id outside the vocabulary.
  func read(_ path: String, vocabularySize: Int) throws -> [[Int32]] {
    guard bytesPerToken == 2 || bytesPerToken == 4 else {
      throw PlatformError(.invalidArgument, "token files have 2 or 4 bytes a token, not \(bytesPerToken)")
    }
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "cannot read token file", path: path)
    }
    guard data.count % bytesPerToken == 0 else {
      throw PlatformError(.invalidFile, "the file's \(data.count) bytes are no whole number of tokens", path: path)
    }
    var sequences: [[Int32]] = []
    var current: [Int32] = []
    try data.withUnsafeBytes { bytes in
      for offset in stride(from: 0, to: bytes.count, by: bytesPerToken) {
        let id =
          bytesPerToken == 2
          ? UInt32(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
          : UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        guard id < UInt32(vocabularySize) else {
          throw PlatformError(
            .invalidFile, "token \(id) is outside the vocabulary of \(vocabularySize)", path: path)
        }
        if Int32(id) == separator && !current.isEmpty {
          sequences.append(current)
          current = []
        }
        current.append(Int32(id))
      }
    }
    if !current.isEmpty { sequences.append(current) }
    return sequences
  }
}
