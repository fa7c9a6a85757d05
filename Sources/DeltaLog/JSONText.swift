// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Writes JSON text into a buffer. Members that are nil are left out.
struct JSONText {
  private(set) var bytes: [UInt8] = []
  private var needsComma = false

  var data: Data { Data(bytes) }
  var text: String { String(decoding: bytes, as: UTF8.self) }

  mutating func newline() {
    bytes.append(10)
    needsComma = false
  }

  private mutating func separate() {
    if needsComma { bytes.append(UInt8(ascii: ",")) }
    needsComma = true
  }

  mutating func object(_ body: (inout JSONText) -> Void) {
    separate()
    bytes.append(UInt8(ascii: "{"))
    needsComma = false
    body(&self)
    bytes.append(UInt8(ascii: "}"))
    needsComma = true
  }

  mutating func array(_ body: (inout JSONText) -> Void) {
    separate()
    bytes.append(UInt8(ascii: "["))
    needsComma = false
    body(&self)
    bytes.append(UInt8(ascii: "]"))
    needsComma = true
  }

  mutating func key(_ name: String) {
    string(name)
    bytes.append(UInt8(ascii: ":"))
    needsComma = false
  }

  mutating func string(_ text: String) {
    separate()
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 10: bytes.append(contentsOf: "\\n".utf8)
      case 13: bytes.append(contentsOf: "\\r".utf8)
      case 9: bytes.append(contentsOf: "\\t".utf8)
      case 0..<32:
        bytes.append(contentsOf: "\\u00".utf8)
        bytes.append(contentsOf: [byte].hexadecimal.utf8)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  private mutating func word(_ text: String) {
    separate()
    bytes.append(contentsOf: text.utf8)
  }

  /// Objects in order of their keys, so that the same value always gives the same bytes. Numbers that JSON lacks are null.
  mutating func value(_ value: JSONValue) {
    switch value {
    case .null: word("null")
    case .bool(let flag): word(flag ? "true" : "false")
    case .integer(let number): word(String(number))
    case .number(let number): word(number.isFinite ? "\(number)" : "null")
    case .string(let text): string(text)
    case .array(let items): array { out in for item in items { out.value(item) } }
    case .object(let members):
      object { out in
        for (key, item) in members.sorted(by: { $0.key < $1.key }) {
          out.key(key)
          out.value(item)
        }
      }
    }
  }

  mutating func member(_ name: String, _ value: String?) {
    guard let value else { return }
    key(name)
    string(value)
  }

  mutating func member(_ name: String, _ value: Int64?) {
    guard let value else { return }
    key(name)
    word(String(value))
  }

  mutating func member(_ name: String, _ value: Int?) { member(name, value.map(Int64.init)) }

  mutating func member(_ name: String, _ value: Bool?) {
    guard let value else { return }
    key(name)
    word(value ? "true" : "false")
  }

  mutating func member(_ name: String, _ value: JSONValue?) {
    guard let value else { return }
    key(name)
    self.value(value)
  }

  mutating func member(_ name: String, _ value: [String]?) {
    guard let value else { return }
    key(name)
    array { out in for item in value { out.string(item) } }
  }

  mutating func member(_ name: String, _ value: [String: String]?) {
    guard let value else { return }
    key(name)
    object { out in for (key, item) in value.sorted(by: { $0.key < $1.key }) { out.member(key, item) } }
  }

  mutating func member(_ name: String, nullable value: [String: String?]?) {
    guard let value else { return }
    key(name)
    object { out in
      for (key, item) in value.sorted(by: { $0.key < $1.key }) {
        out.key(key)
        if let item { out.string(item) } else { out.word("null") }
      }
    }
  }

  static func text(of value: JSONValue) -> String {
    var out = JSONText()
    out.value(value)
    return out.text
  }
}
