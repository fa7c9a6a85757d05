// SPDX-License-Identifier: Apache-2.0

import Collectives
import Core
import DuckDB
import Evaluation
import Foundation
import Query
import Tensor
import Training
import Transport

/// Ranks of a training gang, and the work that prepares their data.
enum TrainingExecutor {
  static func rank(_ work: TrainingWork, context: ExecutorContext) throws -> JSONValue {
    guard let seat = context.gang else { throw PlatformError(.internalError, "a rank needs a gang") }
    var configuration = TrainingConfiguration(vocabularySize: work.vocabulary)
    configuration.hiddenSize = work.hidden
    configuration.intermediateSize = work.intermediate
    configuration.layerCount = work.layers
    configuration.headCount = work.heads
    configuration.keyValueHeadCount = work.keyValueHeads
    configuration.sequenceLength = work.sequenceLength
    configuration.batchTokens = work.batchTokens
    configuration.steps = work.steps
    configuration.learningRate = work.learningRate
    configuration.warmupSteps = work.warmupSteps
    configuration.weightDecay = work.weightDecay
    configuration.seed = work.seed
    configuration.checkpointEvery = work.checkpointEvery
    configuration.tensorParallel = seat.size
    let collective = try joinGang(seat, context)
    let shard = TrainRankShard(
      configuration: configuration, rank: seat.rank, world: seat.size, trainFiles: work.trainFiles, testFiles: work.testFiles,
      checkpointDirectory: work.checkpointDirectory, outputDirectory: work.outputDirectory, tokenizerDirectory: work.tokenizer)
    return try JSONValue(encoding: TrainRank.run(shard, collective: collective, context: context))
  }

  /// Shared memory when all ranks are on this machine, ZeroMQ otherwise.
  /// - Parameters:
  ///   - overNetwork: ZeroMQ in any case.
  ///   - patience: seconds until all ranks have to listen.
  ///   - deadline: of each meeting.
  static func joinGang(
    _ seat: AssignedWork.Seat, _ context: ExecutorContext, overNetwork: Bool = false, patience: Int = 120, deadline: Duration = .seconds(30)
  ) throws -> any Collective {
    if seat.size == 1 { return SingleRank() }
    let keys = try CurveKeyPair.generate()
    let listener = try RankListener(address: context.listenAddress, keys: keys)
    context.announce(address: listener.endpoint, publicKey: keys.publicKey.description)
    let peers = try context.waitForPeers(deadline: patience)
    if !overNetwork, peers.allSatisfy({ $0.hostID == ProcessSupport.hostID }) {
      context.log("rank \(seat.rank) of \(seat.size), shared memory, generation \(seat.generation)")
      return try SharedMemoryGroup(
        name: "\(seat.gang)/\(seat.generation)", rank: seat.rank, worldSize: seat.size, deadline: deadline)
    }
    context.log("rank \(seat.rank) of \(seat.size), ZeroMQ, generation \(seat.generation)")
    return try TransportGroup(
      listener: listener, rank: seat.rank, worldSize: seat.size, generation: seat.generation,
      peers: peers.map { PeerAddress(rank: $0.rank, address: $0.address, publicKey: $0.publicKey, hostID: $0.hostID) }, deadline: deadline)
  }

  /// Calls `body` with each text and whether it belongs to the test split.
  static func forEachText(_ files: [String], _ context: any WorkContext, _ body: (String, Bool) throws -> Void) throws {
    let scan = try ParquetScan(files: files, columns: ["text", "split"])
    while let chunk = try scan.next() {
      try context.checkCancelled()
      let (texts, splits) = (chunk.column(0), chunk.column(1))
      for row in 0..<chunk.count { try body(texts.string(row), splits.string(row) == "test") }
    }
  }

  static func evaluateModel(_ work: EvaluateWork, context: any WorkContext) throws -> JSONValue {
    var train: [String] = []
    var test: [String] = []
    try forEachText(work.files, context) { text, isTest in
      if isTest { test.append(text) } else { train.append(text) }
    }
    let result = try evaluate(EvaluateShard(modelDirectory: work.modelDirectory), context: context) { $0 == .train ? train : test }
    context.log("perplexity \(result.perplexity), unigram \(result.unigram), bigram \(result.bigram), trigram \(result.trigram)")
    return try JSONValue(
      encoding: EvaluationFigures(
        perplexity: result.perplexity, unigram: result.unigram, bigram: result.bigram, trigram: result.trigram, tokens: result.tokens))
  }
}
