// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

/// Turns given values into complete rows of a table: casts, defaults, generated and identity columns, then every condition that the
/// table sets. All of it is one query, so rows stream through it; the first bad row ends the statement with an error that shows it.
struct RowRules {
  let table: TargetTable
  /// Generated columns that are computed whatever was given: an UPDATE has not assigned them, or the statement says DEFAULT.
  var computed: Set<String> = []
  /// Identity columns that take the table's value where the statement says DEFAULT.
  var defaulted: Set<String> = []
  /// A condition of the statement itself (REPLACE WHERE).
  var statementCondition: String?
  /// Rows that were there already: identity values are theirs.
  var keepsIdentity = false

  /// A condition that each row has to make true.
  struct Rule {
    /// `CHECK constraint 'positive' (x > 0)`.
    var label: String
    var condition: String
  }

  /// A query with the columns of the table, checked, behind `passing`.
  /// - Parameters:
  ///   - source: a relation: a name, or a query in parentheses with its alias.
  ///   - given: expressions over `source` by lower-case name of the column.
  ///   - passing: columns of `source` to hand on.
  /// - Throws: `invalidArgument` for a value given to a column that takes none; `invalidFile` for damaged rules.
  func query(from source: String, given: [String: String], passing: [String] = []) throws -> String {
    let (query, rules) = try rows(from: source, given: given, passing: passing, passed: passing)
    guard !rules.isEmpty else { return query }
    let cases = rules.map { "WHEN (\($0.condition)\n) IS NOT TRUE THEN error(\(message($0)))" }.joined(separator: " ")
    return "SELECT * FROM (\(query)) AS __row WHERE CASE \(cases) ELSE true END"
  }

  /// The column of `judged` that says which rule a row breaks.
  static let reasonColumn = "__platform_reason"

  /// As `query`, but rows that break a rule say so in `reasonColumn`, which is null for all others.
  /// - Parameter passed: what the columns in `passing` are called in the query's result.
  func judged(from source: String, given: [String: String], passing: [String], passed: [String]) throws -> String {
    let (query, rules) = try rows(from: source, given: given, passing: passing, passed: passed)
    let cases = rules.map { "WHEN (\($0.condition)\n) IS NOT TRUE THEN \(SQLText.literal("breaks the " + $0.label))" }.joined(separator: " ")
    return "SELECT *, \(cases.isEmpty ? "NULL::VARCHAR" : "CASE \(cases) END") AS \(Self.reasonColumn) FROM (\(query)) AS __row"
  }

  /// Complete rows, and what is asked of them.
  private func rows(from source: String, given: [String: String], passing: [String], passed: [String]) throws -> (query: String, rules: [Rule]) {
    let fields = Array(zip(table.schema.fields, table.columns))
    let generated = Dictionary(
      uniqueKeysWithValues: try table.schema.generatedColumns.map { column -> (String, String) in
        guard column.path.count == 1 else {
          throw PlatformError(
            .invalidArgument, "the generated column '\(column.path.joined(separator: "."))' is part of a struct, which cannot be written here")
        }
        return (column.path[0], try SQLExpression.engine(column.expression))
      })
    let defaults = Dictionary(
      uniqueKeysWithValues: try table.schema.defaults.filter { $0.path.count == 1 }.map { ($0.path[0], try SQLExpression.engine($0.expression)) })
    var first: [String] = []
    var second: [String] = []
    for (field, column) in fields {
      let key = field.name.lowercased()
      let name = SQLText.identifier(field.name)
      let value = given[key]
      if let identity = try IdentityColumn(field) {
        first.append("\(try identityValue(identity, value)) AS \(name)")
      } else if let expression = generated[field.name], value == nil || computed.contains(key) {
        second.append("CAST((\(expression)\n) AS \(column.type.sql)) AS \(name)")
        continue
      } else if let value {
        first.append("\(Self.padded("CAST(\(value) AS \(column.type.sql))", field)) AS \(name)")
      } else if let expression = defaults[field.name] {
        first.append("\(Self.padded("CAST((\(expression)\n) AS \(column.type.sql))", field)) AS \(name)")
      } else {
        first.append("CAST(NULL AS \(column.type.sql)) AS \(name)")
      }
      second.append(name)
    }
    var query = "SELECT \((passing + first).joined(separator: ", ")) FROM \(source)"
    if !generated.isEmpty || second.count != first.count {
      query = "SELECT \((passed + second).joined(separator: ", ")) FROM (\(query)) AS __base"
    }
    return (query, try self.rules(generated: generated))
  }

  private func identityValue(_ identity: IdentityColumn, _ value: String?) throws -> String {
    if keepsIdentity, let value { return "CAST(\(value) AS BIGINT)" }
    let isDefault = defaulted.contains(identity.name.lowercased())
    guard value == nil || isDefault || identity.allowsExplicitInsert else {
      throw PlatformError(
        .invalidArgument, "the identity column '\(identity.name)' of \(table.name) is GENERATED ALWAYS and takes no values",
        hint: "Leave it out, or say DEFAULT.", number: "PLT-3205")
    }
    var next = identity
    guard let start = try next.reserve(1) else { return "CAST(\(value ?? "NULL") AS BIGINT)" }
    let fresh = "(\(start) + (row_number() OVER () - 1) * \(identity.step))"
    guard let value, identity.allowsExplicitInsert else { return "CAST(\(fresh) AS BIGINT)" }
    return isDefault ? "coalesce(CAST(\(value) AS BIGINT), CAST(\(fresh) AS BIGINT))" : "CAST(\(value) AS BIGINT)"
  }

  /// `char(n)` is filled up with spaces, as the reference implementation stores it.
  private static func padded(_ expression: String, _ field: StructField) -> String {
    guard let (isFixed, length) = characterLimit(field), isFixed else { return expression }
    return "CASE WHEN length(\(expression)) < \(length) THEN rpad(\(expression), \(length), ' ') ELSE \(expression) END"
  }

  /// `char(5)` or `varchar(10)` of a text column.
  private static func characterLimit(_ field: StructField) -> (isFixed: Bool, length: Int)? {
    guard field.type == .primitive("string"), let text = field.metadata["__CHAR_VARCHAR_TYPE_STRING"]?.stringValue?.lowercased(),
      let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"), open < close,
      let length = Int(text[text.index(after: open)..<close].filter { $0 != " " }), length > 0
    else { return nil }
    if text.hasPrefix("varchar(") { return (false, length) }
    return text.hasPrefix("char(") ? (true, length) : nil
  }

  fileprivate func rules(generated: [String: String]) throws -> [Rule] {
    var rules: [Rule] = []
    for path in table.schema.notNullColumns { rules.append(Rule(label: "NOT NULL column '\(path.joined(separator: "."))'", condition: Self.isPresent(path))) }
    for field in table.schema.fields {
      rules += Self.elementRules(field.type, SQLText.identifier(field.name), label: field.name, depth: 0)
      if let (isFixed, length) = Self.characterLimit(field) {
        let name = SQLText.identifier(field.name)
        rules.append(
          Rule(
            label: "length of '\(field.name)' (\(isFixed ? "char" : "varchar")(\(length)))",
            condition: "\(name) IS NULL OR length(\(isFixed ? "rtrim(\(name), ' ')" : name)) <= \(length)"))
      }
    }
    for (field, column) in zip(table.schema.fields, table.columns) {
      guard let expression = generated[field.name], !computed.contains(field.name.lowercased()) else { continue }
      rules.append(
        Rule(
          label: "generated column '\(field.name)' (\(expression))",
          condition: "\(SQLText.identifier(field.name)) IS NOT DISTINCT FROM CAST((\(expression)\n) AS \(column.type.sql))"))
    }
    for check in table.metadata.checkConstraints {
      rules.append(Rule(label: "CHECK constraint '\(check.name)' (\(check.expression))", condition: try SQLExpression.engine(check.expression)))
    }
    for invariant in try table.schema.invariants() {
      rules.append(
        Rule(
          label: "condition of '\(invariant.path.joined(separator: "."))' (\(invariant.expression))", condition: try SQLExpression.engine(invariant.expression))
      )
    }
    if let statementCondition { rules.append(Rule(label: "condition of REPLACE WHERE (\(statementCondition))", condition: statementCondition)) }
    return rules
  }

  /// A field of a struct must have a value where the struct has one.
  private static func isPresent(_ path: [String]) -> String {
    var expression = SQLText.identifier(path[0])
    var parents: [String] = []
    for name in path.dropFirst() {
      parents.append("\(expression) IS NULL")
      expression = "struct_extract(\(expression), \(SQLText.literal(name)))"
    }
    return (parents + ["\(expression) IS NOT NULL"]).joined(separator: " OR ")
  }

  /// Arrays and maps that forbid null, structs that forbid it inside of them.
  private static func elementRules(_ type: DeltaType, _ expression: String, label: String, depth: Int) -> [Rule] {
    let variable = "__e\(depth)"
    func all(_ list: String, _ condition: String) -> String {
      "\(expression) IS NULL OR len(list_filter(\(list), lambda \(variable): (\(condition)) IS NOT TRUE)) = 0"
    }
    func inner(_ type: DeltaType, _ item: String, _ list: String, _ what: String) -> [Rule] {
      var found: [Rule] = []
      if case .structure(let fields) = type {
        for field in fields.fields where !field.nullable {
          let value = "struct_extract(\(item), \(SQLText.literal(field.name)))"
          found.append(Rule(label: "NOT NULL column '\(label).\(what).\(field.name)'", condition: all(list, "\(item) IS NULL OR \(value) IS NOT NULL")))
        }
      }
      return found
    }
    switch type {
    case .primitive: return []
    case .structure(let fields):
      return fields.fields.flatMap {
        elementRules($0.type, "struct_extract(\(expression), \(SQLText.literal($0.name)))", label: "\(label).\($0.name)", depth: depth)
      }
    case .array(let item, let containsNull):
      var rules = inner(item, variable, expression, "element")
      if !containsNull { rules.append(Rule(label: "array '\(label)' without null", condition: all(expression, "\(variable) IS NOT NULL"))) }
      return rules
    case .map(_, let value, let containsNull):
      let list = "map_values(\(expression))"
      var rules = inner(value, variable, list, "value")
      if !containsNull { rules.append(Rule(label: "map '\(label)' without null", condition: all(list, "\(variable) IS NOT NULL"))) }
      return rules
    }
  }

  /// The error's text, with the row.
  private func message(_ rule: Rule) -> String {
    let plain = zip(table.schema.fields, table.columns).filter { field, column in
      if case .primitive(let type) = field.type { type != "binary" } else { false }
    }.map(\.0.name)
    let named = plain.filter { Self.mentions(rule.label, $0) }
    let shown = (named.isEmpty ? plain : named).prefix(12).map { "\(SQLText.literal($0)): \(SQLText.identifier($0))" }
    let text = RowRuleError.marker + "a row breaks the \(rule.label) of \(table.name)"
    guard !shown.isEmpty else { return SQLText.literal(text) }
    return "\(SQLText.literal(text + ": ")) || left(CAST(to_json({\(shown.joined(separator: ", "))}) AS VARCHAR), 500)"
  }

  private static func mentions(_ text: String, _ name: String) -> Bool {
    text.lowercased().split(whereSeparator: { !($0.isLetter || $0.isNumber || $0 == "_") }).contains { $0 == name.lowercased() }
  }
}

extension WriteTarget {
  /// Whether the table asks anything of its rows: NOT NULL, CHECK, lengths, arrays without null.
  /// - Throws: `invalidFile` for damaged rules.
  public var hasRules: Bool {
    get throws { try !RowRules(table: TargetTable(self, columns: [])).rules(generated: [:]).isEmpty }
  }
}

/// The error of a row that breaks a rule, on its way through the engine.
enum RowRuleError {
  static let marker = "PLT-3204 "

  /// The engine's error as this program's own, when a rule raised it.
  static func translated(_ error: any Error) -> any Error {
    guard let error = error as? PlatformError, let range = error.message.range(of: marker) else { return error }
    return PlatformError(
      .invalidArgument, String(error.message[range.upperBound...]), hint: "Nothing was written. Correct the row, or change the rule.",
      number: "PLT-3204")
  }
}

/// SQL expressions out of a table's metadata.
enum SQLExpression {
  /// `text` as the engine writes it: names in backticks become names in double quotes.
  /// - Throws: `invalidFile` for what is not one expression.
  static func engine(_ text: String) throws -> String {
    var plain = ""
    var quote: Character?
    for character in text {
      if let open = quote {
        if character == open { quote = nil }
        plain.append(open == "`" && character == "`" ? "\"" : (open == "`" && character == "\"" ? "\"\"" : String(character)))
      } else {
        if character == "'" || character == "\"" || character == "`" { quote = character }
        plain.append(character == "`" ? "\"" : character)
      }
    }
    let bad = PlatformError(.invalidFile, "'\(text.prefix(200))' in the table's metadata is no SQL expression")
    guard quote == nil, let tokens = try? SQLTokens(plain).tokens, !tokens.isEmpty else { throw bad }  // the reason adds nothing
    var depth = 0
    for token in tokens {
      if ["(", "[", "{"].contains(where: token.isSymbol) { depth += 1 }
      if [")", "]", "}"].contains(where: token.isSymbol) { depth -= 1 }
      guard depth >= 0, !token.isSymbol(";") else { throw bad }
      if depth == 0, token.isSymbol(",") { throw bad }
    }
    guard depth == 0 else { throw bad }
    return try SQLLiterals.written(plain)
  }
}
