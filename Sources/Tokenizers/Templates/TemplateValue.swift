// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// A value in a template, with the meaning that Python gives it: texts are sequences of Unicode scalars and equal only when their
/// scalars are, dictionaries keep the order in which they were written.
indirect enum TemplateValue: Sendable {
  /// A name, attribute or item that does not exist; the text says which.
  case undefined(String)
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case list([TemplateValue], Sequence = .list)
  case dictionary(TemplateDictionary)
  case function(TemplateFunction)
  case namespace(TemplateNamespace)

  /// What kind of Python sequence a list stands for; they print differently, and the lazy ones have no length.
  enum Sequence: Sendable { case list, tuple, view, generator }

  static let empty = TemplateValue.string("")
}

/// A dictionary in order of insertion. Keys are texts, numbers, truth values or None.
struct TemplateDictionary: Sendable {
  private(set) var keys: [TemplateValue] = []
  private(set) var values: [TemplateValue] = []
  private var places: [Key: Int] = [:]

  private enum Key: Hashable {
    case bytes([UInt8])
    case number(Double)
    case none

    init?(_ value: TemplateValue) {
      switch value {
      case .string(let text): self = .bytes(Array(text.utf8))
      case .int(let number): self = .number(Double(number))
      case .float(let number): self = .number(number)
      case .bool(let flag): self = .number(flag ? 1 : 0)
      case .none: self = .none
      default: return nil
      }
    }
  }

  init() {}

  var count: Int { keys.count }

  /// nil: no such key.
  subscript(key: TemplateValue) -> TemplateValue? {
    guard let key = Key(key), let place = places[key] else { return nil }
    return values[place]
  }

  subscript(name: String) -> TemplateValue? { self[.string(name)] }

  /// - Throws: `invalidArgument` for a key that Python cannot hash.
  mutating func set(_ key: TemplateValue, _ value: TemplateValue) throws {
    guard let place = Key(key) else { throw TemplateError.failure("unhashable type: '\(key.typeName)'") }
    if let known = places[place] {
      values[known] = value
    } else {
      places[place] = keys.count
      keys.append(key)
      values.append(value)
    }
  }

  mutating func set(_ name: String, _ value: TemplateValue) {
    let key = Key.bytes(Array(name.utf8))
    if let known = places[key] {
      values[known] = value
    } else {
      places[key] = keys.count
      keys.append(.string(name))
      values.append(value)
    }
  }
}

/// What a template may call.
final class TemplateFunction: Sendable {
  struct Arguments: Sendable {
    var positional: [TemplateValue] = []
    var named: [(name: String, value: TemplateValue)] = []

    /// The argument at a place or by name.
    func value(_ place: Int, _ name: String) -> TemplateValue? {
      place < positional.count ? positional[place] : named.first { $0.name == name }?.value
    }

    /// - Throws: when there are more arguments than the names that are known.
    func check(_ function: String, _ names: String...) throws {
      guard positional.count <= names.count else {
        throw TemplateError.failure("\(function)() takes at most \(names.count) arguments (\(positional.count) given)")
      }
      for one in named where !names.contains(one.name) {
        throw TemplateError.failure("\(function)() got an unexpected keyword argument '\(one.name)'")
      }
    }
  }

  let name: String
  let call: @Sendable (Arguments, TemplateInterpreter) throws -> TemplateValue

  init(_ name: String, _ call: @escaping @Sendable (Arguments, TemplateInterpreter) throws -> TemplateValue) {
    self.name = name
    self.call = call
  }
}

/// `namespace()`: the one thing whose attributes a template may change. Belongs to one rendering, on one thread.
final class TemplateNamespace: @unchecked Sendable {  // a rendering runs on one thread
  var values = TemplateDictionary()
}

/// Why a template cannot be read or rendered.
enum TemplateError {
  static func syntax(_ message: String, line: Int) -> PlatformError {
    PlatformError(.invalidArgument, "chat template, line \(line): \(message)", number: "PLT-4120")
  }
  static func failure(_ message: String) -> PlatformError { PlatformError(.invalidArgument, message, number: "PLT-4121") }
}

extension TemplateValue {
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .float: "float"
    case .string: "str"
    case .list(_, .list): "list"
    case .list(_, .tuple): "tuple"
    case .list(_, .view): "dict_items"
    case .list(_, .generator): "generator"
    case .dictionary: "dict"
    case .function: "function"
    case .namespace: "Namespace"
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  var isTrue: Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let flag): flag
    case .int(let number): number != 0
    case .float(let number): number != 0
    case .string(let text): !text.isEmpty
    case .list(let items, let kind): kind == .generator || !items.isEmpty
    case .dictionary(let dictionary): dictionary.count > 0
    case .function, .namespace: true
    }
  }

  /// Python's `==`.
  func equals(_ other: TemplateValue) -> Bool {
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let a), .string(let b)): return a.utf8.elementsEqual(b.utf8)
    case (.list(let a, let one), .list(let b, let two)): return one == two && a.count == b.count && zip(a, b).allSatisfy { $0.equals($1) }
    case (.dictionary(let a), .dictionary(let b)):
      return a.count == b.count && zip(a.keys, a.values).allSatisfy { key, value in b[key].map { $0.equals(value) } ?? false }
    case (.function(let a), .function(let b)): return a === b
    case (.namespace(let a), .namespace(let b)): return a === b
    default:
      if case .int(let a)? = whole, case .int(let b)? = other.whole { return a == b }
      guard let a = number, let b = other.number else { return false }
      return a == b
    }
  }

  /// An integer or truth value as an integer.
  var whole: TemplateValue? {
    switch self {
    case .int: self
    case .bool(let flag): .int(flag ? 1 : 0)
    default: nil
    }
  }

  var wholeNumber: Int? { if case .int(let number)? = whole { number } else { nil } }

  var number: Double? {
    switch self {
    case .int(let number): Double(number)
    case .bool(let flag): flag ? 1 : 0
    case .float(let number): number
    default: nil
    }
  }

  /// Python's `<`.
  /// - Throws: for types that have no order between them.
  func isLess(than other: TemplateValue) throws -> Bool {
    switch (self, other) {
    case (.string(let a), .string(let b)): return a.unicodeScalars.lexicographicallyPrecedes(b.unicodeScalars)
    case (.list(let a, let one), .list(let b, let two)) where one == two:
      for (left, right) in zip(a, b) where !left.equals(right) { return try left.isLess(than: right) }
      return a.count < b.count
    default:
      if let a = wholeNumber, let b = other.wholeNumber { return a < b }
      guard let a = number, let b = other.number else {
        throw undefinedError(or: other) ?? TemplateError.failure("'<' not supported between instances of '\(typeName)' and '\(other.typeName)'")
      }
      return a < b
    }
  }

  /// The complaint about whichever of two operands does not exist.
  func undefinedError(or other: TemplateValue = .none) -> PlatformError? {
    for case .undefined(let what) in [self, other] { return TemplateError.failure(what) }
    return nil
  }

  /// - Throws: for what cannot be a dictionary's key.
  func checkHashable() throws {
    switch self {
    case .list(let items, .tuple): for item in items { try item.checkHashable() }
    case .list(_, .list), .dictionary: throw TemplateError.failure("unhashable type: '\(typeName)'")
    default: break
    }
  }

  /// The elements that Python would iterate over.
  func elements() throws -> [TemplateValue] {
    switch self {
    case .list(let items, _): return items
    case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
    case .dictionary(let dictionary): return dictionary.keys
    case .undefined: return []
    default: throw TemplateError.failure("'\(typeName)' object is not iterable")
    }
  }

  func length() throws -> Int {
    switch self {
    case .list(_, .generator): throw TemplateError.failure("object of type 'generator' has no len()")
    case .list(let items, _): return items.count
    case .string(let text): return text.unicodeScalars.count
    case .dictionary(let dictionary): return dictionary.count
    case .undefined: return 0
    default: throw TemplateError.failure("object of type '\(typeName)' has no len()")
    }
  }

  /// Python's `in`.
  func contains(_ item: TemplateValue) throws -> Bool {
    switch self {
    case .string(let text):
      guard case .string(let part) = item else {
        throw item.undefinedError() ?? TemplateError.failure("'in <string>' requires string as left operand, not \(item.typeName)")
      }
      return part.isEmpty || ScalarText.find(Array(part.unicodeScalars), in: Array(text.unicodeScalars), from: 0) != nil
    case .dictionary(let dictionary):
      try item.checkHashable()
      return dictionary[item] != nil
    case .none, .bool, .int, .float, .function, .namespace:
      throw TemplateError.failure("argument of type '\(typeName)' is not iterable")
    default: return try elements().contains { $0.equals(item) }
    }
  }
}

extension TemplateValue {
  /// A JSON value; members come in the order of their names, because `JSONValue` keeps no other.
  init(_ json: JSONValue) {
    switch json {
    case .null: self = .none
    case .bool(let flag): self = .bool(flag)
    case .integer(let number): self = Int(exactly: number).map { .int($0) } ?? .float(Double(number))
    case .number(let number): self = .float(number)
    case .string(let text): self = .string(text)
    case .array(let items): self = .list(items.map(TemplateValue.init))
    case .object(let members):
      var dictionary = TemplateDictionary()
      for (key, value) in members.sorted(by: { $0.key < $1.key }) { dictionary.set(key, TemplateValue(value)) }
      self = .dictionary(dictionary)
    }
  }
}
