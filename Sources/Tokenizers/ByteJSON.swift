// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// JSON with strings as bytes and members in file order.
///
/// Vocabularies need it: keys that are canonically equivalent stay apart, and 100,000 of them are read without making a
/// `String` each.
indirect enum ByteJSON {
  case null
  case bool(Bool)
  case number(Double)
  case string([UInt8])
  case array([ByteJSON])
  case object([(key: [UInt8], value: ByteJSON)])

  subscript(key: String) -> ByteJSON? {
    guard case .object(let members) = self else { return nil }
    let wanted = Array(key.utf8)
    return members.first { $0.key == wanted }?.value
  }
  var members: [(key: [UInt8], value: ByteJSON)]? { if case .object(let members) = self { members } else { nil } }
  var items: [ByteJSON]? { if case .array(let items) = self { items } else { nil } }
  var bytes: [UInt8]? { if case .string(let bytes) = self { bytes } else { nil } }
  var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
  var flag: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// A whole number from 0 to 2^31 - 1.
  var id: Int32? {
    guard case .number(let value) = self, let id = Int32(exactly: value), id >= 0 else { return nil }
    return id
  }
  var isNull: Bool { if case .null = self { true } else { false } }
  /// Null or zero.
  var isNothing: Bool { if case .number(0) = self { true } else { isNull } }

  /// Reads a JSON file of at most 512 MiB.
  /// - Throws: `notFound`, or `invalidFile` with the byte position of the first error.
  static func read(_ path: String) throws -> ByteJSON {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.notFound, "cannot read tokenizer file", path: path)
    }
    guard data.count <= 512 << 20 else {
      throw PlatformError(.invalidFile, "tokenizer file is larger than 512 MiB", path: path)
    }
    do {
      return try parse([UInt8](data))
    } catch let error as PlatformError {
      throw PlatformError(error.code, error.message, path: path)
    }
  }

  static func parse(_ bytes: [UInt8]) throws -> ByteJSON {
    guard bytes.withUnsafeBufferPointer({ String(validating: $0, as: UTF8.self) != nil }) else {
      throw PlatformError(.invalidFile, "not valid JSON: not UTF-8")
    }
    return try bytes.withUnsafeBufferPointer { buffer in
      var parser = Parser(bytes: buffer)
      let value = try parser.value(depth: 0)
      parser.skipSpace()
      guard parser.index == buffer.count else { throw parser.error("text after the document") }
      return value
    }
  }

  private struct Parser {
    let bytes: UnsafeBufferPointer<UInt8>
    var index = 0

    init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    func error(_ what: String) -> PlatformError { PlatformError(.invalidFile, "not valid JSON at byte \(index): \(what)") }

    mutating func skipSpace() {
      while index < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[index]) { index += 1 }
    }

    func peek() throws -> UInt8 {
      guard index < bytes.count else { throw error("the file ends too early") }
      return bytes[index]
    }

    mutating func expect(_ word: StaticString) throws {
      for offset in 0..<word.utf8CodeUnitCount {
        guard index < bytes.count, bytes[index] == word.utf8Start[offset] else { throw error("expected \(word)") }
        index += 1
      }
    }

    mutating func value(depth: Int) throws -> ByteJSON {
      guard depth < 64 else { throw error("nested too deeply") }
      skipSpace()
      switch try peek() {
      case UInt8(ascii: "{"): return try object(depth: depth)
      case UInt8(ascii: "["): return try array(depth: depth)
      case UInt8(ascii: "\""): return .string(try string())
      case UInt8(ascii: "t"):
        try expect("true")
        return .bool(true)
      case UInt8(ascii: "f"):
        try expect("false")
        return .bool(false)
      case UInt8(ascii: "n"):
        try expect("null")
        return .null
      default: return try number()
      }
    }

    mutating func object(depth: Int) throws -> ByteJSON {
      index += 1
      var members: [(key: [UInt8], value: ByteJSON)] = []
      skipSpace()
      if try peek() == UInt8(ascii: "}") {
        index += 1
        return .object([])
      }
      while true {
        skipSpace()
        guard try peek() == UInt8(ascii: "\"") else { throw error("expected a key") }
        let key = try string()
        skipSpace()
        try expect(":")
        members.append((key, try value(depth: depth + 1)))
        skipSpace()
        if try peek() == UInt8(ascii: ",") {
          index += 1
        } else {
          try expect("}")
          return .object(members)
        }
      }
    }

    mutating func array(depth: Int) throws -> ByteJSON {
      index += 1
      var items: [ByteJSON] = []
      skipSpace()
      if try peek() == UInt8(ascii: "]") {
        index += 1
        return .array([])
      }
      while true {
        items.append(try value(depth: depth + 1))
        skipSpace()
        if try peek() == UInt8(ascii: ",") {
          index += 1
        } else {
          try expect("]")
          return .array(items)
        }
      }
    }

    mutating func number() throws -> ByteJSON {
      let start = index
      func belongs(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"): true
        default: false
        }
      }
      while index < bytes.count, belongs(bytes[index]) { index += 1 }
      guard index > start, index - start < 64 else { throw error("expected a value") }
      var small = 0
      if index - start < 10, bytes[start..<index].allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
        for byte in bytes[start..<index] { small = small * 10 + Int(byte - 0x30) }
        return .number(Double(small))
      }
      guard let value = Double(String(decoding: bytes[start..<index], as: UTF8.self)) else { throw error("not a number") }
      return .number(value)
    }

    mutating func string() throws -> [UInt8] {
      index += 1
      var out: [UInt8] = []
      var runStart = index
      while true {
        let byte = try peek()
        if byte == UInt8(ascii: "\"") {
          out.append(contentsOf: bytes[runStart..<index])
          index += 1
          return out
        }
        guard byte >= 0x20 else { throw error("control character in a string") }
        guard byte == UInt8(ascii: "\\") else {
          index += 1
          continue
        }
        out.append(contentsOf: bytes[runStart..<index])
        index += 1
        let escape = try peek()
        index += 1
        switch escape {
        case UInt8(ascii: "n"): out.append(0x0A)
        case UInt8(ascii: "t"): out.append(0x09)
        case UInt8(ascii: "r"): out.append(0x0D)
        case UInt8(ascii: "b"): out.append(0x08)
        case UInt8(ascii: "f"): out.append(0x0C)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(escape)
        case UInt8(ascii: "u"): out.append(contentsOf: Array(String(Character(try unicodeEscape())).utf8))
        default: throw error("unknown escape")
        }
        runStart = index
      }
    }

    mutating func unicodeEscape() throws -> Unicode.Scalar {
      let first = try hexFour()
      if let scalar = Unicode.Scalar(first) { return scalar }
      guard first < 0xDC00, index + 1 < bytes.count, bytes[index] == UInt8(ascii: "\\"),
        bytes[index + 1] == UInt8(ascii: "u")
      else {
        throw error("lone surrogate")
      }
      index += 2
      let second = try hexFour()
      guard second >= 0xDC00, second < 0xE000,
        let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
      else { throw error("lone surrogate") }
      return scalar
    }

    mutating func hexFour() throws -> UInt32 {
      guard index + 4 <= bytes.count,
        let value = UInt32(String(decoding: bytes[index..<index + 4], as: UTF8.self), radix: 16),
        bytes[index] != UInt8(ascii: "+"), bytes[index] != UInt8(ascii: "-")
      else { throw error("bad \\u escape") }
      index += 4
      return value
    }
  }

  /// Appends `text` as a JSON string, escaping only what JSON requires.
  static func appendString(_ text: some Sequence<UInt8>, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        out.append(UInt8(ascii: "\\"))
        out.append(byte)
      case 0..<0x20: out.append(contentsOf: Array("\\u00".utf8) + Array([byte].hexadecimal.utf8))
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
