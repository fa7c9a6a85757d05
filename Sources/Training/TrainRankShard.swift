// SPDX-License-Identifier: Apache-2.0

/// One rank of a pretraining gang: the payload of work kind `train.rank`.
public struct TrainRankShard: Codable, Sendable, Equatable {
  public var configuration: TrainingConfiguration
  public var rank: Int
  public var world: Int
  /// `TokenShardFile`s, in the order in which they are read.
  public var trainFiles: [String]
  public var testFiles: [String]
  /// Shared by all ranks. Kept when the run ends, so that an attempt continues where the last one stopped.
  public var checkpointDirectory: String
  /// The model directory to be made; an existing one is replaced at the end.
  public var outputDirectory: String
  /// Its tokenizer.json, tokenizer_config.json and special_tokens_map.json, as far as they exist, are copied; nil: none.
  public var tokenizerDirectory: String?

  public init(
    configuration: TrainingConfiguration, rank: Int, world: Int, trainFiles: [String], testFiles: [String],
    checkpointDirectory: String, outputDirectory: String, tokenizerDirectory: String? = nil
  ) {
    self.configuration = configuration
    self.rank = rank
    self.world = world
    self.trainFiles = trainFiles
    self.testFiles = testFiles
    self.checkpointDirectory = checkpointDirectory
    self.outputDirectory = outputDirectory
    self.tokenizerDirectory = tokenizerDirectory
  }
}

/// What a rank returns. All ranks return the same, but only rank 0 lists the files.
public struct TrainResult: Codable, Sendable, Equatable {
  public struct Point: Codable, Sendable, Equatable {
    public var step: Int
    public var loss: Double
  }
  public struct File: Codable, Sendable, Equatable {
    public var path: String
    public var sizeBytes: Int
    public var sha256: String
  }
  /// Mean cross entropy of the last step's batch, nats a token.
  public var finalLoss: Double
  public var steps: Int
  /// Tokens trained on by all attempts together.
  public var tokens: Int
  /// Of this attempt, without validation and writing.
  public var tokensPerSecond: Double
  /// Mean over the test rows; nil without test files.
  public var validationLoss: Double?
  public var validationTokens: Int
  /// At most some 500 points.
  public var losses: [Point]
  public var modelDirectory: String
  public var files: [File]
}
