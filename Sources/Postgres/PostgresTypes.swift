// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Decodes text results by type identifier (`pg_type.oid`; these built-in numbers are fixed).
enum PostgresTypes {
  static let bytea: UInt32 = 17

  static func decode(_ bytes: UnsafeBufferPointer<UInt8>, type: UInt32) -> PostgresValue {
    let text = String(decoding: bytes, as: UTF8.self)
    switch type {
    case 16: return .bool(text == "t")
    case 20, 21, 23, 26: return Int(text).map(PostgresValue.int) ?? .text(text)  // oid, int2, int4, int8 always fit
    case 700, 701: return Double(text).map(PostgresValue.double) ?? .text(text)
    case bytea: return hexadecimal(bytes).map(PostgresValue.bytes) ?? .text(text)
    case 114, 3802: return .json(StoredJSON.restored(text))
    case 1082, 1114, 1184: return PostgresTimestamp.parse(text).map(PostgresValue.timestamp) ?? .text(text)
    case 1002, 1003, 1009, 1015, 2951: return array(text).map(PostgresValue.textArray) ?? .text(text)
    default: return .text(text)
    }
  }

  /// `\x` followed by pairs of hexadecimal digits (`bytea_output = hex`).
  private static func hexadecimal(_ bytes: UnsafeBufferPointer<UInt8>) -> Data? {
    guard bytes.count >= 2, bytes[0] == UInt8(ascii: "\\"), bytes[1] == UInt8(ascii: "x"), bytes.count % 2 == 0 else { return nil }
    func digit(_ byte: UInt8) -> UInt8? {
      switch byte {
      case 48...57: byte - 48
      case 97...102: byte - 87
      case 65...70: byte - 55
      default: nil
      }
    }
    var out = Data(capacity: bytes.count / 2 - 1)
    var index = 2
    while index < bytes.count {
      guard let high = digit(bytes[index]), let low = digit(bytes[index + 1]) else { return nil }
      out.append(high << 4 | low)
      index += 2
    }
    return out
  }

  /// A one-dimensional array literal without NULL elements; nil for anything else.
  static func array(_ text: String) -> [String]? {
    var bytes = Array(text.utf8)[...]
    guard bytes.popFirst() == UInt8(ascii: "{"), bytes.popLast() == UInt8(ascii: "}") else { return nil }
    var items: [String] = []
    while !bytes.isEmpty {
      var item: [UInt8] = []
      if bytes.first == UInt8(ascii: "\"") {
        bytes.removeFirst()
        while let byte = bytes.popFirst(), byte != UInt8(ascii: "\"") {
          if byte == UInt8(ascii: "\\") {
            guard let escaped = bytes.popFirst() else { return nil }
            item.append(escaped)
          } else {
            item.append(byte)
          }
        }
      } else {
        while let byte = bytes.first, byte != UInt8(ascii: ",") {
          if byte == UInt8(ascii: "{") { return nil }
          item.append(byte)
          bytes.removeFirst()
        }
        if item == Array("NULL".utf8) { return nil }
      }
      items.append(String(decoding: item, as: UTF8.self))
      guard let separator = bytes.popFirst() else { break }
      if separator != UInt8(ascii: ",") { return nil }
    }
    return items
  }
}
