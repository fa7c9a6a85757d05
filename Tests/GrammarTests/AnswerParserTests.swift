// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Grammar

@Suite struct AnswerParserTests {
  /// Pieces of one kind that follow each other as one.
  private func joined(_ pieces: [AnswerParser.Piece]) -> [AnswerParser.Piece] {
    pieces.reduce(into: []) { result, piece in
      switch (result.last, piece) {
      case (.content(let first), .content(let second)): result[result.count - 1] = .content(first + second)
      case (.reasoning(let first), .reasoning(let second)): result[result.count - 1] = .reasoning(first + second)
      case (.arguments(let first), .arguments(let second)): result[result.count - 1] = .arguments(first + second)
      default: result.append(piece)
      }
    }
  }

  /// Every way of cutting the text in two, and the one into single characters, gives the same.
  private func read(_ text: String, _ fresh: AnswerParser) -> [AnswerParser.Piece] {
    func run(_ parts: [String]) -> [AnswerParser.Piece] {
      var parser = fresh
      return joined(parts.flatMap { parser.push($0) } + parser.finish())
    }
    let whole = run([text])
    let scalars = text.unicodeScalars.map { String($0) }
    for cut in 0...scalars.count {
      #expect(run([scalars[..<cut].joined(), scalars[cut...].joined()]) == whole, "\(text) cut at \(cut)")
    }
    #expect(run(scalars) == whole, "\(text) in characters")
    return whole
  }

  @Test(arguments: [false, true]) func callsOfEachFormatAreRead(isConstrained: Bool) {
    let a = #"{"x": "ä\"}", "l": [1, {"y": 2}]}"#
    let cases: [(ToolCallFormat, String)] = [
      (.hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": \(a)}\n</tool_call>\n<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"),
      (.llama3, "{\"name\": \"f\", \"parameters\": \(a)}; {\"name\": \"g\", \"parameters\": {}}"),
      (.llama3, "<|python_tag|>{\"name\": \"f\", \"parameters\": \(a)}; {\"name\": \"g\", \"parameters\": {}}\n"),
      (.mistral, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": \(a)}, {\"name\": \"g\", \"arguments\": {}}]"),
      (.granite, "<|tool_call|> [{\"name\": \"f\", \"arguments\": \(a)}, {\"name\": \"g\", \"arguments\": {}}]<|/tool_call|>"),
    ]
    for (format, text) in cases {
      let parser = AnswerParser(reasoning: .none, format: format, names: ["f", "g"], isConstrained: isConstrained)
      #expect(read(text, parser) == [.call(name: "f"), .arguments(a), .call(name: "g"), .arguments("{}")], "\(format)")
      let single = AnswerParser(reasoning: .none, format: format, names: ["f", "g"], isConstrained: isConstrained, isParallel: false)
      #expect(read(text, single) == [.call(name: "f"), .arguments(a)], "\(format)")
    }
  }

  @Test func whatIsNoCallStaysContent() {
    let parser = AnswerParser(reasoning: .none, format: .hermes, names: ["f"])
    for text in [
      "plain <tool> text \n", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": }}\n</tool_call> ä", "<tool_call>{\"name\": \"h\", \"arguments\": {}}",
      "<tool_call>{\"name\": \"f\", \"argu", "a <tool_call> b", "<tool_call>", "<tool_", " \n", "<tool_call>{\"name\": \"f\", \"arguments\": 5}",
    ] {
      #expect(read(text, parser) == [.content(text)])
    }
    #expect(
      read("Let me see.\n\n<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>\n", parser) == [
        .content("Let me see."), .call(name: "f"), .arguments(#"{"a": 1}"#),
      ])
    let llama = AnswerParser(reasoning: .none, format: .llama3, names: ["f"])
    for text in ["{\"answer\": 5}", "Say {\"name\": \"f\", \"parameters\": {}}", "{\"name\": \"f\"", "<|python"] {
      #expect(read(text, llama) == [.content(text)])
    }
    #expect(read("{\"name\": \"f\", \"arguments\": {}}", AnswerParser(reasoning: .none)) == [.content("{\"name\": \"f\", \"arguments\": {}}")])
  }

  @Test func argumentsThatAGrammarMakesSureOfComePieceByPiece() {
    var parser = AnswerParser(reasoning: .none, format: .llama3, names: ["f"], isConstrained: true)
    #expect(parser.push("{\"name\": \"f\", \"parameters\": {\"a") == [.call(name: "f"), .arguments("{\"a")])
    #expect(parser.push("\": 1") == [.arguments("\": 1")])
    #expect(parser.push("}}") == [.arguments("}")])
    #expect(parser.finish() == [] && parser.callCount == 1)
  }

  @Test func reasoningIsTakenApart() {
    #expect(read("\nwell <b> \n</think>\n\nYes. ", AnswerParser(reasoning: .opened)) == [.reasoning("well <b>"), .content("Yes. ")])
    #expect(read("<think>\nwell\n</think>\n\nYes", AnswerParser(reasoning: .tagged)) == [.reasoning("well"), .content("Yes")])
    #expect(read("Yes</think>", AnswerParser(reasoning: .tagged)) == [.content("Yes</think>")])
    #expect(read("well", AnswerParser(reasoning: .opened)) == [.reasoning("well")])
    #expect(read("<thin", AnswerParser(reasoning: .tagged)) == [.content("<thin")])
    let call = "<think>so</think>\n<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>"
    #expect(
      read(call, AnswerParser(reasoning: .tagged, format: .hermes, names: ["f"])) == [.reasoning("so"), .call(name: "f"), .arguments("{}")])
  }

  @Test func templatesTellTheirForm() {
    #expect(ToolCallFormat(template: "{% for m in messages %}") == nil)
    #expect(ToolCallFormat(template: "{{ tools }} <tool_call>{\"parameters\": 1}") == .hermes)
    #expect(ToolCallFormat(template: "{{ tools }} [TOOL_CALLS]") == .mistral)
    #expect(ToolCallFormat(template: "{{ tools }} {\"name\": n, \"parameters\": p}") == .llama3)
    let template = "{{ tools }}</think>"
    #expect(ReasoningForm(template: template, prompt: "a<think>\n") == .opened)
    #expect(ReasoningForm(template: template, prompt: "a<think>\n\n</think>\n\n") == .none)
    #expect(ReasoningForm(template: template, prompt: "assistant:") == .tagged)
    #expect(ReasoningForm(template: "x", prompt: "a<think>") == .none)
  }

  @Test func grammarsBeginBehindTheReasoning() throws {
    let source = GrammarSource.choice(["yes", "no"])
    func accepts(_ source: GrammarSource, _ text: String) throws -> Bool {
      let vocabulary = (0..<256).map { [UInt8($0)] }
      var state = GrammarState(try source.compile(TokenTrie(vocabularySize: 256) { vocabulary[Int($0)] }))
      for byte in text.utf8 where !(try state.advance([byte])) { return false }
      return try state.ends().accepts
    }
    for text in ["a<b</thi</think>yes", "</think>\n\nno", "<<</</think>yes"] { #expect(try accepts(ReasoningForm.opened.behind(source), text), "\(text)") }
    for text in ["yes", "a</think>maybe", "a"] { #expect(try !accepts(ReasoningForm.opened.behind(source), text), "\(text)") }
    for text in ["yes", "<think>yes</think>no"] { #expect(try accepts(ReasoningForm.tagged.behind(source), text), "\(text)") }
    for format in ToolCallFormat.allCases {
      let calls = format.calls([("f", #"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#)], isParallel: true)
      let key = format == .llama3 ? "parameters" : "arguments"
      let one = #"{"name": "f", "\#(key)": {"a":1}}"#
      let text =
        switch format {
        case .hermes: "<tool_call>\n\(one)\n</tool_call>\n<tool_call>\n\(one)\n</tool_call>"
        case .llama3: "\(one); \(one)"
        case .mistral: "[TOOL_CALLS][\(one), \(one)]"
        case .granite: "<|tool_call|>[\(one), \(one)]"
        }
      #expect(try accepts(calls, text), "\(format)")
      var parser = AnswerParser(reasoning: .none, format: format, names: ["f"], isConstrained: true)
      #expect(joined(parser.push(text) + parser.finish()).filter { $0 == .call(name: "f") }.count == 2)
    }
  }
}
