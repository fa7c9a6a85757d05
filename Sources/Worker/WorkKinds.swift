// SPDX-License-Identifier: Apache-2.0

import Core
import Monitoring
import Pipelines
import Query
import Training
import Transport

/// Which function runs which kind of work.
enum WorkKinds {
  /// Blocks until the work is done.
  /// - Throws: what the work throws; `internalError` for a kind that this binary does not have.
  static func run(_ spec: WorkSpec, context: ExecutorContext) throws -> JSONValue {
    // What people wrote stays as it is.
    if spec.kind == CommandWork.kind {
      return try encode(
        CommandExecutor.run(spec.decodePayload(), spec.decodePayload(), unit: UnitName(spec.unit, attempt: spec.attempt), context: context))
    }
    if spec.kind == EnvironmentWork.kind {
      return try encode(EnvironmentMaker.run(spec.decodePayload(), unit: UnitName(spec.unit, attempt: spec.attempt), context: context))
    }
    var spec = spec
    spec.payload = ownPaths(spec.payload, attempt: spec.attempt)
    guard spec.kind == ShardBatch.kind else { return try runOwn(spec, context: context) }
    let batch = try ShardBatch(json: spec.payload)
    context.beginBatch(of: batch.payloads.count)
    return try batch.run(context: context, ended: context.batchProgress) { payload in
      try runOwn(WorkSpec(unit: spec.unit, attempt: spec.attempt, kind: batch.kind, payload: payload), context: context)
    }
  }

  private static func runOwn(_ spec: WorkSpec, context: ExecutorContext) throws -> JSONValue {
    switch spec.kind {
    case IngestShard.kind: return try encode(spec.decodePayload(IngestShard.self).run(context: context))
    case FileLoad.kind: return try encode(RemoteTables.run(spec.decodePayload(FileLoad.self).named(attempt: spec.attempt), context: context))
    case PrepareCleanShard.kind: return try encode(spec.decodePayload(PrepareCleanShard.self).run(context: context))
    case PrepareDedupeShard.kind: return try encode(spec.decodePayload(PrepareDedupeShard.self).run(context: context))
    case PrepareFinishShard.kind: return try encode(spec.decodePayload(PrepareFinishShard.self).run(context: context))
    case "embed": return try encode(EmbeddingExecutor.run(spec.decodePayload(), context: context))
    case "index.build": return try IndexBuildExecutor.run(spec.decodePayload(), context: context)
    case "train.tokenizer": return try TrainingExecutor.tokenizer(spec.decodePayload(), context: context)
    case "train.tokenize": return try TrainingExecutor.tokenize(spec.decodePayload(), context: context)
    case "train.rank": return try TrainingExecutor.rank(spec.decodePayload(), context: context)
    case "evaluate": return try TrainingExecutor.evaluateModel(spec.decodePayload(), context: context)
    case WaitWork.kind: return try encode(spec.decodePayload(WaitWork.self).run(context: context))
    case "network.rank": return try NetworkMeasurement.run(context: context)
    case "monitor": return try encode(spec.decodePayload(MonitorShard.self).run(context: context))
    case "sql": return try encode(RemoteTables.run(spec.decodePayload() as StatementSpec, context: context))
    case ExchangeShard.kind: return try encode(RemoteTables.run(spec.decodePayload() as ExchangeShard, context: context))
    case RewriteRunner.kind: return try encode(RemoteTables.run(spec.decodePayload() as RewriteSpec, context: context))
    case ServingMeasureWork.kind: return try ServingMeasurement.run(spec.decodePayload(), context: context)
    case "serve.check": return try ReplicaExecutor.check(spec.decodePayload())
    case "serve.replica": return try ReplicaExecutor.run(spec.decodePayload(), context: context)
    default: throw PlatformError(.internalError, "this binary cannot run work of kind '\(spec.kind)'")
    }
  }

  private static func encode(_ value: some Encodable) throws -> JSONValue { try JSONValue(encoding: value) }

  /// Absolute paths with `{attempt}` become this attempt's own, so that no two attempts write the same file.
  private static func ownPaths(_ value: JSONValue, attempt: Int) -> JSONValue {
    switch value {
    case .string(let text) where text.hasPrefix("/"): .string(text.replacing("{attempt}", with: String(attempt)))
    case .array(let items): .array(items.map { ownPaths($0, attempt: attempt) })
    case .object(let members): .object(members.mapValues { ownPaths($0, attempt: attempt) })
    default: value
    }
  }
}
