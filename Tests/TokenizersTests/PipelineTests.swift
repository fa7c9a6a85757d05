// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// Tokenizers of every model and step, trained by the peer, against the peer.
@Suite struct PipelineTests {
  static let texts =
    BytePairTests.splitTexts + RealTexts.documentation(limit: 12).map { String($0.prefix(1000)) } + [
      "▁already ▁▁marked", " leading and trailing ", "   ", "ﬁne ① ㍿ ｶﾞ Ａ１", "a\u{0}b\u{7F}c", "İstanbul ΣΑΣ straße", "don't we're I've he's do not",
      "x</s>y <s> z", "中文字符 mixed with latin", "１２３ ४५६", "tab\there", "🏴󠁧󠁢󠁥󠁮󠁧󠁿 flags 🇩🇪🇫🇷", String(repeating: "word ", count: 100),
      String(repeating: "ab", count: 150),
    ]

  private static let script = #"""
    import json, os, sys, base64
    from tokenizers import Tokenizer, Regex, AddedToken, models, normalizers as n, pre_tokenizers as p, trainers, decoders as d, processors
    folder = sys.argv[1]
    texts = json.load(open(folder + '/texts.json'))
    def bytes_of(): return ['<0x%02X>' % b for b in range(256)]
    def bpe(**k): return models.BPE(**k)
    def train_bpe(t, size=900, **k): t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False, **k))
    def unigram(t, size=600, **k):
        t.train_from_iterator(texts, trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=['<s>', '</s>', '<unk>'], unk_token='<unk>', **k))
    def with_bytes(t):
        # What SentencePiece puts into the vocabulary for byte fallback.
        file = json.loads(t.to_str()); vocab = file['model']['vocab']
        if isinstance(vocab, dict):
            for b in bytes_of(): vocab.setdefault(b, len(vocab))
        else:
            vocab += [[b, 0.0] for b in bytes_of()]
        file['model']['byte_fallback'] = True
        # Some characters are known by their bytes only.
        return Tokenizer.from_str(json.dumps(file))
    def template(t): t.post_processor = processors.TemplateProcessing(single='<s> $A </s>', special_tokens=[('<s>', t.token_to_id('<s>')), ('</s>', t.token_to_id('</s>'))])
    def spm_decoder(strip): return d.Sequence([d.Replace('▁', ' '), d.ByteFallback(), d.Fuse()] + ([d.Strip(' ', 1, 0)] if strip else []))
    special = dict(special_tokens=['<unk>', '<s>', '</s>'])
    latin = [chr(c) for c in range(33, 127)]
    kinds = {}
    def kind(f): kinds[f.__name__] = f; return f

    @kind
    def llama2():
        t = Tokenizer(bpe(unk_token='<unk>', fuse_unk=True)); t.normalizer = n.Sequence([n.Prepend('▁'), n.Replace(' ', '▁')])
        t.pre_tokenizer = p.Split('▁', 'merged_with_next'); train_bpe(t, limit_alphabet=90, **special); t = with_bytes(t)
        t.normalizer = n.Sequence([n.Prepend('▁'), n.Replace(' ', '▁')]); t.pre_tokenizer = None
        t.decoder = spm_decoder(True); t.add_tokens([AddedToken('mark', normalized=True), AddedToken('日本', normalized=False, lstrip=True)]); template(t); return t
    @kind
    def mistral():
        t = Tokenizer(bpe(unk_token='<unk>', fuse_unk=True)); t.pre_tokenizer = p.Metaspace(prepend_scheme='first', split=False)
        train_bpe(t, limit_alphabet=90, **special); t = with_bytes(t); t.decoder = spm_decoder(True); template(t); return t
    @kind
    def gemma():
        t = Tokenizer(bpe(unk_token='<unk>', fuse_unk=True)); t.normalizer = n.Replace(' ', '▁'); t.pre_tokenizer = p.Split(' ', 'merged_with_previous')
        train_bpe(t, limit_alphabet=90, **special); t = with_bytes(t); t.decoder = spm_decoder(False); template(t); return t
    @kind
    def unknown():
        t = Tokenizer(bpe(unk_token='<unk>')); t.pre_tokenizer = p.Whitespace(); train_bpe(t, limit_alphabet=40, **special); return t
    @kind
    def fused():
        t = Tokenizer(bpe(unk_token='<unk>', fuse_unk=True)); t.pre_tokenizer = p.WhitespaceSplit(); train_bpe(t, limit_alphabet=40, **special)
        t.decoder = d.Sequence([]); return t
    @kind
    def xlmr():
        import sentencepiece
        model = folder + '/spm'
        open(folder + '/lines', 'w').write('\n'.join(x.replace('\n', ' ') for x in texts))
        sentencepiece.SentencePieceTrainer.train(input=folder + '/lines', model_prefix=model, vocab_size=400, character_coverage=0.98, minloglevel=2, hard_vocab_limit=False)
        from transformers.convert_slow_tokenizer import import_protobuf
        proto = import_protobuf().ModelProto(); proto.ParseFromString(open(model + '.model', 'rb').read())
        t = Tokenizer(models.Unigram([(x.piece, x.score) for x in proto.pieces], 0, False))
        t.normalizer = n.Sequence([n.Precompiled(proto.normalizer_spec.precompiled_charsmap), n.Replace(Regex(' {2,}'), ' ')])
        t.pre_tokenizer = p.Metaspace(); t.decoder = d.Metaspace(); t.add_special_tokens(['<s>', '</s>', AddedToken('<mask>', lstrip=True)]); template(t); return t
    @kind
    def t5():
        t = Tokenizer(models.Unigram()); t.normalizer = n.Sequence([n.Nmt(), n.NFKC(), n.Strip(), n.Replace(Regex(' {2,}'), ' ')])
        t.pre_tokenizer = p.Sequence([p.WhitespaceSplit(), p.Metaspace(prepend_scheme='always')]); unigram(t); t.decoder = d.Metaspace(); template(t); return t
    @kind
    def unigram_bytes():
        t = Tokenizer(models.Unigram()); t.pre_tokenizer = p.Metaspace(); unigram(t, 300); t = with_bytes(t); t.decoder = spm_decoder(True); return t
    @kind
    def gpt1():
        t = Tokenizer(bpe(unk_token='<unk>', end_of_word_suffix='</w>')); t.normalizer = n.BertNormalizer(lowercase=True); t.pre_tokenizer = p.BertPreTokenizer()
        train_bpe(t, end_of_word_suffix='</w>', **special); t.decoder = d.BPEDecoder(); return t
    @kind
    def continuing():
        t = Tokenizer(bpe(unk_token='<unk>', continuing_subword_prefix='##')); t.pre_tokenizer = p.Whitespace(); train_bpe(t, continuing_subword_prefix='##', **special)
        t.decoder = d.WordPiece(); return t
    @kind
    def wordpiece():
        t = Tokenizer(models.WordPiece(unk_token='<unk>')); t.normalizer = n.Sequence([n.NFD(), n.Lowercase(), n.StripAccents()])
        t.pre_tokenizer = p.Sequence([p.Whitespace(), p.Punctuation(), p.Digits()]); t.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=900, show_progress=False, **special))
        t.decoder = d.WordPiece(); return t
    @kind
    def words():
        t = Tokenizer(models.WordLevel(unk_token='<unk>')); t.normalizer = n.NFKD(); t.pre_tokenizer = p.CharDelimiterSplit(' ')
        t.train_from_iterator(texts, trainers.WordLevelTrainer(vocab_size=300, show_progress=False, **special)); return t
    def byte_level(*splits, **k):
        t = Tokenizer(bpe(**k)); t.pre_tokenizer = p.Sequence([*splits, p.ByteLevel(add_prefix_space=False, use_regex=False)]); t.decoder = d.ByteLevel()
        train_bpe(t, special_tokens=['<s>', '</s>'], initial_alphabet=p.ByteLevel.alphabet()); template(t); return t
    @kind
    def o200k():
        upper, lower = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
        ends = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        return byte_level(p.Split(Regex(r'[^\r\n\p{L}\p{N}]?' + upper + '*' + lower + '+' + ends + r'|[^\r\n\p{L}\p{N}]?' + upper + '+' + lower + '*' + ends
            + r'|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+'), 'isolated'))
    @kind
    def deepseek():
        return byte_level(p.Split(Regex(r'\p{N}{1,3}'), 'isolated'), p.Split(Regex('[一-龥぀-ゟ゠-ヿ]+'), 'isolated'),
            p.Split(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), 'isolated'))
    @kind
    def deepseek_coder():
        return byte_level(p.Split(Regex('[\r\n]'), 'isolated'), p.Split(Regex(r'\s?\p{L}+'), 'isolated'), p.Split(Regex(r'\s?\p{P}+'), 'isolated'), p.Digits(individual_digits=True))
    @kind
    def behaviors():
        return byte_level(p.Split(Regex('[aeiou]+'), 'merged_with_previous'), p.Split('-', 'contiguous'), p.Split(Regex(r'\w+'), 'removed', invert=True), p.Punctuation('merged_with_next'))
    @kind
    def spaced():
        t = Tokenizer(bpe()); t.normalizer = n.Sequence([n.NFC(), n.Strip(left=True, right=False)]); t.pre_tokenizer = p.Sequence([p.Split(Regex(r'\d'), 'isolated'), p.ByteLevel(add_prefix_space=True)])
        t.decoder = d.ByteLevel(); train_bpe(t, special_tokens=['<s>', '</s>'], initial_alphabet=p.ByteLevel.alphabet()); return t
    @kind
    def bytes_first():
        t = Tokenizer(bpe()); t.normalizer = n.ByteLevel(); t.pre_tokenizer = p.Split(Regex('Ġ?[^Ġ]+'), 'isolated'); t.decoder = d.ByteLevel()
        train_bpe(t, special_tokens=['<s>', '</s>'], initial_alphabet=p.ByteLevel.alphabet()); return t

    for name, make in kinds.items():
        t = make()
        os.makedirs(folder + '/' + name)
        t.save(folder + '/' + name + '/tokenizer.json')
        ids = [t.encode(x).ids for x in texts]
        json.dump({'ids': ids, 'bare': [t.encode(x, add_special_tokens=False).ids for x in texts], 'plain': [t.decode(x, skip_special_tokens=False) for x in ids],
            'skipped': [t.decode(x) for x in ids]}, open(folder + '/' + name + '/out.json', 'w'))
    print(' '.join(kinds))
    """#

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func everyKindEqualsThePeers() throws {
    let folder = TemporaryDirectory("pipeline")
    try writeTexts(Self.texts, to: folder.file("texts.json"))
    let kinds = try Peers.run(Self.script, [folder.path]).split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(kinds.count == 18)
    for kind in kinds {
      let tokenizer = try PipelineTokenizer(path: folder.file(kind))
      let out = try ByteJSON.read(folder.file(kind + "/out.json"))
      func lists(_ name: String) throws -> [[Int32]] { try #require(out[name]?.items).map { ($0.items ?? []).compactMap(\.id) } }
      func texts(_ name: String) throws -> [String] { try #require(out[name]?.items).map { $0.text ?? "" } }
      let (ids, bare, plain, skipped) = (try lists("ids"), try lists("bare"), try texts("plain"), try texts("skipped"))
      var different = 0
      for (index, text) in Self.texts.enumerated() {
        let own = tokenizer.encode(text)
        let isSame =
          own == ids[index] && tokenizer.encode(text, addSpecialTokens: false) == bare[index]
          && tokenizer.decode(own, skipSpecialTokens: false).utf8.elementsEqual(plain[index].utf8)
          && tokenizer.decode(own, skipSpecialTokens: true).utf8.elementsEqual(skipped[index].utf8)
        if !isSame {
          different += 1
          if different <= 3 {
            Issue.record(
              """
              \(kind), \(text.prefix(60).debugDescription)
              own  \(own.map { tokenizer.token($0) ?? "?" }.prefix(40))
              peer \(ids[index].map { tokenizer.token($0) ?? "?" }.prefix(40))
              own  \(tokenizer.decode(own, skipSpecialTokens: false).prefix(100).debugDescription)
              peer \(plain[index].prefix(100).debugDescription)
              """)
          }
        }
        var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: false)
        let streamed = (own.map { decoder.push($0) } + [decoder.finish()]).joined()
        #expect(streamed.utf8.elementsEqual(tokenizer.decode(own, skipSpecialTokens: false).utf8), "\(kind): \(text.prefix(60).debugDescription)")
      }
      #expect(different == 0, "\(kind): \(different) of \(Self.texts.count) texts")
      // Whatever opens such a file gives the same, the fast ways among them.
      let opened = try TokenizerFile.open(folder.file(kind))
      for (index, text) in Self.texts.enumerated() { #expect(opened.encode(text) == ids[index], "\(kind), \(type(of: opened))") }
    }
  }

  /// Bytes that are no text come out after a while, not at the end alone, and all of them do.
  @Test func bytesThatAreNoTextAreNotHeldForEver() throws {
    let folder = TemporaryDirectory("pipeline-bytes")
    let vocabulary = (0..<256).map { #""\#(String(decoding: ByteTokens.spelling(UInt8($0)), as: UTF8.self))":\#($0)"# }.joined(separator: ",")
    let json = #"{"model":{"type":"BPE","byte_fallback":true,"vocab":{\#(vocabulary)},"merges":[]},"decoder":{"type":"ByteFallback"}}"#
    try Data(json.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer.json")))
    let tokenizer = try TokenizerFile.open(folder.path)
    var decoder = StreamingDecoder(tokenizer)
    var pieces = (0..<1000).map { _ in decoder.push(0x82) }
    #expect(pieces.count { !$0.isEmpty } > 50)
    pieces.append(decoder.finish())
    #expect(pieces.joined() == tokenizer.decode(Array(repeating: 0x82, count: 1000), skipSpecialTokens: false))
  }

  @Test func whatIsNotKnownIsRefusedByName() throws {
    let folder = TemporaryDirectory("pipeline-refused")
    func refusal(_ json: String) -> String {
      do {
        try Data(json.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer.json")))
        _ = try TokenizerFile.open(folder.path)
        return "accepted"
      } catch { return PlatformError.from(error).message }
    }
    let words = #""model":{"type":"WordLevel","vocab":{"a":0},"unk_token":"a"}"#
    #expect(refusal("{\(words)}") == "accepted")
    #expect(refusal(#"{"model":{"type":"Morse"}}"#).contains("Morse"))
    #expect(refusal(#"{"normalizer":{"type":"Odd"},\#(words)}"#).contains("Odd"))
    #expect(refusal(#"{"pre_tokenizer":{"type":"UnicodeScripts"},\#(words)}"#).contains("UnicodeScripts"))
    #expect(refusal(#"{"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"},\#(words)}"#).contains("(a"))
    #expect(refusal(#"{"decoder":{"type":"CTC"},\#(words)}"#).contains("CTC"))
    #expect(refusal(#"{"model":{"type":"Unigram","unk_id":7,"vocab":[["a",-1.0]]}}"#).contains("unk_id"))
    #expect(refusal(#"{"model":{"type":"Unigram","vocab":[["a"]]}}"#).contains("entry 0"))
    #expect(refusal(#"{"model":{"type":"BPE","vocab":{"a":0},"merges":["a b"]}}"#).contains("merge 0"))
    // A space that becomes two, forty times over.
    let doubling = Array(repeating: #"{"type":"Replace","pattern":{"String":" "},"content":"  "}"#, count: 40).joined(separator: ",")
    #expect(refusal(#"{"normalizer":{"type":"Sequence","normalizers":[\#(doubling)]},\#(words)}"#).contains("times as long"))
    #expect(refusal(#"{"model":{"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]}}"#).contains("dropout"))
    #expect(refusal(#"{"model":{"type":"WordLevel","vocab":{"a":2000000000}}}"#).contains("bad ids"))
    for map in ["", "####", "AAAA", "/////w==", "BAAAAP////8=", "CAAAAAEAAAABAAAA"] {
      _ = refusal(#"{"normalizer":{"type":"Precompiled","precompiled_charsmap":"\#(map)"},\#(words)}"#)
    }
  }
}
