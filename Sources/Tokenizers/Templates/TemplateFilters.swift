// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What may stand behind `|`.
enum TemplateFilters {
  typealias Arguments = TemplateFunction.Arguments
  typealias Filter = @Sendable (TemplateValue, Arguments, TemplateInterpreter) throws -> TemplateValue

  static func apply(_ name: String, _ value: TemplateValue, _ arguments: Arguments, _ interpreter: TemplateInterpreter) throws -> TemplateValue {
    guard let filter = all[name] else { throw TemplateError.failure("No filter named '\(name)'.") }
    return try filter(value, arguments, interpreter)
  }

  static let all: [String: Filter] = texts.merging(sequences) { $1 }.merging(numbers) { $1 }

  private static func flag(_ arguments: Arguments, _ place: Int, _ name: String) -> Bool { arguments.value(place, name)?.isTrue ?? false }

  private static func whole(_ arguments: Arguments, _ place: Int, _ name: String, _ fallback: Int) throws -> Int {
    guard let value = arguments.value(place, name) else { return fallback }
    guard let number = value.wholeNumber else { throw TemplateError.failure("'\(value.typeName)' object cannot be interpreted as an integer") }
    return number
  }

  private static func name(_ arguments: Arguments, _ place: Int, _ name: String) -> String? {
    guard let value = arguments.value(place, name) else { return nil }
    if case .none = value { return nil }
    return value.text
  }

  // MARK: texts

  private static let texts: [String: Filter] = [
    "upper": { value, _, _ in .string(value.text.uppercased()) },
    "lower": { value, _, _ in .string(value.text.lowercased()) },
    "capitalize": { value, _, _ in .string(ScalarText.capitalised(value.text.unicodeScalars)) },
    "title": { value, _, _ in .string(title(value.text)) },
    "trim": { value, arguments, _ in .string(ScalarText.strip(value.text, name(arguments, 0, "chars"))) },
    "string": { value, _, _ in .string(value.text) },
    "safe": { value, _, _ in .string(value.text) },
    "e": { value, _, _ in .string(escaped(value.text)) },
    "escape": { value, _, _ in .string(escaped(value.text)) },
    "forceescape": { value, _, _ in .string(escaped(value.text)) },
    "replace": { value, arguments, interpreter in
      guard let old = arguments.value(0, "old"), let new = arguments.value(1, "new") else { throw TemplateError.failure("replace needs two texts") }
      let result = ScalarText.replace(value.text, old.text, new.text, limit: try whole(arguments, 2, "count", -1))
      try interpreter.reserve(result.utf8.count)
      return .string(result)
    },
    "format": { value, arguments, _ in
      guard case .string(let format) = value else { throw TemplateError.failure("format needs a text") }
      return .string(try PythonText.formatted(format, arguments.positional))
    },
    "indent": { value, arguments, interpreter in
      guard case .string = value else { throw value.undefinedError() ?? TemplateError.failure("indent needs a text, not \(value.typeName)") }
      var margin = "    "
      switch arguments.value(0, "width") {
      case .string(let text)?: margin = text
      case let width?: margin = String(repeating: " ", count: max(0, min(width.wholeNumber ?? 4, 1000)))
      case nil: break
      }
      let (first, blank) = (flag(arguments, 1, "first"), flag(arguments, 2, "blank"))
      var lines = ScalarText.lines(value.text + "\n")
      if blank {
        lines = lines.enumerated().map { $0 == 0 ? $1 : margin + $1 }
      } else {
        lines = lines.enumerated().map { $0 == 0 || $1.isEmpty ? $1 : margin + $1 }
      }
      let result = (first ? margin : "") + lines.joined(separator: "\n")
      try interpreter.reserve(result.utf8.count)
      return .string(result)
    },
    "truncate": { value, arguments, _ in
      let (length, leeway) = (try whole(arguments, 0, "length", 255), try whole(arguments, 3, "leeway", 5))
      let (kills, end) = (flag(arguments, 1, "killwords"), name(arguments, 2, "end") ?? "...")
      let scalars = Array(value.text.unicodeScalars)
      if scalars.count <= length + leeway { return .string(value.text) }
      let head = ScalarText.string(scalars.prefix(max(0, length - end.unicodeScalars.count)))
      return .string((kills ? head : ScalarText.splitFromRight(head, by: " ", limit: 1)[0]) + end)
    },
    "wordcount": { value, _, _ in .int(value.text.unicodeScalars.split { !($0.properties.isAlphabetic || $0.properties.numericType != nil || $0 == "_") }.count)
    },
    "center": { value, arguments, interpreter in
      guard let center = TemplateMethods.text["center"] else { return value }
      return try center(value.text, Arguments(positional: [.int(try whole(arguments, 0, "width", 80))]), interpreter)
    },
    "striptags": { value, _, _ in
      let plain = value.text.replacing(#/<!--.*?-->|<[^>]*>/#.dotMatchesNewlines(), with: "")
      return .string(ScalarText.words(plain, limit: -1).joined(separator: " "))
    },
    "urlencode": { value, _, _ in
      let free = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/".utf8)
      return .string(
        value.text.utf8.map { free.contains($0) ? String(UnicodeScalar($0)) : "%" + PythonText.hex(UInt32($0), 2).uppercased() }.joined())
    },
    "tojson": { value, arguments, interpreter in
      var options = PythonText.JSONOptions()
      options.ascii = flag(arguments, 0, "ensure_ascii")
      switch arguments.value(1, "indent") {
      case nil, .some(.none): break
      case .string(let text)?: options.indent = text
      case let width?:
        guard let count = width.wholeNumber else { throw TemplateError.failure("indent must be a number or a text") }
        options.indent = String(repeating: " ", count: max(0, min(count, 1000)))
      }
      if case .list(let pair, _)? = arguments.value(2, "separators"), pair.count == 2 {
        options.separators = (pair[0].text, pair[1].text)
      }
      options.sortKeys = flag(arguments, 3, "sort_keys")
      let text = try PythonText.json(value, options)
      try interpreter.reserve(text.utf8.count)
      return .string(text)
    },
  ]

  private static func escaped(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      switch scalar {
      case "&": "&amp;"
      case "<": "&lt;"
      case ">": "&gt;"
      case "'": "&#39;"
      case "\"": "&#34;"
      default: String(scalar)
      }
    }.joined()
  }

  /// Words begin behind white space, hyphens and opening brackets.
  private static func title(_ text: String) -> String {
    var out = ""
    var word: [Unicode.Scalar] = []
    func ended() -> String { ScalarText.capitalised(word) }
    for scalar in text.unicodeScalars {
      if ScalarText.isSpace(scalar) || "-({[<".unicodeScalars.contains(scalar) {
        out += ended() + String(scalar)
        word = []
      } else {
        word.append(scalar)
      }
    }
    return out + ended()
  }

  // MARK: numbers

  private static let numbers: [String: Filter] = [
    "abs": { value, _, _ in
      if let number = value.wholeNumber, number != .min { return .int(abs(number)) }
      guard let number = value.number else { throw value.undefinedError() ?? TemplateError.failure("bad operand type for abs(): '\(value.typeName)'") }
      return .float(abs(number))
    },
    "int": { value, arguments, _ in
      let fallback = arguments.value(0, "default") ?? .int(0)
      let base = try whole(arguments, 1, "base", 10)
      switch value {
      case .int, .bool: return value.whole ?? fallback
      case .float(let number): return Int(exactly: number.rounded(.towardZero)).map { .int($0) } ?? fallback
      case .string(let text):
        var digits = ScalarText.strip(text, nil).replacing("_", with: "")
        if base == 16, digits.lowercased().hasPrefix("0x") { digits.removeFirst(2) }
        if (2...36).contains(base), let number = Int(digits, radix: base) { return .int(number) }
        return Double(digits).flatMap { Int(exactly: $0.rounded(.towardZero)) }.map { .int($0) } ?? fallback
      default:
        if let error = value.undefinedError() { throw error }
        return fallback
      }
    },
    "float": { value, arguments, _ in
      if let number = value.number { return .float(number) }
      if case .string(let text) = value, let number = Double(ScalarText.strip(text, nil)) { return .float(number) }
      if let error = value.undefinedError() { throw error }
      return arguments.value(0, "default") ?? .float(0)
    },
    "round": { value, arguments, _ in
      let digits = try whole(arguments, 0, "precision", 0)
      let method = name(arguments, 1, "method") ?? "common"
      guard let number = value.number else { throw value.undefinedError() ?? TemplateError.failure("type \(value.typeName) doesn't define __round__ method") }
      let scale = pow(10, Double(digits))
      switch method {
      case "ceil": return .float((number * scale).rounded(.up) / scale)
      case "floor": return .float((number * scale).rounded(.down) / scale)
      case "common":
        if let whole = value.whole, digits >= 0 { return whole }
        // The nearest decimal of the exact binary value, as Python rounds.
        guard digits >= 0 else { return .float((number * scale).rounded(.toNearestOrEven) / scale) }
        return .float(Double(String(format: "%.\(min(digits, 30))f", number)) ?? number)
      default: throw TemplateError.failure("method must be common, ceil or floor")
      }
    },
  ]
}
