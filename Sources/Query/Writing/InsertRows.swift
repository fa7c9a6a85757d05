// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// How the rows of an INSERT meet the columns of the table.
public struct InsertOptions: Codable, Sendable, Hashable {
  /// The query's columns go to the columns of the same name.
  public var byName = false
  /// Values of `PARTITION (column = value)`, as SQL.
  public var constants: [String: String] = [:]
  /// Columns of `PARTITION (column)` without a value: the last ones of the query.
  public var trailing: [String] = []
  /// Columns of the query behind those of the table are new ones of their own name.
  public var appendsNewColumns = false
  /// The condition of REPLACE WHERE: rows that fulfil it go, and every new row has to.
  public var replaceCondition: String?
  public init() {}
}

/// The query that makes complete, checked rows out of an INSERT's own query.
struct InsertRows {
  let spec: StatementSpec
  let table: TargetTable

  /// Marks DEFAULT at a position of a VALUES list: it becomes the expression of the column there.
  static let defaultMark = "__platform_default_"

  /// - Parameter columns: of the query.
  /// - Throws: `invalidArgument` when they do not fit the table.
  func query(columns: [Column]) throws -> String {
    let constants = Dictionary(uniqueKeysWithValues: spec.insert.constants.map { ($0.key.lowercased(), $0.value) })
    for name in constants.keys { _ = try field(name) }
    let named = try names(columns.map(\.name), constants: constants)
    var seen = Set(constants.keys)
    for name in named {
      _ = try field(name)
      guard seen.insert(name.lowercased()).inserted else { throw PlatformError(.invalidArgument, "the column '\(name)' is given twice") }
    }
    for (name, column) in zip(named, columns) {
      guard let place = table.columns.first(where: { $0.name.lowercased() == name.lowercased() }) else { continue }
      try GivenFields.check(column.type, place.type, path: [place.name])
    }
    var rules = RowRules(table: table)
    rules.statementCondition = spec.insert.replaceCondition
    let sql = try withDefaults(named, &rules)
    let aliases = named.indices.map { "c\($0)" }
    var given = Dictionary(uniqueKeysWithValues: zip(named.map { $0.lowercased() }, aliases))
    for name in rules.computed { given[name] = nil }
    for (name, value) in constants { given[name] = "(\(value)\n)" }
    return try rules.query(from: "(\n\(sql)\n) AS r(\(aliases.joined(separator: ", ")))", given: given)
  }

  /// The statement with the values of a VALUES list in the types of their columns.
  /// - Throws: as `query`.
  static func typed(_ spec: StatementSpec, _ table: TargetTable) throws -> StatementSpec {
    guard !spec.insert.byName, !spec.insert.appendsNewColumns else { return spec }
    let constants = Dictionary(uniqueKeysWithValues: spec.insert.constants.map { ($0.key.lowercased(), $0.value) })
    let rows = InsertRows(spec: spec, table: table)
    var typed = spec
    typed.sql = try TypedValues.written(spec.sql) { width in
      try rows.names(Array(repeating: "", count: width), constants: constants).map { name in
        table.columns.first { $0.name.lowercased() == name.lowercased() }?.type
      }
    }
    return typed
  }

  private func field(_ name: String) throws -> StructField {
    guard let field = table.schema.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
      throw PlatformError(
        .invalidArgument, "the table has no column '\(name)'", hint: "It has: \(table.schema.fields.map(\.name).joined(separator: ", ")).")
    }
    return field
  }

  /// The table's column for each column of the query.
  private func names(_ given: [String], constants: [String: String]) throws -> [String] {
    if spec.insert.byName { return given }
    if !spec.insertColumns.isEmpty {
      guard given.count == spec.insertColumns.count else {
        throw PlatformError(.invalidArgument, "the query gives \(given.count) columns, the statement names \(spec.insertColumns.count)")
      }
      return spec.insertColumns
    }
    let trailing = try spec.insert.trailing.map(field)
    let all = table.schema.fields.filter { constants[$0.name.lowercased()] == nil && !trailing.contains($0) } + trailing
    if given.count == all.count { return all.map(\.name) }
    if spec.insert.appendsNewColumns {
      // The table's schema has grown by the query's last columns already.
      return given.enumerated().map { index, name in index < all.count ? all[index].name : name }
    }
    // Columns that compute their own values may be left out.
    let generated = Set(table.schema.generatedColumns.map { $0.path[0] })
    let own = try all.filter { field in try !generated.contains(field.name) && IdentityColumn(field).map { $0.allowsExplicitInsert } ?? true }
    guard given.count == own.count else {
      throw PlatformError(
        .invalidArgument, "the query gives \(given.count) columns, the table takes \(all.count) different ones",
        hint: "Name the columns: INSERT INTO t (a, b) .., or INSERT INTO t BY NAME ..")
    }
    return own.map(\.name)
  }

  /// The query with every DEFAULT replaced.
  private func withDefaults(_ named: [String], _ rules: inout RowRules) throws -> String {
    try Self.replacingDefaults(spec.sql) { index in
      guard named.indices.contains(index) else { throw PlatformError(.invalidArgument, "DEFAULT stands for no column of the table") }
      let field = try field(named[index])
      if table.schema.generatedColumns.contains(where: { $0.path == [field.name] }) {
        rules.computed.insert(field.name.lowercased())
      } else if try IdentityColumn(field) != nil {
        rules.defaulted.insert(field.name.lowercased())
      } else if let own = table.schema.defaults.first(where: { $0.path == [field.name] }) {
        return "(\(try SQLExpression.engine(own.expression)))"
      }
      return "NULL"
    }
  }

  /// For finding out the query's columns.
  static func withoutDefaults(_ sql: String) throws -> String { try replacingDefaults(sql) { _ in "NULL" } }

  private static func replacingDefaults(_ sql: String, _ value: (Int) throws -> String) throws -> String {
    guard sql.contains(defaultMark) else { return sql }
    let tokens = try SQLTokens(sql)
    var out: [UInt8] = []
    var done = 0
    for token in tokens.tokens where token.kind == .word && token.text.hasPrefix(defaultMark) {
      guard let index = Int(token.text.dropFirst(defaultMark.count)) else { continue }
      out += tokens.bytes[done..<token.range.lowerBound] + Array(try value(index).utf8)
      done = token.range.upperBound
    }
    return String(decoding: out + tokens.bytes[done...], as: UTF8.self)
  }
}
