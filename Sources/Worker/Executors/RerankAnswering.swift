// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Inference
import Transport

/// A replica of a cross-encoder.
struct RerankAnswering: Answering {
  private let reranker: Reranker
  private let threads: Int
  private let thread = BlockingPool(name: "rerank", threads: 1, queueLimit: 1024)

  init(_ spec: ReplicaSpec) throws {
    reranker = try Reranker(directory: spec.modelDirectory, precision: spec.precision())
    threads = spec.threads ?? 1
  }

  func answer(_ request: StreamRequest, _ reply: StreamReply) async throws {
    try request.require(ReplicaVerb.rerank)
    let call: RerankCall = try request.decode()
    let (reranker, threads) = (reranker, threads)
    let answer = try await thread.run {
      try reranker.score(queries: call.queries, documents: call.documents, threads: threads, isCancelled: { !reply.isWanted })
    }
    try await reply.send(JSONEncoder.platform.encode(RerankFrame(scores: answer.scores, tokens: answer.tokens)))
  }

  func stop() {}
}
