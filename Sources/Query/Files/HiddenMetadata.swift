// SPDX-License-Identifier: Apache-2.0

import Core

/// Keeps `_metadata` of `read_files` out of `*`: only who names the column gets it.
struct HiddenMetadata {
  private let source: SQLTokens
  private let start: Int
  private let views: Set<String>
  private(set) var edits: [(range: Range<Int>, text: String)] = []

  /// - Parameters:
  ///   - tree: the engine's syntax tree of the text from `start` on.
  ///   - views: what stands for the files there.
  init(_ tree: JSONValue, in source: SQLTokens, from start: Int, views: Set<String>) {
    self.source = source
    self.start = start
    self.views = views
    if !views.isEmpty { walk(tree) }
  }

  private mutating func walk(_ node: JSONValue) {
    switch node {
    case .array(let items): for item in items { walk(item) }
    case .object(let members):
      if members["type"] == "SELECT_NODE" {
        let names = relations(members["from_table"] ?? .null)
        if !names.isEmpty { for item in members["select_list"]?.arrayValue ?? [] { hide(item, names, from: members["from_table"] ?? .null) } }
      }
      for value in members.values { walk(value) }
    default: break
    }
  }

  /// What the files are called in a FROM clause, queries in it left out.
  private func relations(_ node: JSONValue) -> Set<String> {
    if node["type"] == "JOIN" {
      // The right side of SEMI and ANTI JOIN is no part of `*`.
      let isPart = node["join_type"] != "SEMI" && node["join_type"] != "ANTI"
      return relations(node["left"] ?? .null).union(isPart ? relations(node["right"] ?? .null) : [])
    }
    guard node["type"] == "BASE_TABLE", let name = node["table_name"]?.stringValue, views.contains(name) else { return [] }
    let alias = node["alias"]?.stringValue ?? ""
    return [(alias.isEmpty ? name : alias).lowercased()]
  }

  /// The word FROM before a FROM clause.
  private func word(before clause: JSONValue) -> Int? {
    if clause["type"] == "JOIN" { return word(before: clause["left"] ?? .null) }
    guard let offset = clause["query_location"]?.intValue, var at = source.tokens.firstIndex(where: { $0.range.lowerBound == start + Int(offset) }) else {
      return nil
    }
    repeat { at -= 1 } while at >= 0 && source.tokens[at].isSymbol("(")
    return at >= 0 && source.tokens[at].isWord("FROM") ? at : nil
  }

  private mutating func hide(_ item: JSONValue, _ names: Set<String>, from clause: JSONValue) {
    guard item["class"] == "STAR", item["columns"]?.boolValue == false, let offset = item["query_location"]?.intValue else { return }
    let relation = item["relation_name"]?.stringValue ?? ""
    guard relation.isEmpty || names.contains(relation.lowercased()) else { return }
    let tokens = source.tokens
    guard let first = tokens.firstIndex(where: { $0.range.lowerBound >= start + offset }) else { return }
    // FROM without SELECT: the engine says that the star is where the statement begins.
    guard tokens[first].isSymbol("*") || (first + 1 < tokens.count && tokens[first + 1].isSymbol(".")) else {
      guard let from = word(before: clause) else { return }
      let place = tokens[from].range.lowerBound
      edits.append((place..<place, "SELECT * EXCLUDE (\(FileRead.metadataColumn)) "))
      return
    }
    // `*`, or the name before `.*`.
    guard let star = tokens[first..<min(first + 3, tokens.count)].firstIndex(where: { $0.isSymbol("*") })
    else { return }
    let end = tokens[star].range.upperBound
    guard star + 1 < tokens.count, tokens[star + 1].isWord("EXCLUDE") else {
      edits.append((end..<end, " EXCLUDE (\(FileRead.metadataColumn))"))
      return
    }
    guard star + 2 < tokens.count else { return }
    let next = tokens[star + 2]
    if next.isSymbol("(") {
      let named = tokens[(star + 3)...].prefix { !$0.isSymbol(")") }
      guard !named.contains(where: { $0.isName && $0.text.lowercased() == FileRead.metadataColumn }) else { return }
      edits.append((next.range.upperBound..<next.range.upperBound, "\(FileRead.metadataColumn), "))
    } else if next.text.lowercased() != FileRead.metadataColumn {
      edits.append((next.range, "(\(FileRead.metadataColumn), \(source.text(next.range)))"))
    }
  }
}
