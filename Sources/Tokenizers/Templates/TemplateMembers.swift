// SPDX-License-Identifier: Apache-2.0

/// Attributes, items and slices of values, and the methods of Python's types that change nothing.
enum TemplateMembers {
  static func attribute(_ owner: TemplateValue, _ name: String) throws -> TemplateValue {
    if case .undefined(let what) = owner { throw TemplateError.failure(what) }
    if name.hasPrefix("_") { return .undefined("access to attribute '\(name)' of '\(owner.typeName)' object is unsafe.") }
    switch owner {
    case .namespace(let space):
      if let value = space.values[name] { return value }
    case .string(let text):
      if let method = TemplateMethods.text[name] {
        return .function(TemplateFunction(name) { arguments, interpreter in try method(text, arguments, interpreter) })
      }
    case .list(let items, let kind) where kind == .list || kind == .tuple:
      if kind == .list, ["append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"].contains(name) {
        return refused(owner, name)
      }
      if let method = TemplateMethods.list[name] { return .function(TemplateFunction(name) { arguments, _ in try method(items, arguments) }) }
    case .dictionary(let dictionary):
      if ["pop", "popitem", "update", "setdefault", "clear"].contains(name) { return refused(owner, name) }
      if let method = TemplateMethods.dictionary[name] { return .function(TemplateFunction(name) { arguments, _ in try method(dictionary, arguments) }) }
      if let value = dictionary[name] { return value }
    default: break
    }
    return missing(owner, name)
  }

  private static func refused(_ owner: TemplateValue, _ name: String) -> TemplateValue {
    .undefined("access to attribute '\(name)' of '\(owner.typeName)' object is unsafe.")
  }

  private static func missing(_ owner: TemplateValue, _ name: String) -> TemplateValue {
    .undefined("'\(owner.typeName == "dict" ? "dict object" : owner.typeName + " object")' has no attribute '\(name)'")
  }

  static func item(_ owner: TemplateValue, _ key: TemplateValue) throws -> TemplateValue {
    switch owner {
    case .undefined(let what): throw TemplateError.failure(what)
    case .dictionary(let dictionary):
      if let value = dictionary[key] { return value }
    case .list(let items, let kind) where kind == .list || kind == .tuple:
      if let index = key.wholeNumber {
        let place = index < 0 ? index + items.count : index
        return items.indices.contains(place) ? items[place] : .undefined("list object has no element \(index)")
      }
    case .string(let text):
      if let index = key.wholeNumber {
        let scalars = Array(text.unicodeScalars)
        let place = index < 0 ? index + scalars.count : index
        return scalars.indices.contains(place) ? .string(String(scalars[place])) : .undefined("str object has no element \(index)")
      }
    default: break
    }
    if case .string(let name) = key {
      if case .dictionary = owner {
        // An item that is not there may still be a method.
        let found = try attribute(owner, name)
        return found.isUndefined ? missing(owner, name) : found
      }
      return try attribute(owner, name)
    }
    return .undefined("\(owner.typeName) object has no element \(key.representation)")
  }

  static func slice(_ owner: TemplateValue, _ start: TemplateValue?, _ stop: TemplateValue?, _ step: TemplateValue?) throws -> TemplateValue {
    func bound(_ value: TemplateValue?) throws -> Int? {
      switch value {
      case nil, .some(.none): return nil
      case let value?:
        guard let number = value.wholeNumber else {
          throw value.undefinedError() ?? TemplateError.failure("slice indices must be integers or None or have an __index__ method")
        }
        return number
      }
    }
    let step = try bound(step) ?? 1
    guard step != 0 else { throw TemplateError.failure("slice step cannot be zero") }
    let (start, stop) = (try bound(start), try bound(stop))
    func indices(_ count: Int) -> [Int] {
      func place(_ value: Int?, _ fallback: Int, _ low: Int, _ high: Int) -> Int {
        guard let value else { return fallback }
        return min(max(value < 0 ? (value < -count ? -1 - count : value) + count : value, low), high)
      }
      if step > 0 { return Array(stride(from: place(start, 0, 0, count), to: place(stop, count, 0, count), by: min(step, count + 1))) }
      return Array(stride(from: place(start, count - 1, -1, count - 1), to: place(stop, -1, -1, count - 1), by: max(step, -count - 1)))
    }
    switch owner {
    case .string(let text):
      let scalars = Array(text.unicodeScalars)
      return .string(ScalarText.string(indices(scalars.count).map { scalars[$0] }))
    case .list(let items, let kind) where kind == .list || kind == .tuple: return .list(indices(items.count).map { items[$0] }, kind)
    case .undefined(let what): throw TemplateError.failure(what)
    default: throw TemplateError.failure("'\(owner.typeName)' object is not subscriptable")
    }
  }
}

enum TemplateMethods {
  typealias Arguments = TemplateFunction.Arguments

  static let list: [String: @Sendable ([TemplateValue], Arguments) throws -> TemplateValue] = [
    "count": { items, arguments in
      try arguments.check("count", "value")
      let wanted = try argument(arguments, 0, "value")
      return .int(items.count { $0.equals(wanted) })
    },
    "index": { items, arguments in
      let wanted = try argument(arguments, 0, "value")
      guard let place = items.firstIndex(where: { $0.equals(wanted) }) else { throw TemplateError.failure("\(wanted.representation) is not in list") }
      return .int(place)
    },
    "copy": { items, _ in .list(items) },
  ]

  static let dictionary: [String: @Sendable (TemplateDictionary, Arguments) throws -> TemplateValue] = [
    "items": { dictionary, _ in .list(zip(dictionary.keys, dictionary.values).map { .list([$0, $1], .tuple) }, .view) },
    "keys": { dictionary, _ in .list(dictionary.keys, .view) },
    "values": { dictionary, _ in .list(dictionary.values, .view) },
    "get": { dictionary, arguments in
      try arguments.check("get", "key", "default")
      return dictionary[try argument(arguments, 0, "key")] ?? arguments.value(1, "default") ?? .none
    },
    "copy": { dictionary, _ in .dictionary(dictionary) },
  ]

  static func argument(_ arguments: Arguments, _ place: Int, _ name: String) throws -> TemplateValue {
    guard let value = arguments.value(place, name) else { throw TemplateError.failure("missing required argument '\(name)'") }
    return value
  }

  private static func requiredText(_ arguments: Arguments, _ place: Int, _ name: String) throws -> String {
    let value = try argument(arguments, place, name)
    guard case .string(let text) = value else { throw value.undefinedError() ?? TemplateError.failure("must be str, not \(value.typeName)") }
    return text
  }

  private static func optionalText(_ arguments: Arguments, _ place: Int, _ name: String) throws -> String? {
    switch arguments.value(place, name) {
    case nil, .some(.none): nil
    default: try requiredText(arguments, place, name)
    }
  }

  private static func whole(_ arguments: Arguments, _ place: Int, _ name: String, _ fallback: Int) throws -> Int {
    guard let value = arguments.value(place, name) else { return fallback }
    if case .none = value { return fallback }
    guard let number = value.wholeNumber else { throw TemplateError.failure("'\(value.typeName)' object cannot be interpreted as an integer") }
    return number
  }

  /// One text or a tuple of them.
  private static func alternatives(_ arguments: Arguments, _ method: String) throws -> [String] {
    let value = try argument(arguments, 0, "prefix")
    let items: [TemplateValue]
    if case .list(let several, .tuple) = value { items = several } else { items = [value] }
    return try items.map { item in
      guard case .string(let text) = item else {
        throw item.undefinedError() ?? TemplateError.failure("\(method) first arg must be str or a tuple of str, not \(item.typeName)")
      }
      return text
    }
  }

  private static func strings(_ items: [String]) -> TemplateValue { .list(items.map { .string($0) }) }

  private static func every(_ text: String, _ test: (Unicode.Scalar) -> Bool) -> TemplateValue {
    .bool(!text.isEmpty && text.unicodeScalars.allSatisfy(test))
  }

  private static func pad(_ text: String, _ arguments: Arguments, _ interpreter: TemplateInterpreter, _ place: (Int) -> (Int, Int)) throws -> TemplateValue {
    let width = try whole(arguments, 0, "width", 0)
    let fill = try optionalText(arguments, 1, "fillchar") ?? " "
    guard fill.unicodeScalars.count == 1 else { throw TemplateError.failure("The fill character must be exactly one character long") }
    let missing = width - text.unicodeScalars.count
    guard missing > 0 else { return .string(text) }
    try interpreter.reserve(missing)
    let (left, right) = place(missing)
    return .string(String(repeating: fill, count: left) + text + String(repeating: fill, count: right))
  }

  private static func search(_ text: String, _ arguments: Arguments, fromRight: Bool = false) throws -> Int? {
    let scalars = Array(text.unicodeScalars)
    let part = Array(try requiredText(arguments, 0, "sub").unicodeScalars)
    func bound(_ place: Int, _ fallback: Int) throws -> Int {
      let value = try whole(arguments, place, place == 1 ? "start" : "end", fallback)
      return min(max(value < 0 ? value + scalars.count : value, 0), scalars.count)
    }
    let (start, end) = (try bound(1, 0), try bound(2, scalars.count))
    guard start <= end, part.count <= end - start else { return nil }
    let window = Array(scalars[start..<end])
    if part.isEmpty { return fromRight ? end : start }
    var found: Int?
    var from = 0
    while let place = ScalarText.find(part, in: window, from: from) {
      found = place + start
      guard fromRight else { break }
      from = place + 1
    }
    return found
  }

  private static func parted(_ text: String, _ separator: String, fromRight: Bool) throws -> TemplateValue {
    guard !separator.isEmpty else { throw TemplateError.failure("empty separator") }
    let parts = fromRight ? ScalarText.splitFromRight(text, by: separator, limit: 1) : ScalarText.split(text, by: separator, limit: 1)
    let items = parts.count == 2 ? [parts[0], separator, parts[1]] : fromRight ? ["", "", text] : [text, "", ""]
    return .list(items.map { .string($0) }, .tuple)
  }

  static let text: [String: @Sendable (String, Arguments, TemplateInterpreter) throws -> TemplateValue] = [
    "strip": { text, arguments, _ in .string(ScalarText.strip(text, try optionalText(arguments, 0, "chars"))) },
    "lstrip": { text, arguments, _ in .string(ScalarText.strip(text, try optionalText(arguments, 0, "chars"), right: false)) },
    "rstrip": { text, arguments, _ in .string(ScalarText.strip(text, try optionalText(arguments, 0, "chars"), left: false)) },
    "upper": { text, _, _ in .string(text.uppercased()) },
    "lower": { text, _, _ in .string(text.lowercased()) },
    "casefold": { text, _, _ in .string(text.lowercased()) },
    "title": { text, _, _ in .string(ScalarText.titled(text)) },
    "capitalize": { text, _, _ in .string(ScalarText.capitalised(text.unicodeScalars)) },
    "swapcase": { text, _, _ in
      .string(text.unicodeScalars.map { $0.properties.isUppercase ? $0.properties.lowercaseMapping : $0.properties.uppercaseMapping }.joined())
    },
    "startswith": { text, arguments, _ in
      .bool(try alternatives(arguments, "startswith").contains { text.unicodeScalars.starts(with: $0.unicodeScalars) })
    },
    "endswith": { text, arguments, _ in
      .bool(try alternatives(arguments, "endswith").contains { text.unicodeScalars.reversed().starts(with: $0.unicodeScalars.reversed()) })
    },
    "removeprefix": { text, arguments, _ in
      let part = try requiredText(arguments, 0, "prefix").unicodeScalars
      return .string(text.unicodeScalars.starts(with: part) ? ScalarText.string(text.unicodeScalars.dropFirst(part.count)) : text)
    },
    "removesuffix": { text, arguments, _ in
      let part = try requiredText(arguments, 0, "suffix").unicodeScalars
      return .string(text.unicodeScalars.reversed().starts(with: part.reversed()) ? ScalarText.string(text.unicodeScalars.dropLast(part.count)) : text)
    },
    "split": { text, arguments, _ in
      let limit = try whole(arguments, 1, "maxsplit", -1)
      guard let separator = try optionalText(arguments, 0, "sep") else { return strings(ScalarText.words(text, limit: limit)) }
      guard !separator.isEmpty else { throw TemplateError.failure("empty separator") }
      return strings(ScalarText.split(text, by: separator, limit: limit))
    },
    "rsplit": { text, arguments, _ in
      let limit = try whole(arguments, 1, "maxsplit", -1)
      guard let separator = try optionalText(arguments, 0, "sep") else {
        let reversed = ScalarText.words(ScalarText.string(text.unicodeScalars.reversed()), limit: limit)
        return strings(reversed.reversed().map { ScalarText.string($0.unicodeScalars.reversed()) })
      }
      guard !separator.isEmpty else { throw TemplateError.failure("empty separator") }
      return strings(ScalarText.splitFromRight(text, by: separator, limit: limit))
    },
    "splitlines": { text, arguments, _ in strings(ScalarText.lines(text, keepEnds: arguments.value(0, "keepends")?.isTrue ?? false)) },
    "partition": { text, arguments, _ in try parted(text, requiredText(arguments, 0, "sep"), fromRight: false) },
    "rpartition": { text, arguments, _ in try parted(text, requiredText(arguments, 0, "sep"), fromRight: true) },
    "join": { text, arguments, interpreter in
      let items = try argument(arguments, 0, "iterable").elements()
      let parts = try items.enumerated().map { index, item in
        guard case .string(let part) = item else {
          throw TemplateError.failure("sequence item \(index): expected str instance, \(item.typeName) found")
        }
        return part
      }
      try interpreter.reserve(parts.reduce(0) { $0 + $1.utf8.count + text.utf8.count })
      return .string(parts.joined(separator: text))
    },
    "replace": { text, arguments, interpreter in
      let result = ScalarText.replace(
        text, try requiredText(arguments, 0, "old"), try requiredText(arguments, 1, "new"), limit: try whole(arguments, 2, "count", -1))
      try interpreter.reserve(result.utf8.count)
      return .string(result)
    },
    "find": { text, arguments, _ in .int(try search(text, arguments) ?? -1) },
    "rfind": { text, arguments, _ in .int(try search(text, arguments, fromRight: true) ?? -1) },
    "index": { text, arguments, _ in
      guard let place = try search(text, arguments) else { throw TemplateError.failure("substring not found") }
      return .int(place)
    },
    "rindex": { text, arguments, _ in
      guard let place = try search(text, arguments, fromRight: true) else { throw TemplateError.failure("substring not found") }
      return .int(place)
    },
    "count": { text, arguments, _ in
      let part = try requiredText(arguments, 0, "sub")
      return .int(part.isEmpty ? text.unicodeScalars.count + 1 : ScalarText.split(text, by: part, limit: -1).count - 1)
    },
    "isdigit": { text, _, _ in every(text) { $0.properties.numericType == .decimal || $0.properties.numericType == .digit } },
    "isdecimal": { text, _, _ in every(text) { $0.properties.numericType == .decimal } },
    "isnumeric": { text, _, _ in every(text) { $0.properties.numericType != nil } },
    "isalpha": { text, _, _ in every(text, isLetter) },
    "isalnum": { text, _, _ in every(text) { isLetter($0) || $0.properties.numericType != nil } },
    "isspace": { text, _, _ in every(text, ScalarText.isSpace) },
    "isupper": { text, _, _ in .bool(text.unicodeScalars.contains { $0.properties.isUppercase } && !text.unicodeScalars.contains { $0.properties.isLowercase })
    },
    "islower": { text, _, _ in .bool(text.unicodeScalars.contains { $0.properties.isLowercase } && !text.unicodeScalars.contains { $0.properties.isUppercase })
    },
    "zfill": { text, arguments, interpreter in
      let missing = try whole(arguments, 0, "width", 0) - text.unicodeScalars.count
      guard missing > 0 else { return .string(text) }
      try interpreter.reserve(missing)
      let hasSign = text.hasPrefix("-") || text.hasPrefix("+")
      return .string((hasSign ? String(text.prefix(1)) : "") + String(repeating: "0", count: missing) + (hasSign ? String(text.dropFirst()) : text))
    },
    "ljust": { text, arguments, interpreter in try pad(text, arguments, interpreter) { (0, $0) } },
    "rjust": { text, arguments, interpreter in try pad(text, arguments, interpreter) { ($0, 0) } },
    "center": { text, arguments, interpreter in
      let width = try whole(arguments, 0, "width", 0)
      return try pad(text, arguments, interpreter) { missing in
        let left = missing / 2 + (missing & width & 1)
        return (left, missing - left)
      }
    },
    "format": { text, arguments, _ in .string(try braces(text, arguments)) },
  ]

  private static func isLetter(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  /// `"{} {0} {name}".format(..)`, without format specifications.
  private static func braces(_ format: String, _ arguments: Arguments) throws -> String {
    var out = ""
    var rest = Array(format.unicodeScalars)[...]
    var next = 0
    while let scalar = rest.popFirst() {
      if scalar == "{" || scalar == "}", rest.first == scalar {
        rest.removeFirst()
        out.unicodeScalars.append(scalar)
      } else if scalar == "{" {
        guard let end = rest.firstIndex(of: "}") else { throw TemplateError.failure("expected '}' before end of string") }
        let field = ScalarText.string(rest[..<end])
        rest = rest[(end + 1)...]
        let value: TemplateValue?
        if field.isEmpty {
          value = next < arguments.positional.count ? arguments.positional[next] : nil
          next += 1
        } else if let place = Int(field) {
          value = arguments.positional.indices.contains(place) ? arguments.positional[place] : nil
        } else {
          value = arguments.named.first { $0.name == field }?.value
        }
        guard let value else { throw TemplateError.failure("the format field '\(field)' has no value") }
        out += value.text
      } else if scalar == "}" {
        throw TemplateError.failure("Single '}' encountered in format string")
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
