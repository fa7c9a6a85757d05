// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The header of every data-plane message: 24 bytes, little-endian, followed by one payload frame.
///
///     0  u32 magic "PSF1"     4  u8 kind    5  u8 version   6  u16 zero
///     8  u64 request          16 u32 payload bytes          20 u32 argument (credit granted; bytes of the verb in a call)
struct StreamFrame: Equatable {
  enum Kind: UInt8 {
    /// Client: starts a request; the payload begins with the verb.
    case call = 1
    /// Server: a piece of the answer.
    case data = 2
    /// Server: the answer is complete.
    case end = 3
    /// Server: the answer ends with an error, as JSON.
    case fail = 4
    /// Client: nobody waits for the answer any more.
    case cancel = 5
    /// Client: `argument` more pieces may be sent.
    case credit = 6
    /// Client asks for, and server gives, a sign of life.
    case ping = 7
    case pong = 8
  }

  static let magic: UInt32 = 0x3146_5350
  static let version: UInt8 = 1
  static let headerBytes = 24
  /// Pieces of one answer that may be on their way: more hides longer round trips, fewer bounds memory per request.
  static let window: UInt32 = 64

  var kind: Kind
  var request: UInt64
  var argument: UInt32 = 0
  var payload: Data = Data()

  var header: Data {
    var out = Data(capacity: Self.headerBytes)
    func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    put(Self.magic)
    put(kind.rawValue)
    put(Self.version)
    put(UInt16(0))
    put(request)
    put(UInt32(clamping: payload.count))
    put(argument)
    return out
  }

  init(kind: Kind, request: UInt64, argument: UInt32 = 0, payload: Data = Data()) {
    self.kind = kind
    self.request = request
    self.argument = argument
    self.payload = payload
  }

  /// Nil for anything that is not exactly one frame of this version.
  init?(header: Data, payload: Data) {
    guard header.count == Self.headerBytes else { return nil }
    let bytes = [UInt8](header)
    func number(_ offset: Int, _ size: Int) -> UInt64 {
      (0..<size).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }
    guard number(0, 4) == UInt64(Self.magic), bytes[5] == Self.version, number(6, 2) == 0,
      let kind = Kind(rawValue: bytes[4]),
      number(16, 4) == UInt64(payload.count)
    else { return nil }
    self.kind = kind
    request = number(8, 8)
    argument = UInt32(number(20, 4))
    self.payload = payload
  }

  /// A call: verb first, then the payload.
  static func call(_ request: UInt64, verb: String, payload: Data) -> StreamFrame {
    StreamFrame(kind: .call, request: request, argument: UInt32(verb.utf8.count), payload: Data(verb.utf8) + payload)
  }

  /// Verb and payload of a call; nil when the lengths do not fit.
  var call: (verb: String, payload: Data)? {
    guard kind == .call, argument <= 256, Int(argument) <= payload.count else { return nil }
    let split = payload.startIndex + Int(argument)
    return (String(decoding: payload[payload.startIndex..<split], as: UTF8.self), Data(payload[split...]))
  }
}
