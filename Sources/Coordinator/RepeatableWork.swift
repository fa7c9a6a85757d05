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

  /// Stands for what a statement's part reads from object storage, which its worker keeps copies of: the first file of each of its tables. So the
  /// same part of the same tables goes to the same worker again, also in another run. Nil for what lies where every worker has it.
  private static func affinity(of unit: UnitSpec) -> Int64? {
    guard unit.kind == "sql" || unit.kind == ExchangeShard.kind else { return nil }
    let tables = unit.payload["tables"]?.arrayValue ?? [unit.payload]
    let files = tables.compactMap { $0["scan"]?["files"]?.arrayValue?.first?["path"]?.stringValue }.filter(S3Location.isS3)
    return files.isEmpty ? nil : Int64(bitPattern: Scheduler.hash(files.joined(separator: "\n")))
  }
}
