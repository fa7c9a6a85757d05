// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

/// What a checkpoint of a version holds ("Checkpoints", requirements for writers). Pure.
public struct CheckpointContent: Sendable {
  /// Protocol, metadata, transactions and domains.
  public var head: [Action]
  /// Live files, then tombstones that have not expired. None changes data.
  public var files: [Action]

  /// - Parameter now: milliseconds since 1970; what was removed before the table's retention ends is left out.
  public init(_ state: Snapshot, now: Int64) {
    let properties = state.properties
    let horizon = now.subtractingReportingOverflow(properties.deletedFileRetentionMilliseconds).partialValue
    head = [.protocol(state.tableProtocol), .metadata(state.metadata)]
    head += state.transactions.values.sorted { $0.appId < $1.appId }.filter { transaction in
      guard let retention = properties.transactionRetentionMilliseconds, let updated = transaction.lastUpdated else { return true }
      return updated > now.subtractingReportingOverflow(retention).partialValue
    }.map { .transaction($0) }
    head += state.domains.values.sorted { $0.domain < $1.domain }.map { .domain($0) }
    files = state.files.map {
      var file = $0
      file.dataChange = false
      // With columns the text is left out where they are made of it.
      if !properties.writesStatsAsJSON && !properties.writesStatsAsStruct && file.deletionVector == nil { file.stats = nil }
      return .add(file)
    }
    files += state.removedFiles.filter { ($0.deletionTimestamp ?? 0) > horizon }.map {
      var file = $0
      file.dataChange = false
      file.stats = nil
      file.tags = nil
      return .remove(file)
    }
  }

  /// The V1 form: everything in one file.
  public var classic: [Action] { head + files }

  /// The V2 form with its files in sidecars.
  public func v2(version: Int64, sidecars: [Sidecar]) -> [Action] {
    [.checkpoint(CheckpointMetadata(version: version))] + head + sidecars.map { .sidecar($0) }
  }

  /// File actions in pieces of at most `limit`; at least one piece.
  public func pieces(limit: Int) -> [[Action]] {
    guard files.count > limit, limit > 0 else { return [files] }
    return stride(from: 0, to: files.count, by: limit).map { Array(files[$0..<min($0 + limit, files.count)]) }
  }

  public var addCount: Int { files.count { if case .add = $0 { true } else { false } } }
}

extension DeltaTable {
  /// File actions of one sidecar.
  static let sidecarLimit = 50_000

  /// Writes the checkpoint of `state`, V2 with sidecars where the table's policy asks for it, then `_last_checkpoint`.
  public func writeCheckpoint(_ state: Snapshot) throws {
    let now = ProcessSupport.wallMilliseconds
    let content = CheckpointContent(state, now: now)
    let structs = CheckpointStructs(state)
    func lines(_ actions: [Action]) -> [Data] { actions.map { structs?.line($0) ?? $0.line } }
    var pointer: [String: JSONValue] = ["version": .integer(state.version), "numOfAddFiles": .integer(Int64(content.addCount))]
    if state.properties.usesV2Checkpoints, state.tableProtocol.supports(.v2Checkpoint) {
      var sidecars: [Sidecar] = []
      for piece in content.pieces(limit: Self.sidecarLimit) where !piece.isEmpty {
        let name = UUID().uuidString.lowercased() + ".parquet"
        let data = try parquet.writeCheckpoint(lines(piece), fileColumns: structs?.fields ?? [])
        try store.put(path.appending("_delta_log/_sidecars/\(name)"), data)
        sidecars.append(Sidecar(path: name, sizeInBytes: Int64(data.count), modificationTime: now, tags: [:]))
      }
      let actions = content.v2(version: state.version, sidecars: sidecars)
      let name = "\(Self.digits(state.version)).checkpoint.\(UUID().uuidString.lowercased()).json"
      let data = Action.encode(actions)
      try store.put(path.appending("_delta_log/\(name)"), data)
      pointer["size"] = .integer(Int64(actions.count + content.files.count))
      pointer["sizeInBytes"] = .integer(sidecars.reduce(Int64(data.count)) { $0 + $1.sizeInBytes })
    } else {
      let lines = lines(content.classic)
      let data = try parquet.writeCheckpoint(lines, fileColumns: structs?.fields ?? [])
      try store.put(checkpointPath(state.version), data)
      pointer["size"] = .integer(Int64(lines.count))
      pointer["sizeInBytes"] = .integer(Int64(data.count))
    }
    try store.put(path.appending("_delta_log/_last_checkpoint"), Data(JSONText.text(of: .object(pointer)).utf8))
  }
}
