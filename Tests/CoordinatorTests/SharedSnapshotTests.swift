// SPDX-License-Identifier: Apache-2.0

import Core
import Synchronization
import Testing

@testable import Coordinator

@Suite struct SharedSnapshotTests {
  @Test func manyWhoAskAtOnceShareOneMaking() async throws {
    let snapshot = SharedSnapshot(seconds: 3600)
    let made = CallCount()
    try await withThrowingTaskGroup(of: JSONValue.self) { group in
      for _ in 0..<50 {
        group.addTask { try await snapshot.get { .integer(Int64(made.next())) } }
      }
      for try await value in group { #expect(value == 1) }
    }
    #expect(made.next() == 2)
  }

  @Test func aFailureIsNotKept() async throws {
    let snapshot = SharedSnapshot(seconds: 3600)
    await #expect(throws: PlatformError.self) { try await snapshot.get { throw PlatformError(.unavailable, "not now") } }
    #expect(try await snapshot.get { "there" } == "there")
  }
}

private final class CallCount: Sendable {
  private let count = Mutex(0)
  func next() -> Int {
    count.withLock {
      $0 += 1; return $0
    }
  }
}
