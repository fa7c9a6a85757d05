# SPDX-License-Identifier: Apache-2.0
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def make(folder):
    global model
    torch.manual_seed(1)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=8192, hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=4,
        max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
        dtype=torch.float32)).eval()
    model.save_pretrained(folder)
    model.generation_config.eos_token_id = None  # every run makes all its tokens


@torch.inference_mode()
def run(prompts, tokens, threads):
    torch.set_num_threads(threads)
    ids = torch.tensor(prompts)
    began = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "ids": out[:, ids.shape[1]:].tolist()}
