// SPDX-License-Identifier: Apache-2.0

import Foundation
import Postgres
import Testing

/// Round trips over the Unix socket. Prints figures and asserts nothing; runs with PLATFORM_BENCHMARK=1.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["PLATFORM_BENCHMARK"] != nil, "PLATFORM_BENCHMARK is not set"))
struct RoundTripBenchmark {
  @Test func roundTrips() async throws {
    let pool = try await makePool(size: 4)
    defer { pool.close() }
    for _ in 0..<500 { _ = try await pool.query("SELECT $1::int AS n", [.int(1)]) }
    for round in 1...3 {
      let clock = ContinuousClock()
      let alone = try await clock.measure { for _ in 0..<5000 { _ = try await pool.query("SELECT $1::int AS n", [.int(1)]) } }
      let inside = try await clock.measure {
        _ = try await pool.transaction { transaction in
          for _ in 0..<5000 { _ = try transaction.query("SELECT $1::int AS n", [.int(1)]) }
        }
      }
      let together = try await clock.measure {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<16 { group.addTask { for _ in 0..<500 { _ = try await pool.query("SELECT $1::int AS n", [.int(1)]) } } }
          try await group.waitForAll()
        }
      }
      print("round \(round): one task \(alone / 5000) each, in a transaction \(inside / 5000) each, 16 tasks on 4 connections \(together / 8000) each")
    }
  }
}
