// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Turns Avro values into JSON text: whole numbers and decimals exactly, bytes as base64, times as ISO 8601.
struct AvroWriter {
  let schema: AvroSchema
  var cursor: AvroCursor
  /// Values that may still come.
  var budget: Int
  private var out: [UInt8] = []

  init(schema: AvroSchema, cursor: AvroCursor, budget: Int) {
    self.schema = schema
    self.cursor = cursor
    self.budget = budget
  }

  /// One record as a JSON object.
  mutating func record() throws -> String {
    out.removeAll(keepingCapacity: true)
    if case .named(let position) = schema.root, case .record = schema.named[position] {
      try write(schema.root, depth: 0)
    } else {
      put("{\"value\":")
      try write(schema.root, depth: 0)
      put("}")
    }
    return String(decoding: out, as: UTF8.self)
  }

  private mutating func put(_ text: String) { out += text.utf8 }

  private mutating func text(_ bytes: UnsafeRawBufferPointer) { text(String(decoding: bytes, as: UTF8.self)) }

  private mutating func text(_ string: String) {
    out.append(UInt8(ascii: "\""))
    for byte in string.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
      case 0..<32: put("\\u00" + (byte < 16 ? "0" : "") + String(byte, radix: 16))
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }

  private mutating func number(_ value: Double, _ words: String) {
    if value.isFinite { put(words) } else { text(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity") }
  }

  private mutating func write(_ node: AvroSchema.Node, depth: Int) throws {
    budget -= 1
    guard depth < 64, budget > 0 else { throw AvroSchema.damaged("a value is nested too deeply or too large") }
    switch node {
    case .null: put("null")
    case .boolean:
      let value = try cursor.byte()
      guard value < 2 else { throw AvroSchema.damaged("a truth value is neither 0 nor 1") }
      put(value == 1 ? "true" : "false")
    case .int, .long: put(String(try cursor.long()))
    case .float:
      let value = Float(bitPattern: UInt32(littleEndian: try cursor.take(4).loadUnaligned(as: UInt32.self)))
      number(Double(value), "\(value)")
    case .double:
      let value = Double(bitPattern: UInt64(littleEndian: try cursor.take(8).loadUnaligned(as: UInt64.self)))
      number(value, "\(value)")
    case .bytes: text(Data(try cursor.bytes()).base64EncodedString())
    case .string: text(try cursor.bytes())
    case .date:
      guard let days = Int32(exactly: try cursor.long()) else { throw AvroSchema.damaged("a date is out of range") }
      text(SQLTime.date(days: days))
    case .time(let perSecond):
      let value = try cursor.long()
      guard value >= 0, value < 86_400 * perSecond else { throw AvroSchema.damaged("a time of day is out of range") }
      text(String(SQLTime.timestamp(micros: value * (1_000_000 / perSecond)).dropFirst(11).dropLast()))
    case .timestamp(let perSecond, let isLocal):
      let value = try cursor.long()
      let (micros, overflow) =
        perSecond > 1_000_000 ? (value >= 0 ? value / 1000 : (value - 999) / 1000, false) : value.multipliedReportingOverflow(by: 1_000_000 / perSecond)
      guard !overflow else { throw AvroSchema.damaged("a time is out of range") }
      let iso = SQLTime.timestamp(micros: micros)
      text(isLocal ? String(iso.dropLast()) : iso)
    case .decimal(_, let scale): text(Self.decimal(Array(try cursor.bytes()), scale: scale))
    case .array(let item):
      put("[")
      var isFirst = true
      try blocks { writer in
        if !isFirst { writer.put(",") }
        isFirst = false
        try writer.write(item, depth: depth + 1)
      }
      put("]")
    case .map(let value):
      put("{")
      var isFirst = true
      try blocks { writer in
        if !isFirst { writer.put(",") }
        isFirst = false
        writer.text(try writer.cursor.bytes())
        writer.put(":")
        try writer.write(value, depth: depth + 1)
      }
      put("}")
    case .union(let choices):
      guard let index = Int(exactly: try cursor.long()), choices.indices.contains(index) else { throw AvroSchema.damaged("a union has no such type") }
      try write(choices[index], depth: depth + 1)
    case .named(let position):
      switch schema.named[position] {
      case .enumeration(let symbols):
        guard let index = Int(exactly: try cursor.long()), symbols.indices.contains(index) else { throw AvroSchema.damaged("an enum has no such symbol") }
        text(symbols[index])
      case .fixed(let size, let decimal):
        let bytes = try cursor.take(size)
        if let decimal { text(Self.decimal(Array(bytes), scale: decimal.1)) } else { text(Data(bytes).base64EncodedString()) }
      case .record(let fields):
        put("{")
        for (index, field) in fields.enumerated() {
          if index > 0 { put(",") }
          text(field.name)
          put(":")
          try write(field.type, depth: depth + 1)
        }
        put("}")
      }
    }
  }

  private mutating func blocks(_ item: (inout AvroWriter) throws -> Void) throws {
    while true {
      var count = try cursor.long()
      if count == 0 { return }
      if count < 0 {
        guard count != .min else { throw AvroSchema.damaged("a list has an impossible length") }
        count = -count
        _ = try cursor.long()
      }
      guard count <= budget else { throw AvroSchema.damaged("a list has an impossible length") }
      for _ in 0..<count { try item(&self) }
    }
  }

  /// The text of a big-endian two's complement number with `scale` digits behind the point.
  static func decimal(_ bytes: [UInt8], scale: Int) -> String {
    guard let first = bytes.first, bytes.count <= 64 else { return "0" }
    let isNegative = first >= 0x80
    var magnitude = bytes
    if isNegative {
      magnitude = magnitude.map { ~$0 }
      for index in magnitude.indices.reversed() {
        magnitude[index] &+= 1
        if magnitude[index] != 0 { break }
      }
    }
    var digits: [UInt8] = []
    while magnitude.contains(where: { $0 != 0 }) {
      var rest = 0
      for index in magnitude.indices {
        let value = rest << 8 | Int(magnitude[index])
        magnitude[index] = UInt8(value / 10)
        rest = value % 10
      }
      digits.append(UInt8(rest) + 48)
    }
    while digits.count <= scale { digits.append(48) }
    var text = String(decoding: digits.reversed(), as: UTF8.self)
    if scale > 0 { text.insert(".", at: text.index(text.endIndex, offsetBy: -scale)) }
    return isNegative ? "-" + text : text
  }
}
