// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// Every architecture against `transformers` in f32. The bar: the largest difference of logits is 2e-4 of their deviation; a
/// correct model comes out near 5e-6, so what is not the same computation cannot pass.
@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct ArchitecturePeerTests {
  @Test func everyArchitectureComputesWhatTransformersDoes() throws {
    let folder = TemporaryDirectory("architectures")
    let names: [[String]] = try JSONValue(parsing: Peers.run(makeArchitectures, [folder.path])).decode()
    for name in names[0] { try checkDecoder(name, folder.file(name)) }
    for name in names[1] { try checkEncoder(name, folder.file(name)) }
    #expect(Set(names[0].map { String($0.prefix { $0 != "-" }) }).count == ModelArchitectures.decoders.count)
  }

  private func checkDecoder(_ name: String, _ directory: String) throws {
    let expected: [Float] = try numbers(directory + "/logits.bin")
    let ids: [Int32] = try json(directory + "/ids.json")
    let made: [Int32] = try json(directory + "/made.json")
    let model = try DecoderModel(directory: directory)
    #expect(try !ModelArchitectures.isEncoder(directory: directory))
    var whole: [Float] = []
    try SingleSequence(model: model).logits(ids) { whole.append(contentsOf: $0) }
    #expect(whole.count == expected.count)
    let off = difference(whole, expected)
    #expect(off < 4e-5, "\(name): \(off)")

    let sequence = SingleSequence(model: model, threads: 2, chunk: 7)
    var chunked: [Float] = []
    try sequence.logits(ids) { chunked.append(contentsOf: $0) }
    #expect(chunked == whole, "\(name): chunks or threads change bits")
    let ends = Set(model.endTokenIDs.map { Int32($0) })
    #expect(ends == [2], "\(name)")
    #expect(try sequence.generate(Array(ids[..<28]), limit: 8, ends: ends) == made, "\(name): greedy text")
    if let last = made.dropLast().first {
      #expect(try sequence.generate(Array(ids[..<28]), limit: 8, ends: [last]).last == last, "\(name): ends with the token that ends it")
    }
    for count in [2, 4, 5] {
      let parts = try ThreadRanks.run(count) { collective in
        let part = try DecoderModel(directory: directory, part: ModelPart(rank: collective.rank, of: count))
        let sequence = SingleSequence(model: part, chunk: 11, collective: collective)
        var logits: [Float] = []
        try sequence.logits(ids) { logits.append(contentsOf: $0) }
        return (logits, try sequence.generate(Array(ids[..<28]), limit: 8, ends: ends))
      }
      for (rank, part) in parts.enumerated() {
        #expect(part.0 == whole, "\(name): logits of rank \(rank) of \(count), off by \(difference(part.0, whole))")
        #expect(part.1 == made, "\(name): greedy text of rank \(rank) of \(count)")
      }
    }
    guard model.steadyLength == nil else { return }
    // Beside another sequence, as the engine runs it: the same bits.
    let runner = try DecoderRunner(model: model, blockCount: 12, maxRows: 64)
    var batch = DecoderBatch()
    batch.append(tokens: ids[..<20], computed: 0, blocks: [9, 2], logits: .none)
    batch.append(tokens: ids[..<35], computed: 0, blocks: [7, 1, 3, 0, 5], logits: .all)
    #expect(Array(runner.forward(batch)) == Array(whole[..<(35 * model.vocabularySize)]), "\(name): neighbours change bits")
  }

  private func checkEncoder(_ name: String, _ directory: String) throws {
    let texts: [[Int32]] = try json(directory + "/batch.json")
    let encoder = try EncoderModel(directory: directory)
    #expect(try ModelArchitectures.isEncoder(directory: directory))
    let off = difference(try encoder.hiddenStates([texts[1]]), try numbers(directory + "/hidden.bin"))
    #expect(off < 4e-5, "\(name): \(off)")
    let width = encoder.hiddenSize
    let pooled = try encoder.encode(texts, pooling: SentencePooling())
    #expect(zip(pooled.flatMap { $0 }, try numbers(directory + "/mean.bin")).allSatisfy { abs($0 - $1) < 1e-5 }, "\(name): pooled")
    let together = try encoder.hiddenStates(texts, threads: 2)
    var first = 0
    for (row, text) in texts.enumerated() {
      let states = Array(together[first * width..<(first + text.count) * width])
      first += text.count
      #expect(try states == encoder.hiddenStates([text]), "\(name): neighbours change bits")
      let mean = (0..<width).map { column in (0..<text.count).reduce(Float(0)) { $0 + states[$1 * width + column] } }
      for (mode, vector) in [("mean", mean), ("cls", Array(states[..<width])), ("last", Array(states.suffix(width)))] {
        let wanted: [Float] = try numbers("\(directory)/\(mode).bin")
        let apart = 1 - cosine(vector, Array(wanted[row * width..<(row + 1) * width]))
        #expect(apart < 1e-6, "\(name) \(mode) \(row): \(apart)")
      }
    }
  }

  private func difference(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    let mean = b.reduce(0.0) { $0 + Double($1) } / Double(b.count)
    let deviation = (b.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(b.count)).squareRoot()
    return zip(a, b).reduce(0.0) { max($0, abs(Double($1.0) - Double($1.1))) } / deviation
  }

  private func cosine(_ a: [Float], _ b: [Float]) -> Double {
    func dot(_ x: [Float], _ y: [Float]) -> Double { zip(x, y).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } }
    return dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
  }

  private func numbers(_ path: String) throws -> [Float] {
    try Data(contentsOf: URL(fileURLWithPath: path)).withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
  }

  private func json<T: Decodable>(_ path: String) throws -> T {
    try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: path))).decode()
  }
}
