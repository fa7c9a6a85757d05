// SPDX-License-Identifier: Apache-2.0

import CZeroMQ

/// 32-bit words in memory that several processes share: atomic access and futexes, and the sums that go with them.
package enum SharedWords {
  package typealias Word = UnsafeMutablePointer<UInt32>

  @inline(__always) package static func load(_ word: Word) -> UInt32 { pz_load_u32(word) }
  @inline(__always) package static func store(_ word: Word, _ value: UInt32) { pz_store_u32(word, value) }
  /// Adds (wrapping) and returns the new value.
  @inline(__always) @discardableResult
  package static func add(_ word: Word, _ value: UInt32) -> UInt32 { pz_add_u32(word, value) }
  @inline(__always) package static func relax() { pz_relax() }

  /// Sleeps until woken, `word` differs from `expected`, or the time is over. Wakes without reason are possible.
  package static func wait(_ word: Word, while expected: UInt32, milliseconds: Int32) {
    pz_futex_wait(word, expected, milliseconds)
  }
  package static func wakeAll(_ word: Word) { pz_futex_wake_all(word) }

  /// target: [count] += source: [count], f32.
  package static func sum(into target: UnsafeMutablePointer<Float>, _ source: UnsafePointer<Float>, count: Int) {
    pz_sum_f32(target, source, count)
  }
  /// target: [count] = element-wise maximum, f32; NaN on either side gives NaN.
  package static func max(into target: UnsafeMutablePointer<Float>, _ source: UnsafePointer<Float>, count: Int) {
    pz_max_f32(target, source, count)
  }
}
