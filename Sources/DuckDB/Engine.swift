// SPDX-License-Identifier: Apache-2.0

import CDuckDB
import Core
import Foundation

/// The loaded DuckDB library: its C functions, found at run time.
final class Engine: @unchecked Sendable {  // immutable after loading; the C functions are thread-safe by their contracts
  let api: cd_api

  private init(api: cd_api) { self.api = api }

  private static let loaded: Result<Engine, PlatformError> = Result { try load() }.mapError { PlatformError.from($0) }

  /// The engine; loaded once in a process.
  /// - Throws: `badConfiguration` when it is not installed or cannot be loaded.
  static func shared() throws -> Engine { try loaded.get() }

  private static func load() throws -> Engine {
    let path = try InstalledFiles.require("duckdb/libduckdb.so", what: "the SQL engine DuckDB")
    let stubs = InstalledFiles.find("duckdb/libpystubs.so")
    let api = UnsafeMutablePointer<cd_api>.allocate(capacity: 1)
    defer { api.deallocate() }
    var text = [CChar](repeating: 0, count: 1024)
    guard cd_load(path, stubs, api, &text, 1024) == 0 else {
      let reason = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
      throw PlatformError(
        .badConfiguration, "the SQL engine DuckDB cannot be loaded: \(reason)", hint: "Run deploy/install-dependencies.sh.",
        number: "PLT-1005", path: path)
    }
    return Engine(api: api.pointee)
  }

  /// The SQL type that a logical type stands for. Does not free it.
  func sqlType(_ type: cd_logical_type?) -> SQLType {
    func take(_ child: cd_logical_type?) -> SQLType {
      var child = child
      defer { api.destroy_logical_type_(&child) }
      return sqlType(child)
    }
    switch Int(api.get_type_id_(type)) {
    case Int(CD_BOOLEAN): return .boolean
    case Int(CD_TINYINT): return .tinyint
    case Int(CD_SMALLINT): return .smallint
    case Int(CD_INTEGER): return .integer
    case Int(CD_BIGINT): return .bigint
    case Int(CD_HUGEINT): return .hugeint
    case Int(CD_UTINYINT): return .other("UTINYINT")
    case Int(CD_USMALLINT): return .other("USMALLINT")
    case Int(CD_UINTEGER): return .other("UINTEGER")
    case Int(CD_UBIGINT): return .other("UBIGINT")
    case Int(CD_UHUGEINT): return .other("UHUGEINT")
    case Int(CD_FLOAT): return .float
    case Int(CD_DOUBLE): return .double
    case Int(CD_DECIMAL): return .decimal(Int(api.decimal_width_(type)), Int(api.decimal_scale_(type)))
    case Int(CD_VARCHAR): return .varchar
    case Int(CD_BLOB): return .blob
    case Int(CD_DATE): return .date
    case Int(CD_TIMESTAMP): return .timestamp
    case Int(CD_TIMESTAMP_TZ): return .timestampTZ
    case Int(CD_LIST): return .list(take(api.list_type_child_type_(type)))
    case Int(CD_ARRAY): return .array(take(api.array_type_child_type_(type)), Int(api.array_type_array_size_(type)))
    case Int(CD_MAP): return .map(take(api.map_type_key_type_(type)), take(api.map_type_value_type_(type)))
    case Int(CD_STRUCT):
      return .structure(
        (0..<api.struct_type_child_count_(type)).map { index in
          let name = api.struct_type_child_name_(type, index)
          defer { api.free_(name) }
          return SQLField(name: name.map { String(cString: $0) } ?? "", type: take(api.struct_type_child_type_(type, index)))
        })
    case Int(CD_TIME): return .other("TIME")
    case Int(CD_INTERVAL): return .other("INTERVAL")
    case Int(CD_UUID): return .other("UUID")
    case Int(CD_ENUM): return .other("ENUM")
    case Int(CD_TIMESTAMP_S): return .other("TIMESTAMP_S")
    case Int(CD_TIMESTAMP_MS): return .other("TIMESTAMP_MS")
    case Int(CD_TIMESTAMP_NS): return .other("TIMESTAMP_NS")
    case Int(CD_BIT): return .other("BIT")
    case Int(CD_UNION): return .other("UNION")
    case Int(CD_TIME_TZ): return .other("TIMETZ")
    case Int(CD_SQLNULL): return .other("\"NULL\"")
    default: return .other("UNKNOWN")
    }
  }
}
