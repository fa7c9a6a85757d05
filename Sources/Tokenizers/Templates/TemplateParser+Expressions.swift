// SPDX-License-Identifier: Apache-2.0

extension TemplateParser {
  private typealias E = TemplateExpression

  private mutating func deeper<T>(_ body: (inout TemplateParser) throws -> T) throws -> T {
    depth += 1
    defer { depth -= 1 }
    guard depth < 200 else { throw failure("an expression is nested too deeply") }
    return try body(&self)
  }

  mutating func expression(withConditional: Bool = true) throws -> TemplateExpression {
    try deeper { parser in
      var value = try parser.either()
      while withConditional, parser.takeName("if") {
        let condition = try parser.either()
        let otherwise = parser.takeName("else") ? try parser.expression() : nil
        value = .conditional(condition: condition, then: value, otherwise: otherwise)
      }
      return value
    }
  }

  /// One expression, or several with commas between them.
  mutating func tuple(withConditional: Bool = true, ends: Set<String> = []) throws -> TemplateExpression {
    var items: [TemplateExpression] = []
    var isTuple = false
    repeat {
      if !items.isEmpty { isTuple = true }
      if let token, token.kind == .blockEnd || token.kind == .variableEnd || isSymbol(")") || ends.contains(token.text) { break }
      items.append(try expression(withConditional: withConditional))
    } while takeSymbol(",")
    guard isTuple else {
      guard let first = items.first else { throw failure("Expected an expression, got '\(token?.text ?? "end of template")'") }
      return first
    }
    return .list(items, isTuple: true)
  }

  private mutating func either() throws -> TemplateExpression {
    var left = try both()
    while takeName("or") { left = .either(left, try both()) }
    return left
  }

  private mutating func both() throws -> TemplateExpression {
    var left = try negation()
    while takeName("and") { left = .both(left, try negation()) }
    return left
  }

  private mutating func negation() throws -> TemplateExpression {
    if isName("not"), !(position + 1 < tokens.count && tokens[position + 1].kind == .name && tokens[position + 1].text == "in") {
      position += 1
      return try deeper { .not(try $0.negation()) }
    }
    return try comparison()
  }

  private mutating func comparison() throws -> TemplateExpression {
    let left = try sum()
    var parts: [(E.Comparison, TemplateExpression)] = []
    while let token {
      if token.kind == .symbol, let found = E.Comparison(rawValue: token.text) {
        position += 1
        parts.append((found, try sum()))
      } else if takeName("in") {
        parts.append((.isIn, try sum()))
      } else if isName("not"), position + 1 < tokens.count, tokens[position + 1].kind == .name, tokens[position + 1].text == "in" {
        position += 2
        parts.append((.isNotIn, try sum()))
      } else {
        break
      }
    }
    return parts.isEmpty ? left : .comparison(left, parts)
  }

  private mutating func arithmetic(_ symbols: Set<String>, _ operand: (inout TemplateParser) throws -> TemplateExpression) throws -> TemplateExpression {
    var left = try operand(&self)
    while let token, token.kind == .symbol, symbols.contains(token.text), let found = E.Operator(rawValue: token.text) {
      position += 1
      left = .arithmetic(left, found, try operand(&self))
    }
    return left
  }

  private mutating func sum() throws -> TemplateExpression { try arithmetic(["+", "-"]) { try $0.concatenation() } }

  private mutating func concatenation() throws -> TemplateExpression {
    var items = [try product()]
    while takeSymbol("~") { items.append(try product()) }
    return items.count == 1 ? items[0] : .concatenation(items)
  }

  private mutating func product() throws -> TemplateExpression {
    try arithmetic(["*", "/", "//", "%"]) { parser in try parser.arithmetic(["**"]) { try $0.unary() } }
  }

  private mutating func unary(withFilters: Bool = true) throws -> TemplateExpression {
    try deeper { parser in
      var value: TemplateExpression
      if parser.takeSymbol("-") {
        value = .negative(try parser.unary(withFilters: false))
      } else if parser.takeSymbol("+") {
        value = .positive(try parser.unary(withFilters: false))
      } else {
        value = try parser.primary()
      }
      value = try parser.postfix(value)
      return withFilters ? try parser.filtersAndTests(value) : value
    }
  }

  private mutating func primary() throws -> TemplateExpression {
    guard let token else { throw failure("unexpected end of template") }
    switch token.kind {
    case .name:
      position += 1
      switch token.text {
      case "true", "True": return .constant(.bool(true))
      case "false", "False": return .constant(.bool(false))
      case "none", "None": return .constant(.none)
      default:
        namesSeen.insert(token.text)
        return .name(token.text)
      }
    case .string:
      var text = ""
      while let next = self.token, next.kind == .string {
        text += next.text
        position += 1
      }
      return .constant(.string(text))
    case .integer:
      position += 1
      return .constant(.int(Int(token.text) ?? 0))
    case .float:
      position += 1
      return .constant(.float(Double(token.text) ?? 0))
    default: break
    }
    if takeSymbol("(") {
      if takeSymbol(")") { return .list([], isTuple: true) }
      let value = try tuple()
      try expectSymbol(")")
      return value
    }
    if takeSymbol("[") {
      var items: [TemplateExpression] = []
      while !takeSymbol("]") {
        if !items.isEmpty { try expectSymbol(",") }
        if takeSymbol("]") { break }
        items.append(try expression())
      }
      return .list(items, isTuple: false)
    }
    if takeSymbol("{") {
      var members: [(key: TemplateExpression, value: TemplateExpression)] = []
      while !takeSymbol("}") {
        if !members.isEmpty { try expectSymbol(",") }
        if takeSymbol("}") { break }
        let key = try expression()
        try expectSymbol(":")
        members.append((key, try expression()))
      }
      return .dictionary(members)
    }
    throw failure("unexpected '\(token.text)'")
  }

  private mutating func postfix(_ first: TemplateExpression) throws -> TemplateExpression {
    var value = first
    while true {
      if takeSymbol(".") {
        if let token, token.kind == .integer {
          position += 1
          value = .item(value, .constant(.int(Int(token.text) ?? 0)))
        } else {
          value = .attribute(value, try anyName())
        }
      } else if takeSymbol("[") {
        value = try subscripted(value)
      } else if isSymbol("(") {
        value = .call(value, try call())
      } else {
        return value
      }
    }
  }

  private mutating func subscripted(_ value: TemplateExpression) throws -> TemplateExpression {
    var parts: [TemplateExpression?] = []
    var colons = 0
    var current: TemplateExpression?
    while !takeSymbol("]") {
      if takeSymbol(":") {
        colons += 1
        parts.append(current)
        current = nil
      } else {
        guard current == nil else { throw failure("expected token ']', got '\(token?.text ?? "end of template")'") }
        current = try expression()
      }
    }
    if colons == 0 {
      guard let current else { throw failure("expected subscript expression") }
      return .item(value, current)
    }
    guard colons <= 2 else { throw failure("a slice has at most three parts") }
    parts.append(current)
    return .slice(value, start: parts[0], stop: parts[1], step: parts.count > 2 ? parts[2] : nil)
  }

  mutating func call() throws -> TemplateExpression.Call {
    var call = E.Call()
    try expectSymbol("(")
    var isFirst = true
    while !takeSymbol(")") {
      if !isFirst {
        try expectSymbol(",")
        if takeSymbol(")") { break }
      }
      isFirst = false
      if takeSymbol("**") {
        call.spreadNamed = try expression()
      } else if takeSymbol("*") {
        call.spread = try expression()
      } else if let token, token.kind == .name, position + 1 < tokens.count, tokens[position + 1].kind == .symbol, tokens[position + 1].text == "=" {
        position += 2
        call.named.append((token.text, try expression()))
      } else {
        guard call.named.isEmpty else { throw failure("invalid syntax for function call expression") }
        call.positional.append(try expression())
      }
    }
    return call
  }

  private mutating func filtersAndTests(_ first: TemplateExpression) throws -> TemplateExpression {
    var value = first
    while true {
      if isSymbol("|") {
        value = try filterChain(value, afterBar: true)
      } else if takeName("is") {
        value = try test(value)
      } else if isSymbol("(") {
        value = .call(value, try call())
      } else {
        return value
      }
    }
  }

  /// `name(args)|name..`, or with `afterBar` `|name(args)|name..`.
  mutating func filterChain(_ first: TemplateExpression?, afterBar: Bool = false) throws -> TemplateExpression {
    var value = first
    var needsBar = afterBar
    repeat {
      if needsBar { try expectSymbol("|") }
      needsBar = true
      var name = try anyName()
      while takeSymbol(".") { name += "." + (try anyName()) }
      guard TemplateFilters.all[name] != nil else { throw failure("No filter named '\(name)'.") }
      value = .filter(value, name, isSymbol("(") ? try call() : E.Call())
    } while isSymbol("|")
    guard let value else { throw failure("a filter is expected") }
    return value
  }

  private mutating func test(_ value: TemplateExpression) throws -> TemplateExpression {
    let isNegated = takeName("not")
    var name = try anyName()
    while takeSymbol(".") { name += "." + (try anyName()) }
    guard TemplateTests.names.contains(name) else { throw failure("No test named '\(name)'.") }
    var call = E.Call()
    if isSymbol("(") {
      call = try self.call()
    } else if let token, startsOperand(token) {
      guard token.text != "is" || token.kind != .name else { throw failure("You cannot chain multiple tests with is") }
      call.positional = [try postfix(try primary())]
    }
    let result = E.test(value, name, call)
    return isNegated ? .not(result) : result
  }

  private func startsOperand(_ token: TemplateLexer.Token) -> Bool {
    switch token.kind {
    case .string, .integer, .float: true
    case .name: !["else", "or", "and", "if"].contains(token.text)
    case .symbol: ["(", "[", "{"].contains(token.text)
    default: false
    }
  }
}
