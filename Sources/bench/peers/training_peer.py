# SPDX-License-Identifier: Apache-2.0
import time

import numpy as np
import torch
from transformers import LlamaForCausalLM


def load(folder, tokens, rows, beta1, beta2, epsilon, decay, clip, still, threads):
    global model, optimizer, batch, limit
    torch.set_num_threads(threads)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    batch = torch.from_numpy(np.fromfile(tokens, dtype=np.int32).reshape(rows, -1).astype(np.int64))
    limit = clip
    names = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [{"params": [p for n, p in names.items() if n not in still], "weight_decay": decay},
         {"params": [p for n, p in names.items() if n in still], "weight_decay": 0.0}],
        lr=1e-3, betas=(beta1, beta2), eps=epsilon, fused=True)
    load.threads = threads


def step():
    torch.set_num_threads(load.threads)
    began = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
    optimizer.step()
    value = loss.item()
    return {"seconds": time.perf_counter() - began, "loss": value}
