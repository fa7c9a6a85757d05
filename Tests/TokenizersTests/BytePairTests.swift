// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

func pieces(_ text: String) -> [String] {
  let bytes = Array(text.utf8)
  return bytes.withUnsafeBufferPointer { buffer in
    guard let base = buffer.baseAddress else { return [] }
    var scanner = ByteLevelScanner(base, bytes.count)
    var out: [String] = []
    var start = 0
    while let end = scanner.next() {
      out.append(String(decoding: bytes[start..<end], as: UTF8.self))
      start = end
    }
    return out
  }
}

@Suite struct BytePairTests {
  static let corpus =
    RealTexts.documentation(limit: 60).joined(separator: "\n")
    + String(repeating: "the quick brown fox jumps over ", count: 50)

  static func trained(_ size: Int = 600) throws -> BytePairTokenizer {
    var counts = WordCounts()
    counts.add(corpus)
    return try BytePairTrainer(vocabularySize: size, specialTokens: ["<|endoftext|>", "<|pad|>"], paddingToken: "<|pad|>")
      .train(counts)
  }

  @Test(arguments: [
    ("Hello world", ["Hello", " world"]), ("I'll don't'x", ["I", "'ll", " don", "'t", "'", "x"]),
    ("a  b", ["a", " ", " b"]), ("a \n b", ["a", " \n", " b"]), ("a\nb", ["a", "\n", "b"]), ("x   ", ["x", "   "]),
    ("abc123!?", ["abc", "123", "!?"]), (" 's", [" '", "s"]), ("'S 'RE", ["'", "S", " '", "RE"]), ("é日本 ½", ["é日本", " ½"]),
    ("\u{A0}x", ["\u{A0}", "x"]), ("\u{A0}\u{A0}x", ["\u{A0}", "\u{A0}", "x"]), ("  ", ["  "]), ("", []), ("'", ["'"]),
    (" ", [" "]),
  ]) func splitFollowsTheExpression(_ text: String, _ expected: [String]) {
    #expect(pieces(text) == expected)
  }

  @Test func everyTextComesBackExactly() throws {
    let tokenizer = try Self.trained()
    for text in nastyTexts {
      let ids = tokenizer.encode(text)
      #expect(tokenizer.decode(ids, skipSpecialTokens: false).utf8.elementsEqual(text.utf8))
      var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: false)
      #expect((ids.map { decoder.push($0) } + [decoder.finish()]).joined().utf8.elementsEqual(text.utf8))
    }
    #expect(tokenizer.encode("<|endoftext|>x", addSpecialTokens: false).first == 0)
    #expect(tokenizer.decode([0] + tokenizer.encode("x"), skipSpecialTokens: true) == "x")
    #expect(tokenizer.special == SpecialTokens(beginning: 0, end: 0, padding: 1))
  }

  @Test func longWordsMergeAsShortOnesDo() throws {
    let tokenizer = try Self.trained()
    // The heap is used above 48 bytes and the scan below: both must agree on the same words.
    var random = SplitMix64(seed: 7)
    let letters = Array("etaoinshrdluthe ing ".utf8).filter { $0 != 0x20 }
    for length in [2, 30, 47, 48, 49, 200, 400] {
      let word = String(
        decoding: (0..<length).map { _ in letters[Int(random.next() % UInt64(letters.count))] }, as: UTF8.self)
      let ids = tokenizer.encode(word)
      #expect(ids == Self.reference(tokenizer, word))
      #expect(tokenizer.encode(word) == ids)
    }
  }

  /// Byte pair encoding in its plainest form.
  static func reference(_ tokenizer: BytePairTokenizer, _ word: String) -> [Int32] {
    var symbols = Array(word.utf8).map { [$0] }
    while true {
      var best: (rank: Int, place: Int)?
      for place in symbols.indices.dropLast() {
        if let rank = tokenizer.merges.firstIndex(of: .init(left: symbols[place], right: symbols[place + 1])),
          rank < best?.rank ?? .max
        {
          best = (rank, place)
        }
      }
      guard let best else { break }
      symbols[best.place] += symbols[best.place + 1]
      symbols.remove(at: best.place + 1)
    }
    return symbols.map { symbol in Int32(tokenizer.entryBytes.firstIndex { $0 == symbol }!) }
  }

  @Test func streamingHoldsBackIncompleteCharacters() throws {
    let tokenizer = try Self.trained(258)
    var decoder = StreamingDecoder(tokenizer)
    let ids = tokenizer.encode("é€😀")
    #expect(ids.map { decoder.push($0) } == ["", "é", "", "", "€", "", "", "", "😀"])
    _ = decoder.push(ids[0])
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(StreamingDecoder.incompleteSuffix([0xE0, 0x80]) == 0)
    #expect(StreamingDecoder.incompleteSuffix([0x61, 0xF0, 0x9F, 0x98]) == 3)
    #expect(StreamingDecoder.incompleteSuffix([0x80, 0x80, 0x80, 0x80]) == 0)
  }

  @Test func shardsMergedInAnyOrderTrainTheSameTokenizer() throws {
    let parts = RealTexts.documentation(limit: 12)
    var forward = WordCounts()
    for part in parts {
      var shard = WordCounts()
      shard.add(part)
      forward.merge(try JSONDecoder().decode(WordCounts.self, from: JSONEncoder().encode(shard)))
    }
    var backward = WordCounts()
    for part in parts.reversed() { backward.add(part) }
    #expect(forward.count == backward.count && forward.total == backward.total)
    let trainer = BytePairTrainer(vocabularySize: 500)
    #expect(try trainer.train(forward).tokenizerFile() == trainer.train(backward).tokenizerFile())
    #expect(throws: PlatformError.self) { try BytePairTrainer(vocabularySize: 100).train(forward) }
    #expect(throws: CancellationError.self) { try trainer.train(forward, isCancelled: { true }) }
  }

  @Test func copiesOfCountsAreIndependent() {
    var one = WordCounts()
    one.add("a b")
    var two = one
    two.add("a c")
    #expect(one.count(of: "a") == 1 && two.count(of: "a") == 2)
    #expect(one.count(of: " c") == 0 && two.count(of: " c") == 1)
  }

  @Test func filesRoundTrip() throws {
    let tokenizer = try Self.trained()
    let folder = TemporaryDirectory("bpe")
    try tokenizer.write(to: folder.path, maximumLength: 512)
    let again = try BytePairTokenizer(path: folder.path)
    #expect(again.tokenizerFile() == tokenizer.tokenizerFile())
    #expect(again.special == tokenizer.special)
    #expect(again.vocabularySize == tokenizer.vocabularySize)
    for text in nastyTexts { #expect(again.encode(text) == tokenizer.encode(text)) }
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func peerTrainsAndEncodesTheSame() throws {
    let texts = nastyTexts + RealTexts.documentation(limit: 200)
    var counts = WordCounts()
    for text in texts { counts.add(text) }
    let clock = ContinuousClock()
    var trained: BytePairTokenizer?
    let trainer = BytePairTrainer(vocabularySize: 2000, minimumFrequency: 2)
    let elapsed = try clock.measure { trained = try trainer.train(counts) }
    let tokenizer = try #require(trained)
    let folder = TemporaryDirectory("bpe-peer")
    try tokenizer.write(to: folder.path, maximumLength: 512)
    try writeTexts(texts, to: folder.file("texts.json"))
    let script = """
      import json, sys, time
      from tokenizers import Tokenizer, models, pre_tokenizers, trainers
      from transformers import AutoTokenizer
      folder = sys.argv[1]
      texts = json.load(open(folder + '/texts.json'))
      auto = AutoTokenizer.from_pretrained(folder)
      raw = Tokenizer.from_file(folder + '/tokenizer.json')
      ids = [raw.encode(x).ids for x in texts]
      assert ids == [auto(x)['input_ids'] for x in texts]
      assert auto.eos_token_id == 0 and auto.model_max_length == 512, (auto.eos_token_id, auto.model_max_length)
      plain = [raw.decode(x, skip_special_tokens=False) for x in ids]
      own = Tokenizer(models.BPE()); own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
      own.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, min_frequency=2, show_progress=False,
        special_tokens=['<|endoftext|>'], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
      merges = json.loads(own.to_str())['model']['merges']
      json.dump({'ids': ids, 'plain': plain, 'merges': merges}, open(folder + '/out.json', 'w'))
      """
    _ = try Peers.run(script, [folder.path])
    let out = try ByteJSON.read(folder.file("out.json"))
    let ids = try #require(out["ids"]?.items).map { $0.items!.compactMap(\.id) }
    let plain = try #require(out["plain"]?.items).map { $0.bytes! }
    for (index, text) in texts.enumerated() {
      let own = tokenizer.encode(text)
      #expect(own == ids[index], "text \(index): \(text.prefix(80))")
      #expect(Array(tokenizer.decode(own, skipSpecialTokens: false).utf8) == plain[index])
    }
    let merges = try #require(out["merges"]?.items).map { $0.items!.map { $0.text! } }
    let own = tokenizer.merges.map { [ByteAlphabet.spell($0.left), ByteAlphabet.spell($0.right)] }
    let firstDifference = zip(merges, own).enumerated().first { $1.0 != $1.1 }
    #expect(merges == own, "\(String(describing: firstDifference)) \(merges.count) \(own.count) after \(elapsed)")
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func filesOfThePeerAreRead() throws {
    let folder = TemporaryDirectory("bpe-peer")
    try writeTexts(nastyTexts, to: folder.file("texts.json"))
    let script = """
      import json, sys
      from tokenizers import Tokenizer, models, pre_tokenizers, trainers, decoders, processors, AddedToken
      folder = sys.argv[1]
      texts = json.load(open(folder + '/texts.json'))
      t = Tokenizer(models.BPE())
      t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
      t.decoder = decoders.ByteLevel()
      t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=700, show_progress=False, special_tokens=['<s>', '</s>'],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
      t.add_tokens([AddedToken('ipsum', lstrip=True, rstrip=True, single_word=True), AddedToken('日本', normalized=True)])
      t.post_processor = processors.TemplateProcessing(single='<s> $A </s>', special_tokens=[('<s>', 0), ('</s>', 1)])
      t.save(folder + '/tokenizer.json')
      json.dump([t.encode(x).ids for x in texts], open(folder + '/out.json', 'w'))
      """
    _ = try Peers.run(script, [folder.path])
    let tokenizer = try BytePairTokenizer(path: folder.path)
    let ids = try #require(try ByteJSON.read(folder.file("out.json")).items).map { $0.items!.compactMap(\.id) }
    for (index, text) in nastyTexts.enumerated() { #expect(tokenizer.encode(text) == ids[index], "\(text.prefix(60))") }
  }

  /// Texts in which the ways to split differ.
  static let splitTexts =
    nastyTexts + [
      "I'LL don'T he'S we'Re they'vE I'm 'd 'D 'ſ x'ſ 'l 're've ''s '", "a\nb\r\nc \n d\t\n\n  e", "x  \n  y", "   lead", "trail   ", "\n\n\n", " \n",
      "1 12 123 1234 12345678 ½ ٣٤٥٦ x9y", "$100.00, 50% (a) [b]{c}<d>", "foo.bar_baz/qux\\n --flag=1", "!\n!!\r\n?\n\nx",
      ".\tx\u{85}y\u{2028}z \u{3000}日本語123です",
      "e\u{301}a\u{308} \u{1100}\u{1161} ﬁ Å", "_x __init__ #tag @name", "👍🏽 👨‍👩‍👧 é\u{200D}", "\u{A0}x \u{A0}\u{A0}y", "'",
    ]

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func otherSplitsEqualThePeers() throws {
    let folder = TemporaryDirectory("bpe-split")
    try writeTexts(Self.splitTexts, to: folder.file("texts.json"))
    let script = #"""
      import json, os, sys
      from tokenizers import Tokenizer, Regex, models, normalizers, pre_tokenizers, trainers, decoders, processors
      folder = sys.argv[1]
      texts = json.load(open(folder + '/texts.json'))
      tail = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
      head = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
      kinds = {
        'three': (head + r"\p{N}{1,3}" + tail, None), 'one': (head + r"\p{N}" + tail, normalizers.NFC()),
        'possessive': (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+", None),
        'plain': (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", None),
      }
      for name, (pattern, normalizer) in kinds.items():
          t = Tokenizer(models.BPE())
          if normalizer: t.normalizer = normalizer
          t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), behavior='isolated'),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
          t.decoder = decoders.ByteLevel()
          t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, show_progress=False, special_tokens=['<s>'],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
          t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(single='<s> $A', special_tokens=[('<s>', 0)])])
          os.makedirs(folder + '/' + name)
          t.save(folder + '/' + name + '/tokenizer.json')
          json.dump({'ids': [t.encode(x).ids for x in texts], 'texts': [t.decode(t.encode(x).ids) for x in texts]}, open(folder + '/' + name + '/out.json', 'w'))
      """#
    _ = try Peers.run(script, [folder.path])
    for name in ["three", "one", "possessive", "plain"] {
      let tokenizer = try BytePairTokenizer(path: folder.file(name))
      // Written and opened again it is the same.
      try tokenizer.write(to: folder.file(name + "-again"))
      let again = try BytePairTokenizer(path: folder.file(name + "-again"))
      let out = try ByteJSON.read(folder.file(name + "/out.json"))
      let ids = try #require(out["ids"]?.items).map { $0.items!.compactMap(\.id) }
      let texts = try #require(out["texts"]?.items).map { $0.text ?? "" }
      for (index, text) in Self.splitTexts.enumerated() {
        #expect(tokenizer.encode(text) == ids[index], "\(name): \(text.prefix(60).debugDescription)")
        #expect(again.encode(text) == ids[index], "\(name), again: \(text.prefix(60).debugDescription)")
        #expect(tokenizer.decode(ids[index], skipSpecialTokens: true).utf8.elementsEqual(texts[index].utf8), "\(name): \(text.prefix(60).debugDescription)")
      }
    }
    for expression in [#"\w+|\s+"#, "", #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+"#] { #expect(WordSplit(expression: expression) == nil) }
  }
}
