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
  /// Text that may hold references, see `TemplateScope`.
  public var left: String
  public var right: String

  public init(_ op: Operator, _ left: String, _ right: String) {
    self.op = op
    self.left = left
    self.right = right
  }

  /// Texts are compared when only equality is asked for, numbers otherwise.
  /// - Throws: `invalidArgument` when a value is missing, or not a number where one is needed.
  func evaluate(_ scope: TemplateScope) throws -> Bool {
    let left = try Template.text(left, scope)
    let right = try Template.text(right, scope)
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
