// SPDX-License-Identifier: Apache-2.0

/// Small numbers as Parquet packs them: runs of one value, and groups of eight values by bits (Encodings.md, "RLE / Bit-Packing Hybrid").
struct ParquetRuns {
  let bytes: UnsafeRawBufferPointer
  /// Bits of a value, at most 32.
  let width: Int
  /// Of these bytes in the file, for messages.
  let place: Int
  private var position = 0

  init(_ bytes: UnsafeRawBufferPointer, width: Int, place: Int) {
    (self.bytes, self.width, self.place) = (bytes, width, place)
  }

  private mutating func header() throws -> Int {
    var value = 0
    for shift in stride(from: 0, to: 35, by: 7) {
      guard position < bytes.count else { break }
      let byte = bytes[position]
      position += 1
      value |= Int(byte & 127) << shift
      if byte < 128 { return value }
    }
    throw ParquetFault.damaged("levels or indexes end too early", offset: place)
  }

  /// Appends the next `count` values, each at most `limit`.
  mutating func read<T: FixedWidthInteger>(_ count: Int, limit: Int, into out: inout [T]) throws {
    guard width > 0 else { return out.append(contentsOf: repeatElement(0, count: count)) }
    var rest = count
    while rest > 0 {
      let header = try header()
      let run = header >> 1
      if header & 1 == 0 {
        let size = (width + 7) / 8
        guard bytes.count - position >= size else { throw ParquetFault.damaged("levels or indexes end too early", offset: place) }
        var value = 0
        for index in 0..<size { value |= Int(bytes[position + index]) << (8 * index) }
        position += size
        guard value <= limit else { throw ParquetFault.damaged("a level or index is \(value), above \(limit)", offset: place) }
        let part = min(run, rest)
        out.append(contentsOf: repeatElement(T(truncatingIfNeeded: value), count: part))
        rest -= part
      } else {
        // The last group may be padded, or cut off behind its last value.
        let part = min(run * 8, rest)
        let needed = (part * width + 7) / 8
        guard bytes.count - position >= needed else { throw ParquetFault.damaged("levels or indexes end too early", offset: place) }
        try unpack(part, limit: limit, into: &out)
        position += min(run * width, bytes.count - position)
        rest -= part
      }
    }
  }

  private func unpack<T: FixedWidthInteger>(_ count: Int, limit: Int, into out: inout [T]) throws {
    var bits: UInt64 = 0
    var held = 0
    var next = position
    let mask = UInt64(1) << UInt64(width) - 1
    for _ in 0..<count {
      while held < width {
        bits |= UInt64(bytes[next]) << UInt64(held)
        next += 1
        held += 8
      }
      let value = Int(bits & mask)
      guard value <= limit else { throw ParquetFault.damaged("a level or index is \(value), above \(limit)", offset: place) }
      out.append(T(truncatingIfNeeded: value))
      bits >>= UInt64(width)
      held -= width
    }
  }
}
