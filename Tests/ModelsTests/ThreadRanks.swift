// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// Ranks that are threads of this process, joined by `allGather` alone.
final class ThreadRanks: @unchecked Sendable {  // everything is protected by `condition`
  let count: Int
  private let condition = NSCondition()
  private var arrived = 0
  private var phase = 0
  private var hasFailed = false
  private var slots: [[Float]]

  init(_ count: Int) {
    self.count = count
    slots = Array(repeating: [], count: count)
  }

  /// Runs `body` once a rank and returns the results in rank order.
  static func run<T: Sendable>(_ count: Int, _ body: @escaping @Sendable (any Collective) throws -> T) throws -> [T] {
    let ranks = ThreadRanks(count)
    let group = DispatchGroup()
    let results = Results<T>(count)
    for rank in 0..<count {
      group.enter()
      let thread = Thread {
        let result = Result { try body(Member(ranks, rank: rank)) }
        if case .failure = result { ranks.fail() }
        results.set(rank, result)
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    guard group.wait(timeout: .now() + 120) == .success else { throw PlatformError(.timeout, "the ranks did not end") }
    return try results.all()
  }

  private func fail() {
    condition.withLock {
      hasFailed = true
      condition.broadcast()
    }
  }

  /// Leaves `values` and returns what all have left. Slots are written again only when all have read: two meetings.
  fileprivate func exchange(_ rank: Int, _ values: [Float]) throws -> [[Float]] {
    condition.withLock { slots[rank] = values }
    try meet()
    let all = condition.withLock { slots }
    try meet()
    return all
  }

  private func meet() throws {
    condition.lock()
    defer { condition.unlock() }
    arrived += 1
    let mine = phase
    if arrived == count {
      arrived = 0
      phase += 1
      condition.broadcast()
    }
    let limit = Date().addingTimeInterval(60)
    while phase == mine {
      guard !hasFailed, condition.wait(until: limit) || phase != mine else { throw PlatformError(.unavailable, "a rank has gone") }
    }
  }

  private final class Member: Collective {
    let ranks: ThreadRanks
    let rank: Int
    var worldSize: Int { ranks.count }

    init(_ ranks: ThreadRanks, rank: Int) {
      self.ranks = ranks
      self.rank = rank
    }

    func allGather(_ input: UnsafePointer<Float>, count: Int, into output: UnsafeMutablePointer<Float>) throws {
      let all = try ranks.exchange(rank, Array(UnsafeBufferPointer(start: input, count: count)))
      for (rank, values) in all.enumerated() {
        guard values.count == count else { throw PlatformError(.internalError, "rank \(rank) gives \(values.count) numbers, not \(count)") }
        values.withUnsafeBufferPointer { if let base = $0.baseAddress { (output + rank * count).update(from: base, count: count) } }
      }
    }

    func allReduceSum(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws { throw PlatformError(.internalError, "not used") }
    func allReduceMax(_ buffer: UnsafeMutablePointer<Float>, count: Int) throws { throw PlatformError(.internalError, "not used") }
    func broadcast(_ buffer: UnsafeMutableRawPointer, byteCount: Int, root: Int) throws { throw PlatformError(.internalError, "not used") }
    func barrier() throws { _ = try ranks.exchange(rank, []) }
  }

  private final class Results<T: Sendable>: @unchecked Sendable {  // protected by `lock`
    private let lock = NSLock()
    private var items: [Result<T, any Error>?]
    init(_ count: Int) { items = Array(repeating: nil, count: count) }
    func set(_ index: Int, _ result: Result<T, any Error>) { lock.withLock { items[index] = result } }
    func all() throws -> [T] { try lock.withLock { try items.compactMap { try $0?.get() } } }
  }
}
