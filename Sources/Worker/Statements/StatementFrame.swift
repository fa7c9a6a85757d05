// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A message between a worker and a statement executor, on the executor's standard streams: the payload's length and the
/// statement's number (u32 each, little-endian), the kind (one byte), the payload.
struct StatementFrame: Sendable, Equatable {
  enum Kind: UInt8, Sendable {
    // To the executor
    case run = 1
    case cancel = 2
    // From the executor
    /// The executor has what a statement needs.
    case ready = 16
    /// One byte: percent.
    case progress = 17
    case succeeded = 18
    /// A `PlatformError` as JSON.
    case failed = 19
    case cancelled = 20
  }

  var kind: Kind
  /// Which statement; counts from 1 in one executor, so that a late cancel does not hit the next one.
  var number: UInt32
  var payload = Data()

  static let headerBytes = 9

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
struct StatementFrameReader {
  /// Above it the stream is taken for garbage.
  static let payloadLimit = 256 << 20
  private var pending = Data()

  /// - Returns: the frames that are complete now; nil when the bytes are no frames.
  mutating func feed(_ bytes: UnsafeRawBufferPointer) -> [StatementFrame]? {
    pending.append(contentsOf: bytes)
    var frames: [StatementFrame] = []
    var start = pending.startIndex
    while pending.endIndex - start >= StatementFrame.headerBytes {
      func word(_ offset: Int) -> UInt32 { (0..<4).reduce(0) { $0 | UInt32(pending[start + offset + $1]) << (8 * UInt32($1)) } }
      let length = Int(word(0))
      guard length <= Self.payloadLimit, let kind = StatementFrame.Kind(rawValue: pending[start + 8]) else { return nil }
      let end = start + StatementFrame.headerBytes + length
      guard end <= pending.endIndex else { break }
      frames.append(StatementFrame(kind: kind, number: word(4), payload: Data(pending[(start + StatementFrame.headerBytes)..<end])))
      start = end
    }
    pending = start == pending.endIndex ? Data() : Data(pending[start...])
    return frames
  }
}
