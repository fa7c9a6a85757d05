// SPDX-License-Identifier: Apache-2.0

/// Hands out the numbers of cache blocks. A value without clock or locks; the memory belongs to the model runner.
public struct KVBlockPool: Sendable {
  /// Tokens of a block.
  public static let blockSize = 16
  public let capacity: Int
  /// Free numbers; the last one is handed out next.
  private var free: [Int32]
  private var isUsed: [Bool]

  public init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(Int32.max))
    self.capacity = capacity
    free = (0..<capacity).reversed().map { Int32($0) }
    isUsed = Array(repeating: false, count: capacity)
  }

  /// Blocks that fit into `bytes` when a token takes `bytesPerToken`; at least one.
  public static func capacity(budgetBytes bytes: Int, bytesPerToken: Int) -> Int {
    let (block, overflow) = bytesPerToken.multipliedReportingOverflow(by: blockSize)
    guard !overflow, block > 0 else { return 1 }
    return max(1, min(bytes / block, Int(Int32.max) - 1))
  }

  public static func blocks(forTokens tokens: Int) -> Int { (tokens + blockSize - 1) / blockSize }

  public var freeCount: Int { free.count }
  public var usedCount: Int { capacity - free.count }

  /// `count` blocks, or nil (and nothing taken) when there are fewer.
  public mutating func allocate(_ count: Int) -> [Int32]? {
    precondition(count >= 0)
    guard count <= free.count else { return nil }
    let taken = Array(free.suffix(count).reversed())
    free.removeLast(count)
    for block in taken { isUsed[Int(block)] = true }
    return taken
  }

  /// Gives blocks back. Giving back a free block is a bug and stops the process.
  public mutating func release(_ blocks: [Int32]) {
    for block in blocks.reversed() {
      precondition(isUsed[Int(block)], "block \(block) was released twice")
      isUsed[Int(block)] = false
      free.append(block)
    }
  }

  /// What must always hold; for tests.
  var isConsistent: Bool {
    Set(free).count == free.count && free.allSatisfy { !isUsed[Int($0)] }
      && isUsed.count(where: { $0 }) + free.count == capacity
  }
}
