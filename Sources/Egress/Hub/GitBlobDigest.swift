// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The name that git gives to a file's content: SHA-1 (RFC 3174) over `blob SIZE\0` and the bytes. It finds what broke on the way; against
/// somebody who wants to deceive, SHA-1 is no help, and large files have SHA-256 beside it.
struct GitBlobDigest {
  private var state: (UInt32, UInt32, UInt32, UInt32, UInt32) = (0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0)
  private var pending: [UInt8] = []
  private var count: UInt64 = 0
  private var words = [UInt32](repeating: 0, count: 80)

  init(size: Int64) {
    Array("blob \(size)\0".utf8).withUnsafeBytes { update($0) }
  }

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    count += UInt64(bytes.count)
    var rest = bytes[...]
    if !pending.isEmpty {
      let more = rest.prefix(64 - pending.count)
      pending += more
      rest = rest.dropFirst(more.count)
      guard pending.count == 64 else { return }
      let block = pending
      pending.removeAll(keepingCapacity: true)
      block.withUnsafeBytes { take($0[...]) }
    }
    while rest.count >= 64 {
      take(rest.prefix(64))
      rest = rest.dropFirst(64)
    }
    pending += rest
  }

  /// 20 bytes. The value cannot be used afterwards.
  mutating func finish() -> [UInt8] {
    let bits = count * 8
    var tail: [UInt8] = [0x80]
    while (pending.count + tail.count) % 64 != 56 { tail.append(0) }
    tail += (0..<8).map { UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * $0)) }
    tail.withUnsafeBytes { update($0) }
    return [state.0, state.1, state.2, state.3, state.4].flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32(24 - 8 * $0)) } }
  }

  private mutating func take(_ block: Slice<UnsafeRawBufferPointer>) {
    var place = block.startIndex
    for index in 0..<16 {
      var word: UInt32 = 0
      for _ in 0..<4 {
        word = word << 8 | UInt32(block[place])
        place += 1
      }
      words[index] = word
    }
    func turned(_ value: UInt32, _ by: UInt32) -> UInt32 { value << by | value >> (32 - by) }
    for index in 16..<80 { words[index] = turned(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1) }
    var (a, b, c, d, e) = state
    for index in 0..<80 {
      let (f, k): (UInt32, UInt32) =
        switch index / 20 {
        case 0: (b & c | ~b & d, 0x5A82_7999)
        case 1: (b ^ c ^ d, 0x6ED9_EBA1)
        case 2: (b & c | b & d | c & d, 0x8F1B_BCDC)
        default: (b ^ c ^ d, 0xCA62_C1D6)
        }
      let next = turned(a, 5) &+ f &+ e &+ k &+ words[index]
      (e, d, c, b, a) = (d, c, turned(b, 30), a, next)
    }
    state = (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d, state.4 &+ e)
  }
}
