// SPDX-License-Identifier: Apache-2.0

import Core

extension TableMetadata {
  /// CHECK constraints by name; every row has to make each of them true.
  public var checkConstraints: [(name: String, expression: String)] {
    configuration.filter { $0.key.lowercased().hasPrefix("delta.constraints.") }
      .map { (String($0.key.dropFirst(18)), $0.value) }.sorted { $0.0 < $1.0 }
  }
}

/// A column with an SQL expression.
public struct ColumnExpression: Sendable, Hashable {
  /// Display names from the top.
  public var path: [String]
  public var expression: String
  public init(path: [String], expression: String) {
    self.path = path
    self.expression = expression
  }
}

extension StructType {
  /// Columns that may not be null, nested fields of structs included.
  public var notNullColumns: [[String]] {
    walk { path, field in field.nullable ? nil : path }
  }

  /// Conditions of columns (`delta.invariants`): a row for which one is false or null is refused.
  /// - Throws: `invalidFile` for an invariant that cannot be read.
  public func invariants() throws -> [ColumnExpression] {
    try walk { path, field in field.metadata["delta.invariants"]?.stringValue.map { (path, $0) } }.map { path, text in
      guard let expression = try? JSONScanner.value(text)["expression"]?["expression"]?.stringValue else {
        throw PlatformError(.invalidFile, "the invariant of the column '\(path.joined(separator: "."))' cannot be read")
      }
      return ColumnExpression(path: path, expression: expression)
    }
  }

  /// Columns that are computed from others.
  public var generatedColumns: [ColumnExpression] {
    walk { path, field in
      field.metadata["delta.generationExpression"]?.stringValue.map { ColumnExpression(path: path, expression: $0) }
    }
  }

  /// Expressions for values that an insert does not give.
  public var defaults: [ColumnExpression] {
    walk { path, field in field.metadata["CURRENT_DEFAULT"]?.stringValue.map { ColumnExpression(path: path, expression: $0) } }
  }

  /// What `body` finds in the fields that structs alone lead to, in order.
  private func walk<T>(_ body: ([String], StructField) -> T?) -> [T] {
    var found: [T] = []
    func visit(_ type: StructType, _ path: [String]) {
      for field in type.fields {
        if let item = body(path + [field.name], field) { found.append(item) }
        if case .structure(let inner) = field.type { visit(inner, path + [field.name]) }
      }
    }
    visit(self, [])
    return found
  }
}

/// A column whose values the table gives ("Identity Columns").
public struct IdentityColumn: Sendable, Hashable {
  public var name: String
  public var start: Int64
  public var step: Int64
  /// The last value given; nil: none yet.
  public var highWaterMark: Int64?
  public var allowsExplicitInsert: Bool

  public init(name: String, start: Int64 = 1, step: Int64 = 1, highWaterMark: Int64? = nil, allowsExplicitInsert: Bool = false) {
    self.name = name
    self.start = start
    self.step = step
    self.highWaterMark = highWaterMark
    self.allowsExplicitInsert = allowsExplicitInsert
  }

  /// nil for a column without identity.
  /// - Throws: `invalidFile` for values that cannot be meant.
  public init?(_ field: StructField) throws {
    guard let start = field.metadata["delta.identity.start"] else { return nil }
    guard case .integer(let first) = start, case .integer(let step)? = field.metadata["delta.identity.step"], step != 0,
      field.type == .primitive("long")
    else { throw PlatformError(.invalidFile, "the identity column '\(field.name.prefix(100))' is damaged") }
    var mark: Int64?
    if case .integer(let value)? = field.metadata["delta.identity.highWaterMark"] { mark = value }
    self.init(
      name: field.name, start: first, step: step, highWaterMark: mark,
      allowsExplicitInsert: field.metadata["delta.identity.allowExplicitInsert"]?.boolValue ?? false)
  }

  /// The field of a new table.
  public func field() throws -> StructField {
    guard step != 0 else { throw PlatformError(.invalidArgument, "the step of the identity column '\(name)' is zero") }
    var metadata: [String: JSONValue] = [
      "delta.identity.start": .integer(start), "delta.identity.step": .integer(step),
      "delta.identity.allowExplicitInsert": .bool(allowsExplicitInsert),
    ]
    if let mark = highWaterMark { metadata["delta.identity.highWaterMark"] = .integer(mark) }
    return StructField(name: name, type: .primitive("long"), nullable: allowsExplicitInsert, metadata: metadata)
  }

  /// The first of `count` values that were not given yet, each a step behind the other; the mark moves to the last.
  /// - Throws: `resourceExhausted` when a value would leave 64 bits.
  public mutating func reserve(_ count: Int64) throws -> Int64? {
    guard count > 0 else { return nil }
    let exhausted = PlatformError(.resourceExhausted, "the identity column '\(name)' has no values left")
    var first = start
    if let mark = highWaterMark {
      // Explicit values need not lie on the grid: the next one that does, beyond the mark.
      let (distance, over) = mark.subtractingReportingOverflow(start)
      guard !over else { throw exhausted }
      let isBeyond = step > 0 ? distance >= 0 : distance <= 0
      let (whole, overWhole) = distance.dividedReportingOverflow(by: step)
      guard !overWhole else { throw exhausted }
      let steps = isBeyond ? whole + 1 : 0
      let (product, overProduct) = steps.multipliedReportingOverflow(by: step)
      let (sum, overSum) = start.addingReportingOverflow(product)
      guard !overProduct, !overSum else { throw exhausted }
      first = sum
    }
    let (span, overSpan) = (count - 1).multipliedReportingOverflow(by: step)
    let (last, overLast) = first.addingReportingOverflow(span)
    guard !overSpan, !overLast else { throw exhausted }
    highWaterMark = last
    return first
  }

  /// Takes values into account that users gave.
  public mutating func observe(_ value: Int64) {
    guard let mark = highWaterMark else {
      highWaterMark = value
      return
    }
    highWaterMark = step > 0 ? max(mark, value) : min(mark, value)
  }
}

extension StructType {
  /// The identity columns at the top.
  public func identityColumns() throws -> [IdentityColumn] { try fields.compactMap { try IdentityColumn($0) } }

  /// This schema with the marks of `columns`, to be committed with the rows that used the values.
  public func updating(_ columns: [IdentityColumn]) -> StructType {
    var result = self
    for column in columns {
      guard let mark = column.highWaterMark, let index = result.fields.firstIndex(where: { $0.name == column.name }) else { continue }
      result.fields[index].metadata["delta.identity.highWaterMark"] = .integer(mark)
    }
    return result
  }
}
