// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core
import Foundation
import Tensor
import TestSupport
import Testing

@testable import Models

/// Random models written twice, by `transformers` and as llama.cpp's converter stores them: the same logits.
@Suite(.enabled(if: Peers.hasGGUF, "no peer environment with gguf")) struct GGUFModelTests {
  @Test func everyArchitectureComputesWhatItsFolderDoes() throws {
    let folder = TemporaryDirectory("ggufmodels")
    let names: [String] = try JSONValue(parsing: Peers.run(makeGGUFModels, [folder.path])).decode()
    #expect(names.count >= GGUFConfiguration.architectures.count)
    let ids = (0..<40).map { Int32($0 * 37 % 300) }
    for name in names {
      let expected = try logits(DecoderModel(directory: folder.file(name)), ids)
      let model = try DecoderModel(directory: folder.file(name + ".gguf"))
      let off = difference(try logits(model, ids), expected)
      #expect(off < 2e-5, "\(name): \(off)")
      let path = folder.file(name + ".gguf")
      let parts = try ThreadRanks.run(2) { collective in
        let part = try DecoderModel(directory: path, part: ModelPart(rank: collective.rank, of: 2))
        var logits: [Float] = []
        try SingleSequence(model: part, collective: collective).logits(ids) { logits.append(contentsOf: $0) }
        return logits
      }
      let whole = try logits(model, ids)
      #expect(parts.allSatisfy { $0 == whole }, "\(name): in two parts")
      // An adapter names modules as the folder has them, whatever the file calls its tensors and in which order their rows lie.
      let source = try DecoderModel(directory: folder.file(name))
      let modules = model.targets.modules.map { ($0.key, $0.value.inputs, $0.value.outputs) }.sorted { $0.0 < $1.0 }
      try AdapterFolder(modules, seed: 1, spread: 0.2).write(to: folder.file("adapter"))
      let adapter = try LoRAAdapter(name: "a", directory: folder.file("adapter"), targets: model.targets)
      let adapted = try logits(source, ids, adapter)
      #expect(difference(try logits(model, ids, adapter), adapted) < 4e-5, "\(name) with an adapter")
      #expect(difference(expected, adapted) > 0.05, "\(name): the adapter changes nothing")
      #expect(model.endTokenIDs == [2], "\(name)")
      #expect(try ModelArchitectures.isEncoder(directory: folder.file(name + ".gguf")) == false)
    }
    try checkKeptBlocks(folder.file("llama.gguf"), "Q8_0", .int8)
    try checkKeptBlocks(folder.file("qwen2.gguf"), "Q4_0", .int4)
  }

  /// Blocks that are packed weights already are not rounded again.
  private func checkKeptBlocks(_ path: String, _ format: String, _ precision: WeightPrecision) throws {
    let file = try GGUFModel(path: path)
    let loader = WeightLoader(source: file.weights, precision: precision)
    let matrix = try loader.linear(MatrixPlan("model.layers.1.mlp.up_proj", 96, 64), nil)
    var values: [Float] = []
    for panel in 0..<6 {
      var part = [Float](repeating: 0, count: 16 * 64)
      pk_unpack_panel(matrix.type, matrix.weights + panel * pk_panel_bytes(matrix.type, 64), 16, 64, &part)
      values += part
    }
    #expect(try values == file.file.tensor("blk.1.ffn_up.weight").float32(), "\(format)")
  }

  @Test func whatIsMissingOrNotBuiltIsNamed() throws {
    let folder = TemporaryDirectory("ggufbad")
    let script = #"""
      import sys, gguf, numpy as np
      def write(name, arch, change):
          w = gguf.GGUFWriter(f"{sys.argv[1]}/{name}.gguf", arch)
          keys = dict(context_length=64, embedding_length=32, block_count=1, feed_forward_length=32, head_count=2, head_count_kv=2, layer_norm_rms_eps=1e-5)
          extra = change(keys) or {}
          for key, value in keys.items(): getattr(w, "add_" + key)(value)
          for key, value in extra.items(): w.add_float32(f"{arch}.{key}", value)
          if name != "empty": w.add_tensor("token_embd.weight", np.zeros((8, 32), np.float32))
          w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
      write("mamba", "mamba", lambda k: None)
      write("nowidth", "llama", lambda k: k.pop("embedding_length") and None)
      write("scaled", "llama", lambda k: {"logit_scale": 2.0})
      write("zeroheads", "llama", lambda k: k.update(head_count=0))
      write("empty", "llama", lambda k: None)
      write("tensors", "llama", lambda k: None)
      """#
    _ = try Peers.run(script, [folder.path])
    for (name, part) in [
      ("mamba", "PLT-5211 loading model: the architecture 'mamba' is not built"), ("nowidth", "PLT-5210 loading model: 'llama.embedding_length' is missing"),
      ("scaled", "PLT-5211 loading model: 'llama.logit_scale' is 2.0, which is not built"), ("zeroheads", "PLT-4102"),
      ("empty", "PLT-5210 loading model: there is no tensor 'token_embd.weight'"),
      ("tensors", "PLT-4103 loading model: the model has no tensor 'model.layers.0"),
    ] {
      do {
        _ = try DecoderModel(directory: folder.file(name + ".gguf"))
        Issue.record("\(name) was read")
      } catch {
        let error = PlatformError.from(error)
        let text = "\(error.number) \(error.message)".replacing(" \(folder.file(name + ".gguf"))", with: "")
        #expect(text.contains(part), "\(text)")
      }
    }
  }

  private func logits(_ model: DecoderModel, _ ids: [Int32], _ adapter: LoRAAdapter? = nil) throws -> [Float] {
    var all: [Float] = []
    try SingleSequence(model: model, adapter: adapter).logits(ids) { all.append(contentsOf: $0) }
    return all
  }

  /// The largest difference in deviations of `b`.
  private func difference(_ a: [Float], _ b: [Float]) -> Double {
    guard a.count == b.count else { return .infinity }
    let mean = b.reduce(0.0) { $0 + Double($1) } / Double(b.count)
    let deviation = (b.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(b.count)).squareRoot()
    return zip(a, b).reduce(0.0) { max($0, abs(Double($1.0) - Double($1.1))) } / deviation
  }
}

/// What llama.cpp's converter does to these architectures: names, rows of queries and keys pair by pair (llama, granite), gains with
/// their 1 (gemma), fused experts, Llama 3's rotary scaling as divisors.
private let makeGGUFModels = #"""
  import json, math, sys, numpy as np, torch, gguf
  from gguf.quants import quantize, dequantize
  from transformers import AutoModelForCausalLM
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  from safetensors.torch import load_file, save_file
  out = sys.argv[1]
  torch.set_num_threads(1)
  Q = gguf.GGMLQuantizationType
  base = dict(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
  wide = dict(head_dim=24)
  experts = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
  llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
  yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32)
  longrope = dict(rope_type="longrope", rope_theta=10000.0, short_factor=[1.0 + 0.1 * i for i in range(8)], long_factor=[1.5 + 0.4 * i for i in range(8)], original_max_position_embeddings=32)
  # name: (model_type, settings, GGUF architecture, block formats)
  models = {
    "llama": ("llama", {**base, "rope_parameters": llama3}, "llama", [Q.Q8_0]),
    "llama-bias": ("llama", {**base, **wide, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, "llama", [Q.F16, Q.BF16]),
    "mixtral": ("mixtral", {**base, "num_local_experts": 3, "sliding_window": None}, "llama", [Q.Q4_0, Q.F32]),
    "qwen2": ("qwen2", {**base, "tie_word_embeddings": True}, "qwen2", [Q.Q4_0]),
    "qwen3": ("qwen3", {**base, **wide, "rope_parameters": yarn}, "qwen3", [Q.Q5_0, Q.Q5_1]),
    "qwen2moe": ("qwen2_moe", {**base, **experts, "shared_expert_intermediate_size": 64, "norm_topk_prob": False}, "qwen2moe", [Q.F32]),
    "qwen3moe": ("qwen3_moe", {**base, **experts, **wide, "norm_topk_prob": True}, "qwen3moe", [Q.Q8_0]),
    "gemma": ("gemma", {**base, **wide}, "gemma", [Q.F32]),
    "gemma2": ("gemma2", {**base, **wide, "sliding_window": 17, "query_pre_attn_scalar": 24, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0}, "gemma2", [Q.F32]),
    "gemma3": ("gemma3_text", {**base, **wide, "num_hidden_layers": 7, "sliding_window": 17, "query_pre_attn_scalar": 24,
               "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}, "gemma3", [Q.Q4_1]),
    "phi3": ("phi3", {**base, "rope_parameters": longrope, "original_max_position_embeddings": 32, "sliding_window": None}, "phi3", [Q.F32]),
    "olmo2": ("olmo2", {**base}, "olmo2", [Q.F32]),
    "granite": ("granite", {**base, "embedding_multiplier": 6.0, "logits_scaling": 4.0, "residual_multiplier": 0.3, "attention_multiplier": 0.1}, "granite", [Q.F32]),
    "starcoder2": ("starcoder2", {**base, "sliding_window": 18}, "starcoder2", [Q.F32]),
  }
  def permute(w, heads): return np.ascontiguousarray(w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape))
  for number, (name, (kind, settings, arch, formats)) in enumerate(models.items()):
      torch.manual_seed(number)
      config = CONFIG_MAPPING[kind](**settings)
      config.initializer_range = 0.12
      model = AutoModelForCausalLM.from_config(config).eval()
      with torch.no_grad():
          for p in model.parameters():
              if p.dim() == 1: p.add_(torch.randn_like(p) * 0.1)
      folder = f"{out}/{name}"
      model.save_pretrained(folder)
      state = {k: v.float().numpy() for k, v in load_file(folder + "/model.safetensors").items()}
      w = gguf.GGUFWriter(f"{out}/{name}.gguf", arch)
      c = config
      w.add_context_length(c.max_position_embeddings); w.add_embedding_length(c.hidden_size); w.add_block_count(c.num_hidden_layers)
      w.add_feed_forward_length(c.intermediate_size); w.add_head_count(c.num_attention_heads); w.add_head_count_kv(c.num_key_value_heads)
      if hasattr(c, "rms_norm_eps"): w.add_layer_norm_rms_eps(c.rms_norm_eps)
      if kind == "starcoder2": w.add_layer_norm_eps(c.norm_epsilon); w.add_sliding_window(c.sliding_window)
      rope = c.rope_parameters
      full = rope.get("full_attention", rope)
      w.add_rope_freq_base(full["rope_theta"])
      if getattr(c, "head_dim", None): w.add_key_length(c.head_dim); w.add_value_length(c.head_dim)
      if full["rope_type"] in ("linear", "yarn"):
          w.add_rope_scaling_type(gguf.RopeScalingType(full["rope_type"])); w.add_rope_scaling_factor(full["factor"])
      if full["rope_type"] == "yarn": w.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
      if full["rope_type"] == "llama3":
          dim = c.hidden_size // c.num_attention_heads
          freqs = 1.0 / (full["rope_theta"] ** (np.arange(0, dim, 2) / dim))
          low, high, old, factor = full["low_freq_factor"], full["high_freq_factor"], full["original_max_position_embeddings"], full["factor"]
          factors = []
          for f in freqs:
              length = 2 * math.pi / f
              if length < old / high: factors.append(1.0)
              elif length > old / low: factors.append(factor)
              else:
                  smooth = (old / length - low) / (high - low)
                  factors.append(1 / ((1 - smooth) / factor + smooth))
          w.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
      if kind == "phi3":
          old = full["original_max_position_embeddings"]; scale = c.max_position_embeddings / old
          w.add_rope_scaling_orig_ctx_len(old); w.add_sliding_window(0); w.add_rope_dimension_count(c.hidden_size // c.num_attention_heads)
          w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(old)))
          w.add_tensor("rope_factors_long.weight", np.array(full["long_factor"], np.float32))
          w.add_tensor("rope_factors_short.weight", np.array(full["short_factor"], np.float32))
      if kind in ("gemma2", "gemma3_text"): w.add_sliding_window(c.sliding_window)
      if kind == "gemma2": w.add_attn_logit_softcapping(c.attn_logit_softcapping); w.add_final_logit_softcapping(c.final_logit_softcapping)
      if kind == "granite":
          w.add_attention_scale(c.attention_multiplier); w.add_embedding_scale(c.embedding_multiplier)
          w.add_residual_scale(c.residual_multiplier); w.add_logit_scale(c.logits_scaling)
      count = getattr(c, "num_local_experts", None) or getattr(c, "num_experts", None)
      if count:
          w.add_expert_count(count); w.add_expert_used_count(c.num_experts_per_tok)
          if hasattr(c, "moe_intermediate_size"): w.add_expert_feed_forward_length(c.moe_intermediate_size)
          if hasattr(c, "shared_expert_intermediate_size"): w.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
      w.add_eos_token_id(2)
      map = gguf.get_tensor_name_map(next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == arch), c.num_hidden_layers)
      merged, used = {}, {}
      kept = {}
      for place, (key, value) in enumerate(sorted(state.items())):
          # A shape whose rows are whole blocks takes a block format; the folder gets the same numbers.
          format = formats[place % len(formats)]
          if value.ndim < 2 or "router" in key or key.endswith("mlp.gate.weight") or "shared_expert_gate" in key or value.shape[-1] % gguf.GGML_QUANT_SIZES[format][0]: format = Q.F32
          if format == Q.BF16: blocks = quantize(value, format)
          else: blocks = quantize(np.ascontiguousarray(value), format)
          value = np.ascontiguousarray(dequantize(blocks, format).reshape(value.shape), dtype=np.float32)
          kept[key] = value
          for kindOf in ("experts.gate_up_proj", "experts.down_proj"):
              if kindOf in key:
                  layer = key.split(".")[2]
                  if "gate_up" in key:
                      half = value.shape[1] // 2
                      parts = {"gate": value[:, :half], "up": value[:, half:]}
                  else: parts = {"down": value}
                  for part, numbers in parts.items():
                      w.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", quantize(np.ascontiguousarray(numbers), format), raw_dtype=format)
                  break
          else:
              if ".experts." in key:
                  layer, expert, part = key.split(".")[2], int(key.split(".")[5]), key.split(".")[6]
                  part = {"w1": "gate", "w2": "down", "w3": "up"}.get(part, part.removesuffix("_proj"))
                  merged.setdefault((layer, part), {})[expert] = (key, value)
                  continue
              if arch in ("llama", "granite"):
                  heads = c.num_attention_heads if ".q_proj." in key else c.num_key_value_heads if ".k_proj." in key else 0
                  if heads: value = permute(value, heads)
              if arch.startswith("gemma") and key.endswith("norm.weight"): value = value + 1
              stored = map.get_name(key, try_suffixes=(".weight", ".bias"))
              assert stored, key
              w.add_tensor(stored, quantize(np.ascontiguousarray(value), format), raw_dtype=format)
      for (layer, part), items in merged.items():
          whole = np.stack([items[e][1] for e in sorted(items)])
          format = Q.Q8_0 if formats == [Q.Q8_0] and whole.shape[-1] % 32 == 0 else Q.F32
          blocks = quantize(whole, format)
          whole = dequantize(blocks, format).reshape(whole.shape)
          for e in items: kept[items[e][0]] = np.ascontiguousarray(whole[e])
          w.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", blocks, raw_dtype=format)
      save_file({k: torch.from_numpy(v) for k, v in kept.items()}, folder + "/model.safetensors", metadata={"format": "pt"})
      w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
  print(json.dumps(list(models)))
  """#
