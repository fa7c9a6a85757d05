// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// One row of an answer, decoded by the types that the server reported. `numeric`, `uuid` and types not listed in
/// `PostgresValue` arrive as text; the typed access below parses them.
public struct PostgresRow: Sendable {
  /// The column names, shared by all rows of one answer.
  final class Columns: Sendable {
    let names: [String]
    let types: [UInt32]
    let positions: [String: Int]

    init(names: [String], types: [UInt32]) {
      self.names = names
      self.types = types
      // With two columns of one name the first is found, as in psql's \gset.
      positions = Dictionary(names.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
    }
  }

  let columns: Columns
  let values: [PostgresValue]

  public var columnNames: [String] { columns.names }
  public var count: Int { values.count }

  /// The value at a position.
  /// - Throws: `internalError` when the answer has no such column: statement and reader are in one program.
  public func value(_ index: Int) throws -> PostgresValue {
    guard values.indices.contains(index) else {
      throw PlatformError(.internalError, "the answer has \(values.count) columns, none at index \(index)")
    }
    return values[index]
  }

  /// The value of a column by name.
  public func value(_ name: String) throws -> PostgresValue {
    guard let index = columns.positions[name] else {
      throw PlatformError(.internalError, "the answer has no column '\(name)'; it has \(columns.names.joined(separator: ", "))")
    }
    return values[index]
  }

  /// The value of a column as `T`; ask for an optional where NULL may stand.
  ///
  ///     let name: String = try row.get("name")
  ///     let size: Int? = try row.get("size_bytes")
  /// - Throws: `internalError` naming the column when there is none, when it is NULL, or when it is of another kind.
  public func get<T: PostgresDecodable>(_ name: String, as type: T.Type = T.self) throws -> T {
    try decode(value(name), "column '\(name)'")
  }

  /// The value at a position as `T`.
  public func get<T: PostgresDecodable>(_ index: Int, as type: T.Type = T.self) throws -> T {
    try decode(value(index), "column \(index)")
  }

  public func string(_ name: String) throws -> String { try get(name) }
  public func int(_ name: String) throws -> Int { try get(name) }
  public func double(_ name: String) throws -> Double { try get(name) }
  public func bool(_ name: String) throws -> Bool { try get(name) }
  public func date(_ name: String) throws -> Date { try get(name) }
  public func json(_ name: String) throws -> JSONValue { try get(name) }

  private func decode<T: PostgresDecodable>(_ value: PostgresValue, _ place: String) throws -> T {
    guard let decoded = T(postgres: value) else {
      throw PlatformError(.internalError, "\(place) holds \(value.kind), which is not a \(T.self)")
    }
    return decoded
  }
}

/// A type that a column can be read as. nil means that the value is of another kind or does not fit.
public protocol PostgresDecodable {
  init?(postgres value: PostgresValue)
}

extension Bool: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard case .bool(let flag) = value else { return nil }
    self = flag
  }
}

extension Int: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    switch value {
    case .int(let number): self = number
    case .text(let text):
      guard let number = Int(text) else { return nil }
      self = number
    default: return nil
    }
  }
}

extension Int64: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard let number = Int(postgres: value) else { return nil }
    self = Int64(number)
  }
}

extension Double: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    switch value {
    case .double(let number): self = number
    case .int(let number): self = Double(number)
    case .text(let text):
      guard let number = Double(text) else { return nil }
      self = number
    default: return nil
    }
  }
}

extension String: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    switch value {
    case .text(let text), .json(let text): self = text
    default: return nil
    }
  }
}

extension Data: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard case .bytes(let data) = value else { return nil }
    self = data
  }
}

extension Date: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard case .timestamp(let date) = value else { return nil }
    self = date
  }
}

extension UUID: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard case .text(let text) = value else { return nil }
    self.init(uuidString: text)
  }
}

extension JSONValue: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard let text = String(postgres: value) else { return nil }
    guard let parsed = try? JSONValue(parsing: text) else { return nil }  // not JSON: of another kind; the caller names the column
    self = parsed
  }
}

extension [String]: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    guard case .textArray(let items) = value else { return nil }
    self = items
  }
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
  public init?(postgres value: PostgresValue) {
    if case .null = value {
      self = Wrapped?.none
      return
    }
    guard let wrapped = Wrapped(postgres: value) else { return nil }
    self = wrapped
  }
}
