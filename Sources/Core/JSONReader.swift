// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Reads the JSON that programs write, many times faster than Foundation's decoder reads a `JSONValue`, which tries one type after the other.
///
/// What it does not take (anything that is wrong, and what is rare: other encodings than UTF-8, great depth) is left to Foundation, so
/// that both accept the same texts, with the same values and the same words about what is wrong.
struct JSONReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0

  // `nil` is a JSON value of its own in Swift code: what is not there is `.none` here.

  /// Deeper documents are left to Foundation, which has its own limit.
  private static let depthLimit = 64

  /// - Returns: nil for what it does not take.
  static func read(_ data: Data) -> JSONValue? {
    data.withUnsafeBytes { raw -> JSONValue? in
      let bytes = raw.bindMemory(to: UInt8.self)
      guard !bytes.isEmpty else { return .none }
      var reader = JSONReader(bytes: bytes)
      guard let value = reader.value(depth: 0) else { return .none }
      reader.skipSpace()
      guard reader.position == bytes.count else { return .none }
      return value
    }
  }

  private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  private mutating func skipSpace() {
    while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard position < bytes.count, bytes[position] == byte else { return false }
    position += 1
    return true
  }

  private mutating func take(_ word: StaticString) -> Bool {
    guard bytes.count - position >= word.utf8CodeUnitCount, memcmp(bytes.baseAddress! + position, word.utf8Start, word.utf8CodeUnitCount) == 0 else {
      return false
    }
    position += word.utf8CodeUnitCount
    return true
  }

  private mutating func value(depth: Int) -> JSONValue? {
    skipSpace()
    guard position < bytes.count, depth < Self.depthLimit else { return .none }
    switch bytes[position] {
    case UInt8(ascii: "\""): return string().map { .string($0) }
    case UInt8(ascii: "{"): return object(depth: depth)
    case UInt8(ascii: "["): return array(depth: depth)
    case UInt8(ascii: "t"): return take("true") ? .some(.bool(true)) : .none
    case UInt8(ascii: "f"): return take("false") ? .some(.bool(false)) : .none
    case UInt8(ascii: "n"): return take("null") ? .some(.null) : .none
    default: return number()
    }
  }

  private mutating func object(depth: Int) -> JSONValue? {
    position += 1
    var members: [String: JSONValue] = [:]
    skipSpace()
    if take(UInt8(ascii: "}")) { return .object(members) }
    while true {
      skipSpace()
      guard position < bytes.count, bytes[position] == UInt8(ascii: "\""), let key = string() else { return .none }
      skipSpace()
      guard take(UInt8(ascii: ":")), let value = value(depth: depth + 1) else { return .none }
      // Which of two members with one name counts is for Foundation to say.
      guard members.updateValue(value, forKey: key) == nil else { return .none }
      skipSpace()
      if take(UInt8(ascii: "}")) { return .object(members) }
      guard take(UInt8(ascii: ",")) else { return .none }
    }
  }

  private mutating func array(depth: Int) -> JSONValue? {
    position += 1
    var items: [JSONValue] = []
    skipSpace()
    if take(UInt8(ascii: "]")) { return .array(items) }
    while true {
      guard let value = value(depth: depth + 1) else { return .none }
      items.append(value)
      skipSpace()
      if take(UInt8(ascii: "]")) { return .array(items) }
      guard take(UInt8(ascii: ",")) else { return .none }
    }
  }

  private mutating func string() -> String? {
    position += 1
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        defer { position += 1 }
        return String(validating: bytes[start..<position], as: UTF8.self)
      }
      if byte == UInt8(ascii: "\\") { return escapedString(from: start) }
      guard byte >= 0x20 else { return .none }
      position += 1
    }
    return .none
  }

  /// The rest of a string that has an escape at `position`.
  private mutating func escapedString(from start: Int) -> String? {
    var text = Array(bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return String(validating: text, as: UTF8.self)
      case UInt8(ascii: "\\"): guard escape(into: &text) else { return .none }
      case 0..<0x20: return .none
      default: text.append(byte)
      }
    }
    return .none
  }

  private mutating func escape(into text: inout [UInt8]) -> Bool {
    guard position < bytes.count else { return false }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      guard var code = hexadecimal() else { return false }
      if code & 0xFC00 == 0xD800 {
        guard take("\\u"), let low = hexadecimal(), low & 0xFC00 == 0xDC00 else { return false }
        code = 0x10000 + (code & 0x3FF) << 10 + low & 0x3FF
      }
      guard let scalar = Unicode.Scalar(code) else { return false }
      text.append(contentsOf: UTF8.encode(scalar)!)  // every scalar can be encoded
    default: return false
    }
    return true
  }

  private mutating func hexadecimal() -> UInt32? {
    guard bytes.count - position >= 4 else { return .none }
    var code: UInt32 = 0
    for offset in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[position + offset])).hexDigitValue, bytes[position + offset] < 0x80 else { return .none }
      code = code << 4 | UInt32(digit)
    }
    position += 4
    return code
  }

  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  private mutating func digits() -> Int {
    let start = position
    while position < bytes.count, Self.isDigit(bytes[position]) { position += 1 }
    return position - start
  }

  private mutating func number() -> JSONValue? {
    let start = position
    _ = take(UInt8(ascii: "-"))
    let first = position
    let whole = digits()
    guard whole > 0, whole == 1 || bytes[first] != UInt8(ascii: "0") else { return .none }
    let isInteger = position == bytes.count || ![UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E")].contains(bytes[position])
    if isInteger, whole <= 18 {
      let magnitude = bytes[first..<position].reduce(Int64(0)) { $0 * 10 + Int64($1 - UInt8(ascii: "0")) }
      return .integer(first == start ? magnitude : -magnitude)
    }
    if take(UInt8(ascii: ".")), digits() == 0 { return .none }
    if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
      if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
      if digits() == 0 { return .none }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int64(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { return .none }
    guard !isInteger else { return .number(value) }
    // A whole number is one, however it is written; where doubles have gaps between whole numbers, Foundation says.
    guard let integer = Int64(exactly: value) else { return .number(value) }
    return abs(value) < 0x1p53 ? .integer(integer) : .none
  }
}
