// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Reads JSON (RFC 8259) straight from bytes, one value after the other, without building a tree.
///
/// A log of ten thousand commits is mostly JSON, so actions are decoded from here. Hostile text is an error that names the
/// byte: nesting above `depthLimit`, bad UTF-8, lone surrogates, numbers that are none.
struct JSONScanner {
  static let depthLimit = 100

  private let bytes: UnsafeBufferPointer<UInt8>
  /// Offset of the next byte.
  private(set) var position: Int
  private var depth = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>, from position: Int = 0) {
    self.bytes = bytes
    self.position = position
  }

  /// Runs `body` over the bytes of `data`.
  static func scan<T>(_ data: Data, _ body: (inout JSONScanner) throws -> T) throws -> T {
    try data.withUnsafeBytes { raw in
      var scanner = JSONScanner(raw.bindMemory(to: UInt8.self))
      return try body(&scanner)
    }
  }

  static func scan<T>(_ text: String, _ body: (inout JSONScanner) throws -> T) throws -> T {
    var text = text
    return try text.withUTF8 { raw in
      var scanner = JSONScanner(raw)
      return try body(&scanner)
    }
  }

  /// One document; nothing but white space may follow.
  static func value(_ text: String) throws -> JSONValue {
    try scan(text) { scanner in
      let value = try scanner.value()
      guard scanner.isAtEnd() else { throw scanner.fault("text after the end of the JSON document") }
      return value
    }
  }

  func fault(_ what: String) -> PlatformError { PlatformError(.invalidFile, "\(what) at byte \(position)") }

  private mutating func skipSpace() {
    while position < bytes.count {
      let byte = bytes[position]
      guard byte == 32 || byte == 10 || byte == 13 || byte == 9 else { return }
      position += 1
    }
  }

  /// Skips white space; whether all bytes are read.
  mutating func isAtEnd() -> Bool {
    skipSpace()
    return position == bytes.count
  }

  private mutating func peek() throws -> UInt8 {
    skipSpace()
    guard position < bytes.count else { throw fault("the JSON text ends early") }
    return bytes[position]
  }

  private mutating func expect(_ byte: UInt8) throws {
    guard try peek() == byte else { throw fault("expected '\(Character(Unicode.Scalar(byte)))'") }
    position += 1
  }

  private mutating func enter() throws {
    depth += 1
    guard depth <= Self.depthLimit else { throw fault("JSON is nested too deep") }
  }

  /// Consumes `null` when that is next.
  mutating func null() throws -> Bool {
    guard try peek() == UInt8(ascii: "n") else { return false }
    try word("null")
    return true
  }

  private mutating func word(_ text: StaticString) throws {
    let count = text.utf8CodeUnitCount
    guard bytes.count - position >= count, memcmp(bytes.baseAddress! + position, text.utf8Start, count) == 0 else {
      throw fault("expected '\(text)'")
    }
    position += count
  }

  /// Calls `body` at the value of each member; it has to read that value.
  mutating func members(_ body: (inout JSONScanner, String) throws -> Void) throws {
    try expect(UInt8(ascii: "{"))
    try enter()
    if try peek() == UInt8(ascii: "}") {
      position += 1
    } else {
      while true {
        let key = try string()
        try expect(UInt8(ascii: ":"))
        try body(&self, key)
        if try peek() == UInt8(ascii: ",") {
          position += 1
        } else {
          try expect(UInt8(ascii: "}"))
          break
        }
      }
    }
    depth -= 1
  }

  /// Calls `body` at each element; it has to read that value.
  mutating func elements(_ body: (inout JSONScanner) throws -> Void) throws {
    try expect(UInt8(ascii: "["))
    try enter()
    if try peek() == UInt8(ascii: "]") {
      position += 1
    } else {
      while true {
        try body(&self)
        if try peek() == UInt8(ascii: ",") {
          position += 1
        } else {
          try expect(UInt8(ascii: "]"))
          break
        }
      }
    }
    depth -= 1
  }

  mutating func string() throws -> String {
    try expect(UInt8(ascii: "\""))
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == UInt8(ascii: "\"") {
        let text = try utf8(UnsafeBufferPointer(rebasing: bytes[start..<position]))
        position += 1
        return text
      }
      if byte == UInt8(ascii: "\\") { return try escapedString(from: start) }
      guard byte >= 32 else { throw fault("a control character in a JSON string") }
      position += 1
    }
    throw fault("a JSON string without an end")
  }

  private func utf8(_ text: UnsafeBufferPointer<UInt8>) throws -> String {
    guard let string = String(validating: text, as: UTF8.self) else { throw fault("a JSON string that is not UTF-8") }
    return string
  }

  private mutating func escapedString(from start: Int) throws -> String {
    var out = [UInt8](bytes[start..<position])
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return try out.withUnsafeBufferPointer { try utf8($0) }
      case UInt8(ascii: "\\"):
        guard position < bytes.count else { throw fault("a JSON string without an end") }
        let kind = bytes[position]
        position += 1
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(kind)
        case UInt8(ascii: "n"): out.append(10)
        case UInt8(ascii: "t"): out.append(9)
        case UInt8(ascii: "r"): out.append(13)
        case UInt8(ascii: "b"): out.append(8)
        case UInt8(ascii: "f"): out.append(12)
        case UInt8(ascii: "u"): out.append(contentsOf: String(Character(try escapedScalar())).utf8)
        default: throw fault("an unknown escape in a JSON string")
        }
      default:
        guard byte >= 32 else { throw fault("a control character in a JSON string") }
        out.append(byte)
      }
    }
    throw fault("a JSON string without an end")
  }

  private mutating func escapedScalar() throws -> Unicode.Scalar {
    let high = try hexadecimal()
    if high >= 0xD800 && high < 0xDC00 {
      guard bytes.count - position >= 2, bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u") else {
        throw fault("half a surrogate pair in a JSON string")
      }
      position += 2
      let low = try hexadecimal()
      guard low >= 0xDC00 && low < 0xE000 else { throw fault("half a surrogate pair in a JSON string") }
      return Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00))!
    }
    guard let scalar = Unicode.Scalar(high) else { throw fault("half a surrogate pair in a JSON string") }
    return scalar
  }

  private mutating func hexadecimal() throws -> UInt32 {
    guard bytes.count - position >= 4 else { throw fault("a JSON string without an end") }
    var value: UInt32 = 0
    for _ in 0..<4 {
      let byte = bytes[position]
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte - UInt8(ascii: "A") + 10
      default: throw fault("a bad \\u escape in a JSON string")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  mutating func bool() throws -> Bool {
    switch try peek() {
    case UInt8(ascii: "t"):
      try word("true")
      return true
    case UInt8(ascii: "f"):
      try word("false")
      return false
    default: throw fault("expected true or false")
    }
  }

  private enum Number {
    case integer(Int64)
    case double(Double)
  }

  private mutating func number() throws -> Number {
    _ = try peek()
    let start = position
    let isNegative = bytes[position] == UInt8(ascii: "-")
    if isNegative { position += 1 }
    var value: Int64 = 0
    var fits = true
    let first = position
    while position < bytes.count, bytes[position] >= UInt8(ascii: "0"), bytes[position] <= UInt8(ascii: "9") {
      let digit = Int64(bytes[position] - UInt8(ascii: "0"))
      let (times, over) = value.multipliedReportingOverflow(by: 10)
      let (sum, more) = isNegative ? times.subtractingReportingOverflow(digit) : times.addingReportingOverflow(digit)
      if over || more { fits = false }
      value = sum
      position += 1
    }
    guard position > first, position - first == 1 || bytes[first] != UInt8(ascii: "0") else {
      throw fault("a JSON value that is none")
    }
    let next = position < bytes.count ? bytes[position] : 0
    if fits && next != UInt8(ascii: ".") && next != UInt8(ascii: "e") && next != UInt8(ascii: "E") { return .integer(value) }
    if next == UInt8(ascii: ".") {
      position += 1
      try digits()
    }
    if position < bytes.count, bytes[position] | 32 == UInt8(ascii: "e") {
      position += 1
      if position < bytes.count, bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    guard let number = Double(String(decoding: bytes[start..<position], as: UTF8.self)), number.isFinite else {
      throw fault("a JSON number that cannot be read")
    }
    return .double(number)
  }

  private mutating func digits() throws {
    let start = position
    while position < bytes.count, bytes[position] >= UInt8(ascii: "0"), bytes[position] <= UInt8(ascii: "9") { position += 1 }
    guard position > start else { throw fault("a JSON number that cannot be read") }
  }

  /// A whole number that fits 64 bits.
  mutating func integer() throws -> Int64 {
    switch try number() {
    case .integer(let value): return value
    case .double(let value):
      guard let whole = Int64(exactly: value) else { throw fault("expected a whole number") }
      return whole
    }
  }

  /// Like `integer`, and not below zero.
  mutating func size() throws -> Int64 {
    let value = try integer()
    guard value >= 0 else { throw fault("a negative size") }
    return value
  }

  mutating func stringOrNull() throws -> String? { try null() ? nil : string() }
  mutating func integerOrNull() throws -> Int64? { try null() ? nil : integer() }
  mutating func sizeOrNull() throws -> Int64? { try null() ? nil : size() }
  mutating func boolOrNull() throws -> Bool? { try null() ? nil : bool() }

  mutating func strings() throws -> [String] {
    var items: [String] = []
    try elements { items.append(try $0.string()) }
    return items
  }

  mutating func stringMap() throws -> [String: String] {
    var map: [String: String] = [:]
    try members { scanner, key in map[key] = try scanner.stringOrNull() }
    return map
  }

  mutating func nullableStringMap() throws -> [String: String?] {
    var map: [String: String?] = [:]
    try members { scanner, key in map.updateValue(try scanner.stringOrNull(), forKey: key) }
    return map
  }

  /// Any value as a tree.
  mutating func value() throws -> JSONValue {
    switch try peek() {
    case UInt8(ascii: "{"):
      var object: [String: JSONValue] = [:]
      try members { scanner, key in object[key] = try scanner.value() }
      return .object(object)
    case UInt8(ascii: "["):
      var array: [JSONValue] = []
      try elements { array.append(try $0.value()) }
      return .array(array)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool(try bool())
    case UInt8(ascii: "n"):
      try word("null")
      return .null
    default:
      switch try number() {
      case .integer(let value): return .integer(value)
      case .double(let value): return Int64(exactly: value).map { .integer($0) } ?? .number(value)
      }
    }
  }

  /// Reads a value and forgets it.
  mutating func skip() throws {
    switch try peek() {
    case UInt8(ascii: "{"): try members { scanner, _ in try scanner.skip() }
    case UInt8(ascii: "["): try elements { try $0.skip() }
    default: _ = try value()
    }
  }
}
