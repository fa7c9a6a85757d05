// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor
import TestSupport
import Tokenizers

/// One token a byte; 256 begins and 257 ends a text.
struct ByteTokenizer: Tokenizer {
  var vocabularySize: Int { 258 }
  var special: SpecialTokens { SpecialTokens(beginning: 256, end: 257) }
  var templatePrefix: [Int32] { [256] }
  var templateSuffix: [Int32] { [] }
  func append(utf8: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) { ids += utf8.map { Int32($0) } }
  func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    String(decoding: ids.compactMap { bytes($0) }.joined(), as: UTF8.self)
  }
  func token(_ id: Int32) -> String? { bytes(id).map { String(decoding: $0, as: UTF8.self) } }
  func bytes(_ id: Int32) -> [UInt8]? { id < 256 ? [UInt8(id)] : id < 258 ? [] : nil }
  func id(_ token: String) -> Int32? { token.utf8.count == 1 ? token.utf8.first.map { Int32($0) } : nil }
  func isSpecial(_ id: Int32) -> Bool { id >= 256 }
}

enum TestModel {
  /// A model with random weights of the given spread.
  static func random(_ configuration: LlamaConfiguration, seed: UInt64, spread: Float = 0.3) throws -> LlamaModel {
    let folder = try folder(configuration, seed: seed, spread: spread)
    return try withExtendedLifetime(folder) { try LlamaModel(directory: folder.path) }
  }

  /// The folder of such a model; it goes with the value.
  static func folder(_ configuration: LlamaConfiguration, seed: UInt64, spread: Float = 0.3) throws -> TemporaryDirectory {
    let folder = TemporaryDirectory("model")
    var generator = SplitMix64(seed: seed)
    var writer = SafeTensorsWriter()
    for (name, shape) in LlamaWeightNames.shapes(configuration) {
      let isNorm = shape.count == 1
      let values = (0..<shape.reduce(1, *)).map { _ in
        (isNorm ? 1 : 0) + Float(generator.nextUnit() * 2 - 1) * (isNorm ? 0.1 : spread)
      }
      try writer.add(name, shape: shape, values)
    }
    try writer.write(to: folder.file("model.safetensors"))
    try configuration.save(directory: folder.path)
    return folder
  }

  static let small = LlamaConfiguration(
    vocabularySize: 258, hiddenSize: 32, intermediateSize: 56, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
    maxPositions: 128, tieWordEmbeddings: true, bosTokenID: 256, eosTokenIDs: [257])
}
