// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tokenizers

/// MiniLM with 8-bit weights, one thread, against sentence-transformers in f32 and ONNX Runtime's dynamic int8, on texts of one length; how near
/// each comes to the vectors in f32 is told beside it.
enum SentenceGroup {
  static let texts = SchedulingGroup.number("BENCH_SENTENCES", 128)

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let peers = try await EnginePeers(setup)
    guard peers.hasSentenceTransformers else {
      throw PlatformError(.notFound, "sentence-transformers is not installed", hint: "Run make bench-peers.")
    }
    let folder = try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "the MiniLM encoder")
    let hasONNX = try peers.loadEncoder(folder, scratch: setup.folder.path)
    let tokenizer = try TokenizerFile.open(folder)
    let model = try EncoderModel(directory: folder, precision: .int8)
    let pooling = try SentencePooling(folder: folder)
    for length in [128, 32] {
      let passages = try cut(setup, tokenizer, length)
      func ours() throws -> [[Float]] {
        try model.encode(passages.map { tokenizer.encode($0, maximumLength: 256) }, pooling: pooling, threads: 1)
      }
      func vectors(_ engine: String) throws -> [Float] {
        _ = try peers.encode(passages, engine, out: setup.file(engine))
        return try setup.readFloats(engine)
      }
      let reference = try vectors("torch")
      let near = cosine(try ours().flatMap { $0 }, reference)
      try check(near > 0.99, "cosine \(near)")
      func compare(_ peer: String, _ engine: String) async throws {
        try await report(
          Comparison(
            what: "MiniLM, \(texts) texts of \(length) tokens", ours: "EncoderModel int8", peer: peer, threads: 1, amount: Double(texts), unit: "texts",
            runOurs: { _ in try seconds { _ = try ours() } }, runPeer: { _ in try peers.encode(passages, engine) }))
      }
      try await compare("sentence-transformers f32", "torch")
      var beside = "no ONNX Runtime"
      if hasONNX {
        try await compare("ONNX Runtime int8", "onnx")
        beside = String(format: "ONNX Runtime's %.6f", cosine(try vectors("onnx"), reference))
      }
      EngineGroup.note(setup, Figure(what: "\(length) tokens: mean cosine to f32", value: String(format: "%.6f", near), wanted: beside))
    }
  }

  /// Passages that are `length` tokens long with their marks, or one or two less.
  private static func cut(_ setup: Setup, _ tokenizer: any Tokenizer, _ length: Int) throws -> [String] {
    var found: [String] = []
    for document in try setup.corpus.documents(bytes: 8 << 20) {
      var text = ""
      for word in document.split(whereSeparator: \.isWhitespace) {
        let longer = text.isEmpty ? String(word) : text + " " + word
        let count = tokenizer.encode(longer).count
        if count > length { break }
        text = longer
        if count >= length - 1 {
          found.append(text)
          break
        }
      }
      if found.count == texts { return found }
    }
    throw PlatformError(.notFound, "there are only \(found.count) passages to measure with", hint: "Name a folder of texts in BENCH_TEXT.")
  }

  /// The mean over texts, of vectors of length 1.
  private static func cosine(_ mine: [Float], _ theirs: [Float]) -> Double {
    zip(mine, theirs).reduce(0) { $0 + Double($1.0) * Double($1.1) } / Double(texts)
  }
}
