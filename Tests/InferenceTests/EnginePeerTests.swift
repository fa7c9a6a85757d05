// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import TestSupport
import Testing

@testable import Inference

/// Random models with a byte-level tokenizer, and what transformers' own greedy generation makes of some prompts.
private let generate = #"""
  import json, sys, torch
  from transformers import AutoConfig, AutoModelForCausalLM
  out, result = sys.argv[1], {}
  torch.set_num_threads(1)
  llama3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                original_max_position_embeddings=32)
  variants = dict(plain={}, tied=dict(tie_word_embeddings=True, num_key_value_heads=4), biases=dict(attention_bias=True, mlp_bias=True),
                  llama3=dict(rope_parameters=llama3, num_key_value_heads=1),
                  yarn=dict(rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)),
                  qwen3=dict(head_dim=24), phi3={}, olmo2={}, gpt2=dict(n_embd=64, n_layer=3, n_head=4, n_positions=256),
                  gemma2=dict(head_dim=24, sliding_window=12, query_pre_attn_scalar=20, attn_logit_softcapping=3.0, final_logit_softcapping=4.0),
                  qwen3_moe=dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=40, norm_topk_prob=True))
  for number, (name, extra) in enumerate(variants.items()):
      torch.manual_seed(number)
      settings = dict(vocab_size=211, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                      num_key_value_heads=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
      kind = name if name in ("qwen3", "phi3", "olmo2", "gpt2", "gemma2", "qwen3_moe") else "llama"
      settings = {**settings, **extra, "initializer_range": 0.2}
      if kind == "gpt2": settings = {k: v for k, v in settings.items() if k not in ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")}
      model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
      model.save_pretrained(f"{out}/{name}")
      cases = []
      for length in (1, 7, 40):
          prompt = torch.randint(3, 211, (1, length))
          with torch.no_grad():
              ids = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=16)
          cases.append([prompt[0].tolist(), ids[0, length:].tolist()])
      result[name] = cases
  print(json.dumps(result))
  """#

@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct EnginePeerTests {
  @Test func greedyGenerationEqualsTransformers() async throws {
    let folder = TemporaryDirectory("generate")
    let cases: [String: [[[Int32]]]] = try JSONValue(parsing: Peers.run(generate, [folder.path])).decode()
    #expect(cases.count == 11)
    for (name, list) in cases {
      let model = try GenerativeModels.open(folder.file(name))
      // Plain Llamas keep their own path.
      #expect((model is LlamaModel) == ["plain", "tied", "biases", "llama3"].contains(name), "\(name)")
      let engine = try InferenceEngine(model: model, tokenizer: nil)
      // All at once, so that they share steps.
      try await withThrowingTaskGroup(of: Void.self) { group in
        for pair in list {
          group.addTask {
            var request = GenerationRequest(id: name, prompt: .tokens(pair[0]))
            request.sampling = .greedy
            request.maxTokens = 16
            let event = try await engine.complete(request)
            #expect(event.tokenIDs == pair[1], "\(name), prompt of \(pair[0].count)")
            #expect(event.finish == (pair[1].last == 2 ? .stop : .length))
          }
        }
        try await group.waitForAll()
      }
    }
  }

  /// A folder that transformers and tokenizers wrote, from text to text.
  @Test func wholeFolderFromTextToText() async throws {
    let folder = TemporaryDirectory("folder")
    let script = #"""
      import sys, json, torch
      from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
      from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
      t = Tokenizer(models.BPE()); t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False); t.decoder = decoders.ByteLevel()
      t.train_from_iterator(["the quick brown fox", "the lazy dog \u00e4\u00f6\u00fc"] * 5, trainers.BpeTrainer(vocab_size=300,
          special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
      f = PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>"); f.save_pretrained(sys.argv[1])
      torch.manual_seed(3)
      m = LlamaForCausalLM(LlamaConfig(vocab_size=len(f), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
          num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128, bos_token_id=0, eos_token_id=1,
          initializer_range=0.3)).eval(); m.save_pretrained(sys.argv[1])
      ids = f("the quick dog", return_tensors="pt").input_ids
      with torch.no_grad(): out = m.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20, pad_token_id=1)
      new = out[0, ids.shape[1]:].tolist()
      template = "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}\\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
      chat = f.apply_chat_template([{"role": "user", "content": " hi "}], chat_template=template, add_generation_prompt=True, return_dict=False)
      print(json.dumps([ids[0].tolist(), new, f.decode(new, skip_special_tokens=True), template, chat]))
      """#
    let seen = try #require(JSONValue(parsing: Peers.run(script, [folder.path])).arrayValue)
    let engine = try InferenceEngine(directory: folder.path)
    let prompt: [Int32] = try seen[0].decode()
    #expect(try engine.promptTokens(.text("the quick dog")) == prompt)
    var request = GenerationRequest(id: "text", prompt: .text("the quick dog"))
    request.sampling = .greedy
    request.maxTokens = 20
    let event = try await engine.complete(request)
    let expected: [Int32] = try seen[1].decode()
    #expect(event.tokenIDs == expected)
    #expect(event.text == seen[2].stringValue)
    // No template: the plain conversation format works.
    request.prompt = .messages([ChatMessage(role: "user", content: "hi")])
    #expect(try await engine.complete(request).finish != nil)
    // The model's own template, with its special tokens and none added besides.
    let configuration: JSONValue = ["chat_template": seen[3], "bos_token": ["content": "<s>"], "eos_token": "</s>"]
    try Data(configuration.sortedText.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer_config.json")))
    let templated = try InferenceEngine(directory: folder.path)
    request.prompt = .messages([ChatMessage(role: "user", content: " hi ")])
    #expect(try templated.promptTokens(request.prompt) == seen[4].decode([Int32].self))
    #expect(try await templated.complete(request).finish != nil)
    // A template that cannot be used fails conversations only.
    try Data(#"{"chat_template": "{% if %}"}"#.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer_config.json")))
    let broken = try InferenceEngine(directory: folder.path)
    let error = #expect(throws: PlatformError.self) { try broken.generate(request) }
    #expect(error?.number == "PLT-4120")
    request.prompt = .text("the quick dog")
    #expect(try await broken.complete(request).finish != nil)
  }
}

@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["PLATFORM_BENCH"] != nil, "set PLATFORM_BENCH"))
struct EngineBenchmark {
  /// About 6 million parameters in f32: tokens a second for 1, 8 and 16 requests at once.
  @Test(arguments: [1, 8, 16]) func decode(batch: Int) async throws {
    let configuration = LlamaConfiguration(
      vocabularySize: 8192, hiddenSize: 256, intermediateSize: 688, layerCount: 5, headCount: 8, keyValueHeadCount: 4,
      maxPositions: 512, tieWordEmbeddings: true)
    let engine = try InferenceEngine(model: TestModel.random(configuration, seed: 1, spread: 0.05), tokenizer: nil)
    let started = ContinuousClock.now
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<batch {
        group.addTask {
          var request = GenerationRequest(id: "\(index)", prompt: .tokens([Int32](repeating: Int32(index + 5), count: 32)))
          request.sampling = .greedy
          request.maxTokens = 200
          _ = try await engine.complete(request)
        }
      }
      try await group.waitForAll()
    }
    let elapsed = ContinuousClock.now - started
    let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    let s = engine.statistics
    print(
      "decode: \(configuration.parameterCount) parameters, batch \(batch): \(Int(Double(batch * 200) / seconds)) tokens/s,",
      "step \(Int(s.stepSeconds / Double(s.steps) * 1e6)) us, first token \(Int(s.firstTokenSeconds / Double(s.firstTokens) * 1e3)) ms"
    )
  }
}
