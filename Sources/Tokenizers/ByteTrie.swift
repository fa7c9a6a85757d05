// SPDX-License-Identifier: Apache-2.0

/// Entries by their bytes: finds all that a text begins with. Filled once, then read-only (hence sharable).
final class ByteTrie: @unchecked Sendable {
  private struct Node {
    /// Children have numbers in a row, in the order of their bytes.
    var firstChild: Int32 = 0
    var childCount: Int32 = 0
    /// Of a node with many children: where their numbers by byte are in `tables`; else -1.
    var table: Int32 = -1
    /// The entry that ends here, or -1.
    var entry: Int32 = -1
  }

  /// More children than this are found by their byte at once; fewer are looked through, which takes a fourth of the memory.
  private static let widest = 12

  private let nodes: UnsafeMutableBufferPointer<Node>
  /// The byte that leads to a node.
  private let labels: UnsafeMutableBufferPointer<UInt8>
  private let tables: UnsafeMutableBufferPointer<Int32>

  /// - Parameter tokens: of equal ones the last counts; empty ones are found nowhere.
  init(_ tokens: [(text: [UInt8], id: Int32)]) {
    let sorted = tokens.enumerated().filter { !$1.text.isEmpty }
      .sorted { $0.element.text.lexicographicallyPrecedes($1.element.text) || ($0.element.text == $1.element.text && $0.offset < $1.offset) }
      .map(\.element)
    var nodes = [Node()]
    var labels: [UInt8] = [0]
    var tables: [Int32] = []
    // Level by level: the entries that begin as a node does lie in a row.
    var open = [(node: 0, range: 0..<sorted.count, depth: 0)]
    var next = 0
    while next < open.count {
      var (node, range, depth) = open[next]
      next += 1
      while range.lowerBound < range.upperBound, sorted[range.lowerBound].text.count == depth {
        nodes[node].entry = sorted[range.lowerBound].id
        range = range.lowerBound + 1..<range.upperBound
      }
      nodes[node].firstChild = Int32(nodes.count)
      while let first = range.first {
        let byte = sorted[first].text[depth]
        let end = range.first { sorted[$0].text[depth] != byte } ?? range.upperBound
        open.append((nodes.count, first..<end, depth + 1))
        nodes.append(Node())
        labels.append(byte)
        range = end..<range.upperBound
      }
      let children = nodes.count - Int(nodes[node].firstChild)
      nodes[node].childCount = Int32(children)
      if children > Self.widest {
        nodes[node].table = Int32(tables.count)
        tables += repeatElement(-1, count: 256)
        for child in nodes.count - children..<nodes.count { tables[tables.count - 256 + Int(labels[child])] = Int32(child) }
      }
    }
    func copy<T>(_ values: [T]) -> UnsafeMutableBufferPointer<T> {
      let buffer = UnsafeMutableBufferPointer<T>.allocate(capacity: values.count)
      _ = buffer.initialize(from: values)
      return buffer
    }
    self.nodes = copy(nodes)
    self.labels = copy(labels)
    self.tables = copy(tables)
  }

  deinit {
    nodes.deallocate()
    labels.deallocate()
    tables.deallocate()
  }

  /// Calls `body` with the length and id of each entry that the text from `start` on begins with, the shortest first.
  @inline(__always) func prefixes(_ text: UnsafeBufferPointer<UInt8>, from start: Int, _ body: (Int, Int32) -> Void) {
    guard let base = text.baseAddress, let nodes = nodes.baseAddress, let labels = labels.baseAddress else { return }
    var node = nodes[0]
    var place = start
    while place < text.count {
      let byte = base[place]
      let child: Int
      if node.table >= 0 {
        child = Int(tables.baseAddress![Int(node.table) &+ Int(byte)])  // a node that has one is why there are any
        guard child >= 0 else { return }
      } else {
        var found = Int(node.firstChild)
        let end = found &+ Int(node.childCount)
        while found < end, labels[found] != byte { found &+= 1 }
        guard found < end else { return }
        child = found
      }
      node = nodes[child]
      place &+= 1
      if node.entry >= 0 { body(place &- start, node.entry) }
    }
  }

  /// Whether an entry begins with the byte.
  func hasEntry(beginningWith byte: UInt8) -> Bool {
    (0..<Int(nodes[0].childCount)).contains { labels[Int(nodes[0].firstChild) + $0] == byte }
  }
}
