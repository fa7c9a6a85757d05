# SPDX-License-Identifier: Apache-2.0
import array
import hashlib
import json
import os
import time

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

loaded = {}
documents = {}


def read(texts):
    if texts not in documents:
        documents[texts] = json.load(open(texts))
    return documents[texts]


def load(path, texts):
    if path.endswith(".model"):
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=path)
        run = lambda texts: processor.encode(texts, num_threads=1)
        ids = run(read(texts))
    else:
        tokenizer = Tokenizer.from_file(path)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        run = lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        ids = [encoding.ids for encoding in run(read(texts))]
    loaded[path] = (run, read(texts))
    digest = hashlib.sha256()
    for one in ids:
        digest.update(array.array("i", [len(one)]).tobytes())
        digest.update(array.array("i", one).tobytes())
    return {"digest": digest.hexdigest()}


def encode(path):
    run, texts = loaded[path]
    began = time.perf_counter()
    encodings = run(texts)
    seconds = time.perf_counter() - began
    del encodings
    return {"seconds": seconds}


def make(texts, folder, size):
    """SentencePiece's two kinds, and tokenizers of the same pieces as Llama 2, Mistral and XLM-R spell them."""
    import sentencepiece
    from transformers.convert_slow_tokenizer import import_protobuf

    os.makedirs(folder, exist_ok=True)
    some, total = [], 0
    for text in read(texts):
        some += [line for line in text.split("\n") if line.strip()]
        total += len(text)
        if total > 1_000_000:
            break
    common = dict(vocab_size=size, minloglevel=2, hard_vocab_limit=False, num_threads=1, character_coverage=0.9995)
    kinds = {
        "unigram": dict(),
        "pairs": dict(
            model_type="bpe", byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
            allow_whitespace_only_pieces=True),
    }
    for name, options in kinds.items():
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(some), model_prefix=f"{folder}/{name}", **common, **options)

    def proto(name):
        file = import_protobuf().ModelProto()
        file.ParseFromString(open(f"{folder}/{name}.model", "rb").read())
        return file

    def save(tokenizer, name):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
        tokenizer.save(f"{folder}/{name}/tokenizer.json")

    file = proto("unigram")
    tokenizer = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in file.pieces], 0, False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(file.normalizer_spec.precompiled_charsmap), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    save(tokenizer, "xlmr")

    file = proto("pairs")
    vocabulary = {piece.piece: index for index, piece in enumerate(file.pieces)}
    merges = []
    for piece in file.pieces:
        if piece.type == 1 and len(piece.piece) > 1:
            cuts = [(piece.piece[:at], piece.piece[at:]) for at in range(1, len(piece.piece))]
            cuts = [cut for cut in cuts if cut[0] in vocabulary and cut[1] in vocabulary]
            merges += [(vocabulary[piece.piece], vocabulary[left], vocabulary[right], left, right) for left, right in cuts]
    merges = [(left, right) for *_, left, right in sorted(merges)]
    for name in ["llama", "mistral"]:
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        if name == "llama":
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        save(tokenizer, name)


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
