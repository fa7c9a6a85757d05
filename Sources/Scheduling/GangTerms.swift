// SPDX-License-Identifier: Apache-2.0

/// With how many ranks a gang can work when not all of them find room, and what is kept for it so that they do.
public struct GangTerms: Codable, Sendable, Equatable {
  /// Numbers of ranks, fewer than all, with which it can work. None: it is all of them or nothing.
  public var sizes: [Int]
  /// How long it waits for room for all of them. 0.1 of a worker's restart gives up ranks that would have come back; ten times it is idle.
  public var patienceMs: Int64
  /// Further ranks that there is room kept for, on workers that have none of its ranks where possible.
  public var spares: Int

  public init(sizes: [Int] = [], patienceMs: Int64 = 60_000, spares: Int = 0) {
    self.sizes = sizes
    self.patienceMs = patienceMs
    self.spares = spares
  }

  /// With what has a meaning for so many ranks, the largest size first; nil when nothing has.
  func checked(of count: Int) -> GangTerms? {
    let sizes = Set(sizes.filter { $0 > 0 && $0 < count }).sorted(by: >)
    guard !sizes.isEmpty || spares > 0 else { return nil }
    return GangTerms(sizes: sizes, patienceMs: max(0, patienceMs), spares: min(max(0, spares), 1024))
  }
}
