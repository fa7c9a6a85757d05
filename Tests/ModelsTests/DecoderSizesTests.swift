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

  /// A model whose weights were packed keeps nothing of its file in memory but what it looks up there.
  @Test(arguments: [WeightPrecision.int8, .int4, .f32]) func theFileOfPackedWeightsIsNotKeptInMemory(precision: WeightPrecision) throws {
    let folder = TemporaryDirectory("resident")
    let configuration = LlamaConfiguration(
      vocabularySize: 2048, hiddenSize: 512, intermediateSize: 2048, layerCount: 2, headCount: 8, keyValueHeadCount: 8, maxPositions: 128,
      tieWordEmbeddings: false, bosTokenID: 0, eosTokenIDs: [1])
    var writer = SafeTensorsWriter()
    for (name, shape) in LlamaWeightNames.shapes(configuration) { try writer.add(name, shape: shape, [Float](repeating: 1, count: shape.reduce(1, *))) }
    let file = folder.file("model.safetensors")
    try writer.write(to: file)
    try configuration.save(directory: folder.path)
    // Plain Llamas with the stored numbers are copied.
    let model: any GenerativeModel = try GenerativeModels.open(folder.path, precision: precision)
    var isFile = false
    var resident = 0
    for line in try String(contentsOfFile: "/proc/self/smaps", encoding: .utf8).split(separator: "\n") {
      if line.contains("-"), line.contains(" r") { isFile = line.hasSuffix(file) }
      if isFile, line.hasPrefix("Rss:") { resident += line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0 }
    }
    let size = try #require(try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int)
    #expect(size > 40 << 20 && resident * 1024 < size / 20, "\(resident) kB of \(size >> 10)")
    #expect(model.vocabularySize == 2048)
  }
}
