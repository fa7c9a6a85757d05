// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

extension BytePairTokenizer {
  /// Opens a model directory that has a `tokenizer.json`, or such a file itself.
  /// - Throws: `notFound`; `invalidFile` naming the part that is not byte-level BPE.
  public convenience init(path: String) throws {
    let place = TokenizerFile.place(path)
    try self.init(ByteJSON.read(place.file), folder: place.folder, path: place.file)
  }

  /// - Parameters:
  ///   - folder: has the files that name special tokens.
  ///   - filePath: of the file that `file` was read from, for errors.
  convenience init(_ file: ByteJSON, folder: String, path filePath: String) throws {
    try self.init(file, names: SpecialNames.read(folder), path: filePath)
  }

  /// - Parameter names: of special tokens, as `tokenizer_config.json` has them.
  convenience init(_ file: ByteJSON, names: [String: String], path filePath: String) throws {
    func refuse(_ what: String) -> PlatformError {
      .unusableTokenizer(what, path: filePath)
    }
    guard let model = file["model"], model["type"]?.text == "BPE", let vocabulary = model["vocab"]?.members,
      let mergeItems = model["merges"]?.items
    else { throw refuse("expected a model of type BPE") }
    var composes = false
    switch file["normalizer"].flatMap({ $0.isNull ? nil : $0["type"]?.text ?? "" }) {
    case nil: break
    case "NFC": composes = true
    case let other?: throw refuse("the normalizer \(other) is not supported for byte-level BPE")
    }
    guard model["dropout"]?.isNothing ?? true else { throw refuse("its merges are left out by chance (dropout)") }
    guard !(model["byte_fallback"]?.flag ?? false) else { throw refuse("byte_fallback is not byte-level BPE") }

    var addPrefixSpace = false
    var splitDigits = false
    var split: WordSplit?
    var isByteLevel = false
    func readStep(_ step: ByteJSON) throws {
      switch step["type"]?.text {
      case "ByteLevel":
        addPrefixSpace = step["add_prefix_space"]?.flag ?? true
        isByteLevel = true
        if step["use_regex"]?.flag ?? true {
          guard split == nil else { throw refuse("two ways to split are not supported") }
          split = .plain
        } else if addPrefixSpace {
          throw refuse("ByteLevel with add_prefix_space behind another split is not supported")
        }
      case "Split":
        guard let expression = step["pattern"]?["Regex"]?.text, let known = WordSplit(expression: expression) else {
          throw refuse("the split \(step["pattern"]?["Regex"]?.text ?? "by a text") is not supported")
        }
        guard split == nil, step["behavior"]?.text == "Isolated", !(step["invert"]?.flag ?? false) else {
          throw refuse("a split is supported once, with behavior Isolated, not inverted")
        }
        split = known
      case "Digits":
        guard step["individual_digits"]?.flag == true else {
          throw refuse("Digits that keeps runs together is not supported")
        }
        splitDigits = true
      case "Sequence": for part in step["pretokenizers"]?.items ?? [] { try readStep(part) }
      case let other: throw refuse("pre_tokenizer \(other ?? "null") is not supported")
      }
    }
    guard let preTokenizer = file["pre_tokenizer"] else { throw refuse("it has no pre_tokenizer") }
    try readStep(preTokenizer)
    guard isByteLevel, let split else { throw refuse("expected a ByteLevel pre_tokenizer and a split") }

    let addedTokens = AddedToken.read(file)
    let addedIDs = Set(addedTokens.map(\.id))
    let largest = vocabulary.compactMap(\.value.id).max() ?? -1
    guard largest >= 0, Int(largest) < vocabulary.count + 1_000_000 else { throw refuse("bad ids in the vocabulary") }
    var entries = [[UInt8]?](repeating: nil, count: Int(largest) + 1)
    for (token, value) in vocabulary {
      guard let id = value.id else { throw refuse("an id in the vocabulary is not a number") }
      if let bytes = ByteAlphabet.unspell(token), !addedIDs.contains(id) { entries[Int(id)] = bytes }
    }
    let merges = try mergeItems.enumerated().map { rank, item -> Merge in
      let sides: [[UInt8]]
      if let pair = item.items {
        sides = pair.compactMap(\.bytes)
      } else {
        sides = (item.bytes ?? []).split(separator: 0x20, omittingEmptySubsequences: false).map(Array.init)
      }
      guard sides.count == 2, let left = ByteAlphabet.unspell(sides[0]), let right = ByteAlphabet.unspell(sides[1]) else {
        throw refuse("merge \(rank) is not a pair")
      }
      return Merge(left: left, right: right)
    }
    guard let template = TemplatePieces(file["post_processor"]) else { throw refuse("its post_processor is not supported") }
    func find(_ name: String) -> Int32? {
      guard let spelling = names[name] else { return nil }
      return addedTokens.first { $0.content == Array(spelling.utf8) }?.id
        ?? vocabulary.first { $0.key == Array(spelling.utf8) }?.value.id
    }
    try self.init(
      entries: entries, merges: merges, addedTokens: addedTokens,
      special: SpecialTokens(
        beginning: find("bos_token"), end: find("eos_token"), padding: find("pad_token"), unknown: find("unk_token")),
      template: template, addPrefixSpace: addPrefixSpace, ignoreMerges: model["ignore_merges"]?.flag ?? false,
      splitDigits: splitDigits, split: split, composes: composes)
  }

  /// Writes the three files that `AutoTokenizer.from_pretrained` opens. Existing files are replaced.
  /// - Parameter maximumLength: `model_max_length`, the context that the model was made for.
  public func write(to directory: String, maximumLength: Int = 1_000_000) throws {
    var names: [String: String] = [:]
    for (name, id) in [("bos_token", bosID), ("eos_token", eosID), ("pad_token", padID), ("unk_token", unkID)] { names[name] = id.flatMap { token($0) } }
    try TokenizerFolder.write(
      tokenizerFile(), names: names, maximumLength: maximumLength, settings: ["add_prefix_space": .bool(addPrefixSpace)], to: directory)
  }

  /// The bytes of `tokenizer.json`: the same tokenizer always gives the same bytes.
  func tokenizerFile() -> [UInt8] {
    var out: [UInt8] = []
    func put(_ text: String) { out.append(contentsOf: Array(text.utf8)) }
    func string(_ bytes: some Sequence<UInt8>) { ByteJSON.appendString(bytes, to: &out) }
    put(#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":["#)
    for (index, token) in addedTokens.enumerated() {
      put(index == 0 ? "{\"id\":\(token.id),\"content\":" : ",{\"id\":\(token.id),\"content\":")
      string(token.content)
      put(
        ",\"single_word\":\(token.singleWord),\"lstrip\":\(token.leftStrip),\"rstrip\":\(token.rightStrip),\"normalized\":\(token.normalized),\"special\":\(token.special)}"
      )
    }
    let byteLevel =
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":\(addPrefixSpace),\"trim_offsets\":true,\"use_regex\":true}"
    let digits = #"{"type":"Digits","individual_digits":true}"#
    put("],\"normalizer\":\(composes ? #"{"type":"NFC"}"# : "null"),\"pre_tokenizer\":")
    var steps = splitsDigits ? [digits] : []
    if split == .plain {
      steps.append(byteLevel)
    } else {
      steps.append("{\"type\":\"Split\",\"pattern\":{\"Regex\":\(JSONValue.string(split.expression).sortedText)},\"behavior\":\"Isolated\",\"invert\":false}")
      steps.append(#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}"#)
    }
    put(steps.count == 1 ? steps[0] : "{\"type\":\"Sequence\",\"pretokenizers\":[\(steps.joined(separator: ","))]}")
    put(",\"post_processor\":")
    putTemplate(&out, byteLevel)
    put(
      ",\"decoder\":\(byteLevel),\"model\":{\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"continuing_subword_prefix\":null,"
    )
    put(
      "\"end_of_word_suffix\":null,\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":\(ignoresMerges),\"vocab\":{"
    )
    var first = true
    let addedByID = Dictionary(addedTokens.map { ($0.id, $0.content) }, uniquingKeysWith: { $1 })
    for id in 0..<vocabularySize {
      let spelling =
        addedByID[Int32(id)] ?? (id < entryBytes.count ? entryBytes[id].map { Array(ByteAlphabet.spell($0).utf8) } : nil)
      guard let spelling else { continue }
      if !first { put(",") }
      first = false
      string(spelling)
      put(":\(id)")
    }
    put("},\"merges\":[")
    for (rank, merge) in merges.enumerated() {
      put(rank == 0 ? "[" : ",[")
      string(ByteAlphabet.spell(merge.left).utf8)
      put(",")
      string(ByteAlphabet.spell(merge.right).utf8)
      put("]")
    }
    put("]}}")
    return out
  }

  private func putTemplate(_ out: inout [UInt8], _ byteLevel: String) {
    guard !templatePrefix.isEmpty || !templateSuffix.isEmpty else { return out.append(contentsOf: Array(byteLevel.utf8)) }
    func spelled(_ id: Int32) -> JSONValue { .string(token(id) ?? "") }
    func piece(_ id: Int32) -> JSONValue { ["SpecialToken": ["id": spelled(id), "type_id": 0]] }
    func text(_ name: JSONValue) -> JSONValue { ["Sequence": ["id": name, "type_id": 0]] }
    let (before, after) = (templatePrefix.map(piece), templateSuffix.map(piece))
    var tokens: [String: JSONValue] = [:]
    for id in templatePrefix + templateSuffix {
      tokens[token(id) ?? ""] = ["id": spelled(id), "ids": [.integer(Int64(id))], "tokens": [spelled(id)]]
    }
    let template: JSONValue = [
      "type": "TemplateProcessing", "single": .array(before + [text("A")] + after),
      "pair": .array(before + [text("A")] + after + before + [text("B")] + after), "special_tokens": .object(tokens),
    ]
    out.append(contentsOf: Array(template.sortedText.utf8))
  }
}
