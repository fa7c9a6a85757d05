// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// Models with adapters against `peft` in f32. The bar is that of models without: the largest difference of logits is 2e-4 of their deviation, and what is
/// not the same computation is far beyond it.
@Suite(.enabled(if: Peers.hasPEFT, "no peer environment with peft")) struct AdapterPeerTests {
  @Test func everyAdapterComputesWhatPEFTDoes() throws {
    let folder = TemporaryDirectory("adapters")
    let names: [String] = try JSONValue(parsing: Peers.run(makeAdapters, [folder.path])).decode()
    #expect(names.count == 14)
    for name in names {
      let parts = name.split(separator: "/").map(String.init)
      let model = try DecoderModel(directory: folder.file(parts[0]))
      let directory = folder.file(name)
      let adapter = try LoRAAdapter(name: parts[1], directory: directory, targets: try #require(model.adapterTargets))
      #expect(adapter.byteCount > 0 && adapter.identity.count == 64)
      let ids: [Int32] = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: directory + "/ids.json"))).decode()
      let made: [Int32] = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: directory + "/made.json"))).decode()
      let expected = try Data(contentsOf: URL(fileURLWithPath: directory + "/logits.bin")).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      var whole: [Float] = []
      try SingleSequence(model: model, adapter: adapter).logits(ids) { whole.append(contentsOf: $0) }
      let off = difference(whole, expected)
      #expect(off < 4e-5, "\(name): \(off)")
      let sequence = SingleSequence(model: model, threads: 2, chunk: 7, adapter: adapter)
      var chunked: [Float] = []
      try sequence.logits(ids) { chunked.append(contentsOf: $0) }
      #expect(chunked == whole, "\(name): chunks or threads change bits")
      #expect(try sequence.generate(Array(ids[..<28]), limit: 8, ends: [2]) == made, "\(name): greedy text")
      var plain: [Float] = []
      try SingleSequence(model: model).logits(ids) { plain.append(contentsOf: $0) }
      #expect(difference(plain, expected) > 0.05, "\(name) changes nothing")
      for count in [2, 5] {
        let parts = try ThreadRanks.run(count) { collective in
          let part = try DecoderModel(directory: folder.file(parts[0]), part: ModelPart(rank: collective.rank, of: count))
          let adapter = try LoRAAdapter(name: parts[1], directory: directory, targets: part.targets)
          var logits: [Float] = []
          try SingleSequence(model: part, chunk: 11, collective: collective, adapter: adapter).logits(ids) { logits.append(contentsOf: $0) }
          return logits
        }
        for (rank, logits) in parts.enumerated() { #expect(logits == whole, "\(name): rank \(rank) of \(count)") }
      }
      // With smaller weights the adapter is added all the same: what they change is small against what it changes.
      let small = try DecoderModel(directory: folder.file(parts[0]), precision: .int8)
      var rounded: [Float] = []
      try SingleSequence(model: small, adapter: adapter).logits(ids) { rounded.append(contentsOf: $0) }
      let share = distance(rounded, expected) / distance(plain, expected)
      #expect(share < 0.25, "\(name) with int8: \(share)")
    }
    try pathOfPlainLlamas(folder)
  }

  /// Plain Llamas have a runner of their own.
  private func pathOfPlainLlamas(_ folder: TemporaryDirectory) throws {
    let model = try LlamaModel(directory: folder.file("llama"))
    for name in ["all", "patterns", "head"] {
      let directory = folder.file("llama/" + name)
      let adapter = try LoRAAdapter(name: name, directory: directory, targets: try #require(model.adapterTargets))
      let ids: [Int32] = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: directory + "/ids.json"))).decode()
      let expected = try Data(contentsOf: URL(fileURLWithPath: directory + "/logits.bin")).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
      let runner = try LlamaRunner(model: model, blockCount: 4, maxRows: 64)
      var batch = DecoderBatch()
      batch.append(tokens: ids, computed: 0, blocks: [2, 0, 3, 1], logits: .all, adapter: adapter)
      let off = difference(Array(runner.forward(batch)), expected)
      #expect(off < 4e-5, "\(name): \(off)")
    }
  }

  private func distance(_ a: [Float], _ b: [Float]) -> Double {
    zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }.squareRoot()
  }

  private func difference(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    let mean = b.reduce(0.0) { $0 + Double($1) } / Double(b.count)
    let deviation = (b.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(b.count)).squareRoot()
    return zip(a, b).reduce(0.0) { max($0, abs(Double($1.0) - Double($1.1))) } / deviation
  }
}
