// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor
import TestSupport
import Testing

@testable import Training

/// PyTorch and transformers compute the same gradients, the same course of training and the same logits.
@Suite(.enabled(if: Peers.python != nil, "no peer environment"), .serialized) struct TrainingPeerTests {
  private static let follow = """
    import json, sys, torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM
    start, gradients, spec = sys.argv[1], load_file(sys.argv[2] + "/model.safetensors"), json.load(open(sys.argv[3]))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    names = dict(model.named_parameters())
    decays = [p for n, p in names.items() if p.dim() == 2 and n != "model.embed_tokens.weight"]
    others = [p for n, p in names.items() if not (p.dim() == 2 and n != "model.embed_tokens.weight")]
    optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": spec["decay"]}, {"params": others, "weight_decay": 0.0}],
                                  lr=1.0, betas=tuple(spec["betas"]), eps=spec["eps"])
    losses, worst = [], {}
    for step, rows in enumerate(spec["batches"]):
        x = torch.tensor(rows)
        y = model(x[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(y.reshape(-1, y.shape[-1]), x[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            assert set(gradients) == set(names), (sorted(gradients), sorted(names))
            for name, p in names.items():
                worst[name] = ((p.grad - gradients[name]).abs().max() / p.grad.abs().max()).item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec["clip"])
        for group in optimizer.param_groups: group["lr"] = spec["rates"][step]
        optimizer.step()
        losses.append(loss.item())
    print(json.dumps({"losses": losses, "worst": worst}))
    """

  /// Gradients of the first step: every element within 1e-4 of the largest of its tensor (both sum in f32, in different
  /// orders). The loss of each of 50 steps: within 1e-3 relative, the platform's own bound between layouts.
  @Test(arguments: [1, 2], [false, true]) func torchTakesTheSameCourse(world: Int, tied: Bool) throws {
    let folder = TemporaryDirectory("course")
    try writeTokens(folder.file("tokens"))
    let c = tiny(world: world, steps: 50, tied: tied)
    let losses = try train(folder, c, world).losses

    // The weights before the first step, and the gradients of the first batch in the same layout.
    var batches: [[[Int32]]] = []
    var source = try BatchSource([try TokenShardFile(path: folder.file("tokens"))], length: c.sequenceLength, seed: c.seed)
    for step in 0..<c.steps {
      var flat = [Int32](repeating: 0, count: c.rowsPerStep * (c.sequenceLength + 1))
      source.fill(step: step, rows: c.rowsPerStep, &flat)
      batches.append(stride(from: 0, to: flat.count, by: c.sequenceLength + 1).map { Array(flat[$0..<$0 + c.sequenceLength + 1]) })
    }
    let first = batches[0].flatMap { $0 }
    let (start, gradients) = (folder.file("start"), folder.file("gradients"))
    _ = try ThreadGang.run(world) { collective in
      let decoder = try TrainableDecoder(c, collective: collective)
      let model = c.modelConfiguration(bos: 0, eos: 1)
      _ = try ModelWriter.write(decoder.parameters, model: model, tokenizerDirectory: nil, collective: collective, to: start)
      decoder.parameters.zeroGradients()
      _ = try decoder.loss(first, rows: c.rowsPerStep, length: c.sequenceLength, train: true)
      decoder.parameters.values.update(from: decoder.parameters.gradients, count: decoder.parameters.count)
      _ = try ModelWriter.write(decoder.parameters, model: model, tokenizerDirectory: nil, collective: collective, to: gradients)
      return 0
    }
    let spec: JSONValue = [
      "decay": .number(c.weightDecay), "betas": [.number(c.beta1), .number(c.beta2)], "eps": .number(c.epsilon), "clip": .number(c.clip),
      "rates": .array((0..<c.steps).map { .number(c.learningRate(at: $0)) }),
      "batches": .array(batches.map { .array($0.map { .array($0.map { .integer(Int64($0)) }) }) }),
    ]
    try Data(spec.sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("spec.json")))
    let answer = try JSONValue(parsing: Peers.run(Self.follow, [start, gradients, folder.file("spec.json")]))
    for (name, worst) in answer["worst"]?.objectValue ?? [:] {
      #expect((worst.doubleValue ?? 1) < 1e-4, "gradient of \(name): \(worst.sortedText)")
    }
    let peer = try #require(answer["losses"]?.arrayValue).compactMap(\.doubleValue)
    #expect(peer.count == 50 && losses.count == 50)
    for (ours, theirs) in zip(losses, peer) { #expect(abs(ours.loss - theirs) < 1e-3 * theirs, "step \(ours.step): \(ours.loss), torch \(theirs)") }
  }

  /// Every logit of a directory that a gang wrote: ours and transformers' differ by less than 1e-3.
  @Test(arguments: [1, 2], [false, true]) func transformersReadsWhatAGangWrote(world: Int, tied: Bool) throws {
    let folder = TemporaryDirectory("logits")
    try writeTokens(folder.file("tokens"))
    let c = tiny(world: world, steps: 20, tied: tied)
    let directory = try train(folder, c, world).modelDirectory
    var tokens: [Int32] = [0]
    var generator = SplitMix64(seed: 9)
    while tokens.count < c.sequenceLength { tokens.append(Int32.random(in: 0..<64, using: &generator)) }
    let text = try Peers.run(
      """
      import sys, json, torch
      from transformers import AutoModelForCausalLM
      m = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
      with torch.no_grad(): print(json.dumps(m(torch.tensor([json.loads(sys.argv[2])])).logits.flatten().tolist()))
      """, [directory, "\(tokens)"])
    let expected = try #require(JSONValue(parsing: text).arrayValue).compactMap(\.doubleValue)
    let runner = try LlamaRunner(model: LlamaModel(directory: directory), blockCount: 2, maxRows: tokens.count)
    var batch = DecoderBatch()
    batch.append(tokens: tokens, computed: 0, blocks: [0, 1], logits: .all)
    let ours = Array(runner.forward(batch))
    #expect(ours.count == expected.count && ours.count == tokens.count * c.vocabularySize)
    let difference = zip(ours, expected).reduce(0.0) { max($0, abs(Double($1.0) - $1.1)) }
    #expect(difference < 1e-3, "largest difference \(difference)")
  }

  private func train(_ folder: TemporaryDirectory, _ c: TrainingConfiguration, _ world: Int) throws -> TrainResult {
    let (tokens, checkpoints, output) = (folder.file("tokens"), folder.file("checkpoints"), folder.file("model"))
    return try ThreadGang.run(world) { collective in
      try TrainRank.run(
        TrainRankShard(
          configuration: c, rank: collective.rank, world: world, trainFiles: [tokens], testFiles: [tokens],
          checkpointDirectory: checkpoints, outputDirectory: output),
        collective: collective, context: StoppingContext(looks: .max))
    }[0]
  }
}
