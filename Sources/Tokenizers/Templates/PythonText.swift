// SPDX-License-Identifier: Apache-2.0

import Foundation

/// How Python prints values: `str`, `repr`, and JSON as `json.dumps` writes it.
extension TemplateValue {
  /// `str(value)`, as `{{ value }}` prints it.
  var text: String {
    switch self {
    case .undefined: ""
    case .string(let text): text
    default: representation
    }
  }

  /// `repr(value)`.
  var representation: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "None"
    case .bool(let flag): flag ? "True" : "False"
    case .int(let number): String(number)
    case .float(let number): PythonText.float(number)
    case .string(let text): PythonText.quoted(text)
    case .list(let items, .tuple): "(" + items.map(\.representation).joined(separator: ", ") + (items.count == 1 ? ",)" : ")")
    case .list(let items, .view): "dict_items([" + items.map(\.representation).joined(separator: ", ") + "])"
    case .list(_, .generator): "<generator object>"
    case .list(let items, .list): "[" + items.map(\.representation).joined(separator: ", ") + "]"
    case .dictionary(let dictionary):
      "{" + zip(dictionary.keys, dictionary.values).map { "\($0.representation): \($1.representation)" }.joined(separator: ", ") + "}"
    case .function(let function): "<function \(function.name)>"
    case .namespace(let space): "<Namespace \(TemplateValue.dictionary(space.values).representation)>"
    }
  }
}

enum PythonText {
  /// `repr(float)`: the shortest digits that read back, exponents from 1e16 and below 1e-4.
  static func float(_ number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    if number == 0 { return number.sign == .minus ? "-0.0" : "0.0" }
    // Swift's description has the same shortest digits; only the layout differs.
    var digits = ""
    var exponent = 0
    let parts = "\(abs(number))".lowercased().split(separator: "e")
    if parts.count == 2 { exponent = Int(parts[1]) ?? 0 }
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    digits = String(mantissa[0]) + (mantissa.count > 1 ? String(mantissa[1]) : "")
    var point = mantissa[0].count + exponent
    let leading = digits.prefix { $0 == "0" }.count
    digits.removeFirst(leading)
    point -= leading
    while digits.count > 1, digits.hasSuffix("0") { digits.removeLast() }
    let sign = number < 0 ? "-" : ""
    if point > 16 || point < -3 {
      let rest = digits.dropFirst()
      let power = point - 1
      return sign + digits.prefix(1) + (rest.isEmpty ? "" : "." + rest) + "e" + (power < 0 ? "-" : "+") + (abs(power) < 10 ? "0" : "") + "\(abs(power))"
    }
    if point <= 0 { return sign + "0." + String(repeating: "0", count: -point) + digits }
    if digits.count <= point { return sign + digits + String(repeating: "0", count: point - digits.count) + ".0" }
    return sign + digits.prefix(point) + "." + digits.dropFirst(point)
  }

  /// `repr(str)`.
  static func quoted(_ text: String) -> String {
    let quote: Unicode.Scalar = text.unicodeScalars.contains("'") && !text.unicodeScalars.contains("\"") ? "\"" : "'"
    var out = String(quote)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case quote: out += "\\" + String(quote)
      default:
        if isPrintable(scalar) {
          out.unicodeScalars.append(scalar)
        } else if scalar.value < 0x100 {
          out += "\\x" + hex(scalar.value, 2)
        } else if scalar.value < 0x10000 {
          out += "\\u" + hex(scalar.value, 4)
        } else {
          out += "\\U" + hex(scalar.value, 8)
        }
      }
    }
    return out + String(quote)
  }

  private static func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: scalar == " "
    default: true
    }
  }

  static func hex(_ value: UInt32, _ width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }

  /// What `json.dumps` takes.
  struct JSONOptions {
    var ascii = false
    /// nil: on one line.
    var indent: String?
    var separators = (item: ", ", key: ": ")
    var sortKeys = false
  }

  /// - Throws: for a value that JSON cannot hold.
  static func json(_ value: TemplateValue, _ options: JSONOptions) throws -> String {
    var out = ""
    try write(value, options, 0, &out)
    return out
  }

  private static func write(_ value: TemplateValue, _ options: JSONOptions, _ depth: Int, _ out: inout String) throws {
    switch value {
    case .none: out += "null"
    case .bool(let flag): out += flag ? "true" : "false"
    case .int(let number): out += String(number)
    case .float(let number): out += number.isNaN ? "NaN" : number.isInfinite ? (number < 0 ? "-Infinity" : "Infinity") : float(number)
    case .string(let text): string(text, ascii: options.ascii, &out)
    case .list(let items, .list), .list(let items, .tuple):
      guard !items.isEmpty else { return out += "[]" }
      out += "["
      for (index, item) in items.enumerated() {
        separate(index, options, depth + 1, &out)
        try write(item, options, depth + 1, &out)
      }
      newLine(options, depth, &out)
      out += "]"
    case .dictionary(let dictionary):
      guard dictionary.count > 0 else { return out += "{}" }
      var members: [(key: String, value: TemplateValue)] = []
      for (key, value) in zip(dictionary.keys, dictionary.values) {
        switch key {
        case .string(let text): members.append((text, value))
        case .none: members.append(("null", value))
        case .bool(let flag): members.append((flag ? "true" : "false", value))
        default: members.append((key.representation, value))
        }
      }
      if options.sortKeys { members.sort { $0.key.unicodeScalars.lexicographicallyPrecedes($1.key.unicodeScalars) } }
      out += "{"
      for (index, member) in members.enumerated() {
        separate(index, options, depth + 1, &out)
        string(member.key, ascii: options.ascii, &out)
        out += options.separators.key
        try write(member.value, options, depth + 1, &out)
      }
      newLine(options, depth, &out)
      out += "}"
    default: throw TemplateError.failure("Object of type \(value.typeName) is not JSON serializable")
    }
  }

  private static func separate(_ index: Int, _ options: JSONOptions, _ depth: Int, _ out: inout String) {
    if index > 0 {
      // With an indent, Python's default leaves no space at the line's end.
      out += options.indent != nil && options.separators.item == ", " ? "," : options.separators.item
    }
    newLine(options, depth, &out)
  }

  private static func newLine(_ options: JSONOptions, _ depth: Int, _ out: inout String) {
    guard let indent = options.indent else { return }
    out += "\n" + String(repeating: indent, count: depth)
  }

  private static func string(_ text: String, ascii: Bool, _ out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{8}": out += "\\b"
      case "\u{c}": out += "\\f"
      default:
        if scalar.value < 0x20 || (ascii && scalar.value > 0x7E) {
          for unit in String(scalar).utf16 { out += "\\u" + hex(UInt32(unit), 4) }
        } else {
          out.unicodeScalars.append(scalar)
        }
      }
    }
    out += "\""
  }

  /// `"%s and %d" % values`. Python does not complain about a list or dictionary that the format does not mention.
  static func formatted(_ format: String, _ values: [TemplateValue], ignoresRest: Bool = false) throws -> String {
    var out = ""
    var rest = Array(format.unicodeScalars)[...]
    var remaining = values[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        out.unicodeScalars.append(scalar)
        continue
      }
      var flags = ""
      while let next = rest.first, "-+ #0".unicodeScalars.contains(next) { flags.unicodeScalars.append(rest.removeFirst()) }
      var width = ""
      while let next = rest.first, ("0"..."9").contains(next) { width.unicodeScalars.append(rest.removeFirst()) }
      var precision: String?
      if rest.first == "." {
        rest.removeFirst()
        precision = ""
        while let next = rest.first, ("0"..."9").contains(next) { precision?.unicodeScalars.append(rest.removeFirst()) }
      }
      guard let kind = rest.popFirst() else { throw TemplateError.failure("incomplete format") }
      if kind == "%" {
        out += "%"
        continue
      }
      guard let value = remaining.popFirst() else { throw TemplateError.failure("not enough arguments for format string") }
      guard (Int(width) ?? 0) <= 10_000, (precision.flatMap { Int($0) } ?? 0) <= 100 else { throw TemplateError.failure("width or precision is too large") }
      var piece: String
      switch kind {
      case "s", "r":
        piece = kind == "s" ? value.text : value.representation
        if let limit = precision.flatMap({ Int($0) }) { piece = ScalarText.string(piece.unicodeScalars.prefix(limit)) }
      case "d", "i", "x", "X", "o":
        guard let number = value.number, let whole = Int(exactly: number.rounded(.towardZero)) else {
          throw TemplateError.failure("%\(kind) format: a real number is required, not \(value.typeName)")
        }
        let digits = String(whole.magnitude, radix: kind == "o" ? 8 : kind == "d" || kind == "i" ? 10 : 16, uppercase: kind == "X")
        piece = (whole < 0 ? "-" : flags.contains("+") ? "+" : "") + digits
      case "f", "F", "e", "g":
        guard let number = value.number else { throw TemplateError.failure("must be real number, not \(value.typeName)") }
        piece = String(format: "%\(flags.contains("+") ? "+" : "").\(precision.flatMap { Int($0) } ?? 6)\(kind)", number)
      default: throw TemplateError.failure("unsupported format character '\(kind)'")
      }
      let missing = (Int(width) ?? 0) - piece.unicodeScalars.count
      if missing > 0 {
        if flags.contains("-") {
          piece += String(repeating: " ", count: missing)
        } else if flags.contains("0"), kind != "s", kind != "r" {
          let sign = piece.hasPrefix("-") || piece.hasPrefix("+") ? String(piece.removeFirst()) : ""
          piece = sign + String(repeating: "0", count: missing) + piece
        } else {
          piece = String(repeating: " ", count: missing) + piece
        }
      }
      out += piece
    }
    guard remaining.isEmpty || ignoresRest else { throw TemplateError.failure("not all arguments converted during string formatting") }
    return out
  }
}
