// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation
import Synchronization
import Testing

@testable import Models

/// How often each piece was run.
private final class Hits: Sendable {
  let counts: Mutex<[Int]>
  init(_ count: Int) { counts = Mutex(Array(repeating: 0, count: count)) }
  func note(_ piece: Int) { counts.withLock { $0[piece] += 1 } }
}

private func run(_ pool: OpaquePointer, _ pieces: Int, _ hits: Hits) {
  pk_pool_run(pool, { Unmanaged<Hits>.fromOpaque($0!).takeUnretainedValue().note($1) }, Unmanaged.passUnretained(hits).toOpaque(), pieces)
}

@Suite struct ThreadPoolTests {
  @Test(arguments: 1...5)
  func everyPieceOfEveryRoundRunsOnce(threads: Int) throws {
    let pool = try #require(pk_pool_create(threads))
    defer { pk_pool_destroy(pool) }
    #expect(pk_pool_threads(pool) == threads)
    for round in 0..<3000 {
      let pieces = round % 23
      let hits = Hits(pieces)
      run(pool, pieces, hits)
      #expect(hits.counts.withLock { $0.allSatisfy { $0 == 1 } }, "round \(round)")
    }
  }

  /// Helpers sleep after a tenth of a millisecond without work.
  @Test func sleepingHelpersTakePartAgain() throws {
    let pool = try #require(pk_pool_create(3))
    defer { pk_pool_destroy(pool) }
    for _ in 0..<50 {
      let hits = Hits(64)
      run(pool, 64, hits)
      #expect(hits.counts.withLock { $0 == Array(repeating: 1, count: 64) })
      usleep(1000)
    }
  }

  /// A piece that waits for another one ends only when two threads have one each.
  @Test func piecesRunAtTheSameTime() throws {
    final class Meeting: Sendable {
      let arrived = Atomic(0)
      let met = Atomic(0)
    }
    let pool = try #require(pk_pool_create(2))
    defer { pk_pool_destroy(pool) }
    usleep(2000)  // the helper sleeps now
    let meeting = Meeting()
    let body: @convention(c) (UnsafeMutableRawPointer?, Int) -> Void = { context, _ in
      let meeting = Unmanaged<Meeting>.fromOpaque(context!).takeUnretainedValue()
      meeting.arrived.add(1, ordering: .sequentiallyConsistent)
      let deadline = ContinuousClock.now.advanced(by: .seconds(60))
      while meeting.arrived.load(ordering: .sequentiallyConsistent) < 2, ContinuousClock.now < deadline { sched_yield() }
      if meeting.arrived.load(ordering: .sequentiallyConsistent) == 2 { meeting.met.add(1, ordering: .sequentiallyConsistent) }
    }
    pk_pool_run(pool, body, Unmanaged.passUnretained(meeting).toOpaque(), 2)
    #expect(meeting.met.load(ordering: .sequentiallyConsistent) == 2)
  }

  @Test func productsAreSharedOutWhenTheyAreLongEnough() {
    #expect(BlockRunner.parts(threads: 2, rows: 1, outputs: 576, inputs: 576) == 2)
    #expect(BlockRunner.parts(threads: 8, rows: 1, outputs: 49152, inputs: 576) == 8)
    #expect(BlockRunner.parts(threads: 8, rows: 512, outputs: 32, inputs: 576) == 2)  // panels of 16 outputs are not cut
    #expect(BlockRunner.parts(threads: 2, rows: 1, outputs: 64, inputs: 64) == 1)
    #expect(BlockRunner.parts(threads: 1, rows: 512, outputs: 49152, inputs: 576) == 1)
    #expect(BlockRunner.parts(threads: 4, rows: 1, outputs: 1, inputs: 1) == 1)
  }

  @Test func poolsComeAndGo() throws {
    for threads in [1, 2, 4] {
      for _ in 0..<100 {
        let pool = try #require(pk_pool_create(threads))
        let hits = Hits(3)
        run(pool, 3, hits)
        pk_pool_destroy(pool)
        #expect(hits.counts.withLock { $0 == [1, 1, 1] })
      }
    }
  }
}
