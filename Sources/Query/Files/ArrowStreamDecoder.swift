// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Reads an Arrow IPC stream (format version 5, uncompressed) as one JSON object a row, in the form that the reader of JSON takes:
/// whole numbers as they are, decimals, dates and times as text, binary as base64. Nothing of the input is trusted.
struct ArrowStreamDecoder {
  /// A field of the schema, with those inside of it.
  private struct Field {
    var name: String
    var kind: Kind
    var children: [Field]
    /// Values are positions in a dictionary.
    var dictionary: (id: Int64, index: Kind)?
  }

  private indirect enum Kind {
    case null, bool
    case int(bits: Int, isSigned: Bool)
    case float(bits: Int)
    case text(isLarge: Bool)
    case binary(isLarge: Bool)
    case fixedBinary(Int)
    case decimal(scale: Int)
    case date(isDays: Bool)
    case time(bits: Int, unit: Int)
    case timestamp(unit: Int, isInstant: Bool)
    case list(isLarge: Bool)
    case fixedList(Int)
    case structure
    case map
  }

  /// One column of a batch: where its buffers lie.
  private final class Values {
    let field: Field
    let count: Int
    var validity: Range<Int>?
    var first: Range<Int>?
    var second: Range<Int>?
    var children: [Values] = []
    init(_ field: Field, _ count: Int) {
      self.field = field
      self.count = count
    }
  }

  private let bytes: FlatBytes
  private var fields: [Field] = []
  private var dictionaries: [Int64: [[UInt8]]] = [:]
  private static let depthLimit = 32
  /// Of the text that comes out.
  private static let limit = 512 << 20

  /// - Throws: `invalidFile` PLT-3123 with the byte.
  static func lines(_ data: Data) throws -> Data {
    var decoder = ArrowStreamDecoder(bytes: FlatBytes([UInt8](data)))
    return Data(try decoder.run())
  }

  private init(bytes: FlatBytes) { self.bytes = bytes }

  private mutating func run() throws -> [UInt8] {
    var out: [UInt8] = []
    var at = 0
    var hasSchema = false
    while at < bytes.count {
      var length = try bytes.int32(at)
      at += 4
      if length == -1 {
        length = try bytes.int32(at)
        at += 4
      }
      if length == 0 { break }
      guard length > 0, Int(length) <= bytes.count - at else { throw FlatBytes.damage(at, "a message is longer than the stream") }
      let message = try bytes.root(at)
      at += Int(length)
      let size = try message.int64(3) ?? 0
      guard size >= 0, size <= bytes.count - at else { throw FlatBytes.damage(at, "a message's body is longer than the stream") }
      let body = at..<at + Int(size)
      guard let header = try message.table(2) else { throw FlatBytes.damage(at, "a message has no header") }
      switch try message.uint8(1) ?? 0 {
      case 1:
        guard !hasSchema else { throw FlatBytes.damage(at, "a second schema") }
        fields = try (header.tables(1)).map { try Self.field($0, depth: 0) }
        hasSchema = true
      case 2:
        let id = try header.int64(0) ?? 0
        guard let data = try header.table(1), let field = Self.find(id, fields) else { throw FlatBytes.damage(at, "a dictionary without a field") }
        var plain = field
        plain.dictionary = nil
        let columns = try batch(data, [plain], body)
        var values: [[UInt8]] = []
        for row in 0..<columns.count {
          var text: [UInt8] = []
          try write(columns.values[0], row, &text)
          values.append(text)
        }
        dictionaries[id] = try header.uint8(2) == 1 ? (dictionaries[id] ?? []) + values : values
      case 3:
        guard hasSchema else { throw FlatBytes.damage(at, "records before the schema") }
        let columns = try batch(header, fields, body)
        for row in 0..<columns.count {
          out.append(UInt8(ascii: "{"))
          for (index, column) in columns.values.enumerated() {
            if index > 0 { out.append(UInt8(ascii: ",")) }
            Self.quote(column.field.name, &out)
            out.append(UInt8(ascii: ":"))
            try write(column, row, &out)
          }
          out += [UInt8(ascii: "}"), UInt8(ascii: "\n")]
          guard out.count <= Self.limit else {
            throw PlatformError(.invalidFile, "as text the records take more than \(Self.limit >> 20) MB", number: "PLT-3123")
          }
        }
      default: throw FlatBytes.damage(at, "a message of an unknown kind")
      }
      at = body.upperBound
    }
    guard hasSchema else { throw FlatBytes.damage(at, "the stream has no schema") }
    return out
  }

  // MARK: the schema

  private static func find(_ id: Int64, _ fields: [Field]) -> Field? {
    for field in fields {
      if field.dictionary?.id == id { return field }
      if let inner = find(id, field.children) { return inner }
    }
    return nil
  }

  private static func field(_ table: FlatTable, depth: Int) throws -> Field {
    guard depth < depthLimit else { throw FlatBytes.damage(table.at, "fields are nested too deep") }
    let name = try table.string(0) ?? ""
    var field = Field(name: name, kind: .null, children: try table.tables(5).map { try Self.field($0, depth: depth + 1) })
    guard let type = try table.table(3) else { throw FlatBytes.damage(table.at, "the field '\(name.prefix(100))' has no type") }
    func integer(_ table: FlatTable?) throws -> Kind {
      let bits = try Int(table?.int32(0) ?? 32)
      guard [8, 16, 32, 64].contains(bits) else { throw FlatBytes.damage(type.at, "whole numbers of \(bits) bits") }
      return .int(bits: bits, isSigned: try table.map { try $0.uint8(1) ?? 0 } == 0 ? false : true)
    }
    switch try table.uint8(2) ?? 0 {
    case 1: field.kind = .null
    case 2: field.kind = try integer(type)
    case 3: field.kind = .float(bits: [16, 32, 64][Int(max(0, min(2, try type.int16(0) ?? 0)))])
    case 4: field.kind = .binary(isLarge: false)
    case 5: field.kind = .text(isLarge: false)
    case 6: field.kind = .bool
    case 7:
      guard try type.int32(2) ?? 128 == 128 else { throw unsupported(name, "decimals of other than 128 bits") }
      field.kind = .decimal(scale: Int(try type.int32(1) ?? 0))
    case 8: field.kind = .date(isDays: try type.int16(0) ?? 1 == 0)
    case 9: field.kind = .time(bits: Int(try type.int32(1) ?? 32), unit: Int(try type.int16(0) ?? 1))
    case 10: field.kind = .timestamp(unit: Int(try type.int16(0) ?? 0), isInstant: try type.string(1).map { !$0.isEmpty } ?? false)
    case 12: field.kind = .list(isLarge: false)
    case 13: field.kind = .structure
    case 15: field.kind = .fixedBinary(Int(try type.int32(0) ?? 0))
    case 16: field.kind = .fixedList(Int(try type.int32(0) ?? 0))
    case 17: field.kind = .map
    case 19: field.kind = .binary(isLarge: true)
    case 20: field.kind = .text(isLarge: true)
    case 21: field.kind = .list(isLarge: true)
    case let other: throw unsupported(name, "the type number \(other)")
    }
    switch field.kind {
    case .list, .fixedList, .map:
      guard field.children.count == 1 else { throw FlatBytes.damage(table.at, "the list '\(name.prefix(100))' needs one field inside") }
      if case .map = field.kind {
        guard case .structure = field.children[0].kind, field.children[0].children.count == 2 else {
          throw FlatBytes.damage(table.at, "the map '\(name.prefix(100))' needs keys and values")
        }
      }
    case .structure: break
    default: field.children = []
    }
    switch field.kind {
    case .fixedBinary(let width), .fixedList(let width):
      guard (0...(1 << 20)).contains(width) else { throw FlatBytes.damage(table.at, "the width of '\(name.prefix(100))' is \(width)") }
    case .time(let bits, let unit):
      guard [32, 64].contains(bits), (0...3).contains(unit) else { throw FlatBytes.damage(table.at, "the time '\(name.prefix(100))'") }
    case .timestamp(let unit, _): guard (0...3).contains(unit) else { throw FlatBytes.damage(table.at, "the timestamp '\(name.prefix(100))'") }
    case .decimal(let scale): guard (0...38).contains(scale) else { throw FlatBytes.damage(table.at, "the decimal '\(name.prefix(100))'") }
    default: break
    }
    if let encoding = try table.table(4) { field.dictionary = (try encoding.int64(0) ?? 0, try integer(encoding.table(1))) }
    return field
  }

  private static func unsupported(_ name: String, _ what: String) -> PlatformError {
    PlatformError(.invalidFile, "the Arrow field '\(name.prefix(100))' has \(what), which is not read", number: "PLT-3123")
  }

  // MARK: batches

  private func batch(_ header: FlatTable, _ fields: [Field], _ body: Range<Int>) throws -> (count: Int, values: [Values]) {
    guard try header.table(3) == nil else {
      throw PlatformError(.invalidFile, "the Arrow stream is compressed inside", hint: "Write it without, and use Content-Encoding: gzip.", number: "PLT-3123")
    }
    var nodes = try header.structs(1, size: 16)[...]
    var buffers = try header.structs(2, size: 16)[...]
    func node() throws -> Int {
      guard let at = nodes.popFirst() else { throw FlatBytes.damage(body.lowerBound, "a column is missing") }
      let count = try bytes.int64(at)
      // A null column has no bytes that would bound it.
      guard count >= 0, count <= 64 << 20 else { throw FlatBytes.damage(at, "a column of \(count) values") }
      return Int(count)
    }
    func buffer() throws -> Range<Int> {
      guard let at = buffers.popFirst() else { throw FlatBytes.damage(body.lowerBound, "a buffer is missing") }
      let (offset, length) = (try bytes.int64(at), try bytes.int64(at + 8))
      guard offset >= 0, length >= 0, offset <= body.count, length <= Int64(body.count) - offset else {
        throw FlatBytes.damage(at, "a buffer lies outside of its message")
      }
      return body.lowerBound + Int(offset)..<body.lowerBound + Int(offset + length)
    }
    func column(_ field: Field) throws -> Values {
      let values = Values(field, try node())
      func take() throws -> Range<Int>? { try buffer() }
      func width(_ kind: Kind) -> Int? {
        switch kind {
        case .int(let bits, _), .float(let bits), .time(let bits, _): bits / 8
        case .decimal: 16
        case .date(let isDays): isDays ? 4 : 8
        case .timestamp: 8
        case .fixedBinary(let width): width
        default: nil
        }
      }
      let kind = field.dictionary?.index ?? field.kind
      if case .null = kind { return values }
      let mask = try buffer()
      if !mask.isEmpty {
        guard mask.count >= (values.count + 7) / 8 else { throw FlatBytes.damage(mask.lowerBound, "the validity of '\(field.name.prefix(100))' is too short") }
        values.validity = mask
      }
      func fits(_ range: Range<Int>?, _ wanted: Int) throws {
        guard let range, range.count >= wanted else { throw FlatBytes.damage(body.lowerBound, "the values of '\(field.name.prefix(100))' are too short") }
      }
      if let width = width(kind) {
        values.first = try take()
        try fits(values.first, values.count * width)
        return values
      }
      switch kind {
      case .bool:
        values.first = try take()
        try fits(values.first, (values.count + 7) / 8)
      case .text(let isLarge), .binary(let isLarge):
        values.first = try take()
        values.second = try take()
        if values.count > 0 { try fits(values.first, (values.count + 1) * (isLarge ? 8 : 4)) }
      case .list(let isLarge):
        values.first = try take()
        if values.count > 0 { try fits(values.first, (values.count + 1) * (isLarge ? 8 : 4)) }
        values.children = [try column(field.children[0])]
      case .map:
        values.first = try take()
        if values.count > 0 { try fits(values.first, (values.count + 1) * 4) }
        values.children = [try column(field.children[0])]
      case .fixedList(let width):
        values.children = [try column(field.children[0])]
        guard values.children[0].count >= values.count * width else {
          throw FlatBytes.damage(body.lowerBound, "the list '\(field.name.prefix(100))' is too short")
        }
      case .structure:
        values.children = try field.children.map(column)
        guard values.children.allSatisfy({ $0.count >= values.count }) else {
          throw FlatBytes.damage(body.lowerBound, "the struct '\(field.name.prefix(100))' is too short")
        }
      default: break
      }
      return values
    }
    let count = try header.int64(0) ?? 0
    guard count >= 0, count <= 64 << 20 else { throw FlatBytes.damage(body.lowerBound, "a batch of \(count) records") }
    let values = try fields.map(column)
    guard values.allSatisfy({ $0.count >= Int(count) }) else { throw FlatBytes.damage(body.lowerBound, "a column is shorter than its batch") }
    return (Int(count), values)
  }

  // MARK: values

  private func write(_ values: Values, _ row: Int, _ out: inout [UInt8]) throws {
    guard row < values.count else { throw FlatBytes.damage(0, "a value lies outside of '\(values.field.name.prefix(100))'") }
    if let mask = values.validity, try bytes.uint8(mask.lowerBound + row / 8) >> UInt8(row & 7) & 1 == 0 {
      out += Array("null".utf8)
      return
    }
    func put(_ text: String) { out += Array(text.utf8) }
    func quoted(_ text: String) { out += [UInt8(ascii: "\"")] + Array(text.utf8) + [UInt8(ascii: "\"")] }
    let at = values.first?.lowerBound ?? 0
    if let (id, index) = values.field.dictionary {
      guard case .int(let bits, _) = index else { return put("null") }
      let position = try whole(at, row, bits, isSigned: true)
      guard let entries = dictionaries[id], position >= 0, position < entries.count else { throw FlatBytes.damage(at, "a position outside of a dictionary") }
      out += entries[Int(position)]
      return
    }
    func range(_ isLarge: Bool, _ limit: Int) throws -> Range<Int> {
      let start = isLarge ? try bytes.int64(at + row * 8) : Int64(try bytes.int32(at + row * 4))
      let end = isLarge ? try bytes.int64(at + row * 8 + 8) : Int64(try bytes.int32(at + row * 4 + 4))
      guard start >= 0, start <= end, end <= limit else { throw FlatBytes.damage(at, "offsets of '\(values.field.name.prefix(100))' are wrong") }
      return Int(start)..<Int(end)
    }
    switch values.field.kind {
    case .null: put("null")
    case .bool: put(try bytes.uint8(at + row / 8) >> UInt8(row & 7) & 1 == 1 ? "true" : "false")
    case .int(let bits, let isSigned):
      if bits == 64, !isSigned {
        put(String(UInt64(bitPattern: try bytes.int64(at + row * 8))))
      } else {
        put(String(try whole(at, row, bits, isSigned: isSigned)))
      }
    case .float(let bits):
      switch bits {
      case 16: number(Double(Float16Bits.value(UInt16(truncatingIfNeeded: try whole(at, row, 16, isSigned: false)))), &out)
      case 32:
        let value = Float(bitPattern: UInt32(truncatingIfNeeded: try whole(at, row, 32, isSigned: false)))
        if value.isFinite { put("\(value)") } else { number(Double(value), &out) }
      default: number(Double(bitPattern: UInt64(bitPattern: try bytes.int64(at + row * 8))), &out)
      }
    case .text(let isLarge):
      let data = values.second ?? 0..<0
      let part = try range(isLarge, data.count)
      Self.quote(bytes.slice(data.lowerBound + part.lowerBound..<data.lowerBound + part.upperBound), &out)
    case .binary(let isLarge):
      let data = values.second ?? 0..<0
      let part = try range(isLarge, data.count)
      quoted(Data(bytes.slice(data.lowerBound + part.lowerBound..<data.lowerBound + part.upperBound)).base64EncodedString())
    case .fixedBinary(let width): quoted(Data(bytes.slice(at + row * width..<at + (row + 1) * width)).base64EncodedString())
    case .decimal(let scale): quoted(ArrowText.decimal(try bytes.int128(at + row * 16), scale: scale))
    case .date(let isDays):
      let days = isDays ? Int64(try bytes.int32(at + row * 4)) : try bytes.int64(at + row * 8).floored(by: 86_400_000)
      quoted(try ArrowText.date(days))
    case .time(let bits, let unit): quoted(ArrowText.clock(try whole(at, row, bits, isSigned: true), unit: unit))
    case .timestamp(let unit, let isInstant): quoted(try ArrowText.timestamp(try bytes.int64(at + row * 8), unit: unit) + (isInstant ? "Z" : ""))
    case .list(let isLarge): try list(values.children[0], range(isLarge, values.children[0].count), &out)
    case .fixedList(let width): try list(values.children[0], row * width..<(row + 1) * width, &out)
    case .structure:
      put("{")
      for (index, child) in values.children.enumerated() {
        if index > 0 { put(",") }
        Self.quote(child.field.name, &out)
        put(":")
        try write(child, row, &out)
      }
      put("}")
    case .map:
      put("{")
      let entries = values.children[0]
      for (index, entry) in try range(false, entries.count).enumerated() {
        if index > 0 { put(",") }
        var key: [UInt8] = []
        try write(entries.children[0], entry, &key)
        if key.first == UInt8(ascii: "\"") { out += key } else { out += [UInt8(ascii: "\"")] + key + [UInt8(ascii: "\"")] }
        put(":")
        try write(entries.children[1], entry, &out)
      }
      put("}")
    }
  }

  private func list(_ items: Values, _ range: Range<Int>, _ out: inout [UInt8]) throws {
    out.append(UInt8(ascii: "["))
    for (index, item) in range.enumerated() {
      if index > 0 { out.append(UInt8(ascii: ",")) }
      try write(items, item, &out)
      // Offsets may overlap: what comes out is bounded, not only what came in.
      guard out.count <= Self.limit else { throw FlatBytes.damage(0, "lists are too long") }
    }
    out.append(UInt8(ascii: "]"))
  }

  private func number(_ value: Double, _ out: inout [UInt8]) {
    let text = value.isFinite ? "\(value)" : value.isNaN ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\""
    out += Array(text.utf8)
  }

  private func whole(_ at: Int, _ row: Int, _ bits: Int, isSigned: Bool) throws -> Int64 {
    switch bits {
    case 8:
      let byte = try bytes.uint8(at + row)
      return isSigned ? Int64(Int8(bitPattern: byte)) : Int64(byte)
    case 16:
      let value = try bytes.int16(at + row * 2)
      return isSigned ? Int64(value) : Int64(UInt16(bitPattern: value))
    case 32:
      let value = try bytes.int32(at + row * 4)
      return isSigned ? Int64(value) : Int64(UInt32(bitPattern: value))
    default: return try bytes.int64(at + row * 8)
    }
  }

  private static func quote(_ text: String, _ out: inout [UInt8]) { quote(Array(text.utf8)[...], &out) }

  private static func quote(_ text: ArraySlice<UInt8>, _ out: inout [UInt8]) {
    // What is no UTF-8 stays, and makes its line unreadable JSON: the batch is refused with the line.
    out.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""): out += [UInt8(ascii: "\\"), byte]
      case UInt8(ascii: "\\"): out += [byte, byte]
      case 0..<0x20:
        let hex = Array("0123456789abcdef".utf8)
        out += Array("\\u00".utf8) + [hex[Int(byte >> 4)], hex[Int(byte & 15)]]
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}
