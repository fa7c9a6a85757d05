// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Training

/// A checkpoint continues the run that wrote it and no other, and a damaged one is noticed.
@Suite struct CheckpointTests {
  let folder = TemporaryDirectory("checkpoints")

  init() throws { try writeTokens(folder.file("tokens")) }

  /// The steps are those of the undisturbed run: up to the checkpoint the same bits, behind it sums are formed in another order. Losses of about
  /// 4 in f32 carry 5e-7 a term; 1e-4 is a tenth of what a batch or a moment that is lost would change at least.
  @Test(arguments: [1, 2]) func anotherNumberOfRanksGoesOn(world: Int) throws {
    let whole = try train(tiny(world: world, steps: 16, checkpointEvery: 4))
    try FileManager.default.removeItem(atPath: folder.file("checkpoints"))
    let contexts = (0..<world).map { _ in StoppingContext(looks: 10) }
    #expect(throws: (any Error).self) {
      try ThreadGang.run(world) { try run(tiny(world: world, steps: 16, checkpointEvery: 4), $0, contexts[$0.rank]) }
    }
    #expect(try names() == ["step-4", "step-8"])
    let other = try train(tiny(world: 3 - world, steps: 16, checkpointEvery: 4))
    #expect(other.losses.map(\.step) == Array(1...16) && other.losses[..<8] == whole.losses[..<8])
    let worst = zip(whole.losses, other.losses).map { abs($0.loss - $1.loss) }.max() ?? .nan
    #expect(worst < 1e-4, "\(worst)")
  }

  /// Weights and both moments are the same bits, whoever reads them.
  @Test func rankPartsAreCutAnew() throws {
    try train(tiny(world: 2, steps: 4, checkpointEvery: 2))
    func read(_ world: Int) throws -> [[String: [Float]]] {
      let c = tiny(world: world, steps: 4, checkpointEvery: 2)
      return try ThreadGang.run(world) { collective in
        let optimizer = AdamW(try TrainableDecoder(c, collective: collective).parameters)
        let data = SHA256Digest.hex(try SHA256Digest.hex(contentsOf: folder.file("tokens")))
        let store = CheckpointStore(
          directory: folder.file("checkpoints"), configuration: c, data: data, tokenizer: SHA256Digest.hex("tokenizer"), collective: collective, log: { _ in })
        #expect(try store.restore(optimizer)?.step == 4)
        var found: [String: [Float]] = [:]
        for (index, buffer) in optimizer.buffers.enumerated() {
          for p in optimizer.parameters.parameters {
            for row in 0..<p.rows {
              for column in 0..<p.columns {
                found["\(p.name) \(index)", default: Array(repeating: .nan, count: p.wholeRows * p.wholeColumns)][
                  (p.firstRow + row) * p.wholeColumns + p.firstColumn + column] = buffer[p.offset + row * p.columns + column]
              }
            }
          }
        }
        return found
      }
    }
    let (one, two) = (try read(1)[0], try read(2))
    #expect(!one.isEmpty && one.values.allSatisfy { !$0.contains { $0.isNaN } } && one.contains { $0.key.hasSuffix(" 2") && $0.value.contains { $0 != 0 } })
    for rank in two {
      for (name, values) in rank {
        #expect(zip(values, one[name] ?? []).allSatisfy { $0.isNaN || $0.bitPattern == $1.bitPattern }, "\(name)")
      }
    }
    // Between them, two ranks have all.
    #expect(one.keys.allSatisfy { name in zip(two[0][name] ?? [], two[1][name] ?? []).allSatisfy { !$0.isNaN || !$1.isNaN } })
  }

  /// The scheduler stops a gang there, which then loses nothing; at the end it has nothing to stop.
  @Test func theFirstRankTellsOfEachCheckpointThatTrainingGoesOnFrom() throws {
    let contexts = [StoppingContext(looks: .max), StoppingContext(looks: .max)]
    _ = try ThreadGang.run(2) { try run(tiny(world: 2, steps: 6, checkpointEvery: 2), $0, contexts[$0.rank]) }
    #expect(contexts[0].steps(of: "checkpoint") == [2, 4] && contexts[1].steps(of: "checkpoint") == [])
  }

  @Test func anotherShapeIsRefusedByName() throws {
    try train(tiny(steps: 4, checkpointEvery: 2))
    var c = tiny(steps: 4, checkpointEvery: 2)
    c.hiddenSize = 64
    c.layerCount = 3
    let error = try refused(c)
    #expect(error.code == .conflict && error.number == "PLT-4105" && !error.hint.isEmpty)
    #expect(error.message.hasSuffix("its configuration has hiddenSize 32 (here 64), layerCount 2 (here 3)"), "\(error.message)")
  }

  @Test func anotherTokenizerOrOtherDataIsRefused() throws {
    try train(tiny(steps: 4, checkpointEvery: 2))
    try writeTokens(folder.file("tokens"), tokenizer: "another")
    #expect(try refused(tiny(steps: 4, checkpointEvery: 2)).message.contains("its data was made with tokenizer"))
    try writeTokens(folder.file("tokens"), seed: 4)
    #expect(try refused(tiny(steps: 4, checkpointEvery: 2)).message.contains("it was trained on other data"))
  }

  enum Damage: CaseIterable {
    case cutFile, changedByte, missingFile, missingManifest, cutManifest, contradiction

    func apply(_ folder: String) throws {
      let (file, manifest) = (URL(fileURLWithPath: folder + "/rank-1.bin"), URL(fileURLWithPath: folder + "/manifest.json"))
      switch self {
      case .cutFile: try Data(contentsOf: file).dropLast().write(to: file)
      case .changedByte:
        var data = try Data(contentsOf: file)
        data[data.count / 2] ^= 1
        try data.write(to: file)
      case .missingFile: try FileManager.default.removeItem(at: file)
      case .missingManifest: try FileManager.default.removeItem(at: manifest)
      case .cutManifest: try Data(contentsOf: manifest).prefix(40).write(to: manifest)
      case .contradiction:
        let text = try String(contentsOf: manifest, encoding: .utf8)
        try Data(text.replacingOccurrences(of: "\"tensorParallel\":2", with: "\"tensorParallel\":3").utf8).write(to: manifest)
      }
    }
    var named: String { self == .cutFile || self == .changedByte || self == .missingFile ? "rank-1.bin" : "manifest.json" }
  }

  /// The newest is damaged: the one before continues to the same weights. Both are: every rank says which file, and how to go on.
  @Test(arguments: Damage.allCases) func damageIsPassedOverOrNamed(damage: Damage) throws {
    let c = tiny(world: 2, steps: 6, checkpointEvery: 2)
    let whole = try train(c)
    #expect(try names() == ["step-4", "step-6"])
    try damage.apply(folder.file("checkpoints/step-6"))
    let again = try train(c)
    #expect(again.losses == whole.losses && again.files.map(\.sha256) == whole.files.map(\.sha256))
    // The damaged one was replaced.
    #expect(try names() == ["step-4", "step-6"])
    for step in [4, 6] { try damage.apply(folder.file("checkpoints/step-\(step)")) }
    let errors = try ThreadGang.run(2) { collective in
      do {
        _ = try run(c, collective)
        return PlatformError?.none
      } catch { return PlatformError.from(error) }
    }
    for error in errors {
      #expect(error?.code == .invalidFile && error?.number == "PLT-4106" && error?.path == folder.file("checkpoints/step-6/\(damage.named)"))
      #expect(error?.hint.contains("remove \(folder.file("checkpoints"))") == true)
    }
    try FileManager.default.removeItem(atPath: folder.file("checkpoints"))
    #expect(try train(c).losses == whole.losses)
  }

  private func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder.file("checkpoints")).sorted() }

  @discardableResult private func train(_ c: TrainingConfiguration) throws -> TrainResult {
    try ThreadGang.run(c.tensorParallel) { try run(c, $0) }[0]
  }

  private func refused(_ c: TrainingConfiguration) throws -> PlatformError {
    try #require(#expect(throws: PlatformError.self) { try train(c) })
  }

  private func run(
    _ c: TrainingConfiguration, _ collective: any Collective, _ context: StoppingContext = StoppingContext(looks: .max)
  ) throws -> TrainResult {
    try TrainRank.run(
      TrainRankShard(
        configuration: c, rank: collective.rank, world: collective.worldSize, trainFiles: [folder.file("tokens")], testFiles: [],
        checkpointDirectory: folder.file("checkpoints"), outputDirectory: folder.file("model")),
      collective: collective, context: context)
  }
}
