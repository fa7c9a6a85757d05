// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB

/// Columns that a query names with the schema or catalog of their table: `demo.t.x`, `main.demo.t.x`, `demo.t.*`.
///
/// The engine sees views without schemas. So such names are written anew with the one name that the table has in its FROM clause. Where
/// something else could be meant by it - another table of that last name beside it or in a query around or within, a column of a query
/// within - the table gets a name of its own first, and what names it without schema in the same query, too. The longest name that fits
/// counts, then the innermost query.
struct QualifiedColumns {
  /// Something in a FROM clause.
  private struct Relation {
    /// nil: cannot be named with a schema, as what has an alias.
    var name: QualifiedName?
    /// What columns are qualified with.
    var alias: String
    /// Of the name in the text.
    var offset: Int?
    /// A view of ours for a table, whose alias is in the text.
    var isStandIn = false
    /// The alias that it is given, which nothing else has.
    var own: String?

    var key: String { alias.lowercased() }
    var shown: String { name.map { "\($0)" } ?? alias }
  }

  /// A place that names a relation.
  private struct Use {
    /// Of the relation's name in the text.
    var range: Range<Int>
    var alias: String
    /// Found by its schema; nil: it is named by its alias.
    var relation: Int?
    /// The column is one that only stand-ins have.
    var isOurs = false
    /// Relations of the queries around, the innermost last.
    var scopes: [[Int]]
  }

  private static let ours: Set<String> = ["__platform_file", "__platform_row", "__source_row"]

  private let source: SQLTokens
  private let start: Int
  private let stars: [Int: [String]]
  private let qualified: ([String]) -> QualifiedName
  private let standIns: [String: QualifiedName]
  private var commonTables: Set<String> = []
  private var unused: Set<Int>
  private var relations: [Relation] = []
  /// The FROM clauses: indexes of their relations.
  private var clauses: [[Int]] = []
  private var uses: [Use] = []
  /// Aliases of the text, in small letters.
  private var taken: Set<String> = []
  private(set) var edits: [(range: Range<Int>, text: String)] = []

  /// - Parameters:
  ///   - tree: the engine's syntax tree of the text from `start` on.
  ///   - stars: `demo.t.*`: the parts of the name, by the offset of the last one.
  ///   - qualified: completes a table's name.
  ///   - standIns: names that stand for tables.
  /// - Throws: `invalidArgument` for a star of a table that is not there, and PLT-3298 for names that could mean several tables.
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
    collectNames(tree)
    walk(tree, [], parameters: [])
    if let left = unused.min(), let parts = stars[left] {
      throw PlatformError(
        .invalidArgument, "'\(parts.joined(separator: ".")).*': no table '\(parts.joined(separator: "."))' is in the FROM clause",
        hint: "A table with an alias is named by its alias.")
    }
    try distinguish()
    for use in uses { try rewrite(use) }
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

  private mutating func collectNames(_ node: JSONValue) {
    switch node {
    case .array(let items): for item in items { collectNames(item) }
    case .object(let members):
      for entry in members["cte_map"]?["map"]?.arrayValue ?? [] { if let key = entry["key"]?.stringValue { commonTables.insert(key.lowercased()) } }
      for key in ["alias", "table_name"] { if let name = members[key]?.stringValue { taken.insert(name.lowercased()) } }
      for value in members.values { collectNames(value) }
    default: break
    }
  }

  // MARK: finding

  /// - Parameters:
  ///   - scopes: of the queries around, the innermost last.
  ///   - parameters: of the lambdas around, in small letters.
  private mutating func walk(_ node: JSONValue, _ scopes: [[Int]], parameters: Set<String>) {
    switch node {
    case .array(let items): for item in items { walk(item, scopes, parameters: parameters) }
    case .object(let members):
      var inner = scopes
      var parameters = parameters
      // Without FROM, everything is of the query around.
      if members["type"] == "SELECT_NODE", members["from_table"]?["type"] != "EMPTY" {
        var own: [Int] = []
        findRelations(members["from_table"] ?? .null, &own)
        clauses.append(own)
        inner.append(own)
      }
      switch members["class"]?.stringValue {
      case "COLUMN_REF": find(column: members, scopes, parameters)
      case "STAR": find(star: members, scopes)
      case "LAMBDA": parameters.formUnion(Self.names(members["lhs"] ?? .null))
      default: break
      }
      // Common tables do not see what their query reads.
      for (key, value) in members { walk(value, key == "cte_map" ? scopes : inner, parameters: parameters) }
    default: break
    }
  }

  /// Names without a qualifier.
  private static func names(_ node: JSONValue) -> Set<String> {
    switch node {
    case .array(let items): return items.reduce(into: []) { $0.formUnion(names($1)) }
    case .object(let members):
      if members["class"] == "COLUMN_REF", let names = members["column_names"]?.arrayValue {
        return names.count == 1 ? Set(names.compactMap { $0.stringValue?.lowercased() }) : []
      }
      return members.values.reduce(into: []) { $0.formUnion(names($1)) }
    default: return []
    }
  }

  private func offset(_ members: [String: JSONValue]) -> Int? {
    members["query_location"]?.intValue.flatMap { Int(exactly: $0) }.map { start + $0 }
  }

  private func index(at offset: Int?) -> Int? {
    // In the order of the text.
    guard let offset else { return nil }
    var (low, high) = (0, source.tokens.count)
    while low < high {
      let middle = (low + high) / 2
      if source.tokens[middle].range.lowerBound < offset { low = middle + 1 } else { high = middle }
    }
    return low < source.tokens.count && source.tokens[low].range.lowerBound == offset ? low : nil
  }

  private mutating func findRelations(_ node: JSONValue, _ found: inout [Int]) {
    guard case .object(let members) = node else { return }
    let alias = members["alias"]?.stringValue ?? ""
    func add(_ relation: Relation) {
      found.append(relations.count)
      relations.append(relation)
    }
    switch members["type"]?.stringValue {
    case "BASE_TABLE":
      let parts = ["catalog_name", "schema_name", "table_name"].compactMap { members[$0]?.stringValue }.filter { !$0.isEmpty }
      guard let last = parts.last else { return }
      let offset = offset(members)
      if parts.count == 1, let name = standIns[last] {
        add(Relation(name: name, alias: alias.isEmpty ? last : alias, offset: offset, isStandIn: true))
      } else if !alias.isEmpty {
        add(Relation(alias: alias))
      } else if let index = index(at: offset), source.tokens[index].isWord("TABLE_CHANGES") {
        add(Relation(alias: "table_changes"))
      } else if parts.count == 1, commonTables.contains(last.lowercased()) {
        add(Relation(alias: last))
      } else {
        add(Relation(name: qualified(parts), alias: last, offset: offset))
      }
    case "JOIN":
      findRelations(members["left"] ?? .null, &found)
      findRelations(members["right"] ?? .null, &found)
    case "TABLE_FUNCTION" where alias.isEmpty: add(Relation(alias: members["function"]?["function_name"]?.stringValue ?? ""))
    default: if !alias.isEmpty { add(Relation(alias: alias)) }
    }
  }

  /// How many parts of a name stand for a table, and for which.
  private func table(_ parts: [String], _ scopes: [[Int]], isWhole: Bool) -> (count: Int, relation: Int)? {
    let folded = parts.map { $0.lowercased() }
    for count in [3, 2] where parts.count > count || (isWhole && parts.count == count) {
      for scope in scopes.reversed() {
        let found = scope.first { index in
          guard let name = relations[index].name else { return false }
          let own = [name.catalog, name.schema, name.name].map { $0.lowercased() }
          return Array(folded.prefix(count)) == Array(own.suffix(count))
        }
        if let found { return (count, found) }
      }
    }
    return nil
  }

  private mutating func find(column members: [String: JSONValue], _ scopes: [[Int]], _ parameters: Set<String>) {
    guard let names = members["column_names"]?.arrayValue?.compactMap(\.stringValue), names.count > 1, let first = index(at: offset(members)),
      source.tokens[first].isName
    else { return }
    guard names.count > 2, let table = table(names, scopes, isWhole: false) else {
      guard source.tokens[first].text.lowercased() == names[0].lowercased(), !parameters.contains(names[0].lowercased()) else { return }
      uses.append(Use(range: source.tokens[first].range, alias: names[0], isOurs: Self.ours.contains(names[1]), scopes: scopes))
      return
    }
    let last = first + 2 * (table.count - 1)
    guard last < source.tokens.count, source.tokens[last].isName else { return }
    uses.append(
      Use(
        range: source.tokens[first].range.lowerBound..<source.tokens[last].range.upperBound, alias: names[table.count - 1], relation: table.relation,
        scopes: scopes))
  }

  private mutating func find(star members: [String: JSONValue], _ scopes: [[Int]]) {
    guard let offset = offset(members), let last = index(at: offset) else { return }
    guard let parts = stars[offset] else {
      let name = members["relation_name"]?.stringValue ?? ""
      guard !name.isEmpty, source.tokens[last].isName, source.tokens[last].text.lowercased() == name.lowercased() else { return }
      uses.append(Use(range: source.tokens[last].range, alias: name, scopes: scopes))
      return
    }
    guard let table = table(parts, scopes, isWhole: true), table.count == parts.count, last - 2 * (parts.count - 1) >= 0 else { return }
    unused.remove(offset)
    let first = source.tokens[last - 2 * (parts.count - 1)].range.lowerBound
    uses.append(Use(range: first..<source.tokens[last].range.upperBound, alias: parts[parts.count - 1], relation: table.relation, scopes: scopes))
  }

  // MARK: writing anew

  /// Gives tables names of their own where the last part of theirs could mean something else.
  private mutating func distinguish() throws {
    var wanted: Set<Int> = []
    for clause in clauses {
      wanted.formUnion(clause.filter { index in clause.contains { $0 != index && relations[$0].key == relations[index].key } })
    }
    for use in uses {
      guard let relation = use.relation, let own = use.scopes.last else { continue }
      let key = relations[relation].key
      // From further in: a column of a query between could have the table's name.
      if !own.contains(relation) || use.scopes.dropLast().joined().contains(where: { relations[$0].key == key }) { wanted.insert(relation) }
    }
    for clause in clauses {
      for index in clause where wanted.contains(index) {
        // The same table twice is the engine's to refuse.
        guard let name = relations[index].name,
          !clause.contains(where: { $0 != index && relations[$0].key == relations[index].key && relations[$0].name?.isSame(as: name) ?? false })
        else { continue }
        var own = "\(name)"
        while !taken.insert(own.lowercased()).inserted { own += "'" }
        relations[index].own = own
        try rename(relations[index], own)
      }
    }
  }

  private mutating func rename(_ relation: Relation, _ own: String) throws {
    let tokens = source.tokens
    guard var last = index(at: relation.offset) else { throw unclear(relation.alias, [relation]) }
    if relation.isStandIn {
      guard last + 2 < tokens.count, tokens[last + 1].isWord("AS"), tokens[last + 2].isName else { throw unclear(relation.alias, [relation]) }
      edits.append((tokens[last + 2].range, SQLText.identifier(own)))
      return
    }
    while last + 2 < tokens.count, tokens[last + 1].isSymbol("."), tokens[last + 2].isName { last += 2 }
    // Behind VERSION AS OF, which belongs to the name.
    if last + 1 < tokens.count, let travel = try StatementPlan.Travel.read(tokens, at: last + 1) { last = travel.last }
    let end = tokens[last].range.upperBound
    edits.append((end..<end, " AS " + SQLText.identifier(own)))
  }

  private mutating func rewrite(_ use: Use) throws {
    if let relation = use.relation {
      edits.append((use.range, SQLText.identifier(relations[relation].own ?? relations[relation].alias)))
      return
    }
    let found = use.scopes.map { scope in scope.map { relations[$0] }.filter { $0.key == use.alias.lowercased() } }
    let own = found.last ?? []
    if own.count > 1, own.contains(where: { $0.own != nil }) { throw unclear(use.alias, own) }
    if own.count == 1 {
      if let name = own[0].own { edits.append((use.range, SQLText.identifier(name))) }
      return
    }
    let outer = Array(found.dropLast().reversed().joined())
    if use.isOurs, let name = outer.first?.own {
      edits.append((use.range, SQLText.identifier(name)))
      return
    }
    // Of a query around. Whether a column of a query between is meant instead, only the engine knows, which says so when nothing has the
    // name any more. It must not find another table by it.
    if let first = outer.first, first.own != nil, outer.contains(where: { $0.own == nil }) { throw unclear(use.alias, outer) }
  }

  private func unclear(_ alias: String, _ relations: [Relation]) -> PlatformError {
    PlatformError(
      .invalidArgument, "'\(alias)' could mean several tables: \(relations.map(\.shown).joined(separator: ", "))",
      hint: "Give each of them an alias, and name columns by it.", number: "PLT-3298")
  }
}

extension QualifiedName {
  /// Names of the catalog are the same in whatever case.
  func isSame(as other: QualifiedName) -> Bool { description.lowercased() == other.description.lowercased() }
}
