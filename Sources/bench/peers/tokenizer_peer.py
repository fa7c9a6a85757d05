# SPDX-License-Identifier: Apache-2.0
import array
import hashlib
import json
import time

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

loaded = {}
documents = {}


def read(texts):
    if texts not in documents:
        documents[texts] = json.load(open(texts))
    return documents[texts]


def load(path, texts):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    loaded[path] = (tokenizer, read(texts))
    digest = hashlib.sha256()
    for encoding in tokenizer.encode_batch_fast(read(texts), add_special_tokens=False):
        digest.update(array.array("i", [len(encoding.ids)]).tobytes())
        digest.update(array.array("i", encoding.ids).tobytes())
    return {"digest": digest.hexdigest()}


def encode(path):
    tokenizer, texts = loaded[path]
    began = time.perf_counter()
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    seconds = time.perf_counter() - began
    del encodings
    return {"seconds": seconds}


def train(texts, size):
    texts = read(texts)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    began = time.perf_counter()
    tokenizer.train_from_iterator(texts, trainer)
    seconds = time.perf_counter() - began
    model = json.loads(tokenizer.to_str())["model"]
    return {"seconds": seconds, "model": {"vocab": model["vocab"], "merges": model["merges"]}}
