// SPDX-License-Identifier: Apache-2.0

/// Reads Thrift's compact protocol, in which Parquet keeps what it says about itself. Never reads outside of its bytes.
struct ThriftReader {
  /// What a field holds, by the protocol's numbers; both values of a boolean are in the field itself.
  enum Kind: UInt8 {
    case yes = 1
    case no = 2
    case byte = 3
    case int16 = 4
    case int32 = 5
    case int64 = 6
    case double = 7
    case binary = 8
    case list = 9
    case set = 10
    case map = 11
    case structure = 12
  }

  private static let depthLimit = 32

  private let bytes: UnsafeRawBufferPointer
  private let end: Int
  /// Of the next byte.
  private(set) var offset: Int
  private var depth = 0

  /// - Parameter range: inside of `bytes`.
  init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
    self.bytes = bytes
    offset = range.lowerBound
    end = range.upperBound
  }

  func damaged(_ what: String) -> ParquetFault { .damaged(what, offset: offset) }

  private mutating func byte() throws -> UInt8 {
    guard offset < end else { throw damaged("the description ends too early") }
    defer { offset += 1 }
    return bytes[offset]
  }

  private mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 70, by: 7) {
      let byte = try byte()
      guard shift < 63 || byte < 2 else { break }
      value |= UInt64(byte & 127) << shift
      if byte < 128 { return value }
    }
    throw damaged("a number is too long")
  }

  private mutating func zigzag() throws -> Int {
    let value = try varint()
    return Int(bitPattern: UInt(value >> 1)) ^ -Int(value & 1)
  }

  private mutating func kind(_ number: UInt8) throws -> Kind {
    guard let kind = Kind(rawValue: number) else { throw damaged("a field has the unknown kind \(number)") }
    return kind
  }

  private mutating func nested<T>(_ body: (inout ThriftReader) throws -> T) throws -> T {
    guard depth < Self.depthLimit else { throw damaged("the description is nested too deeply") }
    depth += 1
    defer { depth -= 1 }
    return try body(&self)
  }

  /// A struct: the whole, or an element of a list. `body` reads the fields that it knows and returns false for others.
  mutating func structure(_ body: (inout ThriftReader, Int, Kind) throws -> Bool) throws {
    try nested { reader in
      var last = 0
      while true {
        let head = try reader.byte()
        if head == 0 { return }
        let kind = try reader.kind(head & 15)
        last = head >> 4 == 0 ? try reader.zigzag() : last + Int(head >> 4)
        guard (0...Int(Int16.max)).contains(last) else { throw reader.damaged("a field has no number") }
        if try !body(&reader, last, kind) { try reader.skip(kind, inList: false) }
      }
    }
  }

  mutating func structure(_ kind: Kind, _ body: (inout ThriftReader, Int, Kind) throws -> Bool) throws {
    guard kind == .structure else { throw damaged("a field is no struct") }
    try structure(body)
  }

  mutating func integer(_ kind: Kind) throws -> Int {
    switch kind {
    case .byte: return Int(Int8(bitPattern: try byte()))
    case .int16, .int32, .int64: return try zigzag()
    default: throw damaged("a field is no number")
    }
  }

  mutating func bool(_ kind: Kind) throws -> Bool {
    guard kind == .yes || kind == .no else { throw damaged("a field is no boolean") }
    return kind == .yes
  }

  mutating func text(_ kind: Kind) throws -> String {
    guard kind == .binary else { throw damaged("a field is no text") }
    let place = offset
    guard let text = String(validating: bytes[try span()], as: UTF8.self) else { throw ParquetFault.damaged("a text is not UTF-8", offset: place) }
    return text
  }

  private mutating func span() throws -> Range<Int> {
    guard let count = Int(exactly: try varint()), count <= end - offset else { throw damaged("a text reaches behind the description's end") }
    defer { offset += count }
    return offset..<offset + count
  }

  /// The elements of a list are read by `body`, each with their kind.
  mutating func list(_ kind: Kind, _ body: (inout ThriftReader, Kind) throws -> Void) throws {
    guard kind == .list || kind == .set else { throw damaged("a field is no list") }
    try nested { reader in
      let head = try reader.byte()
      let count = head >> 4 == 15 ? try reader.varint() : UInt64(head >> 4)
      let element = try reader.kind(head & 15)
      // Each element has at least one byte.
      guard count <= UInt64(reader.end - reader.offset) else { throw reader.damaged("a list reaches behind the description's end") }
      for _ in 0..<count { try body(&reader, element) }
    }
  }

  private mutating func skip(_ kind: Kind, inList: Bool) throws {
    switch kind {
    case .yes, .no: if inList { _ = try byte() }
    case .byte: _ = try byte()
    case .int16, .int32, .int64: _ = try varint()
    case .double:
      guard end - offset >= 8 else { throw damaged("the description ends too early") }
      offset += 8
    case .binary: _ = try span()
    case .list, .set: try list(kind) { try $0.skip($1, inList: true) }
    case .map:
      try nested { reader in
        let count = try reader.varint()
        guard count > 0 else { return }
        guard count <= UInt64(reader.end - reader.offset) else { throw reader.damaged("a map reaches behind the description's end") }
        let kinds = try reader.byte()
        let (key, value) = (try reader.kind(kinds >> 4), try reader.kind(kinds & 15))
        for _ in 0..<count {
          try reader.skip(key, inList: true)
          try reader.skip(value, inList: true)
        }
      }
    case .structure: try structure { _, _, _ in false }
    }
  }
}
