// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Pipelines
import Query
import Scheduling

/// Documents become clean, unique, masked chunks with a split. Three stages: clean (shards), find duplicates (one shard over all
/// signatures), mask and chunk (shards).
struct PreparePlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var source: String
    var output: String
    var chunk_tokens: Int?
    var overlap: Int?
    var split: [String: Double]?
    var seed: UInt64?
    /// `auto` or a number; without it every file of the table is one.
    var shards: String?

    func configuration() throws -> PrepareConfiguration {
      var result = PrepareConfiguration()
      if let chunk_tokens { result.chunkTokens = chunk_tokens }
      if let overlap { result.overlapTokens = overlap }
      if let train = split?["train"] { result.trainShare = train }
      if let seed { result.splitSeed = seed }
      try result.validate()
      return result
    }
  }

  /// What the clean stage hands on.
  private struct Carry: Codable {
    var sourceVersion: Int64
    var cleaned: [String]
    var signatures: [String]
    var read: Int
    var kept: Int
    var rejections: [String: Int]
    var dropped: String?
    var exactDuplicates: Int = 0
    var nearDuplicates: Int = 0
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let configuration = try body.configuration()
    let staging = try services.staging(call)
    switch call.id.stage {
    case 0:
      let source = try await services.tables.resolve(ThreePartName(body.source))
      var groups = try source.files.map { [$0] }
      if let shards = try ShardCount(body.shards) {
        let count = shards.count(bytes: source.scan.sizeInBytes, services)
        groups = StatementSharding.groups(source.scan.files, count: count).map { $0.map(\.path) }
      }
      return .shards(
        try groups.enumerated().map { index, files in
          let base = "\(staging)/\(call.id.attempt)-\(index)-{attempt}"
          return UnitSpec(
            index: index, kind: PrepareCleanShard.kind,
            payload: try JSONValue(
              encoding: PrepareCleanShard(
                documents: files, cleanedPath: base + ".cleaned.parquet", signaturesPath: base + ".signatures.parquet",
                rejectedPath: base + ".rejected.parquet", configuration: configuration)))
        })
    case 1:
      let carry: Carry = try call.carry.decode()
      return .shards([
        UnitSpec(
          index: 0, kind: PrepareDedupeShard.kind,
          payload: try JSONValue(
            encoding: PrepareDedupeShard(
              signatures: carry.signatures, droppedPath: "\(staging)/\(call.id.attempt)-dropped-{attempt}.parquet",
              configuration: configuration)))
      ])
    default:
      let carry: Carry = try call.carry.decode()
      let output = try await services.tables.prepare(ThreePartName(body.output), columns: BuiltInTables.chunks, by: "run \(call.id.run)")
      let tokenizer = try services.encoderDirectory() + "/tokenizer.json"
      return .shards(
        try carry.cleaned.enumerated().map { index, cleaned in
          UnitSpec(
            index: index, kind: PrepareFinishShard.kind,
            payload: try JSONValue(
              encoding: PrepareFinishShard(
                cleanedPath: cleaned, droppedPath: carry.dropped, chunksPath: services.part(output, call, index),
                tokenizerPath: tokenizer, configuration: configuration)))
        })
    }
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    switch call.id.stage {
    case 0:
      let parts: [PrepareCleanResult] = try results.decoded()
      var rejections: [String: Int] = [:]
      for part in parts { rejections.merge(part.rejections, uniquingKeysWith: +) }
      let source = try await services.tables.resolve(ThreePartName(body.source))
      let carry = Carry(
        sourceVersion: source.version, cleaned: parts.compactMap(\.cleaned?.path), signatures: parts.compactMap(\.signatures?.path),
        read: parts.reduce(0) { $0 + $1.read }, kept: parts.reduce(0) { $0 + $1.kept }, rejections: rejections)
      guard !carry.cleaned.isEmpty else {
        throw PlatformError(
          .invalidArgument, "none of the \(carry.read) documents of \(body.source) passed the quality rules",
          hint: "Rejected: \(Self.list(rejections)).", number: "PLT-3102")
      }
      return .nextStage(carry: try JSONValue(encoding: carry))
    case 1:
      var carry: Carry = try call.carry.decode()
      let parts: [PrepareDedupeResult] = try results.decoded()
      carry.dropped = parts.compactMap(\.dropped?.path).first
      carry.exactDuplicates = parts.reduce(0) { $0 + $1.exactDuplicates }
      carry.nearDuplicates = parts.reduce(0) { $0 + $1.nearDuplicates }
      return .nextStage(carry: try JSONValue(encoding: carry))
    default:
      let carry: Carry = try call.carry.decode()
      let parts: [PrepareFinishResult] = try results.decoded()
      let output = try await services.tables.prepare(ThreePartName(body.output), columns: BuiltInTables.chunks, by: "run \(call.id.run)")
      let version = try await services.tables.commit(
        output, columns: BuiltInTables.chunks, files: parts.compactMap(\.chunks), mode: .overwrite, key: call.commitKey, operation: "WRITE")
      let chunks = parts.reduce(0) { $0 + $1.chunkCount }
      let masked = parts.reduce(into: [String: Int]()) { $0.merge($1.masked, uniquingKeysWith: +) }
      let splits = parts.reduce(into: [String: Int]()) { $0.merge($1.splits, uniquingKeysWith: +) }
      let kept = parts.reduce(0) { $0 + $1.documents }
      try await services.catalog.addLineage([
        LineageEdge(
          sourceKind: "table", source: body.source, sourceVersion: carry.sourceVersion, targetKind: "table", target: "\(output.name)",
          targetVersion: version, runID: call.id.run, taskKey: call.id.task)
      ])
      let duplicates = carry.exactDuplicates + carry.nearDuplicates
      return .taskDone(values: [
        "table": .string("\(output.name)"), "version": .integer(version), "rows_in": .integer(Int64(carry.read)),
        "rows_out": .integer(Int64(chunks)), "documents": .integer(Int64(kept)),
        "rejected": try JSONValue(encoding: carry.rejections), "exact_duplicates": .integer(Int64(carry.exactDuplicates)),
        "near_duplicates": .integer(Int64(carry.nearDuplicates)), "masked": try JSONValue(encoding: masked),
        "splits": try JSONValue(encoding: splits), "tokens": .integer(parts.reduce(0) { $0 + $1.tokens }),
        "summary": .string(
          "\(output.name) v\(version)  \(grouped(chunks)) chunks of \(grouped(kept)) documents; \(carry.read - carry.kept) rejected, "
            + "\(duplicates) duplicates, \(masked.values.reduce(0, +)) masked"),
      ])
    }
  }

  private static func list(_ counts: [String: Int]) -> String {
    counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}
