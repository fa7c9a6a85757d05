// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core

/// Fast insertion into one table, by chunks. Supported columns: the plain types, `FLOAT[]` and `VARCHAR[]`.
/// Values of a row are appended in the columns' order, then `endRow`.
public final class Appender {
  private let connection: Connection
  private var handle: cd_appender?
  private var chunk: cd_data_chunk?
  private let types: [SQLType]
  private var vectors: [cd_vector?] = []
  private var data: [UnsafeMutableRawPointer] = []
  private var listSizes: [Int]
  private let capacity: Int
  private var row = 0
  private var column = 0
  /// Rows appended so far.
  public private(set) var rowCount = 0

  /// - Throws: `invalidArgument` when the table does not exist or has a column of another type.
  public init(_ connection: Connection, table: String, schema: String? = nil) throws {
    self.connection = connection
    let engine = connection.engine
    let api = engine.api
    capacity = Int(api.vector_size_())
    var handle: cd_appender?
    guard api.appender_create_ext_(connection.handle, nil, schema, table, &handle) == 0 else {
      let text = api.appender_error_(handle).map { String(cString: $0) } ?? "cannot append to \(table)"
      _ = api.appender_destroy_(&handle)
      throw PlatformError(.invalidArgument, text)
    }
    var logical = (0..<api.appender_column_count_(handle)).map { api.appender_column_type_(handle, $0) as cd_logical_type? }
    self.handle = handle
    types = logical.map { engine.sqlType($0) }
    listSizes = types.map { _ in 0 }
    chunk = api.create_data_chunk_(&logical, UInt64(logical.count))
    for index in logical.indices { api.destroy_logical_type_(&logical[index]) }
    for type in types {
      switch type {
      case .boolean, .tinyint, .smallint, .integer, .bigint, .float, .double, .varchar, .blob, .date, .timestamp,
        .timestampTZ,
        .hugeint, .decimal, .list(.float), .list(.varchar):
        break
      default: throw PlatformError(.invalidArgument, "cannot append values of type \(type)")
      }
    }
    refresh()
  }

  deinit {
    let api = connection.engine.api
    api.destroy_data_chunk_(&chunk)
    _ = api.appender_destroy_(&handle)
  }

  private func refresh() {
    let api = connection.engine.api
    vectors = types.indices.map { api.data_chunk_get_vector_(chunk, UInt64($0)) }
    data = vectors.map { api.vector_get_data_($0)! }
    for index in listSizes.indices { listSizes[index] = 0 }
    row = 0
  }

  private func mismatch(_ what: String) -> PlatformError {
    PlatformError(
      .invalidArgument,
      "column \(column + 1) of type \(column < types.count ? types[column].sql : "none") cannot take \(what)")
  }

  private func currentType() throws -> SQLType {
    guard column < types.count else { throw PlatformError(.invalidArgument, "a row has \(types.count) columns") }
    return types[column]
  }

  private func store<T>(_ value: T) {
    data[column].storeBytes(of: value, toByteOffset: row &* MemoryLayout<T>.stride, as: T.self)
    column += 1
  }

  public func appendNull() throws {
    if case .list = try currentType() {
      store(cd_list_entry(offset: UInt64(listSizes[column]), length: 0))
    } else {
      column += 1
    }
    setNull(vectors[column - 1], row)
  }

  private func setNull(_ vector: cd_vector?, _ row: Int) {
    let api = connection.engine.api
    api.vector_ensure_validity_writable_(vector)
    api.vector_get_validity_(vector)![row >> 6] &= ~(1 << UInt64(row & 63))
  }

  public func append(_ value: Bool) throws {
    guard try currentType() == .boolean else { throw mismatch("a truth value") }
    store(value ? 1 as UInt8 : 0)
  }

  /// A whole number; for dates days and for timestamps microseconds since 1970.
  public func append(_ value: Int64) throws {
    func narrow<T: FixedWidthInteger>(_ type: T.Type) throws {
      guard let fit = T(exactly: value) else { throw mismatch("\(value)") }
      store(fit)
    }
    switch try currentType() {
    case .bigint, .timestamp, .timestampTZ: store(value)
    case .integer, .date: try narrow(Int32.self)
    case .smallint: try narrow(Int16.self)
    case .tinyint: try narrow(Int8.self)
    case .hugeint: store(cd_hugeint(lower: UInt64(bitPattern: value), upper: value < 0 ? -1 : 0))
    case .double: store(Double(value))
    case .float: store(Float(value))
    case .decimal: try append(decimal: String(value))
    default: throw mismatch("a whole number")
    }
  }

  public func append(_ value: Double) throws {
    switch try currentType() {
    case .double: store(value)
    case .float: store(Float(value))
    default: throw mismatch("a number")
    }
  }

  public func append(_ value: String) throws {
    guard try currentType() == .varchar else { throw mismatch("text") }
    var value = value
    value.withUTF8 { assign(vectors[column], row, $0) }
    column += 1
  }

  /// UTF-8 text or bytes, copied.
  public func append(_ bytes: UnsafeBufferPointer<UInt8>) throws {
    let type = try currentType()
    guard type == .varchar || type == .blob else { throw mismatch("bytes") }
    assign(vectors[column], row, bytes)
    column += 1
  }

  private func assign(_ vector: cd_vector?, _ row: Int, _ bytes: UnsafeBufferPointer<UInt8>) {
    bytes.withMemoryRebound(to: CChar.self) {
      var empty: CChar = 0
      if let base = $0.baseAddress {
        connection.engine.api.vector_assign_string_element_len_(vector, UInt64(row), base, UInt64($0.count))
      } else {
        connection.engine.api.vector_assign_string_element_len_(vector, UInt64(row), &empty, 0)
      }
    }
  }

  public func append(_ values: [Float]) throws {
    guard try currentType() == .list(.float) else { throw mismatch("a list of floats") }
    let (child, start) = try grow(by: values.count)
    values.withUnsafeBytes {
      if let base = $0.baseAddress {
        (connection.engine.api.vector_get_data_(child)! + start * 4).copyMemory(from: base, byteCount: $0.count)
      }
    }
    store(cd_list_entry(offset: UInt64(start), length: UInt64(values.count)))
  }

  public func append(_ values: [String]) throws {
    guard try currentType() == .list(.varchar) else { throw mismatch("a list of texts") }
    let (child, start) = try grow(by: values.count)
    for (index, value) in values.enumerated() {
      var value = value
      value.withUTF8 { assign(child, start + index, $0) }
    }
    store(cd_list_entry(offset: UInt64(start), length: UInt64(values.count)))
  }

  private func grow(by count: Int) throws -> (child: cd_vector?, start: Int) {
    let api = connection.engine.api
    let start = listSizes[column]
    let size = UInt64(start + count)
    guard api.list_vector_reserve_(vectors[column], size) == 0, api.list_vector_set_size_(vectors[column], size) == 0 else {
      throw PlatformError(.resourceExhausted, "a list column is too large")
    }
    listSizes[column] = start + count
    return (api.list_vector_get_child_(vectors[column]), start)
  }

  /// A decimal as text, exact; more fraction digits than the column has are refused.
  public func append(decimal text: String) throws {
    let type = try currentType()
    var width = 38
    var scale = 0
    if case .decimal(let w, let s) = type {
      (width, scale) = (w, s)
    } else if type != .hugeint {
      throw mismatch("a decimal")
    }
    let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let fraction = parts.count > 1 ? String(parts[1]) : ""
    let isWellFormed = fraction.utf8.allSatisfy { (48...57).contains($0) } && fraction.utf8.count <= scale
    guard isWellFormed, let whole = parts.first,
      let value = Int128(whole + fraction + String(repeating: "0", count: max(0, scale - fraction.utf8.count))),
      type == .hugeint || String(value.magnitude).count <= width
    else { throw mismatch("this decimal") }
    switch type == .hugeint ? 38 : width {
    case ...4: store(Int16(value))
    case ...9: store(Int32(value))
    case ...18: store(Int64(value))
    default: store(cd_hugeint(lower: UInt64(truncatingIfNeeded: value), upper: Int64(truncatingIfNeeded: value >> 64)))
    }
  }

  /// Any value that fits the column.
  public func append(_ value: SQLValue) throws {
    switch value {
    case .null: try appendNull()
    case .bool(let flag): try append(flag)
    case .int(let number), .timestamp(let number): try append(number)
    case .date(let days): try append(Int64(days))
    case .double(let number): try append(number)
    case .string(let text): try append(text)
    case .blob(let bytes): try bytes.withUnsafeBufferPointer { try append($0) }
    case .decimal(let text): try append(decimal: text)
    case .floats(let items): try append(items)
    case .list(let items):
      if case .list(.float) = try currentType() {
        try append(items.map { Float($0.doubleValue ?? .nan) })
      } else {
        try append(items.map { $0.stringValue ?? "" })
      }
    case .structure: throw mismatch("a struct")
    }
  }

  public func endRow() throws {
    guard column == types.count else {
      throw PlatformError(.invalidArgument, "a row has \(types.count) columns, \(column) values were appended")
    }
    column = 0
    row += 1
    rowCount += 1
    if row == capacity { try flush() }
  }

  private func flush() throws {
    guard row > 0 else { return }
    let api = connection.engine.api
    api.data_chunk_set_size_(chunk, UInt64(row))
    guard api.append_data_chunk_(handle, chunk) == 0 else { throw failure() }
    api.data_chunk_reset_(chunk)
    refresh()
  }

  private func failure() -> PlatformError {
    Connection.failure(connection.engine.api.appender_error_(handle).map { String(cString: $0) } ?? "appending failed")
  }

  /// Writes what is left; the appender cannot be used afterwards.
  public func close() throws {
    try flush()
    guard connection.engine.api.appender_close_(handle) == 0 else { throw failure() }
  }
}
