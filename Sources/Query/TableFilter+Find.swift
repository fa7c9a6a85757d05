// SPDX-License-Identifier: Apache-2.0

import Core

/// Finds what a query asks of the rows of each table that it names.
struct TableFilterFinder {
  /// By the offset of the table's name in the query.
  private(set) var filters: [Int: TableFilter] = [:]
  private var commonTables: [String: JSONValue] = [:]
  private var uses: [String: Int] = [:]
  private var inlined: Set<String> = []

  /// - Parameter tree: the engine's syntax tree of one statement.
  init(_ tree: JSONValue) {
    count(tree)
    visit(tree, [], depth: 0)
  }

  /// Common tables that are named once, by a name that means nothing else, count as subqueries where they are named.
  private mutating func count(_ node: JSONValue) {
    switch node {
    case .array(let items): for item in items { count(item) }
    case .object(let members):
      for entry in members["cte_map"]?["map"]?.arrayValue ?? [] {
        guard let key = entry["key"]?.stringValue?.lowercased() else { continue }
        uses[key, default: 0] += commonTables[key] == nil ? 0 : 2  // a second meaning: never inlined
        commonTables[key] = entry["value"] ?? .null
      }
      if members["type"] == "BASE_TABLE", members["schema_name"] ?? "" == "", let name = members["table_name"]?.stringValue?.lowercased() {
        uses[name, default: 0] += 1
      }
      for value in members.values { count(value) }
    default: break
    }
  }

  private mutating func visit(_ node: JSONValue, _ inherited: [JSONValue], depth: Int) {
    guard depth < 500 else { return }
    switch node {
    case .array(let items): for item in items { visit(item, [], depth: depth + 1) }
    case .object(let members):
      if members["type"] == "SELECT_NODE" {
        select(members, inherited, depth: depth)
        for (key, value) in members where key != "from_table" && key != "cte_map" { visit(value, [], depth: depth + 1) }
        for entry in members["cte_map"]?["map"]?.arrayValue ?? [] {
          // One that was looked into where it is named has its filters.
          guard let key = entry["key"]?.stringValue?.lowercased(), !inlined.contains(key) else { continue }
          visit(entry["value"] ?? .null, [], depth: depth + 1)
        }
      } else {
        for value in members.values { visit(value, [], depth: depth + 1) }
      }
    default: break
    }
  }

  private static func conjuncts(_ node: JSONValue?) -> [JSONValue] {
    guard let node, node != .null else { return [] }
    if node["class"] == "CONJUNCTION", node["type"] == "CONJUNCTION_AND" { return (node["children"]?.arrayValue ?? []).flatMap { conjuncts($0) } }
    return [node]
  }

  private mutating func select(_ members: [String: JSONValue], _ inherited: [JSONValue], depth: Int) {
    guard let from = members["from_table"], from != .null else { return }
    // A sample is drawn from the rows before the condition: with fewer rows it would be another one.
    let isSampled = members["sample"] ?? .null != .null
    let own = isSampled ? [] : Self.conjuncts(members["where_clause"]) + inherited
    relation(from, own, bareNames: !Self.hasMergedColumns(from), depth: depth + 1)
  }

  /// Whether a column without a qualifier can be made of two tables' columns.
  private static func hasMergedColumns(_ from: JSONValue) -> Bool {
    guard from["type"] == "JOIN" else { return false }
    let isPlain =
      from["using_columns"]?.arrayValue?.isEmpty == true && (from["ref_type"] == "REGULAR" || from["ref_type"] == "CROSS")
    return !isPlain || from["left"].map(hasMergedColumns) ?? true || from["right"].map(hasMergedColumns) ?? true
  }

  /// - Parameter conditions: rows of this relation for which one is not true do not matter.
  private mutating func relation(_ node: JSONValue, _ conditions: [JSONValue], bareNames: Bool, depth: Int) {
    guard depth < 500 else { return }
    let isSampled = node["sample"] ?? .null != .null
    let hasColumnNames = node["column_name_alias"]?.arrayValue?.isEmpty == false
    let passed = isSampled || hasColumnNames ? [] : conditions
    switch node["type"]?.stringValue {
    case "BASE_TABLE":
      let name = node["table_name"]?.stringValue ?? ""
      let alias = node["alias"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 } ?? name
      if let body = commonTables[name.lowercased()], node["schema_name"] ?? "" == "" {
        guard uses[name.lowercased()] == 1, body["aliases"]?.arrayValue?.isEmpty == true, inlined.insert(name.lowercased()).inserted else { return }
        return query(body["query"]?["node"] ?? .null, alias, passed, bareNames: bareNames, depth: depth + 1)
      }
      guard let offset = node["query_location"]?.intValue else { return }
      filters[offset] = TableFilter(alias: alias, ownsBareNames: bareNames, conditions: passed)
    case "SUBQUERY":
      query(node["subquery"]?["node"] ?? .null, node["alias"]?.stringValue ?? "", passed, bareNames: bareNames, depth: depth + 1)
    case "JOIN":
      let on = Self.conjuncts(node["condition"])
      var (left, right) = (passed, passed)
      switch (node["join_type"]?.stringValue ?? "", node["ref_type"]?.stringValue ?? "") {
      case ("INNER", "REGULAR"), ("INNER", "CROSS"), ("INNER", "NATURAL"):
        left += on
        right += on
      // What has no partner is filled with NULL: only the side that is kept whole can be judged by WHERE, only the other by ON.
      case ("LEFT", "REGULAR"), ("LEFT", "NATURAL"): right = on
      case ("RIGHT", "REGULAR"), ("RIGHT", "NATURAL"): left = on
      case ("SEMI", "REGULAR"):
        left += on
        right = on
      case ("ANTI", "REGULAR"): right = on
      default: (left, right) = ([], [])  // FULL, POSITIONAL, ASOF and whatever may come
      }
      relation(node["left"] ?? .null, left, bareNames: bareNames, depth: depth + 1)
      relation(node["right"] ?? .null, right, bareNames: bareNames, depth: depth + 1)
      visit(node["condition"] ?? .null, [], depth: depth + 1)
    default: visit(node, [], depth: depth + 1)
    }
  }

  /// A query within FROM. Conditions on its columns go on to its tables when it hands their columns through and nothing else.
  private mutating func query(_ node: JSONValue, _ alias: String, _ conditions: [JSONValue], bareNames: Bool, depth: Int) {
    guard let columns = Self.columnsHandedThrough(node) else { return visit(node, [], depth: depth + 1) }
    let inner = conditions.compactMap { Self.rewritten($0, alias, bareNames: bareNames, columns, depth: 0) }
    visit(node, inner, depth: depth + 1)
  }

  private struct HandedThrough {
    var hasStar = false
    /// Inner names by lower-case outer name.
    var names: [String: JSONValue] = [:]
  }

  private static func columnsHandedThrough(_ node: JSONValue) -> HandedThrough? {
    guard node["type"] == "SELECT_NODE", node["group_expressions"]?.arrayValue?.isEmpty == true, node["group_sets"]?.arrayValue?.isEmpty == true,
      node["having"] ?? .null == .null, node["qualify"] ?? .null == .null, node["sample"] ?? .null == .null,
      node["aggregate_handling"] == "STANDARD_HANDLING", node["from_table"]?["type"] == "BASE_TABLE" || node["from_table"]?["type"] == "SUBQUERY",
      node["modifiers"]?.arrayValue?.allSatisfy({ $0["type"] == "ORDER_MODIFIER" }) == true
    else { return nil }
    var found = HandedThrough()
    for item in node["select_list"]?.arrayValue ?? [] {
      switch item["class"]?.stringValue {
      case "STAR":
        guard item["relation_name"] == "", item["columns"] == false, item["expr"] ?? .null == .null,
          ["exclude_list", "replace_list", "rename_list", "qualified_exclude_list"].allSatisfy({ item[$0]?.arrayValue?.isEmpty ?? true })
        else { return nil }
        found.hasStar = true
      case "COLUMN_REF":
        guard let path = item["column_names"]?.arrayValue, let last = path.last?.stringValue else { return nil }
        let alias = item["alias"]?.stringValue ?? ""
        let name = (alias.isEmpty ? last : alias).lowercased()
        // The same name twice: which of them is meant is the engine's business.
        if found.names.updateValue(item, forKey: name) != nil { return nil }
      default: return nil
      }
    }
    return found.hasStar && !found.names.isEmpty ? nil : found
  }

  /// The condition in terms of the inner query; nil when it speaks of something else too.
  private static func rewritten(_ node: JSONValue, _ alias: String, bareNames: Bool, _ columns: HandedThrough, depth: Int) -> JSONValue? {
    guard depth < 100 else { return nil }
    switch node {
    case .array(let items):
      var out: [JSONValue] = []
      for item in items {
        guard let item = rewritten(item, alias, bareNames: bareNames, columns, depth: depth + 1) else { return nil }
        out.append(item)
      }
      return .array(out)
    case .object(var members):
      if members["class"] == "SUBQUERY" { return nil }
      if members["class"] == "COLUMN_REF" {
        guard var path = members["column_names"]?.arrayValue else { return nil }
        if path.count == 2, path[0].stringValue?.lowercased() == alias.lowercased() {
          path.removeFirst()
        } else if !(path.count == 1 && bareNames) {
          return nil
        }
        guard let name = path[0].stringValue?.lowercased() else { return nil }
        if columns.hasStar {
          members["column_names"] = .array(path)
          return .object(members)
        }
        return columns.names[name]
      }
      for (key, value) in members {
        guard let value = rewritten(value, alias, bareNames: bareNames, columns, depth: depth + 1) else { return nil }
        members[key] = value
      }
      return .object(members)
    default: return node
    }
  }
}
