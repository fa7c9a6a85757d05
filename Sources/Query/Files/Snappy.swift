// SPDX-License-Identifier: Apache-2.0

/// Unpacks Snappy's raw format (github.com/google/snappy/blob/main/format_description.txt).
enum Snappy {
  /// The bytes are damaged, or more than was allowed.
  struct Failure: Error {}

  /// Never reads outside of `bytes`, nor in front of what it has written.
  static func unpack(_ bytes: UnsafeRawBufferPointer, limit: Int) throws -> [UInt8] {
    var position = 0
    func number(_ width: Int) throws -> Int {
      guard bytes.count - position >= width else { throw Failure() }
      var value = 0
      for index in 0..<width { value |= Int(bytes[position + index]) << (8 * index) }
      position += width
      return value
    }
    var size = 0
    for shift in stride(from: 0, through: 28, by: 7) {
      let byte = try number(1)
      size |= (byte & 127) << shift
      if byte < 128 { break }
      guard shift < 28 else { throw Failure() }
    }
    guard size <= limit else { throw Failure() }
    return try [UInt8](unsafeUninitializedCapacity: size) { target, count in
      var written = 0
      while position < bytes.count {
        let tag = try number(1)
        if tag & 3 == 0 {
          let length = (tag >> 2 < 60 ? tag >> 2 : try number((tag >> 2) - 59)) + 1
          guard length <= bytes.count - position, length <= size - written else { throw Failure() }
          UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(target)[written..<written + length])
            .copyBytes(from: bytes[position..<position + length])
          position += length
          written += length
          continue
        }
        var length = (tag >> 2) + 1
        var distance = try number(tag & 3 == 3 ? 4 : tag & 3)
        if tag & 3 == 1 {
          length = (tag >> 2 & 7) + 4
          distance |= (tag >> 5) << 8
        }
        guard distance > 0, distance <= written, length <= size - written else { throw Failure() }
        // What is copied may be what this copy writes.
        for _ in 0..<length {
          target[written] = target[written - distance]
          written += 1
        }
      }
      guard written == size else { throw Failure() }
      count = size
    }
  }
}
