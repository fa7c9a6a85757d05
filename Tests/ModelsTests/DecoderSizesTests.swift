// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// What a plan takes from a configuration is what a loaded model has.
@Suite struct DecoderSizesTests {
  @Test(arguments: WeightPrecision.allCases) func sizesAreThoseOfTheLoadedModel(precision: WeightPrecision) throws {
    let folder = TemporaryDirectory("sizes")
    let configuration = LlamaConfiguration(
      vocabularySize: 256, hiddenSize: 64, intermediateSize: 160, layerCount: 3, headCount: 4, keyValueHeadCount: 2, maxPositions: 128,
      tieWordEmbeddings: true, bosTokenID: 0, eosTokenIDs: [1])
    var writer = SafeTensorsWriter()
    for (name, shape) in LlamaWeightNames.shapes(configuration) { try writer.add(name, shape: shape, [Float](repeating: 1, count: shape.reduce(1, *))) }
    try writer.write(to: folder.file("model.safetensors"))
    try configuration.save(directory: folder.path)
    let sizes = try DecoderSizes(directory: folder.path, precision: precision)
    let model = try DecoderModel(directory: folder.path, precision: precision)
    #expect(sizes.weightBytesPerToken == model.weightBytesPerToken && sizes.weightBytes == sizes.weightBytesPerToken)
    #expect(sizes.cacheBytesPerToken == model.cacheBytesPerToken(model.cacheFormat) && sizes.layers == 3)
    let perToken = Dictionary(uniqueKeysWithValues: CacheFormat.allCases.map { ($0, 3 * 2 * [.f32: 16 * 8, .bf16: 16 * 4, .int8: 16 * 2 + 8][$0]!) })
    for format in CacheFormat.allCases {
      #expect(try DecoderSizes(directory: folder.path, precision: precision, cache: format).cacheBytesPerToken == perToken[format])
      #expect(model.cacheBytesPerToken(format) == perToken[format])
    }
    #expect(sizes.multiplicationsPerToken == 3 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 160) + 256 * 64)
    #expect(sizes.gatheredBytesPerToken == 3 * 4 * (64 + 2 * 64 + 160) + 4 * 256)
    #expect(MultiplicationRate.perSecond(precision: precision, threads: 2) > 0)
  }
}
