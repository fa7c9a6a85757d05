// SPDX-License-Identifier: Apache-2.0

import Core

/// JSON Schema as rules. What is generated is always valid; it is not everything that is valid: members come in the schema's order, strings and
/// numbers have one spelling, and unless `additionalProperties` asks for more, objects have the members that are named.
///
/// A keyword that is not known, or whose effect cannot be kept, is refused with its place.
struct JSONSchemaGrammar {
  private var rules = GrammarRules()
  private var root: OrderedJSON = .null
  /// Rules of `$ref`, by pointer and document.
  private var references: [String: Int] = [:]
  private var anyValue: Int?
  private var depth = 0
  private var resolved = 0

  static func parse(_ schema: OrderedJSON) throws -> (rules: GrammarRules, root: Int) {
    try parse([schema]) { $0[0] }
  }

  /// Several schemas, each with its own references, joined by `body`.
  static func parse(_ schemas: [OrderedJSON], body: ([GrammarExpression]) -> GrammarExpression) throws -> (rules: GrammarRules, root: Int) {
    var compiler = JSONSchemaGrammar()
    let start = compiler.rules.declare("root")
    var values: [GrammarExpression] = []
    for schema in schemas {
      compiler.root = schema
      compiler.references = [:]
      values.append(try compiler.value(schema, "#"))
    }
    compiler.rules.define(start, body(values))
    return (compiler.rules, start)
  }

  private static let annotations: Set<String> = [
    "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly", "writeOnly",
    "discriminator",
  ]
  private static let objectWords: Set<String> = [
    "properties", "required", "additionalProperties", "minProperties", "maxProperties", "propertyNames",
  ]
  private static let arrayWords: Set<String> = ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"]
  private static let stringWords: Set<String> = ["minLength", "maxLength", "pattern", "format"]
  private static let numberWords: Set<String> = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]
  private static let joining: Set<String> = ["type", "enum", "const", "nullable", "anyOf", "oneOf", "allOf", "$ref"]
  private static let known = annotations.union(objectWords).union(arrayWords).union(stringWords).union(numberWords).union(joining)

  private func fault(_ what: String, _ place: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "the JSON schema cannot be used: \(what) at \(place)",
      hint: "Leave it out and check the answer yourself, or say it another way.", number: "PLT-5244")
  }

  // MARK: values

  private mutating func value(_ schema: OrderedJSON, _ place: String) throws -> GrammarExpression {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 100 else { throw fault("schemas nested deeper than 100", place) }
    if case .bool(let flag) = schema { return flag ? any() : .never }
    guard let members = schema.members else { throw fault("a schema that is neither an object nor true or false", place) }
    for member in members where !Self.known.contains(member.name) { throw fault("the keyword '\(member.name)'", place) }
    let words = members.filter { !Self.annotations.contains($0.name) }
    if words.isEmpty { return any() }
    if words.count == 1, let pointer = schema["$ref"] { return try reference(pointer, place) }
    if schema["$ref"] != nil || schema["allOf"] != nil { return try value(merged(schema, place), place) }
    if schema["nullable"]?.boolValue == true {
      return .choice([try value(schema.without(["nullable"]), place), .text("null")])
    }
    for word in ["anyOf", "oneOf"] {
      guard let listed = schema[word] else { continue }
      guard let branches = listed.arrayValue, !branches.isEmpty else { throw fault("'\(word)' without a list of schemas", place) }
      let rest = schema.without([word])
      let joined = try branches.enumerated().map { index, branch in try merge(rest, merged(branch, "\(place)/\(word)/\(index)"), place) }
      // Branches with nothing beside them stay as they are: references among them may lead back here.
      let own = words.count == 1 ? branches : joined
      if word == "oneOf" {
        for (index, one) in joined.enumerated() {
          for other in joined[..<index] where !areDisjoint(one, other) {
            throw fault("'oneOf' whose branches may accept the same value (use 'anyOf', or a 'const' that tells them apart)", place)
          }
        }
      }
      return .choice(try own.enumerated().map { index, branch in try value(branch, "\(place)/\(word)/\(index)") })
    }
    if let values = try enumerated(schema, place) {
      let others = words.map(\.name).filter { !["enum", "const", "type", "nullable"].contains($0) }
      guard others.isEmpty else { throw fault("'\(others[0])' beside 'enum' or 'const'", place) }
      let types = try self.types(schema, place)
      return .choice(values.filter { value in types?.contains { Self.has(value, $0) } ?? true }.map { .text($0.text) })
    }
    guard let types = try self.types(schema, place) else { return any() }
    return .choice(try types.map { try typed($0, schema, place) })
  }

  private func enumerated(_ schema: OrderedJSON, _ place: String) throws -> [OrderedJSON]? {
    if let listed = schema["enum"] {
      guard let values = listed.arrayValue, !values.isEmpty else { throw fault("'enum' without values", place) }
      if let constant = schema["const"] { return values.contains(constant) ? [constant] : [] }
      return values
    }
    return schema["const"].map { [$0] }
  }

  private static let typeNames = ["object", "array", "string", "number", "integer", "boolean", "null"]

  /// The types that are allowed; nil for any. Keywords of one type alone mean that the value has it.
  private func types(_ schema: OrderedJSON, _ place: String) throws -> [String]? {
    switch schema["type"] {
    case .string(let name)?:
      guard Self.typeNames.contains(name) else { throw fault("the type '\(name)'", place) }
      return [name]
    case .array(let items)?:
      let names = items.compactMap(\.stringValue)
      guard names.count == items.count, !names.isEmpty, names.allSatisfy(Self.typeNames.contains) else { throw fault("'type' that names no types", place) }
      // Every integer is a number.
      return names.contains("number") ? names.filter { $0 != "integer" } : names
    case nil: break
    default: throw fault("'type' that names no types", place)
    }
    if schema["enum"] != nil || schema["const"] != nil { return nil }
    var found: [String] = []
    for (words, name) in [
      (Self.objectWords, "object"), (Self.arrayWords, "array"), (Self.stringWords, "string"), (Self.numberWords, "number"),
    ] where (schema.members ?? []).contains(where: { words.contains($0.name) }) { found.append(name) }
    return found.isEmpty ? nil : found
  }

  private static func has(_ value: OrderedJSON, _ type: String) -> Bool {
    switch value {
    case .null: type == "null"
    case .bool: type == "boolean"
    case .number: type == "number" || (type == "integer" && value.doubleValue.map { $0 == $0.rounded() } == true)
    case .string: type == "string"
    case .array: type == "array"
    case .object: type == "object"
    }
  }

  private mutating func typed(_ type: String, _ schema: OrderedJSON, _ place: String) throws -> GrammarExpression {
    switch type {
    case "null": return .text("null")
    case "boolean": return .choice([.text("true"), .text("false")])
    case "string": return try string(schema, place)
    case "integer", "number": return try number(schema, isWhole: type == "integer", place)
    case "array": return try array(schema, place)
    default: return try object(schema, place)
    }
  }

  static let comma = GrammarExpression.sequence([.text(","), .optional(.text(" "))])
  static let colon = GrammarExpression.sequence([.text(":"), .optional(.text(" "))])

  /// Any JSON value.
  private mutating func any() -> GrammarExpression {
    if let anyValue { return .rule(anyValue) }
    let rule = rules.declare("value")
    anyValue = rule
    let member = GrammarExpression.sequence([Self.anyString, Self.colon, .rule(rule)])
    rules.define(
      rule,
      .choice([
        .sequence([.text("{"), .separated(member, by: Self.comma, minimum: 0, maximum: nil), .text("}")]),
        .sequence([.text("["), .separated(.rule(rule), by: Self.comma, minimum: 0, maximum: nil), .text("]")]), Self.anyString, Self.anyNumber,
        .text("true"), .text("false"), .text("null"),
      ]))
    return .rule(rule)
  }

  private static let quote = GrammarExpression.text("\"")
  private static let anyString = GrammarExpression.sequence([quote, .repetition(.json(.all), minimum: 0, maximum: nil), quote])
  private static let anyNumber = GrammarExpression.sequence([
    .optional(.text("-")),
    .choice([.text("0"), .sequence([.set(ByteSet(0x31...0x39)), .repetition(DecimalRange.digit, minimum: 0, maximum: 14)])]),
    .optional(.sequence([.text("."), .repetition(DecimalRange.digit, minimum: 1, maximum: 15)])),
    .optional(
      .sequence([.choice([.text("e"), .text("E")]), .optional(.choice([.text("+"), .text("-")])), .repetition(DecimalRange.digit, minimum: 1, maximum: 2)])),
  ])

  // MARK: strings and numbers

  private func count(_ schema: OrderedJSON, _ name: String, _ place: String) throws -> Int? {
    guard let value = schema[name] else { return nil }
    guard let count = value.intValue, count >= 0 else { throw fault("'\(name)' that is no count", place) }
    return count
  }

  private func string(_ schema: OrderedJSON, _ place: String) throws -> GrammarExpression {
    let (minimum, maximum) = (try count(schema, "minLength", place), try count(schema, "maxLength", place))
    if let text = schema["pattern"] {
      guard let pattern = text.stringValue else { throw fault("'pattern' that is no text", place) }
      guard minimum == nil, maximum == nil, schema["format"] == nil else { throw fault("'pattern' together with 'format', 'minLength' or 'maxLength'", place) }
      let body: GrammarExpression
      do {
        body = try RegularExpression.parse(pattern, isSearch: true) { .json($0) }
      } catch let error as PlatformError {
        throw error.wrapping("'pattern' at \(place)")
      }
      return .sequence([Self.quote, body, Self.quote])
    }
    if let format = schema["format"] {
      guard let name = format.stringValue, let pattern = Self.formats[name] else { throw fault("the format '\(format.stringValue ?? "")'", place) }
      guard minimum == nil, maximum == nil else { throw fault("'format' together with 'minLength' or 'maxLength'", place) }
      return .sequence([Self.quote, try RegularExpression.parse(pattern, isSearch: false) { .json($0) }, Self.quote])
    }
    if let maximum, maximum < minimum ?? 0 { return .never }
    return .sequence([Self.quote, .repetition(.json(.all), minimum: minimum ?? 0, maximum: maximum), Self.quote])
  }

  private static let date =
    "[1-9]\\d{3}-((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))"
  private static let time = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
  private static let host = "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?){0,3}"
  private static let formats = [
    "date": date, "time": time, "date-time": "\(date)T\(time)", "duration": "P([1-9]\\d{0,3}[DWMY]|T[1-9]\\d{0,3}[HMS])",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "ipv4": "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)(\\.(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)){3}", "ipv6": "([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}",
    "hostname": host, "email": "[A-Za-z0-9_+-]{1,32}(\\.[A-Za-z0-9_+-]{1,32})?@\(host)\\.[a-z]{2,10}",
    "uri": "https?://\(host)(/[A-Za-z0-9._~-]{0,64}){0,8}(\\?[A-Za-z0-9._~=&-]{0,128})?",
  ]

  private func number(_ schema: OrderedJSON, isWhole: Bool, _ place: String) throws -> GrammarExpression {
    guard (schema.members ?? []).contains(where: { Self.numberWords.contains($0.name) }) else {
      return isWhole ? DecimalRange.whole(nil, nil) : Self.anyNumber
    }
    /// A bound as a whole number, rounded to the inside for integers.
    func bound(_ name: String, up: Bool) throws -> (value: Int, isExact: Bool)? {
      guard let value = schema[name] else { return nil }
      guard let number = value.doubleValue, abs(number) < 1e15 else { throw fault("'\(name)' that is no number, or beyond 10^15", place) }
      let rounded = number.rounded(up ? .up : .down)
      guard isWhole || rounded == number else { throw fault("'\(name)' of a 'number' that is not whole", place) }
      return (Int(rounded), rounded == number)
    }
    var low = try bound("minimum", up: true)?.value
    var high = try bound("maximum", up: false)?.value
    var (excludesLow, excludesHigh) = (false, false)
    if let above = try bound("exclusiveMinimum", up: true) {
      let excludes = above.isExact
      if low.map({ above.value >= $0 }) ?? true { (low, excludesLow) = (above.value, excludes) }
    }
    if let below = try bound("exclusiveMaximum", up: false) {
      let excludes = below.isExact
      if high.map({ below.value <= $0 }) ?? true { (high, excludesHigh) = (below.value, excludes) }
    }
    let step = schema["multipleOf"]
    // Fractions are multiples of 0.1 to some validators and not to others.
    guard step == nil || step?.doubleValue == 1 else { throw fault("'multipleOf' other than 1", place) }
    let digits = isWhole || step != nil ? 0 : 15
    return DecimalRange.decimal(low, high, excludesLow: excludesLow, excludesHigh: excludesHigh, digits: digits)
  }

  // MARK: arrays and objects

  private mutating func array(_ schema: OrderedJSON, _ place: String) throws -> GrammarExpression {
    let minimum = try count(schema, "minItems", place) ?? 0
    let maximum = try count(schema, "maxItems", place)
    if let unique = schema["uniqueItems"], unique.boolValue != false, maximum ?? 2 > 1 { throw fault("'uniqueItems'", place) }
    var first = schema["prefixItems"]?.arrayValue ?? []
    if schema["prefixItems"] != nil && schema["prefixItems"]?.arrayValue == nil { throw fault("'prefixItems' without a list", place) }
    var rest = schema["items"]
    if let older = schema["items"]?.arrayValue {
      first = older
      rest = schema["additionalItems"]
    }
    if let maximum, maximum < minimum { return .never }
    // Behind items of their own nothing comes unless it is asked for.
    let more = try rest.map { try value($0, "\(place)/items") } ?? (first.isEmpty || minimum > first.count ? any() : .never)
    guard !first.isEmpty else {
      return .sequence([.text("["), .separated(more, by: Self.comma, minimum: minimum, maximum: maximum), .text("]")])
    }
    let own = try first.enumerated().map { index, item in try value(item, "\(place)/prefixItems/\(index)") }
    let behind = GrammarExpression.repetition(
      .sequence([Self.comma, more]), minimum: max(0, minimum - own.count), maximum: maximum.map { max(0, $0 - own.count) })
    var body = maximum.map { $0 <= own.count } == true ? GrammarExpression.empty : behind
    for index in own.indices.reversed() {
      if let maximum, index >= maximum { continue }
      let part = GrammarExpression.sequence([index == 0 ? .empty : Self.comma, own[index], body])
      body = index < minimum ? part : .optional(part)
    }
    return .sequence([.text("["), body, .text("]")])
  }

  private mutating func object(_ schema: OrderedJSON, _ place: String) throws -> GrammarExpression {
    var properties: [OrderedJSON.Member] = []
    if let listed = schema["properties"] {
      guard let members = listed.members else { throw fault("'properties' that is no object", place) }
      // Of equal names the last counts.
      for member in members {
        properties.removeAll { $0.name == member.name }
        properties.append(member)
      }
    }
    let required = try (schema["required"] ?? .array([])).arrayValue.map { items in
      try items.map { item -> String in
        guard let name = item.stringValue else { throw fault("'required' that is no list of names", place) }
        return name
      }
    }
    guard let required else { throw fault("'required' that is no list of names", place) }
    let additional = schema["additionalProperties"]
    let isOpen = additional.map { $0 != .bool(false) } ?? properties.isEmpty
    for name in required where !properties.contains(where: { $0.name == name }) {
      properties.append(.init(name, additional ?? .bool(true)))
    }
    var items: [(item: GrammarExpression, isRequired: Bool)] = []
    for property in properties {
      // A property that can have no value is left out.
      let value = try rules.add(property.name, value(property.value, "\(place)/properties/\(property.name)"))
      items.append(
        (.sequence([.text(OrderedJSON.quoted(property.name)), Self.colon, value]), required.contains(property.name)))
    }
    let minimum = try count(schema, "minProperties", place) ?? 0
    let maximum = try count(schema, "maxProperties", place)
    guard isOpen else {
      if schema["propertyNames"] != nil { throw fault("'propertyNames' of an object without further members", place) }
      guard minimum <= required.count, maximum ?? .max >= properties.count else {
        throw fault("'minProperties' or 'maxProperties' that 'required' does not fulfil", place)
      }
      return .sequence([.text("{"), .list(items, separator: Self.comma, rest: nil), .text("}")])
    }
    var name = Self.string(except: properties.map(\.name))
    if let names = schema["propertyNames"] {
      guard properties.isEmpty else { throw fault("'propertyNames' together with 'properties' or 'required'", place) }
      guard let members = names.members, members.allSatisfy({ Self.stringWords.contains($0.name) || ["type", "enum", "const"].contains($0.name) }) else {
        throw fault("'propertyNames' that is no schema of texts", place)
      }
      name = try value(.object([.init("type", .string("string"))] + members.filter { $0.name != "type" }), "\(place)/propertyNames")
    }
    let further = try additional.map { try value($0, "\(place)/additionalProperties") } ?? any()
    let member = GrammarExpression.sequence([name, Self.colon, further])
    if properties.isEmpty {
      // Names may come twice, which readers take for one.
      guard minimum <= 1 else { throw fault("'minProperties' above 1 of an object whose names are free", place) }
      return .sequence([.text("{"), .separated(member, by: Self.comma, minimum: minimum, maximum: maximum), .text("}")])
    }
    guard minimum <= required.count, maximum == nil else { throw fault("'minProperties' or 'maxProperties' of an object with further members", place) }
    return .sequence([.text("{"), .list(items, separator: Self.comma, rest: member), .text("}")])
  }

  /// Any JSON string but these.
  private static func string(except names: [String]) -> GrammarExpression {
    let spelled = names.map { Array($0.unicodeScalars).map(\.value) }
    func rest(_ left: [ArraySlice<UInt32>]) -> GrammarExpression {
      if left.isEmpty { return .sequence([.repetition(.json(.all), minimum: 0, maximum: nil), quote]) }
      let heads = Set(left.compactMap(\.first)).sorted()
      var choices: [GrammarExpression] = left.contains { $0.isEmpty } ? [] : [quote]
      let others = CharacterSet(heads.map { $0...$0 }).inverted
      choices.append(.sequence([.json(others), rest([])]))
      for head in heads {
        choices.append(.sequence([.json(CharacterSet([head...head])), rest(left.filter { $0.first == head }.map { $0.dropFirst() })]))
      }
      return .choice(choices)
    }
    return .sequence([quote, rest(spelled.map { $0[...] })])
  }

  // MARK: references and joined schemas

  private mutating func reference(_ pointer: OrderedJSON, _ place: String) throws -> GrammarExpression {
    let (name, target) = try resolve(pointer, place)
    if let rule = references[name] { return .rule(rule) }
    let rule = rules.declare(name)
    references[name] = rule
    rules.define(rule, try value(target, name))
    return .rule(rule)
  }

  private mutating func resolve(_ pointer: OrderedJSON, _ place: String) throws -> (name: String, target: OrderedJSON) {
    guard let name = pointer.stringValue, name == "#" || name.hasPrefix("#/") else {
      throw fault("'$ref' that does not lead to a place in this schema ('#/$defs/NAME')", place)
    }
    resolved += 1
    guard resolved <= 10_000 else { throw fault("more than 10,000 references", place) }
    var target = root
    for part in name.dropFirst().split(separator: "/") {
      let key = String(part).replacing("~1", with: "/").replacing("~0", with: "~").removingPercentEncoded
      if let next = target[key] {
        target = next
      } else if let items = target.arrayValue, let index = Int(key), items.indices.contains(index) {
        target = items[index]
      } else {
        throw fault("'$ref' to '\(name)', which is not there", place)
      }
    }
    return (name, target)
  }

  /// The schema without `$ref` and `allOf`, which are joined into it.
  private mutating func merged(_ schema: OrderedJSON, _ place: String) throws -> OrderedJSON {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 100 else { throw fault("'$ref' or 'allOf' that leads back to itself", place) }
    var result = schema.without(["$ref", "allOf"])
    if let pointer = schema["$ref"] { result = try merge(result, merged(resolve(pointer, place).target, place), place) }
    if let listed = schema["allOf"] {
      guard let parts = listed.arrayValue else { throw fault("'allOf' without a list", place) }
      for part in parts { result = try merge(result, merged(part, place), place) }
    }
    return result
  }

  /// A schema that accepts what both accept.
  private func merge(_ one: OrderedJSON, _ other: OrderedJSON, _ place: String) throws -> OrderedJSON {
    if one == .bool(true) || one == .object([]) { return other }
    if other == .bool(true) || other == .object([]) { return one }
    guard var members = one.members, let more = other.members else { return .bool(false) }
    // Objects are closed unless they say otherwise, so the one that is closed decides only about names that neither knows.
    if one["additionalProperties"] != other["additionalProperties"], one["properties"] != nil || other["properties"] != nil,
      let strict = [one, other].first(where: { $0["additionalProperties"] == .bool(false) })
    {
      let names = Set((strict["properties"]?.members ?? []).map(\.name))
      let open = strict == one ? other : one
      guard (open["properties"]?.members ?? []).allSatisfy({ names.contains($0.name) }) else {
        throw fault("'additionalProperties' false in one of several schemas that are joined", place)
      }
    }
    for member in more {
      guard let index = members.firstIndex(where: { $0.name == member.name }) else {
        members.append(member)
        continue
      }
      let known = members[index].value
      if known == member.value || Self.annotations.contains(member.name) { continue }
      switch (member.name, known, member.value) {
      case ("properties", .object(let first), .object(let second)):
        var all = first
        for property in second {
          if let place = all.firstIndex(where: { $0.name == property.name }) {
            all[place].value = try merge(all[place].value, property.value, property.name)
          } else {
            all.append(property)
          }
        }
        members[index].value = .object(all)
      case ("required", .array(let first), .array(let second)): members[index].value = .array(first + second.filter { !first.contains($0) })
      case ("enum", .array(let first), .array(let second)): members[index].value = .array(first.filter(second.contains))
      case ("type", _, _):
        func names(_ value: OrderedJSON) -> [String] { value.stringValue.map { [$0] } ?? value.arrayValue?.compactMap(\.stringValue) ?? [] }
        let (first, second) = (names(known), names(member.value))
        let common =
          first.filter { second.contains($0) || ($0 == "integer" && second.contains("number")) }
          + second.filter { $0 == "integer" && first.contains("number") && !first.contains("integer") }
        if common.isEmpty { return .bool(false) }
        members[index].value = .array(common.map { .string($0) })
      case ("minimum", _, _), ("exclusiveMinimum", _, _), ("minLength", _, _), ("minItems", _, _), ("minProperties", _, _):
        if (member.value.doubleValue ?? 0) > (known.doubleValue ?? 0) { members[index].value = member.value }
      case ("maximum", _, _), ("exclusiveMaximum", _, _), ("maxLength", _, _), ("maxItems", _, _), ("maxProperties", _, _):
        if (member.value.doubleValue ?? 0) < (known.doubleValue ?? 0) { members[index].value = member.value }
      case ("additionalProperties", _, _):
        // Checked above: the closed one knows every name.
        guard known == .bool(false) || member.value == .bool(false) || known == .bool(true) || member.value == .bool(true) else {
          throw fault("'additionalProperties' of several kinds in schemas that are joined", place)
        }
        if known != .bool(false) && (member.value == .bool(false) || known == .bool(true)) { members[index].value = member.value }
      default: throw fault("'\(member.name)' of two values in schemas that are joined", place)
      }
    }
    return .object(members)
  }

  /// Whether certainly no value fits both.
  private func areDisjoint(_ one: OrderedJSON, _ other: OrderedJSON) -> Bool {
    if let first = try? enumerated(one, ""), let second = try? enumerated(other, ""), !first.isEmpty {  // what is malformed is told later
      return !first.contains(where: second.contains)
    }
    if let first = try? types(one, ""), let second = try? types(other, "") {
      let overlap = first.contains { name in
        second.contains(name) || (name == "integer" && second.contains("number")) || (name == "number" && second.contains("integer"))
      }
      if !overlap { return true }
    }
    // Objects that a required constant tells apart.
    func required(_ schema: OrderedJSON) -> Set<String> { Set((schema["required"]?.arrayValue ?? []).compactMap(\.stringValue)) }
    guard one["properties"] != nil, other["properties"] != nil else { return false }
    return required(one).intersection(required(other)).contains { name in
      guard let first = one["properties"]?[name], let second = other["properties"]?[name],
        let left = try? enumerated(first, ""), let right = try? enumerated(second, "")
      else { return false }
      return !left.contains(where: right.contains)
    }
  }
}

extension OrderedJSON {
  func without(_ names: Set<String>) -> OrderedJSON {
    guard let members else { return self }
    return .object(members.filter { !names.contains($0.name) })
  }
}

extension String {
  /// `%41` as `A`; what is no such code stays.
  fileprivate var removingPercentEncoded: String {
    var bytes: [UInt8] = []
    var rest = Array(utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"), rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) {
        bytes.append(value)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
