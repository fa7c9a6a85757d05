// SPDX-License-Identifier: Apache-2.0

import Core
import Inference
import Models
import Tensor
import Transport

/// A replica that consists of several ranks, each with a part of the model: rank 0 has the engine and answers, the others compute what it says.
enum SplitReplica {
  /// Another rank may still be loading its part.
  private static let loadSeconds = 600
  /// A rank that neither moves nor dies for so long ends the replica.
  private static let meetingLimit = Duration.seconds(60)

  static func configuration(_ spec: ReplicaSpec) throws -> InferenceEngine.Configuration {
    var configuration = InferenceEngine.Configuration()
    configuration.cacheBytes = spec.cacheBytes
    configuration.precision = try spec.precision()
    configuration.cache = try CacheFormat.named(spec.cacheDtype ?? "auto")
    configuration.threads = spec.threads ?? 1
    configuration.speculation = spec.speculate ?? 0
    return configuration
  }

  /// Loads rank 0's part and meets the others.
  /// - Parameter lost: called once when another rank has gone.
  static func lead(
    _ spec: ReplicaSpec, _ seat: AssignedWork.Seat, _ context: ExecutorContext, lost: @escaping @Sendable (PlatformError) -> Void
  ) throws -> (SplitModel, InferenceEngine.Configuration) {
    let part = try part(spec, ModelPart(rank: 0, of: seat.size))
    return (try SplitModel(model: part, collective: meet(seat, context), lost: lost), try configuration(spec))
  }

  /// Blocks for the replica's life.
  static func follow(_ spec: ReplicaSpec, _ seat: AssignedWork.Seat, _ context: ExecutorContext) throws -> JSONValue {
    let part = try part(spec, ModelPart(rank: seat.rank, of: seat.size))
    try SplitModel.follow(model: part, collective: meet(seat, context), threads: spec.threads ?? 1) { try context.checkCancelled() }
    return [:]
  }

  private static func part(_ spec: ReplicaSpec, _ part: ModelPart) throws -> DecoderModel {
    let model = try DecoderModel(directory: spec.modelDirectory, precision: spec.precision(), part: part)
    guard model.hasHead else {
      throw PlatformError(.invalidFile, "the checkpoint has no lm_head and does not tie it to the embeddings, so it generates nothing", number: "PLT-4102")
    }
    return model
  }

  private static func meet(_ seat: AssignedWork.Seat, _ context: ExecutorContext) throws -> any Collective {
    try TrainingExecutor.joinGang(seat, context, patience: loadSeconds, deadline: meetingLimit)
  }

  /// What is loaded to see whether ranks can load theirs: as much as one of them does.
  struct Checked: Answering {
    let adapterTargets: AdapterTargets?

    init(_ spec: ReplicaSpec) throws {
      let part = try SplitReplica.part(spec, ModelPart(rank: 0, of: spec.ranks ?? 1))
      adapterTargets = part.adapterTargets
      _ = try ModelTokenizer.open(spec.modelDirectory)
    }

    func answer(_ request: StreamRequest, _ reply: StreamReply) throws {
      throw PlatformError(.internalError, "a check answers nothing")
    }

    func stop() {}
  }
}
