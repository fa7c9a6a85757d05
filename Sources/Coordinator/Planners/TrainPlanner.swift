// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Query
import Scheduling
import Tokenizers
import Transport

/// A table of chunks becomes a registered language model: train a tokenizer (one shard), tokenise (shards), train (a gang of
/// tensor-parallel ranks), register.
struct TrainPlanner: TaskPlanner {
  let services: PlanningServices
  private static let vocabularyDefault = 2048

  private struct Body: Decodable {
    struct Checkpoint: Decodable { var every_steps: Int? }
    struct Compute: Decodable {
      var tensor_parallel: Int?
      var min_tensor_parallel: Int?
      var shrink_after_seconds: Int64?
      var spares: Int?

      /// Layers can be cut by every number that divides that of the ranks, and a checkpoint is read by any of them.
      func terms(of ranks: Int) -> GangTerms {
        GangTerms(
          sizes: (1...max(1, ranks)).filter { $0 >= min_tensor_parallel ?? ranks && ranks % $0 == 0 }, patienceMs: (shrink_after_seconds ?? 60) * 1000,
          spares: spares ?? 0)
      }
    }
    var data: String
    var register_as: String
    var vocabulary: Int?
    var tokenizer: String?
    var hidden: Int?
    var layers: Int?
    var heads: Int?
    var kv_heads: Int?
    var intermediate: Int?
    var sequence_length: Int?
    var batch_tokens: Int?
    var steps: Int?
    var learning_rate: Double?
    var warmup_steps: Int?
    var weight_decay: Double?
    var seed: UInt64?
    var checkpoint: Checkpoint?
    var compute: Compute?
  }

  /// What the stages hand on. The version of the data is the one that stage 0 was planned with, whatever was written since.
  struct Carry: Codable, Equatable {
    var dataVersion: Int64
    var tokenizer: String = ""
    var vocabulary: Int = 0
    var trainFiles: [String] = []
    var testFiles: [String] = []
    var trainTokens: Int = 0
    var testTokens: Int = 0
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let staging = try services.staging(call)
    let name = try ThreePartName(body.register_as)
    switch call.id.stage {
    case 0:
      let data = try await services.tables.resolve(ThreePartName(body.data))
      guard try !data.files.isEmpty else { throw PlatformError(.invalidArgument, "\(body.data) is empty: there is nothing to train on") }
      if body.tokenizer == "unigram" { try UnigramTrainer(vocabularySize: body.vocabulary ?? Self.vocabularyDefault).check() }
      return .shards([
        UnitSpec(
          index: 0, kind: "train.tokenizer",
          payload: try JSONValue(
            encoding: TokenizerWork(
              files: try data.files, vocabulary: body.vocabulary ?? Self.vocabularyDefault, kind: body.tokenizer, dataVersion: data.version,
              output: "\(staging)/tokenizer-\(call.id.attempt)-{attempt}")))
      ])
    case 1:
      let carry: Carry = try call.carry.decode()
      let data = try await services.tables.resolve(ThreePartName(body.data), version: carry.dataVersion)
      return .shards(
        try data.files.enumerated().map { index, file in
          let base = "\(staging)/tokens-\(call.id.attempt)-\(index)-{attempt}"
          return UnitSpec(
            index: index, kind: "train.tokenize",
            payload: try JSONValue(
              encoding: TokenizeWork(
                files: [file], tokenizer: carry.tokenizer, trainOutput: base + ".train.tokens", testOutput: base + ".test.tokens")))
        })
    default:
      let carry: Carry = try call.carry.decode()
      let ranks = body.compute?.tensor_parallel ?? 1
      // One checkpoint folder for the run: a restarted gang, and a retried task, go on where the last one stopped.
      let work = TrainingWork(
        vocabulary: (carry.vocabulary + ranks - 1) / ranks * ranks, hidden: body.hidden ?? 192, intermediate: body.intermediate ?? 512,
        layers: body.layers ?? 4, heads: body.heads ?? 6, keyValueHeads: body.kv_heads ?? 2,
        sequenceLength: body.sequence_length ?? 128, batchTokens: body.batch_tokens ?? 2048, steps: body.steps ?? 600,
        learningRate: body.learning_rate ?? 3e-3, warmupSteps: body.warmup_steps ?? 50, weightDecay: body.weight_decay ?? 0.1,
        seed: body.seed ?? 1, checkpointEvery: body.checkpoint?.every_steps ?? 100, tensorParallel: ranks,
        trainFiles: carry.trainFiles, testFiles: carry.testFiles, tokenizer: carry.tokenizer,
        checkpointDirectory: "\(services.layout.checkpoints)/\(call.id.run)/\(call.id.task)",
        outputDirectory: "\(services.layout.models)/\(name)/run-\(call.id.run)-\(call.id.task)")
      for folder in [work.checkpointDirectory, (work.outputDirectory as NSString).deletingLastPathComponent] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
      let payload = try JSONValue(encoding: work)
      return .gang((0..<ranks).map { UnitSpec(index: $0, kind: "train.rank", payload: payload) }, body.compute?.terms(of: ranks) ?? GangTerms())
    }
  }

  /// What stage 0's result hands on. The table is not looked at again: it may have a newer version by now.
  static func afterTokenizer(_ results: [JSONValue]) throws -> Carry {
    let trained: [TokenizerResult] = try results.decoded()
    guard let one = trained.first else { throw PlatformError(.internalError, "no tokenizer was made") }
    return Carry(dataVersion: one.dataVersion, tokenizer: one.directory, vocabulary: one.vocabularySize)
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    switch call.id.stage {
    case 0:
      return .nextStage(carry: try JSONValue(encoding: try Self.afterTokenizer(results)))
    case 1:
      struct Tokens: Decodable {
        var train: String?
        var test: String?
        var trainTokens: Int
        var testTokens: Int
      }
      var carry: Carry = try call.carry.decode()
      let parts: [Tokens] = try results.decoded()
      carry.trainFiles = parts.compactMap(\.train)
      carry.testFiles = parts.compactMap(\.test)
      carry.trainTokens = parts.reduce(0) { $0 + $1.trainTokens }
      carry.testTokens = parts.reduce(0) { $0 + $1.testTokens }
      return .nextStage(carry: try JSONValue(encoding: carry))
    default:
      struct Trained: Decodable {
        var finalLoss: Double
        var steps: Int
        var tokens: Int
        var tokensPerSecond: Double
        var validationLoss: Double?
        var modelDirectory: String
      }
      let carry: Carry = try call.carry.decode()
      let ranks: [Trained] = try results.decoded()
      guard let first = ranks.first else { throw PlatformError(.internalError, "no rank returned a model") }
      let name = try ThreePartName(body.register_as)
      let actor = "run \(call.id.run)"
      let model = try await services.catalog.registerModel(
        name, kind: "generate", location: first.modelDirectory, runID: call.id.run,
        facts: [
          "data": .string(body.data), "data_version": .integer(carry.dataVersion), "final_loss": .number(first.finalLoss),
          "validation_loss": first.validationLoss.map { .number($0) } ?? .null, "steps": .integer(Int64(first.steps)),
          "tokens": .integer(Int64(first.tokens)), "tensor_parallel": .integer(Int64(ranks.count)),
        ], by: actor)
      try await services.catalog.addLineage([
        LineageEdge(
          sourceKind: "table", source: body.data, sourceVersion: carry.dataVersion, targetKind: "model", target: "\(name)",
          targetVersion: Int64(model.version), runID: call.id.run, taskKey: call.id.task)
      ])
      return .taskDone(values: [
        "model_uri": .string(model.uri), "model_version": .integer(Int64(model.version)), "final_loss": .number(first.finalLoss),
        "validation_loss": first.validationLoss.map { .number($0) } ?? .null, "tokens_per_second": .number(first.tokensPerSecond),
        "rows_in": .integer(Int64(carry.trainTokens)), "rows_out": 1, "steps": .integer(Int64(first.steps)),
        "summary": .string(
          "\(name)/\(model.version)  loss \(String(format: "%.3f", first.finalLoss)) after \(first.steps) steps, "
            + "\(grouped(Int(first.tokensPerSecond))) tok/s on \(ranks.count) \(ranks.count == 1 ? "rank" : "ranks")"),
      ])
    }
  }
}

/// Perplexity on held-out text beside n-gram baselines, and the gate that lets a model through. One shard.
struct EvaluatePlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    struct Gate: Decodable {
      var max_ratio_to_unigram: Double?
      var below_bigram: Bool?
    }
    var model: String
    var data: String
    var gate: Gate?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let model = try await services.catalog.resolveModel(body.model)
    let data = try await services.tables.resolve(ThreePartName(body.data))
    return .shards([
      UnitSpec(
        index: 0, kind: "evaluate", payload: try JSONValue(encoding: EvaluateWork(files: try data.files, modelDirectory: model.location)))
    ])
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let figures: [EvaluationFigures] = try results.decoded()
    guard let one = figures.first else { throw PlatformError(.internalError, "the evaluation returned nothing") }
    func text(_ value: Double) -> String { String(format: "%.1f", value) }
    let line = "perplexity \(text(one.perplexity)); unigram \(text(one.unigram)), bigram \(text(one.bigram)), trigram \(text(one.trigram))"
    if let gate = body.gate {
      if let ratio = gate.max_ratio_to_unigram, one.perplexity > ratio * one.unigram {
        throw PlatformError(
          .invalidArgument, "the gate refused \(body.model): perplexity \(text(one.perplexity)) is above \(ratio) x unigram \(text(one.unigram))",
          hint: line, number: "PLT-4413")
      }
      if gate.below_bigram == true, one.perplexity >= one.bigram {
        throw PlatformError(
          .invalidArgument, "the gate refused \(body.model): perplexity \(text(one.perplexity)) is not below bigram \(text(one.bigram))",
          hint: line, number: "PLT-4413")
      }
    }
    return .taskDone(values: [
      "perplexity": .number(one.perplexity), "unigram": .number(one.unigram), "bigram": .number(one.bigram),
      "trigram": .number(one.trigram), "rows_in": .integer(Int64(one.tokens)), "rows_out": 1, "passed": .bool(body.gate != nil),
      "model_uri": .string(try await services.catalog.resolveModel(body.model).uri), "summary": .string(line),
    ])
  }
}
