// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A tokenizer of SentencePiece's own file, with the ids and texts of `sentencepiece` (Kudo and Richardson, 2018).
///
/// In a folder of Hugging Face, `tokenizer_config.json` and `added_tokens.json` say which tokens are recognised in the text and what goes
/// around it; then special tokens are decoded as they are spelled. A file alone has neither: nothing goes around a text, and control symbols
/// decode to nothing.
public final class SentencePieceTokenizer: Tokenizer {
  public let vocabularySize: Int
  public let special: SpecialTokens
  public let templatePrefix: [Int32]
  public let templateSuffix: [Int32]
  public var decodesApart: Bool { false }

  private let file: SentencePieceFile
  private let normalizer: SentencePieceNormalizer
  private let cutter: any SentencePieceCutter
  /// By spelling; of equal ones the first.
  private let idsByText: [[UInt8]: Int32]
  private let byteIDs: [Int32]?
  private let added: AddedTokenMatcher
  private let addedByID: [Int32: AddedToken]
  private let isInFolder: Bool
  /// Whether each text between added tokens begins as a text does.
  private let startsAnew: Bool
  private let cache = Mutex(WordCache())

  /// - Parameter path: of the model file; what a folder says beside it is read, too.
  /// - Throws: `notFound`; `invalidFile` (PLT-3301).
  public convenience init(path: String) throws {
    do {
      try self.init(SentencePieceFile(path: path), folder: (path as NSString).deletingLastPathComponent)
    } catch var error as PlatformError {
      if error.path == nil { error.path = path }
      throw error
    }
  }

  init(_ file: SentencePieceFile, folder: String) throws {
    self.file = file
    normalizer = try SentencePieceNormalizer(file)
    switch file.model {
    case .unigram: cutter = UnigramCutter(file)
    case .bpe: cutter = MergeCutter(file)
    case .word, .char:
      throw PlatformError.unusableTokenizer("its model is one of words or characters", hint: "Unigram and BPE are built.")
    }
    var ids: [[UInt8]: Int32] = [:]
    for (id, piece) in file.pieces.enumerated() where ids[piece.text] == nil { ids[piece.text] = Int32(id) }
    idsByText = ids
    let bytes = file.hasByteFallback ? (0..<256).compactMap { ids[ByteTokens.spelling(UInt8($0))] } : []
    guard !file.hasByteFallback || bytes.count == 256 else { throw PlatformError.unusableTokenizer("it falls back to bytes and has not all of them") }
    byteIDs = file.hasByteFallback ? bytes : nil

    let config = SentencePieceConfig(folder: folder)
    if let other = config?.renumbering {
      throw PlatformError.unusableTokenizer("ids of a \(other) are not those of its SentencePiece file", hint: "Save its tokenizer.json.")
    }
    isInFolder = config != nil
    startsAnew = config?.startsAnew ?? true
    let tokens = config?.addedTokens { ids[$0] } ?? []
    added = AddedTokenMatcher(tokens)
    addedByID = Dictionary(tokens.map { ($0.id, $0) }, uniquingKeysWith: { $1 })
    vocabularySize = max(file.pieces.count, Int(tokens.map(\.id).max() ?? -1) + 1)
    func known(_ id: Int) -> Int32? { file.pieces.indices.contains(id) ? Int32(id) : nil }
    func named(_ name: String) -> Int32? {
      config?.names[name].flatMap { spelling in tokens.first { $0.content == Array(spelling.utf8) }?.id ?? ids[Array(spelling.utf8)] }
    }
    special = SpecialTokens(
      beginning: named("bos_token") ?? known(file.beginningID), end: named("eos_token") ?? known(file.endID),
      padding: named("pad_token") ?? known(file.paddingID), unknown: named("unk_token") ?? Int32(file.unknownID))
    templatePrefix = config?.addsBeginning ?? false ? [special.beginning].compactMap { $0 } : []
    templateSuffix = config?.addsEnd ?? false ? [special.end].compactMap { $0 } : []
  }

  public func append(utf8 bytes: UnsafeBufferPointer<UInt8>, to ids: inout [Int32]) {
    if cache.withLockIfAvailable({ append(bytes, &$0, to: &ids) }) == nil {
      var own = WordCache()  // another thread is encoding: a cache of this call alone
      append(bytes, &own, to: &ids)
    }
  }

  private func append(_ bytes: UnsafeBufferPointer<UInt8>, _ cache: inout WordCache, to ids: inout [Int32]) {
    added.split(bytes) { piece, id in
      if let id { return ids.append(id) }
      let text = normalizer.apply(piece, isStart: startsAnew || piece.baseAddress == bytes.baseAddress)
      text.withUnsafeBufferPointer { text in
        guard !text.isEmpty else { return }
        var wasUnknown = false
        guard cutter.allowsMarkedWords else {
          _ = append(text, &wasUnknown, to: &ids)
          return
        }
        MarkedWords.words(text) { range in
          let word = UnsafeBufferPointer(rebasing: text[range])
          guard let base = word.baseAddress, word.count <= WordCache.longestWord else {
            _ = append(word, &wasUnknown, to: &ids)
            return
          }
          if cache.append(base, word.count, to: &ids) {
            wasUnknown = false
            return
          }
          let first = ids.count
          if append(word, &wasUnknown, to: &ids) { cache.store(base, word.count, ids, from: first) }
        }
      }
    }
  }

  /// - Returns: whether the ids are the text's own whatever is beside it.
  private func append(_ text: UnsafeBufferPointer<UInt8>, _ wasUnknown: inout Bool, to ids: inout [Int32]) -> Bool {
    var isOwn = true
    cutter.cut(text) { range, id in
      let isUnknown = id == nil
      defer { wasUnknown = isUnknown }
      if let id { return ids.append(id) }
      if let byteIDs { return ids.append(contentsOf: range.map { byteIDs[Int(text[$0])] }) }
      // Neighbours that are unknown are one.
      if !wasUnknown { ids.append(Int32(file.unknownID)) }
      isOwn = false
    }
    return isOwn
  }

  private func piece(_ id: Int32) -> SentencePieceFile.Piece? {
    id >= 0 && Int(id) < file.pieces.count ? file.pieces[Int(id)] : nil
  }

  public func token(_ id: Int32) -> String? { (addedByID[id]?.content ?? piece(id)?.text).map { String(decoding: $0, as: UTF8.self) } }

  public func id(_ token: String) -> Int32? {
    let text = Array(token.utf8)
    return addedByID.values.first { $0.content == text }?.id ?? idsByText[text]
  }

  public func isSpecial(_ id: Int32) -> Bool {
    if let token = addedByID[id] { return token.special }
    guard let piece = piece(id) else { return false }
    return piece.kind == .control || piece.kind == .unknown && isInFolder
  }

  /// The text of the id alone; among others it may be another.
  public func bytes(_ id: Int32) -> [UInt8]? { token(id).map { _ in Array(decode([id], skipSpecialTokens: false).utf8) } }

  public func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
    var out: [UInt8] = []
    var run: [UInt8] = []
    var sawSpace = false
    func flush() {
      out += Self.repaired(run)
      run = []
    }
    for id in ids {
      if isSpecial(id), isInFolder {
        guard !skipSpecialTokens else { continue }
        flush()
        out += addedByID[id]?.content ?? piece(id)?.text ?? []
        continue
      }
      if let token = addedByID[id] {
        flush()
        out += token.content
        continue
      }
      guard let piece = piece(id) else { continue }
      if piece.kind == .byte, let byte = ByteTokens.byte(piece.text) {
        run.append(byte)
        continue
      }
      flush()
      switch piece.kind {
      case .control: continue
      case .unknown: out += file.unknownSurface
      default:
        var text = piece.text[...]
        // The space that stands for the begin of the text; with extra spaces removed, all of them.
        if out.isEmpty && !sawSpace && (file.addsSpace || file.removesExtraSpaces), text.starts(with: SentencePieceNormalizer.mark) {
          text = text.dropFirst(SentencePieceNormalizer.mark.count)
          sawSpace = !file.removesExtraSpaces
        }
        out += SplitPattern.text(SentencePieceNormalizer.mark).replacing(Array(text), with: [0x20])
      }
    }
    flush()
    return String(decoding: out, as: UTF8.self)
  }

  /// U+FFFD for each byte that is part of no character.
  private static func repaired(_ bytes: [UInt8]) -> [UInt8] {
    guard !bytes.isEmpty, String(validating: bytes, as: UTF8.self) == nil else { return bytes }
    var out: [UInt8] = []
    var place = 0
    while place < bytes.count {
      let length = (1...4).first { place + $0 <= bytes.count && String(validating: bytes[place..<place + $0], as: UTF8.self) != nil }
      out += length.map { Array(bytes[place..<place + $0]) } ?? Array("\u{FFFD}".utf8)
      place += length ?? 1
    }
    return out
  }
}

/// What a folder of Hugging Face says of its SentencePiece file.
private struct SentencePieceConfig {
  let names: [String: String]
  private let file: ByteJSON
  private let folder: String
  private let kind: String

  init?(folder: String) {
    guard let file = try? ByteJSON.read(folder + "/tokenizer_config.json") else { return nil }  // a SentencePiece file alone
    self.file = file
    self.folder = folder
    names = SpecialNames.read(folder)
    kind = file["tokenizer_class"]?.text.map { $0.hasSuffix("Fast") ? String($0.dropLast(4)) : $0 } ?? ""
  }

  private static let renumbering = [
    "XLMRobertaTokenizer", "CamembertTokenizer", "MBartTokenizer", "MBart50Tokenizer", "NllbTokenizer", "BarthezTokenizer", "PegasusTokenizer",
    "XGLMTokenizer", "M2M100Tokenizer", "DebertaV2Tokenizer",
  ]

  /// The kind, when it counts ids in another way than its file.
  var renumbering: String? { Self.renumbering.contains(kind) ? kind : nil }

  private var isOfLlama: Bool { ["LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer"].contains(kind) }
  var addsBeginning: Bool { file["add_bos_token"]?.flag ?? isOfLlama }
  var addsEnd: Bool { file["add_eos_token"]?.flag ?? (kind == "T5Tokenizer") }
  var startsAnew: Bool { file["legacy"]?.flag ?? true }

  /// - Parameter find: the id of a spelling in the SentencePiece file.
  func addedTokens(_ find: ([UInt8]) -> Int32?) -> [AddedToken] {
    var tokens: [Int32: AddedToken] = [:]
    for name in ["bos_token", "eos_token", "unk_token", "pad_token"] {
      guard let text = names[name].map({ Array($0.utf8) }), !text.isEmpty, let id = find(text) else { continue }
      tokens[id] = AddedToken(id: id, content: text)
    }
    // A missing file has none.
    for (text, value) in (try? ByteJSON.read(folder + "/added_tokens.json"))?.members ?? [] where !text.isEmpty {
      guard let id = value.id else { continue }
      tokens[id] = AddedToken(id: id, content: text, special: false)
    }
    for (key, item) in file["added_tokens_decoder"]?.members ?? [] {
      guard let id = Int32(String(decoding: key, as: UTF8.self)), let content = item["content"]?.bytes, !content.isEmpty else { continue }
      tokens[id] = AddedToken(
        id: id, content: content, singleWord: item["single_word"]?.flag ?? false, leftStrip: item["lstrip"]?.flag ?? false,
        rightStrip: item["rstrip"]?.flag ?? false, special: item["special"]?.flag ?? false)
    }
    return tokens.values.sorted { $0.id < $1.id }
  }
}
