// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Evaluation

private let makeFolder = #"""
  import sys, torch
  from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
  from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
  t = Tokenizer(models.BPE()); t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False); t.decoder = decoders.ByteLevel()
  t.train_from_iterator(["the quick brown fox jumps over the lazy dog"] * 5, trainers.BpeTrainer(vocab_size=290,
      special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
  f = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>"); f.save_pretrained(sys.argv[1])
  torch.manual_seed(3)
  LlamaForCausalLM(LlamaConfig(vocab_size=len(f), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
      num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=1, initializer_range=0.1)).save_pretrained(sys.argv[1])
  """#

/// The same figures from torch and plain Python, from the definitions.
private let score = #"""
  import sys, json, math, collections, numpy as np, torch
  from transformers import AutoTokenizer, LlamaForCausalLM
  folder, (train, test, weights, every) = sys.argv[1], json.loads(sys.argv[2])
  f = AutoTokenizer.from_pretrained(folder); m = LlamaForCausalLM.from_pretrained(folder).float().eval()
  ids = lambda texts: [[0] + f.encode(t, add_special_tokens=False) for t in texts]
  train, test = ids(train), ids(test)
  train = [s for i, s in enumerate(train) if i % every != every - 1]
  loss, n = 0.0, 0
  for s in test:
      for at in range(0, len(s), 24):
          p = s[at:at + 24]
          if len(p) < 2: continue
          with torch.no_grad(): l = torch.log_softmax(m(torch.tensor([p])).logits[0].double(), -1)
          loss -= sum(l[i, p[i + 1]].item() for i in range(len(p) - 1)); n += len(p) - 1
  counts = [collections.Counter(tuple(s[i - k:i + 1]) for s in train for i in range(k, len(s))) for k in range(3)]
  histories = [collections.Counter(tuple(s[i - k:i]) for s in train for i in range(k, len(s))) for k in range(3)]
  def prob(p, i, order):
      value = 1 / m.config.vocab_size
      for k in range(order):
          if i - k >= 0 and histories[k][tuple(p[i - k:i])]:
              value = weights[k] * counts[k][tuple(p[i - k:i + 1])] / histories[k][tuple(p[i - k:i])] + (1 - weights[k]) * value
      return value
  pieces = [s[at:at + 24] for s in test for at in range(0, len(s), 24)]
  grams = [float(np.exp(-np.mean([math.log(prob(p, i, o)) for p in pieces for i in range(1, len(p))]))) for o in (1, 2, 3)]
  print(json.dumps([math.exp(loss / n), n] + grams))
  """#

@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct EvaluationPeerTests {
  @Test func perplexitiesMatchTorchAndPython() throws {
    let folder = TemporaryDirectory("evaluate")
    _ = try Peers.run(makeFolder, [folder.path])
    let words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog"]
    func texts(_ count: Int, seed: UInt64) -> [String] {
      var random = SplitMix64(seed: seed)
      return (0..<count).map { _ in
        (0..<(3 + random.next() % 20)).map { _ in words[Int(random.next() % 8 & random.next() % 8)] }.joined(separator: " ")
      }
    }
    let train = texts(40, seed: 1)
    let test = texts(10, seed: 2)
    var shard = EvaluateShard(modelDirectory: folder.path)
    shard.contextLength = 24
    let result = try evaluate(shard, context: QuietContext()) { $0 == .train ? train : test }
    let argument = try JSONValue(encoding: [
      JSONValue(encoding: train), JSONValue(encoding: test), JSONValue(encoding: result.weights), .integer(10),
    ])
    let seen: [Double] = try JSONValue(parsing: Peers.run(score, [folder.path, argument.sortedText])).decode()
    #expect(abs(result.perplexity - seen[0]) < 1e-4 * seen[0])
    #expect(result.tokens == Int(seen[1]))
    #expect(abs(result.unigram - seen[2]) < 1e-9 * seen[2])
    #expect(abs(result.bigram - seen[3]) < 1e-9 * seen[3])
    #expect(abs(result.trigram - seen[4]) < 1e-9 * seen[4])
    #expect(result.bigram < result.unigram)
    for texts in [[], ["", ""]] {
      let error = #expect(throws: PlatformError.self) { try evaluate(shard, context: QuietContext()) { $0 == .train ? train : texts } }
      #expect(error?.code == .invalidArgument && error?.number == "PLT-4414" && error?.hint.contains("split is 'test'") == true)
    }
  }
}
