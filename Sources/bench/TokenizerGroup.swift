// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tokenizers

/// Text to ids, and learning byte pairs.
enum TokenizerGroup {
  static func run(_ setup: Setup, report: Group.Report) async throws {
    let texts = try setup.corpus.documents(bytes: 4 << 20)
    let bytes = texts.reduce(0) { $0 + $1.utf8.count }
    let megabytes = Double(bytes) / 1e6
    let list = try setup.write(texts, "documents.json")

    // The trainer first: its result is what the byte pair line encodes with.
    let trainer = BytePairTrainer(vocabularySize: 8000)
    func train() throws -> BytePairTokenizer {
      var counts = WordCounts()
      for text in texts { counts.add(text) }
      return try trainer.train(counts)
    }
    let bytePairs = try train()
    try bytePairs.write(to: setup.file("pairs"))
    let mine = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: setup.file("pairs/tokenizer.json"))))["model"]
    let theirs = try setup.peer.call("tokenizer.train", ["texts": list, "size": 8000])["model"]
    try check(mine?["vocab"] == theirs?["vocab"] && mine?["merges"] == theirs?["merges"], "trained vocabularies differ")
    let pairs = "byte pair encoding, \(Table.short(megabytes)) MB of documentation"
    let wordPiece = try WordPieceTokenizer(
      tokenizerJSON: InstalledFiles.require("models/all-MiniLM-L6-v2/tokenizer.json", what: "the MiniLM tokenizer"))
    // SentencePiece's two kinds, and their pieces as tokenizer files of Llama 2, Mistral and XLM-R have them.
    let folder = setup.file("pieces")
    try setup.peer.call("tokenizer.make", ["texts": list, "folder": .string(folder), "size": 8000])
    let pieces = try [
      ("Llama 2's byte pairs (no words, byte fallback)", "llama/tokenizer.json"), ("Mistral's byte pairs (Metaspace)", "mistral/tokenizer.json"),
      ("XLM-R's unigrams (character map, Metaspace)", "xlmr/tokenizer.json"), ("SentencePiece's unigrams", "unigram.model"),
      ("SentencePiece's byte pairs", "pairs.model"),
    ].map { ("\($0), \(Table.short(megabytes)) MB", try TokenizerFile.open(folder + "/" + $1), folder + "/" + $1) }
    let wordPiecePath = try InstalledFiles.require("models/all-MiniLM-L6-v2/tokenizer.json", what: "the MiniLM tokenizer")

    for (what, tokenizer, path) in [
      ("WordPiece encoding, \(Table.short(megabytes)) MB of documentation", wordPiece as any Tokenizer, wordPiecePath),
      (pairs, bytePairs, setup.file("pairs/tokenizer.json")),
    ] + pieces {
      let digest = IDDigest()
      for text in texts { digest.add(tokenizer.encode(text, addSpecialTokens: false)) }
      let seen = try setup.peer.call("tokenizer.load", ["path": .string(path), "texts": list])["digest"]?.stringValue
      try check(seen == digest.finish(), "ids of \(what)")
      try await report(
        Comparison(
          what: what, ours: String(describing: type(of: tokenizer)), peer: path.hasSuffix(".model") ? "sentencepiece encode" : "tokenizers encode_batch_fast",
          threads: 1, amount: megabytes, unit: "MB",
          runOurs: { _ in seconds { for text in texts { _ = tokenizer.encode(text, addSpecialTokens: false) } } },
          runPeer: { _ in try setup.peer.time("tokenizer.encode", ["path": .string(path)]) }))
    }
    try await report(
      Comparison(
        what: "training 8000 byte pairs on \(Table.short(megabytes)) MB", ours: "BytePairTrainer", peer: "tokenizers BpeTrainer", threads: 1,
        amount: megabytes, unit: "MB", runOurs: { _ in try seconds { _ = try train() } },
        runPeer: { _ in try setup.peer.time("tokenizer.train", ["texts": list, "size": 8000]) }))
  }
}
