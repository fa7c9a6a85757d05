// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar

extension FuzzTarget {
  private static let vocabulary: [[UInt8]] =
    (0...255).map { [UInt8($0)] } + ["{\"", "\":", "\",", "true", "null", "the", " the", "00", "12", "}}", "]}", "é", "日本", "\"}"].map { Array($0.utf8) }
  private static let trie = TokenTrie(vocabularySize: vocabulary.count) { vocabulary[Int($0)] }

  /// The first byte says of what kind the rest is.
  static let grammar = FuzzTarget(
    name: "grammar",
    samples: {
      [
        (
          "0",
          #"{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":12},"age":{"type":"integer","minimum":0,"maximum":150},"tags":{"type":"array","items":{"enum":["a",3,null,{"x":[1.5]}]},"maxItems":3}},"required":["name","age"],"additionalProperties":false}"#
        ),
        (
          "0",
          ##"{"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"value":{"type":"number","exclusiveMinimum":-13,"maximum":12},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["value","next"]}}}"##
        ),
        (
          "0",
          #"{"allOf":[{"type":"object","properties":{"a":{"type":"string","pattern":"^[A-Z]{2}\\d{3}(-\\w+)?$"}},"required":["a"]},{"properties":{"b":{"type":"object","propertyNames":{"pattern":"^[a-z]{1,3}$"},"additionalProperties":{"type":"boolean"},"minProperties":1}}}]}"#
        ),
        (
          "0",
          #"{"anyOf":[{"type":"string","format":"date-time"},{"type":"array","prefixItems":[{"const":1},{"format":"email","type":"string"}],"items":false,"minItems":1},{"type":["string","null"],"maxLength":4}]}"#
        ),
        ("1", #"^(?:[a-c]{2,5}|\d+(?:\.\d*)?|é\x41)(?:x|y)*?$"#), ("1", #"[^\s"\\]+@[\w.-]+\.(com|org)"#),
        (
          "2",
          "root ::= item (\",\" ws item)*\nitem ::= [a-z]{1,4} | \"\\\"\" [^\"\\x00-\\x1F]* \"\\\"\" | num\nnum ::= \"-\"? [0-9]+ # number\nws ::= [ \\t]?\n"
        ),
        ("3", "yes\nno\nmaybe"), ("4", "<call>\u{1}{\"type\":\"integer\"}\u{1}</call>\u{1}2"),
      ].map { Array(($0.0 + $0.1).utf8) }
    },
    words: [
      "\"type\":\"", "\"$ref\":\"#\"", "\"anyOf\":[", "\"allOf\":[", "\"not\":{", "\"pattern\":\"", "\"format\":\"uuid\"", "\"minimum\":", "\"maximum\":1e308",
      "\"multipleOf\":", "\"minItems\":99999", "\"maxLength\":99999", "\"enum\":[", "\"const\":", "\"if\":{", "\"additionalProperties\":",
      "\"uniqueItems\":true",
      "\"patternProperties\":{", "::=", "root ::= root", "{99,}", "{0,9999}", "(?=", "\\b", "\\1", "[^", "[z-a]", "(?:", "*?", "++", "\\p{Lu}", "\\u{10FFFF}",
      ".*.*",
    ]
  ) { bytes in
    guard let kind = bytes.first else { return }
    let text = String(decoding: bytes.dropFirst(), as: UTF8.self)
    let source: GrammarSource
    switch kind {
    case UInt8(ascii: "0"): source = .jsonSchema(text)
    case UInt8(ascii: "1"): source = .regex(text)
    case UInt8(ascii: "2"): source = .notation(text)
    case UInt8(ascii: "3"): source = .choice(text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
    default:
      let parts = text.split(separator: "\u{1}", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 4 else { return }
      let frame = GrammarSource.Framed.Frame(before: parts[0], schema: parts[1], after: parts[2])
      source = .framed(.init(opening: "", frames: [frame, frame], separator: ",", closing: "!", maximum: Int(parts[3])))
    }
    let grammar = try source.compile(trie)
    // Two texts of what it allows, by no more than the bytes themselves.
    for start in 0..<2 {
      var state = GrammarState(grammar)
      var random = SplitMix64(seed: UInt64(bytes.count + start))
      for _ in 0..<24 {
        let mask = try state.mask()
        let goesOn = try state.ends().goesOn
        try hold(mask.isEmpty != goesOn, "a text that \(goesOn ? "goes" : "does not go") on has \(mask.count) next tokens")
        guard goesOn else { break }
        let place = Int32(random.next() % UInt64(vocabulary.count))
        guard let token = (place..<Int32(vocabulary.count)).first(where: mask.contains) ?? (0..<place).first(where: mask.contains) else { break }
        try hold(try state.advance(vocabulary[Int(token)]), "an allowed token does not fit")
      }
    }
  }
}
