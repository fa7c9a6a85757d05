// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore

/// A Parquet file of a few rows of plain columns, encoded here: for one row the engine takes many times longer than the disk.
///
/// One row group, one page a column, PLAIN and not compressed (apache/parquet-format: Encodings.md, "Data Pages").
struct FewRows {
  /// What is worth it; more rows are better off compressed.
  static let rowLimit = 256
  static let byteLimit = 256 << 10

  let columns: [Column]
  private(set) var rows: [[SQLValue]] = []
  private var bytes = 0

  /// nil for columns of other types.
  init?(_ columns: [Column]) {
    guard columns.allSatisfy({ Physical($0.type) != nil }) else { return nil }
    self.columns = columns
  }

  /// Takes a row in. Returns false, and does nothing, for a row that does not fit in or has a value that is none of its column's.
  mutating func append(_ row: [SQLValue]) -> Bool {
    guard row.count == columns.count, rows.count < Self.rowLimit, zip(row, columns).allSatisfy({ Self.fits($0, $1.type) }) else { return false }
    let size = row.reduce(0) { $0 + Self.size($1) }
    guard bytes + size <= Self.byteLimit else { return false }
    bytes += size
    rows.append(row)
    return true
  }

  private static func size(_ value: SQLValue) -> Int {
    switch value {
    case .string(let text): text.utf8.count
    case .blob(let bytes): bytes.count
    default: 8
    }
  }

  private static func fits(_ value: SQLValue, _ type: SQLType) -> Bool {
    switch (value, type) {
    case (.null, _), (.bool, .boolean), (.double, .double), (.double, .float), (.string, .varchar), (.blob, .blob): true
    case (.int(let number), _), (.timestamp(let number), _): fits(number, type)
    case (.date(let days), _): fits(Int64(days), type)
    default: false
    }
  }

  private static func fits(_ number: Int64, _ type: SQLType) -> Bool {
    switch type {
    case .bigint, .timestamp, .timestampTZ, .double, .float: true
    case .integer, .date: Int32(exactly: number) != nil
    case .smallint: Int16(exactly: number) != nil
    case .tinyint: Int8(exactly: number) != nil
    default: false
    }
  }

  private static func whole(_ value: SQLValue) -> Int64 {
    switch value {
    case .int(let number), .timestamp(let number): number
    case .date(let days): Int64(days)
    default: 0
    }
  }

  private static func number(_ value: SQLValue) -> Double {
    if case .double(let number) = value { number } else { Double(whole(value)) }
  }

  // MARK: Writing

  /// Writes the file, durable under its name when this returns.
  func write(to path: String) throws -> WrittenFile {
    let (file, unsynced) = try writeUnsynced(to: path, isEarly: false)
    try unsynced.sync()
    return file
  }

  /// Writes the file without waiting for the disk.
  /// - Parameter isEarly: whether the file may have its name before it is on the disk, as where nobody knows of it yet.
  func writeUnsynced(to path: String, isEarly: Bool = true) throws -> (WrittenFile, UnsyncedFile) {
    let folder = (path as NSString).deletingLastPathComponent
    let temporary = folder + "/.write-" + UUID().uuidString.lowercased()
    let data = encoded
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw PlatformError.system("create the file", temporary) }
    var isDone = false
    defer { if !isDone { unlink(temporary) } }
    let unsynced = UnsyncedFile(descriptor: descriptor, path: path)
    try DurableFile.write(data, to: descriptor, path)
    if !isEarly, fsync(descriptor) != 0 { throw PlatformError.system("make the written file durable", path) }
    guard rename(temporary, path) == 0 else { throw PlatformError.system("rename the written file", path) }
    isDone = true
    return (WrittenFile(path: path, sizeBytes: Int64(data.count), rows: Int64(rows.count), statistics: statistics), unsynced)
  }

  /// The whole file.
  var encoded: [UInt8] {
    var out = Array("PAR1".utf8)
    var chunks: [Chunk] = []
    for (index, column) in columns.enumerated() {
      guard let physical = Physical(column.type) else { continue }  // there are none: see `init`
      let page = page(index, physical)
      var header = ThriftWriter()
      header.structure {
        $0.int32(1, 0)  // data page
        $0.int32(2, page.count)
        $0.int32(3, page.count)
        $0.structure(5) {
          $0.int32(1, rows.count)
          $0.int32(2, 0)  // PLAIN
          $0.int32(3, 3)  // RLE
          $0.int32(4, 3)
        }
      }
      chunks.append(
        Chunk(
          column: column, physical: physical, offset: out.count, size: header.bytes.count + page.count,
          nulls: rows.count { $0[index].isNull }))
      out += header.bytes
      out += page
    }
    let footer = footer(chunks)
    out += footer
    out.append(little: UInt32(footer.count))
    out += "PAR1".utf8
    return out
  }

  private struct Chunk {
    var column: Column
    var physical: Physical
    var offset: Int
    var size: Int
    var nulls: Int
  }

  /// Definition levels, then the values that are there.
  private func page(_ index: Int, _ physical: Physical) -> [UInt8] {
    var levels: [UInt8] = []
    var row = 0
    while row < rows.count {
      let isNull = rows[row][index].isNull
      var end = row + 1
      while end < rows.count, rows[end][index].isNull == isNull { end += 1 }
      // A run: its length times two as a variable-length number, then the level.
      var run = (end - row) << 1
      while run > 127 {
        levels.append(UInt8(run & 127) | 128)
        run >>= 7
      }
      levels += [UInt8(run), isNull ? 0 : 1]
      row = end
    }
    var out: [UInt8] = []
    out.append(little: UInt32(levels.count))
    out += levels
    var bits = 0
    for row in rows where !row[index].isNull {
      let value = row[index]
      switch physical {
      case .boolean:
        if bits & 7 == 0 { out.append(0) }
        if value == .bool(true) { out[out.count - 1] |= 1 << UInt8(bits & 7) }
        bits += 1
      case .int32: out.append(little: UInt32(truncatingIfNeeded: Self.whole(value)))
      case .int64: out.append(little: UInt64(bitPattern: Self.whole(value)))
      case .float: out.append(little: Float(Self.number(value)).bitPattern)
      case .double: out.append(little: Self.number(value).bitPattern)
      case .bytes:
        switch value {
        case .string(let text):
          out.append(little: UInt32(text.utf8.count))
          out.append(contentsOf: text.utf8)
        case .blob(let bytes):
          out.append(little: UInt32(bytes.count))
          out += bytes
        default: break  // there are none: see `fits`
        }
      }
    }
    return out
  }

  private func footer(_ chunks: [Chunk]) -> [UInt8] {
    var footer = ThriftWriter()
    footer.structure {
      $0.int32(1, 1)
      $0.list(2, .structure, [nil] + chunks.map(Optional.some)) { writer, chunk in
        writer.structure {
          guard let chunk else {
            $0.text(4, "schema")
            $0.int32(5, chunks.count)
            return
          }
          $0.int32(1, chunk.physical.rawValue)
          $0.int32(3, 1)  // optional
          $0.text(4, chunk.column.name)
          chunk.column.type.describe(&$0)
        }
      }
      $0.int64(3, rows.count)
      $0.list(4, .structure, [chunks]) { writer, chunks in
        writer.structure {
          $0.list(1, .structure, chunks) { writer, chunk in
            writer.structure {
              $0.int64(2, chunk.offset)
              $0.structure(3) {
                $0.int32(1, chunk.physical.rawValue)
                $0.list(2, .int32, [0, 3]) { $0.int32($1) }
                $0.list(3, .binary, [chunk.column.name]) { $0.text($1) }
                $0.int32(4, 0)  // not compressed
                $0.int64(5, rows.count)
                $0.int64(6, chunk.size)
                $0.int64(7, chunk.size)
                $0.int64(9, chunk.offset)
                $0.structure(12) { $0.int64(3, chunk.nulls) }
              }
            }
          }
          $0.int64(2, chunks.reduce(0) { $0 + $1.size })
          $0.int64(3, rows.count)
        }
      }
      $0.text(6, "platform version \(PlatformVersion.current)")
    }
    return footer.bytes
  }

  /// How a column lies in the file, by Parquet's number of the type.
  private enum Physical: Int {
    case boolean = 0
    case int32 = 1
    case int64 = 2
    case float = 4
    case double = 5
    case bytes = 6

    init?(_ type: SQLType) {
      switch type {
      case .boolean: self = .boolean
      case .tinyint, .smallint, .integer, .date: self = .int32
      case .bigint, .timestamp, .timestampTZ: self = .int64
      case .float: self = .float
      case .double: self = .double
      case .varchar, .blob: self = .bytes
      default: return nil
      }
    }
  }

  // MARK: Statistics

  /// As the engine's are turned into those of the log.
  var statistics: JSONValue {
    var found = FileStatistics(numRecords: Int64(rows.count))
    let indexes = Dictionary(columns.indices.map { (columns[$0].name, $0) }) { first, _ in first }
    for (path, _) in FileStatistics.columns(of: TypeMapping.schema(columns), partitionColumns: [], TableProperties([:])) {
      guard path.count == 1, let index = indexes[path[0]] else { continue }
      let type = columns[index].type
      let values = rows.lazy.map { $0[index] }.filter { !$0.isNull }
      var own = FileStatistics.ColumnStatistics(path: path, nullCount: Int64(rows.count - values.count))
      switch type {
      case .varchar:
        let texts = values.compactMap(\.stringValue)
        let order: (String, String) -> Bool = { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        (own.minimum, own.maximum) = (texts.min(by: order).map { .string($0) }, texts.max(by: order).map { .string($0) })
      case .float, .double:
        let numbers = values.map { type == .float ? Double(Float(Self.number($0))) : Self.number($0) }
        own.hasNaN = numbers.contains { $0.isNaN }
        (own.minimum, own.maximum) = (numbers.min().map { .number($0) }, numbers.max().map { .number($0) })
      case .boolean, .blob: break  // they have no bounds
      default:
        let numbers = values.map(Self.whole)
        (own.minimum, own.maximum) = (numbers.min().flatMap { Self.bound($0, type) }, numbers.max().flatMap { Self.bound($0, type) })
      }
      found.columns.append(own)
    }
    return found.json
  }

  /// nil for days outside of the years 1 to 9999, which text has no common form for.
  private static func bound(_ value: Int64, _ type: SQLType) -> Literal? {
    let days: ClosedRange<Int64> = -719_162...2_932_896
    switch type {
    case .date: return days.contains(value) ? .date(value) : nil
    case .timestamp, .timestampTZ:
      let day: Int64 = 86_400_000_000
      return value >= days.lowerBound * day && value < (days.upperBound + 1) * day ? .timestamp(value) : nil
    default: return .integer(value)
    }
  }
}

extension SQLType {
  /// The members of Parquet's SchemaElement that say what the values mean.
  fileprivate func describe(_ writer: inout ThriftWriter) {
    func whole(_ converted: Int, _ bits: UInt8) {
      writer.int32(6, converted)
      writer.structure(10) {
        $0.structure(10) {
          $0.byte(1, bits)
          $0.bool(2, true)
        }
      }
    }
    switch self {
    case .tinyint: whole(15, 8)
    case .smallint: whole(16, 16)
    case .varchar:
      writer.int32(6, 0)
      writer.structure(10) { $0.structure(1) { _ in } }
    case .date:
      writer.int32(6, 6)
      writer.structure(10) { $0.structure(6) { _ in } }
    case .timestamp, .timestampTZ:
      writer.int32(6, 10)
      writer.structure(10) {
        $0.structure(8) {
          $0.bool(1, true)
          $0.structure(2) { $0.structure(2) { _ in } }
        }
      }
    default: break
    }
  }
}

extension [UInt8] {
  fileprivate mutating func append<T: FixedWidthInteger>(little value: T) { Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) } }
}
