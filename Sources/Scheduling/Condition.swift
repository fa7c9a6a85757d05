// SPDX-License-Identifier: Apache-2.0

import Core

/// A task that only compares two values. The scheduler evaluates it by itself; its value `outcome` is true or false.
public struct Condition: Codable, Sendable, Equatable {
  public enum Operator: String, Codable, Sendable, CaseIterable {
    case equal = "EQUAL_TO"
    case notEqual = "NOT_EQUAL"
    case greater = "GREATER_THAN"
    case greaterOrEqual = "GREATER_THAN_OR_EQUAL"
    case less = "LESS_THAN"
    case lessOrEqual = "LESS_THAN_OR_EQUAL"
  }

  public var op: Operator
  /// Text that may hold `{{tasks.<key>.values.<name>}}`.
  public var left: String
  public var right: String

  public init(_ op: Operator, _ left: String, _ right: String) {
    self.op = op
    self.left = left
    self.right = right
  }

  /// Texts are compared when only equality is asked for, numbers otherwise.
  /// - Throws: `invalidArgument` when a value is missing, or not a number where one is needed.
  func evaluate(_ values: [String: JSONValue]) throws -> Bool {
    let left = try Template.text(left, values: values)
    let right = try Template.text(right, values: values)
    switch op {
    case .equal: return left == right
    case .notEqual: return left != right
    case .greater, .greaterOrEqual, .less, .lessOrEqual: break
    }
    guard let a = Double(left), let b = Double(right) else {
      throw PlatformError(.invalidArgument, "'\(left)' and '\(right)' cannot be compared: both must be numbers")
    }
    switch op {
    case .greater: return a > b
    case .greaterOrEqual: return a >= b
    case .less: return a < b
    default: return a <= b
    }
  }
}

/// References in the bodies of tasks: `{{tasks.<key>.values.<name>}}`, and `{{input}}` or `{{input.<name>}}` inside of a loop.
enum Template {
  static func text(_ text: String, values: [String: JSONValue]) throws -> String {
    let filled = try fill(.string(text)) { path in
      guard path.count == 4, path[0] == "tasks", path[2] == "values" else { return nil }
      return values[path[1]]?[path[3]]
    }
    return filled.stringValue ?? filled.sortedText
  }

  /// `body` with the item of one iteration; other references stay for the planner.
  static func iteration(_ body: JSONValue, input: JSONValue) -> JSONValue {
    let filled = try? fill(body, leaveUnknown: true) { path in  // nothing throws when unknown references stay
      guard path.first == "input" else { return nil }
      return path.dropFirst().reduce(Optional(input)) { $0?[$1] }
    }
    return filled ?? body
  }

  /// A text that is one reference becomes the value itself; inside of other text it becomes its text.
  static func fill(_ value: JSONValue, leaveUnknown: Bool = false, _ look: ([String]) -> JSONValue?) throws -> JSONValue {
    switch value {
    case .array(let items): return .array(try items.map { try fill($0, leaveUnknown: leaveUnknown, look) })
    case .object(let members): return .object(try members.mapValues { try fill($0, leaveUnknown: leaveUnknown, look) })
    case .string(let text):
      var parts: [JSONValue] = []
      var rest = Substring(text)
      while let open = rest.firstRange(of: "{{"), let close = rest[open.upperBound...].firstRange(of: "}}") {
        if open.lowerBound > rest.startIndex { parts.append(.string(String(rest[..<open.lowerBound]))) }
        let name = rest[open.upperBound..<close.lowerBound].filter { $0 != " " }
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
