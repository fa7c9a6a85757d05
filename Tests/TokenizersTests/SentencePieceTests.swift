// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// SentencePiece's own files: trained by `sentencepiece`, against it.
@Suite struct SentencePieceTests {
  private static let script = #"""
    import json, os, random, sys
    import sentencepiece as s
    from transformers.convert_slow_tokenizer import import_protobuf
    folder = sys.argv[1]
    texts = json.load(open(folder + '/texts.json'))
    open(folder + '/lines', 'w').write('\n'.join(x.replace('\n', ' ').replace('\0', ' ') for x in texts if x.strip()))
    common = dict(minloglevel=2, hard_vocab_limit=False, num_threads=1)
    kinds = {
        'unigram': dict(vocab_size=400, character_coverage=0.98),
        'folded': dict(vocab_size=400, normalization_rule_name='nmt_nfkc_cf', character_coverage=0.98),
        'bytes': dict(vocab_size=700, byte_fallback=True, character_coverage=0.98, normalization_rule_name='identity', remove_extra_whitespaces=False),
        'symbols': dict(vocab_size=400, user_defined_symbols=['<sep>', 'ab', ' x', 'The', '日本'], control_symbols=['<c>'], pad_id=3, character_coverage=0.98),
        'llama': dict(model_type='bpe', vocab_size=900, byte_fallback=True, normalization_rule_name='identity', remove_extra_whitespaces=False,
            split_digits=True, allow_whitespace_only_pieces=True, character_coverage=0.98),
        'gemma': dict(model_type='bpe', vocab_size=900, byte_fallback=True, normalization_rule_name='identity', remove_extra_whitespaces=False,
            add_dummy_prefix=False, user_defined_symbols=['\n', '\n\n', '▁▁', '▁▁▁▁', '<table>'], character_coverage=0.98),
        'merges': dict(model_type='bpe', vocab_size=500, character_coverage=0.98, unk_surface='??'),
        'behind': dict(vocab_size=300, treat_whitespace_as_suffix=True, character_coverage=0.98),
        'behind_merges': dict(model_type='bpe', vocab_size=400, treat_whitespace_as_suffix=True, character_coverage=0.98),
    }
    for name, options in kinds.items():
        model = f'{folder}/{name}.model'
        s.SentencePieceTrainer.train(input=folder + '/lines', model_prefix=f'{folder}/{name}', **common, **options)
        if name in ('unigram', 'merges'):
            # Some pieces may not be used.
            proto = import_protobuf().ModelProto(); proto.ParseFromString(open(model, 'rb').read())
            for index, piece in enumerate(proto.pieces):
                if index % 7 == 3 and len(piece.piece) > 2 and piece.type == 1: piece.type = 5
            open(model, 'wb').write(proto.SerializeToString())
        p = s.SentencePieceProcessor(model_file=model)
        ids = [p.encode(x) for x in texts]
        r = random.Random(5)
        noise = [[r.randrange(p.get_piece_size()) for _ in range(r.randrange(1, 40))] for _ in range(60)]
        json.dump({'ids': ids, 'texts': [p.decode(x) for x in ids], 'noise': noise, 'noise_texts': [p.decode(x) for x in noise], 'size': p.get_piece_size()},
            open(f'{folder}/{name}.json', 'w'))
    print(' '.join(kinds))
    """#

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func everyKindEqualsThePeer() throws {
    let folder = TemporaryDirectory("sentencepiece")
    // The peer's Python interface ends a text at its first zero byte in some places.
    let texts = PipelineTests.texts.filter { !$0.contains("\0") } + ["", " ", "a  b   c ", " <sep> ab<sep>The x日本", "<s> </s> <unk> <c>", "<0x41>", "\n\n\n x"]
    try writeTexts(texts, to: folder.file("texts.json"))
    let kinds = try Peers.run(Self.script, [folder.path]).split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(kinds.count == 9)
    for kind in kinds {
      let tokenizer = try #require(try TokenizerFile.open(folder.file(kind + ".model")) as? SentencePieceTokenizer)
      let out = try ByteJSON.read(folder.file(kind + ".json"))
      func lists(_ name: String) throws -> [[Int32]] { try #require(out[name]?.items).map { ($0.items ?? []).compactMap(\.id) } }
      func strings(_ name: String) throws -> [String] { try #require(out[name]?.items).map { $0.text ?? "" } }
      let (ids, decoded, noise, noiseTexts) = (try lists("ids"), try strings("texts"), try lists("noise"), try strings("noise_texts"))
      #expect(tokenizer.vocabularySize == out["size"]?.id.map(Int.init))
      var different = 0
      func tell(_ what: String) {
        different += 1
        if different <= 4 { Issue.record("\(kind): \(what)") }
      }
      for (index, text) in texts.enumerated() {
        let own = tokenizer.encode(text)
        func spelled(_ ids: [Int32]) -> [String] { ids.prefix(40).map { tokenizer.token($0) ?? "?" } }
        if own != ids[index] { tell("\(text.prefix(60).debugDescription)\nown  \(spelled(own))\npeer \(spelled(ids[index]))") }
        let back = tokenizer.decode(ids[index], skipSpecialTokens: true)
        if !back.utf8.elementsEqual(decoded[index].utf8) {
          tell("decoded \(back.prefix(80).debugDescription), peer \(decoded[index].prefix(80).debugDescription)")
        }
        var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: true)
        let streamed = (ids[index].map { decoder.push($0) } + [decoder.finish()]).joined()
        if !streamed.utf8.elementsEqual(back.utf8) {
          tell("streamed \(streamed.prefix(80).debugDescription), at once \(back.prefix(80).debugDescription)")
        }
      }
      for (index, list) in noise.enumerated() {
        let back = tokenizer.decode(list, skipSpecialTokens: true)
        if !back.utf8.elementsEqual(noiseTexts[index].utf8) {
          tell("decoded \(list.map { tokenizer.token($0) ?? "?" })\nown  \(back.debugDescription)\npeer \(noiseTexts[index].debugDescription)")
        }
      }
      #expect(different == 0, "\(kind): \(different) differences")
    }
    try folderOfHuggingFace(folder.file("llama.model"))
    try damagedFilesAreRefused(folder.file("symbols.model"))
  }

  /// A model that drops spaces at the begin of a text does so there alone.
  @Test func spacesBehindSomethingStayWhenTextComesInParts() throws {
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }
    let pieces = [("<unk>", 2), ("▁", 1), ("a", 1), ("▁a", 1), ("</s>", 3)].flatMap { text, kind in
      field(1, field(1, Array(text.utf8)) + [2 << 3 | 5, 0, 0, 0, 0, 3 << 3, UInt8(kind)])
    }
    let tokenizer = try SentencePieceTokenizer(SentencePieceFile(pieces), folder: "/nowhere")
    for ids: [Int32] in [[2, 1, 1, 2], [1, 1, 2, 1, 3], [2, 4, 1, 4, 1, 3], [0, 1, 1, 0, 1], [2] + Array(repeating: 1, count: 60) + [3]] {
      var decoder = StreamingDecoder(tokenizer)
      let streamed = (ids.map { decoder.push($0) } + [decoder.finish()]).joined()
      #expect(streamed == tokenizer.decode(ids, skipSpecialTokens: true), "\(ids)")
    }
  }

  /// The fast tries and the cuts in words give what a look through everything gives.
  @Test func triesAndWordsAreThoseOfASlowLook() {
    var random = SplitMix64(seed: 4)
    let letters = Array("abcdefghijklmnopq▁é".utf8)
    func text(_ longest: Int) -> [UInt8] { (0..<Int.random(in: 0...longest, using: &random)).map { _ in letters.randomElement(using: &random) ?? 0 } }
    for round in 0..<60 {
      let tokens = (0..<round * 3).map { (text: text(4), id: Int32($0)) }
      let trie = ByteTrie(tokens)
      let last = Dictionary(tokens.map { ($0.text, $0.id) }, uniquingKeysWith: { $1 })
      for _ in 0..<20 {
        let sample = text(12)
        for start in sample.indices {
          var found: [Int32] = []
          sample.withUnsafeBufferPointer { sample in trie.prefixes(sample, from: start) { found += [Int32($0), $1] } }
          let expected = (1...4).filter { start + $0 <= sample.count }.flatMap { length in
            last[Array(sample[start..<start + length])].map { [Int32(length), $0] } ?? []
          }
          #expect(found == expected)
        }
      }
    }
    func words(_ text: String) -> [String] {
      let bytes = Array(text.utf8)
      var found: [String] = []
      bytes.withUnsafeBufferPointer { text in MarkedWords.words(text) { found.append(String(decoding: text[$0], as: UTF8.self)) } }
      return found
    }
    #expect(words("") == [] && words("a") == ["a"] && words("▁") == ["▁"] && words("▁▁") == ["▁▁"])
    #expect(words("▁a▁▁bé▁") == ["▁a", "▁▁bé", "▁"] && words("a▂▁b") == ["a▂", "▁b"])
    #expect(MarkedWords.crosses(Array("a▁".utf8)) && !MarkedWords.crosses(Array("▁▁a".utf8)) && !MarkedWords.crosses([]))
  }

  /// What `tokenizer_config.json` adds: ids around a text, and tokens that are found in it.
  private func folderOfHuggingFace(_ model: String) throws {
    let folder = TemporaryDirectory("sentencepiece-folder")
    try FileManager.default.copyItem(atPath: model, toPath: folder.file("tokenizer.model"))
    let config =
      #"{"tokenizer_class":"LlamaTokenizer","bos_token":"<s>","eos_token":{"content":"</s>"},"unk_token":"<unk>","added_tokens_decoder":{"5000":{"content":"<|user|>","special":true},"5001":{"content":"mark","special":false}}}"#
    try Data(config.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer_config.json")))
    let tokenizer = try TokenizerFile.open(folder.path)
    let bare = try SentencePieceTokenizer(path: model)
    let (one, two) = (bare.encode("one"), bare.encode(" two"))
    #expect(tokenizer.encode("one<|user|> two") == [1] + one + [5000] + two && tokenizer.vocabularySize == 5002)
    #expect(tokenizer.encode("one</s>") == [1] + one + [2] && bare.encode("one</s>") != one + [2])
    #expect(tokenizer.bosID == 1 && tokenizer.eosID == 2 && tokenizer.isSpecial(5000) && !tokenizer.isSpecial(5001))
    #expect(tokenizer.decode([1] + one + [5000, 5001, 2], skipSpecialTokens: true) == "onemark")
    #expect(tokenizer.decode([1, 5000, 5001, 2], skipSpecialTokens: false) == "<s><|user|>mark</s>")
    try Data(#"{"tokenizer_class":"XLMRobertaTokenizer"}"#.utf8).write(to: URL(fileURLWithPath: folder.file("tokenizer_config.json")))
    let error = #expect(throws: PlatformError.self) { try TokenizerFile.open(folder.path) }
    #expect(error?.message.contains("XLMRoberta") == true && error?.path?.hasSuffix("tokenizer.model") == true)
  }

  /// Cut off or changed anywhere, a file is refused, or gives a tokenizer that works.
  private func damagedFilesAreRefused(_ model: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: model)))
    var random = SplitMix64(seed: 11)
    var refused = 0
    for round in 0..<150 {
      var changed = bytes
      if round % 3 == 0 {
        changed.removeLast(Int(random.next() % UInt64(bytes.count)))
      } else {
        for _ in 0..<(round % 3 * 4) { changed[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next()) }
      }
      do {
        let tokenizer = try SentencePieceTokenizer(SentencePieceFile(changed), folder: "/nowhere")
        _ = tokenizer.decode(tokenizer.encode("some text, 日本 <sep> ½"), skipSpecialTokens: false)
      } catch {
        #expect(PlatformError.from(error).number == "PLT-3301")
        refused += 1
      }
    }
    #expect(refused > 20)
    let long: [UInt8] = [0x0A] + Array(repeating: 0xFF, count: 9) + [0x01]
    for bad in [[], [0x0A], long, Array("{}".utf8), Array(repeating: 0xFF, count: 30)] {
      #expect(throws: PlatformError.self) { try SentencePieceFile(bad) }
    }
  }
}
