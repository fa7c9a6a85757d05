# SPDX-License-Identifier: Apache-2.0
"""Language models and sentence encoders as other engines run them: llama.cpp, torch in bf16, sentence-transformers, ONNX Runtime."""
import ctypes
import json
import os
import time

import numpy as np


def has(module):
    """The version of a package, or nothing where it cannot be imported."""
    try:
        found = __import__(module)
    except ImportError:
        return {"version": ""}
    return {"version": getattr(found, "__version__", "?")}


SHAPES = {
    "135M": dict(layers=30, width=576, inner=1536, heads=9, kv_heads=3, vocabulary=49152, tied=True),
    "1.1B": dict(layers=22, width=2048, inner=5632, heads=32, kv_heads=4, vocabulary=32000, tied=False),
}


def write(shape, form, file):
    """A random Llama as a GGUF file whose matrices are all Q8_0 or Q4_0, with a vocabulary of numbers."""
    import gguf

    s = SHAPES[shape]
    kind = {"q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}[form]
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_block_count(s["layers"])
    writer.add_context_length(2048)
    writer.add_embedding_length(s["width"])
    writer.add_feed_forward_length(s["inner"])
    writer.add_head_count(s["heads"])
    writer.add_head_count_kv(s["kv_heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(s["width"] // s["heads"])
    writer.add_vocab_size(s["vocabulary"])
    tokens = [b"<unk>", b"<s>", b"</s>"] + [b"<0x%02X>" % b for b in range(256)]
    tokens += [b"t%d" % i for i in range(s["vocabulary"] - len(tokens))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name, rows, columns):
        values = random.standard_normal((rows, columns), dtype=np.float32) * np.float32(0.5 / columns**0.5)
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    def norm(name):
        writer.add_tensor(name, np.ones(s["width"], dtype=np.float32))

    side = s["width"] // s["heads"] * s["kv_heads"]
    matrix("token_embd.weight", s["vocabulary"], s["width"])
    norm("output_norm.weight")
    if not s["tied"]:
        matrix("output.weight", s["vocabulary"], s["width"])
    for layer in range(s["layers"]):
        name = f"blk.{layer}."
        norm(name + "attn_norm.weight")
        norm(name + "ffn_norm.weight")
        for what, rows, columns in [("attn_q", s["width"], s["width"]), ("attn_k", side, s["width"]), ("attn_v", side, s["width"]),
                                    ("attn_output", s["width"], s["width"]), ("ffn_gate", s["inner"], s["width"]),
                                    ("ffn_up", s["inner"], s["width"]), ("ffn_down", s["width"], s["inner"])]:
            matrix(name + what + ".weight", rows, columns)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return {"bytes": os.path.getsize(file)}


class Llama:
    """llama.cpp through its C interface: what `llama-bench` and `llama-batched-bench` call."""

    def __init__(self, file, threads, sequences):
        import llama_cpp as c

        self.c = c
        c.llama_log_set(LOG, ctypes.c_void_p(0))
        model = c.llama_model_default_params()
        model.n_gpu_layers = 0
        self.model = c.llama_load_model_from_file(file.encode(), model)
        context = c.llama_context_default_params()
        context.n_ctx = 1024 * sequences
        context.n_batch = context.n_ubatch = 512
        context.n_seq_max = sequences
        context.n_threads = context.n_threads_batch = threads
        self.context = c.llama_new_context_with_model(self.model, context)
        assert self.model and self.context, "llama.cpp cannot load the model"
        self.vocabulary = c.llama_n_vocab(c.llama_model_get_vocab(self.model))
        self.batch = c.llama_batch_init(512, 0, 1)
        self.sequences = sequences

    def forget(self):
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)

    def step(self, rows):
        """rows: (token, position, sequence, wants logits)"""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wants) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wants
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        assert self.c.llama_decode(self.context, batch) == 0

    def best(self, row):
        logits = np.ctypeslib.as_array(self.c.llama_get_logits_ith(self.context, row), (self.vocabulary,))
        return int(logits.argmax())

    def close(self):
        self.c.llama_free(self.context)
        self.c.llama_free_model(self.model)


try:
    import llama_cpp

    LOG = llama_cpp.llama_log_callback(lambda *_: None)
except ImportError:
    LOG = None
loaded = {}


def load(name, file, threads, sequences):
    loaded[name] = Llama(file, threads, sequences)


def unload(name):
    loaded.pop(name).close()


def prefill(name, prompt):
    model = loaded[name]
    model.forget()
    began = time.perf_counter()
    for start in range(0, len(prompt), 512):
        part = prompt[start : start + 512]
        model.step([(t, start + i, 0, start + i == len(prompt) - 1) for i, t in enumerate(part)])
    best = model.best(len(part) - 1)
    return {"seconds": time.perf_counter() - began, "ids": [[best]]}


def decode(name, prompts, tokens):
    """Greedy; the seconds are those of the tokens behind each request's first."""
    model = loaded[name]
    model.forget()
    ids = []
    for sequence, prompt in enumerate(prompts):
        model.step([(t, i, sequence, i == len(prompt) - 1) for i, t in enumerate(prompt)])
        ids.append([model.best(len(prompt) - 1)])
    length = len(prompts[0])
    began = time.perf_counter()
    for k in range(tokens - 1):
        model.step([(own[-1], length + k, sequence, True) for sequence, own in enumerate(ids)])
        for sequence, own in enumerate(ids):
            own.append(model.best(sequence))
    return {"seconds": time.perf_counter() - began, "ids": ids}


def torch_load(shape, threads):
    global torch_model
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    s = SHAPES[shape]
    torch_model = LlamaForCausalLM(LlamaConfig(
        vocab_size=s["vocabulary"], hidden_size=s["width"], intermediate_size=s["inner"], num_hidden_layers=s["layers"],
        num_attention_heads=s["heads"], num_key_value_heads=s["kv_heads"], max_position_embeddings=2048, tie_word_embeddings=s["tied"],
        dtype=torch.bfloat16)).eval()


def torch_prefill(prompt):
    import torch

    with torch.inference_mode():
        ids = torch.tensor([prompt])
        began = time.perf_counter()
        torch_model(ids, logits_to_keep=1)
        return {"seconds": time.perf_counter() - began}


def torch_unload():
    global torch_model
    torch_model = None


def encoder_load(folder, scratch):
    """The model three times: torch f32 as sentence-transformers has it, and ONNX with int8 weights."""
    global sentence, session, fast
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    sentence = SentenceTransformer(folder, device="cpu")
    fast = Tokenizer.from_file(folder + "/tokenizer.json")
    fast.no_padding()
    session = None
    try:
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from transformers import BertModel

        torch.set_num_threads(1)
        model = BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="eager", dtype=torch.float32).eval()

        class Plain(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model.requires_grad_(False)

            def forward(self, ids, mask):
                return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

        whole, small = scratch + "/encoder.onnx", scratch + "/encoder-int8.onnx"
        sample = torch.ones(2, 16, dtype=torch.long)
        torch.onnx.export(Plain(), (sample, sample), whole, input_names=["ids", "mask"], output_names=["hidden"], dynamo=False, opset_version=17,
                          dynamic_axes={n: {0: "batch", 1: "length"} for n in ("ids", "mask", "hidden")})
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
        return {"onnx": onnxruntime.__version__}
    except ImportError:
        return {"onnx": ""}


def encode(texts, engine, out=None):
    """Texts of about one length, in batches of 32; one thread."""
    import torch

    torch.set_num_threads(1)
    began = time.perf_counter()
    if engine == "torch":
        vectors = sentence.encode(texts, batch_size=32, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False)
    else:
        parts = []
        for start in range(0, len(texts), 32):
            ids = [e.ids for e in fast.encode_batch_fast(texts[start : start + 32])]
            longest = max(map(len, ids))
            tokens, mask = np.zeros((2, len(ids), longest), dtype=np.int64)
            for i, row in enumerate(ids):
                tokens[i, : len(row)], mask[i, : len(row)] = row, 1
            hidden = session.run(None, {"ids": tokens, "mask": mask})[0]
            mean = (hidden * mask[:, :, None]).sum(1)
            parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        vectors = np.concatenate(parts)
    seconds = time.perf_counter() - began
    if out:
        vectors.astype(np.float32).tofile(out)
    return {"seconds": seconds}
