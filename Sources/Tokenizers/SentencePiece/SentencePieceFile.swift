// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a SentencePiece model file (`tokenizer.model`, `spiece.model`) says: a protocol buffer of pieces, and how text was treated when they
/// were learnt. Field numbers are those of SentencePiece's `sentencepiece_model.proto`.
struct SentencePieceFile: Sendable {
  struct Piece: Sendable, Equatable {
    var text: [UInt8]
    /// Log probability, or minus the rank of a merge.
    var score: Float
    var kind: Kind
  }

  enum Kind: Int, Sendable {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  enum Model: Int, Sendable {
    case unigram = 1
    case bpe, word, char
  }

  var pieces: [Piece] = []
  var model = Model.unigram
  /// Where white space goes, of `trainer_spec` and `normalizer_spec`.
  var putsSpaceBehind = false
  var hasByteFallback = false
  var addsSpace = true
  var removesExtraSpaces = true
  var escapesSpaces = true
  var characterMap: [UInt8] = []
  /// Ids; -1: there is none.
  var unknownID = 0
  var beginningID = 1
  var endID = 2
  var paddingID = -1
  /// What unknown text becomes when it is decoded.
  var unknownSurface = Array(" \u{2047} ".utf8)

  /// - Throws: `notFound` for a file that cannot be read; `invalidFile` (PLT-3301) for what is no such file.
  init(path: String) throws {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "the tokenizer's file cannot be read", number: "PLT-3301", path: path)
    }
    do { try self.init([UInt8](data)) } catch var error as PlatformError {
      if error.path == nil { error.path = path }
      throw error
    }
  }

  init(_ bytes: [UInt8]) throws {
    try ProtobufFields.read(bytes[...]) { field, value in
      switch (field, value) {
      case (1, .bytes(let piece)): pieces.append(try Self.piece(piece, number: pieces.count))
      case (2, .bytes(let spec)): try readTrainer(spec)
      case (3, .bytes(let spec)): try readNormalizer(spec)
      default: break
      }
    }
    guard !pieces.isEmpty else { throw PlatformError.unusableTokenizer("it is no SentencePiece model: it has no pieces") }
    guard pieces.indices.contains(unknownID), pieces[unknownID].kind == .unknown else {
      throw PlatformError.unusableTokenizer("it has no piece for what is unknown at \(unknownID)")
    }
  }

  private static func piece(_ bytes: ArraySlice<UInt8>, number: Int) throws -> Piece {
    var piece = Piece(text: [], score: 0, kind: .normal)
    try ProtobufFields.read(bytes) { field, value in
      switch (field, value) {
      case (1, .bytes(let text)): piece.text = Array(text)
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .varint(let kind)):
        guard let known = Kind(rawValue: Int(clamping: kind)) else { throw PlatformError.unusableTokenizer("piece \(number) is of the unknown type \(kind)") }
        piece.kind = known
      default: break
      }
    }
    guard !piece.text.isEmpty, String(validating: piece.text, as: UTF8.self) != nil, !piece.score.isNaN else {
      throw PlatformError.unusableTokenizer("piece \(number) is no text with a score")
    }
    return piece
  }

  private mutating func readTrainer(_ bytes: ArraySlice<UInt8>) throws {
    try ProtobufFields.read(bytes) { field, value in
      // Negative numbers come as 64 bits.
      switch (field, value) {
      case (3, .varint(let kind)):
        guard let known = Model(rawValue: Int(clamping: kind)) else { throw PlatformError.unusableTokenizer("its model is of the unknown type \(kind)") }
        model = known
      case (24, .varint(let flag)): putsSpaceBehind = flag != 0
      case (35, .varint(let flag)): hasByteFallback = flag != 0
      case (40, .varint(let id)): unknownID = Int(Int32(truncatingIfNeeded: id))
      case (41, .varint(let id)): beginningID = Int(Int32(truncatingIfNeeded: id))
      case (42, .varint(let id)): endID = Int(Int32(truncatingIfNeeded: id))
      case (43, .varint(let id)): paddingID = Int(Int32(truncatingIfNeeded: id))
      case (44, .bytes(let text)): unknownSurface = Array(text)
      default: break
      }
    }
  }

  private mutating func readNormalizer(_ bytes: ArraySlice<UInt8>) throws {
    try ProtobufFields.read(bytes) { field, value in
      switch (field, value) {
      case (2, .bytes(let map)): characterMap = Array(map)
      case (3, .varint(let flag)): addsSpace = flag != 0
      case (4, .varint(let flag)): removesExtraSpaces = flag != 0
      case (5, .varint(let flag)): escapesSpaces = flag != 0
      default: break
      }
    }
  }
}

/// The fields of a protocol buffer's message, one after the other.
enum ProtobufFields {
  enum Value {
    case varint(UInt64)
    case fixed64(UInt64)
    case bytes(ArraySlice<UInt8>)
    case fixed32(UInt32)
  }

  /// - Throws: `invalidFile` (PLT-3301) with the place for a message that is cut off or none.
  static func read(_ message: ArraySlice<UInt8>, _ body: (Int, Value) throws -> Void) throws {
    var place = message.startIndex
    func damaged() -> PlatformError { PlatformError.unusableTokenizer("it is damaged, or no SentencePiece model (byte \(place))") }
    func varint() throws -> UInt64 {
      var value: UInt64 = 0
      for shift in stride(from: UInt64(0), to: 70, by: 7) {
        guard place < message.endIndex else { throw damaged() }
        let byte = message[place]
        place += 1
        value |= UInt64(byte & 0x7F) << shift
        if byte < 0x80 { return value }
      }
      throw damaged()
    }
    func fixed(_ count: Int) throws -> UInt64 {
      guard message.endIndex - place >= count else { throw damaged() }
      defer { place += count }
      return message[place..<place + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    while place < message.endIndex {
      let key = try varint()
      guard let field = Int(exactly: key >> 3), field > 0 else { throw damaged() }
      switch key & 7 {
      case 0: try body(field, .varint(varint()))
      case 1: try body(field, .fixed64(fixed(8)))
      case 2:
        guard let count = Int(exactly: try varint()), count <= message.endIndex - place else { throw damaged() }
        let bytes = message[place..<place + count]
        place += count
        try body(field, .bytes(bytes))
      case 5: try body(field, .fixed32(UInt32(fixed(4))))
      default: throw damaged()
      }
    }
  }
}
