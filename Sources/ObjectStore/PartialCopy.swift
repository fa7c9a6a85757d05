// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A copy of an object of which only those pieces are fetched that somebody asks for. The file has the object's size from the beginning; which of
/// its pieces are there is noted beside it, for all processes that share the copy.
///
/// Calls block. One piece may be fetched by two processes at the same time: they write the same bytes.
public final class PartialCopy: Sendable {
  /// Smaller pieces cost requests, larger ones bytes that nobody needs.
  static let pieceBytes = 64 << 10
  /// The longest range of one request. Longer ones are fetched by several at a time.
  static let requestBytes = 2 << 20
  /// How far ahead of a reader that goes from piece to piece is fetched at most.
  static let aheadBytes = 8 << 20

  public let size: Int
  private let store: any ObjectStorage
  private let path: ObjectPath
  private let tag: String?
  /// For messages.
  private let identity: String
  private let file: Int32
  private let map: PieceMap
  private let isCancelled: @Sendable () -> Bool
  /// Told of bytes that have come.
  private let grown: @Sendable (Int) -> Void

  private struct State {
    var fetching: Set<Int> = []
    var ahead = ReadAhead()
    var failure: (any Error)?
  }
  private let state = Mutex(State())
  /// Signalled when pieces have come.
  private let arrived = NSCondition()

  private static let fetchers = BlockingPool(name: "fetch-pieces", threads: 8)

  init(
    _ path: ObjectPath, of store: any ObjectStorage, tag: String?, size: Int, identity: String, file: Int32, map: PieceMap,
    isCancelled: @escaping @Sendable () -> Bool, grown: @escaping @Sendable (Int) -> Void
  ) {
    self.path = path
    self.store = store
    self.tag = tag
    self.size = size
    self.identity = identity
    self.file = file
    self.map = map
    self.isCancelled = isCancelled
    self.grown = grown
  }

  deinit { close(file) }

  /// How many pieces an object has.
  static func pieces(_ size: Int) -> Int { (size + pieceBytes - 1) / pieceBytes }

  /// What kept pieces from coming, if something did.
  public var failure: (any Error)? { state.withLock { $0.failure } }

  /// Returns when the bytes of `range`, cut at the end, are in the file.
  /// - Throws: what the store throws; `unavailable` when the object was replaced; `CancellationError`.
  public func provide(_ range: Range<Int>) throws {
    let range = range.clamped(to: 0..<size)
    guard !range.isEmpty else { return }
    let wanted = range.lowerBound / Self.pieceBytes...(range.upperBound - 1) / Self.pieceBytes
    if wanted.allSatisfy({ map.has($0) }) { return }
    do {
      // A store that has failed is not asked again and again by an engine that looks for what is wrong.
      if let failure { throw failure }
      try fetch(wanted)
    } catch {
      state.withLock { if $0.failure == nil { $0.failure = error } }
      throw error
    }
  }

  private func fetch(_ wanted: ClosedRange<Int>) throws {
    while true {
      if isCancelled() { throw CancellationError() }
      // What others fetch already is waited for.
      let runs = state.withLock { state -> [Range<Int>] in
        let missing = wanted.filter { !map.has($0) && !state.fetching.contains($0) }
        guard let first = missing.first, let last = missing.last else { return [] }
        let end = state.ahead.end(first: first, last: last, count: map.count)
        let all = missing + (last + 1..<max(end, last + 1)).filter { !map.has($0) && !state.fetching.contains($0) }
        state.fetching.formUnion(all)
        return Self.runs(all)
      }
      if runs.isEmpty {
        if wanted.allSatisfy({ map.has($0) }) { return }
        // Also woken by who failed: then the pieces are nobody's, and are asked for here. To look and to wait are two steps: a signal between
        // them is missed, and this looks again.
        arrived.lock()
        _ = arrived.wait(until: Date(timeIntervalSinceNow: 0.05))
        arrived.unlock()
        continue
      }
      defer {
        state.withLock { state in for run in runs { state.fetching.subtract(run) } }
        arrived.lock()
        arrived.broadcast()
        arrived.unlock()
      }
      try Self.fetchers.forEach(runs.count, atOnce: 8) { try self.fetch(runs[$0]) }
    }
  }

  private func fetch(_ pieces: Range<Int>) throws {
    if isCancelled() { throw CancellationError() }
    let range = pieces.lowerBound * Self.pieceBytes..<min(pieces.upperBound * Self.pieceBytes, size)
    guard let data = try store.get(path, range: range, tag: tag), data.count == range.count else {
      throw PlatformError(.unavailable, "the object was replaced while it was read", hint: "Try again.", path: identity)
    }
    try LocalFile.write(data, at: range.lowerBound, to: file, name: identity)
    for piece in pieces { map.add(piece) }
    grown(data.count)
  }

  /// Neighbours together, in requests of bounded length.
  static func runs(_ pieces: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for piece in pieces {
      if let last = runs.last, last.upperBound == piece, last.count < requestBytes / pieceBytes {
        runs[runs.count - 1] = last.lowerBound..<piece + 1
      } else {
        runs.append(piece..<piece + 1)
      }
    }
    return runs
  }
}

/// How much is fetched beyond what is asked for: nothing at first, and twice as much each time that a reader goes on where the last piece ended.
struct ReadAhead {
  private var next: Int?
  private var pieces = 0

  /// The piece behind the last that is to be fetched, when `first...last` are missing.
  mutating func end(first: Int, last: Int, count: Int) -> Int {
    pieces = first == next ? min(max(1, pieces * 2), PartialCopy.aheadBytes / PartialCopy.pieceBytes) : 0
    let end = min(last + 1 + pieces, count)
    next = end
    return end
  }
}

/// Which pieces of a copy are there: a byte each, in a file that processes share.
final class PieceMap: Sendable {
  let count: Int
  private nonisolated(unsafe) let bytes: UnsafeMutableRawPointer  // its bytes are atomic, it is unmapped when nobody is left

  /// - Parameter descriptor: of a file with a byte for each piece; not kept.
  init?(_ descriptor: Int32, count: Int) {
    guard count > 0, let bytes = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0), bytes != MAP_FAILED else { return nil }
    self.count = count
    self.bytes = bytes
  }

  deinit { munmap(bytes, count) }

  private func piece(_ index: Int) -> UnsafeMutablePointer<Atomic<UInt8>> {
    (bytes + index).assumingMemoryBound(to: Atomic<UInt8>.self)
  }

  func has(_ index: Int) -> Bool { piece(index).pointee.load(ordering: .acquiring) != 0 }

  /// The bytes of the piece are in the file.
  func add(_ index: Int) { piece(index).pointee.store(1, ordering: .releasing) }
}
