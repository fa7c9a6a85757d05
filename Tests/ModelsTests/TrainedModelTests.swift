// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import TestSupport
import Testing

@testable import Models

/// What `transformers` computes with the very numbers of the file: tokens of a text, their logits, and what follows a question.
private let computeReference = #"""
  import json, os, sys, numpy as np, torch
  from transformers import AutoModelForCausalLM, AutoTokenizer
  path, text, out = sys.argv[1:]
  folder, name = os.path.split(path)
  tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
  model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32, attn_implementation="eager").eval()
  ids = tokenizer(text)["input_ids"]
  question = tokenizer("The capital of France is")["input_ids"]
  answer = list(question)
  with torch.no_grad():
      model(torch.tensor([ids])).logits[0].numpy().astype(np.float32).tofile(out)
      for _ in range(64): answer.append(int(model(torch.tensor([answer])).logits[0, -1].argmax()))
  print(json.dumps([ids, question, answer[len(question):]]))
  """#

/// How far logits, [rows, columns], are from others: the largest difference, of the standard deviation, and the mean over rows of sum(p log(p / q)).
private let compareLogits = #"""
  import json, sys, numpy as np
  rows = int(sys.argv[3])
  exact, other = (np.fromfile(path, np.float32).reshape(rows, -1).astype(np.float64) for path in sys.argv[1:3])
  def logarithms(x):
      x = x - x.max(-1, keepdims=True)
      return x - np.log(np.exp(x).sum(-1, keepdims=True))
  p, q = logarithms(exact), logarithms(other)
  print(json.dumps([np.abs(exact - other).max() / exact.std(), (np.exp(p) * (p - q)).sum(-1).mean()]))
  """#

/// A language model that was trained for long: its rows have outliers that random weights do not have.
@Suite(.enabled(if: Peers.trainedModel != nil, "no trained model; deploy/install-dependencies.sh --peers fetches it"))
struct TrainedModelTests {
  @Test func smallerWeightsKeepWhatATrainedModelSays() throws {
    let path = try #require(Peers.trainedModel)
    let folder = TemporaryDirectory("trained")
    let told: [[Int32]] = try JSONValue(parsing: Peers.run(computeReference, [path, text, folder.file("logits")])).decode()
    let (ids, question, answer) = (told[0], told[1], told[2])
    #expect(ids.count > 200)
    func compare(_ model: DecoderModel) throws -> (off: Double, divergence: Double) {
      var logits = Data()
      try SingleSequence(model: model).logits(ids) { logits.append(contentsOf: UnsafeRawBufferPointer($0)) }
      try logits.write(to: URL(fileURLWithPath: folder.file("ours")))
      let told: [Double] = try JSONValue(parsing: Peers.run(compareLogits, [folder.file("logits"), folder.file("ours"), "\(ids.count)"])).decode()
      return (told[0], told[1])
    }

    let exact = try DecoderModel(directory: path)
    let off = try compare(exact).off
    #expect(off < 2e-4, "f32: \(off) of the standard deviation")
    #expect(try greedy(exact, question, answer.count) == answer)
    for (precision, bar) in [(WeightPrecision.bf16, 1e-3), (.int8, 2e-3), (.int4, 3e-2)] as [(WeightPrecision, Double)] {
      let divergence = try compare(DecoderModel(directory: path, precision: precision)).divergence
      #expect(divergence < bar && divergence > 0, "\(precision): \(divergence)")
    }
  }

  private func greedy(_ model: DecoderModel, _ prompt: [Int32], _ count: Int) throws -> [Int32] {
    let runner = try DecoderRunner(model: model, blockCount: 16, maxRows: 64)
    var tokens = prompt
    var computed = 0
    while tokens.count < prompt.count + count {
      var batch = DecoderBatch()
      batch.append(tokens: tokens[computed...], computed: computed, blocks: Array(0..<16), logits: .last)
      computed = tokens.count
      let row = runner.forward(batch)
      tokens.append(Int32(pk_argmax(row.baseAddress!, row.count)))
    }
    return Array(tokens.dropFirst(prompt.count))
  }

  private let text = """
    The lighthouse stood at the end of a long spit of sand, and every evening its keeper climbed one hundred and twelve steps to light the lamp. \
    Ships that came from the north saw it first as a faint star, low over the water, and their captains wrote the hour into the log. In 1897 a storm \
    took the bridge to the mainland; for eleven days nobody could bring bread or oil. What did the keeper do? He burned his chairs, then the door of \
    the shed, and the light never went out.

    To sort a list in Python, call `sorted(values)`, which returns a new list, or `values.sort()`, which changes the list itself. Both take a `key`:

        words = ["pear", "fig", "apple"]
        print(sorted(words, key=len))   # ['fig', 'pear', 'apple']

    Water boils at 100 degrees Celsius at sea level, but on a mountain of 3,000 metres it boils at about 90 degrees, because the air presses less. \
    That is why potatoes need longer there. A pressure cooker does the opposite: inside, water stays liquid up to 120 degrees.
    """
}
