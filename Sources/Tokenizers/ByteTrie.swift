// SPDX-License-Identifier: Apache-2.0

/// Entries by their bytes: finds all that a text begins with. Filled once, then read-only.
struct ByteTrie: Sendable {
  private let edges: PairTable
  /// By node: the entry that ends there, or -1.
  private let entries: [Int32]

  /// - Parameter tokens: of equal ones the last counts; empty ones are found nowhere.
  init(_ tokens: [(text: [UInt8], id: Int32)]) {
    edges = PairTable(minimumCapacity: tokens.reduce(0) { $0 + $1.text.count })
    var entries: [Int32] = [-1]
    for (text, id) in tokens where !text.isEmpty {
      var node: Int32 = 0
      for byte in text {
        let next = edges.insert(PairTable.key(node, Int32(byte)), Int32(entries.count))
        if Int(next) == entries.count { entries.append(-1) }
        node = next
      }
      entries[Int(node)] = id
    }
    self.entries = entries
  }

  /// Calls `body` with the length and id of each entry that the text from `start` on begins with, the shortest first.
  func prefixes(_ text: UnsafeBufferPointer<UInt8>, from start: Int, _ body: (Int, Int32) -> Void) {
    guard entries.count > 1 else { return }
    var node: Int32 = 0
    var place = start
    while place < text.count {
      node = edges.find(PairTable.key(node, Int32(text[place])))
      guard node >= 0 else { return }
      place += 1
      if entries[Int(node)] >= 0 { body(place - start, entries[Int(node)]) }
    }
  }
}
