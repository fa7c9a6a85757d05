// SPDX-License-Identifier: Apache-2.0

/// Payload of work of kind `train.tokenizer`: a tokenizer trained on the training split of a table of chunks.
public struct TokenizerWork: Codable, Sendable, Equatable {
  /// Parquet files with `text` and `split` columns.
  public var files: [String]
  public var vocabulary: Int
  /// `bpe` or `unigram`. Nil: `bpe`.
  public var kind: String?
  /// Version of the table that `files` are of; the result repeats it, so that later stages and lineage name what was read.
  public var dataVersion: Int64
  /// Folder to make.
  public var output: String
  public init(files: [String], vocabulary: Int, kind: String? = nil, dataVersion: Int64, output: String) {
    self.kind = kind
    self.files = files
    self.vocabulary = vocabulary
    self.dataVersion = dataVersion
    self.output = output
  }
}

/// Result of work of kind `train.tokenizer`.
public struct TokenizerResult: Codable, Sendable, Equatable {
  /// Folder of the tokenizer.
  public var directory: String
  public var vocabularySize: Int
  /// As in the work.
  public var dataVersion: Int64
  public init(directory: String, vocabularySize: Int, dataVersion: Int64) {
    self.directory = directory
    self.vocabularySize = vocabularySize
    self.dataVersion = dataVersion
  }
}

/// Payload of work of kind `train.tokenize`: token files of one data file, one a split.
public struct TokenizeWork: Codable, Sendable, Equatable {
  public var files: [String]
  public var tokenizer: String
  public var trainOutput: String
  public var testOutput: String
  public init(files: [String], tokenizer: String, trainOutput: String, testOutput: String) {
    self.files = files
    self.tokenizer = tokenizer
    self.trainOutput = trainOutput
    self.testOutput = testOutput
  }
}

/// Payload of work of kind `train.rank`, as the planner makes it: the worker adds rank and size from the gang.
public struct TrainingWork: Codable, Sendable, Equatable {
  /// The curve that rank 0 continues when all ranks have written a checkpoint: the gang can stop there and loses nothing.
  public static let checkpointMetric = "checkpoint"

  public var vocabulary: Int
  public var hidden: Int
  public var intermediate: Int
  public var layers: Int
  public var heads: Int
  public var keyValueHeads: Int
  public var sequenceLength: Int
  public var batchTokens: Int
  public var steps: Int
  public var learningRate: Double
  public var warmupSteps: Int
  public var weightDecay: Double
  public var seed: UInt64
  public var checkpointEvery: Int
  public var tensorParallel: Int
  public var trainFiles: [String]
  public var testFiles: [String]
  public var tokenizer: String
  public var checkpointDirectory: String
  public var outputDirectory: String

  public init(
    vocabulary: Int, hidden: Int, intermediate: Int, layers: Int, heads: Int, keyValueHeads: Int, sequenceLength: Int,
    batchTokens: Int, steps: Int, learningRate: Double, warmupSteps: Int, weightDecay: Double, seed: UInt64, checkpointEvery: Int,
    tensorParallel: Int, trainFiles: [String], testFiles: [String], tokenizer: String, checkpointDirectory: String,
    outputDirectory: String
  ) {
    self.vocabulary = vocabulary
    self.hidden = hidden
    self.intermediate = intermediate
    self.layers = layers
    self.heads = heads
    self.keyValueHeads = keyValueHeads
    self.sequenceLength = sequenceLength
    self.batchTokens = batchTokens
    self.steps = steps
    self.learningRate = learningRate
    self.warmupSteps = warmupSteps
    self.weightDecay = weightDecay
    self.seed = seed
    self.checkpointEvery = checkpointEvery
    self.tensorParallel = tensorParallel
    self.trainFiles = trainFiles
    self.testFiles = testFiles
    self.tokenizer = tokenizer
    self.checkpointDirectory = checkpointDirectory
    self.outputDirectory = outputDirectory
  }
}

/// Payload of work of kind `evaluate`: perplexity of a model on the test split, beside n-gram baselines.
public struct EvaluateWork: Codable, Sendable, Equatable {
  public var files: [String]
  public var modelDirectory: String
  public init(files: [String], modelDirectory: String) {
    self.files = files
    self.modelDirectory = modelDirectory
  }
}

/// What evaluation returns; all perplexities are of the same test tokens.
public struct EvaluationFigures: Codable, Sendable, Equatable {
  public var perplexity: Double
  public var unigram: Double
  public var bigram: Double
  public var trigram: Double
  public var tokens: Int
  public init(perplexity: Double, unigram: Double, bigram: Double, trigram: Double, tokens: Int) {
    self.perplexity = perplexity
    self.unigram = unigram
    self.bigram = bigram
    self.trigram = trigram
    self.tokens = tokens
  }
}
