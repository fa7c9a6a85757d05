// SPDX-License-Identifier: Apache-2.0

/// Filters over lists and dictionaries.
extension TemplateFilters {
  private static func argument(_ arguments: Arguments, _ place: Int, _ name: String) throws -> TemplateValue {
    guard let value = arguments.value(place, name) else { throw TemplateError.failure("missing required argument '\(name)'") }
    return value
  }

  /// `a.b.0` of an item.
  private static func member(_ item: TemplateValue, _ path: TemplateValue) throws -> TemplateValue {
    if let index = path.wholeNumber { return try TemplateMembers.item(item, .int(index)) }
    return try path.text.split(separator: ".", omittingEmptySubsequences: false).reduce(item) { owner, part in
      try TemplateMembers.item(owner, Int(part).map { .int($0) } ?? .string(String(part)))
    }
  }

  private static func lowered(_ value: TemplateValue, _ caseSensitive: Bool) -> TemplateValue {
    if !caseSensitive, case .string(let text) = value { return .string(text.lowercased()) }
    return value
  }

  /// What the lazy filters iterate over: nothing for anything that is false, whatever its type.
  private static func nothingOrElements(_ value: TemplateValue) throws -> [TemplateValue] { value.isTrue ? try value.elements() : [] }

  /// What items are compared by.
  private static func keys(_ items: [TemplateValue], _ arguments: Arguments, case place: Int, attribute: Int) throws -> [TemplateValue] {
    let caseSensitive = arguments.value(place, "case_sensitive")?.isTrue ?? false
    let path = arguments.value(attribute, "attribute")
    return try items.map { item in
      guard let path, !isNone(path) else { return lowered(item, caseSensitive) }
      let parts = path.text.split(separator: ",").map { TemplateValue.string(String($0)) }
      let values = try (parts.count > 1 ? parts : [path]).map { lowered(try member(item, $0), caseSensitive) }
      return values.count == 1 ? values[0] : .list(values)
    }
  }

  private static func isNone(_ value: TemplateValue) -> Bool { if case .none = value { true } else { false } }

  private static func sorted<T>(_ items: [T], by keys: [TemplateValue], reverse: Bool) throws -> [T] {
    let order = try items.indices.sorted { a, b in
      if try keys[a].isLess(than: keys[b]) { return !reverse }
      if try keys[b].isLess(than: keys[a]) { return reverse }
      return a < b
    }
    return order.map { items[$0] }
  }

  private static func extreme(_ value: TemplateValue, _ arguments: Arguments, isBetter: (TemplateValue, TemplateValue) throws -> Bool) throws -> TemplateValue {
    let items = try value.elements()
    guard !items.isEmpty else { return .undefined("No aggregated item, sequence was empty.") }
    let keys = try keys(items, arguments, case: 0, attribute: 1)
    var best = 0
    for index in items.indices.dropFirst() where try isBetter(keys[index], keys[best]) { best = index }
    return items[best]
  }

  /// `select`, `reject` and their forms for an attribute.
  private static func selection(keeps: Bool, byAttribute: Bool) -> Filter {
    { value, arguments, _ in
      var arguments = arguments
      var path: TemplateValue?
      if byAttribute {
        guard !arguments.positional.isEmpty else { throw TemplateError.failure("Missing parameter for attribute name") }
        path = arguments.positional.removeFirst()
      }
      var test: String?
      if !arguments.positional.isEmpty { test = arguments.positional.removeFirst().text }
      if let test, !TemplateTests.names.contains(test) { throw TemplateError.failure("No test named '\(test)'.") }
      let kept = try nothingOrElements(value).filter { item in
        let subject = try path.map { try member(item, $0) } ?? item
        return try (test.map { try TemplateTests.holds($0, subject, arguments) } ?? subject.isTrue) == keeps
      }
      return .list(kept, .generator)
    }
  }

  static let sequences: [String: Filter] = [
    "default": { value, arguments, _ in fallback(value, arguments) },
    "d": { value, arguments, _ in fallback(value, arguments) },
    "length": { value, _, _ in .int(try value.length()) },
    "count": { value, _, _ in .int(try value.length()) },
    "first": { value, _, _ in try value.elements().first ?? .undefined("No first item, sequence was empty.") },
    "last": { value, _, _ in try value.elements().last ?? .undefined("No last item, sequence was empty.") },
    "list": { value, _, _ in .list(try value.elements()) },
    "items": { value, _, _ in
      if value.isUndefined { return .list([], .generator) }
      guard case .dictionary(let dictionary) = value else { throw TemplateError.failure("Can only get item pairs from a mapping.") }
      return .list(zip(dictionary.keys, dictionary.values).map { .list([$0, $1], .tuple) }, .generator)
    },
    "reverse": { value, _, _ in
      if case .string(let text) = value { return .string(ScalarText.string(text.unicodeScalars.reversed())) }
      return .list(try value.elements().reversed(), .generator)
    },
    "join": { value, arguments, interpreter in
      let separator = arguments.value(0, "d")?.text ?? ""
      let path = arguments.value(1, "attribute")
      let parts = try value.elements().map { item in try path.map { isNone($0) ? item : try member(item, $0) }?.text ?? item.text }
      try interpreter.reserve(parts.reduce(0) { $0 + $1.utf8.count + separator.utf8.count })
      return .string(parts.joined(separator: separator))
    },
    "sort": { value, arguments, _ in
      let items = try value.elements()
      return .list(try sorted(items, by: keys(items, arguments, case: 1, attribute: 2), reverse: arguments.value(0, "reverse")?.isTrue ?? false))
    },
    "dictsort": { value, arguments, _ in
      guard case .dictionary(let dictionary) = value else { throw value.undefinedError() ?? TemplateError.failure("dictsort needs a mapping") }
      let caseSensitive = arguments.value(0, "case_sensitive")?.isTrue ?? false
      let by = arguments.value(1, "by")?.text ?? "key"
      guard by == "key" || by == "value" else { throw TemplateError.failure("You can only sort by either \"key\" or \"value\"") }
      let pairs = zip(dictionary.keys, dictionary.values).map { TemplateValue.list([$0, $1], .tuple) }
      let keys = (by == "key" ? dictionary.keys : dictionary.values).map { lowered($0, caseSensitive) }
      return .list(try sorted(pairs, by: keys, reverse: arguments.value(2, "reverse")?.isTrue ?? false))
    },
    "unique": { value, arguments, _ in
      let items = try value.elements()
      var seen: [TemplateValue] = []
      var kept: [TemplateValue] = []
      for (item, key) in zip(items, try keys(items, arguments, case: 0, attribute: 1)) {
        try key.checkHashable()
        guard !seen.contains(where: { $0.equals(key) }) else { continue }
        seen.append(key)
        kept.append(item)
      }
      return .list(kept, .generator)
    },
    "min": { value, arguments, _ in try extreme(value, arguments) { try $0.isLess(than: $1) } },
    "max": { value, arguments, _ in try extreme(value, arguments) { try $1.isLess(than: $0) } },
    "sum": { value, arguments, interpreter in
      let path = arguments.value(0, "attribute")
      return try value.elements().reduce(arguments.value(1, "start") ?? .int(0)) { sum, item in
        try TemplateArithmetic.apply(.add, sum, path.map { isNone($0) ? item : try member(item, $0) } ?? item, interpreter)
      }
    },
    "map": { value, arguments, interpreter in
      if arguments.positional.isEmpty, let path = arguments.named.first(where: { $0.name == "attribute" })?.value {
        let fallback = arguments.named.first { $0.name == "default" }?.value
        return .list(
          try nothingOrElements(value).map { item in
            let found = try member(item, path)
            return found.isUndefined ? fallback ?? found : found
          }, .generator)
      }
      guard let filter = arguments.positional.first?.text else { throw TemplateError.failure("map requires a filter argument") }
      let rest = Arguments(positional: Array(arguments.positional.dropFirst()), named: arguments.named)
      return .list(try nothingOrElements(value).map { try apply(filter, $0, rest, interpreter) }, .generator)
    },
    "select": selection(keeps: true, byAttribute: false),
    "reject": selection(keeps: false, byAttribute: false),
    "selectattr": selection(keeps: true, byAttribute: true),
    "rejectattr": selection(keeps: false, byAttribute: true),
    "attr": { value, arguments, _ in
      if case .dictionary = value {
        let found = TemplateMethods.dictionary[try argument(arguments, 0, "name").text] != nil
        guard found else { return .undefined("'dict object' has no attribute '\(try argument(arguments, 0, "name").text)'") }
      }
      return try TemplateMembers.attribute(value, argument(arguments, 0, "name").text)
    },
    "batch": { value, arguments, _ in
      guard let size = try argument(arguments, 0, "linecount").wholeNumber, size > 0 else { throw TemplateError.failure("batch needs a positive size") }
      let items = try value.elements()
      var rows = stride(from: 0, to: items.count, by: size).map { Array(items[$0..<min($0 + size, items.count)]) }
      if let fill = arguments.value(1, "fill_with"), !isNone(fill), let last = rows.last, size < 100_000 {
        rows[rows.count - 1] = last + Array(repeating: fill, count: size - last.count)
      }
      return .list(rows.map { .list($0) }, .generator)
    },
    "slice": { value, arguments, _ in
      guard let count = try argument(arguments, 0, "slices").wholeNumber, (1...100_000).contains(count) else {
        throw TemplateError.failure("slice needs a positive count")
      }
      let items = try value.elements()
      let (size, longer) = items.count.quotientAndRemainder(dividingBy: count)
      let fill = arguments.value(1, "fill_with").flatMap { isNone($0) ? nil : $0 }
      var offset = 0
      let parts = (0..<count).map { index -> TemplateValue in
        let length = size + (index < longer ? 1 : 0)
        defer { offset += length }
        return .list(Array(items[offset..<offset + length]) + (index >= longer ? fill.map { [$0] } ?? [] : []))
      }
      return .list(parts, .generator)
    },
    "groupby": { value, arguments, _ in
      let path = try argument(arguments, 0, "attribute")
      let caseSensitive = arguments.value(2, "case_sensitive")?.isTrue ?? false
      let fallback = arguments.value(1, "default")
      let items = try value.elements()
      let found = try items.map { item in
        let value = try member(item, path)
        return value.isUndefined ? fallback ?? value : value
      }
      let keys = found.map { lowered($0, caseSensitive) }
      var groups: [(key: TemplateValue, shown: TemplateValue, items: [TemplateValue])] = []
      for index in try sorted(Array(items.indices), by: keys, reverse: false) {
        if let last = groups.last, last.key.equals(keys[index]) {
          groups[groups.count - 1].items.append(items[index])
        } else {
          groups.append((keys[index], found[index], [items[index]]))
        }
      }
      return .list(groups.map { .list([$0.shown, .list($0.items)], .tuple) })
    },
  ]

  private static func fallback(_ value: TemplateValue, _ arguments: Arguments) -> TemplateValue {
    let replaces = arguments.value(1, "boolean")?.isTrue ?? false
    return value.isUndefined || (replaces && !value.isTrue) ? arguments.value(0, "default_value") ?? .empty : value
  }
}
