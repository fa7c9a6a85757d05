// SPDX-License-Identifier: Apache-2.0

import Core

/// What a text has to be, as a request says it.
public indirect enum GrammarSource: Codable, Sendable, Hashable {
  /// Any JSON object.
  case jsonObject
  /// A JSON document that the schema accepts; the schema as JSON text.
  case jsonSchema(String)
  /// A text that the whole regular expression matches.
  case regex(String)
  /// One of the texts.
  case choice([String])
  /// A grammar in llama.cpp's notation (GBNF), which vLLM calls EBNF.
  case notation(String)
  /// JSON values that schemas accept between fixed texts: calls of tools.
  case framed(Framed)
  /// Reasoning up to `</think>`, and behind it what the source says. Unless the span is open already the text may also begin with the latter.
  case reasoned(GrammarSource, isOpen: Bool)

  public struct Framed: Codable, Sendable, Hashable {
    public struct Frame: Codable, Sendable, Hashable {
      public var before: String
      public var schema: String
      public var after: String
      public init(before: String, schema: String, after: String) {
        self.before = before
        self.schema = schema
        self.after = after
      }
    }
    public var opening: String
    /// Each value is in one of these.
    public var frames: [Frame]
    public var separator: String
    public var closing: String
    /// Values at most; at least one.
    public var maximum: Int?

    public init(opening: String, frames: [Frame], separator: String, closing: String, maximum: Int?) {
      self.opening = opening
      self.frames = frames
      self.separator = separator
      self.closing = closing
      self.maximum = maximum
    }
  }

  /// The automaton for a vocabulary. Takes milliseconds, for large schemas more: not for a thread that others wait for.
  /// - Throws: `invalidArgument` naming what cannot be used (PLT-5240 regular expressions, PLT-5241 contradictions, PLT-5242 grammars and sizes,
  ///   PLT-5244 schemas).
  public func compile(_ trie: TokenTrie) throws -> CompiledGrammar {
    let (rules, root) = try parse()
    return try CompiledGrammar(GrammarProgram(rules, root: root), trie: trie)
  }

  func parse() throws -> (rules: GrammarRules, root: Int) {
    func single(_ body: GrammarExpression) -> (GrammarRules, Int) {
      var rules = GrammarRules()
      let root = rules.declare("root")
      rules.define(root, body)
      return (rules, root)
    }
    switch self {
    case .jsonObject: return try JSONSchemaGrammar.parse(.object([.init("type", .string("object"))]))
    case .jsonSchema(let text): return try JSONSchemaGrammar.parse(Self.schema(text))
    case .regex(let pattern): return single(try RegularExpression.parse(pattern, isSearch: false) { .utf8($0) })
    case .choice(let texts):
      guard !texts.isEmpty, texts.allSatisfy({ !$0.isEmpty }), texts.reduce(0, { $0 + $1.utf8.count }) <= 1 << 18 else {
        throw PlatformError(.invalidArgument, "a choice needs texts that are not empty, of 256 KB in all", number: "PLT-5242")
      }
      return single(.choice(texts.map { .text($0) }))
    case .notation(let text): return try GrammarNotation.parse(text)
    case .reasoned(let source, let isOpen):
      var (rules, root) = try source.parse()
      var space = ByteSet()
      for byte in " \n".utf8 { space.insert(byte) }
      let answer = GrammarExpression.rule(root)
      let rest = rules.add("answer", .sequence([.repetition(.set(space), minimum: 0, maximum: 4), answer]))
      let reasoning = ReasoningForm.untilClosed(&rules, then: rest)
      let whole = rules.declare("reasoned")
      rules.define(whole, isOpen ? reasoning : .choice([answer, .sequence([.text(ReasoningForm.opener), reasoning])]))
      return (rules, whole)
    case .framed(let framed):
      return try JSONSchemaGrammar.parse(framed.frames.map { try Self.schema($0.schema) }) { values in
        let choices = zip(framed.frames, values).map { frame, value in
          GrammarExpression.sequence([.text(frame.before), value, .text(frame.after)])
        }
        return .sequence([
          .text(framed.opening),
          .separated(.choice(choices), by: .text(framed.separator), minimum: 1, maximum: framed.maximum), .text(framed.closing),
        ])
      }
    }
  }

  private static func schema(_ text: String) throws -> OrderedJSON {
    guard text.utf8.count <= 1 << 19 else { throw PlatformError(.invalidArgument, "a JSON schema of more than 512 KB", number: "PLT-5244") }
    return try OrderedJSON(parsing: text)
  }
}
