// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core

/// Up to 2048 rows, stored by column. Its memory belongs to the engine and lives as long as the chunk or one of its columns.
public final class DataChunk {
  let engine: Engine
  private var handle: cd_data_chunk?
  private let types: [SQLType]
  /// Number of rows.
  public let count: Int

  init(engine: Engine, handle: cd_data_chunk, types: [SQLType]) {
    self.engine = engine
    self.handle = handle
    self.types = types
    count = Int(engine.api.data_chunk_get_size_(handle))
  }

  deinit { engine.api.destroy_data_chunk_(&handle) }

  public var columnCount: Int { types.count }

  /// Column `index`, counted from 0. Fetch it once for a chunk, not for every row.
  public func column(_ index: Int) -> ColumnVector {
    let vector = engine.api.data_chunk_get_vector_(handle, UInt64(index))
    return ColumnVector(chunk: self, vector: vector, type: types[index], count: count)
  }

  /// Appends all rows to `rows`.
  public func appendRows(to rows: inout [[SQLValue]]) {
    let columns = (0..<columnCount).map { column($0) }
    for row in 0..<count { rows.append(columns.map { $0.value(row) }) }
  }
}

/// One column of a chunk. Typed accessors read the memory as it is: call the one that fits `type`; NULL rows hold garbage.
public struct ColumnVector {
  public let type: SQLType
  public let count: Int
  private let chunk: DataChunk
  private let data: UnsafeMutableRawPointer?
  private let validity: UnsafeMutablePointer<UInt64>?
  private let children: [ColumnVector]

  init(chunk: DataChunk, vector: cd_vector?, type: SQLType, count: Int) {
    self.chunk = chunk
    self.type = type
    self.count = count
    let api = chunk.engine.api
    data = api.vector_get_data_(vector)
    validity = api.vector_get_validity_(vector)
    switch type {
    case .list(let item):
      children = [
        ColumnVector(
          chunk: chunk, vector: api.list_vector_get_child_(vector), type: item, count: Int(api.list_vector_get_size_(vector))
        )
      ]
    case .map(let key, let value):
      let entry = SQLType.structure([SQLField(name: "key", type: key), SQLField(name: "value", type: value)])
      children = [
        ColumnVector(
          chunk: chunk, vector: api.list_vector_get_child_(vector), type: entry,
          count: Int(api.list_vector_get_size_(vector)))
      ]
    case .array(let item, let size):
      children = [ColumnVector(chunk: chunk, vector: api.array_vector_get_child_(vector), type: item, count: count * size)]
    case .structure(let fields):
      children = fields.enumerated().map { index, field in
        ColumnVector(
          chunk: chunk, vector: api.struct_vector_get_child_(vector, UInt64(index)), type: field.type, count: count)
      }
    default: children = []
    }
  }

  @inline(__always)
  private func load<T>(_ row: Int, _ type: T.Type) -> T {
    precondition(row >= 0 && row < count, "row out of range")
    return data!.load(fromByteOffset: row &* MemoryLayout<T>.stride, as: T.self)
  }

  public func isNull(_ row: Int) -> Bool {
    guard let validity else { return false }
    precondition(row >= 0 && row < count, "row out of range")
    return validity[row >> 6] & (1 << UInt64(row & 63)) == 0
  }

  public func bool(_ row: Int) -> Bool { load(row, UInt8.self) != 0 }

  /// Any signed whole number, date (days) or timestamp (microseconds), widened.
  public func int64(_ row: Int) -> Int64 {
    switch type {
    case .tinyint: Int64(load(row, Int8.self))
    case .smallint: Int64(load(row, Int16.self))
    case .integer, .date: Int64(load(row, Int32.self))
    case .bigint, .timestamp, .timestampTZ: load(row, Int64.self)
    default: preconditionFailure("\(type) is not a whole number")
    }
  }

  public func float(_ row: Int) -> Float { type == .float ? load(row, Float.self) : Float(double(row)) }

  /// Any number as a double.
  public func double(_ row: Int) -> Double {
    switch type {
    case .double: load(row, Double.self)
    case .float: Double(load(row, Float.self))
    case .hugeint:
      Double(load(row, cd_hugeint.self).upper) * 0x1p64 + Double(load(row, cd_hugeint.self).lower)
    case .decimal: Double(decimalText(row)) ?? .nan
    default: Double(int64(row))
    }
  }

  /// Calls `body` with the bytes of a VARCHAR or BLOB, without a copy.
  public func withBytes<R>(_ row: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> R) rethrows -> R {
    precondition(row >= 0 && row < count && (type == .varchar || type == .blob), "not a text row")
    var length: UInt32 = 0
    let start = cd_string_bytes(data!, UInt64(row), &length)
    return try start.withMemoryRebound(to: UInt8.self, capacity: Int(length)) {
      try body(UnsafeBufferPointer(start: $0, count: Int(length)))
    }
  }

  public func string(_ row: Int) -> String { withBytes(row) { String(decoding: $0, as: UTF8.self) } }
  public func bytes(_ row: Int) -> [UInt8] { withBytes(row) { Array($0) } }

  private func range(_ row: Int) -> Range<Int> {
    if case .array(_, let size) = type { return row * size..<(row + 1) * size }
    let entry = load(row, cd_list_entry.self)
    return Int(entry.offset)..<Int(entry.offset + entry.length)
  }

  /// A list or array of FLOAT or DOUBLE; NULL elements become NaN.
  public func floats(_ row: Int) -> [Float] {
    let child = children[0]
    let range = range(row)
    if child.type == .float, child.validity == nil, let base = child.data {
      return Array(
        UnsafeBufferPointer(start: base.assumingMemoryBound(to: Float.self) + range.lowerBound, count: range.count))
    }
    return range.map { child.isNull($0) ? .nan : child.float($0) }
  }

  /// A list of VARCHAR; NULL elements become empty.
  public func strings(_ row: Int) -> [String] { range(row).map { children[0].isNull($0) ? "" : children[0].string($0) } }

  /// The exact text of a DECIMAL or HUGEINT.
  public func decimalText(_ row: Int) -> String {
    var scale = 0
    let value: Int128
    if case .decimal(let width, let digits) = type {
      scale = digits
      value =
        switch width {
        case ...4: Int128(load(row, Int16.self))
        case ...9: Int128(load(row, Int32.self))
        case ...18: Int128(load(row, Int64.self))
        default: wide(row)
        }
    } else {
      value = wide(row)
    }
    guard scale > 0 else { return String(value) }
    var digits = String(value.magnitude)
    if digits.count <= scale { digits = String(repeating: "0", count: scale + 1 - digits.count) + digits }
    return (value < 0 ? "-" : "") + digits.dropLast(scale) + "." + digits.suffix(scale)
  }

  private func wide(_ row: Int) -> Int128 {
    let parts = load(row, cd_hugeint.self)
    return Int128(parts.upper) << 64 | Int128(parts.lower)
  }

  /// The value of any direct type (`SQLType.isDirect`); `.null` for others: cast those to VARCHAR in the query.
  public func value(_ row: Int) -> SQLValue {
    if isNull(row) { return .null }
    switch type {
    case .boolean: return .bool(bool(row))
    case .tinyint, .smallint, .integer, .bigint: return .int(int64(row))
    case .float, .double: return .double(double(row))
    case .hugeint, .decimal: return .decimal(decimalText(row))
    case .varchar: return .string(string(row))
    case .blob: return .blob(bytes(row))
    case .date: return .date(load(row, Int32.self))
    case .timestamp, .timestampTZ: return .timestamp(int64(row))
    case .list(.float), .array(.float, _): return .floats(floats(row))
    case .list, .array, .map: return .list(range(row).map { children[0].value($0) })
    case .structure(let fields):
      var members: [String: SQLValue] = [:]
      for (field, child) in zip(fields, children) { members[field.name] = child.value(row) }
      return .structure(members)
    case .other("UBIGINT"):
      let number = load(row, UInt64.self)
      return Int64(exactly: number).map { .int($0) } ?? .decimal(String(number))
    case .other: return .null
    }
  }
}
