// SPDX-License-Identifier: Apache-2.0

import Core
import ObjectStore
import Pipelines
import Query
import Scheduling

/// Which shards may be stopped and run again, or run twice at once, without anybody noticing: those that read what their plan names, and write
/// only files named by attempt. A person's program is none of them, whatever it does.
enum RepeatableWork {
  static let kinds: Set<String> = [
    IngestShard.kind, FileLoad.kind, PrepareCleanShard.kind, PrepareDedupeShard.kind, PrepareFinishShard.kind, "embed", "index.build",
    "train.tokenizer", "train.tokenize", "evaluate", WaitWork.kind, "monitor", "sql", ExchangeShard.kind, RewriteRunner.kind, "serve.check",
  ]

  static func declare(_ plan: StagePlan) -> StagePlan {
    guard case .shards(var units) = plan else { return plan }
    for index in units.indices {
      units[index].repeatable = kinds.contains(units[index].kind)
      units[index].affinity = affinity(of: units[index])
    }
    return .shards(units)
  }

  /// Those that follow each other and may be repeated, `count` at a time as one.
  /// - Parameter count: nil or 1 leaves each on its own.
  static func bundled(_ plan: StagePlan, by count: Int?) -> StagePlan {
    guard case .shards(let units) = plan, let count, count > 1 else { return plan }
    var bundles: [[UnitSpec]] = []
    for unit in units {
      if let last = bundles.last, last.count < count, unit.repeatable, last[0].repeatable, last[0].kind == unit.kind,
        last[0].affinity == unit.affinity, last[0].takesRoom == unit.takesRoom
      {
        bundles[bundles.count - 1].append(unit)
      } else {
        bundles.append([unit])
      }
    }
    return .shards(
      bundles.enumerated().map { index, bundle in
        var unit = bundle[0]
        unit.index = index
        guard bundle.count > 1 else { return unit }
        unit.payload = ShardBatch(kind: unit.kind, payloads: bundle.map(\.payload)).json
        unit.kind = ShardBatch.kind
        return unit
      })
  }

  /// Stands for what a statement's part reads from object storage, which its worker keeps copies of: the first file of each of its tables. So the
  /// same part of the same tables goes to the same worker again, also in another run. Nil for what lies where every worker has it.
  private static func affinity(of unit: UnitSpec) -> Int64? {
    guard unit.kind == "sql" || unit.kind == ExchangeShard.kind else { return nil }
    let tables = unit.payload["tables"]?.arrayValue ?? [unit.payload]
    let files = tables.compactMap { $0["scan"]?["files"]?.arrayValue?.first?["path"]?.stringValue }.filter(S3Location.isS3)
    return files.isEmpty ? nil : Int64(bitPattern: Scheduler.hash(files.joined(separator: "\n")))
  }
}
