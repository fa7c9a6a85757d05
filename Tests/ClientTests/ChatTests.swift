// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Testing

@Suite struct ChatTests {
  @Test func linesAndCommands() {
    let cases: [(String, ChatLine)] = [
      ("  ", .nothing), (" hello there ", .say("hello there")), ("/bye", .bye), (" /exit ", .bye), ("/?", .help), ("/show", .show), ("/clear", .clear),
      ("/set temperature 0.2", .set(name: "temperature", value: "0.2")), ("/set seed", .set(name: "seed", value: nil)),
      ("/set system You are  brief.", .set(name: "system", value: "You are  brief.")), ("/save my talk.json", .save("my talk.json")), ("/load x", .load("x")),
    ]
    for (text, meaning) in cases { #expect(ChatLine(text) == meaning, "\(text)") }
    for text in ["/nonsense", "/save", "/load ", "/set"] {
      guard case .wrong = ChatLine(text) else {
        Issue.record("\(text)")
        continue
      }
    }
  }

  @Test func messagesOfSeveralLines() {
    var lines = ChatLines()
    #expect(lines.feed("one") == .say("one"))
    #expect(lines.feed("\"\"\"first") == nil && lines.isOpen)
    #expect(lines.feed("  /bye is text here") == nil)
    #expect(lines.feed("last\"\"\"") == .say("first\n  /bye is text here\nlast") && !lines.isOpen)
    #expect(lines.feed("\"\"\"all in one\"\"\"") == .say("all in one"))
    #expect(lines.feed("\"\"\"") == nil)
    #expect(lines.feed("\"\"\"") == .nothing)
    _ = lines.feed("\"\"\"dropped")
    lines.cancel()
    #expect(lines.feed("/show") == .show)
  }

  @Test func settingsAreOfTheirKind() throws {
    var dialogue = ChatDialogue(models: ["a"])
    try dialogue.set("temperature", "0.5")
    try dialogue.set("max_tokens", "7")
    try dialogue.set("stop", "END")
    #expect(dialogue.settings == ["temperature": 0.5, "max_tokens": 7, "stop": ["END"]])
    try dialogue.set("stop", #"["a", "b c"]"#)
    #expect(dialogue.settings["stop"] == ["a", "b c"])
    try dialogue.set("stop", nil)
    #expect(dialogue.settings["stop"] == .none)
    for (name, text) in [("temperature", "warm"), ("seed", "1.5"), ("colour", "red"), ("top_p", "inf")] {
      #expect(throws: PlatformError.self) { try dialogue.set(name, text) }
    }
  }

  @Test func eachModelRemembersItsOwnAnswers() throws {
    var dialogue = ChatDialogue(models: ["a", "b"], settings: ["seed": 3])
    dialogue.system = "be brief"
    dialogue.ask("one")
    dialogue.answer("A1", by: "a")
    dialogue.ask("two")
    func roles(_ model: String) -> [String] {
      (dialogue.request(to: model)["messages"]?.arrayValue ?? []).map { "\($0["role"]?.stringValue ?? "") \($0["content"]?.stringValue ?? "")" }
    }
    #expect(roles("a") == ["system be brief", "user one", "assistant A1", "user two"])
    #expect(roles("b") == ["system be brief", "user two"])  // what it did not answer would be two questions in a row
    #expect(dialogue.request(to: "b")["seed"] == 3 && dialogue.request(to: "b")["stream"] == true)
    dialogue.dropUnanswered()
    #expect(dialogue.turns.map(\.question) == ["one"])

    var other = ChatDialogue(models: ["a"])
    try other.restore(dialogue.saved, path: "talk.json")
    #expect(other.turns == dialogue.turns && other.settings == dialogue.settings && other.system == "be brief" && other.models == ["a"])
    let wrong: [JSONValue] = [[], ["settings": [:]], ["settings": ["colour": 1], "turns": []], ["settings": [:], "turns": [["question": 1]]]]
    for json in wrong {
      let before = other
      #expect(throws: PlatformError.self) { try other.restore(json, path: "x") }
      #expect(other == before)
    }
    other.clear()
    #expect(other.turns.isEmpty && other.system == "be brief")
  }

  @Test func textsStandSideBySide() {
    #expect(!SideBySide.fits(1, width: 500) && !SideBySide.fits(2, width: 74) && SideBySide.fits(2, width: 75))
    let lines = SideBySide.lines([("left", "one two three"), ("a long heading", "x\n\nlongerthanwide")], width: 19)
    #expect(
      lines == [
        "left     │ a long …", "─────────┼─────────", "one two  │ x", "three    │", "         │ longerth", "         │ anwide",
      ])
    #expect(SideBySide.lines([], width: 80).isEmpty)
  }
}
