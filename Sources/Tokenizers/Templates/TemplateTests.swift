// SPDX-License-Identifier: Apache-2.0

/// What may stand behind `is`.
enum TemplateTests {
  static let names: Set<String> = [
    "defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping", "iterable", "sequence",
    "callable", "sameas", "even", "odd", "divisibleby", "eq", "equalto", "ne", "lt", "lessthan", "le", "gt", "greaterthan", "ge", "in", "upper",
    "lower", "escaped", "filter", "test",
  ]

  static func holds(_ name: String, _ value: TemplateValue, _ arguments: TemplateFunction.Arguments) throws -> Bool {
    func other() throws -> TemplateValue {
      guard let first = arguments.positional.first ?? arguments.named.first?.value else { throw TemplateError.failure("test '\(name)' needs an argument") }
      return first
    }
    func whole() throws -> Int {
      guard let number = value.wholeNumber else {
        throw value.undefinedError() ?? TemplateError.failure("test '\(name)' needs an integer, not '\(value.typeName)'")
      }
      return number
    }
    switch name {
    case "defined": return !value.isUndefined
    case "undefined": return value.isUndefined
    case "none": if case .none = value { return true } else { return false }
    case "boolean": if case .bool = value { return true } else { return false }
    case "true": if case .bool(true) = value { return true } else { return false }
    case "false": if case .bool(false) = value { return true } else { return false }
    case "integer": if case .int = value { return true } else { return false }
    case "float": if case .float = value { return true } else { return false }
    case "number": return value.number != nil
    case "string": if case .string = value { return true } else { return false }
    case "mapping": if case .dictionary = value { return true } else { return false }
    case "iterable":
      switch value {
      case .string, .list, .dictionary, .undefined: return true
      default: return false
      }
    case "sequence":
      switch value {
      case .string, .dictionary, .undefined, .list(_, .list), .list(_, .tuple): return true
      default: return false
      }
    case "callable":
      switch value {
      case .function, .undefined: return true
      default: return false
      }
    case "sameas":
      switch (value, try other()) {
      case (.none, .none): return true
      case (.bool(let a), .bool(let b)): return a == b
      case (.bool, _), (_, .bool): return false
      case (let a, let b): return a.typeName == b.typeName && a.equals(b)
      }
    case "even": return try whole() % 2 == 0
    case "odd": return try whole() % 2 != 0
    case "divisibleby":
      guard let divisor = try other().wholeNumber, divisor != 0 else { throw TemplateError.failure("integer modulo by zero") }
      return try whole() % divisor == 0
    case "eq", "equalto": return value.equals(try other())
    case "ne": return !value.equals(try other())
    case "lt", "lessthan": return try TemplateArithmetic.holds(.less, value, other())
    case "le": return try TemplateArithmetic.holds(.lessOrEqual, value, other())
    case "gt", "greaterthan": return try TemplateArithmetic.holds(.greater, value, other())
    case "ge": return try TemplateArithmetic.holds(.greaterOrEqual, value, other())
    case "in": return try other().contains(value)
    case "upper": return value.text.unicodeScalars.contains { $0.properties.isCased } && value.text == value.text.uppercased()
    case "lower": return value.text.unicodeScalars.contains { $0.properties.isCased } && value.text == value.text.lowercased()
    case "escaped": return false
    case "filter": return TemplateFilters.all[value.text] != nil
    case "test": return names.contains(value.text)
    default: throw TemplateError.failure("No test named '\(name)'.")
    }
  }
}
