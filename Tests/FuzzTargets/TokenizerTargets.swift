// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

@testable import Tokenizers

extension FuzzTarget {
  private static let texts = [
    "", "the  cat's 12 hats\n", " leading ▁marked▁", "Grüße 日本語 🙂 ﬁ①", "don't</s><s> x<mask>y", "\u{0}\u{7F}\t", "a\u{301}e\u{323}\u{307} İ ΣΑΣ",
    String(repeating: "ab", count: 40),
  ]

  /// Puts texts through a tokenizer that was read from damaged bytes.
  static func use(_ tokenizer: any Tokenizer) throws {
    for text in texts {
      let ids = tokenizer.encode(text)
      _ = tokenizer.decode(ids, skipSpecialTokens: true)
      var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: false)
      // In parts it is the same text but for bytes that are no UTF-8, which damaged vocabularies have.
      _ = ids.map { decoder.push($0) } + [decoder.finish()]
      for id in ids.prefix(20) { _ = (tokenizer.token(id), tokenizer.bytes(id), tokenizer.isSpecial(id)) }
    }
    for id in [Int32.min, -1, 0, Int32(clamping: tokenizer.vocabularySize), .max] { _ = (tokenizer.token(id), tokenizer.bytes(id)) }
    _ = tokenizer.encode(texts[1], maximumLength: 3)
    _ = tokenizer.id("the")
  }

  /// The letters of GPT-2's alphabet of bytes.
  static let byteLetters = (0..<256).map { ByteAlphabet.spell([UInt8($0)]) }

  static let tokenizer = FuzzTarget(
    name: "tokenizer",
    samples: {
      func list(_ tokens: [String]) -> String {
        JSONValue.object(Dictionary(uniqueKeysWithValues: tokens.enumerated().map { ($1, .integer(Int64($0))) })).sortedText
      }
      let special = #"{"id":0,"content":"<s>","special":true},{"id":1,"content":"</s>","special":true,"lstrip":true}"#
      let template =
        #""post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[0],"tokens":["<s>"]}}}"#
      let bytes = list(["<s>", "</s>"] + byteLetters + ["th", "the"])
      let parts = list(["a", "##b", "ab", "##a</w>", "cat"])
      let words = list(["<s>", "</s>", "[UNK]", "the", "##e", "t", "##h"])
      return [
        // Llama 2's way, Metaspace, a unigram model, words, WordPiece, GPT-2's and GPT-4's.
        #"{"added_tokens":[\#(special)],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]},"pre_tokenizer":null,\#(template),"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]},"model":{"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,"vocab":\#(list(["<s>", "</s>", "<unk>", "<0x0A>", "<0xE6>", "▁", "t", "h", "e", "th", "the", "▁the"])),"merges":["t h","th e",["▁","the"]]}}"#,
        #"{"added_tokens":[{"id":4,"content":"cat","normalized":true,"single_word":true}],"normalizer":{"type":"NFKC"},"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first"},"model":{"type":"BPE","continuing_subword_prefix":"\u0023\u0023","end_of_word_suffix":"</w>","vocab":\#(parts),"merges":["a \u0023\u0023b"]}}"#,
        #"{"normalizer":{"type":"Precompiled","precompiled_charsmap":"\#(base64(characterMap))"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"WhitespaceSplit"},{"type":"Metaspace"}]},"decoder":{"type":"Metaspace"},"model":{"type":"Unigram","unk_id":0,"byte_fallback":false,"vocab":[["<unk>",0.0],["▁",-2.5],["a",-3],["b",-3.5],["ab",-2],["the",-1e1],["▁the",-1]]}}"#,
        #"{"normalizer":{"type":"Sequence","normalizers":[{"type":"Nmt"},{"type":"StripAccents"},{"type":"Lowercase"},{"type":"Strip"},{"type":"NFD"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Whitespace"},{"type":"Digits","individual_digits":true},{"type":"Punctuation","behavior":"MergedWithNext"},{"type":"CharDelimiterSplit","delimiter":"-"}]},"decoder":{"type":"BPEDecoder","suffix":"</w>"},"model":{"type":"WordLevel","unk_token":"x","vocab":{"the":0,"x":1}}}"#,
        #"{"added_tokens":[\#(special)],"normalizer":{"type":"BertNormalizer","lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"post_processor":{"type":"BertProcessing","sep":["</s>",1],"cls":["<s>",0]},"decoder":{"type":"WordPiece","prefix":"\u0023\u0023","cleanup":true},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"\u0023\u0023","max_input_chars_per_word":20,"vocab":\#(words)}}"#,
        #"{"added_tokens":[\#(special)],"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":true},"post_processor":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","vocab":\#(bytes),"merges":["t h","th e"]}}"#,
        #"{"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t)|\\p{N}{1,3}|\\s+(?!\\S)|\\s+|[^\\s\\p{N}]+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE","ignore_merges":true,"vocab":\#(bytes),"merges":["t h"]}}"#,
      ].map { Array($0.utf8) }
    },
    words: [
      "\"type\":", "\"Regex\":", "\"String\":", "Sequence", "Replace", "Precompiled", "ByteLevel", "Unigram", "WordPiece", "Metaspace", "\"content\":\"", "-1",
      "2147483648", "1e999", "null", "true", "\\u0000", "\\ud83d\\ude42", "(a+)+$", "(?=", "\\\\p{L}", "{0,99}", "\"id\":0", "Contiguous",
    ]
  ) { bytes in
    let json = try ByteJSON.parse(bytes)
    // The ways for two common kinds refuse what they do not know.
    if let fast = try? WordPieceTokenizer(json, path: "fuzzed") { try use(fast) }
    if let fast = try? BytePairTokenizer(json, names: ["bos_token": "<s>"], path: "fuzzed") { try use(fast) }
    try use(PipelineTokenizer(json, names: ["bos_token": "<s>", "pad_token": "the"], path: "fuzzed"))
  }

  /// Turns an A into `xy`: a double array of 256 units.
  private static let characterMap: [UInt8] = {
    var units = [UInt32](repeating: 0, count: 256)
    units[0x41] = 0x81 << 10 | 1 << 8 | 0x41
    units[0xC0] = 1 << 31
    var sample = SampleBytes()
    sample.put(UInt32(units.count * 4))
    for unit in units { sample.put(unit) }
    return sample.bytes + Array("xy\0".utf8)
  }()

  private static func base64(_ bytes: [UInt8]) -> String {
    let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    var out = ""
    for start in stride(from: 0, to: bytes.count, by: 3) {
      let three = (0..<3).map { start + $0 < bytes.count ? Int(bytes[start + $0]) : 0 }
      let whole = three[0] << 16 | three[1] << 8 | three[2]
      for place in 0..<4 { out.append(start + place <= bytes.count ? letters[whole >> (18 - 6 * place) & 63] : "=") }
    }
    return out
  }

  static let sentencepiece = FuzzTarget(
    name: "sentencepiece", samples: { (1...2).flatMap { kind in [false, true].map { sampleModel(kind: kind, isFull: $0) } } },
    words: ["▁", "<unk>", "<0x41>"]
  ) { bytes in
    try use(SentencePieceTokenizer(SentencePieceFile(bytes), folder: "/nowhere"))
  }

  private static func sampleModel(kind: UInt8, isFull: Bool) -> [UInt8] {
    func field(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] {
      var length: [UInt8] = []
      var count = bytes.count
      while count > 127 {
        length.append(UInt8(count & 127) | 128)
        count >>= 7
      }
      return [number << 3 | 2] + length + [UInt8(count)] + bytes
    }
    func piece(_ text: String, _ score: Float, _ kind: UInt8) -> [UInt8] {
      var sample = SampleBytes(bytes: field(1, Array(text.utf8)) + [2 << 3 | 5])
      sample.put(score.bitPattern)
      return field(1, sample.bytes + [3 << 3, kind])
    }
    var pieces = [piece("<unk>", 0, 2), piece("<s>", 0, 3), piece("</s>", 0, 3), piece("<sep>", 0, 4), piece(" x", 0, 4)]
    pieces += ["▁", "t", "h", "e", "th", "the", "▁the", "a", "b", "ab", "日"].enumerated().map { piece($1, -Float($0) - 1, 1) }
    pieces.append(piece("abab", -0.5, 5))
    if isFull { pieces += (0..<256).map { piece(String(decoding: ByteTokens.spelling(UInt8($0)), as: UTF8.self), 0, 6) } }
    // Fields beyond the fifteenth take two bytes.
    let bytesAndIDs: [UInt8] = [0x98, 0x02, isFull ? 1 : 0, 0xC0, 0x02, 0]
    let trainer = field(2, [3 << 3, kind] + bytesAndIDs)
    let normalizer = field(3, (isFull ? [] : field(2, characterMap)) + [3 << 3, 1, 4 << 3, isFull ? 0 : 1, 5 << 3, 1])
    return pieces.flatMap { $0 } + trainer + normalizer
  }

  private static let context = Array(
    #"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Grüße\n 日本 <b>"},{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":[1,2.5,true,null]}}}]},{"role":"tool","content":[{"type":"text","text":"ok"}]}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"x":{"type":"array"}}}}}],"add_generation_prompt":true,"bos_token":"<s>","eos_token":"</s>","n":7,"x":2.5,"s":"Hello, World","l":[3,1,2],"d":{"b":1,"a":[1,2]}}"#
      .utf8)

  static let template = FuzzTarget(
    name: "template",
    samples: {
      [
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + (message.content or '') | trim + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0].content %}{%- set rest = messages[1:] -%}{%- else %}{% set rest = messages %}{%- endif %}{{ bos_token }}{% for m in rest if m.role != 'tool' %}{% if loop.index0 % 2 == 0 and not loop.last %}[INST] {{ m.content | default('') | upper }} [/INST]{% elif m.tool_calls is defined %}{% for call in m.tool_calls %}{{ call.function | tojson(indent=2) }}{% endfor %}{% else %}{{ raise_exception('no') if false else m['content'] ~ eos_token }}{% endif %}{% endfor %}",
        "{% macro f(a, b=2) %}{{ a * b }}{{ caller() if caller else '' }}{% endmacro %}{{ f(3) }}{{ f('x', b=n) }}{% call f(1) %}c{% endcall %}{% set ns = namespace(k=0) %}{% for i in range(4) %}{% set ns.k = ns.k + i %}{% if i == 2 %}{% continue %}{% endif %}{% endfor %}{{ ns.k }}",
        "{{ s[1:4] }}{{ s[::-1] }}{{ l | sort(reverse=true) | join('-') }}{{ d.items() | list }}{{ '%s is %d' % (s, n) }}{{ '{} {0}'.format(1) }}{{ 'a,b'.split(',') }}{{ x // 2 ** 3 % 5 }}{{ [1, (2,), {'k': none}] }}{{ l | map('string') | list }}{{ s.replace('l', 'L', 1) }}",
        "{% generation %}{{ strftime_now('%d %b %Y') }}{% endgeneration %}{% filter upper %}a{{ s | truncate(5) }}{% endfilter %}{# note #}{% raw %}{{ x }}{% endraw %}{{ l | groupby('x') if false }}{{ d | dictsort | tojson }}{{ s | wordcount }}{{ 'a\\nb' | indent(2, true) }}{{ 'x'.center(9, '*') }}{{ '5'.zfill(4) }}",
      ].map { Array($0.utf8) }
    },
    words: [
      "{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "endfor", "endif", "else", "elif ", "set ", "macro f(", "endmacro", "call ", "namespace(", "range(",
      "loop.", "| tojson", "| map('", "| batch(3)", "| slice(2)", "| round(2)", "| int(base=16)", "* 99999999", "** 64", "// 0", "% 0", "9223372036854775807",
      "-1", "[::-1]", "[-5:", "'%99999999d' % ", ".format(", "{:>9}", ".center(99999999)", ".join(", "is defined", "is divisibleby(0)", "not in ", "\\x", "\\u",
      "e308", "| urlencode", "| wordwrap(0)", "| unique", "| sum", "| random", ".index(", ".split('')", "recursive", "loop(l)", "f(f)", "| attr('x')",
    ]
  ) { bytes in
    _ = try ChatTemplate(String(decoding: bytes, as: UTF8.self)).render(contextJSON: context, now: .init(timeIntervalSince1970: 1_700_000_000))
  }
}
