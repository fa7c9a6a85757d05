// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// Random models that transformers wrote, with the logits that torch computed (eager attention, f32 arithmetic).
private let makeModels = #"""
  import json, sys, numpy as np, torch
  from transformers import LlamaConfig, LlamaForCausalLM
  out = sys.argv[1]
  base = dict(vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
  llama3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=32)
  variants = dict(
      plain={}, multihead=dict(num_key_value_heads=4), oneKeyHead=dict(num_key_value_heads=1),
      tied=dict(tie_word_embeddings=True), biases=dict(attention_bias=True, mlp_bias=True),
      wideHeads=dict(head_dim=20, rms_norm_eps=1e-3), linear=dict(rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=4.0)),
      llama3=dict(rope_parameters=llama3), half=dict(storage="bfloat16"), float16=dict(storage="float16"), sharded=dict(shards="40KB"))
  for number, (name, extra) in enumerate(variants.items()):
      torch.manual_seed(number)
      settings = {**base, **extra}
      storage, shards = settings.pop("storage", "float32"), settings.pop("shards", "5GB")
      model = LlamaForCausalLM(LlamaConfig(**settings, initializer_range=0.15)).eval()
      with torch.no_grad():
          for key, value in model.named_parameters():
              if value.dim() == 1: value.add_(torch.randn_like(value) * 0.1)
      model = model.to(getattr(torch, storage))
      model.save_pretrained(f"{out}/{name}", max_shard_size=shards)
      # Read back, because narrowing a model in place also narrows its rotary table.
      model = LlamaForCausalLM.from_pretrained(f"{out}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
      tokens = torch.randint(0, 97, (1, 75))
      with torch.no_grad(): logits = model(tokens).logits[0]
      tokens.numpy().astype(np.int32).tofile(f"{out}/{name}/tokens.bin")
      logits.numpy().astype(np.float32).tofile(f"{out}/{name}/logits.bin")
  print(json.dumps(list(variants)))
  """#

private func read<T>(_ path: String, as type: T.Type) throws -> [T] {
  let data = try Data(contentsOf: URL(fileURLWithPath: path))
  return data.withUnsafeBytes { Array($0.bindMemory(to: T.self)) }
}

@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct DecoderPeerTests {
  @Test func logitsMatchTorch() throws {
    let folder = TemporaryDirectory("llama")
    let names: [String] = try JSONValue(parsing: Peers.run(makeModels, [folder.path])).decode()
    for name in names {
      let directory = folder.file(name)
      let tokens = try read(directory + "/tokens.bin", as: Int32.self)
      let expected = try read(directory + "/logits.bin", as: Float.self)
      let model = try LlamaModel(directory: directory)
      if name == "sharded" { #expect(FileManager.default.fileExists(atPath: directory + "/model.safetensors.index.json")) }
      for isa in 0...Int(pk_decode_isa_best()) {
        let runner = try LlamaRunner(model: model, blockCount: 8, maxRows: 100, isa: isa)
        var batch = DecoderBatch()
        batch.append(tokens: tokens, computed: 0, blocks: [7, 1, 3, 0, 5], logits: .all)
        let whole = Array(runner.forward(batch))
        let difference = zip(whole, expected).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(whole.count == expected.count && difference < 1e-3, "\(name) isa \(isa): \(difference)")
        // In chunks, with another sequence beside it: the same bits.
        var pieces: [Float] = []
        var start = 0
        for size in [1, 17, 5, 30, 22] {
          var step = DecoderBatch()
          step.append(tokens: tokens[0..<min(start + 1, 9)], computed: 0, blocks: [6], logits: .none)
          step.append(tokens: tokens[start..<start + size], computed: start, blocks: [2, 4, 0, 7, 1], logits: .all)
          pieces += runner.forward(step)
          start += size
        }
        #expect(pieces == whole, "\(name) isa \(isa): chunks differ")
      }
    }
  }

  @Test func transformersReadsOurConfiguration() throws {
    let folder = TemporaryDirectory("config")
    var configuration = LlamaConfiguration(
      vocabularySize: 97, hiddenSize: 48, intermediateSize: 80, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
      ropeTheta: 5000, maxPositions: 256, bosTokenID: 1, eosTokenIDs: [2, 3])
    let script = #"""
      import sys, json
      from transformers import AutoConfig, LlamaForCausalLM
      c = AutoConfig.from_pretrained(sys.argv[1])
      m = LlamaForCausalLM(c)
      f = m.model.rotary_emb.inv_freq.tolist()
      print(json.dumps([type(c).__name__, c.num_key_value_heads, c.eos_token_id, sum(p.numel() for p in m.parameters()), f]))
      """#
    for scaling in [
      LlamaConfiguration.RopeScaling.none, .linear(factor: 4),
      .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 32),
    ] {
      configuration.ropeScaling = scaling
      try configuration.save(directory: folder.path)
      #expect(try LlamaConfiguration.load(directory: folder.path) == configuration)
      let seen = try JSONValue(parsing: Peers.run(script, [folder.path]))
      let items = try #require(seen.arrayValue)
      #expect(items[0] == "LlamaConfig" && items[1] == 2 && items[2] == [2, 3])
      #expect(items[3].intValue == configuration.parameterCount)
      let frequencies = try #require(items[4].arrayValue).compactMap(\.doubleValue)
      for (ours, theirs) in zip(configuration.inverseFrequencies, frequencies) {
        #expect(abs(Double(ours) - theirs) <= 1e-6 * theirs, "\(scaling)")
      }
    }
  }
}
