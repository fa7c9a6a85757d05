// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Synchronization
import Tensor
import TestSupport
import Testing
import Tokenizers

@testable import Training

/// The folder that training leaves behind: whole at every moment, and what other programs expect.
@Suite struct ModelDirectoryTests {
  let folder = TemporaryDirectory("directory")

  private struct Crash: Error {}

  private func write(seed: UInt64, passing: @escaping @Sendable (ModelWriter.Step) throws -> Void = { _ in }) throws {
    var c = tiny()
    c.seed = seed
    let decoder = try TrainableDecoder(c, collective: SingleRank())
    _ = try ModelWriter.write(
      decoder.parameters, model: c.modelConfiguration(bos: 0, eos: 1), tokenizerDirectory: nil, collective: SingleRank(),
      to: folder.file("model"), passing: passing)
  }

  private func digest() throws -> String { try SHA256Digest.hex(contentsOf: folder.file("model/model.safetensors")) }

  /// The process ends after a step: the folder is the old model or the new one, it loads, and the next attempt cleans up.
  @Test(arguments: ModelWriter.Step.allCases) func aCrashLeavesTheOldModelOrTheNew(step: ModelWriter.Step) throws {
    try write(seed: 1)
    let old = try digest()
    #expect(throws: Crash.self) { try write(seed: 2) { if $0 == step { throw Crash() } } }
    let left = try digest()
    #expect((left == old) == (step != .exchanged && step != .cleaned))
    _ = try LlamaModel(directory: folder.file("model"))
    try write(seed: 2)
    #expect(try digest() != old)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["model"])
  }

  @Test func aCrashOfTheFirstAttemptLeavesNoModel() throws {
    for step in ModelWriter.Step.allCases where step != .exchanged && step != .cleaned {
      #expect(throws: Crash.self) { try write(seed: 1) { if $0 == step { throw Crash() } } }
      #expect(!FileManager.default.fileExists(atPath: folder.file("model")))
    }
  }

  /// A reader never meets a moment without the model while it is replaced again and again.
  @Test func theModelIsThereAtEveryMoment() throws {
    try write(seed: 1)
    let watcher = Watcher(path: folder.file("model/config.json"))
    let group = DispatchGroup()
    group.enter()
    Thread {
      watcher.watch()
      group.leave()
    }.start()
    defer {
      watcher.stop.store(true, ordering: .relaxed)
      group.wait()
    }
    for seed in 2..<22 { try write(seed: UInt64(seed)) }
    #expect(watcher.looks.load(ordering: .relaxed) > 0 && watcher.missed.load(ordering: .relaxed) == 0)
  }

  /// The error says which tensor is cut, and where in the file it should begin.
  @Test func aCutWeightsFileNamesTensorAndPlace() throws {
    try write(seed: 1)
    let path = folder.file("model/model.safetensors")
    let whole = try Data(contentsOf: URL(fileURLWithPath: path))
    let header = 8 + whole.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
    // Tensors lie in the order of their names, and the first is the table of 64 x 32 numbers.
    for (count, name, begin) in [
      (header + 100, "lm_head.weight", header), (whole.count - 1, "model.norm.weight", whole.count - 32 * 4),
    ] {
      try whole.prefix(count).write(to: URL(fileURLWithPath: path))
      let error = #expect(throws: PlatformError.self) { try LlamaModel(directory: folder.file("model")) }
      #expect(error?.number == "PLT-4101" && error?.path == path)
      #expect(
        error?.message.hasSuffix("truncated: header promises \(whole.count) bytes, file has \(count); tensor '\(name)' should begin at byte \(begin)") == true)
    }
  }

  final class Watcher: Sendable {
    let path: String
    let stop = Atomic(false)
    let looks = Atomic(0)
    let missed = Atomic(0)
    init(path: String) { self.path = path }
    func watch() {
      while !stop.load(ordering: .relaxed) {
        looks.add(1, ordering: .relaxed)
        if access(path, R_OK) != 0 { missed.add(1, ordering: .relaxed) }
      }
    }
  }

  /// transformers opens tokenizer, configuration and weights of what a gang wrote: the same ids for 200 texts, one token that
  /// begins, ends and pads, and a generation that stops at it.
  @Test(.enabled(if: Peers.python != nil, "no peer environment"), arguments: [1, 2]) func transformersOpensTheWholeFolder(world: Int) throws {
    var generator = SplitMix64(seed: 21)
    let words = ["stream", "Äpfel", " lake", "table,", "12345", "naïve", "数据", "🙂", "it's", "\n", "  ", "\t", "don't", "<|endoftext|>", "end."]
    let texts = (0..<200).map { index in
      index == 0 ? "" : (0..<Int.random(in: 1...20, using: &generator)).map { _ in words.randomElement(using: &generator)! }.joined(separator: " ")
    }
    var counts = WordCounts()
    for text in texts { counts.add(text) }
    let tokenizer = try BytePairTrainer(vocabularySize: 320).train(counts)
    try tokenizer.write(to: folder.file("tokenizer"))
    let ids = texts.map { tokenizer.encode($0, addSpecialTokens: false) }
    let end = try #require(tokenizer.eosID)
    #expect(tokenizer.bosID == end)
    try TokenShardFile.write(
      ids.filter { !$0.isEmpty }, vocabularySize: tokenizer.vocabularySize, beginning: tokenizer.bosID, end: tokenizer.eosID,
      tokenizerSHA256: try SHA256Digest.hex(contentsOf: folder.file("tokenizer/tokenizer.json")), to: folder.file("tokens"))
    var c = tiny(world: world, steps: 2)
    c.vocabularySize = (tokenizer.vocabularySize + 1) / 2 * 2
    let (configuration, base) = (c, folder.path)
    let result = try ThreadGang.run(world) { collective in
      try TrainRank.run(
        TrainRankShard(
          configuration: configuration, rank: collective.rank, world: world, trainFiles: [base + "/tokens"], testFiles: [],
          checkpointDirectory: base + "/checkpoints", outputDirectory: base + "/model", tokenizerDirectory: base + "/tokenizer"),
        collective: collective, context: StoppingContext(looks: .max))
    }[0]
    try Data(JSONValue.array(texts.map { .string($0) }).sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("texts.json")))
    let text = try Peers.run(
      """
      import sys, json, torch
      from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig
      folder, texts = sys.argv[1], json.load(open(sys.argv[2]))
      t, c, g = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder), GenerationConfig.from_pretrained(folder)
      m = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
      with torch.no_grad():
          # A head that can say nothing but the end: generation stops at once.
          m.lm_head.weight.zero_(); m.model.norm.weight.zero_()
          bias = torch.nn.Linear(c.hidden_size, c.vocab_size); bias.weight.zero_(); bias.bias.zero_(); bias.bias[g.eos_token_id] = 1
          m.lm_head = bias
          made = m.generate(torch.tensor([[5, 6, 7]]), max_new_tokens=9, do_sample=False, pad_token_id=g.eos_token_id)[0].tolist()
      print(json.dumps({"ids": [t.encode(x, add_special_tokens=False) for x in texts], "made": made, "decoded": [t.decode(t.encode(x)) for x in texts[1:]],
          "ends": [t.bos_token_id, t.eos_token_id, t.pad_token_id, c.bos_token_id, c.eos_token_id, g.bos_token_id, g.eos_token_id]}))
      """, [result.modelDirectory, folder.file("texts.json")])
    let answer = try JSONValue(parsing: text)
    #expect(answer["ends"]?.arrayValue?.map(\.intValue) == Array(repeating: Int(end), count: 7))
    #expect(answer["made"]?.arrayValue?.map(\.intValue) == [5, 6, 7, Int(end)])
    let theirs = try #require(answer["ids"]?.arrayValue).map { ($0.arrayValue ?? []).compactMap { $0.intValue.map(Int32.init) } }
    #expect(theirs.count == 200 && theirs == ids)
  }

  /// One token that begins and ends stands once between two documents; two different ones both stand.
  @Test func theEndOfOneTextIsTheBeginningOfTheNext() throws {
    for (beginning, end, expected) in [(0, 0, [0, 5, 6, 0, 7, 8, 0]), (0, 1, [0, 5, 6, 1, 0, 7, 8, 1])] as [(Int32, Int32, [Int32])] {
      try TokenShardFile.write(
        [[5, 6], [7, 8]], vocabularySize: 9, beginning: beginning, end: end, tokenizerSHA256: SHA256Digest.hex("t"), to: folder.file("two"))
      let source = try BatchSource([try TokenShardFile(path: folder.file("two"))], length: expected.count - 1, seed: 1)
      var row = [Int32](repeating: -1, count: expected.count)
      source.copy(row: 0, &row)
      #expect(row == expected && source.rowCount == 1)
    }
  }
}
