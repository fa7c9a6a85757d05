// SPDX-License-Identifier: Apache-2.0

/// Reads the statements of a template. Expressions are in `TemplateParser+Expressions`.
struct TemplateParser {
  let tokens: [TemplateLexer.Token]
  var position = 0
  var depth = 0
  private var loops = 0
  /// Names that expressions have used, to know what a macro's body asks for.
  var namesSeen: Set<String> = []

  /// - Throws: `invalidArgument` with the line of the fault.
  static func parse(_ text: String) throws -> [TemplateNode] {
    var parser = TemplateParser(tokens: try TemplateLexer.tokens(text))
    let (nodes, _) = try parser.body(until: [])
    return nodes
  }

  private init(tokens: [TemplateLexer.Token]) { self.tokens = tokens }

  var token: TemplateLexer.Token? { position < tokens.count ? tokens[position] : nil }
  var line: Int { token?.line ?? tokens.last?.line ?? 1 }

  func failure(_ message: String) -> any Error { TemplateError.syntax(message, line: line) }

  func isSymbol(_ text: String) -> Bool { token.map { $0.kind == .symbol && $0.text == text } ?? false }
  func isName(_ text: String) -> Bool { token.map { $0.kind == .name && $0.text == text } ?? false }

  mutating func takeSymbol(_ text: String) -> Bool {
    guard isSymbol(text) else { return false }
    position += 1
    return true
  }

  mutating func takeName(_ text: String) -> Bool {
    guard isName(text) else { return false }
    position += 1
    return true
  }

  mutating func expectSymbol(_ text: String) throws {
    guard takeSymbol(text) else { throw failure("expected token '\(text)', got '\(token?.text ?? "end of template")'") }
  }

  mutating func anyName() throws -> String {
    guard let token, token.kind == .name else { throw failure("expected a name, got '\(self.token?.text ?? "end of template")'") }
    position += 1
    return token.text
  }

  private mutating func endOfBlock() throws {
    guard token?.kind == .blockEnd else { throw failure("expected token 'end of statement block', got '\(token?.text ?? "end of template")'") }
    position += 1
  }

  /// Nodes up to a block whose tag is in `ends`; that tag is taken, its rest is not.
  private mutating func body(until ends: Set<String>) throws -> ([TemplateNode], String) {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw failure("blocks are nested too deeply") }
    var nodes: [TemplateNode] = []
    while let token {
      position += 1
      switch token.kind {
      case .data: nodes.append(TemplateNode(statement: .text(token.text), line: token.line))
      case .variableBegin:
        nodes.append(TemplateNode(statement: .show(try tuple()), line: token.line))
        guard self.token?.kind == .variableEnd else { throw failure("expected token 'end of print statement', got '\(self.token?.text ?? "end of template")'") }
        position += 1
      case .blockBegin:
        let line = self.line
        let tag = try anyName()
        if ends.contains(tag) { return (nodes, tag) }
        nodes.append(TemplateNode(statement: try statement(tag), line: line))
      default: throw failure("unexpected '\(token.text)'")
      }
    }
    guard ends.isEmpty else { throw failure("unexpected end of template: \(ends.sorted().joined(separator: " or ")) is missing") }
    return (nodes, "")
  }

  private mutating func wholeBody(_ end: String) throws -> [TemplateNode] {
    try endOfBlock()
    let (nodes, _) = try body(until: [end])
    try endOfBlock()
    return nodes
  }

  private mutating func statement(_ tag: String) throws -> TemplateStatement {
    switch tag {
    case "if": return try branch()
    case "for": return try loop()
    case "set": return try assignment()
    case "macro":
      let name = try anyName()
      return .macro(try macro(name, end: "endmacro"))
    case "call":
      var parameters: [(name: String, fallback: TemplateExpression?)] = []
      if isSymbol("(") { parameters = try self.parameters() }
      let callee = try expression()
      guard case .call = callee else { throw failure("expected a call") }
      return .callBlock(callee, try macroBody("caller", parameters, end: "endcall"))
    case "filter":
      let filter = try filterChain(nil)
      return .filterBlock(filter, body: try wholeBody("endfilter"))
    case "with":
      var values: [(TemplateTarget, TemplateExpression)] = []
      while token?.kind != .blockEnd {
        if !values.isEmpty { try expectSymbol(",") }
        let target = try target()
        try expectSymbol("=")
        values.append((target, try expression()))
      }
      return .with(values, body: try wholeBody("endwith"))
    case "generation": return .generation(try wholeBody("endgeneration"))
    case "break", "continue":
      guard loops > 0 else { throw failure("'\(tag)' outside of a loop") }
      try endOfBlock()
      return tag == "break" ? .leave : .next
    default: throw failure("Encountered unknown tag '\(tag)'.")
    }
  }

  private mutating func branch() throws -> TemplateStatement {
    var cases: [(condition: TemplateExpression, body: [TemplateNode])] = []
    while true {
      let condition = try tuple(withConditional: false)
      try endOfBlock()
      let (nodes, tag) = try body(until: ["elif", "else", "endif"])
      cases.append((condition, nodes))
      if tag == "elif" { continue }
      var otherwise: [TemplateNode] = []
      if tag == "else" {
        otherwise = try wholeBody("endif")
      } else {
        try endOfBlock()
      }
      return .branch(cases, otherwise: otherwise)
    }
  }

  private mutating func loop() throws -> TemplateStatement {
    let target = try targets()
    guard takeName("in") else { throw failure("expected token 'in', got '\(token?.text ?? "end of template")'") }
    let over = try tuple(withConditional: false, ends: ["recursive"])
    let condition = takeName("if") ? try expression() : nil
    let isRecursive = takeName("recursive")
    try endOfBlock()
    loops += 1
    let (nodes, tag) = try body(until: ["else", "endfor"])
    loops -= 1
    var otherwise: [TemplateNode] = []
    if tag == "else" {
      otherwise = try wholeBody("endfor")
    } else {
      try endOfBlock()
    }
    return .loop(target: target, over: over, where: condition, isRecursive: isRecursive, body: nodes, otherwise: otherwise)
  }

  private mutating func assignment() throws -> TemplateStatement {
    let target = try targets()
    if takeSymbol("=") {
      let value = try tuple()
      try endOfBlock()
      return .set(target, value)
    }
    let filter = isSymbol("|") ? try filterChain(nil, afterBar: true) : nil
    return .setBlock(target, filter: filter, body: try wholeBody("endset"))
  }

  private mutating func targets() throws -> TemplateTarget {
    var items = [try target()]
    var isTuple = false
    while takeSymbol(",") {
      isTuple = true
      if isSymbol("=") || isName("in") { break }
      items.append(try target())
    }
    return isTuple ? .tuple(items) : items[0]
  }

  private mutating func target() throws -> TemplateTarget {
    if takeSymbol("(") {
      let inner = try targets()
      try expectSymbol(")")
      return inner
    }
    let name = try anyName()
    guard !["true", "false", "none", "True", "False", "None", "not", "and", "or", "in", "is", "if", "else"].contains(name) else {
      throw failure("can't assign to '\(name)'")
    }
    if takeSymbol(".") {
      namesSeen.insert(name)
      return .attribute(name, try anyName())
    }
    return .name(name)
  }

  private mutating func parameters() throws -> [(name: String, fallback: TemplateExpression?)] {
    var found: [(name: String, fallback: TemplateExpression?)] = []
    try expectSymbol("(")
    while !takeSymbol(")") {
      if !found.isEmpty { try expectSymbol(",") }
      let name = try anyName()
      let fallback = takeSymbol("=") ? try expression() : nil
      guard fallback != nil || found.last?.fallback == nil else { throw failure("non-default argument follows default argument") }
      found.append((name, fallback))
    }
    return found
  }

  private mutating func macro(_ name: String, end: String) throws -> TemplateMacro { try macroBody(name, try parameters(), end: end) }

  private mutating func macroBody(
    _ name: String, _ parameters: [(name: String, fallback: TemplateExpression?)], end: String
  ) throws -> TemplateMacro {
    let outerNames = namesSeen
    let outerLoops = loops
    namesSeen = []
    loops = 0
    let nodes = try wholeBody(end)
    let uses = namesSeen.intersection(["varargs", "kwargs", "caller"]).subtracting(parameters.map(\.name))
    namesSeen.formUnion(outerNames)
    loops = outerLoops
    return TemplateMacro(name: name, parameters: parameters, body: nodes, uses: uses)
  }
}
