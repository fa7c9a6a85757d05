// SPDX-License-Identifier: Apache-2.0

public import Catalog
import Core
import DuckDB

/// Functions of the catalog as macros of the engine.
///
/// A body without subqueries and lambdas becomes an expression around its arguments, so that these may be aggregates. In any other an
/// argument becomes a column of a table beside the body's own: what a caller passes is computed outside of the body, so that no column of
/// the body's tables captures a name in it, and a parameter's name yields to a column of the body's tables, as the standard has it.
public enum FunctionMacro {
  /// The macro, and what its body reads.
  /// - Parameters:
  ///   - macro: the engine's name for it.
  ///   - first: where names for what the body reads begin.
  /// - Throws: `invalidArgument` for a body that is not one expression or query, or names what is not there.
  public static func plan(
    _ function: FunctionDefinition, label: String, macro: String, first: (reference: Int, function: Int)
  ) throws -> (definition: StatementDefinition, plan: StatementPlan) {
    let short = label.split(separator: ".").last.map(String.init) ?? label
    let list = try function.parameters.map { parameter in
      let name = SQLText.identifier(StatementPlan.argument(parameter.name))
      guard let value = parameter.defaultValue else { return name }
      return "\(name) := (\(try constant(value, of: parameter.name))\n)"
    }
    let head = "CREATE MACRO \(SQLText.identifier(macro))(\(list.joined(separator: ", "))) AS "
    let arguments = function.parameters.map {
      "CAST(\(SQLText.identifier(StatementPlan.argument($0.name))) AS \($0.type)) AS \(SQLText.identifier($0.name))"
    }
    let row = arguments.isEmpty ? "" : "(SELECT \(arguments.joined(separator: ", "))) AS \(SQLText.identifier(short))"
    func parsed(_ text: String) throws -> StatementPlan {
      try StatementPlan(query: text, catalog: function.catalog, schema: function.schema, first: first)
    }
    guard let type = function.returns else {
      _ = try parsed(function.body)
      let names = function.columns.indices.map { "c\($0)" }
      let shown = zip(names, function.columns).map { "CAST(q.\($0) AS \($1.type)) AS \(SQLText.identifier($1.name))" }
      let inner = row.isEmpty ? "(\n\(function.body)\n)" : "(SELECT r.* FROM \(row), LATERAL (\n\(function.body)\n) AS r)"
      let plan = try parsed("SELECT \(shown.joined(separator: ", ")) FROM \(inner) AS q(\(names.joined(separator: ", ")))")
      return (StatementDefinition(function: macro, label: label, sql: head + "TABLE " + plan.sql), plan)
    }
    var body = function.body
    if let first = try SQLTokens(body).tokens.first, first.isWord("SELECT") || first.isWord("WITH") {
      _ = try parsed(body)
      body = "(\n\(body)\n)"
    }
    let whole = try parsed("SELECT\n" + body)
    let expression = try single(whole, "the body of a function")
    // As the plan has it: what it found lies there.
    body = String(decoding: whole.source.bytes.dropFirst("SELECT\n".utf8.count), as: UTF8.self)
    if contains(expression, ["SUBQUERY", "LAMBDA"]) {
      let plan = try parsed("SELECT CAST((\n\(body)\n) AS \(type))" + (row.isEmpty ? "" : " FROM \(row)"))
      return (StatementDefinition(function: macro, label: label, sql: head + "(" + plan.sql + "\n)"), plan)
    }
    let plan = try parsed("SELECT\n" + inlined(body, expression, function, short))
    return (StatementDefinition(function: macro, label: label, sql: head + "CAST((" + plan.sql.dropFirst("SELECT".count) + "\n) AS \(type))"), plan)
  }

  /// The query of a function that gives a table, with values of no row for its parameters and names as `plan` gives them.
  public static func body(_ function: FunctionDefinition, label: String) throws -> String {
    let short = label.split(separator: ".").last.map(String.init) ?? label
    let list = function.parameters.map { "CAST(NULL AS \($0.type)) AS \(SQLText.identifier($0.name))" }
    let text =
      list.isEmpty
      ? function.body : "SELECT r.* FROM (SELECT \(list.joined(separator: ", "))) AS \(SQLText.identifier(short)), LATERAL (\n\(function.body)\n) AS r"
    return try StatementPlan(query: text, catalog: function.catalog, schema: function.schema, first: (0, 0)).sql
  }

  /// A default value: an expression that reads nothing.
  static func constant(_ text: String, of name: String) throws -> String {
    let plan = try StatementPlan(query: "SELECT\n" + text, catalog: "main", schema: "default", first: (0, 0))
    let expression = try single(plan, "a default value")
    guard plan.functions.isEmpty, plan.extensions.isEmpty, !contains(expression, ["SUBQUERY", "COLUMN_REF", "LAMBDA", "WINDOW"]) else {
      throw PlatformError(.invalidArgument, "the default value of '\(name)' must not read anything")
    }
    return text
  }

  /// The one expression of `SELECT expression`.
  private static func single(_ plan: StatementPlan, _ what: String) throws -> JSONValue {
    let refused = PlatformError(.invalidArgument, "\(what) must be one expression", hint: "Write a query in parentheses.")
    guard let node = plan.tree["node"], node["type"] == "SELECT_NODE", let list = node["select_list"]?.arrayValue, list.count == 1,
      node["from_table"]?["type"] == "EMPTY", node["modifiers"]?.arrayValue?.isEmpty ?? true, node["cte_map"]?["map"]?.arrayValue?.isEmpty ?? true,
      node["group_expressions"]?.arrayValue?.isEmpty ?? true,
      ["where_clause", "having", "qualify", "sample"].allSatisfy({ node[$0] ?? .null == .null }), list[0]["class"] != "STAR",
      list[0]["alias"]?.stringValue?.isEmpty ?? true
    else { throw refused }
    return list[0]
  }

  private static func contains(_ node: JSONValue, _ classes: Set<String>) -> Bool {
    switch node {
    case .array(let items): items.contains { contains($0, classes) }
    case .object(let members): classes.contains(members["class"]?.stringValue ?? "") || members.values.contains { contains($0, classes) }
    default: false
    }
  }

  /// The body with its parameters replaced by the macro's.
  private static func inlined(_ body: String, _ expression: JSONValue, _ function: FunctionDefinition, _ short: String) throws -> String {
    let source = try SQLTokens(body)
    var edits: [(range: Range<Int>, text: String)] = []
    func walk(_ node: JSONValue) throws {
      switch node {
      case .array(let items): for item in items { try walk(item) }
      case .object(let members):
        if members["class"] == "COLUMN_REF", let names = members["column_names"]?.arrayValue?.compactMap(\.stringValue) {
          if names.count == 1, SQLExtensions.sessionWords[names[0].lowercased()] != nil { return }
          let offset = Int(members["query_location"]?.intValue ?? -1) - "SELECT\n".count
          guard let first = source.tokens.firstIndex(where: { $0.range.lowerBound == offset }) else {
            throw PlatformError(.invalidArgument, "'\(names.joined(separator: "."))' cannot be located in the function's body")
          }
          var place = first
          func parameter(_ name: String) -> FunctionDefinition.Parameter? {
            function.parameters.first { $0.name.lowercased() == name.lowercased() }
          }
          var found = parameter(names[0])
          if found == nil, names.count > 1, names[0].lowercased() == short.lowercased() {
            found = parameter(names[1])
            place += 2
          }
          guard let found, place < source.tokens.count else {
            throw PlatformError(
              .invalidArgument, "'\(names.joined(separator: "."))' is no parameter of the function",
              hint: "It has: \(function.parameters.map(\.name).joined(separator: ", ")).")
          }
          let text = "(CAST(\(SQLText.identifier(StatementPlan.argument(found.name))) AS \(found.type)))"
          edits.append((source.tokens[first].range.lowerBound..<source.tokens[place].range.upperBound, text))
          return
        }
        for value in members.values { try walk(value) }
      default: break
      }
    }
    try walk(expression)
    var text = ""
    var done = 0
    for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) where edit.range.lowerBound >= done {
      text += source.text(done..<edit.range.lowerBound) + edit.text
      done = edit.range.upperBound
    }
    return text + source.text(done..<source.bytes.count)
  }
}
