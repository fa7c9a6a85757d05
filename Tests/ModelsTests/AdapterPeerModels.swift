// SPDX-License-Identifier: Apache-2.0

/// Makes small random models and adapters of them in the folder given, as `transformers` and `peft` save them, with what `torch` computes for
/// each: logits and greedy text. Prints the names: MODEL/ADAPTER.
let makeAdapters = #"""
  import json, sys, numpy as np, torch, warnings
  warnings.filterwarnings("ignore")
  from peft import LoraConfig, PeftModel, get_peft_model
  from transformers import AutoModelForCausalLM
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  out = sys.argv[1]
  torch.set_num_threads(1)
  V, T = 300, 50
  base = dict(vocab_size=V, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
  small = {k: v for k, v in base.items() if k != "num_key_value_heads"}
  mlp = ["gate_proj", "up_proj", "down_proj"]
  models = {
    "llama": ("llama", {**base}, {
      "all": dict(r=8, lora_alpha=16, target_modules="all-linear"),
      "rank1": dict(r=1, lora_alpha=3, target_modules=["v_proj"]),
      "patterns": dict(r=5, lora_alpha=7, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"], rank_pattern={"layers.1.self_attn.q_proj": 3, "down_proj": 12},
                       alpha_pattern={r"^model\.layers\.[02]\.mlp\.down_proj": 30}),
      "layers": dict(r=4, lora_alpha=9, target_modules=["q_proj", "up_proj"], layers_to_transform=[0, 2], layers_pattern="layers"),
      "regex": dict(r=6, lora_alpha=6, target_modules=r".*\.(1|2)\.(self_attn\.[qo]_proj|mlp\.(gate|down)_proj)", exclude_modules=["model.layers.2.mlp.gate_proj"]),
      "head": dict(r=4, lora_alpha=20, target_modules=["lm_head", "o_proj"]),
    }),
    "llama-biased": ("llama", {**base, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, {"all": dict(r=8, lora_alpha=16, target_modules="all-linear")}),
    "qwen2": ("qwen2", {**base, "tie_word_embeddings": True}, {"all": dict(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"] + mlp)}),
    "phi3": ("phi3", {**base}, {"fused": dict(r=8, lora_alpha=16, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"])}),
    "gemma2": ("gemma2", {**base, "head_dim": 24, "sliding_window": 17, "query_pre_attn_scalar": 20}, {"all": dict(r=8, lora_alpha=16, target_modules="all-linear")}),
    "gpt2": ("gpt2", dict(vocab_size=V, n_embd=64, n_layer=3, n_head=4, n_positions=128, bos_token_id=1, eos_token_id=2),
             {"conv": dict(r=8, lora_alpha=16, fan_in_fan_out=True, target_modules=["c_attn", "c_proj", "c_fc"])}),
    "gpt_neox": ("gpt_neox", {**small}, {"mixed": dict(r=8, lora_alpha=16, target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"])}),
    "mixtral": ("mixtral", {**base, "num_local_experts": 4}, {"attention": dict(r=8, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"])}),
    "dbrx": ("dbrx", dict(vocab_size=V, d_model=64, n_heads=4, n_layers=3, max_seq_len=256, bos_token_id=1, eos_token_id=2, attn_config=dict(kv_n_heads=2, clip_qkv=1.5, rope_theta=50000.0),
             ffn_config=dict(hidden_size=64, ffn_hidden_size=40, moe_num_experts=5, moe_top_k=2)), {"fused": dict(r=8, lora_alpha=16, target_modules=["Wqkv", "out_proj"])}),
  }
  def write(path, values): np.ascontiguousarray(values).astype(np.float32).tofile(path)
  number, names = 0, []
  for name, (kind, settings, adapters) in models.items():
      torch.manual_seed(number)
      config = CONFIG_MAPPING[kind](**settings)
      config._attn_implementation = "eager"
      config.initializer_range = 0.12
      model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
      with torch.no_grad():
          for value in model.parameters():
              if value.dim() == 1: value.add_(torch.randn_like(value) * 0.1)
      model.save_pretrained(f"{out}/{name}")
      for adapter, lora in adapters.items():
          number += 1
          torch.manual_seed(100 + number)
          own = AutoModelForCausalLM.from_pretrained(f"{out}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
          changed = get_peft_model(own, LoraConfig(task_type="CAUSAL_LM", **lora))
          with torch.no_grad():
              for key, value in changed.named_parameters():
                  if "lora_" in key: value.copy_(torch.randn_like(value) * 0.2)
          folder = f"{out}/{name}/{adapter}"
          storage = [torch.float32, torch.bfloat16, torch.float16][number % 3]
          for key, value in changed.named_parameters():
              if "lora_" in key: value.data = value.data.to(storage)
          changed.save_pretrained(folder, save_embedding_layers=False)
          own = AutoModelForCausalLM.from_pretrained(f"{out}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
          changed = PeftModel.from_pretrained(own, folder).eval().float()
          tokens = torch.randint(3, V, (1, T))
          with torch.no_grad():
              logits = changed(input_ids=tokens).logits[0]
              with changed.disable_adapter(): plain = changed(input_ids=tokens).logits[0]
              made = changed.generate(input_ids=tokens[:, :28], attention_mask=torch.ones(1, 28, dtype=torch.long), do_sample=False, max_new_tokens=8)[0, 28:]
          assert (logits - plain).abs().max() > 0.1 * plain.std(), (name, adapter)
          json.dump(tokens[0].tolist(), open(f"{folder}/ids.json", "w"))
          json.dump(made.tolist(), open(f"{folder}/made.json", "w"))
          write(f"{folder}/logits.bin", logits.numpy())
          names.append(f"{name}/{adapter}")
  print(json.dumps(names))
  """#
