// SPDX-License-Identifier: Apache-2.0

import Core
import Models
import Tokenizers

/// Passages to vectors of length 1: tokens, the encoder, the mean over the tokens.
enum EncoderGroup {
  static func run(_ setup: Setup, report: Group.Report) async throws {
    let folder = try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "the MiniLM encoder")
    let passages = try setup.corpus.passages(256)
    let tokenizer = try WordPieceTokenizer(tokenizerJSON: folder + "/tokenizer.json")
    let encoder = try BertEncoder(folder: folder)
    let limit = encoder.truncationTokens
    let texts = try setup.write(passages, "passages.json")
    try setup.peer.call("encoder.load", ["folder": .string(folder), "texts": texts, "limit": .integer(Int64(limit))])

    @Sendable func ours(_ threads: Int) throws -> [[Float]] {
      try encoder.encode(passages.map { tokenizer.encode($0, maximumLength: limit) }, threads: threads)
    }
    let out = setup.file("vectors")
    _ = try setup.peer.time("encoder.run", ["threads": 2, "out": .string(out)])
    let theirs = try setup.readFloats("vectors")
    let worst = zip(try ours(2).joined(), theirs).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
    try check(theirs.count == passages.count * encoder.dimension && worst < 1e-4, "vectors differ by \(worst)")

    for threads in [1, 2] {
      try await report(
        Comparison(
          what: "MiniLM vectors of 256 passages", ours: "BertEncoder", peer: "transformers BertModel", threads: threads, amount: 256, unit: "texts",
          runOurs: { _ in try seconds { _ = try ours(threads) } },
          runPeer: { _ in try setup.peer.time("encoder.run", ["threads": .integer(Int64(threads))]) }))
    }
  }
}
