// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Python's operators.
enum TemplateArithmetic {
  static func holds(_ comparison: TemplateExpression.Comparison, _ left: TemplateValue, _ right: TemplateValue) throws -> Bool {
    switch comparison {
    case .equal: left.equals(right)
    case .different: !left.equals(right)
    case .less: try left.isLess(than: right)
    case .greater: try right.isLess(than: left)
    case .lessOrEqual: try left.isLess(than: right) || left.equals(right)
    case .greaterOrEqual: try right.isLess(than: left) || left.equals(right)
    case .isIn: try right.contains(left)
    case .isNotIn: try !right.contains(left)
    }
  }

  static func apply(
    _ operation: TemplateExpression.Operator, _ left: TemplateValue, _ right: TemplateValue, _ interpreter: TemplateInterpreter
  ) throws -> TemplateValue {
    let given = right
    // A truth value counts as a number, also how often something is repeated.
    let (left, right) = (left.whole ?? left, right.whole ?? right)
    switch (operation, left, right) {
    case (.add, .string(let a), .string(let b)):
      try interpreter.reserve(a.utf8.count + b.utf8.count)
      return .string(a + b)
    case (.add, .list(let a, let one), .list(let b, let two)) where one == two && (one == .list || one == .tuple):
      try interpreter.reserve((a.count + b.count) * 16)
      return .list(a + b, one)
    case (.multiply, .string(let text), .int(let count)), (.multiply, .int(let count), .string(let text)):
      let (bytes, overflow) = text.utf8.count.multipliedReportingOverflow(by: max(0, count))
      try interpreter.reserve(overflow ? .max : bytes)
      return .string(String(repeating: text, count: max(0, count)))
    case (.multiply, .list(let items, let kind), .int(let count)) where kind == .list || kind == .tuple,
      (.multiply, .int(let count), .list(let items, let kind)) where kind == .list || kind == .tuple:
      let (size, overflow) = items.count.multipliedReportingOverflow(by: max(0, count))
      try interpreter.reserve(overflow || size > 1 << 40 ? .max : size * 16)
      return .list(Array(repeating: items, count: max(0, count)).flatMap { $0 }, kind)
    case (.remainder, .string(let format), _):
      if case .list(let values, .tuple) = given { return .string(try PythonText.formatted(format, values)) }
      var isContainer = false
      if case .list = given { isContainer = true } else if case .dictionary = given { isContainer = true }
      return .string(try PythonText.formatted(format, [given], ignoresRest: isContainer))
    default: break
    }
    if let error = left.undefinedError(or: right) { throw error }
    if let a = left.wholeNumber, let b = right.wholeNumber, let result = try whole(operation, a, b) { return result }
    guard let a = left.number, let b = right.number else {
      if operation == .add, case .string = left {
        throw TemplateError.failure("can only concatenate str (not \"\(right.typeName)\") to str")
      }
      throw TemplateError.failure("unsupported operand type(s) for \(operation.rawValue): '\(left.typeName)' and '\(right.typeName)'")
    }
    switch operation {
    case .add: return .float(a + b)
    case .subtract: return .float(a - b)
    case .multiply: return .float(a * b)
    case .divide:
      guard b != 0 else { throw TemplateError.failure("division by zero") }
      return .float(a / b)
    case .floorDivide:
      guard b != 0 else { throw TemplateError.failure("float floor division by zero") }
      return .float((a / b).rounded(.down))
    case .remainder:
      guard b != 0 else { throw TemplateError.failure("float modulo") }
      let rest = fmod(a, b)
      return .float(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest)
    case .power: return .float(pow(a, b))
    }
  }

  /// nil: the result is not an integer.
  private static func whole(_ operation: TemplateExpression.Operator, _ a: Int, _ b: Int) throws -> TemplateValue? {
    func checked(_ result: (partialValue: Int, overflow: Bool)) throws -> TemplateValue {
      guard !result.overflow else { throw TemplateError.failure("a number is too large") }
      return .int(result.partialValue)
    }
    switch operation {
    case .add: return try checked(a.addingReportingOverflow(b))
    case .subtract: return try checked(a.subtractingReportingOverflow(b))
    case .multiply: return try checked(a.multipliedReportingOverflow(by: b))
    case .divide: return nil
    case .floorDivide, .remainder:
      guard b != 0 else { throw TemplateError.failure(operation == .remainder ? "integer modulo by zero" : "integer division or modulo by zero") }
      let (quotient, overflow) = a.dividedReportingOverflow(by: b)
      guard !overflow else { throw TemplateError.failure("a number is too large") }
      let rest = a - quotient * b
      let isOff = rest != 0 && (rest < 0) != (b < 0)
      return .int(operation == .floorDivide ? quotient - (isOff ? 1 : 0) : rest + (isOff ? b : 0))
    case .power:
      guard b >= 0 else { return nil }
      var result = 1
      for _ in 0..<min(b, 64) {
        let (next, overflow) = result.multipliedReportingOverflow(by: a)
        guard !overflow else { throw TemplateError.failure("a number is too large") }
        result = next
      }
      guard b <= 64 || abs(a) <= 1 else { throw TemplateError.failure("a number is too large") }
      return .int(b > 64 && a == -1 && b % 2 == 1 ? -1 : result)
    }
  }
}
