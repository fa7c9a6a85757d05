// SPDX-License-Identifier: Apache-2.0

/// The merges of byte pair encoding: which pairs of ids become one, and in which order.
struct PairMerges: Sendable {
  /// Pair -> rank; `mergedIDs[rank]` is the id that it becomes.
  private let ranks: PairTable
  private let mergedIDs: [Int32]

  /// - Parameter merges: by rank: two ids and the one that they become.
  init(_ merges: [(left: Int32, right: Int32, whole: Int32)]) {
    ranks = PairTable(minimumCapacity: merges.count)
    // The same pair twice: the last one holds in the reference; files of trainers never have it.
    for (rank, merge) in merges.enumerated() { _ = ranks.insert(PairTable.key(merge.left, merge.right), Int32(rank)) }
    mergedIDs = merges.map(\.whole)
  }

  /// Merges `symbols` as far as it goes, the pair of the lowest rank first, the leftmost of equal ones.
  /// - Returns: how many ids are left; they are the first of `symbols`.
  func merge(_ symbols: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
    count <= 48 ? mergeByScan(symbols, count) : mergeByHeap(symbols, count)
  }

  /// Merges the pair of the lowest rank again and again; quadratic, and fastest for short words.
  private func mergeByScan(_ symbols: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
    var count = count
    return withUnsafeTemporaryAllocation(of: Int32.self, capacity: count) { rank in
      let none = Int32.max
      func lookUp(_ index: Int) -> Int32 {
        guard index &+ 1 < count else { return none }
        let found = ranks.find(PairTable.key(symbols[index], symbols[index &+ 1]))
        return found < 0 ? none : found
      }
      for index in 0..<count { rank[index] = lookUp(index) }
      while count > 1 {
        var best = none
        var place = 0
        var index = 0
        while index &+ 1 < count {
          if rank[index] < best {
            best = rank[index]
            place = index
          }
          index &+= 1
        }
        guard best != none else { break }
        symbols[place] = mergedIDs[Int(best)]
        index = place &+ 1
        while index &+ 1 < count {
          symbols[index] = symbols[index &+ 1]
          rank[index] = rank[index &+ 1]
          index &+= 1
        }
        count &-= 1
        rank[place] = lookUp(place)
        if place > 0 { rank[place &- 1] = lookUp(place &- 1) }
      }
      return count
    }
  }

  /// The same result in n log n for long words: a heap of (rank, position) over a linked list.
  private func mergeByHeap(_ symbols: UnsafeMutablePointer<Int32>, _ count: Int) -> Int {
    var next = (0..<count).map { $0 + 1 }
    var previous = (0..<count).map { $0 - 1 }
    var heap = BinaryHeap<MergeCandidate>()
    func offer(_ left: Int) {
      guard left >= 0, next[left] < count else { return }
      let right = next[left]
      let rank = ranks.find(PairTable.key(symbols[left], symbols[right]))
      if rank >= 0 { heap.push(MergeCandidate(rank: rank, position: left, left: symbols[left], right: symbols[right])) }
    }
    for index in 0..<count - 1 { offer(index) }
    while let candidate = heap.pop() {
      let left = candidate.position
      guard symbols[left] == candidate.left, next[left] < count, symbols[next[left]] == candidate.right else { continue }
      let right = next[left]
      symbols[left] = mergedIDs[Int(candidate.rank)]
      symbols[right] = -1  // consumed: no candidate matches it any more
      next[left] = next[right]
      if next[left] < count { previous[next[left]] = left }
      offer(previous[left])
      offer(left)
    }
    var written = 0
    var index = 0
    while index < count {
      symbols[written] = symbols[index]
      written += 1
      index = next[index]
    }
    return written
  }

  private struct MergeCandidate: Comparable {
    var rank: Int32
    var position: Int
    var left: Int32
    var right: Int32
    static func < (a: Self, b: Self) -> Bool { a.rank != b.rank ? a.rank < b.rank : a.position < b.position }
  }
}
