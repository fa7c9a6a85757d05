// SPDX-License-Identifier: Apache-2.0

import Core

/// MinHash signatures over word shingles (Broder 1997) with banding (Leskovec, Rajaraman, Ullman: "Mining of Massive
/// Datasets", 3.4): 14 bands of 8 values find pairs of similarity 0.72 with probability one half.
public struct MinHash: Sendable {
  public static let bands = 14
  public static let rows = 8
  /// Values a signature.
  public static let count = bands * rows
  /// Words a shingle.
  public static let shingleWords = 5

  /// Multipliers (odd) and addends of the hash functions. Fixed: signatures on disk depend on them.
  private static let parameters: (multipliers: [UInt64], addends: [UInt64]) = {
    var generator = SplitMix64(seed: 0x4D69_6E48_6173_6831)
    return ((0..<count).map { _ in generator.next() | 1 }, (0..<count).map { _ in generator.next() })
  }()

  /// The hashes of all shingles: five consecutive words, lower case in ASCII, letters and digits only. A shorter text is one
  /// shingle; a text without words has none.
  static func shingles(_ text: String) -> [UInt64] {
    var words: [UInt64] = []
    var text = text
    text.withUTF8 { bytes in
      var hash: UInt64 = 0
      var length = 0
      for byte in bytes {
        let lower = byte | 0x20
        if byte >= 0x80 || (lower >= 0x61 && lower <= 0x7A) || (byte >= 0x30 && byte <= 0x39) {
          if length == 0 { hash = 0xCBF2_9CE4_8422_2325 }
          hash = (hash ^ UInt64(byte >= 0x41 && byte <= 0x5A ? lower : byte)) &* 0x0000_0100_0000_01B3
          length &+= 1
        } else if length > 0 {
          words.append(SplitMix64.mix(hash))
          length = 0
        }
      }
      if length > 0 { words.append(SplitMix64.mix(hash)) }
    }
    guard !words.isEmpty else { return [] }
    let width = min(shingleWords, words.count)
    return (0...(words.count - width)).map { start in
      var hash: UInt64 = 0
      for offset in 0..<width { hash = SplitMix64.mix(hash ^ words[start &+ offset]) &+ 0x9E37_79B9_7F4A_7C15 }
      return SplitMix64.mix(hash)
    }
  }

  /// The signature of a text: `count` values. A text without words gets the largest value everywhere.
  public static func signature(_ text: String) -> [UInt32] { signature(shingles: shingles(text)) }

  static func signature(shingles: [UInt64]) -> [UInt32] {
    var minima = [UInt32](repeating: .max, count: count)
    minima.withUnsafeMutableBufferPointer { minima in
      parameters.multipliers.withUnsafeBufferPointer { multipliers in
        parameters.addends.withUnsafeBufferPointer { addends in
          for shingle in shingles {
            var index = 0
            while index < count {
              let value = UInt32(truncatingIfNeeded: (multipliers[index] &* shingle &+ addends[index]) >> 32)
              if value < minima[index] { minima[index] = value }
              index &+= 1
            }
          }
        }
      }
    }
    return minima
  }

  /// The share of equal values: an unbiased estimate of the Jaccard similarity with standard error of at most 0.05.
  public static func similarity(_ a: [UInt32], _ b: [UInt32]) -> Double {
    guard a.count == count, b.count == count else { return 0 }
    var equal = 0
    for index in 0..<count where a[index] == b[index] { equal += 1 }
    return Double(equal) / Double(count)
  }

  static func bandKey(_ signature: [UInt32], _ band: Int) -> UInt64 {
    StableHash.hash(
      signature[(band * rows)..<((band + 1) * rows)].lazy.flatMap { value in
        [
          UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8), UInt8(truncatingIfNeeded: value >> 16),
          UInt8(truncatingIfNeeded: value >> 24),
        ]
      }, seed: UInt64(band))
  }

  /// 8 hexadecimal digits a value, for storage in a text column.
  static func encode(_ signature: [UInt32]) -> String {
    signature.flatMap { value in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) } }.hexadecimal
  }

  static func decode(_ text: String) -> [UInt32]? {
    let digits = Array(text.utf8)
    guard digits.count == count * 8 else { return nil }
    var out: [UInt32] = []
    for start in stride(from: 0, to: digits.count, by: 8) {
      var value: UInt32 = 0
      for digit in digits[start..<start + 8] {
        switch digit {
        case 0x30...0x39: value = value << 4 | UInt32(digit - 0x30)
        case 0x61...0x66: value = value << 4 | UInt32(digit - 0x57)
        default: return nil
        }
      }
      out.append(value)
    }
    return out
  }
}

/// Finds documents that say the same as another one.
public struct Deduplicator: Sendable {
  public struct Document: Sendable, Equatable {
    public var path: String
    /// SHA-256 of the normalised text.
    public var textHash: String
    public var signature: [UInt32]

    public init(path: String, textHash: String, signature: [UInt32]) {
      self.path = path
      self.textHash = textHash
      self.signature = signature
    }
  }

  public struct Dropped: Sendable, Equatable {
    public var path: String
    /// `exact` or `near`.
    public var kind: String
    /// The document that stays instead.
    public var kept: String
    /// Estimated Jaccard similarity with it. Below the threshold when the two are connected only through others.
    public var similarity: Double
  }

  /// Pairs estimated to be at least this similar are duplicates.
  public var threshold: Double
  /// Within one band's bucket a document is compared with so many before it, which bounds the work on boilerplate.
  public var comparisonLimit: Int

  public init(threshold: Double = 0.72, comparisonLimit: Int = 256) {
    self.threshold = threshold
    self.comparisonLimit = comparisonLimit
  }

  /// All documents but the one with the smallest path of each connected component, in order of their paths.
  /// The order of `documents` changes nothing.
  /// - Parameter isCancelled: asked once a band; `CancellationError` when true.
  public func dropped(_ documents: [Document], isCancelled: () -> Bool = { false }) throws -> [Dropped] {
    let sorted = documents.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
    var dropped: [Dropped] = []
    var firstByText: [String: Int] = [:]
    var distinct: [Int] = []
    var exact: [(index: Int, original: Int)] = []
    for (index, document) in sorted.enumerated() {
      if let original = firstByText[document.textHash] {
        exact.append((index, original))
      } else {
        firstByText[document.textHash] = index
        distinct.append(index)
      }
    }
    var sets = UnionFind(sorted.count)
    for band in 0..<MinHash.bands {
      if isCancelled() { throw CancellationError() }
      var buckets: [UInt64: [Int]] = [:]
      for index in distinct where sorted[index].signature.count == MinHash.count {
        guard sorted[index].signature[0] != .max || sorted[index].signature[1] != .max else { continue }  // no words at all
        let key = MinHash.bandKey(sorted[index].signature, band)
        for earlier in (buckets[key] ?? []).suffix(comparisonLimit) where sets.root(earlier) != sets.root(index) {
          if MinHash.similarity(sorted[earlier].signature, sorted[index].signature) >= threshold {
            sets.unite(earlier, index)
          }
        }
        buckets[key, default: []].append(index)
      }
    }
    for index in distinct {
      let root = sets.root(index)
      guard root != index else { continue }
      dropped.append(
        Dropped(
          path: sorted[index].path, kind: "near", kept: sorted[root].path,
          similarity: MinHash.similarity(sorted[root].signature, sorted[index].signature)))
    }
    for (index, original) in exact {
      dropped.append(Dropped(path: sorted[index].path, kind: "exact", kept: sorted[sets.root(original)].path, similarity: 1))
    }
    return dropped.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
  }
}

/// Disjoint sets whose root is the smallest member.
struct UnionFind {
  private var parents: [Int]

  init(_ count: Int) { parents = Array(0..<count) }

  mutating func root(_ member: Int) -> Int {
    var root = member
    while parents[root] != root { root = parents[root] }
    var place = member
    while parents[place] != root { (place, parents[place]) = (parents[place], root) }
    return root
  }

  mutating func unite(_ a: Int, _ b: Int) {
    let (first, second) = (root(a), root(b))
    parents[max(first, second)] = min(first, second)
  }
}
