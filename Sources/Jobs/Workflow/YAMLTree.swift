// SPDX-License-Identifier: Apache-2.0

package import Core
import Yams

/// A YAML document with the line of every value. Aliases are copies, bounded in number; nesting is bounded too.
package struct YAMLTree: Sendable {
  package struct Member: Sendable {
    package var key: String
    package var line: Int
    package var value: YAMLTree
    package init(key: String, line: Int, value: YAMLTree) {
      self.key = key
      self.line = line
      self.value = value
    }
  }
  package enum Content: Sendable {
    /// `plain` is false for quoted and block text.
    case scalar(String, plain: Bool)
    case list([YAMLTree])
    case map([Member])
  }

  package static let maximumBytes = 4 << 20
  package static let maximumDepth = 64
  package static let maximumNodes = 200_000

  package var content: Content
  /// 1-based.
  package var line: Int

  package var isNull: Bool {
    if case .scalar(let text, plain: true) = content { ["", "~", "null", "Null", "NULL"].contains(text) } else { false }
  }
  /// A single value that is no null.
  package var scalar: String? {
    if isNull { return nil }
    if case .scalar(let text, _) = content { return text } else { return nil }
  }
  package var members: [Member]? { if case .map(let members) = content { members } else { nil } }
  package var items: [YAMLTree]? { if case .list(let items) = content { items } else { nil } }

  package subscript(key: String) -> YAMLTree? { members?.first { $0.key == key && !$0.value.isNull }?.value }

  /// Parses one document.
  /// - Throws: `invalidFile` PLT-1200 with the line.
  package init(parsing text: String, path: String) throws(PlatformError) {
    guard text.utf8.count <= Self.maximumBytes else {
      throw PlatformError(
        .invalidFile, "the file has \(text.utf8.count) bytes; \(Self.maximumBytes) are the most",
        hint: "Move SQL into files of its own.",
        number: "PLT-1200", path: path, line: 1)
    }
    if let line = Self.tooDeep(text) { throw Self.deep(path, line) }
    let node: Node?
    do {
      node = try Yams.compose(yaml: text)
    } catch let error as YamlError {
      throw Self.unreadable(error, path, text)
    } catch {
      throw PlatformError(.invalidFile, "the file is not valid YAML: \(error)", number: "PLT-1200", path: path, line: 1)
    }
    guard let node else { throw PlatformError(.invalidFile, "the file is empty", number: "PLT-1200", path: path, line: 1) }
    var budget = Self.maximumNodes
    self = try Self.convert(node, depth: 1, line: 1, path: path, budget: &budget)
  }

  private init(_ content: Content, line: Int) {
    self.content = content
    self.line = line
  }

  package init(_ content: Content, at line: Int) { self.init(content, line: line) }

  private static func deep(_ path: String, _ line: Int) -> PlatformError {
    PlatformError(
      .invalidFile, "values are nested more than \(maximumDepth) deep", number: "PLT-1200", path: path, line: line)
  }

  /// The line where the text nests absurdly deep, judged by its characters, so that the recursive parser never sees it.
  private static func tooDeep(_ text: String) -> Int? {
    var line = 1
    var open = 0
    var indicators = 0
    var indent = 0
    var leading = true
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
        if byte == UInt8(ascii: "\n") { line += 1 }
        (indicators, indent, leading) = (0, 0, true)
      case UInt8(ascii: " "): if leading { indent += 1 }
      case UInt8(ascii: "-"), UInt8(ascii: "?"), UInt8(ascii: ":"): if leading { indicators += 1 }
      case UInt8(ascii: "["), UInt8(ascii: "{"):
        leading = false
        open += 1
      case UInt8(ascii: "]"), UInt8(ascii: "}"):
        leading = false
        open = max(0, open - 1)
      default: leading = false
      }
      // Dashes may also be a ruler of text or a document mark: only absurd numbers of them count.
      if open > 256 || indicators > 256 || (leading && indent > 1024) { return line }
    }
    return nil
  }

  private static func unreadable(_ error: YamlError, _ path: String, _ text: String) -> PlatformError {
    var line = 1
    var reason = "\(error)"
    var hint = "Check indentation, brackets and quotes near this line."
    switch error {
    case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
      line = mark.line
      reason = problem
    case .duplicatedKeysInMapping(let duplicates, let context):
      let keys = duplicates.map { "'\($0)'" }.sorted().joined(separator: ", ")
      line = context.mark.line
      reason = "\(keys) is given twice"
      hint = "Keep one of the two."
    default: break
    }
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    if lines.indices.contains(line - 1), lines[line - 1].prefix(while: \.isWhitespace).contains("\t") { hint = "YAML knows no tabs: indent with spaces." }
    return PlatformError(
      .invalidFile, "the file is not valid YAML: \(reason)", hint: hint,
      number: "PLT-1200", path: path, line: max(1, line))
  }

  /// The members that `<<` brings in from elsewhere in the document.
  private static func merging(_ value: YAMLTree, line: Int, path: String) throws(PlatformError) -> [Member] {
    if let members = value.members { return members }
    guard let items = value.items, items.allSatisfy({ $0.members != nil }) else {
      throw PlatformError(
        .invalidFile, "'<<' needs a mapping, or a list of mappings", hint: "For example <<: *defaults.", number: "PLT-1200", path: path, line: line)
    }
    return items.flatMap { $0.members ?? [] }
  }

  private static func convert(
    _ node: Node, depth: Int, line: Int, path: String, budget: inout Int
  ) throws(PlatformError) -> YAMLTree {
    let here = node.mark?.line ?? line
    guard depth <= maximumDepth else { throw deep(path, here) }
    budget -= 1
    guard budget > 0 else {
      throw PlatformError(
        .invalidFile, "the file has more than \(maximumNodes) values, aliases resolved", number: "PLT-1200", path: path,
        line: here)
    }
    switch node {
    case .scalar(let scalar):
      return YAMLTree(.scalar(scalar.string, plain: scalar.style == .plain || scalar.style == .any), line: here)
    case .sequence(let sequence):
      var items: [YAMLTree] = []
      for item in sequence { items.append(try convert(item, depth: depth + 1, line: here, path: path, budget: &budget)) }
      return YAMLTree(.list(items), line: here)
    case .mapping(let mapping):
      var members: [Member] = []
      var merged: [Member] = []
      for (key, value) in mapping {
        guard case .scalar(let name) = key else {
          throw PlatformError(
            .invalidFile, "a key must be a word", hint: "Quote \"${...}\" and \"{{...}}\": braces open a mapping.",
            number: "PLT-1200",
            path: path, line: key.mark?.line ?? here)
        }
        let keyLine = key.mark?.line ?? here
        let member = try convert(value, depth: depth + 1, line: keyLine, path: path, budget: &budget)
        if name.string == "<<", name.style == .plain || name.style == .any {
          merged += try merging(member, line: keyLine, path: path)
        } else {
          members.append(Member(key: name.string, line: keyLine, value: member))
        }
      }
      // What stands in the mapping itself, and then what was named first, wins.
      var taken = Set(members.map(\.key))
      for member in merged where taken.insert(member.key).inserted { members.append(member) }
      return YAMLTree(.map(members), line: here)
    case .alias:
      throw PlatformError(.invalidFile, "an alias names no anchor", number: "PLT-1200", path: path, line: here)
    }
  }
}
