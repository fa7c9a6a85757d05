// SPDX-License-Identifier: Apache-2.0

import Core

/// How often each pre-token occurs: what one shard of text tells the trainer, and all that it tells.
public struct WordCounts: Sendable {
  private var table = ByteStringTable(minimumCapacity: 4096)
  private var counts: ContiguousArray<Int> = []

  public init() {}

  /// Distinct words.
  public var count: Int { counts.count }
  /// All words, repeated ones as often as they occur.
  public var total: Int { counts.reduce(0, +) }

  /// Cuts `text` as the byte-level tokenizer does and counts the pieces.
  public mutating func add(_ text: String) {
    own()
    var text = text
    text.withUTF8 { bytes in
      guard let base = bytes.baseAddress else { return }
      var scanner = ByteLevelScanner(base, bytes.count)
      var start = 0
      while let end = scanner.next() {
        add(base + start, end &- start, times: 1)
        start = end
      }
    }
  }

  /// Adds the counts of another shard. The order of merging changes nothing in what the trainer learns.
  public mutating func merge(_ other: WordCounts) {
    own()
    for index in 0..<other.count {
      other.table.withBytes(index) { bytes in
        if let base = bytes.baseAddress { add(base, bytes.count, times: other.counts[index]) }
      }
    }
  }

  /// The count of one word, 0 when it never came.
  public func count(of word: String) -> Int {
    let index = table.find(Array(word.utf8))
    return index < 0 ? 0 : counts[index]
  }

  /// Counts one word more; an empty one is none.
  mutating func count(_ word: [UInt8]) {
    own()
    word.withUnsafeBufferPointer { if let base = $0.baseAddress, !word.isEmpty { add(base, word.count, times: 1) } }
  }

  private mutating func add(_ word: UnsafePointer<UInt8>, _ length: Int, times: Int) {
    let index = table.insert(word, length)
    if index == counts.count { counts.append(times) } else { counts[index] += times }
  }

  /// The table is a class: a copy of this value gets one of its own before it changes.
  private mutating func own() {
    guard !isKnownUniquelyReferenced(&table) else { return }
    let copy = ByteStringTable(minimumCapacity: count * 2)
    for index in 0..<count { table.withBytes(index) { _ = copy.insert($0.baseAddress!, $0.count) } }  // no word is empty
    table = copy
  }

  func withWord<R>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>, Int) -> R) -> R {
    table.withBytes(index) { body($0, counts[index]) }
  }
}

extension WordCounts: Codable {
  private enum CodingKeys: String, CodingKey { case words, counts }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let words = try container.decode([String].self, forKey: .words)
    let counts = try container.decode([Int].self, forKey: .counts)
    guard words.count == counts.count, counts.allSatisfy({ $0 >= 0 && $0 < 1 << 48 }) else {
      throw PlatformError(.invalidFile, "word counts are damaged: \(words.count) words, \(counts.count) counts")
    }
    self.init()
    for (word, count) in zip(words, counts) where !word.isEmpty {
      var word = word
      word.withUTF8 { add($0.baseAddress!, $0.count, times: count) }  // not empty
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode((0..<count).map { String(decoding: table[$0], as: UTF8.self) }, forKey: .words)
    try container.encode(Array(counts), forKey: .counts)
  }
}
