// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Tokenizers

/// Cuts documents into overlapping pieces of a bounded number of tokens, at paragraph and sentence ends where possible.
public struct Chunker: Sendable {
  public struct Chunk: Sendable, Equatable {
    /// Depends on path, position and text alone.
    public var id: String
    /// 0, 1, 2, ... within the document.
    public var position: Int
    public var text: String
    /// Tokens of `text` without the model's template.
    public var tokens: Int
  }

  private let tokenizer: any Tokenizer
  private let maximumTokens: Int
  private let overlapTokens: Int

  /// - Throws: `invalidArgument` unless 0 <= overlap < maximum / 2 and maximum >= 8.
  public init(tokenizer: any Tokenizer, maximumTokens: Int = 200, overlapTokens: Int = 32) throws {
    guard maximumTokens >= 8, maximumTokens <= 1 << 20, overlapTokens >= 0, overlapTokens * 2 < maximumTokens else {
      throw PlatformError(
        .invalidArgument, "chunks of \(maximumTokens) tokens with an overlap of \(overlapTokens) are not possible",
        hint: "Use at least 8 tokens and an overlap below half of them.", number: "PLT-3102")
    }
    self.tokenizer = tokenizer
    self.maximumTokens = maximumTokens
    self.overlapTokens = overlapTokens
  }

  /// A word with its place in the text.
  private struct Atom {
    var start: Int
    var end: Int
    var tokens: Int
    /// 0 inside a sentence, 1 at its end, 2 at the end of a line, 3 at the end of a paragraph.
    var boundary: Int
  }

  /// The chunks of normalised text, in order. Every word is in at least one; no chunk has more than the maximum of tokens.
  public func chunks(path: String, text: String) -> [Chunk] {
    var text = text
    return text.withUTF8 { bytes in
      let atoms = atoms(bytes)
      var out: [Chunk] = []
      var start = 0
      while start < atoms.count {
        let end = chunkEnd(atoms, start)
        var tokens = 0
        for atom in atoms[start..<end] { tokens += atom.tokens }
        if tokens > 0 {
          let piece = String(decoding: bytes[atoms[start].start..<atoms[end - 1].end], as: UTF8.self)
          let position = out.count
          out.append(
            Chunk(
              id: String(SHA256Digest.hex("\(path)\u{0}\(position)\u{0}\(piece)").prefix(32)), position: position,
              text: piece,
              tokens: tokenizer.countTokens(piece)))
        }
        guard end < atoms.count else { break }
        start = nextStart(atoms, start, end)
      }
      return out
    }
  }

  /// The end (exclusive) of the chunk that begins at `start`.
  private func chunkEnd(_ atoms: [Atom], _ start: Int) -> Int {
    var tokens = 0
    var end = start
    // The last paragraph, line and sentence end in the second half of the budget.
    var boundaries = [0, 0, 0, 0]
    while end < atoms.count, tokens + atoms[end].tokens <= maximumTokens {
      tokens += atoms[end].tokens
      end += 1
      if atoms[end - 1].boundary > 0, tokens * 2 >= maximumTokens { boundaries[atoms[end - 1].boundary] = end }
    }
    guard end < atoms.count else { return end }
    for level in [3, 2, 1] where boundaries[level] > start { return boundaries[level] }
    return max(end, start + 1)
  }

  /// Where the next chunk begins: up to `overlapTokens` before `end`, at a sentence start when there is one.
  private func nextStart(_ atoms: [Atom], _ start: Int, _ end: Int) -> Int {
    var tokens = 0
    var place = end
    while place > start + 1, tokens + atoms[place - 1].tokens <= overlapTokens {
      tokens += atoms[place - 1].tokens
      place -= 1
    }
    for candidate in place..<end where candidate > start && atoms[candidate - 1].boundary > 0 { return candidate }
    return place
  }

  private func atoms(_ bytes: UnsafeBufferPointer<UInt8>) -> [Atom] {
    var out: [Atom] = []
    var counts: [UInt64: Int] = [:]
    var index = 0
    while index < bytes.count {
      var newlines = 0
      while index < bytes.count, bytes[index] == 0x20 || bytes[index] == 0x0A {
        if bytes[index] == 0x0A { newlines += 1 }
        index += 1
      }
      if newlines > 0, !out.isEmpty { out[out.count - 1].boundary = newlines > 1 ? 3 : 2 }
      let start = index
      while index < bytes.count, bytes[index] != 0x20, bytes[index] != 0x0A { index += 1 }
      if index > start { appendWord(bytes, start, index, &out, &counts) }
    }
    return out
  }

  private func appendWord(
    _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ end: Int, _ out: inout [Atom], _ counts: inout [UInt64: Int]
  ) {
    let word = UnsafeBufferPointer(rebasing: bytes[start..<end])
    let hash = StableHash.hash(word)
    let tokens: Int
    if let known = counts[hash] {
      tokens = known
    } else {
      var ids: [Int32] = []
      tokenizer.append(utf8: word, to: &ids)
      tokens = ids.count
      counts[hash] = tokens
    }
    guard tokens > maximumTokens || end - start > maximumTokens * 64 else {
      out.append(Atom(start: start, end: end, tokens: tokens, boundary: Self.endsSentence(word) ? 1 : 0))
      return
    }
    // A word that fills a chunk by itself is cut in the middle, at a character, until its parts fit.
    var middle = start + (end - start) / 2
    while middle < end, bytes[middle] & 0xC0 == 0x80 { middle += 1 }
    guard middle > start, middle < end else {
      out.append(Atom(start: start, end: end, tokens: tokens, boundary: 0))
      return
    }
    appendWord(bytes, start, middle, &out, &counts)
    appendWord(bytes, middle, end, &out, &counts)
  }

  private static func endsSentence(_ word: UnsafeBufferPointer<UInt8>) -> Bool {
    var index = word.count - 1
    while index > 0, [0x22, 0x27, 0x29, 0x5D].contains(word[index]) { index -= 1 }
    switch word[index] {
    case UInt8(ascii: "!"), UInt8(ascii: "?"): return true
    case UInt8(ascii: "."):
      // "e.g.", "J." and "v1.2." do not end a sentence as surely as a longer word does.
      return index >= 2 && !word[..<index].contains(0x2E)
    case 0x82: return index >= 2 && word[index - 2] == 0xE3 && word[index - 1] == 0x80  // U+3002
    default: return false
    }
  }
}

/// Which side of the train and test split a document is on; all of its chunks are on the same.
public enum DocumentSplit {
  /// `train` with probability `trainShare`, decided by the path and the seed alone.
  public static func side(path: String, trainShare: Double, seed: UInt64) -> String {
    let unit = Double(StableHash.hash(path, seed: seed ^ 0x5350_4C49_5421) >> 11) * 0x1.0p-53
    return unit < trainShare ? "train" : "test"
  }
}
