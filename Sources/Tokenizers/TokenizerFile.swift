// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Opens tokenizers of any kind that is built.
public enum TokenizerFile {
  /// - Parameter path: a `tokenizer.json`, or a model folder that has one.
  /// - Throws: `notFound`; `invalidFile` (PLT-3301) naming the part that is not built.
  public static func open(_ path: String) throws -> any Tokenizer {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw PlatformError(.notFound, "there is no such file or folder", number: "PLT-3301", path: path)
    }
    let file = isDirectory.boolValue ? path + "/tokenizer.json" : path
    guard FileManager.default.fileExists(atPath: file) else {
      throw PlatformError(
        .notFound, "the folder has no tokenizer.json", hint: "Other forms of tokenizers are not built.", number: "PLT-3301", path: path)
    }
    switch try ByteJSON.read(file)["model"]?["type"]?.text {
    case "WordPiece": return try WordPieceTokenizer(tokenizerJSON: file)
    case "BPE": return try BytePairTokenizer(path: path)
    case let kind:
      throw PlatformError(
        .invalidFile, "tokenizer is not usable: its model is of type \(kind ?? "null")", hint: "BPE and WordPiece are built.", number: "PLT-3301",
        path: file)
    }
  }
}
