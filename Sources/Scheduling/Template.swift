// SPDX-License-Identifier: Apache-2.0

public import Core

/// What references in the bodies of tasks stand for: `{{tasks.<key>.values.<name>}}` is what a task has produced; everything else,
/// such as `{{job.run_id}}`, is a fact by its name.
public struct TemplateScope: Sendable, Equatable {
  public var values: [String: JSONValue]
  public var facts: [String: String]

  public init(values: [String: JSONValue] = [:], facts: [String: String] = [:]) {
    self.values = values
    self.facts = facts
  }

  public func look(_ path: [String]) -> JSONValue? {
    if path == Template.braces { return "{{" }
    if path.count == 4, path[0] == "tasks", path[2] == "values" { return values[path[1]]?[path[3]] }
    return facts[path.joined(separator: ".")].map { .string($0) }
  }
}

/// References in the bodies of tasks, and `{{input}}` or `{{input.<name>}}` inside of a loop. What is put in for a reference is never
/// looked at again: braces in data stay braces.
public enum Template {
  static let braces = ["literal", "braces"]

  /// Text that comes from outside, so that it stays what it is when the body around it is filled in.
  public static func escape(_ text: String) -> String { text.replacing("{{", with: "{{literal.braces}}") }

  static func escape(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): .string(escape(text))
    case .array(let items): .array(items.map(escape))
    case .object(let members): .object(members.mapValues(escape))
    default: value
    }
  }

  /// `text` with its references filled in.
  /// - Throws: `invalidArgument` PLT-1220 for one without a value.
  public static func text(_ text: String, _ scope: TemplateScope) throws -> String {
    let filled = try fill(.string(text), look: scope.look)
    return filled.stringValue ?? filled.sortedText
  }

  /// Every text in `body` with its references filled in; a text that is one reference becomes a text too.
  /// - Throws: as `text`.
  public static func texts(in body: JSONValue, _ scope: TemplateScope) throws -> JSONValue {
    switch body {
    case .string(let one): .string(try text(one, scope))
    case .array(let items): .array(try items.map { try texts(in: $0, scope) })
    case .object(let members): .object(try members.mapValues { try texts(in: $0, scope) })
    default: body
    }
  }

  /// `body` with the item of one iteration; other references stay for the planner.
  static func iteration(_ body: JSONValue, input: JSONValue) -> JSONValue {
    let filled = try? fill(body, leaveUnknown: true) { path in  // nothing throws when unknown references stay
      guard path.first == "input" else { return nil }
      return path.dropFirst().reduce(Optional(input)) { $0?[$1] }.map(escape)
    }
    return filled ?? body
  }

  /// A text that is one reference becomes the value itself; inside of other text it becomes its text.
  static func fill(_ value: JSONValue, leaveUnknown: Bool = false, look: ([String]) -> JSONValue?) throws -> JSONValue {
    switch value {
    case .array(let items): return .array(try items.map { try fill($0, leaveUnknown: leaveUnknown, look: look) })
    case .object(let members): return .object(try members.mapValues { try fill($0, leaveUnknown: leaveUnknown, look: look) })
    case .string(let text):
      var parts: [JSONValue] = []
      var rest = Substring(text)
      while let open = rest.firstRange(of: "{{"), let close = rest[open.upperBound...].firstRange(of: "}}") {
        if open.lowerBound > rest.startIndex { parts.append(.string(String(rest[..<open.lowerBound]))) }
        let name = rest[open.upperBound..<close.lowerBound].filter { !$0.isWhitespace }
        let found = look(name.split(separator: ".").map(String.init))
        guard found != nil || leaveUnknown else { throw PlatformError(.invalidArgument, "'{{\(name)}}' has no value", number: "PLT-1220") }
        parts.append(found ?? .string(String(rest[open.lowerBound..<close.upperBound])))
        rest = rest[close.upperBound...]
      }
      if parts.isEmpty { return value }
      if !rest.isEmpty { parts.append(.string(String(rest))) }
      if parts.count == 1 { return parts[0] }
      return .string(parts.map { $0.stringValue ?? $0.sortedText }.joined())
    default: return value
    }
  }
}
