// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import TestSupport
import Testing

@testable import Inference

/// Random cross-encoders of each family with a trained tokenizer of its own kind, and the scores that `transformers` gives to pairs of texts the
/// way sentence-transformers' `CrossEncoder` asks for them: padded together, cut at the model's limit, with the activation of the files.
private let crossEncoders = #"""
  import json, os, random, sys, torch
  from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers, decoders
  from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast
  from transformers.models.auto.configuration_auto import CONFIG_MAPPING
  out = sys.argv[1]
  torch.set_num_threads(1)
  random.seed(5)
  stems = ["table", "river", "lakes", "engine", "write", "reader", "quick", "brown", "fox", "jump", "über", "naïve", "数据", "湖", "a", "of", "in", "vector", "score", "42", "v1.0"]
  def sentence(n): return " ".join(random.choice(stems) + random.choice(["", "s", "ing", ",", ".", "ed", "!"]) for _ in range(n))
  corpus = [sentence(12) for _ in range(400)]
  def wordpiece(cls, sep, pad, unk, post):
      t = Tokenizer(models.WordPiece(unk_token=unk))
      t.normalizer, t.pre_tokenizer, t.decoder = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
      t.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=300, special_tokens=[pad, unk, cls, sep]))
      t.post_processor = post(t)
      return t
  def bytes_bpe(special, post):
      t = Tokenizer(models.BPE())
      t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
      t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
      t.post_processor = post(t)
      return t
  def unigram(special, post):
      t = Tokenizer(models.Unigram())
      t.normalizer = normalizers.Sequence([normalizers.NFKC()])
      t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
      t.train_from_iterator(corpus, trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>"))
      t.post_processor = post(t)
      return t
  def template(pair, single, *names): return lambda t: processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(n, t.token_to_id(n)) for n in names])
  bert_post = template("[CLS] $A [SEP] $B:1 [SEP]:1", "[CLS] $A [SEP]", "[CLS]", "[SEP]")
  old_bert_post = lambda t: processors.BertProcessing(("[SEP]", t.token_to_id("[SEP]")), ("[CLS]", t.token_to_id("[CLS]")))
  roberta_post = lambda t: processors.RobertaProcessing(("</s>", t.token_to_id("</s>")), ("<s>", t.token_to_id("<s>")))
  xlmr_post = template("<s> $A </s> </s> $B </s>", "<s> $A </s>", "<s>", "</s>")
  bert_names = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]")
  s_names = dict(bos_token="<s>", cls_token="<s>", eos_token="</s>", sep_token="</s>", pad_token="<pad>", unk_token="<unk>")
  size = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, max_position_embeddings=80)
  identity = dict(sentence_transformers=dict(activation_fn="torch.nn.modules.linear.Identity", version="5.0.0"))
  types = ["input_ids", "token_type_ids", "attention_mask"]
  kinds = {
      "bert": ("bert", size, identity, lambda: wordpiece("[CLS]", "[SEP]", "[PAD]", "[UNK]", bert_post), bert_names, 64, types),
      "bert-old": ("bert", size, dict(sbert_ce_default_activation_function="torch.nn.modules.linear.Identity"), lambda: wordpiece("[CLS]", "[SEP]", "[PAD]", "[UNK]", old_bert_post), bert_names, 512, None),
      "bert-untyped": ("bert", size, {}, lambda: wordpiece("[CLS]", "[SEP]", "[PAD]", "[UNK]", bert_post), bert_names, 47, ["input_ids", "attention_mask"]),
      "roberta": ("roberta", {**size, "type_vocab_size": 1, "pad_token_id": 1}, {}, lambda: bytes_bpe(["<s>", "<pad>", "</s>", "<unk>"], roberta_post), s_names, 70, ["input_ids", "attention_mask"]),
      "xlm-roberta": ("xlm-roberta", {**size, "type_vocab_size": 1, "pad_token_id": 1}, {}, lambda: unigram(["<s>", "<pad>", "</s>", "<unk>"], xlmr_post), s_names, 64, ["input_ids", "attention_mask"]),
      "camembert": ("camembert", {**size, "type_vocab_size": 1, "pad_token_id": 1}, identity, lambda: unigram(["<s>", "<pad>", "</s>", "<unk>"], xlmr_post), s_names, 64, ["input_ids", "attention_mask"]),
      "distilbert": ("distilbert", dict(dim=64, hidden_dim=96, n_layers=3, n_heads=4, max_position_embeddings=72), identity, lambda: wordpiece("[CLS]", "[SEP]", "[PAD]", "[UNK]", bert_post), bert_names, 64, ["input_ids", "attention_mask"]),
      "mpnet": ("mpnet", {**size, "pad_token_id": 1}, identity, lambda: wordpiece("<s>", "</s>", "<pad>", "[UNK]", roberta_post), {**s_names, "unk_token": "[UNK]"}, 64, ["input_ids", "attention_mask"]),
      "modernbert": ("modernbert", {**size, "num_hidden_layers": 4, "local_attention": 16}, identity, lambda: bytes_bpe(["[UNK]", "[CLS]", "[SEP]", "[PAD]"], template("[CLS] $A [SEP] $B [SEP]", "[CLS] $A [SEP]", "[CLS]", "[SEP]")), bert_names, 64, ["input_ids", "attention_mask"]),
      "modernbert-mean": ("modernbert", {**size, "num_hidden_layers": 4, "local_attention": 16, "classifier_pooling": "mean", "classifier_bias": True, "norm_bias": True}, {}, lambda: bytes_bpe(["[UNK]", "[CLS]", "[SEP]", "[PAD]"], template("[CLS] $A [SEP] $B [SEP]", "[CLS] $A [SEP]", "[CLS]", "[SEP]")), bert_names, 64, ["input_ids", "attention_mask"]),
      "nomic_bert": ("nomic_bert", {**size, "type_vocab_size": 2}, identity, lambda: wordpiece("[CLS]", "[SEP]", "[PAD]", "[UNK]", bert_post), bert_names, 64, types),
  }
  # Of all lengths: either text too long for the model, both, neither, empty ones.
  lengths = [(1, 3), (4, 9), (2, 1), (7, 30), (30, 7), (3, 120), (120, 3), (90, 90), (40, 41), (16, 17), (0, 4), (5, 0), (12, 200), (25, 25)]
  pairs = [(sentence(a), sentence(b)) for a, b in lengths + [(random.randint(1, 12), random.randint(1, 60)) for _ in range(26)]]
  json.dump([list(x) for x in zip(*pairs)], open(f"{out}/pairs.json", "w"))
  for number, (name, (kind, settings, extra, make, names, limit, inputs)) in enumerate(kinds.items()):
      folder = f"{out}/{name}"
      torch.manual_seed(number)
      tokenizer = make()
      os.makedirs(folder)
      tokenizer.save(f"{folder}/tokenizer.json")
      special = {"pad_token_id": tokenizer.token_to_id(names["pad_token"])}
      config = CONFIG_MAPPING[kind](**{**settings, **special, "vocab_size": tokenizer.get_vocab_size(), "num_labels": 1, "architectures": None})
      config._attn_implementation = "eager"
      if hasattr(config, "initializer_range"): config.initializer_range = 0.15
      model = AutoModelForSequenceClassification.from_config(config, attn_implementation="eager").eval()
      with torch.no_grad():
          for key, value in model.named_parameters():
              if value.dim() == 1: value.add_(torch.randn_like(value) * 0.2)
      model.save_pretrained(folder)
      stored = json.load(open(f"{folder}/config.json")) | extra
      json.dump(stored, open(f"{folder}/config.json", "w"))
      json.dump({"model_max_length": limit, **({"model_input_names": inputs} if inputs else {}), **names}, open(f"{folder}/tokenizer_config.json", "w"))
      model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
      fast = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.json", **names, model_input_names=inputs or types)  # what BertTokenizer has without being told
      padded = kind in ("roberta", "xlm-roberta", "camembert", "mpnet")
      room = min(limit, getattr(config, "max_position_embeddings", 512) - (config.pad_token_id + 1 if padded else 0))
      scores, tokens = [], 0
      for start in range(0, len(pairs), 13):
          encoded = fast([p[0] for p in pairs[start:start + 13]], [p[1] for p in pairs[start:start + 13]], padding=True, truncation="longest_first", max_length=room, return_tensors="pt")
          tokens += int(encoded["attention_mask"].sum())
          with torch.no_grad(): scores.append(model(**encoded).logits[:, 0])
      scores = torch.cat(scores)
      if not extra: scores = torch.sigmoid(scores)
      json.dump([scores.tolist(), tokens, room], open(f"{folder}/scores.json", "w"))
  print(json.dumps(list(kinds)))
  """#

@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct RerankerPeerTests {
  /// Measured: the largest difference is 4e-6, of scores that lie some tenths apart.
  @Test func scoresAreThoseOfTransformers() throws {
    let folder = TemporaryDirectory("rerankers")
    let names: [String] = try JSONValue(parsing: Peers.run(crossEncoders, [folder.path])).decode()
    let texts: [[String]] = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: folder.file("pairs.json")))).decode()
    #expect(names.count == 11 && texts[0].count == 40)
    for name in names {
      let directory = folder.file(name)
      #expect(try ModelArchitectures.isCrossEncoder(directory: directory), "\(name)")
      let wanted = try #require(try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: directory + "/scores.json"))).arrayValue)
      let scores: [Float] = try wanted[0].decode()
      let reranker = try Reranker(directory: directory)
      #expect(reranker.limit == wanted[2].intValue, "\(name)")
      let answer = try reranker.score(queries: texts[0], documents: texts[1])
      let off = zip(answer.scores, scores).map { abs($0 - $1) }.max() ?? .infinity
      #expect(off < 2e-5, "\(name): \(off)")
      #expect(answer.tokens == wanted[1].intValue, "\(name)")
      let spread = (scores.max() ?? 0) - (scores.min() ?? 0)
      #expect(spread > 0.01, "\(name): scores that are all the same prove nothing")
      // One query, in any company, with any number of threads: the same bits.
      let alone = try reranker.score(queries: [texts[0][5]], documents: [texts[1][5]]).scores
      #expect(alone == [answer.scores[5]], "\(name): neighbours change bits")
      #expect(try reranker.score(queries: [texts[0][5]], documents: texts[1], threads: 2).scores[5] == alone[0], "\(name): threads change bits")
    }
  }
}
