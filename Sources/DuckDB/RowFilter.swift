// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core

/// Judges rows by the file that they are in and their place there.
public protocol RowFilter: Sendable {
  /// Sets `keeps[i]` to 1 where row `rows[i]` of file `files[i]` is to be kept, to 0 elsewhere. Called for up to 2048 rows at a time,
  /// by several threads at once. Indices come from the engine; implementations check them.
  func judge(files: UnsafeBufferPointer<UInt64>, rows: UnsafeBufferPointer<Int64>, keeps: UnsafeMutableBufferPointer<UInt8>)
}

extension Connection {
  /// Makes the function `name(UBIGINT, BIGINT) -> BOOLEAN` for the columns `file_index` and `file_row_number` of a scan of Parquet files.
  /// It lives as long as the database and can be called by any of its statements.
  /// - Throws: `internalError` when the engine has a function of that name.
  public func register(_ filter: any RowFilter, name: String) throws {
    let api = engine.api
    var function = api.create_scalar_function_()
    defer { api.destroy_scalar_function_(&function) }
    api.scalar_function_set_name_(function, name)
    for type in [CD_UBIGINT, CD_BIGINT] {
      var logical = api.create_logical_type_(Int32(type))
      api.scalar_function_add_parameter_(function, logical)
      api.destroy_logical_type_(&logical)
    }
    var result = api.create_logical_type_(Int32(CD_BOOLEAN))
    api.scalar_function_set_return_type_(function, result)
    api.destroy_logical_type_(&result)
    // The engine frees the box together with its last copy of the function.
    api.scalar_function_set_extra_info_(function, Unmanaged.passRetained(RowFilterBox(filter, engine)).toOpaque()) { pointer in
      if let pointer { Unmanaged<RowFilterBox>.fromOpaque(pointer).release() }
    }
    // A C function has no context of its own: the box comes through `info`; the engine was loaded before, once in a process.
    api.scalar_function_set_function_(function) { info, input, output in
      // The engine that calls this has been loaded: asking for it again does not fail.
      guard let engine = try? Engine.shared() else { return }
      let box = engine.api.scalar_function_get_extra_info_(info).map { Unmanaged<RowFilterBox>.fromOpaque($0).takeUnretainedValue() }
      // A chunk that was not judged must not pass: the query fails.
      if box?.run(input, output) != true { engine.api.scalar_function_set_error_(info, "rows could not be filtered") }
    }
    guard api.register_scalar_function_(handle, function) == 0 else {
      throw PlatformError(.internalError, "the SQL engine refuses the function \(name)")
    }
  }
}

private final class RowFilterBox: Sendable {
  let filter: any RowFilter
  let engine: Engine

  init(_ filter: any RowFilter, _ engine: Engine) {
    self.filter = filter
    self.engine = engine
  }

  /// - Returns: whether every row was judged.
  func run(_ input: cd_data_chunk?, _ output: cd_vector?) -> Bool {
    let api = engine.api
    let count = Int(api.data_chunk_get_size_(input))
    guard count > 0 else { return true }
    guard let files = api.vector_get_data_(api.data_chunk_get_vector_(input, 0)),
      let rows = api.vector_get_data_(api.data_chunk_get_vector_(input, 1)), let keeps = api.vector_get_data_(output)
    else { return false }
    filter.judge(
      files: UnsafeBufferPointer(start: files.assumingMemoryBound(to: UInt64.self), count: count),
      rows: UnsafeBufferPointer(start: rows.assumingMemoryBound(to: Int64.self), count: count),
      keeps: UnsafeMutableBufferPointer(start: keeps.assumingMemoryBound(to: UInt8.self), count: count))
    return true
  }
}
