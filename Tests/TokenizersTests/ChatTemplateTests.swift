// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Tokenizers

/// Every template here is also rendered by jinja2 with the environment that `transformers` makes; text and refusals must agree.
@Suite struct ChatTemplateTests {
  /// Renders `[template, context as JSON]` pairs: `"=" + text`, or `"!" + what was raised by raise_exception`, or `"?"` for other errors.
  static let reference = """
    import sys, json
    from transformers.utils.chat_template_utils import _compile_jinja_template
    import jinja2
    out = []
    for template, context in json.load(open(sys.argv[1])):
        try:
            values = json.loads(context)
            out.append("=" + _compile_jinja_template(template).render(**values))
        except jinja2.exceptions.TemplateError as e:
            out.append(("!" + str(e)) if type(e) is jinja2.exceptions.TemplateError else "?")
        except Exception as e:
            out.append("?")
    json.dump(out, open(sys.argv[1] + ".out", "w"))
    """

  static func ours(_ template: String, _ context: String) -> String {
    do {
      return "=" + (try ChatTemplate(template).render(contextJSON: Array(context.utf8)).text)
    } catch let error as PlatformError where error.number == "PLT-4123" {
      return "!" + error.message
    } catch {
      return "?"
    }
  }

  static func theirs(_ cases: [(String, String)]) throws -> [String] {
    let folder = TemporaryDirectory("templates")
    let path = folder.file("cases.json")
    try JSONEncoder().encode(cases.map { [$0.0, $0.1] }).write(to: URL(fileURLWithPath: path))
    _ = try Peers.run(reference, [path])
    return try JSONDecoder().decode([String].self, from: Data(contentsOf: URL(fileURLWithPath: path + ".out")))
  }

  static func compare(_ cases: [(String, String)]) throws -> Int {
    let expected = try theirs(cases)
    var same = 0
    for ((template, context), wanted) in zip(cases, expected) {
      let got = ours(template, context)
      // Texts are compared byte by byte: Swift would call a letter with a separate accent equal to the composed one.
      let isSame = got.utf8.elementsEqual(wanted.utf8)
      #expect(isSame, "\(template)\nwith \(context)\ngives \(got.debugDescription)\nnot   \(wanted.debugDescription)")
      if isSame { same += 1 }
    }
    return same
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func piecesOfTemplates() throws {
    let context = #"""
      {"n": 7, "x": 2.5, "t": true, "no": null, "s": "Hello, World", "e": "", "u": "e\u0301té \u00e9 😀\r\nend", "l": [3, 1, 2], "w": ["b", "A", "c"],
       "d": {"b": 1, "a": [true, null, 1.0, "q\"'"], "items": 5}, "rows": [{"k": "x", "v": 2, "c": [{"k": "y"}]}, {"k": "X", "v": 1}, {"v": 3}],
       "messages": [{"role": "system", "content": " be kind "}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}], "bos_token": "<s>"}
      """#
    let count = try Self.compare(Self.pieces.map { ($0, context) })
    #expect(count == Self.pieces.count)
  }

  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func wholeTemplates() throws {
    var cases: [(String, String)] = []
    for template in Self.conversations { for context in Self.contexts { cases.append((template, context)) } }
    #expect(try Self.compare(cases) == cases.count)
  }

  /// Random expressions over random values.
  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func randomExpressions() throws {
    var random = SplitMix64(seed: 11)
    let cases = (0..<1500).map { _ in ("{{ \(Self.expression(&random, 3)) }}", Self.values) }
    #expect(try Self.compare(cases) == cases.count)
  }

  /// Random text around random statements, to compare white space.
  @Test(.enabled(if: Peers.python != nil, "no peer environment")) func randomWhiteSpace() throws {
    var random = SplitMix64(seed: 12)
    let cases = (0..<1000).map { _ in (Self.block(&random, 3), Self.values) }
    #expect(try Self.compare(cases) == cases.count)
  }

  @Test func limits() {
    let greedy = [
      "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "{{ 'x' * 100000000000 }}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
      "{% for i in range(99999) %}{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa' }}{% endfor %}",
    ]
    for template in greedy {
      let error = #expect(throws: PlatformError.self) { try ChatTemplate(template).render(contextJSON: Array("{}".utf8)) }
      #expect(error?.number == "PLT-4122", "\(template): \(String(describing: error))")
    }
    for nested in [
      String(repeating: "(", count: 10_000), String(repeating: "{% if x %}", count: 5000), "{{ " + String(repeating: "not ", count: 5000) + "x }}",
    ] {
      #expect(throws: PlatformError.self) { try ChatTemplate(nested.hasPrefix("(") ? "{{ \(nested) }}" : nested) }
    }
  }

  @Test func faultsNameTheirLine() {
    let error = #expect(throws: PlatformError.self) { try ChatTemplate("a\n{% if x %}\n{{ 1 + }}") }
    #expect(error?.message.contains("line 3") == true, "\(String(describing: error))")
    let late = #expect(throws: PlatformError.self) { try ChatTemplate("a\n\n{{ x.y }}").render([:]) }
    #expect(late?.message == "chat template, line 3: 'x' is undefined")
  }

  @Test func assistantRanges() throws {
    let template = try ChatTemplate("{% for m in ms %}<{{ m.r }}>{% generation %}{{ m.c }}{% endgeneration %}{{ '\n' }}{% endfor %}")
    let rendering = try template.render(["ms": [["r": "a", "c": "één"], ["r": "b", "c": "x"]]])
    #expect(rendering.text == "<a>één\n<b>x\n")
    #expect(rendering.assistantRanges.map { Array(Array(rendering.text.utf8)[$0]) } == [Array("één".utf8), Array("x".utf8)])
  }

  @Test func fuzzedTemplatesNeverCrash() {
    var random = SplitMix64(seed: 5)
    let seeds = Self.conversations.map { Array($0.utf8) }
    for _ in 0..<1000 {
      var bytes = seeds[random.below(seeds.count)]
      for _ in 0..<(1 + random.below(6)) {
        let place = random.below(bytes.count)
        switch random.below(3) {
        case 0: bytes[place] = Array("{}%#-+'\"()[]|.,~=!ax0 \n".utf8)[random.below(23)]
        case 1: bytes.remove(at: place)
        default: bytes.insert(contentsOf: bytes[place..<min(bytes.count, place + random.below(12))], at: random.below(bytes.count))
        }
      }
      _ = Self.ours(String(decoding: bytes, as: UTF8.self), Self.contexts[random.below(Self.contexts.count)])
    }
  }
}

extension SplitMix64 {
  fileprivate mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
  fileprivate mutating func pick(_ items: [String]) -> String { items[below(items.count)] }
}

extension ChatTemplateTests {
  static let values =
    #"{"a": 3, "b": -2, "f": 1.5, "s": "Hello", "p": "a b  c ", "e": "", "l": [1, 2, 3], "w": ["x", "Yy", "z"], "d": {"k": "v", "n": 1}, "z": null, "y": true, "m": [{"k": "v", "n": 2}, {"k": "w", "n": 1}]}"#

  static func expression(_ random: inout SplitMix64, _ depth: Int) -> String {
    guard depth > 0 else {
      return random.pick([
        "a", "b", "f", "s", "p", "e", "l", "w", "d", "z", "y", "m", "missing", "1", "0", "2.0", "'q'", "\"it's\"", "[]", "(1, 'a')", "{'k': 1}", "none", "true",
      ])
    }
    func inner() -> String { expression(&random, depth - 1) }
    switch random.below(12) {
    case 0: return "(\(inner()) \(random.pick(["+", "-", "*", "/", "//", "%"])) \(inner()))"
    case 1: return "(\(inner()) ~ \(inner()))"
    case 2: return "(\(inner()) \(random.pick(["==", "!=", "<", ">", "<=", ">=", "in", "not in"])) \(inner()))"
    case 3: return "(\(inner()) \(random.pick(["and", "or"])) \(inner()))"
    case 4: return "(not \(inner()))"
    case 5: return "(\(inner()) if \(inner()) else \(inner()))"
    case 6:
      return
        "(\(inner()) is \(random.pick(["defined", "none", "string", "mapping", "number", "iterable", "sequence", "boolean", "integer", "float", "true", "undefined", "callable"])))"
    case 7:
      return
        "(\(inner())|\(random.pick(["length", "first", "last", "upper", "lower", "title", "capitalize", "trim", "list", "string", "int", "float", "tojson", "join('-')", "default('D')", "default('D', true)", "reverse|list", "unique|list", "sort", "sum", "min", "max", "abs", "items|list", "tojson(indent=2)", "replace('l', 'L')", "map('string')|join", "select|list", "reject('none')|list", "batch(2)|list", "indent", "dictsort", "wordcount", "e", "round", "map(attribute='k')|list", "selectattr('n')|list", "selectattr('k', 'equalto', 'v')|list", "groupby('k')", "count"])))"
    case 8: return "(\(inner()))[\(inner())]"
    case 9:
      return
        "(\(inner())).\(random.pick(["k", "n", "items()", "strip()", "split()", "upper()", "keys()|list", "get('k')", "startswith('H')", "title()", "split('l')", "replace('l', '')", "missing", "count('l')", "splitlines()", "rstrip()", "find('l')", "isdigit()"]))"
    // Only of sequences: the reference slices a constant number without complaint, and a variable one not.
    case 10: return "\(random.pick(["s", "p", "l", "w", "m", "e"]))[\(random.pick(["1:", ":1", "::-1", ":-1", "-2:", "1:2", "::2"]))]"
    default: return inner()
    }
  }

  static func block(_ random: inout SplitMix64, _ depth: Int) -> String {
    func space() -> String { random.pick(["", " ", "\n", "  \n", "\n  ", "\t", " x ", "x\n", "\nx", "\r\n"]) }
    func open() -> String { random.pick(["{%", "{%-", "{%+", "{%"]) }
    func close() -> String { random.pick(["%}", "-%}", "%}", "+%}"]) }
    var out = space()
    for _ in 0..<(1 + random.below(3)) {
      let body = depth > 0 ? block(&random, depth - 1) : "b"
      switch random.below(7) {
      case 0: out += "\(open()) if \(random.pick(["y", "e"])) \(close())\(body)\(open()) else \(close())\(space())\(open()) endif \(close())"
      case 1: out += "\(open()) for i in l \(close())\(body)\(random.pick(["", "{{ loop.index }}", "{{- i -}}"]))\(open()) endfor \(close())"
      case 2: out += "\(random.pick(["{{", "{{-"])) s \(random.pick(["}}", "-}}"]))"
      case 3: out += "\(random.pick(["{#", "{#-", "{#+"])) c \(random.pick(["#}", "-#}", "+#}"]))"
      case 4: out += "\(open()) set q = 1 \(close())"
      case 5: out += "\(open()) raw \(close())\(space()){{ x }}\(space())\(random.pick(["{%", "{%-"])) endraw \(close())"
      default: out += "\(open()) set q \(close())\(body)\(open()) endset \(close())[{{ q }}]"
      }
      out += space()
    }
    return out
  }
}
