# SPDX-License-Identifier: Apache-2.0
"""Sentence vectors as sentence-transformers makes them: sorted by length, batches of 32, mean over the tokens."""
import json
import time

import torch
from tokenizers import Tokenizer
from transformers import BertModel


def load(folder, texts, limit):
    global model, tokenizer, passages
    model = BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(limit)
    passages = json.load(open(texts))


@torch.inference_mode()
def run(threads, out=None, batch=32):
    torch.set_num_threads(threads)
    began = time.perf_counter()
    ids = [e.ids for e in tokenizer.encode_batch_fast(passages)]
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    vectors = torch.empty(len(ids), model.config.hidden_size)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        longest = len(ids[rows[0]])
        tokens = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(ids[row])] = torch.tensor(ids[row])
            mask[i, : len(ids[row])] = 1
        hidden = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).float()
        mean = (hidden * weights).sum(1) / weights.sum(1)
        vectors[rows] = torch.nn.functional.normalize(mean, dim=-1)
    seconds = time.perf_counter() - began
    if out:
        vectors.numpy().tofile(out)
    return {"seconds": seconds}
