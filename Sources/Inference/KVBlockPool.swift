// SPDX-License-Identifier: Apache-2.0

/// Hands out the numbers of cache blocks. A value without clock or locks; the memory belongs to the model runner.
///
/// A full block may be given a key that names its contents. When it is free again it keeps them until it is needed for something else, the one that
/// was free for longest first, and `revive` hands it out again with what it holds; several sequences may hold it at once.
public struct KVBlockPool: Sendable {
  /// Tokens of a block.
  public static let blockSize = 16
  public let capacity: Int
  /// How many sequences hold each block.
  private var holders: [Int32]
  private var keys: [PrefixKey?]
  private var places: [PrefixKey: Int32] = [:]
  /// The free blocks as a ring behind entry `capacity`: the next of that is handed out first.
  private var next: [Int32]
  private var previous: [Int32]
  public private(set) var freeCount: Int

  public init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(Int32.max))
    self.capacity = capacity
    holders = Array(repeating: 0, count: capacity)
    keys = Array(repeating: nil, count: capacity)
    next = (0...capacity).map { $0 == capacity ? 0 : Int32($0 + 1) }
    previous = (0...capacity).map { $0 == 0 ? Int32(capacity) : Int32($0 - 1) }
    freeCount = capacity
  }

  /// Blocks that fit into `bytes` when a token takes `bytesPerToken`; at least one.
  public static func capacity(budgetBytes bytes: Int, bytesPerToken: Int) -> Int {
    let (block, overflow) = bytesPerToken.multipliedReportingOverflow(by: blockSize)
    guard !overflow, block > 0 else { return 1 }
    return max(1, min(bytes / block, Int(Int32.max) - 1))
  }

  public static func blocks(forTokens tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

  /// Blocks that somebody holds.
  public var usedCount: Int { capacity - freeCount }
  /// Blocks with contents that can be found.
  var namedCount: Int { places.count }

  /// `count` blocks whose contents are undefined, or nil (and nothing taken) when there are fewer.
  public mutating func allocate(_ count: Int) -> [Int32]? {
    precondition(count >= 0)
    guard count <= freeCount else { return nil }
    return (0..<count).map { _ in
      let block = next[capacity]
      unlink(block)
      forget(block)
      holders[Int(block)] = 1
      return block
    }
  }

  /// The block that holds what `key` names, held once more; nil when there is none.
  mutating func revive(_ key: PrefixKey) -> Int32? {
    guard let block = places[key] else { return nil }
    if holders[Int(block)] == 0 { unlink(block) }
    holders[Int(block)] += 1
    return block
  }

  /// Whether a block with these contents is there, and whether nobody holds it.
  func find(_ key: PrefixKey) -> (isThere: Bool, isFree: Bool) {
    guard let block = places[key] else { return (false, false) }
    return (true, holders[Int(block)] == 0)
  }

  /// Names the contents of a held block that is complete. Of equal contents in two blocks the first keeps the name.
  mutating func name(_ block: Int32, _ key: PrefixKey) {
    precondition(holders[Int(block)] > 0)
    guard keys[Int(block)] == nil, places[key] == nil else { return }
    keys[Int(block)] = key
    places[key] = block
  }

  /// Gives blocks back, in a sequence's order. Giving back a free block is a bug and stops the process.
  public mutating func release(_ blocks: [Int32]) {
    // The end of a sequence is less likely to be asked for again than its beginning.
    for block in blocks.reversed() {
      precondition(holders[Int(block)] > 0, "block \(block) was released twice")
      holders[Int(block)] -= 1
      guard holders[Int(block)] == 0 else { continue }
      link(block, behind: keys[Int(block)] == nil ? Int32(capacity) : previous[capacity])
    }
  }

  private mutating func forget(_ block: Int32) {
    guard let key = keys[Int(block)] else { return }
    places[key] = nil
    keys[Int(block)] = nil
  }

  private mutating func unlink(_ block: Int32) {
    let (before, after) = (previous[Int(block)], next[Int(block)])
    next[Int(before)] = after
    previous[Int(after)] = before
    freeCount -= 1
  }

  private mutating func link(_ block: Int32, behind place: Int32) {
    let after = next[Int(place)]
    next[Int(block)] = after
    previous[Int(block)] = place
    next[Int(place)] = block
    previous[Int(after)] = block
    freeCount += 1
  }

  /// What must always hold, `held` being every holder's blocks; for tests.
  func isConsistent(held: [Int32]) -> Bool {
    var counts = [Int32](repeating: 0, count: capacity)
    for block in held { counts[Int(block)] += 1 }
    var free: Set<Int32> = []
    var place = next[capacity]
    while place != Int32(capacity), free.insert(place).inserted {
      guard previous[Int(next[Int(place)])] == place else { return false }
      place = next[Int(place)]
    }
    return counts == holders && free.count == freeCount && free.allSatisfy { holders[Int($0)] == 0 }
      && freeCount == holders.count { $0 == 0 } && places.allSatisfy { keys[Int($0.value)] == $0.key } && keys.count { $0 != nil } == places.count
  }
}
