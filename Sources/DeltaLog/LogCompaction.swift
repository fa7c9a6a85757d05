// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

/// Log compaction files: what several commits add up to ("Log Compaction Files").
public enum LogCompaction {
  /// The actions that stand for `commits`, which follow each other. Removals and removed domains stay: they cancel what came before.
  public static func actions(_ commits: some Sequence<[Action]>) -> [Action] {
    var tableProtocol: TableProtocol?
    var metadata: TableMetadata?
    var transactions: [String: AppTransaction] = [:]
    var domains: [String: DomainMetadata] = [:]
    var files = LogReplay()
    for commit in commits {
      for action in commit {
        switch action {
        case .protocol(let value): tableProtocol = value
        case .metadata(let value): metadata = value
        case .transaction(let value): transactions[value.appId] = value
        case .domain(let value): domains[value.domain] = value
        case .add, .remove: files.apply(action)
        case .change, .commitInfo, .checkpoint, .sidecar: break
        }
      }
    }
    var out: [Action] = tableProtocol.map { [.protocol($0)] } ?? []
    out += metadata.map { [.metadata($0)] } ?? []
    out += transactions.values.sorted { $0.appId < $1.appId }.map { .transaction($0) }
    out += domains.values.sorted { $0.domain < $1.domain }.map { .domain($0) }
    // Removals first: an added file may be one that was removed with another deletion vector.
    out += files.tombstones.values.sorted { ($0.path, $0.deletionVector?.uniqueId ?? "") < ($1.path, $1.deletionVector?.uniqueId ?? "") }
      .map { .remove($0) }
    out += files.files.values.sorted { $0.path < $1.path }.map { .add($0) }
    return out
  }
}

extension DeltaTable {
  /// Writes the compaction of versions `range`, which must all be committed. Readers that know none lose nothing.
  public func compactLog(_ range: ClosedRange<Int64>) throws {
    guard range.lowerBound >= 0, range.upperBound > range.lowerBound else {
      throw PlatformError(.invalidArgument, "a log compaction takes two versions or more")
    }
    let commits = try range.map { try commit($0) }
    let name = "_delta_log/\(Self.digits(range.lowerBound)).\(Self.digits(range.upperBound)).compacted.json"
    try store.put(path.appending(name), Action.encode(LogCompaction.actions(commits)))
  }
}
