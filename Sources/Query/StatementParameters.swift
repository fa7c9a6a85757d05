// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB

/// Values for `:name` and `?` in statements. They are bound to variables that the query reads; their text never becomes SQL, but for
/// `IDENTIFIER(:name)`, which takes a checked object name.
public struct StatementParameters: Sendable {
  /// One value, as clients send it.
  public struct Value: Codable, Sendable, Equatable {
    /// nil: for the next `?`.
    public var name: String?
    /// null, a truth value, a number or a text.
    public var value: JSONValue?
    /// A type name; STRING when it is left out.
    public var type: String?
    public init(name: String? = nil, value: JSONValue?, type: String? = nil) {
      self.name = name
      self.value = value
      self.type = type
    }
  }

  private let named: [String: Value]
  private let positional: [Value]
  public let variables: [StatementVariable]

  /// - Throws: `invalidArgument` PLT-3223 for a name given twice or a type that is not known.
  public init(_ values: [Value]) throws {
    var named: [String: Value] = [:]
    var positional: [Value] = []
    var variables: [StatementVariable] = []
    guard values.count <= 1000 else { throw Self.wrong("more than 1000 parameters are given") }
    for value in values {
      let key: String
      if let name = value.name, !name.isEmpty {
        guard named[name.lowercased()] == nil else { throw Self.wrong("parameter '\(name)' is given twice") }
        named[name.lowercased()] = value
        key = name.lowercased()
      } else {
        positional.append(value)
        key = "\(positional.count)"
      }
      variables.append(StatementVariable(name: Self.variable(key), value: value.value ?? .null, type: try Self.type(value, key)))
    }
    self.named = named
    self.positional = positional
    self.variables = variables
  }

  static func variable(_ key: String) -> String { "__parameter_" + key }

  private static func wrong(_ message: String) -> PlatformError { PlatformError(.invalidArgument, message, number: "PLT-3223") }

  private static func type(_ value: Value, _ key: String) throws -> String {
    if let type = value.type, !type.isEmpty, type.uppercased() != "VOID" {
      do { return try SQLTypeText.engine(type) } catch let error as PlatformError {
        throw wrong("parameter '\(key)': \(error.message)")
      }
    }
    switch value.value ?? .null {
    case .bool: return "BOOLEAN"
    case .integer: return "BIGINT"
    case .number: return "DOUBLE"
    default: return "VARCHAR"
    }
  }

  /// What `apply` made of a statement.
  public struct Applied: Sendable {
    public var text: String
    /// Keys of the values that it reads, and of those that only name objects.
    public var read: Set<String> = []
    public var naming: Set<String> = []
  }

  /// Replaces the parameters of one statement.
  /// - Throws: `invalidArgument` PLT-3223 for a parameter without a value, or a value that is no object name within IDENTIFIER.
  public func apply(to item: StatementScript.Item) throws -> Applied {
    let source = try SQLTokens(item.text)
    let tokens = source.tokens
    var result = Applied(text: item.text)
    var edits: [(range: Range<Int>, text: String)] = []
    var brackets: [(symbol: String, isSubscript: Bool)] = []
    var marks = item.firstParameter
    var at = 0
    while at < tokens.count {
      let token = tokens[at]
      if token.isWord("IDENTIFIER"), at + 3 < tokens.count, tokens[at + 1].isSymbol("(") {
        if let (length, key, given) = try identifier(tokens, at, &marks) {
          if let key { result.naming.insert(key) }
          edits.append((token.range.lowerBound..<tokens[at + length - 1].range.upperBound, try Self.objectName(given, key)))
          at += length
          continue
        }
      }
      if token.isSymbol("?") {
        marks += 1
        let key = "\(marks)"
        _ = try value(key)
        result.read.insert(key)
        edits.append((token.range, expression(key)))
      } else if token.isSymbol(":"), let name = parameter(tokens, at, brackets) {
        _ = try value(name)
        result.read.insert(name)
        edits.append((token.range.lowerBound..<tokens[at + 1].range.upperBound, expression(name)))
        at += 1
      } else if token.kind == .symbol, ["(", "[", "{"].contains(token.text) {
        let before = at > 0 ? tokens[at - 1] : nil
        let isOperand = before.map { $0.isName || $0.kind == .string || [")", "]", "}"].contains(where: $0.isSymbol) } ?? false
        brackets.append((token.text, isOperand))
      } else if token.kind == .symbol, [")", "]", "}"].contains(token.text) {
        _ = brackets.popLast()
      }
      at += 1
    }
    guard !edits.isEmpty else { return result }
    var text = ""
    var done = 0
    for edit in edits {
      text += source.text(done..<edit.range.lowerBound) + edit.text
      done = edit.range.upperBound
    }
    result.text = text + source.text(done..<source.bytes.count)
    return result
  }

  /// - Throws: `invalidArgument` PLT-3223 naming a value that no statement reads.
  public func requireUsed(_ used: Set<String>) throws {
    if let unused = named.keys.sorted().first(where: { !used.contains($0) }) { throw Self.wrong("no parameter is called ':\(unused)' in the statement") }
    if let extra = positional.indices.first(where: { !used.contains("\($0 + 1)") }) {
      throw Self.wrong("\(positional.count) values for '?' are given, the statement has \(extra)")
    }
  }

  private func expression(_ key: String) -> String { "getvariable(\(SQLText.literal(Self.variable(key))))" }

  private func value(_ key: String) throws -> Value {
    if let number = Int(key) {
      guard positional.indices.contains(number - 1) else { throw Self.wrong("parameter \(number) ('?') has no value") }
      return positional[number - 1]
    }
    guard let value = named[key] else {
      let known = named.keys.sorted().map { ":" + $0 }.joined(separator: ", ")
      throw PlatformError(
        .invalidArgument, "parameter ':\(key)' has no value", hint: known.isEmpty ? "No parameters were given." : "Given are: \(known).",
        number: "PLT-3223")
    }
    return value
  }

  /// The name of the parameter whose colon is ahead; nil when the colon is something else: of `::`, a slice, or a struct's member.
  private func parameter(_ tokens: [SQLTokens.Token], _ at: Int, _ brackets: [(symbol: String, isSubscript: Bool)]) -> String? {
    guard at + 1 < tokens.count, tokens[at + 1].kind == .word, tokens[at + 1].range.lowerBound == tokens[at].range.upperBound else { return nil }
    if at > 0 {
      let before = tokens[at - 1]
      if before.isSymbol(":"), before.range.upperBound == tokens[at].range.lowerBound { return nil }
      // A slice from the start: `[:v]` is a parameter only where one of the name is given.
      if before.isSymbol("["), brackets.last?.isSubscript == true, named[tokens[at + 1].text.lowercased()] == nil { return nil }
      let isOperand = before.isName || before.kind == .string || before.kind == .number || [")", "]", "}"].contains(where: before.isSymbol)
      if isOperand, let open = brackets.last, open.symbol == "{" || (open.symbol == "[" && open.isSubscript) { return nil }
      if isOperand, before.range.upperBound == tokens[at].range.lowerBound { return nil }
    }
    return tokens[at + 1].text.lowercased()
  }

  /// `IDENTIFIER(:name)`, `IDENTIFIER(?)` or `IDENTIFIER('name')` ahead: how many tokens it has, the parameter's key, and the name.
  private func identifier(_ tokens: [SQLTokens.Token], _ at: Int, _ marks: inout Int) throws -> (length: Int, key: String?, given: String)? {
    if tokens[at + 2].kind == .string, tokens[at + 3].isSymbol(")") { return (4, nil, tokens[at + 2].text) }
    if tokens[at + 2].isSymbol("?"), tokens[at + 3].isSymbol(")") {
      marks += 1
      return (4, "\(marks)", try text("\(marks)"))
    }
    guard tokens[at + 2].isSymbol(":"), at + 4 < tokens.count, tokens[at + 3].kind == .word, tokens[at + 4].isSymbol(")") else { return nil }
    let key = tokens[at + 3].text.lowercased()
    return (5, key, try text(key))
  }

  private func text(_ key: String) throws -> String {
    guard let text = try value(key).value?.stringValue else { throw Self.wrong("parameter '\(key)' names an object and must be a text") }
    return text
  }

  /// One to three names, quoted.
  private static func objectName(_ text: String, _ key: String?) throws -> String {
    let refused = wrong("\(key.map { "parameter '\($0)'" } ?? "IDENTIFIER") is not an object's name: '\(text.prefix(200))'")
    guard text.utf8.count <= 1000, let tokens = try? SQLTokens(text).tokens, tokens.count % 2 == 1, tokens.count <= 5 else {  // says less
      throw refused
    }
    var parts: [String] = []
    for (index, token) in tokens.enumerated() {
      if index % 2 == 0 {
        guard token.isName, !token.text.isEmpty else { throw refused }
        parts.append(SQLText.identifier(token.text))
      } else {
        guard token.isSymbol(".") else { throw refused }
      }
    }
    // Comments are no tokens: a name is written without them.
    guard !text.contains("--"), !text.contains("/*") else { throw refused }
    return parts.joined(separator: ".")
  }
}
