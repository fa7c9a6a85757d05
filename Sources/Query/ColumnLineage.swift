// SPDX-License-Identifier: Apache-2.0

import Core

/// Which columns of what a query reads reach which of its own columns, from the engine's reading of the query.
///
/// A column reaches another when its values do: through expressions, aggregates, subqueries, common table expressions, both sides of set
/// operations, and stars. What only decides which rows there are (WHERE, ON, GROUP BY, ORDER BY) is not counted, as in Unity Catalog.
public struct ColumnLineage {
  /// A column of something that the query names.
  public struct Origin: Sendable, Hashable {
    /// Index of the reference in the plan.
    public var reference: Int
    public var column: String
    public init(reference: Int, column: String) {
      self.reference = reference
      self.column = column
    }
  }

  public struct Output: Sendable, Equatable {
    public var name: String
    public var origins: Set<Origin>
    public init(name: String, origins: Set<Origin>) {
      self.name = name
      self.origins = origins
    }
  }

  private struct Relation {
    /// In small letters.
    var alias: String
    var columns: [Output]
  }

  private struct Scope {
    var relations: [Relation] = []
    var common: [String: [Output]] = [:]
    var outer: [Relation] = []
  }

  private let lookup: ([String]) -> Int?
  private let columns: [[String]]
  private var depth = 0

  /// - Parameters:
  ///   - plan: of a query, or of a statement that holds one.
  ///   - columns: of each of the plan's references, in their order.
  /// - Returns: the query's columns in order; empty when the query cannot be followed.
  public static func outputs(of plan: StatementPlan, columns: [[String]]) -> [Output] {
    outputs(of: plan.tree["node"] ?? .null, plan, columns)
  }

  private static func outputs(of node: JSONValue, _ plan: StatementPlan, _ columns: [[String]]) -> [Output] {
    guard columns.count == plan.references.count else { return [] }
    var lineage = ColumnLineage(
      lookup: { parts in
        let name = plan.qualified(parts)
        return plan.references.firstIndex { $0.name == name && $0.isPlain == (parts.count == 1) }
      }, columns: columns)
    return lineage.query(node, Scope()) ?? []
  }

  private init(lookup: @escaping ([String]) -> Int?, columns: [[String]]) {
    self.lookup = lookup
    self.columns = columns
  }

  // MARK: queries

  /// nil: cannot be followed.
  private mutating func query(_ node: JSONValue, _ outside: Scope) -> [Output]? {
    guard depth < 64 else { return nil }
    depth += 1
    defer { depth -= 1 }
    var scope = Scope(common: outside.common, outer: outside.relations + outside.outer)
    for entry in node["cte_map"]?["map"]?.arrayValue ?? [] {
      guard let name = entry["key"]?.stringValue?.lowercased(), let inner = entry["value"]?["query"]?["node"] else { continue }
      let aliases = entry["value"]?["aliases"]?.arrayValue?.compactMap(\.stringValue) ?? []
      scope.common[name] = Self.renamed(query(inner, scope) ?? [], aliases)
    }
    switch node["type"]?.stringValue {
    case "SELECT_NODE":
      if let from = node["from_table"] { scope.relations = relations(from, scope) }
      return (node["select_list"]?.arrayValue ?? []).flatMap { outputs($0, scope) }
    case "SET_OPERATION_NODE":
      let sides: [JSONValue] = node["children"]?.arrayValue ?? [node["left"] ?? .null, node["right"] ?? .null]
      let found = sides.map { query($0, scope) ?? [] }
      guard var result = found.first else { return nil }
      let byName = node["setop_type"]?.stringValue?.contains("BY_NAME") == true
      for side in found.dropFirst() {
        for (index, column) in side.enumerated() {
          let place = byName ? result.firstIndex { $0.name.lowercased() == column.name.lowercased() } : index
          if let place, place < result.count { result[place].origins.formUnion(column.origins) } else if byName { result.append(column) }
        }
      }
      return result
    case "RECURSIVE_CTE_NODE", "CTE_NODE":
      // The recursive part reads what the other part gives.
      let name = node["cte_name"]?.stringValue?.lowercased() ?? ""
      let aliases = node["aliases"]?.arrayValue?.compactMap(\.stringValue) ?? []
      guard let start = node["left"] ?? node["query"], let rest = node["right"] ?? node["child"] else { return nil }
      var first = query(start, scope) ?? []
      scope.common[name] = Self.renamed(first, aliases)
      let second = query(rest, scope) ?? []
      if node["type"]?.stringValue == "CTE_NODE" { return second }
      for (index, column) in second.enumerated() where index < first.count { first[index].origins.formUnion(column.origins) }
      return Self.renamed(first, aliases)
    default: return nil
    }
  }

  private static func renamed(_ columns: [Output], _ names: [String]) -> [Output] {
    columns.enumerated().map { index, column in index < names.count ? Output(name: names[index], origins: column.origins) : column }
  }

  private mutating func relations(_ node: JSONValue, _ scope: Scope) -> [Relation] {
    let alias = node["alias"]?.stringValue?.lowercased() ?? ""
    let names = node["column_name_alias"]?.arrayValue?.compactMap(\.stringValue) ?? []
    switch node["type"]?.stringValue {
    case "BASE_TABLE":
      let parts = ["catalog_name", "schema_name", "table_name"].compactMap { node[$0]?.stringValue }.filter { !$0.isEmpty }
      guard let last = parts.last else { return [] }
      let shown = alias.isEmpty ? last.lowercased() : alias
      if parts.count == 1, let common = scope.common[last.lowercased()] { return [Relation(alias: shown, columns: Self.renamed(common, names))] }
      guard let reference = lookup(parts) else { return [Relation(alias: shown, columns: [])] }
      let found = columns[reference].map { Output(name: $0, origins: [Origin(reference: reference, column: $0)]) }
      return [Relation(alias: shown, columns: Self.renamed(found, names))]
    case "SUBQUERY":
      return [Relation(alias: alias, columns: Self.renamed(query(node["subquery"]?["node"] ?? .null, scope) ?? [], names))]
    case "JOIN":
      let left = relations(node["left"] ?? .null, scope)
      var inner = scope
      inner.relations = left  // a lateral side may read it
      var right = relations(node["right"] ?? .null, inner)
      // A column of USING appears once in a star.
      let shared = Set((node["using_columns"]?.arrayValue ?? []).compactMap { $0.stringValue?.lowercased() })
      if !shared.isEmpty {
        for index in right.indices { right[index].columns.removeAll { shared.contains($0.name.lowercased()) } }
      }
      return left + right
    case "EXPRESSION_LIST":
      var columns: [Output] = []
      for row in node["values"]?.arrayValue ?? [] {
        for (index, value) in (row.arrayValue ?? []).enumerated() {
          let origins = origins(value, scope)
          if index < columns.count { columns[index].origins.formUnion(origins) } else { columns.append(Output(name: "col\(index)", origins: origins)) }
        }
      }
      return [Relation(alias: alias, columns: Self.renamed(columns, names))]
    case "TABLE_FUNCTION":
      let arguments = origins(node["function"]?["children"] ?? .null, scope)
      let function = node["function"]?["function_name"]?.stringValue ?? ""
      let shown = names.isEmpty ? [alias.isEmpty ? function : alias] : names
      return [Relation(alias: alias.isEmpty ? function.lowercased() : alias, columns: shown.map { Output(name: $0, origins: arguments) })]
    default: return []
    }
  }

  // MARK: expressions

  private mutating func outputs(_ node: JSONValue, _ scope: Scope) -> [Output] {
    if node["class"]?.stringValue == "STAR", node["columns"]?.boolValue != true {
      let relation = node["relation_name"]?.stringValue?.lowercased() ?? ""
      let excluded = Set((node["exclude_list"]?.arrayValue ?? []).compactMap { ($0.stringValue ?? $0["column"]?.stringValue)?.lowercased() })
      var replaced: [String: JSONValue] = [:]
      for entry in node["replace_list"]?.arrayValue ?? [] {
        if let key = entry["key"]?.stringValue?.lowercased() { replaced[key] = entry["value"] ?? .null }
      }
      return scope.relations.filter { relation.isEmpty || $0.alias == relation }.flatMap(\.columns)
        .filter { !excluded.contains($0.name.lowercased()) }
        .map { column in
          replaced[column.name.lowercased()].map { Output(name: column.name, origins: origins($0, scope)) } ?? column
        }
    }
    let alias = node["alias"]?.stringValue ?? ""
    let name = alias.isEmpty ? node["column_names"]?.arrayValue?.last?.stringValue ?? "" : alias
    return [Output(name: name, origins: origins(node, scope))]
  }

  private mutating func origins(_ node: JSONValue, _ scope: Scope) -> Set<Origin> {
    switch node {
    case .array(let items): return items.reduce(into: []) { $0.formUnion(origins($1, scope)) }
    case .object(let members):
      switch members["class"]?.stringValue {
      case "COLUMN_REF": return column((members["column_names"]?.arrayValue ?? []).compactMap(\.stringValue), scope)
      case "SUBQUERY":
        let inner = query(members["subquery"]?["node"] ?? .null, scope) ?? []
        // EXISTS and IN give whether there is a row, and no value of its.
        guard members["subquery_type"]?.stringValue == "SCALAR" else { return origins(members["child"] ?? .null, scope) }
        return inner.first?.origins ?? []
      case "STAR": return scope.relations.flatMap(\.columns).reduce(into: []) { $0.formUnion($1.origins) }
      default:
        var found: Set<Origin> = []
        for (key, value) in members where !["order_bys", "filter", "filter_expr", "partitions", "orders", "arg_orders"].contains(key) {
          found.formUnion(origins(value, scope))
        }
        return found
      }
    default: return []
    }
  }

  private func column(_ names: [String], _ scope: Scope) -> Set<Origin> {
    guard let first = names.first else { return [] }
    for relations in [scope.relations, scope.outer] {
      if names.count > 1 {
        // `t.x`, `schema.t.x`, or a field of a struct.
        for (index, qualifier) in names.dropLast().enumerated().reversed() {
          if let relation = relations.last(where: { $0.alias == qualifier.lowercased() }) {
            return Self.find(names[index + 1], relation.columns) ?? []
          }
        }
      }
      for relation in relations {
        if let found = Self.find(first, relation.columns) { return found }
      }
    }
    return []
  }

  private static func find(_ name: String, _ columns: [Output]) -> Set<Origin>? {
    columns.first { $0.name.lowercased() == name.lowercased() }?.origins
  }
}
