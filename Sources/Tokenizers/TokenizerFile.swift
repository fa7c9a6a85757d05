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
    // The common kinds have faster ways of their own; what those do not know, the steps of the file are followed for.
    switch try ByteJSON.read(file)["model"]?["type"]?.text {
    case "WordPiece": if let fast = try? WordPieceTokenizer(tokenizerJSON: file) { return fast }
    case "BPE": if let fast = try? BytePairTokenizer(path: path) { return fast }
    default: break
    }
    return try PipelineTokenizer(path: path)
  }
}
