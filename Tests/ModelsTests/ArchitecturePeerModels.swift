// SPDX-License-Identifier: Apache-2.0

/// Makes a small random model of every architecture in the folder given, as `transformers` saves it, with what `torch` computes for
/// it: logits and greedy text, hidden states and pooled vectors of a padded batch. Prints the names.
let makeArchitectures = #"""
  import json, sys, numpy as np, torch
  from transformers import AutoModel, AutoModelForCausalLM
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  out = sys.argv[1]
  torch.set_num_threads(1)
  V, T = 300, 60
  base = dict(vocab_size=V, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
  small = {k: v for k, v in base.items() if k != "num_key_value_heads"}
  wide = dict(head_dim=24)
  def rope(kind, theta=10000.0, **more): return dict(rope_parameters=dict(rope_type=kind, rope_theta=theta, **more))
  yarn = rope("yarn", factor=4.0, original_max_position_embeddings=32)
  llama3 = rope("llama3", 500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
  longrope = rope("longrope", short_factor=[1.0 + 0.1 * i for i in range(6)], long_factor=[1.5 + 0.4 * i for i in range(6)], partial_rotary_factor=0.75)
  experts = dict(num_experts=6, num_experts_per_tok=2, moe_intermediate_size=40)
  decoders = {
    "llama": ("llama", {**base, **llama3}),
    "llama-yarn-tied": ("llama", {**base, **yarn, **wide, "tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    "llama-dynamic": ("llama", {**base, **rope("dynamic", factor=2.0), "max_position_embeddings": 32}),
    "qwen2": ("qwen2", {**base, "tie_word_embeddings": True}),
    "qwen2-window": ("qwen2", {**base, **yarn, "use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1}),
    "qwen3": ("qwen3", {**base, **wide}),
    "qwen3-yarn": ("qwen3", {**base, **wide, **yarn, "attention_bias": True, "tie_word_embeddings": True}),
    "mistral": ("mistral", {**base, **wide, "sliding_window": 19}),
    "gemma": ("gemma", {**base, **wide}),
    "gemma2": ("gemma2", {**base, **wide, "sliding_window": 17, "query_pre_attn_scalar": 20, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 4.0}),
    "gemma3": ("gemma3_text", {**base, **wide, "num_hidden_layers": 4, "sliding_window": 17, "query_pre_attn_scalar": 20,
               "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
               "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}, "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}),
    "phi3": ("phi3", {**base}),
    "phi3-longrope": ("phi3", {**base, **longrope, "original_max_position_embeddings": 32, "sliding_window": 50}),
    "phi": ("phi", {**base, "qk_layernorm": True}),
    "smollm3": ("smollm3", {**base, "no_rope_layer_interval": 2}),
    "olmo2": ("olmo2", {**base}),
    "olmo": ("olmo", {**base, "clip_qkv": 0.6}),
    "gpt2": ("gpt2", dict(vocab_size=V, n_embd=64, n_layer=3, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2, scale_attn_by_inverse_layer_idx=True)),
    "gpt2-inner": ("gpt2", dict(vocab_size=V, n_embd=64, n_layer=2, n_head=4, n_inner=80, n_positions=128, bos_token_id=1, eos_token_id=2, activation_function="relu", tie_word_embeddings=False)),
    "gpt_neox": ("gpt_neox", {**small}),
    "gpt_neox-sequential": ("gpt_neox", {**small, "use_parallel_residual": False, "attention_bias": False, "rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, "partial_rotary_factor": 0.5}}),
    "granite": ("granite", {**base, "embedding_multiplier": 6.0, "logits_scaling": 4.0, "residual_multiplier": 0.3, "attention_multiplier": 0.1}),
    "starcoder2": ("starcoder2", {**base, "sliding_window": 18}),
    "mixtral": ("mixtral", {**base, **wide, "num_local_experts": 5, "sliding_window": 25}),
    "qwen2_moe": ("qwen2_moe", {**base, **experts, "shared_expert_intermediate_size": 48, "decoder_sparse_step": 2, "norm_topk_prob": True}),
    "qwen2_moe-raw": ("qwen2_moe", {**base, **experts, "shared_expert_intermediate_size": 48, "mlp_only_layers": [1], "norm_topk_prob": False, "qkv_bias": False}),
    "qwen3_moe": ("qwen3_moe", {**base, **experts, **wide, "norm_topk_prob": True}),
    "qwen3_moe-raw": ("qwen3_moe", {**base, **experts, **wide, "norm_topk_prob": False, "mlp_only_layers": [0], "use_sliding_window": True, "sliding_window": 21}),
    "olmoe": ("olmoe", {**base, "num_experts": 6, "num_experts_per_tok": 3, "clip_qkv": 1.2}),
    "dbrx": ("dbrx", dict(vocab_size=V, d_model=64, n_heads=4, n_layers=3, max_seq_len=256, bos_token_id=1, eos_token_id=2,
             attn_config=dict(kv_n_heads=2, clip_qkv=1.5, rope_theta=50000.0), ffn_config=dict(hidden_size=64, ffn_hidden_size=40, moe_num_experts=5, moe_top_k=2, moe_normalize_expert_weights=1.0))),
  }
  enc = {**small, "type_vocab_size": 2}
  encoders = {
    "bert": ("bert", {**enc}),
    "roberta": ("roberta", {**enc, "type_vocab_size": 1, "pad_token_id": 1}),
    "xlm-roberta": ("xlm-roberta", {**enc, "type_vocab_size": 1, "pad_token_id": 1}),
    "distilbert": ("distilbert", dict(vocab_size=V, dim=64, hidden_dim=96, n_layers=3, n_heads=4, max_position_embeddings=128)),
    "mpnet": ("mpnet", {**small, "pad_token_id": 1}),
    "modernbert": ("modernbert", {**small, "num_hidden_layers": 4, "local_attention": 16}),
    "modernbert-bias": ("modernbert", {**small, "attention_bias": True, "mlp_bias": True, "norm_bias": True, "local_attention": 16}),
    "nomic_bert": ("nomic_bert", {**enc}),
  }
  def save(name, kind, settings, factory, number):
      torch.manual_seed(number)
      config = CONFIG_MAPPING[kind](**settings)
      config._attn_implementation = "eager"
      if hasattr(config, "initializer_range"): config.initializer_range = 0.12
      model = factory.from_config(config, attn_implementation="eager").eval()
      with torch.no_grad():
          for key, value in model.named_parameters():
              if value.dim() == 1: value.add_(torch.randn_like(value) * 0.1)
      storage = ["float32", "bfloat16", "float16"][number % 3] if number % 4 == 3 else "float32"
      model.to(getattr(torch, storage)).save_pretrained(f"{out}/{name}", max_shard_size="100KB" if number % 5 == 4 else "5GB")
      return factory.from_pretrained(f"{out}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
  def write(path, values, dtype): np.ascontiguousarray(values).astype(dtype).tofile(path)
  number = 0
  for name, (kind, settings) in decoders.items():
      number += 1
      model = save(name, kind, settings, AutoModelForCausalLM, number)
      tokens = torch.randint(3, V, (1, T))
      with torch.no_grad():
          logits = model(tokens).logits[0]
          made = model.generate(tokens[:, :28], attention_mask=torch.ones(1, 28, dtype=torch.long), do_sample=False, max_new_tokens=8)[0, 28:]
      json.dump(tokens[0].tolist(), open(f"{out}/{name}/ids.json", "w"))
      json.dump(made.tolist(), open(f"{out}/{name}/made.json", "w"))
      write(f"{out}/{name}/logits.bin", logits.numpy(), np.float32)
  for name, (kind, settings) in encoders.items():
      number += 1
      model = save(name, kind, settings, AutoModel, number)
      pad = model.config.pad_token_id
      batch = [torch.randint(3, V, (n,)).tolist() for n in (5, 61, 1, 33)]
      longest = max(map(len, batch))
      ids = torch.tensor([t + [pad] * (longest - len(t)) for t in batch])
      mask = torch.tensor([[1] * len(t) + [0] * (longest - len(t)) for t in batch])
      with torch.no_grad():
          states = model(input_ids=ids, attention_mask=mask).last_hidden_state
          alone = model(input_ids=torch.tensor([batch[1]])).last_hidden_state[0]
      json.dump(batch, open(f"{out}/{name}/batch.json", "w"))
      write(f"{out}/{name}/hidden.bin", alone.numpy(), np.float32)
      m = mask[:, :, None].float()
      mean = (states * m).sum(1) / m.sum(1)
      last = torch.stack([states[i, len(t) - 1] for i, t in enumerate(batch)])
      for mode, v in (("mean", mean), ("cls", states[:, 0]), ("last", last)):
          write(f"{out}/{name}/{mode}.bin", torch.nn.functional.normalize(v, dim=-1).numpy(), np.float32)
  print(json.dumps([sorted(decoders), sorted(encoders)]))
  """#
