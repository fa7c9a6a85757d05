// SPDX-License-Identifier: Apache-2.0

/// A vocabulary by its tokens' bytes, laid out in the order of a walk in depth, so that a mask is one pass over flat arrays. Made once a
/// tokenizer, then read-only.
public final class TokenTrie: Sendable {
  /// By node, in walking order: the byte that leads there, how deep it is (from 1), the node behind everything below it, and where its
  /// tokens begin in `tokens`.
  let bytes: [UInt8]
  let depths: [UInt16]
  let ends: [Int32]
  let firstTokens: [Int32]
  let tokens: [Int32]
  let depth: Int
  /// The largest id plus one.
  public let vocabularySize: Int

  /// - Parameter token: the bytes that an id adds to a text; nil or none for ids that a constrained text never has (special ones).
  public init(vocabularySize: Int, token: (Int32) -> [UInt8]?) {
    self.vocabularySize = vocabularySize
    var all: [(bytes: [UInt8], id: Int32)] = []
    for id in 0..<Int32(vocabularySize) {
      if let bytes = token(id), !bytes.isEmpty, bytes.count <= 1024 { all.append((bytes, id)) }
    }
    all.sort { $0.bytes.lexicographicallyPrecedes($1.bytes) || ($0.bytes == $1.bytes && $0.id < $1.id) }
    var (bytes, depths, ends, firstTokens, tokens): ([UInt8], [UInt16], [Int32], [Int32], [Int32]) = ([], [], [], [], [])
    var path: [Int] = []
    var previous: [UInt8] = []
    var deepest = 0
    for (text, id) in all {
      let shared = zip(previous, text).prefix { $0 == $1 }.count
      while path.count > shared { ends[path.removeLast()] = Int32(bytes.count) }
      for byte in text[shared...] {
        path.append(bytes.count)
        bytes.append(byte)
        depths.append(UInt16(path.count))
        ends.append(0)
        firstTokens.append(Int32(tokens.count))
      }
      tokens.append(id)
      deepest = max(deepest, path.count)
      previous = text
    }
    while let node = path.popLast() { ends[node] = Int32(bytes.count) }
    firstTokens.append(Int32(tokens.count))
    self.bytes = bytes
    self.depths = depths
    self.ends = ends
    self.firstTokens = firstTokens
    self.tokens = tokens
    depth = deepest
  }
}

/// The tokens that may come next: a bit an id.
public struct TokenMask: Sendable, Equatable {
  public internal(set) var words: [UInt64]

  init(vocabularySize: Int) { words = Array(repeating: 0, count: (vocabularySize + 63) / 64) }

  mutating func insert(_ id: Int32) { words[Int(id >> 6)] |= 1 << UInt64(id & 63) }
  public func contains(_ id: Int32) -> Bool {
    id >= 0 && Int(id >> 6) < words.count && words[Int(id >> 6)] >> UInt64(id & 63) & 1 == 1
  }
  public var isEmpty: Bool { words.allSatisfy { $0 == 0 } }
  public var count: Int { words.reduce(0) { $0 + $1.nonzeroBitCount } }
}
