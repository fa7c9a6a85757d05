// SPDX-License-Identifier: Apache-2.0

import Core

/// Base 85 text as deletion vectors use it (rfc.zeromq.org/spec/32): five characters stand for four bytes, big end first.
enum Z85 {
  private static let alphabet = Array(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)
  private static let values: [UInt8] = {
    var table = [UInt8](repeating: 255, count: 256)
    for (value, byte) in alphabet.enumerated() { table[Int(byte)] = UInt8(value) }
    return table
  }()

  /// Bytes that are no multiple of four are filled up with zeros.
  static func encode(_ bytes: [UInt8]) -> String {
    var out: [UInt8] = []
    out.reserveCapacity((bytes.count + 3) / 4 * 5)
    for start in stride(from: 0, to: bytes.count, by: 4) {
      var word: UInt32 = 0
      for offset in 0..<4 { word = word << 8 | (start + offset < bytes.count ? UInt32(bytes[start + offset]) : 0) }
      var divisor: UInt32 = 85 * 85 * 85 * 85
      for _ in 0..<5 {
        out.append(alphabet[Int(word / divisor % 85)])
        divisor = max(1, divisor / 85)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// - Throws: `invalidFile` for a length that is no multiple of five, a foreign character, or a group above 32 bits.
  static func decode(_ text: some StringProtocol) throws -> [UInt8] {
    let source = Array(text.utf8)
    guard source.count % 5 == 0 else { throw PlatformError(.invalidFile, "base 85 text of \(source.count) characters is cut off") }
    var out: [UInt8] = []
    out.reserveCapacity(source.count / 5 * 4)
    for start in stride(from: 0, to: source.count, by: 5) {
      var word: UInt64 = 0
      for offset in 0..<5 {
        let value = values[Int(source[start + offset])]
        guard value != 255 else { throw PlatformError(.invalidFile, "base 85 text has a foreign character at \(start + offset)") }
        word = word * 85 + UInt64(value)
      }
      guard let word = UInt32(exactly: word) else { throw PlatformError(.invalidFile, "base 85 text is out of range at \(start)") }
      for shift in [24, 16, 8, 0] as [UInt32] { out.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }
    return out
  }
}

/// CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), eight bytes a step.
enum CRC32 {
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 8 * 256)
    for index in 0..<256 {
      var value = UInt32(index)
      for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xEDB8_8320 : value >> 1 }
      tables[index] = value
    }
    for table in 1..<8 {
      for index in 0..<256 {
        let previous = tables[(table - 1) * 256 + index]
        tables[table * 256 + index] = previous >> 8 ^ tables[Int(previous & 255)]
      }
    }
    return tables
  }()

  static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    tables.withUnsafeBufferPointer { tables in
      var crc = ~UInt32(0)
      var index = 0
      while bytes.count - index >= 8 {
        let low = crc ^ UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self))
        let high = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index + 4, as: UInt32.self))
        crc =
          tables[7 * 256 + Int(low & 255)] ^ tables[6 * 256 + Int(low >> 8 & 255)] ^ tables[5 * 256 + Int(low >> 16 & 255)]
          ^ tables[4 * 256 + Int(low >> 24)]
        crc ^=
          tables[3 * 256 + Int(high & 255)] ^ tables[2 * 256 + Int(high >> 8 & 255)] ^ tables[256 + Int(high >> 16 & 255)]
          ^ tables[Int(high >> 24)]
        index += 8
      }
      while index < bytes.count {
        crc = crc >> 8 ^ tables[Int((crc ^ UInt32(bytes[index])) & 255)]
        index += 1
      }
      return ~crc
    }
  }
}
