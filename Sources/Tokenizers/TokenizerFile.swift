// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

extension PlatformError {
  /// `invalidFile` PLT-3301.
  static func unusableTokenizer(_ what: String, hint: String = "", path: String? = nil) -> PlatformError {
    PlatformError(.invalidFile, "tokenizer is not usable: \(what)", hint: hint, number: "PLT-3301", path: path)
  }
}

/// Opens tokenizers of any kind that is built.
public enum TokenizerFile {
  /// Names of SentencePiece's own files in model folders.
  private static let sentencePieceNames = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model"]

  /// - Parameter path: a `tokenizer.json`, a SentencePiece model, or a model folder that has one of them; the former comes first.
  /// - Throws: `notFound`; `invalidFile` (PLT-3301) naming the part that is not built.
  public static func open(_ path: String) throws -> any Tokenizer {
    guard FileManager.default.fileExists(atPath: path) else {
      throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-3301", path: path)
    }
    let (file, folder) = place(path)
    if file.hasSuffix(".model") { return try SentencePieceTokenizer(path: file) }
    guard FileManager.default.fileExists(atPath: file) else {
      let other = sentencePieceNames.map { folder + "/" + $0 }.first { FileManager.default.fileExists(atPath: $0) }
      if let other { return try SentencePieceTokenizer(path: other) }
      throw PlatformError(
        .notFound, "the folder has neither tokenizer.json nor a SentencePiece model", hint: "It needs tokenizer.json, or tokenizer.model.",
        number: "PLT-3301", path: path)
    }
    let json = try ByteJSON.read(file)
    switch json["model"]?["type"]?.text {
    // Two common kinds have faster ways; what those refuse is tried again below, which says what is wrong.
    case "WordPiece": if let fast = try? WordPieceTokenizer(json, path: file) { return fast }
    case "BPE": if let fast = try? BytePairTokenizer(json, folder: folder, path: file) { return fast }
    default: break
    }
    return try PipelineTokenizer(json, folder: folder, path: file)
  }

  /// The `tokenizer.json` that `path` is or has, and the folder that it is in.
  static func place(_ path: String) -> (file: String, folder: String) {
    var isDirectory: ObjCBool = false
    let isFolder = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    return isFolder ? (path + "/tokenizer.json", path) : (path, (path as NSString).deletingLastPathComponent)
  }
}
