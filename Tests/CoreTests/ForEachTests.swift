// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Testing

/// `BlockingPool.forEach`: many threads, one loop.
@Suite struct ForEachTests {
  @Test(arguments: [(0, 4), (1, 4), (5, 1), (7, 3), (1000, 16)]) func eachNumberOnce(_ count: Int, _ atOnce: Int) throws {
    let pool = BlockingPool(name: "test", threads: 4)
    let seen = Mutex<[Int]>([])
    try pool.forEach(count, atOnce: atOnce) { index in seen.withLock { $0.append(index) } }
    #expect(seen.withLock { $0.sorted() } == Array(0..<count))
  }

  @Test func theFirstErrorEndsIt() throws {
    let pool = BlockingPool(name: "test", threads: 4)
    let begun = Mutex(0)
    let running = Mutex(0)
    #expect(throws: PlatformError.self) {
      try pool.forEach(100_000, atOnce: 4) { index in
        begun.withLock { $0 += 1 }
        running.withLock { $0 += 1 }
        defer { running.withLock { $0 -= 1 } }
        if index == 20 { throw PlatformError(.unavailable, "twenty") }
      }
    }
    // Nothing runs on behind the caller's back, and the rest was not begun.
    #expect(running.withLock { $0 } == 0)
    #expect(begun.withLock { $0 } < 100_000)
  }

  @Test func loopsInsideOfLoopsEnd() throws {
    let pool = BlockingPool(name: "test", threads: 2, queueLimit: 4)
    let sum = Mutex(0)
    try pool.forEach(20, atOnce: 8) { outer in
      try pool.forEach(20, atOnce: 8) { inner in sum.withLock { $0 += outer * 20 + inner } }
    }
    #expect(sum.withLock { $0 } == (0..<400).reduce(0, +))
  }
}
