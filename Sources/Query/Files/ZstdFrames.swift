// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The frames of a file that is packed with Zstandard (RFC 8878, section 3.1). The engine takes the end of such a file for the end of its
/// content, also in the middle of a frame.
enum ZstdFrames {
  /// Whether the file is one or more whole frames and nothing else. What is in the blocks is not looked at.
  static func areWhole(_ descriptor: Int32, sizeBytes: Int64) -> Bool {
    var offset: Int64 = 0
    guard sizeBytes > 0 else { return false }
    while offset < sizeBytes {
      guard let end = end(descriptor, from: offset, sizeBytes), end <= sizeBytes else { return false }
      offset = end
    }
    return true
  }

  /// Where the frame ends that begins at `start`; nil for what is no frame, or ends too early.
  private static func end(_ descriptor: Int32, from start: Int64, _ sizeBytes: Int64) -> Int64? {
    var offset = start
    func number(_ count: Int) -> UInt32? {
      var bytes: [UInt8] = [0, 0, 0, 0]
      guard pread(descriptor, &bytes, count, off_t(offset)) == count else { return nil }
      offset += Int64(count)
      return UInt32(bytes[0]) | UInt32(bytes[1]) << 8 | UInt32(bytes[2]) << 16 | UInt32(bytes[3]) << 24
    }
    guard let magic = number(4) else { return nil }
    if magic & 0xFFFF_FFF0 == 0x184D_2A50 {  // to be skipped
      guard let length = number(4) else { return nil }
      return offset + Int64(length)
    }
    guard magic == 0xFD2F_B528, let descriptor = number(1), descriptor & 8 == 0 else { return nil }
    let isSingle = descriptor & 32 != 0
    offset += (isSingle ? 0 : 1) + [0, 1, 2, 4][Int(descriptor & 3)] + [isSingle ? 1 : 0, 2, 4, 8][Int(descriptor >> 6)]
    while offset < sizeBytes {
      guard let block = number(3), block >> 1 & 3 != 3 else { return nil }
      offset += block >> 1 & 3 == 1 ? 1 : Int64(block >> 3)
      if block & 1 == 1 { return offset + (descriptor & 4 == 0 ? 0 : 4) }
    }
    return nil
  }
}
