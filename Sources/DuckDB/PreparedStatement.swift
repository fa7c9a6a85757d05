// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core

/// A prepared statement with typed parameters (`?`, `$1` or `$name`). Belongs to its connection's thread.
public final class PreparedStatement {
  let connection: Connection
  private var handle: cd_prepared?

  init(connection: Connection, handle: cd_prepared?) {
    self.connection = connection
    self.handle = handle
  }

  deinit { connection.engine.api.destroy_prepare_(&handle) }

  public var parameterCount: Int { Int(connection.engine.api.nparams_(handle)) }

  /// Whether it is a query (DUCKDB_STATEMENT_TYPE_SELECT), not a change, a setting or a look at the engine.
  public var isQuery: Bool { connection.engine.api.prepared_statement_type_(handle) == 1 }

  /// Names of the columns that it will give, as the statement says them: one may be there twice.
  public var columnNames: [String] {
    let api = connection.engine.api
    return (0..<api.prepared_column_count_(handle)).map { index in
      guard let name = api.prepared_column_name_(handle, index) else { return "" }
      defer { api.free_(UnsafeMutableRawPointer(mutating: name)) }
      return String(cString: name)
    }
  }

  /// Types of the rows that it will give. Those that hang on parameters are not known yet.
  public var columnTypes: [SQLType] {
    let engine = connection.engine
    return (0..<engine.api.prepared_column_count_(handle)).map { index in
      var type = engine.api.prepared_column_logical_type_(handle, index)
      defer { engine.api.destroy_logical_type_(&type) }
      return engine.sqlType(type)
    }
  }

  /// Binds all positional parameters.
  /// - Throws: `invalidArgument` when the count differs.
  public func bind(_ values: [SQLValue]) throws {
    guard values.count == parameterCount else {
      throw PlatformError(
        .invalidArgument, "the statement has \(parameterCount) parameters, \(values.count) values were given")
    }
    for (index, value) in values.enumerated() { try bind(value, at: UInt64(index + 1)) }
  }

  /// Binds parameters by name, without the `$`.
  public func bind(_ values: [String: SQLValue]) throws {
    for (name, value) in values {
      var index: UInt64 = 0
      guard connection.engine.api.bind_parameter_index_(handle, &index, name) == 0 else {
        throw PlatformError(.invalidArgument, "the statement has no parameter $\(name)")
      }
      try bind(value, at: index)
    }
  }

  private func bind(_ value: SQLValue, at index: UInt64) throws {
    let api = connection.engine.api
    let status: Int32
    switch value {
    case .null: status = api.bind_null_(handle, index)
    case .bool(let flag): status = api.bind_boolean_(handle, index, flag)
    case .int(let number): status = api.bind_int64_(handle, index, number)
    case .double(let number): status = api.bind_double_(handle, index, number)
    case .string(let text), .decimal(let text):
      var text = text
      status = text.withUTF8 { bytes in
        bytes.withMemoryRebound(to: CChar.self) { api.bind_varchar_length_(handle, index, $0.baseAddress, UInt64($0.count)) }
      }
    case .blob(let bytes): status = bytes.withUnsafeBytes { api.bind_blob_(handle, index, $0.baseAddress, UInt64($0.count)) }
    case .date(let days): status = api.bind_date_(handle, index, cd_date(days: days))
    case .timestamp(let micros): status = api.bind_timestamp_(handle, index, cd_timestamp(micros: micros))
    case .floats(let items):
      status = bindList(items.map { api.create_double_(Double($0)) }, type: Int32(CD_DOUBLE), at: index)
    case .list(let items):
      let texts = items.compactMap(\.stringValue)
      guard texts.count == items.count else {
        throw PlatformError(.invalidArgument, "a list parameter holds texts or floats only")
      }
      let values = texts.map { text -> cd_value? in
        var text = text
        return text.withUTF8 { bytes in
          bytes.withMemoryRebound(to: CChar.self) { api.create_varchar_length_($0.baseAddress, UInt64($0.count)) }
        }
      }
      status = bindList(values, type: Int32(CD_VARCHAR), at: index)
    case .structure: throw PlatformError(.invalidArgument, "a struct cannot be a parameter")
    }
    guard status == 0 else { throw PlatformError(.invalidArgument, "parameter \(index) does not fit the statement") }
  }

  private func bindList(_ items: [cd_value?], type: Int32, at index: UInt64) -> Int32 {
    let api = connection.engine.api
    var items = items
    var logical = api.create_logical_type_(type)
    defer { api.destroy_logical_type_(&logical) }
    var list = api.create_list_value_(logical, &items, UInt64(items.count))
    defer {
      api.destroy_value_(&list)
      for var item in items { api.destroy_value_(&item) }
    }
    return api.bind_value_(handle, index, list)
  }

  /// Runs it; rows stream in as they are fetched. Run and read to the end before running again.
  public func run() throws -> ResultStream {
    let api = connection.engine.api
    var pending: cd_pending?
    defer { api.destroy_pending_(&pending) }
    guard api.pending_prepared_streaming_(handle, &pending) == 0 else {
      throw Connection.failure(api.pending_error_(pending).map { String(cString: $0) } ?? "the statement cannot run")
    }
    var result = cd_result()
    guard api.execute_pending_(pending, &result) == 0 else {
      defer { api.destroy_result_(&result) }
      throw Connection.failure(api.result_error_(&result).map { String(cString: $0) } ?? "the statement failed")
    }
    return ResultStream(statement: self, result: result)
  }
}

/// The rows of a running statement, a chunk (up to 2048 rows) at a time.
public final class ResultStream {
  public struct Column: Sendable, Hashable {
    public var name: String
    public var type: SQLType
  }

  public let columns: [Column]
  private let statement: PreparedStatement
  private var result: cd_result

  init(statement: PreparedStatement, result: cd_result) {
    self.statement = statement
    var result = result
    let engine = statement.connection.engine
    let api = engine.api
    columns = (0..<api.column_count_(&result)).map { index in
      var type = api.column_logical_type_(&result, index)
      defer { api.destroy_logical_type_(&type) }
      let name = api.column_name_(&result, index).map { String(cString: $0) } ?? ""
      return Column(name: name, type: engine.sqlType(type))
    }
    self.result = result
  }

  deinit { statement.connection.engine.api.destroy_result_(&result) }

  /// Rows that an INSERT, UPDATE or DELETE changed.
  public var rowsChanged: Int { Int(statement.connection.engine.api.rows_changed_(&result)) }

  /// The next chunk, or nil at the end.
  /// - Throws: as `Connection.execute`.
  public func next() throws -> DataChunk? {
    let api = statement.connection.engine.api
    guard let chunk = api.fetch_chunk_(result) else {
      if let text = api.result_error_(&result), text.pointee != 0 { throw Connection.failure(String(cString: text)) }
      return nil
    }
    let wrapped = DataChunk(engine: statement.connection.engine, handle: chunk, types: columns.map(\.type))
    return wrapped.count == 0 ? nil : wrapped
  }
}
