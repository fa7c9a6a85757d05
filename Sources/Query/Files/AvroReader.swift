// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Reads an Avro object container file record by record as JSON text ("Apache Avro Specification", 1.11, "Object Container
/// Files"). Codecs: null, deflate, snappy. Every length is checked against what is there.
struct AvroReader {
  let schema: AvroSchema
  private let data: Data
  private let codec: String
  private let sync: [UInt8]
  private var position: Int

  static let blockLimit = 256 << 20
  /// Of one block: what a damaged file can make out of values that take no bytes.
  private static let valueLimit = 50_000_000

  /// - Throws: `invalidFile` PLT-3112.
  init(_ data: Data) throws {
    self.data = data
    guard data.starts(with: [0x4F, 0x62, 0x6A, 0x01]) else { throw AvroSchema.damaged("it does not begin with 'Obj'") }
    var facts: [String: [UInt8]] = [:]
    (position, facts, sync) = try data.withUnsafeBytes { raw -> (Int, [String: [UInt8]], [UInt8]) in
      var cursor = AvroCursor(raw, at: 4)
      var facts: [String: [UInt8]] = [:]
      while true {
        var count = try cursor.long()
        if count == 0 { break }
        if count < 0 {
          count = count == .min ? 0 : -count
          _ = try cursor.long()
        }
        guard count <= 10_000 else { throw AvroSchema.damaged("its head is too large") }
        for _ in 0..<count {
          let key = String(decoding: try cursor.bytes(), as: UTF8.self)
          facts[key] = Array(try cursor.bytes())
        }
      }
      let sync = Array(try cursor.take(16))
      return (cursor.position, facts, sync)
    }
    codec = facts["avro.codec"].map { String(decoding: $0, as: UTF8.self) } ?? "null"
    guard ["null", "deflate", "snappy"].contains(codec) else {
      throw PlatformError(
        .invalidFile, "the Avro codec '\(codec.prefix(20))' is not supported", hint: "Supported: null, deflate, snappy.", number: "PLT-3112")
    }
    schema = try AvroSchema(parsing: String(decoding: facts["avro.schema"] ?? [], as: UTF8.self))
  }

  /// Calls `row` with the JSON of each record.
  /// - Throws: `invalidFile` PLT-3112 at the first damaged block; what was read before stands.
  mutating func forEach(isCancelled: () -> Bool, _ row: (String) throws -> Void) throws {
    while position < data.count {
      if isCancelled() { throw CancellationError() }
      let (count, block, next) = try data.withUnsafeBytes { raw -> (Int64, Data, Int) in
        var cursor = AvroCursor(raw, at: position)
        let count = try cursor.long()
        let body = try cursor.bytes()
        let packed = Data(body)
        guard Array(try cursor.take(16)) == sync else { throw AvroSchema.damaged("a block does not end with the file's mark") }
        return (count, packed, cursor.position)
      }
      let content = try unpacked(block)
      guard count >= 0, count <= Self.valueLimit else { throw AvroSchema.damaged("a block has an impossible number of records") }
      try content.withUnsafeBytes { raw in
        var writer = AvroWriter(schema: schema, cursor: AvroCursor(raw, at: 0), budget: Self.valueLimit)
        for index in 0..<count {
          if index & 1023 == 0, isCancelled() { throw CancellationError() }
          try row(try writer.record())
        }
        guard writer.cursor.position == raw.count else { throw AvroSchema.damaged("a block is longer than its records") }
      }
      position = next
    }
  }

  private func unpacked(_ block: Data) throws -> Data {
    switch codec {
    case "deflate":
      do { return try GzipReader.inflate(block, limit: Self.blockLimit) } catch is GzipReader.Failure { throw AvroSchema.damaged("a block cannot be inflated") }
    case "snappy":
      guard block.count >= 4 else { throw AvroSchema.damaged("a block is too short") }
      do { return try block.dropLast(4).withUnsafeBytes { Data(try Snappy.unpack($0, limit: Self.blockLimit)) } } catch is Snappy.Failure {
        throw AvroSchema.damaged("a block cannot be unpacked with snappy")
      }
    default: return block
    }
  }
}

/// A place in bytes. Every read is checked.
struct AvroCursor {
  private let raw: UnsafeRawBufferPointer
  private(set) var position: Int

  /// `raw` outlives the cursor.
  init(_ raw: UnsafeRawBufferPointer, at position: Int) {
    self.raw = raw
    self.position = position
  }

  mutating func byte() throws -> UInt8 {
    guard position < raw.count else { throw AvroSchema.damaged("it breaks off") }
    defer { position += 1 }
    return raw[position]
  }

  mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count >= 0, count <= raw.count - position else { throw AvroSchema.damaged("it breaks off") }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: raw[position..<position + count])
  }

  /// Zigzag, seven bits a byte.
  mutating func long() throws -> Int64 {
    var value: UInt64 = 0
    var shift: UInt64 = 0
    while true {
      let next = try byte()
      guard shift < 63 || (shift == 63 && next <= 1) else { throw AvroSchema.damaged("a number is too long") }
      value |= UInt64(next & 0x7F) << shift
      if next < 0x80 { break }
      shift += 7
    }
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  mutating func bytes() throws -> UnsafeRawBufferPointer {
    guard let count = Int(exactly: try long()) else { throw AvroSchema.damaged("it breaks off") }
    return try take(count)
  }
}
