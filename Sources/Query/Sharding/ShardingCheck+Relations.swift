// SPDX-License-Identifier: Apache-2.0

import Core

/// What FROM gives, and queries inside of expressions.
extension ShardingCheck {
  private func requalified(_ distribution: Distribution, _ alias: String) -> Distribution {
    guard case .split(let keys?) = distribution else { return distribution }
    return .split(keys.map { Set($0.map { Name(qualifier: alias.lowercased(), column: $0.column) }) })
  }

  func relation(_ node: JSONValue, _ known: [String: Distribution], _ isCorrelated: Bool) throws -> (Distribution, [Source]) {
    let alias = node["alias"]?.stringValue ?? ""
    let renames = node["column_name_alias"]?.arrayValue?.isEmpty == false
    switch node["type"]?.stringValue {
    case "BASE_TABLE":
      let name = node["table_name"]?.stringValue ?? ""
      let shown = alias.isEmpty ? name : alias
      let found: Distribution
      var source = Source(alias: shown.lowercased())
      if let common = known[name.lowercased()], (node["schema_name"]?.stringValue ?? "").isEmpty {
        found = common
      } else {
        source.columns = renames ? nil : columns[name.lowercased()]
        guard let table = tables[name.lowercased()] else { return (.whole, [source]) }
        found = .split(table.keys.isEmpty ? nil : table.keys.map { [Name(qualifier: "", column: $0.lowercased())] })
      }
      if renames, found.isSplit { return (.split(nil), [source]) }
      return (requalified(found, shown), [source])
    case "SUBQUERY":
      let source = Source(alias: alias.lowercased())
      guard let query = node["subquery"]?["node"] else { return (.whole, [source]) }
      let found = try self.node(query, known, isCorrelated: isCorrelated)
      if renames, found.isSplit { return (.split(nil), [source]) }
      return (requalified(found, alias), [source])
    case "JOIN": return try join(node, known, isCorrelated)
    default:
      guard !touches(node, known) else {
        throw Self.refusal("\(node["type"]?.stringValue ?? "a clause") reads the split table", "Run it without shards.")
      }
      try functions.refuseTies(everywhereIn: node)
      return (.whole, node["type"] == "EMPTY" ? [] : [Source(alias: alias.lowercased())])
    }
  }

  private func join(_ node: JSONValue, _ known: [String: Distribution], _ isCorrelated: Bool) throws -> (Distribution, [Source]) {
    let (left, leftSources) = try relation(node["left"] ?? .null, known, isCorrelated)
    let (right, rightSources) = try relation(node["right"] ?? .null, known, isCorrelated)
    let sources = leftSources + rightSources
    if let condition = node["condition"] { try subqueries(condition, known) }
    let kind = node["join_type"]?.stringValue ?? ""
    let reference = node["ref_type"]?.stringValue ?? ""
    guard reference != "POSITIONAL" else { throw Self.refusal("a positional join counts all rows", "Run it without shards.") }
    guard left.isSplit || right.isSplit else {
      guard reference != "ASOF" else { throw Self.refusal("an ASOF join of tables that are not split may choose among equal rows", "Run it without shards.") }
      return (.whole, sources)
    }
    switch (left, right) {
    case (.split(let first), .split(let second)):
      guard let first, let second, joinsOnKeys(node, first, second), reference == "REGULAR" else {
        throw Self.refusal(
          "two split tables are joined by other columns than they are split by", "Split both by the columns of the join (JOIN .. ON a.key = b.key).")
      }
      switch kind {
      case "INNER": return (.split(zip(first, second).map { $0.union($1) }), sources)
      case "LEFT": return (left, sources)
      case "SEMI", "ANTI": return (left, leftSources)
      case "RIGHT": return (right, sources)
      default: return (.split(nil), sources)
      }
    case (.split, _):
      guard ["INNER", "LEFT", "SEMI", "ANTI"].contains(kind) else { throw unmatched(kind) }
      return (left, kind == "SEMI" || kind == "ANTI" ? leftSources : sources)
    default:
      guard ["INNER", "RIGHT"].contains(kind), reference != "ASOF" else { throw unmatched(kind) }
      return (right, sources)
    }
  }

  private func unmatched(_ kind: String) -> PlatformError {
    Self.refusal("a \(kind) join keeps rows that no row of one shard matches", "Put the split table on the side that is kept.")
  }

  private func joinsOnKeys(_ node: JSONValue, _ first: [Set<Name>], _ second: [Set<Name>]) -> Bool {
    let using = Set((node["using_columns"]?.arrayValue ?? []).compactMap { $0.stringValue?.lowercased() })
    let equalities = conjuncts(node["condition"] ?? .null).filter { $0["type"] == "COMPARE_EQUAL" || $0["type"] == "COMPARE_NOT_DISTINCT_FROM" }
    guard first.count == second.count else { return false }
    return zip(first, second).allSatisfy { a, b in
      using.contains { name in a.contains { $0.column == name } && b.contains { $0.column == name } }
        || equalities.contains { one in
          guard let left = one["left"], let right = one["right"] else { return false }
          return (isKey(left, a) && isKey(right, b)) || (isKey(left, b) && isKey(right, a))
        }
    }
  }

  private func conjuncts(_ condition: JSONValue) -> [JSONValue] {
    guard condition["type"] == "CONJUNCTION_AND" else { return [condition] }
    return (condition["children"]?.arrayValue ?? []).flatMap(conjuncts)
  }

  /// Whether a part of the tree reads a split table.
  func touches(_ node: JSONValue, _ known: [String: Distribution]) -> Bool {
    switch node {
    case .array(let items): return items.contains { touches($0, known) }
    case .object(let members):
      if members["type"] == "BASE_TABLE", let name = members["table_name"]?.stringValue?.lowercased() {
        return known[name]?.isSplit ?? (tables[name] != nil)
      }
      return members.values.contains { touches($0, known) }
    default: return false
    }
  }

  /// A query inside of an expression has to be whole.
  func subqueries(_ expression: JSONValue, _ known: [String: Distribution]) throws {
    switch expression {
    case .array(let items): for item in items { try subqueries(item, known) }
    case .object(let members):
      if members["class"] == "SUBQUERY", let query = members["subquery"]?["node"] {
        guard try !node(query, known, isCorrelated: true).isSplit else {
          throw Self.refusal("a query in an expression reads the split table", "Write it as a join.")
        }
        if let child = members["child"] { try subqueries(child, known) }
        return
      }
      for value in members.values { try subqueries(value, known) }
    default: break
    }
  }

  /// An aggregate inside of a query over a column from outside of it belongs to the query around it, where it would look at all rows.
  func refuseOuterAggregates(_ parts: [JSONValue], _ sources: [Source]) throws {
    let split = Set(tables.keys.flatMap { columns[$0] ?? [] })
    let aliases = Set(sources.map(\.alias))
    func look(_ node: JSONValue, inside: Bool) throws {
      switch node {
      case .array(let items): for item in items { try look(item, inside: inside) }
      case .object(let members):
        if members["class"] == "SUBQUERY" { return try look(members["child"] ?? .null, inside: inside) }
        if inside, members["class"] == "COLUMN_REF" {
          let names = (members["column_names"]?.arrayValue ?? []).compactMap { $0.stringValue?.lowercased() }
          let isOwn =
            names.count > 1
            ? names.dropLast().contains(where: aliases.contains)
            : !split.contains(names.first ?? "") || sources.contains { $0.columns?.contains(names.first ?? "") == true }
          guard isOwn, !sources.isEmpty else {
            throw Self.refusal(
              "the aggregate of '\(names.joined(separator: "."))' in a query may look at rows of several shards", "Write the table before the column's name.")
          }
        }
        let isAggregate = functions.isAggregate(node)
        for value in members.values { try look(value, inside: inside || isAggregate) }
      default: break
      }
    }
    for part in parts { try look(part, inside: false) }
  }

  /// What is whole has to be the same for every shard: nothing may choose among rows that are equal in what it looks at.
  /// - Parameter items: of a SELECT; nil for other queries.
  func refuseTies(_ node: JSONValue, items: [JSONValue]?) throws {
    let modifiers = node["modifiers"]?.arrayValue ?? []
    if modifiers.contains(where: { $0["type"]?.stringValue?.hasPrefix("LIMIT") == true }) {
      let orders = modifiers.flatMap { $0["orders"]?.arrayValue ?? [] }.compactMap { $0["expression"] }
      let sorts = Set(orders.compactMap(Self.column))
      let isTotal =
        orders.contains { $0["class"] == "STAR" }
        || (items.map { !$0.isEmpty && $0.allSatisfy { item in Self.column(item).map(sorts.contains) ?? false } } ?? false)
      guard isTotal else {
        throw Self.refusal("LIMIT of rows that every shard reads may choose among equal ones", "ORDER BY ALL before LIMIT, or make a table of them first.")
      }
    }
    guard !modifiers.contains(where: { $0["distinct_on_targets"]?.arrayValue?.isEmpty == false }) else {
      throw Self.refusal("DISTINCT ON of rows that every shard reads chooses among equal ones", "Make a table of them first.")
    }
    var own = node.objectValue ?? [:]
    for key in ["from_table", "cte_map", "left", "right", "children"] { own[key] = nil }
    try functions.refuseTies(in: .object(own))
  }

  private static func column(_ expression: JSONValue) -> [String]? {
    guard expression["class"] == "COLUMN_REF" else { return nil }
    return expression["column_names"]?.arrayValue?.compactMap { $0.stringValue?.lowercased() }
  }
}
