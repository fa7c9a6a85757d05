// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Collectives

/// Segments of groups whose first rank was killed before the others had joined.
@Suite struct LeftSegmentTests {
  /// A segment as rank 0 of another process leaves it.
  private func leave(of process: Int32, startTime: UInt32) throws -> String {
    let path = "/dev/shm/platform-" + String(SHA256Digest.hex(UUID().uuidString).prefix(32))
    var words = [UInt32](repeating: 0, count: 64)
    (words[0], words[1], words[2]) = (0x3153_4C50, 2, 64)
    (words[18], words[19], words[20]) = (UInt32(bitPattern: process), 1, startTime)
    try words.withUnsafeBytes { Data($0) }.write(to: URL(fileURLWithPath: path))
    return path
  }

  @Test func theNextGroupRemovesWhatKilledProcessesHaveLeft() throws {
    let ended = try Program("/bin/true")
    #expect(ended.wait() == 0)
    let dead = try leave(of: ended.processID, startTime: 1)
    let alive = try leave(of: getpid(), startTime: try #require(ProcessLife.startTime(of: getpid())))
    // The number belongs to a later process.
    let reused = try leave(of: getpid(), startTime: 1)
    defer { for path in [dead, alive, reused] { unlink(path) } }
    let group = try SharedMemoryGroup(name: UUID().uuidString, rank: 0, worldSize: 1)
    group.leave()
    #expect(access(dead, F_OK) != 0 && access(reused, F_OK) != 0)
    #expect(access(alive, F_OK) == 0)
  }
}
