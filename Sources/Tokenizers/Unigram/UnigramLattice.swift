// SPDX-License-Identifier: Apache-2.0

import Foundation

/// All ways to put a piece of text together from entries. Belongs to one thread.
struct UnigramLattice {
  private struct Edge {
    var start: Int32
    var end: Int32
    var id: Int32
  }

  private let trie: ByteTrie
  private var edges: [Edge] = []
  private var forward: [Double] = []
  private var backward: [Double] = []
  private var best: [(score: Double, edge: Int)] = []

  init(_ entries: [UnigramTrainer.Entry]) { trie = ByteTrie(entries.enumerated().map { ($1.text, Int32($0)) }) }

  private mutating func collect(_ text: UnsafeBufferPointer<UInt8>, without excluded: Int32) {
    edges.removeAll(keepingCapacity: true)
    for start in 0..<text.count where text[start] & 0xC0 != 0x80 {
      trie.prefixes(text, from: start) { length, id in
        if id != excluded { edges.append(Edge(start: Int32(start), end: Int32(start + length), id: id)) }
      }
    }
  }

  /// Adds to `expected` how often each entry is used on average over all ways, each as likely as the product of its entries' `factors`, times `times`.
  /// Answers the logarithm of the sum of these products over all ways; -infinity when there is no way.
  mutating func expect(_ text: UnsafeBufferPointer<UInt8>, factors: [Double], times: Double, expected: inout [Double]) -> Double {
    collect(text, without: -1)
    forward.replaceSubrange(0..., with: repeatElement(0, count: text.count + 1))
    backward.replaceSubrange(0..., with: repeatElement(0, count: text.count + 1))
    forward[0] = 1
    // Edges are in the order of their starts.
    for edge in edges { forward[Int(edge.end)] += forward[Int(edge.start)] * factors[Int(edge.id)] }
    let sum = forward[text.count]
    guard sum > 0 else { return -.infinity }
    backward[text.count] = 1
    for edge in edges.reversed() {
      let rest = factors[Int(edge.id)] * backward[Int(edge.end)]
      backward[Int(edge.start)] += rest
      expected[Int(edge.id)] += times * (forward[Int(edge.start)] * rest / sum)
    }
    return log(sum)
  }

  /// The entries of the most likely way; nil when there is none.
  /// - Parameter excluded: an entry that must not be used.
  mutating func path(_ text: UnsafeBufferPointer<UInt8>, scores: [Double], without excluded: Int32 = -1) -> [Int32]? {
    collect(text, without: excluded)
    best.replaceSubrange(0..., with: repeatElement((score: -Double.infinity, edge: -1), count: text.count + 1))
    best[0].score = 0
    for (index, edge) in edges.enumerated() {
      let score = best[Int(edge.start)].score + scores[Int(edge.id)]
      if score > best[Int(edge.end)].score { best[Int(edge.end)] = (score, index) }
    }
    var ids: [Int32] = []
    var place = text.count
    while place > 0 {
      let edge = best[place].edge
      guard edge >= 0 else { return nil }
      ids.append(edges[edge].id)
      place = Int(edges[edge].start)
    }
    return ids.reversed()
  }
}
