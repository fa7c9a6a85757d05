// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// A file of tokenized documents, memory-mapped.
///
/// Little-endian: "PLTTOKS1", u32 bytes of an id (2 or 4), u32 vocabulary, i32 BOS, i32 EOS (-1: none), u64 documents,
/// u64 tokens, 32 bytes SHA-256 of the tokenizer file, u64 [documents + 1] offsets in tokens, the ids.
public final class TokenShardFile: Sendable {
  static let magic = Array("PLTTOKS1".utf8)
  static let headerSize = 8 + 16 + 16 + 32

  public let path: String
  public let vocabularySize: Int
  public let beginning: Int32?
  public let end: Int32?
  public let documentCount: Int
  public let tokenCount: Int
  /// Lower-case hexadecimal.
  public let tokenizerSHA256: String
  private let file: MappedFile
  private let width: Int

  /// Maps and checks the file: sizes, rising offsets, every id inside the vocabulary.
  /// - Throws: `invalidFile` saying what is wrong, or why the file cannot be read.
  public init(path: String) throws {
    func refuse(_ text: String) -> PlatformError {
      PlatformError(.invalidFile, "not a usable token file: \(text)", path: path)
    }
    let file = try MappedFile(path: path)
    let bytes = file.bytes
    guard bytes.count >= Self.headerSize, bytes.prefix(8).elementsEqual(Self.magic) else { throw refuse("wrong magic") }
    func word<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
      T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: T.self))
    }
    let width = Int(word(8, UInt32.self))
    let vocabulary = Int(word(12, UInt32.self))
    guard width == 2 || width == 4, vocabulary > 0, vocabulary <= 1 << 24 else { throw refuse("id width \(width), vocabulary \(vocabulary)") }
    guard let documents = Int(exactly: word(24, UInt64.self)), let tokens = Int(exactly: word(32, UInt64.self)),
      documents < bytes.count / 8, tokens <= bytes.count / width,
      bytes.count == Self.headerSize + (documents + 1) * 8 + tokens * width
    else { throw refuse("its size does not fit its header") }
    var previous: UInt64 = 0
    for index in 0...documents {
      let offset = word(Self.headerSize + index * 8, UInt64.self)
      guard offset >= previous, index > 0 || offset == 0, index < documents || offset == UInt64(tokens) else {
        throw refuse("document offsets do not rise from 0 to \(tokens)")
      }
      previous = offset
    }
    let base = Self.headerSize + (documents + 1) * 8
    var highest = 0
    for index in 0..<tokens {
      highest = max(
        highest, width == 2 ? Int(word(base + index * 2, UInt16.self)) : Int(word(base + index * 4, UInt32.self)))
    }
    guard highest < vocabulary else { throw refuse("id \(highest) is outside the vocabulary of \(vocabulary)") }
    func special(_ offset: Int) throws -> Int32? {
      let id = word(offset, Int32.self)
      guard id >= -1, id < vocabulary else { throw refuse("a special token is outside the vocabulary") }
      return id < 0 ? nil : id
    }
    beginning = try special(16)
    end = try special(20)
    self.path = path
    self.file = file
    self.width = width
    vocabularySize = vocabulary
    documentCount = documents
    tokenCount = tokens
    tokenizerSHA256 = bytes[40..<72].hexadecimal
  }

  /// Appends BOS, the ids of document `index` and EOS to `out` (those of the two that the file names).
  public func appendDocument(_ index: Int, to out: inout [Int32]) {
    precondition(index >= 0 && index < documentCount)
    let table = Self.headerSize + index * 8
    let first = Int(file.bytes.loadUnaligned(fromByteOffset: table, as: UInt64.self))
    let last = Int(file.bytes.loadUnaligned(fromByteOffset: table + 8, as: UInt64.self))
    let base = Self.headerSize + (documentCount + 1) * 8
    if let beginning { out.append(beginning) }
    for token in first..<last {
      out.append(
        width == 2
          ? Int32(file.bytes.loadUnaligned(fromByteOffset: base + token * 2, as: UInt16.self))
          : file.bytes.loadUnaligned(fromByteOffset: base + token * 4, as: Int32.self))
    }
    if let end { out.append(end) }
  }

  /// Writes `documents` (ids without BOS and EOS) to a temporary file, syncs it and renames it to `path`.
  /// - Throws: `invalidArgument` for an id outside the vocabulary, `unavailable` when writing fails.
  public static func write(
    _ documents: some Sequence<[Int32]>, vocabularySize: Int, beginning: Int32?, end: Int32?, tokenizerSHA256: String,
    to path: String
  ) throws {
    let width = vocabularySize <= 65_536 ? 2 : 4
    var digest: [UInt8] = []
    var text = tokenizerSHA256[...]
    while text.count >= 2, let byte = UInt8(text.prefix(2), radix: 16) {
      digest.append(byte)
      text = text.dropFirst(2)
    }
    guard digest.count == 32, text.isEmpty, vocabularySize > 0, vocabularySize <= 1 << 24 else {
      throw PlatformError(.invalidArgument, "a token file needs a SHA-256 in hexadecimal and a vocabulary size")
    }
    var ids = Data()
    var offsets: [UInt64] = [0]
    var tokens: UInt64 = 0
    for document in documents {
      for id in document {
        guard id >= 0, id < vocabularySize else {
          throw PlatformError(.invalidArgument, "token \(id) is outside the vocabulary of \(vocabularySize)")
        }
        if width == 2 { ids.append(word: UInt16(id)) } else { ids.append(word: UInt32(id)) }
      }
      tokens += UInt64(document.count)
      offsets.append(tokens)
    }
    var out = Data(magic)
    out.append(word: UInt32(width))
    out.append(word: UInt32(vocabularySize))
    out.append(word: UInt32(bitPattern: beginning ?? -1))
    out.append(word: UInt32(bitPattern: end ?? -1))
    out.append(word: UInt64(offsets.count - 1))
    out.append(word: tokens)
    out.append(contentsOf: digest)
    for offset in offsets { out.append(word: offset) }
    out.append(ids)
    try DurableFile.write(out, to: path)
  }
}

extension Data {
  fileprivate mutating func append(word: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: word.littleEndian) { append(contentsOf: $0) }
  }
}
