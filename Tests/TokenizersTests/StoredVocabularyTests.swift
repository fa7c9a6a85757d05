// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// Vocabularies in the form of GGUF files against what made them.
@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct StoredVocabularyPeerTests {
  private struct Vocabulary: Decodable {
    var model: String
    var split: String
    var tokens: [String]
    var types: [Int]
    var scores: [Double]
    var merges: [String]
    var bos: Int32
    var eos: Int32
    var unknown: Int32?
    var addsBeginning: Bool
    var ids: [[Int32]]
    var texts: [String]
    var whole: [String]

    func tokenizer() throws -> any Tokenizer {
      try StoredVocabulary(
        model: model, split: split, tokens: tokens, types: types, scores: scores, merges: merges,
        special: SpecialTokens(beginning: bos, end: eos, unknown: unknown), addsBeginning: addsBeginning
      ).tokenizer(path: "test")
    }
  }

  @Test func idsAndTextsAreThoseOfTheOriginal() throws {
    let script = #"""
      import io, json, sentencepiece as sp
      from tokenizers import Tokenizer, Regex, models, trainers, pre_tokenizers, decoders, processors
      texts = ["Hello world", "The quick brown fox, isn't it?  123456 7", " leading", "a\nb\r\n\n  c\t", "Grüße 日本語 🙂 naïve", "", "x", "if (a==b) { return 10; }", "don't WE'LL I'd", "<s>mixed</s> text"]
      corpus = ["the quick brown fox jumps over the lazy dog", "hello world, it isn't 12345", "Grüße aus Köln 日本", "if (a == b) { return c; }", "we'll see what they'd do"] * 50
      made = []
      marked = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
      for split, pre, ignore in [
          ("gpt-2", pre_tokenizers.ByteLevel(add_prefix_space=False), False),
          ("llama-bpe", pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(marked), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), True),
          ("qwen2", pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(marked.replace("{1,3}", "")), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), False),
          ("smollm", pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]), False)]:
          t = Tokenizer(models.BPE(ignore_merges=ignore)); t.pre_tokenizer = pre; t.decoder = decoders.ByteLevel()
          t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=420, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
          t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
          data = json.loads(t.to_str())["model"]
          tokens = [k for k, v in sorted(data["vocab"].items(), key=lambda e: e[1])]
          made.append(dict(model="gpt2", split=split, tokens=tokens, types=[3, 3] + [1] * (len(tokens) - 2), scores=[], merges=[m if isinstance(m, str) else " ".join(m) for m in data["merges"]],
                           bos=0, eos=1, addsBeginning=True, ids=[t.encode(x).ids for x in texts], texts=texts, whole=[t.decode(t.encode(x).ids) for x in texts]))
      out = io.BytesIO()
      sp.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=out, vocab_size=420, model_type="bpe", byte_fallback=True, character_coverage=0.99,
                                    normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, minloglevel=2)
      p = sp.SentencePieceProcessor(model_proto=out.getvalue())
      kinds = [2 if p.is_unknown(i) else 3 if p.is_control(i) else 6 if p.is_byte(i) else 5 if p.is_unused(i) else 1 for i in range(p.vocab_size())]
      plain = [x for x in texts if "<s>" not in x]
      made.append(dict(model="llama", split="default", tokens=[p.id_to_piece(i) for i in range(p.vocab_size())], types=kinds, scores=[p.get_score(i) for i in range(p.vocab_size())], merges=[],
                       bos=1, eos=2, unknown=0, addsBeginning=True, ids=[[1] + p.encode(x) for x in plain], texts=plain, whole=[p.decode(p.encode(x)) for x in plain]))
      print(json.dumps(made))
      """#
    let made: [Vocabulary] = try JSONValue(parsing: Peers.run(script)).decode()
    #expect(made.count == 5)
    for vocabulary in made {
      let tokenizer = try vocabulary.tokenizer()
      #expect(tokenizer.bosID == vocabulary.bos && tokenizer.eosID == vocabulary.eos)
      for (index, text) in vocabulary.texts.enumerated() {
        let ids = tokenizer.encode(text)
        #expect(ids == vocabulary.ids[index], "\(vocabulary.split): \(text)")
        #expect(tokenizer.decode(ids, skipSpecialTokens: true) == vocabulary.whole[index], "\(vocabulary.split): \(text)")
      }
    }
    #expect(try made[0].tokenizer() is BytePairTokenizer)
  }
}

@Suite struct StoredVocabularyTests {
  @Test func whatIsNotBuiltIsRefusedByName() {
    func message(_ vocabulary: StoredVocabulary) -> String {
      do {
        _ = try vocabulary.tokenizer(path: "x.gguf")
        return "nothing was thrown"
      } catch {
        let error = PlatformError.from(error)
        return "\(error.number) \(error.message)"
      }
    }
    #expect(message(StoredVocabulary(model: "rwkv", split: nil, tokens: ["a"])) == "PLT-5212 the tokenizer kind 'rwkv' is not built")
    #expect(message(StoredVocabulary(model: "gpt2", split: "bloom", tokens: ["a"])) == "PLT-5212 the split 'bloom' of the vocabulary is not built")
    #expect(message(StoredVocabulary(model: "gpt2", split: "gpt-2", tokens: ["a"], merges: ["ab"])).contains("merge 0 is 'ab', not two tokens"))
    #expect(message(StoredVocabulary(model: "llama", split: nil, tokens: ["a"])).contains("have no scores"))
    #expect(message(StoredVocabulary(model: "gpt2", split: nil, tokens: ["a"], types: [1, 1])).contains("1 tokens have 2 types"))
    #expect(message(StoredVocabulary(model: "gpt2", split: nil, tokens: ["a"], special: SpecialTokens(end: 7))).contains("eos_token 7 is outside"))
  }
}
