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

  @Test(arguments: [1, 2]) func anotherNumberOfRanksIsRefused(world: Int) throws {
    try train(tiny(world: world, steps: 4, checkpointEvery: 2))
    let error = try refused(tiny(world: 3 - world, steps: 4, checkpointEvery: 2))
    #expect(error.code == .conflict && error.number == "PLT-4105" && error.path == folder.file("checkpoints/step-4/manifest.json"))
    #expect(error.message == "checkpoint step-4 does not belong to this run: it was written by \(world) ranks, this run has \(3 - world)")
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
