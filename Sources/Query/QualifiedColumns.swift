// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Columns that a query names with the schema or catalog of their table: `demo.t.x`, `main.demo.t.x`, `demo.t.*`.
///
/// The engine sees views without schemas. So such names are written anew with the one name that the table has in its FROM clause; tables of
/// one clause whose last names are the same get names of their own first. The longest name that fits counts, then the innermost query.
struct QualifiedColumns {
  /// Something in a FROM clause.
  private struct Relation {
    /// nil: cannot be named with a schema, as what has an alias.
    var name: QualifiedName?
    /// What columns are qualified with.
    var alias: String
    /// Of the name, where it has no alias.
    var offset: Int?
  }

  private let source: SQLTokens
  private let start: Int
  private let stars: [Int: [String]]
  private let qualified: ([String]) -> QualifiedName
  private let standIns: [String: QualifiedName]
  private var commonTables: Set<String> = []
  private var unused: Set<Int>
  private(set) var edits: [(range: Range<Int>, text: String)] = []

  /// - Parameters:
  ///   - tree: the engine's syntax tree of the text from `start` on.
  ///   - stars: `demo.t.*`: the parts of the name, by the offset of the last one.
  ///   - qualified: completes a table's name.
  ///   - standIns: names that stand for tables.
  /// - Throws: `invalidArgument` for a star of a table that is not there.
  init(
    _ tree: JSONValue, in source: SQLTokens, from start: Int, stars: [Int: [String]], standIns: [String: QualifiedName],
    qualified: @escaping ([String]) -> QualifiedName
  ) throws {
    self.source = source
    self.start = start
    self.stars = stars
    self.standIns = standIns
    self.qualified = qualified
    unused = Set(stars.keys)
    collectCommonTables(tree)
    walk(tree, [])
    if let left = unused.min(), let parts = stars[left] {
      throw PlatformError(
        .invalidArgument, "'\(parts.joined(separator: ".")).*': no table '\(parts.joined(separator: "."))' is in the FROM clause",
        hint: "A table with an alias is named by its alias.")
    }
  }

  /// The text with the edits made.
  var text: String { source.edited(edits) }

  /// `a.b.*` in the text: the parts, by the offset of the last one, and the places of what stands before it.
  static func stars(in source: SQLTokens, startingAt first: Int) -> [Int: (parts: [String], before: Range<Int>)] {
    var found: [Int: (parts: [String], before: Range<Int>)] = [:]
    let tokens = source.tokens
    for index in tokens.indices.dropFirst(first + 4) where tokens[index].isSymbol("*") && tokens[index - 1].isSymbol(".") {
      var at = index - 2
      guard tokens[at].isName else { continue }
      while at - 2 >= first, tokens[at - 1].isSymbol("."), tokens[at - 2].isName { at -= 2 }
      let parts = stride(from: at, through: index - 2, by: 2).map { tokens[$0].text }
      guard parts.count > 1 else { continue }
      found[tokens[index - 2].range.lowerBound] = (parts, tokens[at].range.lowerBound..<tokens[index - 2].range.lowerBound)
    }
    return found
  }

  private mutating func collectCommonTables(_ node: JSONValue) {
    switch node {
    case .array(let items): for item in items { collectCommonTables(item) }
    case .object(let members):
      for entry in members["cte_map"]?["map"]?.arrayValue ?? [] { if let key = entry["key"]?.stringValue { commonTables.insert(key.lowercased()) } }
      for value in members.values { collectCommonTables(value) }
    default: break
    }
  }

  /// - Parameter scopes: of the queries around, the innermost last.
  private mutating func walk(_ node: JSONValue, _ scopes: [[Relation]]) {
    switch node {
    case .array(let items): for item in items { walk(item, scopes) }
    case .object(let members):
      var scopes = scopes
      if members["type"] == "SELECT_NODE" {
        var own: [Relation] = []
        relations(members["from_table"] ?? .null, &own)
        distinguish(&own)
        scopes.append(own)
      }
      if members["class"] == "COLUMN_REF" { rewrite(column: members, scopes) }
      if members["class"] == "STAR" { rewrite(star: members, scopes) }
      for value in members.values { walk(value, scopes) }
    default: break
    }
  }

  private func offset(_ members: [String: JSONValue]) -> Int? {
    members["query_location"]?.intValue.flatMap { Int(exactly: $0) }.map { start + $0 }
  }

  private func relations(_ node: JSONValue, _ found: inout [Relation]) {
    guard case .object(let members) = node else { return }
    let alias = members["alias"]?.stringValue ?? ""
    switch members["type"]?.stringValue {
    case "BASE_TABLE":
      let parts = ["catalog_name", "schema_name", "table_name"].compactMap { members[$0]?.stringValue }.filter { !$0.isEmpty }
      guard let last = parts.last else { return }
      if parts.count == 1, let name = standIns[last] {
        found.append(Relation(name: name, alias: alias.isEmpty ? last : alias))
      } else if !alias.isEmpty {
        found.append(Relation(alias: alias))
      } else if parts.count == 1, commonTables.contains(last.lowercased()) {
        found.append(Relation(alias: last))
      } else {
        found.append(Relation(name: qualified(parts), alias: last, offset: offset(members)))
      }
    case "JOIN":
      relations(members["left"] ?? .null, &found)
      relations(members["right"] ?? .null, &found)
    default: if !alias.isEmpty { found.append(Relation(alias: alias)) }
    }
  }

  /// Gives tables whose last names are the same in one FROM clause different names.
  private mutating func distinguish(_ relations: inout [Relation]) {
    let named = relations
    for index in relations.indices {
      guard let name = relations[index].name, let offset = relations[index].offset else { continue }
      let others = named.indices.filter { $0 != index && named[$0].alias.lowercased() == named[index].alias.lowercased() }
      guard !others.isEmpty, !others.contains(where: { named[$0].name.map { $0.isSame(as: name) } ?? false }) else { continue }
      let isSchemaEnough = !others.contains { named[$0].name?.schema.lowercased() == name.schema.lowercased() }
      let alias = isSchemaEnough ? "\(name.schema).\(name.name)" : "\(name)"
      guard var last = source.tokens.firstIndex(where: { $0.range.lowerBound == offset }) else { continue }
      while last + 2 < source.tokens.count, source.tokens[last + 1].isSymbol("."), source.tokens[last + 2].isName { last += 2 }
      // Behind VERSION AS OF, which belongs to the name.
      if last + 4 < source.tokens.count, source.tokens[last + 1].isWord("VERSION") || source.tokens[last + 1].isWord("TIMESTAMP"),
        source.tokens[last + 2].isWord("AS"), source.tokens[last + 3].isWord("OF")
      {
        last += 4
      }
      let end = source.tokens[last].range.upperBound
      edits.append((end..<end, " AS " + SQLText.identifier(alias)))
      relations[index].alias = alias
    }
  }

  /// How many parts of a name stand for a table, and what it is called.
  private func table(_ parts: [String], _ scopes: [[Relation]], isWhole: Bool) -> (count: Int, alias: String)? {
    let folded = parts.map { $0.lowercased() }
    for count in [3, 2] where parts.count > count || (isWhole && parts.count == count) {
      for scope in scopes.reversed() {
        let found = scope.first { relation in
          guard let name = relation.name else { return false }
          let own = [name.catalog, name.schema, name.name].map { $0.lowercased() }
          return Array(folded.prefix(count)) == Array(own.suffix(count))
        }
        if let found { return (count, found.alias) }
      }
    }
    return nil
  }

  private mutating func rewrite(column members: [String: JSONValue], _ scopes: [[Relation]]) {
    guard let names = members["column_names"]?.arrayValue?.compactMap(\.stringValue), names.count > 2,
      let table = table(names, scopes, isWhole: false), let offset = offset(members),
      let first = source.tokens.firstIndex(where: { $0.range.lowerBound == offset }), source.tokens[first].isName
    else { return }
    let last = first + 2 * (table.count - 1)
    guard last < source.tokens.count, source.tokens[last].isName else { return }
    edits.append((offset..<source.tokens[last].range.upperBound, SQLText.identifier(table.alias)))
  }

  private mutating func rewrite(star members: [String: JSONValue], _ scopes: [[Relation]]) {
    guard let offset = offset(members), let parts = stars[offset], let table = table(parts, scopes, isWhole: true), table.count == parts.count,
      let last = source.tokens.firstIndex(where: { $0.range.lowerBound == offset }), last - 2 * (parts.count - 1) >= 0
    else { return }
    unused.remove(offset)
    let first = source.tokens[last - 2 * (parts.count - 1)].range.lowerBound
    edits.append((first..<source.tokens[last].range.upperBound, SQLText.identifier(table.alias)))
  }
}

extension QualifiedName {
  /// Names of the catalog are the same in whatever case.
  func isSame(as other: QualifiedName) -> Bool { description.lowercased() == other.description.lowercased() }
}
