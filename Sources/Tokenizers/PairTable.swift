// SPDX-License-Identifier: Apache-2.0

/// A map from a pair of ids to a number, by open addressing. Filled by one thread, then read-only (hence sharable).
final class PairTable: @unchecked Sendable {
  private var keys: UnsafeMutablePointer<UInt64>
  private var values: UnsafeMutablePointer<Int32>
  private var mask: Int
  private(set) var count = 0

  /// Never a key: ids are below 2^31.
  private static let empty = UInt64.max

  init(minimumCapacity: Int) {
    var slots = 64
    while slots < minimumCapacity * 2 { slots *= 2 }
    keys = .allocate(capacity: slots)
    keys.initialize(repeating: Self.empty, count: slots)
    values = .allocate(capacity: slots)
    values.initialize(repeating: 0, count: slots)
    mask = slots - 1
  }

  deinit {
    keys.deallocate()
    values.deallocate()
  }

  @inline(__always) static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always) private func slot(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: (key &* 0x9E37_79B9_7F4A_7C15) >> 20) & mask
  }

  /// The value of a key, or -1.
  func find(_ key: UInt64) -> Int32 {
    var place = slot(key)
    while true {
      let stored = keys[place]
      if stored == key { return values[place] }
      if stored == Self.empty { return -1 }
      place = (place &+ 1) & mask
    }
  }

  /// Sets a key unless it is there; returns the value that holds now.
  func insert(_ key: UInt64, _ value: Int32) -> Int32 {
    if count * 2 > mask { grow() }
    var place = slot(key)
    while keys[place] != Self.empty {
      if keys[place] == key { return values[place] }
      place = (place &+ 1) & mask
    }
    keys[place] = key
    values[place] = value
    count += 1
    return value
  }

  private func grow() {
    let (oldKeys, oldValues, oldCount) = (keys, values, mask + 1)
    let slots = oldCount * 2
    keys = .allocate(capacity: slots)
    keys.initialize(repeating: Self.empty, count: slots)
    values = .allocate(capacity: slots)
    values.initialize(repeating: 0, count: slots)
    mask = slots - 1
    for index in 0..<oldCount where oldKeys[index] != Self.empty {
      var place = slot(oldKeys[index])
      while keys[place] != Self.empty { place = (place &+ 1) & mask }
      keys[place] = oldKeys[index]
      values[place] = oldValues[index]
    }
    oldKeys.deallocate()
    oldValues.deallocate()
  }
}
