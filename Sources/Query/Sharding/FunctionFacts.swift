// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// What the engine's functions look at, for finding out what depends on how often and where a query runs.
struct FunctionFacts: Sendable {
  /// Names in small letters.
  private(set) var aggregates: Set<String> = []
  /// Functions and words whose value is another one each time a query runs.
  private(set) var unstable: Set<String> = ["current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"]
  /// Macros of the statement, by the engine's name: why they cannot be part of a shard.
  private(set) var refused: [String: PlatformError] = [:]

  /// Aggregates whose value depends on the order in which rows come.
  private static let tied: Set<String> = [
    "first", "last", "any_value", "arbitrary", "list", "array_agg", "string_agg", "group_concat", "listagg", "arg_min", "arg_max", "argmin", "argmax",
    "min_by", "max_by", "arg_min_null", "arg_max_null", "arg_min_nulls_last", "arg_max_nulls_last", "mode", "reservoir_quantile", "approx_quantile",
    "approx_top_k", "collect_list", "collect_set",
  ]

  init(_ connection: Connection) throws {
    for row in try connection.rows("SELECT DISTINCT lower(function_name), function_type, coalesce(stability, '') FROM duckdb_functions()") {
      guard let name = row[0].stringValue else { continue }
      if row[1].stringValue == "aggregate" { aggregates.insert(name) }
      if row[2].stringValue == "VOLATILE" || row[2].stringValue == "CONSISTENT_WITHIN_QUERY" { unstable.insert(name) }
    }
    for (name, macro) in SQLExtensions.macros {
      let words = try words((macro.overloads + macro.passed).map(\.expression).joined(separator: " "))
      if !words.isDisjoint(with: aggregates) { aggregates.insert(name) }
      if !words.isDisjoint(with: unstable) { unstable.insert(name) }
    }
  }

  private func words(_ sql: String) throws -> Set<String> { Set(try SQLTokens(sql).tokens.filter(\.isName).map { $0.text.lowercased() }) }

  /// Judges views and functions of the catalog by the words in their texts.
  /// - Throws: PLT-3220 for a view that may give other rows to each shard.
  mutating func add(_ definitions: [StatementDefinition]) throws {
    let choosing = unstable.union(Self.tied).union(["over", "limit", "sample", "tablesample", "asof", "positional"])
    for definition in definitions {
      if SQLExtensions.macros[definition.name] != nil { continue }
      let words = try words(definition.sql)
      let isQuery = definition.kind == .view || words.contains("select")
      var found = words.intersection(choosing.union(refused.keys))
      if !isQuery { found.formUnion(words.intersection(aggregates)) }
      guard let word = found.sorted().first else { continue }
      let error = ShardingCheck.refusal(
        "\(definition.kind.rawValue) '\(definition.label)' uses '\(refused[word] == nil ? word : "a function that does")', which each shard may answer differently",
        "Make a table of it first, or run the statement without shards.")
      guard definition.kind == .function else { throw error }
      refused[definition.name.lowercased()] = error
    }
  }

  /// - Throws: PLT-3220 for what gives another value each time the query runs.
  func refuseUnstable(_ node: JSONValue) throws {
    switch node {
    case .array(let items): for item in items { try refuseUnstable(item) }
    case .object(let members):
      if members["class"] == "FUNCTION", let name = members["function_name"]?.stringValue?.lowercased() {
        if let error = refused[name] { throw error }
        let isAge = name == "age" && members["children"]?.arrayValue?.count == 1
        guard !unstable.contains(name), !isAge else { throw Self.unstable(name) }
      }
      if members["class"] == "COLUMN_REF", let names = members["column_names"]?.arrayValue, names.count == 1,
        let name = names[0].stringValue?.lowercased(), unstable.contains(name), name.hasPrefix("current_") || name.hasPrefix("local")
      {
        throw Self.unstable(name)
      }
      if let sample = members["sample"], sample != .null {
        throw ShardingCheck.refusal("a sample is taken of all rows", "Run it without shards.")
      }
      for value in members.values { try refuseUnstable(value) }
    default: break
    }
  }

  private static func unstable(_ name: String) -> PlatformError {
    ShardingCheck.refusal("'\(name)' is another value in each shard", "Give the value as a parameter.")
  }

  func isAggregate(_ node: JSONValue) -> Bool {
    guard node["class"] == "FUNCTION", let name = node["function_name"]?.stringValue?.lowercased() else { return false }
    return aggregates.contains(name)
  }

  /// Whether an expression has an aggregate, queries inside of it left out.
  func hasAggregate(_ expression: JSONValue) -> Bool {
    switch expression {
    case .array(let items): return items.contains(where: hasAggregate)
    case .object(let members):
      if members["class"] == "SUBQUERY" { return members["child"].map(hasAggregate) ?? false }
      return isAggregate(expression) || members.values.contains(where: hasAggregate)
    default: return false
    }
  }

  /// Calls of window functions, queries inside of the expressions left out.
  func windows(_ expressions: [JSONValue]) -> [JSONValue] {
    expressions.flatMap { expression -> [JSONValue] in
      switch expression {
      case .array(let items): return windows(items)
      case .object(let members):
        if members["class"] == "SUBQUERY" { return windows(members["child"].map { [$0] } ?? []) }
        return (members["class"] == "WINDOW" ? [expression] : []) + windows(Array(members.values))
      default: return []
      }
    }
  }

  /// - Throws: PLT-3220 for window functions and aggregates that may choose among equal rows; queries inside are left out.
  func refuseTies(in node: JSONValue) throws {
    switch node {
    case .array(let items): for item in items { try refuseTies(in: item) }
    case .object(let members):
      if members["class"] == "SUBQUERY" { return try refuseTies(in: members["child"] ?? .null) }
      try refuseTie(members)
      for value in members.values { try refuseTies(in: value) }
    default: break
    }
  }

  /// - Throws: as `refuseTies(in:)`, queries inside included.
  func refuseTies(everywhereIn node: JSONValue) throws {
    switch node {
    case .array(let items): for item in items { try refuseTies(everywhereIn: item) }
    case .object(let members):
      try refuseTie(members)
      if members["type"]?.stringValue?.hasPrefix("LIMIT") == true || members["distinct_on_targets"]?.arrayValue?.isEmpty == false {
        throw ShardingCheck.refusal("LIMIT and DISTINCT ON of rows that every shard reads may choose among equal ones", "Make a table of them first.")
      }
      for value in members.values { try refuseTies(everywhereIn: value) }
    default: break
    }
  }

  private func refuseTie(_ members: [String: JSONValue]) throws {
    let name = members["function_name"]?.stringValue?.lowercased() ?? ""
    guard members["class"] == "WINDOW" || (members["class"] == "FUNCTION" && Self.tied.contains(name)) else { return }
    throw ShardingCheck.refusal("'\(name)' of rows that every shard reads may choose among equal ones", "Make a table of them first.")
  }
}
