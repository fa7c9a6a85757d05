// SPDX-License-Identifier: Apache-2.0

import Core

/// Whether a query gives the same rows when it runs once for every part of a table as when it runs once over the whole table.
///
/// The parts hold disjoint rows; with key columns, rows with equal keys are in the same part. Every part of the query is either
/// *whole* (each run sees all of it) or *split* (each run sees its own rows). The rules are those of partitioned evaluation in
/// parallel databases (DeWitt and Gray, "Parallel Database Systems", 1992): joins keep a split side, groups and windows have
/// to contain the keys, what looks at all rows at once is refused. What is whole has to come out the same in every run.
struct ShardingCheck {
  /// A table that is split: the name that the query's text gives it, and its key columns (none: any rows are together).
  struct SplitTable {
    var view: String
    var keys: [String]
  }

  /// A name under which a key column is visible.
  struct Name: Hashable {
    var qualifier: String
    var column: String
  }

  enum Distribution {
    case whole
    /// The names of each key column; nil when a key is no longer visible, or there are none.
    case split([Set<Name>]?)

    var isSplit: Bool { if case .split = self { true } else { false } }
  }

  /// Something that FROM names, with its columns in small letters where they are known.
  struct Source {
    var alias: String
    var columns: [String]?
  }

  let tables: [String: SplitTable]
  /// Columns of tables by view, all in small letters.
  let columns: [String: [String]]
  let functions: FunctionFacts

  /// - Parameters:
  ///   - tree: the query as `json_serialize_sql` gives it: the first statement of it.
  ///   - columns: of every table that it names, by view.
  /// - Throws: `invalidArgument` (PLT-3220) saying what would come out differently.
  static func check(_ tree: JSONValue, tables: [SplitTable], columns: [String: [String]] = [:], functions: FunctionFacts) throws {
    let check = ShardingCheck(
      tables: Dictionary(tables.map { ($0.view.lowercased(), $0) }) { first, _ in first },
      columns: Dictionary(columns.map { ($0.key.lowercased(), $0.value.map { $0.lowercased() }) }) { first, _ in first }, functions: functions)
    guard let node = tree["node"] else { throw PlatformError(.internalError, "the engine gave no syntax tree") }
    try functions.refuseUnstable(tree)
    guard try check.node(node, [:]).isSplit else {
      throw refusal("the query does not read the split table", "Name the table in the statement itself: views are read as a whole.")
    }
  }

  static func refusal(_ what: String, _ hint: String) -> PlatformError {
    PlatformError(.invalidArgument, "the statement cannot run in shards: \(what)", hint: hint, number: "PLT-3220")
  }

  // MARK: queries

  func node(_ node: JSONValue, _ outer: [String: Distribution], isCorrelated: Bool = false) throws -> Distribution {
    var known = outer
    for entry in node["cte_map"]?["map"]?.arrayValue ?? [] {
      guard let name = entry["key"]?.stringValue, let query = entry["value"]?["query"]?["node"] else { continue }
      let found = try self.node(query, known, isCorrelated: isCorrelated)
      let renames = entry["value"]?["aliases"]?.arrayValue?.isEmpty == false
      known[name.lowercased()] = renames && found.isSplit ? .split(nil) : found
    }
    switch node["type"]?.stringValue {
    case "SELECT_NODE": return try select(node, known, isCorrelated)
    case "SET_OPERATION_NODE":
      let parts: [JSONValue] = [node["left"], node["right"]].compactMap { $0 } + (node["children"]?.arrayValue ?? [])
      let sides = try parts.map { try self.node($0, known, isCorrelated: isCorrelated) }
      for modifier in node["modifiers"]?.arrayValue ?? [] { try subqueries(modifier, known) }
      guard sides.contains(where: \.isSplit) else {
        try refuseTies(node, items: nil)
        return .whole
      }
      guard node["setop_type"] == "UNION", node["setop_all"] == true else {
        throw Self.refusal("UNION, INTERSECT and EXCEPT compare all rows", "Use UNION ALL.")
      }
      guard sides.allSatisfy(\.isSplit) else {
        throw Self.refusal("one side of UNION ALL does not read the split table", "Every shard would add the same rows.")
      }
      try refuseLimits(node, allowsOrder: false)
      return .split(nil)
    default:
      guard !touches(node, known) else { throw Self.refusal("a recursive query reads the split table", "Run it without shards.") }
      try functions.refuseTies(everywhereIn: node)
      return .whole
    }
  }

  private func refuseLimits(_ node: JSONValue, allowsOrder: Bool) throws {
    for modifier in node["modifiers"]?.arrayValue ?? [] {
      let type = modifier["type"]?.stringValue ?? ""
      if type.hasPrefix("LIMIT") { throw Self.refusal("LIMIT counts all rows", "Leave it out, or run the statement without shards.") }
      if type == "ORDER_MODIFIER", !allowsOrder {
        throw Self.refusal("ORDER BY arranges all rows", "Leave it out: a table's rows have no order. OPTIMIZE .. ZORDER BY arranges its files.")
      }
    }
  }

  private func select(_ node: JSONValue, _ known: [String: Distribution], _ isCorrelated: Bool) throws -> Distribution {
    let (from, sources) = try relation(node["from_table"] ?? .null, known, isCorrelated)
    for (key, value) in node.objectValue ?? [:] where key != "from_table" && key != "cte_map" { try subqueries(value, known) }
    let items = node["select_list"]?.arrayValue ?? []
    let groups = node["group_expressions"]?.arrayValue ?? []
    let parts = items + [node["where_clause"], node["having"], node["qualify"]].compactMap { $0 } + groups
    if isCorrelated { try refuseOuterAggregates(parts + (node["modifiers"]?.arrayValue ?? []), sources) }
    let modifiers = node["modifiers"]?.arrayValue ?? []
    guard case .split(let keys) = from else {
      try refuseTies(node, items: items)
      return .whole
    }
    let distinct = modifiers.filter { $0["type"] == "DISTINCT_MODIFIER" }
    // With DISTINCT ON the order says which row of its group stays.
    try refuseLimits(node, allowsOrder: distinct.contains { $0["distinct_on_targets"]?.arrayValue?.isEmpty == false })
    try refuseHiding(items, keys)
    for window in functions.windows(parts + modifiers) {
      guard covers(window["partitions"]?.arrayValue ?? [], keys, items: []) else {
        throw Self.refusal("a window function looks at rows of several shards", "PARTITION BY the columns that the table is split by.")
      }
    }
    let sets = node["group_sets"]?.arrayValue ?? []
    let groupsByAll = node["aggregate_handling"] == "FORCE_AGGREGATES"
    let hasHaving = node["having"].map { $0 != .null } ?? false
    if !groups.isEmpty || !sets.isEmpty || groupsByAll || hasHaving || (parts + modifiers).contains(where: functions.hasAggregate) {
      let isOneSet = sets.count <= 1 && (sets.first?.arrayValue?.count ?? groups.count) == groups.count
      guard isOneSet, covers(groupsByAll ? items : groups, keys, items: items) else {
        throw Self.refusal("an aggregate needs rows of several shards", "Split by columns that are all in one GROUP BY: partition_by.")
      }
    }
    for modifier in distinct {
      let targets = modifier["distinct_on_targets"]?.arrayValue ?? []
      guard covers(targets.isEmpty ? items : targets, keys, items: items) else {
        throw Self.refusal("DISTINCT compares rows of several shards", "Select the columns that the table is split by.")
      }
    }
    return .split(visible(items, keys, sources))
  }

  /// An expression with a key column's name would be taken for the column.
  private func refuseHiding(_ items: [JSONValue], _ keys: [Set<Name>]?) throws {
    guard let keys else { return }
    for item in items {
      guard let alias = item["alias"]?.stringValue?.lowercased(), !alias.isEmpty else { continue }
      for names in keys where names.contains(where: { $0.column == alias }) && !isKey(item, names) {
        throw Self.refusal("'\(alias)' names an expression and a column that the table is split by", "Give the expression another name.")
      }
    }
  }

  private func isPlainStar(_ item: JSONValue) -> Bool {
    item["class"] == "STAR" && item["columns"] == false
      && ["rename_list", "replace_list", "qualified_exclude_list"].allSatisfy { (item[$0]?.arrayValue ?? []).isEmpty }
  }

  private func hidden(_ star: JSONValue) -> Set<String> { Set((star["exclude_list"]?.arrayValue ?? []).compactMap { $0.stringValue?.lowercased() }) }

  /// The names that the key columns have in the result: those that nothing else in it has.
  private func visible(_ items: [JSONValue], _ keys: [Set<Name>]?, _ sources: [Source]) -> [Set<Name>]? {
    guard let keys else { return nil }
    var result: [Set<Name>] = []
    for names in keys {
      var outputs: [(name: String, isKey: Bool)] = []
      for item in items {
        guard item["class"] == "STAR" else {
          let alias = item["alias"]?.stringValue ?? ""
          let last = item["column_names"]?.arrayValue?.last?.stringValue ?? ""
          outputs.append(((alias.isEmpty ? last : alias).lowercased(), isKey(item, names)))
          continue
        }
        guard isPlainStar(item) else { return nil }
        let (qualifier, without) = (item["relation_name"]?.stringValue?.lowercased() ?? "", hidden(item))
        for source in sources where qualifier.isEmpty || source.alias == qualifier {
          if let columns = source.columns {
            for column in columns where !without.contains(column) { outputs.append((column, names.contains(Name(qualifier: source.alias, column: column)))) }
          } else if sources.count == 1 {
            for name in names where name.qualifier == source.alias && !without.contains(name.column) { outputs.append((name.column, true)) }
          } else {
            return nil
          }
        }
      }
      let shown = Set(outputs.map(\.name)).filter { name in outputs.allSatisfy { $0.name != name || $0.isKey } }
      guard !shown.isEmpty else { return nil }
      result.append(Set(shown.map { Name(qualifier: "", column: $0) }))
    }
    return result.isEmpty ? nil : result
  }

  /// Whether every key column is among the expressions.
  /// - Parameter items: what numbers stand for among them; none for window functions, where a number is a number.
  private func covers(_ expressions: [JSONValue], _ keys: [Set<Name>]?, items: [JSONValue]) -> Bool {
    guard let keys, !keys.isEmpty else { return false }
    let resolved = expressions.map { expression -> JSONValue in
      // `GROUP BY 1`; where stars stand before it, the place is another one.
      guard expression["class"] == "CONSTANT", let place = expression["value"]?["value"]?.intValue, place > 0, place <= items.count,
        !items[..<place].contains(where: { $0["class"] == "STAR" })
      else { return expression }
      return items[place - 1]
    }
    return keys.allSatisfy { names in
      resolved.contains { expression in
        guard isPlainStar(expression) else { return isKey(expression, names) }
        let (qualifier, without) = (expression["relation_name"]?.stringValue?.lowercased() ?? "", hidden(expression))
        return names.contains { (qualifier.isEmpty || $0.qualifier == qualifier) && !without.contains($0.column) }
      }
    }
  }

  func isKey(_ expression: JSONValue, _ names: Set<Name>) -> Bool {
    guard expression["class"] == "COLUMN_REF" else { return false }
    let parts = (expression["column_names"]?.arrayValue ?? []).compactMap { $0.stringValue?.lowercased() }
    guard let column = parts.last else { return false }
    return names.contains { $0.column == column && (parts.count == 1 || parts[parts.count - 2] == $0.qualifier) }
  }
}
