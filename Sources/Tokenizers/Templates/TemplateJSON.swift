// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// JSON that keeps the order of an object's members, which templates print.
enum TemplateJSON {
  /// - Throws: `invalidArgument` with the offset of the fault; nesting deeper than 200 is refused.
  static func parse(_ bytes: [UInt8]) throws -> TemplateValue {
    var reader = Reader(bytes: bytes)
    let value = try reader.value(depth: 0)
    reader.skipSpace()
    guard reader.index == bytes.count else { throw reader.fault() }
    return value
  }

  private struct Reader {
    let bytes: [UInt8]
    var index = 0

    func fault() -> PlatformError { PlatformError(.invalidArgument, "bad JSON at byte \(index)", number: "PLT-4121") }

    mutating func skipSpace() { while index < bytes.count, [9, 10, 13, 32].contains(bytes[index]) { index += 1 } }

    mutating func take(_ text: String) -> Bool {
      guard bytes[index...].starts(with: text.utf8) else { return false }
      index += text.utf8.count
      return true
    }

    mutating func value(depth: Int) throws -> TemplateValue {
      skipSpace()
      guard index < bytes.count, depth < 200 else { throw fault() }
      switch bytes[index] {
      case UInt8(ascii: "{"):
        index += 1
        var dictionary = TemplateDictionary()
        var isFirst = true
        while true {
          skipSpace()
          if take("}") { return .dictionary(dictionary) }
          if !isFirst {
            guard take(",") else { throw fault() }
            skipSpace()
          }
          isFirst = false
          let key = try string()
          skipSpace()
          guard take(":") else { throw fault() }
          dictionary.set(key, try value(depth: depth + 1))
        }
      case UInt8(ascii: "["):
        index += 1
        var items: [TemplateValue] = []
        while true {
          skipSpace()
          if take("]") { return .list(items) }
          if !items.isEmpty { guard take(",") else { throw fault() } }
          items.append(try value(depth: depth + 1))
        }
      case UInt8(ascii: "\""): return .string(try string())
      default:
        if take("true") { return .bool(true) }
        if take("false") { return .bool(false) }
        if take("null") { return .none }
        let start = index
        while index < bytes.count, "+-.eE0123456789".utf8.contains(bytes[index]) { index += 1 }
        let text = String(decoding: bytes[start..<index], as: UTF8.self)
        if let number = Int(text) { return .int(number) }
        guard let number = Double(text) else { throw fault() }
        return .float(number)
      }
    }

    mutating func string() throws -> String {
      guard index < bytes.count, bytes[index] == UInt8(ascii: "\"") else { throw fault() }
      let start = index
      index += 1
      var hasEscapes = false
      while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
        if bytes[index] == UInt8(ascii: "\\") {
          hasEscapes = true
          index += 1
        }
        index += 1
      }
      guard index < bytes.count else { throw fault() }
      index += 1
      guard hasEscapes else { return String(decoding: bytes[start + 1..<index - 1], as: UTF8.self) }
      guard case .string(let text)? = try? JSONValue(parsing: String(decoding: bytes[start..<index], as: UTF8.self)) else { throw fault() }
      return text
    }
  }
}
