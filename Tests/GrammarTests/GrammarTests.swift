// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Grammar

/// Every byte, and some tokens of several.
private let vocabulary: [[UInt8]] =
  (0...255).map { [UInt8($0)] }
  + ["{\"", "\":", "\": ", "\",", "\", \"", "true", "fal", "se", "null", "the", " the", "00", "12", "}}", "]}", "é", "日本", "\\n", "\"}", "[", "a\"b"].map {
    Array($0.utf8)
  }
private let trie = TokenTrie(vocabularySize: vocabulary.count) { vocabulary[Int($0)] }

/// A text that the grammar accepts, drawn token by token from its masks; nil when it did not end in time.
private func sample(_ grammar: CompiledGrammar, _ random: inout SplitMix64) throws -> [UInt8]? {
  var state = GrammarState(grammar)
  var text: [UInt8] = []
  for step in 0..<4_000 {
    let (accepts, goesOn) = try state.ends()
    if accepts && (!goesOn || random.next() % 4 == 0) { return text }
    let mask = try state.mask()
    let place = Int32(random.next() % UInt64(vocabulary.count))
    guard let some = (place..<Int32(vocabulary.count)).first(where: mask.contains) ?? (0..<place).first(where: mask.contains) else {
      Issue.record("nothing may follow '\(String(decoding: text, as: UTF8.self))'")
      return nil
    }
    var allowed = [some]
    // What closes something is preferred now and then, later always, so that texts end.
    let closing = [UInt8(ascii: "\""), UInt8(ascii: "}"), UInt8(ascii: "]")].map { Int32($0) }.filter { mask.contains($0) }
    if !closing.isEmpty && (step > 150 || random.next() % 4 == 0) { allowed = closing }
    let token = vocabulary[Int(allowed[Int(random.next() % UInt64(allowed.count))])]
    guard try state.advance(token) else {
      Issue.record("an allowed token does not fit behind '\(String(decoding: text, as: UTF8.self))'")
      return nil
    }
    text += token
  }
  return nil
}

private func accepts(_ source: GrammarSource, _ text: String) throws -> Bool {
  var state = GrammarState(try source.compile(trie))
  return try state.advance(Array(text.utf8)) && state.ends().accepts
}

private func refusal(_ source: GrammarSource) -> String {
  do {
    _ = try source.compile(trie)
    return "accepted"
  } catch let error as PlatformError {
    return error.number
  } catch {
    return "\(error)"
  }
}

@Suite(.timeLimit(.minutes(5))) struct GrammarTests {
  static let schemas: [String] = [
    ##"{}"##,
    #"true"#,
    ##"{"type":"object"}"##,
    ##"{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4}"##,
    ##"{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":12},"age":{"type":"integer","minimum":0,"maximum":150},"tags":{"type":"array","items":{"enum":["a","b",3,null,{"x":[1.5]}]},"maxItems":3}},"required":["name","age"]}"##,
    ##"{"type":"object","properties":{"a":{"type":"boolean"},"b":{"type":"null"},"c":{"const":"ü\"\\\n"}},"additionalProperties":{"type":"integer"},"required":["b"]}"##,
    ##"{"type":"object","additionalProperties":{"type":"number"},"maxProperties":3}"##,
    ##"{"type":"object","propertyNames":{"pattern":"^[a-z]{1,3}$"},"additionalProperties":{"type":"boolean"},"minProperties":1}"##,
    ##"{"anyOf":[{"type":"string","format":"date"},{"type":"integer","exclusiveMinimum":-13,"maximum":1207},{"type":"null"}]}"##,
    ##"{"oneOf":[{"type":"object","properties":{"kind":{"const":"x"},"v":{"type":"integer"}},"required":["kind"],"additionalProperties":false},{"type":"object","properties":{"kind":{"const":"y"},"w":{"type":"string"}},"required":["kind","w"],"additionalProperties":false}]}"##,
    ##"{"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"$ref":"#/$defs/b"}],"type":"object","$defs":{"b":{"properties":{"b":{"type":"string","maxLength":3},"a":{"minimum":5,"maximum":77}},"required":["b"]}}}"##,
    ##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["value","next"],"additionalProperties":false}}}"##,
    ##"{"type":"array","prefixItems":[{"type":"integer"},{"type":"string","maxLength":2},{"type":"boolean"}],"items":{"type":"null"},"minItems":2,"maxItems":5}"##,
    ##"{"type":"array","prefixItems":[{"const":1},{"const":2}],"items":false}"##,
    ##"{"type":"string","pattern":"^[A-Z]{2}\\d{3}(-\\w+)?$"}"##,
    ##"{"type":"string","pattern":"^b\"[^\"x]é+"}"##,
    ##"{"type":"string","format":"date-time"}"##,
    ##"{"type":"string","format":"uuid"}"##,
    ##"{"type":"string","format":"email"}"##,
    ##"{"type":"string","format":"ipv4"}"##,
    ##"{"type":"string","format":"ipv6"}"##,
    ##"{"type":"string","format":"uri"}"##,
    ##"{"type":"string","format":"time"}"##,
    ##"{"type":"string","format":"hostname"}"##,
    ##"{"type":"number","minimum":-3,"exclusiveMaximum":12}"##,
    ##"{"type":"number","exclusiveMinimum":0,"maximum":1}"##,
    ##"{"type":"number","maximum":-7}"##,
    ##"{"type":"number","multipleOf":1,"minimum":0}"##,
    ##"{"type":"integer","minimum":-1000,"maximum":-37}"##,
    ##"{"type":"integer","exclusiveMinimum":99.5,"maximum":10000}"##,
    ##"{"type":["string","null","integer"],"maxLength":4,"minimum":3}"##,
    ##"{"minLength":2,"maxLength":3}"##,
    ##"{"type":"integer","nullable":true,"description":"d"}"##,
    ##"{"type":"object","properties":{"a":{"type":"integer"},"ab":{"type":"string","maxLength":2}},"additionalProperties":true}"##,
    ##"{"type":"object","properties":{"p":false,"q":{"type":"boolean"}},"additionalProperties":false}"##,
    ##"{"enum":["a",1,null,[],{"b":2}]}"##,
    ##"{"const":{"z":1,"a":[true]}}"##,
    ##"{"type":"object","properties":{"m":{"type":"object","properties":{"n":{"type":"object","properties":{"o":{"type":"array","items":{"type":"array","items":{"type":"number"},"maxItems":2},"maxItems":2}},"required":["o"]}},"required":["n"]}},"required":["m"]}"##,
  ]

  /// Texts that are drawn at random from the masks, against the reference validator.
  @Test func everythingThatIsDrawnIsValid() throws {
    var random = SplitMix64(seed: 3)
    var cases: [JSONValue] = []
    for schema in Self.schemas {
      let grammar = try GrammarSource.jsonSchema(schema).compile(trie)
      var done = 0
      for _ in 0..<120 {
        guard let text = try sample(grammar, &random) else { continue }
        done += 1
        let string = try #require(String(validating: text, as: UTF8.self))
        _ = try JSONValue(parsing: string)
        cases.append([try JSONValue(parsing: schema), .string(string)])
      }
      #expect(done > 110, "\(schema): \(done) texts ended")
    }
    guard Peers.python != nil else { return }
    let folder = TemporaryDirectory("schemas")
    try JSONEncoder().encode(cases).write(to: URL(fileURLWithPath: folder.file("cases.json")))
    let answer = try Peers.run(
      """
      import json, sys
      try:
          import jsonschema
      except ImportError:
          print("bad 0")
          sys.exit()
      from jsonschema import Draft202012Validator as V
      bad, validators = 0, {}
      for schema, text in json.load(open(sys.argv[1])):
          key = json.dumps(schema)
          if isinstance(schema, dict) and schema.get("nullable"): schema = {"anyOf": [schema, {"type": "null"}]}
          v = validators.setdefault(key, V(schema, format_checker=V.FORMAT_CHECKER))
          value = json.loads(text)
          for e in v.iter_errors(value):
              bad += 1
              print(key[:200], text[:200], e.message[:200])
              break
      print("bad", bad)
      """, [folder.file("cases.json")])
    #expect(answer.contains("bad 0"), "\(answer.suffix(2000))")
  }

  @Test func theJSONObjectModeGivesObjects() throws {
    var random = SplitMix64(seed: 9)
    let grammar = try GrammarSource.jsonObject.compile(trie)
    for _ in 0..<300 {
      guard let text = try sample(grammar, &random) else { continue }
      #expect(try JSONValue(parsing: String(decoding: text, as: UTF8.self)).objectValue != nil)
    }
  }

  static let patterns = [
    "abc", "a|b|cd", "(foo|ba[rz])+x?", "[^a-c]{2,4}", "\\d{3}-\\d{4}", "(?:é|日){1,3}\\.", "\\w+@\\w+\\.com", "[a-f0-9]{8}", "x{0,2}y{1,}z{2}",
    "\\x41\\u00e9\\t?",
    "([0-9]|[1-9][0-9]){1,2}", "", "a?b?c?", "[\\w\\-.]+", "^start.*end$", "[\\]\\[^-]+",
  ]

  @Test func expressionsAreReadAsPythonReadsThem() throws {
    var random = SplitMix64(seed: 4)
    var cases: [JSONValue] = []
    for pattern in Self.patterns {
      let grammar = try GrammarSource.regex(pattern).compile(trie)
      for _ in 0..<40 {
        guard let text = try sample(grammar, &random) else { continue }
        let string = try #require(String(validating: text, as: UTF8.self))
        cases.append([.string(pattern), .string(string), true])
        // A changed text, which may match or not: both have to say the same.
        var other = Array(string.unicodeScalars)
        if !other.isEmpty { other[Int(random.next() % UInt64(other.count))] = ["a", "z", "0", ".", "é"][Int(random.next() % 5)] }
        let changed = String(String.UnicodeScalarView(other))
        cases.append([.string(pattern), .string(changed), .bool(try accepts(.regex(pattern), changed))])
      }
    }
    guard Peers.python != nil else { return }
    let folder = TemporaryDirectory("patterns")
    try JSONEncoder().encode(cases).write(to: URL(fileURLWithPath: folder.file("cases.json")))
    let answer = try Peers.run(
      """
      import json, re, sys
      bad = [c for c in json.load(open(sys.argv[1])) if (re.fullmatch(c[0], c[1], re.ASCII) is not None) != c[2]]
      print("bad", len(bad), bad[:5])
      """, [folder.file("cases.json")])
    #expect(answer.contains("bad 0"), "\(answer.suffix(2000))")
  }

  @Test func masksSayWhatEachTokenWouldSay() throws {
    var random = SplitMix64(seed: 5)
    for schema in [Self.schemas[4], Self.schemas[11], Self.schemas[0]] {
      let grammar = try GrammarSource.jsonSchema(schema).compile(trie)
      guard let text = try sample(grammar, &random) else { continue }
      var state = GrammarState(grammar)
      for byte in text.prefix(60) {
        let mask = try state.mask()
        for (id, token) in vocabulary.enumerated() {
          var copy = state
          #expect(try copy.advance(token) == mask.contains(Int32(id)))
        }
        #expect(try state.advance([byte]))
      }
    }
  }

  @Test func notationsAndChoices() throws {
    let grammar = GrammarSource.notation(
      """
      # sums
      root ::= term ("+" term)*   # at least one
      term ::= number | "(" root ")"
      number ::= [0-9]{1,3} ("." [0-9]+)?
      """)
    for (text, holds) in [("1", true), ("12+(3+4.5)", true), ("1+", false), ("1234", false), ("(1", false), ("((7))", true)] {
      #expect(try accepts(grammar, text) == holds, "\(text)")
    }
    #expect(try accepts(.choice(["yes", "no", "yesterday"]), "yes") && accepts(.choice(["yes", "no", "yesterday"]), "yesterday"))
    #expect(try !accepts(.choice(["yes", "no"]), "ye"))
    let calls = GrammarSource.framed(
      .init(
        opening: "",
        frames: [.init(before: "<call>f ", schema: ##"{"type":"integer"}"##, after: "</call>"), .init(before: "<call>g ", schema: "true", after: "</call>")],
        separator: "\n", closing: "", maximum: 2))
    #expect(try accepts(calls, "<call>f 12</call>") && accepts(calls, "<call>g []</call>\n<call>f -1</call>"))
    #expect(try !accepts(calls, "<call>f []</call>") && !accepts(calls, ""))
  }

  @Test func whatCannotBeKeptIsRefusedByName() throws {
    for (schema, number) in [
      (##"{"not":{}}"##, "PLT-5244"), (##"{"type":"strin"}"##, "PLT-5244"), (##"{"type":"object","patternProperties":{}}"##, "PLT-5244"), ("5", "PLT-5244"),
      (##"{"$ref":"http://x"}"##, "PLT-5244"), (##"{"$ref":"#/$defs/a"}"##, "PLT-5244"), (##"{"type":"string","format":"zip"}"##, "PLT-5244"),
      (##"{"type":"array","uniqueItems":true}"##, "PLT-5244"), (##"{"oneOf":[{"type":"integer"},{"type":"number"}]}"##, "PLT-5244"),
      (##"{"type":"string","minLength":3,"maxLength":2}"##, "PLT-5241"), ("false", "PLT-5241"), (##"{"type":"integer","minimum":3,"maximum":2}"##, "PLT-5241"),
      (##"{"$ref":"#"}"##, "PLT-5241"), (##"{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}"##, "PLT-5241"),
      (##"{"allOf":[{"$ref":"#"}]}"##, "PLT-5244"), (##"{"type":"string","maxLength":1000000}"##, "PLT-5242"),
      (##"{"type":"string","pattern":"(?=a)"}"##, "PLT-5240"),
    ] {
      #expect(refusal(.jsonSchema(schema)) == number, "\(schema)")
    }
    for pattern in ["(a", "a)", "[a", "*a", "\\1", "a(?=b)", "\\bx", "a{3,1}", "(a{1000}){1000}", "x^"] {
      #expect(["PLT-5240", "PLT-5242"].contains(refusal(.regex(pattern))), "\(pattern)")
    }
    for notation in ["", "a ::= b", "root ::= root \"a\"", "root ::= x", "root ::= \"a", "root ::= ()) ", "root ::= [z-a]", "root ::= a\na ::= b?  a"] {
      #expect(refusal(.notation(notation)).hasPrefix("PLT-52"), "\(notation)")
    }
    #expect(refusal(.choice([])) == "PLT-5242")
  }

  /// Changed schemas, expressions and grammars: refused or usable, never a crash.
  @Test func changedSourcesNeverCrash() throws {
    var random = SplitMix64(seed: 11)
    func below(_ n: Int) -> Int { Int(random.next() % UInt64(n)) }
    let sources = Self.schemas.map { ($0, 0) } + Self.patterns.map { ($0, 1) } + [("root ::= a (\"b\" | [c-d]*){2} \na ::= \"x\" a?", 2)]
    var usable = 0
    for round in 0..<1500 {
      var (text, kind) = sources[round % sources.count]
      var bytes = Array(text.utf8)
      for _ in 0...below(3) where !bytes.isEmpty {
        switch below(4) {
        case 0: bytes.remove(at: below(bytes.count))
        case 1: bytes[below(bytes.count)] = Array("{}[]\"\\,:0129-^$*+?()|.a".utf8)[below(23)]
        case 2: bytes.insert(Array("{}[]\"\\,:0129-^$*+?()|.a".utf8)[below(23)], at: below(bytes.count))
        default:
          let start = below(bytes.count)
          bytes.insert(contentsOf: bytes[start..<min(bytes.count, start + below(20))], at: below(bytes.count))
        }
      }
      text = String(decoding: bytes, as: UTF8.self)
      let source: GrammarSource = kind == 0 ? .jsonSchema(text) : kind == 1 ? .regex(text) : .notation(text)
      do {
        var state = GrammarState(try source.compile(trie))
        usable += 1
        for _ in 0..<12 {
          let mask = try state.mask()
          let allowed = (0..<Int32(vocabulary.count)).filter { mask.contains($0) }
          guard !allowed.isEmpty else { break }
          #expect(try state.advance(vocabulary[Int(allowed[below(allowed.count)])]))
        }
      } catch is PlatformError {}  // refused
    }
    #expect(usable > 150)
  }
}
