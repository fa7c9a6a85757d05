// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A message between a worker and one of its executor processes, on that one's standard streams: the payload's length and the
/// number of the work that it is about (u32 each, little-endian), the kind (one byte), the payload.
///
/// Works are counted from 1 in one executor, so that a late cancel does not hit the next one.
struct PipeFrame<Kind: RawRepresentable<UInt8> & Sendable & Equatable>: Sendable, Equatable {
  var kind: Kind
  var number: UInt32
  var payload = Data()

  static var headerBytes: Int { 9 }

  var encoded: Data {
    var out = Data(capacity: Self.headerBytes + payload.count)
    withUnsafeBytes(of: UInt32(payload.count).littleEndian) { out.append(contentsOf: $0) }
    withUnsafeBytes(of: number.littleEndian) { out.append(contentsOf: $0) }
    out.append(kind.rawValue)
    out.append(payload)
    return out
  }
}

/// Cuts a byte stream into frames.
struct PipeFrameReader<Kind: RawRepresentable<UInt8> & Sendable & Equatable> {
  /// Above it the stream is taken for garbage.
  static var payloadLimit: Int { 256 << 20 }
  /// The beginning of a frame whose end has not come.
  private var pending: [UInt8] = []

  /// - Returns: the frames that are complete now; nil when the bytes are no frames.
  mutating func feed(_ bytes: UnsafeRawBufferPointer) -> [PipeFrame<Kind>]? {
    guard !pending.isEmpty else { return cut(bytes) }
    pending.append(contentsOf: bytes)
    let all = pending
    return all.withUnsafeBytes { cut($0) }
  }

  private mutating func cut(_ bytes: UnsafeRawBufferPointer) -> [PipeFrame<Kind>]? {
    let header = PipeFrame<Kind>.headerBytes
    var frames: [PipeFrame<Kind>] = []
    var start = 0
    while bytes.count - start >= header {
      let length = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self)))
      let number = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: start + 4, as: UInt32.self))
      guard length <= Self.payloadLimit, let kind = Kind(rawValue: bytes[start + 8]) else { return nil }
      let end = start + header + length
      guard end <= bytes.count else { break }
      frames.append(PipeFrame(kind: kind, number: number, payload: Data(bytes[(start + header)..<end])))
      start = end
    }
    if start < bytes.count { pending = Array(bytes[start...]) } else { pending = [] }
    return frames
  }
}
