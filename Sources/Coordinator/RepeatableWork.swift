// SPDX-License-Identifier: Apache-2.0

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
    for index in units.indices { units[index].repeatable = kinds.contains(units[index].kind) }
    return .shards(units)
  }
}
