// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tokenizers
import Training
import Transport

extension TrainingExecutor {
  /// Trains a byte-level BPE, or a Unigram vocabulary, on the training split.
  static func tokenizer(_ work: TokenizerWork, context: any WorkContext) throws -> JSONValue {
    let isUnigram = work.kind == "unigram"
    var counts = WordCounts()
    var documents: Int64 = 0
    try forEachText(work.files, context) { text, isTest in
      guard !isTest else { return }
      if isUnigram { counts.addSpaced(text) } else { counts.add(text) }
      documents += 1
      if documents % 256 == 0 { context.progress(done: documents, total: 0, unit: "texts") }
    }
    guard documents > 0 else {
      throw PlatformError(.invalidArgument, "the data has no rows of the training split", hint: "Rows need split = 'train'.")
    }
    // An attempt has a folder of its own: what an earlier start of this very attempt left is replaced.
    let size: Int
    if isUnigram {
      let trained = try UnigramTrainer(vocabularySize: work.vocabulary).train(
        counts, isCancelled: { context.isCancelled },
        progress: { left, wanted in
          context.log("\(left) candidates for \(wanted) entries")
          context.progress(done: Int64(min(left, wanted)), total: Int64(left), unit: "candidates")
        })
      try trained.write(to: work.output)
      size = trained.vocabularySize
    } else {
      let trained = try BytePairTrainer(vocabularySize: work.vocabulary).train(counts, isCancelled: { context.isCancelled })
      try trained.write(to: work.output)
      size = trained.vocabularySize
    }
    context.log("tokenizer of \(size) entries from \(documents) texts, \(counts.count) words")
    return try JSONValue(
      encoding: TokenizerResult(directory: work.output, vocabularySize: size, dataVersion: work.dataVersion))
  }

  /// Writes the token files of some data files. A split without texts has no file.
  static func tokenize(_ work: TokenizeWork, context: any WorkContext) throws -> JSONValue {
    let tokenizer = try TokenizerFile.open(work.tokenizer)
    let digest = try SHA256Digest.hex(contentsOf: work.tokenizer + "/tokenizer.json")
    var train: [[Int32]] = []
    var test: [[Int32]] = []
    try forEachText(work.files, context) { text, isTest in
      let ids = tokenizer.encode(text, addSpecialTokens: false)
      guard !ids.isEmpty else { return }
      if isTest { test.append(ids) } else { train.append(ids) }
    }
    var result: [String: JSONValue] = [:]
    for (name, documents, path) in [("train", train, work.trainOutput), ("test", test, work.testOutput)] {
      result[name + "Tokens"] = .integer(Int64(documents.reduce(0) { $0 + $1.count }))
      guard !documents.isEmpty else { continue }
      try TokenShardFile.write(
        documents, vocabularySize: tokenizer.vocabularySize, beginning: tokenizer.bosID, end: tokenizer.eosID,
        tokenizerSHA256: digest, to: path)
      result[name] = .string(path)
    }
    return .object(result)
  }
}
