// SPDX-License-Identifier: Apache-2.0

import Core

/// A vocabulary as GGUF files hold it (`tokenizer.ggml.*`), brought to the steps of a `tokenizer.json`.
public struct StoredVocabulary: Sendable {
  /// `gpt2` (byte-level BPE) or `llama` (SentencePiece's BPE).
  public var model: String
  /// `tokenizer.ggml.pre`: how a `gpt2` vocabulary cuts text into words.
  public var split: String?
  public var tokens: [String]
  /// 1 normal, 2 unknown, 3 control, 4 defined by the user, 5 unused, 6 a byte.
  public var types: [Int]
  /// Of a `llama` vocabulary: what merges go by.
  public var scores: [Double]
  /// Of a `gpt2` vocabulary: two tokens with a space between, first merges first.
  public var merges: [String]
  public var special: SpecialTokens
  /// nil: as the kind has it.
  public var addsBeginning: Bool?
  public var addsEnd: Bool?
  public var addsSpace: Bool?

  public init(
    model: String, split: String?, tokens: [String], types: [Int] = [], scores: [Double] = [], merges: [String] = [],
    special: SpecialTokens = SpecialTokens(), addsBeginning: Bool? = nil, addsEnd: Bool? = nil, addsSpace: Bool? = nil
  ) {
    self.model = model
    self.split = split
    self.tokens = tokens
    self.types = types
    self.scores = scores
    self.merges = merges
    self.special = special
    self.addsBeginning = addsBeginning
    self.addsEnd = addsEnd
    self.addsSpace = addsSpace
  }

  /// - Parameter path: of the file, for errors.
  /// - Throws: `invalidFile` PLT-5212 for a kind that is not built, PLT-3301 for a vocabulary that cannot be used.
  public func tokenizer(path: String) throws -> any Tokenizer {
    guard types.isEmpty || types.count == tokens.count, scores.isEmpty || scores.count == tokens.count else {
      throw refusal("\(tokens.count) tokens have \(types.count) types and \(scores.count) scores", path)
    }
    var names: [String: String] = [:]
    for (name, id) in [("bos_token", special.beginning), ("eos_token", special.end), ("pad_token", special.padding), ("unk_token", special.unknown)] {
      guard let id else { continue }
      guard tokens.indices.contains(Int(id)) else { throw refusal("\(name) \(id) is outside the \(tokens.count) tokens", path) }
      names[name] = tokens[Int(id)]
    }
    switch model {
    case "gpt2":
      let json = try byteLevel(path)
      // What the faster way does not know, the other does or refuses by name.
      return try (try? BytePairTokenizer(json, names: names, path: path)) ?? PipelineTokenizer(json, names: names, path: path)
    case "llama": return try PipelineTokenizer(sentencePiece(path), names: names, path: path)
    default: throw refusal("the tokenizer kind '\(model)' is not built", path, hint: "Known are gpt2 and llama. Bring the model's tokenizer.json.")
    }
  }

  private func refusal(_ what: String, _ path: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidFile, what, hint: hint, number: "PLT-5212", path: path)
  }

  // MARK: gpt2

  private static let plainSplit: Set = [
    "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "roberta-bpe", "mpt", "olmo",
    "jais", "trillion", "granite-docling",
  ]
  private static let digitSplit: Set = ["starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b"]
  /// GPT-4's expression, with up to 3 or 1 digits together.
  private static let markedSplit = [
    "llama3": 3, "llama-v3": 3, "llama-bpe": 3, "falcon3": 3, "falcon-h1": 3, "pixtral": 3, "midm-2.0": 3, "lfm2": 3, "dbrx": 3, "smaug-bpe": 3,
    "chatglm-bpe": 3, "glm4": 3, "qwen2": 1, "deepseek-r1-qwen": 1, "stablelm2": 1, "kormo": 1, "megrez": 1, "hunyuan": 1, "solar-open": 1,
  ]
  private static let letters = (
    upper: #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"#,
    lower: #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"#, rest: #" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  )

  private func byteLevel(_ path: String) throws -> ByteJSON {
    let vocabulary = tokens.enumerated().map { (key: Array($1.utf8), value: ByteJSON.number(Double($0))) }
    let kind = split ?? "gpt-2"
    func bytes(_ addsSpace: Bool, _ splits: Bool) -> ByteJSON {
      [("type", "ByteLevel"), ("add_prefix_space", .bool(addsSpace)), ("trim_offsets", .bool(true)), ("use_regex", .bool(splits))]
    }
    let byteLevel = bytes(addsSpace ?? false, true)
    let bare = bytes(false, false)
    func expression(_ text: String) -> ByteJSON {
      let split: ByteJSON = [("type", "Split"), ("pattern", [("Regex", .text(text))]), ("behavior", "Isolated"), ("invert", .bool(false))]
      return [("type", "Sequence"), ("pretokenizers", .array([split, bare]))]
    }
    let steps: ByteJSON
    if Self.plainSplit.contains(kind) {
      steps = byteLevel
    } else if Self.digitSplit.contains(kind) {
      steps = [("type", "Sequence"), ("pretokenizers", .array([[("type", "Digits"), ("individual_digits", .bool(true))], byteLevel]))]
    } else if let digits = Self.markedSplit[kind] {
      steps = expression(WordSplit.marked(digits: digits).expression)
    } else if kind == "tekken" {
      steps = expression([Self.letters.upper, Self.letters.lower, #"\p{N}"#, Self.letters.rest].joined(separator: "|"))
    } else if kind == "gpt-4o" || kind == "llama4" {
      let contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
      steps = expression([Self.letters.upper + contraction, Self.letters.lower + contraction, #"\p{N}{1,3}"#, Self.letters.rest].joined(separator: "|"))
    } else {
      throw refusal("the split '\(kind)' of the vocabulary is not built", path, hint: "Bring the model's tokenizer.json.")
    }
    let pairs = try merges.enumerated().map { index, merge -> ByteJSON in
      // A token may begin with a space in no byte-level spelling, so the first one separates.
      guard let space = merge.utf8.dropFirst().firstIndex(of: 0x20) else { throw refusal("merge \(index) is '\(merge)', not two tokens", path) }
      return .array([.text(String(merge[..<space])), .text(String(merge[merge.utf8.index(after: space)...]))])
    }
    let known = ["llama-bpe", "llama3", "llama-v3", "tekken", "gpt-4o", "llama4", "pixtral", "falcon3"]
    return [
      ("added_tokens", added(normalized: false)), ("normalizer", .null), ("pre_tokenizer", steps),
      ("post_processor", template(beginning: addsBeginning ?? Self.beginsByItself.contains(kind), end: addsEnd ?? false) ?? byteLevel), ("decoder", byteLevel),
      (
        "model",
        [
          ("type", "BPE"), ("dropout", .null), ("unk_token", .null), ("continuing_subword_prefix", .null), ("end_of_word_suffix", .null),
          ("fuse_unk", .bool(false)), ("byte_fallback", .bool(false)), ("ignore_merges", .bool(known.contains(kind))), ("vocab", .object(vocabulary)),
          ("merges", .array(pairs)),
        ]
      ),
    ]
  }

  /// Splits whose models put the beginning in front when the file does not say.
  private static let beginsByItself: Set = ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken"]

  // MARK: llama

  /// SentencePiece takes the merge with the best score of what it makes; as a list of merges that is: all cuts of all pieces in two
  /// pieces, the best piece first (`SentencePieceExtractor` of transformers).
  private func sentencePiece(_ path: String) throws -> ByteJSON {
    guard scores.count == tokens.count else { throw refusal("its tokens have no scores", path) }
    let vocabulary = tokens.enumerated().map { (key: Array($1.utf8), value: ByteJSON.number(Double($0))) }
    var places: [[UInt8]: Int] = [:]
    for (id, token) in tokens.enumerated() where type(id) == 1 { places[Array(token.utf8)] = id }
    var merges: [(id: Int, left: Int, right: Int)] = []
    for (id, token) in tokens.enumerated() where type(id) == 1 {
      let bytes = Array(token.utf8)
      for cut in bytes.indices.dropFirst() where bytes[cut] & 0xC0 != 0x80 {
        if let left = places[Array(bytes[..<cut])], let right = places[Array(bytes[cut...])] { merges.append((id, left, right)) }
      }
    }
    merges.sort { (scores[$1.id], $0.id, $0.left, $0.right) < (scores[$0.id], $1.id, $1.left, $1.right) }
    let unknown = special.unknown.map { Int($0) } ?? tokens.indices.first { type($0) == 2 }
    let mark = "\u{2581}"
    let replace: (String, String) -> ByteJSON = { [("type", "Replace"), ("pattern", [("String", .text($0))]), ("content", .text($1))] }
    let space = addsSpace ?? true
    let prepend: [ByteJSON] = space ? [[("type", "Prepend"), ("prepend", .text(mark))]] : []
    let strip: [ByteJSON] = space ? [[("type", "Strip"), ("content", " "), ("start", .number(1)), ("stop", .number(0))]] : []
    return [
      ("added_tokens", added(normalized: false)), ("normalizer", [("type", "Sequence"), ("normalizers", .array(prepend + [replace(" ", mark)]))]),
      ("pre_tokenizer", .null), ("post_processor", template(beginning: addsBeginning ?? true, end: addsEnd ?? false) ?? .null),
      (
        "decoder",
        [
          ("type", "Sequence"),
          ("decoders", .array([replace(mark, " "), [("type", "ByteFallback")], [("type", "Fuse")]] + strip)),
        ]
      ),
      (
        "model",
        [
          ("type", "BPE"), ("dropout", .null), ("unk_token", unknown.map { .text(tokens[$0]) } ?? .null), ("continuing_subword_prefix", .null),
          ("end_of_word_suffix", .null), ("fuse_unk", .bool(true)), ("byte_fallback", .bool(true)), ("ignore_merges", .bool(false)),
          ("vocab", .object(vocabulary)), ("merges", .array(merges.map { .array([.text(tokens[$0.left]), .text(tokens[$0.right])]) })),
        ]
      ),
    ]
  }

  // MARK: Both

  private func type(_ id: Int) -> Int { types.isEmpty ? 1 : types[id] }

  private func added(normalized: Bool) -> ByteJSON {
    .array(
      tokens.indices.filter { [2, 3, 4].contains(type($0)) && !tokens[$0].isEmpty }.map { id in
        [
          ("id", .number(Double(id))), ("content", .text(tokens[id])), ("single_word", .bool(false)), ("lstrip", .bool(false)), ("rstrip", .bool(false)),
          ("normalized", .bool(normalized)), ("special", .bool(type(id) != 4)),
        ]
      })
  }

  /// What is put around a text; nil for nothing.
  private func template(beginning: Bool, end: Bool) -> ByteJSON? {
    let before = beginning ? special.beginning.map { [$0] } ?? [] : []
    let after = end ? special.end.map { [$0] } ?? [] : []
    guard !(before + after).isEmpty else { return nil }
    func piece(_ id: Int32) -> ByteJSON { [("SpecialToken", [("id", .text(tokens[Int(id)])), ("type_id", .number(0))])] }
    let text: ByteJSON = [("Sequence", [("id", "A"), ("type_id", .number(0))])]
    let table = Set(before + after).sorted().map { id -> (key: [UInt8], value: ByteJSON) in
      (Array(tokens[Int(id)].utf8), [("id", .text(tokens[Int(id)])), ("ids", .array([.number(Double(id))])), ("tokens", .array([.text(tokens[Int(id)])]))])
    }
    return [("type", "TemplateProcessing"), ("single", .array(before.map(piece) + [text] + after.map(piece))), ("special_tokens", .object(table))]
  }
}

extension ByteJSON: ExpressibleByArrayLiteral, ExpressibleByStringLiteral {
  /// Members of an object, in order.
  init(arrayLiteral members: (String, ByteJSON)...) { self = .object(members.map { (Array($0.0.utf8), $0.1) }) }
  init(stringLiteral text: String) { self = .text(text) }
  static func text(_ text: String) -> ByteJSON { .string(Array(text.utf8)) }
}
