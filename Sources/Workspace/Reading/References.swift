// SPDX-License-Identifier: Apache-2.0

import Core
import Jobs

/// `${...}` in a text: where it begins and ends, and what is inside.
enum References {
  struct Found {
    var range: Range<String.Index>
    var name: String
  }

  /// All that are in a text, in order.
  /// - Parameter unclosed: is true afterwards when a `${` has no end.
  static func all(in text: String, unclosed: inout Bool) -> [Found] {
    var found: [Found] = []
    var rest = text[...]
    while let open = rest.firstRange(of: "${") {
      guard let close = rest[open.upperBound...].firstIndex(of: "}") else {
        unclosed = true
        break
      }
      found.append(Found(range: open.lowerBound..<text.index(after: close), name: String(text[open.upperBound..<close])))
      rest = text[text.index(after: close)...]
    }
    return found
  }

  /// Whether a text is one reference and nothing else.
  static func isWhole(_ text: String) -> Bool {
    var unclosed = false
    let found = all(in: text, unclosed: &unclosed)
    return found.count == 1 && found[0].range == text.startIndex..<text.endIndex
  }

  enum Step: Equatable {
    case key(String)
    case index(Int)
  }

  /// `a.b[0].c` as steps; nil for what is no path.
  static func path(_ name: String) -> [Step]? {
    var steps: [Step] = []
    for part in name.split(separator: ".", omittingEmptySubsequences: false) {
      var rest = part
      guard let end = rest.firstIndex(of: "[") ?? Optional(rest.endIndex), end > rest.startIndex else { return nil }
      steps.append(.key(String(rest[..<end])))
      rest = rest[end...]
      while !rest.isEmpty {
        guard rest.first == "[", let close = rest.firstIndex(of: "]"), let index = Int(rest[rest.index(after: rest.startIndex)..<close]), index >= 0 else {
          return nil
        }
        steps.append(.index(index))
        rest = rest[rest.index(after: close)...]
      }
    }
    return steps
  }

  static func descend(_ tree: YAMLTree, _ steps: some Sequence<Step>) -> YAMLTree? {
    var here = tree
    for step in steps {
      switch step {
      case .key(let key):
        guard let next = here.members?.first(where: { $0.key == key })?.value else { return nil }
        here = next
      case .index(let index):
        guard let items = here.items, items.indices.contains(index) else { return nil }
        here = items[index]
      }
    }
    return here
  }
}

/// Fills references in. What a reference leads to may hold references itself; a circle is an error.
struct ReferenceFiller {
  /// What the reader of a reference finds.
  enum Answer {
    /// A value, whose own references are filled in too.
    case value(YAMLTree)
    /// Stays as it is, for later.
    case later
    case unknown(hint: String)
  }

  /// Bounds what references that lead to others may grow into.
  private var nodes = YAMLTree.maximumNodes
  private var bytes = 64 << 20
  private var isExhausted = false
  private var open: [String] = []
  /// Values that were filled in before, with their sizes.
  private var known: [String: (value: YAMLTree, nodes: Int, bytes: Int)] = [:]
  private(set) var errors: [PlatformError] = []
  private let answer: (_ name: String, _ line: Int) -> Answer

  init(_ answer: @escaping (_ name: String, _ line: Int) -> Answer) { self.answer = answer }

  mutating func fill(_ tree: YAMLTree, _ place: String) -> YAMLTree {
    nodes -= 1
    guard nodes > 0, bytes > 0 else {
      exhaust(tree.line, place)
      return tree
    }
    switch tree.content {
    case .list(let items):
      return YAMLTree(.list(items.enumerated().map { fill($0.element, "\(place)[\($0.offset)]") }), at: tree.line)
    case .map(let members):
      return YAMLTree(
        .map(
          members.map {
            YAMLTree.Member(key: $0.key, line: $0.line, value: fill($0.value, place.isEmpty ? $0.key : "\(place).\($0.key)"))
          }), at: tree.line)
    case .scalar(let text, let isPlain):
      bytes -= text.utf8.count
      guard text.contains("${") else { return tree }
      return fill(text, isPlain, tree.line, place)
    }
  }

  private mutating func fill(_ text: String, _ isPlain: Bool, _ line: Int, _ place: String) -> YAMLTree {
    var unclosed = false
    let found = References.all(in: text, unclosed: &unclosed)
    if unclosed { fail(line, place, "'${' is not closed", "Write ${var.NAME}.", "PLT-1207") }
    let isWhole = References.isWhole(text)
    var result = ""
    var rest = text.startIndex
    var isChanged = false
    for reference in found {
      result += text[rest..<reference.range.lowerBound]
      rest = reference.range.upperBound
      let whole = String(text[reference.range])
      guard let value = value(reference.name, line, place) else {
        result += whole
        continue
      }
      // A whole value takes the place as it is: a number stays one, a mapping too.
      if isWhole {
        if case .scalar = value.content { return YAMLTree(value.content, at: line) }
        return value
      }
      guard let part = value.scalar ?? (value.isNull ? "" : nil) else {
        fail(line, place, "'\(whole)' is no single value, and stands inside of a text", "Let it be the whole value.")
        continue
      }
      // Before the text is made: each level of references may double it.
      bytes -= part.utf8.count
      guard bytes > 0 else {
        exhaust(line, place)
        return YAMLTree.text("", at: line)
      }
      isChanged = true
      result += part
    }
    result += text[rest...]
    return YAMLTree(.scalar(result, plain: isPlain && !isChanged), at: line)
  }

  /// What a reference stands for, filled in itself; nil when it stays.
  private mutating func value(_ name: String, _ line: Int, _ place: String) -> YAMLTree? {
    guard !open.contains(name) else {
      fail(line, place, "'${\(name)}' leads back to itself: \((open + [name]).joined(separator: " -> "))", "Give one of them a value of its own.")
      return YAMLTree.text("", at: line)
    }
    if let one = known[name] {
      nodes -= one.nodes
      bytes -= one.bytes
      guard nodes > 0, bytes > 0 else {
        exhaust(line, place)
        return YAMLTree.text("", at: line)
      }
      return one.value
    }
    switch answer(name, line) {
    case .later: return nil
    case .unknown(let hint):
      fail(line, place, "'${\(name.prefix(100))}' stands for nothing", hint)
      return nil
    case .value(let tree):
      let before = (nodes, bytes)
      open.append(name)
      defer { open.removeLast() }
      let filled = fill(tree, place)
      // What is relative to where it stands is looked up each time.
      if !name.hasPrefix("file:") { known[name] = (filled, before.0 - nodes, before.1 - bytes) }
      return filled
    }
  }

  private mutating func exhaust(_ line: Int, _ place: String) {
    if !isExhausted { fail(line, place, "references make the project too large", "Look whether a variable is in itself many times over.") }
    isExhausted = true
  }

  private mutating func fail(_ line: Int, _ place: String, _ message: String, _ hint: String, _ number: String = "PLT-4278") {
    errors.append(PlatformError(.invalidFile, "\(place): \(message)", hint: hint, number: number, line: line))
  }
}
