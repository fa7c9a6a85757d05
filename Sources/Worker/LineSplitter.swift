// SPDX-License-Identifier: Apache-2.0

/// Splits a byte stream into lines; a line above `limit` bytes is cut there and the rest dropped.
struct LineSplitter {
  var limit: Int
  private var pending: [UInt8] = []
  private var overflowing = false

  init(limit: Int) { self.limit = limit }

  mutating func feed(_ bytes: UnsafeRawBufferPointer) -> [[UInt8]] {
    var lines: [[UInt8]] = []
    for byte in bytes {
      if byte == UInt8(ascii: "\n") {
        lines.append(pending)
        pending.removeAll(keepingCapacity: true)
        overflowing = false
      } else if pending.count < limit {
        pending.append(byte)
      } else {
        overflowing = true
      }
    }
    return lines
  }

  /// What is left when the stream ends.
  mutating func finish() -> [UInt8]? {
    defer { pending = [] }
    return pending.isEmpty ? nil : pending
  }
}
