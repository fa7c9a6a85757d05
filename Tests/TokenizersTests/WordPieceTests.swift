// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// Texts that tokenizers get wrong.
let nastyTexts: [String] = [
  "", " ", "\n\n\t", "Hello, world!", "don't can't I'LL we've it's 'twas", "Ünïcödé ÀÉÎÕÜ naïve façade",
  "e\u{301}a\u{300}\u{323}o\u{308}\u{304}",
  "日本語のテキスト 和 English混じり", "中文字符，全角！？", "한국어 텍스트 각", "😀👩‍👩‍👧‍👦 🇩🇪 👍🏽 ❤️",
  "a\u{0}b\u{1}c\u{7F}d\u{85}e\u{AD}f\u{200B}g\u{200D}h\u{FEFF}i\u{FFFD}j",
  "tabs\tand\u{A0}nbsp\u{3000}ideographic\u{2028}line\u{2029}para\u{1C}fs", String(repeating: "a", count: 100),
  String(repeating: "b", count: 101),
  String(repeating: "长", count: 120), String(repeating: "é", count: 100), String(repeating: "e\u{301}", count: 101),
  "İstanbul ıĞŞ ǅ ß ẞ ΑΣ ΟΔΟΣ ﬁ Ⅷ ½",
  "[CLS] in text [SEP][MASK]x[PAD] [UNK] [cls]", "##ing # ## ing", "http://example.org/a_b?c=d&e=%20#frag",
  "snake_case kebab-case C++ x86_64 3.14159 1,000,000",
  "«quotes» “curly” ‘single’ … — – ‰ € £ ¥ § ©®™ ° ± × ÷", "عربي نص العربية עברית हिन्दी देवनागरी ไทย ქართული",
  "\u{1F1E6} \u{E000} \u{F0000} \u{10FFFF} \u{378} \u{E0101}",
  "  leading and trailing   ", "a  b   c\n\n\nd\r\ne \n f", "123abc456 ١٢٣ ๑๒๓ Ⅳ ²³", "'s 't 're 've 'm 'll 'd 'S 'x '' s's",
  " 's a 't", "\u{A0}word \u{2003}x\u{2003}",
  "\u{302E}\u{93E}\u{489}x\u{20DD}", "\u{166D}x\u{1885}y\u{A9BD}z\u{1734}", "Å Å Ω Ω K K",
  "\u{F900}\u{2F800}\u{9FFF}\u{3400}\u{20000}", "<|endoftext|>mid<|endoftext|>",
  String(repeating: "Lorem ipsum dolor sit amet. ", count: 40), String(repeating: "ab", count: 400),
  String(repeating: "\n ", count: 50) + "x",
]

enum RealTexts {
  /// Up to `limit` readable text files of this machine's documentation, 256 KB each at most.
  static func documentation(limit: Int) -> [String] {
    var texts: [String] = []
    let root = "/usr/share/doc"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root).sorted()) ?? []
    for name in names {
      for file in ["copyright", "README", "README.md", "NEWS", "AUTHORS", "TODO.Debian", "README.Debian", "README.txt"] {
        guard texts.count < limit, let data = FileManager.default.contents(atPath: "\(root)/\(name)/\(file)"),
          data.count < 256 << 10,
          let text = String(validating: data, as: UTF8.self)
        else { continue }
        texts.append(text)
      }
    }
    return texts
  }
}

/// The tokenizer of the MiniLM package in the peers' environment.
enum MiniLM {
  static let path = Peers.python == nil ? nil : InstalledFiles.find("models/all-MiniLM-L6-v2/tokenizer.json")
}

func writeTexts(_ texts: [String], to path: String) throws {
  try JSONEncoder().encode(texts).write(to: URL(fileURLWithPath: path))
}

@Suite struct WordPieceTests {
  /// A vocabulary small enough to check by hand.
  static func small(_ folder: TemporaryDirectory) throws -> WordPieceTokenizer {
    let tokens = [
      "[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "hello", ",", "!", "##a", "a", "日", "e", "##é",
    ]
    let vocabulary = tokens.enumerated().map { "\"\($1)\":\($0)" }.joined(separator: ",")
    let added = (0..<4).map {
      "{\"id\":\($0),\"content\":\"\(tokens[$0])\",\"special\":true,\"normalized\":false}"
    }.joined(separator: ",")
    let text = """
      {"added_tokens":[\(added)],"truncation":{"max_length":7},
       "normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},
       "pre_tokenizer":{"type":"BertPreTokenizer"},
       "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"[CLS]"}},{"Sequence":{"id":"A"}},{"SpecialToken":{"id":"[SEP]"}}],
         "special_tokens":{"[CLS]":{"ids":[2]},"[SEP]":{"ids":[3]}}},
       "decoder":{"type":"WordPiece","prefix":"##","cleanup":true},
       "model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":10,"vocab":{\(vocabulary)}}}
      """
    let path = folder.file("tokenizer.json")
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return try WordPieceTokenizer(tokenizerJSON: path)
  }

  @Test func longestMatchWinsAndUnknownWordsAreOneToken() throws {
    let folder = TemporaryDirectory("wordpiece")
    let tokenizer = try Self.small(folder)
    #expect(tokenizer.encode("Unaffable, HELLO!") == [2, 4, 5, 6, 8, 7, 9, 3])
    #expect(tokenizer.encode("unaffx hello", addSpecialTokens: false) == [1, 7])
    #expect(
      tokenizer.encode("aaaaaaaaaa aaaaaaaaaaa", addSpecialTokens: false) == [11] + Array(repeating: 10, count: 9) + [1])
    #expect(tokenizer.encode("日日", addSpecialTokens: false) == [12, 12])
    #expect(tokenizer.encode("", addSpecialTokens: true) == [2, 3])
    #expect(tokenizer.encode("a [SEP]a", addSpecialTokens: false) == [11, 3, 11])
    #expect(tokenizer.encode("é", addSpecialTokens: false) == [13])
    #expect(tokenizer.fileMaximumLength == 7)
    #expect(tokenizer.special == SpecialTokens(padding: 0, unknown: 1))
  }

  @Test func truncationKeepsTheTemplate() throws {
    let folder = TemporaryDirectory("wordpiece")
    let tokenizer = try Self.small(folder)
    #expect(tokenizer.encode("a a a a a a", maximumLength: 5) == [2, 11, 11, 11, 3])
    #expect(tokenizer.encode("a", maximumLength: 5) == [2, 11, 3])
    #expect(tokenizer.encode("a a", maximumLength: 2) == [2, 3])
    #expect(tokenizer.encode("a a", maximumLength: 1) == [2])
    #expect(tokenizer.encode("a a", maximumLength: 0) == [])
  }

  @Test func decodingJoinsPiecesAndTidiesPunctuation() throws {
    let folder = TemporaryDirectory("wordpiece")
    let tokenizer = try Self.small(folder)
    #expect(tokenizer.decode([2, 4, 5, 6, 8, 7, 9, 3, 999], skipSpecialTokens: true) == "unaffable, hello!")
    #expect(tokenizer.decode([2, 7, 3], skipSpecialTokens: false) == "[CLS] hello [SEP]")
  }

  @Test(arguments: [
    "", "{", "{}", #"{"model":{"type":"BPE","vocab":{},"merges":[]}}"#, #"{"model":{"type":"WordPiece","vocab":{"a":"b"}}}"#,
    #"{"model":{"type":"WordPiece","vocab":{"a":0}},"pre_tokenizer":{"type":"BertPreTokenizer"}}"#,
    #"{"model":{"type":"WordPiece","vocab":{"[UNK]":2147483647}},"pre_tokenizer":{"type":"BertPreTokenizer"}}"#, "[[[[",
    "\"\\ud800\"",
  ]) func unusableFilesAreRefused(_ text: String) throws {
    let folder = TemporaryDirectory("wordpiece")
    let path = folder.file("t.json")
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: PlatformError.self) { try WordPieceTokenizer(tokenizerJSON: path) }
    #expect(throws: PlatformError.self) { try BytePairTokenizer(path: path) }
  }

  @Test(.enabled(if: MiniLM.path != nil, "no peer environment, or no encoder")) func idsEqualThoseOfThePeer() throws {
    let path = try #require(MiniLM.path)
    let tokenizer = try WordPieceTokenizer(tokenizerJSON: path)
    let texts = nastyTexts + RealTexts.documentation(limit: 80)
    let folder = TemporaryDirectory("peer-texts")
    try writeTexts(texts, to: folder.file("texts.json"))
    let script = """
      import json, sys
      from tokenizers import Tokenizer
      t = Tokenizer.from_file(sys.argv[1]); t.no_truncation(); t.no_padding()
      texts = json.load(open(sys.argv[2]))
      ids = [t.encode(x).ids for x in texts]
      plain = [t.decode(x, skip_special_tokens=True) for x in ids]
      json.dump([ids, plain], open(sys.argv[3], 'w'))
      """
    _ = try Peers.run(script, [path, folder.file("texts.json"), folder.file("out.json")])
    let out = try ByteJSON.read(folder.file("out.json"))
    let ids = try #require(out.items?[0].items).map { $0.items!.compactMap(\.id) }
    let plain = try #require(out.items?[1].items).map { $0.text! }
    #expect(ids.count == texts.count)
    var total = 0
    for (index, text) in texts.enumerated() {
      let own = tokenizer.encode(text)
      total += own.count
      #expect(own == ids[index], "text \(index): \(text.prefix(80))")
      if own == ids[index] { #expect(tokenizer.decode(own, skipSpecialTokens: true) == plain[index]) }
    }
    #expect(total > 100_000)
    #expect(tokenizer.vocabularySize == 30522)
  }

  @Test(.enabled(if: MiniLM.path != nil, "no peer environment, or no encoder")) func everyScalarIsNormalisedLikeThePeer() throws {
    let path = try #require(MiniLM.path)
    let tokenizer = try WordPieceTokenizer(tokenizerJSON: path)
    let script = """
      import json, sys
      from tokenizers import Tokenizer
      t = Tokenizer.from_file(sys.argv[1]); t.no_truncation(); t.no_padding()
      out = []
      for c in list(range(0x3400)) + list(range(0xA000, 0xD800)) + list(range(0xE000, 0x20000)):
        if 0xd800 <= c < 0xe000: continue
        out.append(t.encode('a' + chr(c) + 'b ' + chr(c), add_special_tokens=False).ids)
      json.dump(out, open(sys.argv[2], 'w'))
      """
    let folder = TemporaryDirectory("peer-scalars")
    _ = try Peers.run(script, [path, folder.file("out.json")])
    let expected = try #require(try ByteJSON.read(folder.file("out.json")).items).map { $0.items!.compactMap(\.id) }
    let ranges: [Range<UInt32>] = [0..<0x3400, 0xA000..<0xD800, 0xE000..<0x20000]
    var index = 0
    var wrong: [String] = []
    for value in ranges.joined() {
      let character = String(Character(try #require(Unicode.Scalar(value))))
      let own = tokenizer.encode("a" + character + "b " + character, addSpecialTokens: false)
      if own != expected[index] { wrong.append(String(value, radix: 16)) }
      index += 1
    }
    #expect(index == expected.count)
    #expect(wrong.isEmpty, "\(wrong.prefix(20)) of \(wrong.count)")
  }
}
