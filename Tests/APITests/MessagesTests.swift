// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Testing
import Transport

@testable import API

@Suite struct MessagesTests {
  private func request(_ text: String, counts: Bool = false) throws -> MessagesRequest {
    try MessagesRequest(JSONValue(parsing: text), text: text, requestID: "r", counts: counts)
  }

  @Test func blocksBecomeTurnsOfAChat() throws {
    let wanted = try request(
      #"""
      {"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"},{"type":"text","text":"t"}],"stop_sequences":["z"],"temperature":0,"messages":[
      {"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b","cache_control":{"type":"ephemeral"}}]},
      {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"x"},{"type":"text","text":"I look"}]},
      {"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{"z":1,"a":2}},{"type":"tool_use","id":"c2","name":"g","input":{}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"one"},
      {"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"two"}],"is_error":true},{"type":"text","text":"and?"}]},
      {"role":"system","content":"later"},{"role":"user","content":"c"}]}
      """#)
    let turns = try #require(wanted.call.messages)
    #expect(turns.map(\.role) == ["system", "user", "assistant", "tool", "tool", "user", "system", "user"])
    #expect(turns.map(\.content) == ["s\nt", "a\nb", "I look", "one", "two", "and?", "later", "c"])
    let first = #"{"id":"c1","type":"function","function":{"name":"f","arguments":{"z":1,"a":2}}}"#
    let second = #"{"id":"c2","type":"function","function":{"name":"g","arguments":{}}}"#
    #expect(turns[2].members == #"{"reasoning_content":"hm","tool_calls":[\#(first),\#(second)]}"#)
    #expect(turns[4].members == #"{"tool_call_id":"c2","is_error":true}"#)
    #expect(wanted.call.maxTokens == 9 && wanted.call.stop == ["z"] && wanted.call.temperature == 0 && !wanted.stream)
  }

  @Test func toolsAndThinkingAreThoseOfAChat() throws {
    let tools = #"[{"name":"f","description":"d","input_schema":{"properties":{"b":{},"a":{}}},"strict":true},{"type":"custom","name":"g","input_schema":{}}]"#
    let base = #""model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"tools":\#(tools)"#
    let any = try request(
      #"{\#(base),"tool_choice":{"type":"any","disable_parallel_tool_use":true},"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}}"#)
    #expect(
      any.call.tools
        == #"[{"type":"function","function":{"name":"f","description":"d","parameters":{"properties":{"b":{},"a":{}}}}},{"type":"function","function":{"name":"g","parameters":{}}}]"#
    )
    #expect(any.call.required?.map(\.name) == ["f", "g"] && any.call.parallelCalls == false && any.tools == ["f", "g"])
    #expect(any.call.templateValues == #"{"reasoning_effort":"low","enable_thinking":true}"#)
    #expect(try request(#"{\#(base),"tool_choice":{"type":"tool","name":"g"}}"#).call.required?.map(\.name) == ["g"])
    #expect(try request(#"{\#(base),"tool_choice":{"type":"none"}}"#).call.tools == nil)
    #expect(try request(#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#, counts: true).call.maxTokens == nil)
  }

  @Test func everyParameterIsReadOrRefusedByItsName() throws {
    func refusal(_ fields: String) throws -> JSONValue? {
      do {
        _ = try request(#"{"model":"m",\#(fields)}"#)
        return nil
      } catch let error as PlatformError {
        return StatusMapping.openAIParameter(error)
      }
    }
    let hello = #""messages":[{"role":"user","content":"x"}]"#
    for accepted in [
      #""metadata":{"user_id":"u"},"service_tier":"auto","speed":"standard","cache_control":{"type":"ephemeral"},"thinking":{"type":"disabled"}"#,
      #""top_k":3,"top_p":0.5,"seed":4,"stream":true,"output_config":{"format":{"type":"json_schema","schema":{}}},"chat_template_kwargs":{"x":1}"#,
    ] { #expect(try refusal(#""max_tokens":5,\#(hello),\#(accepted)"#) == nil, "\(accepted)") }
    for (name, fields) in [
      ("max_tokens", hello), ("messages", #""max_tokens":5"#), ("messages", #""max_tokens":5,"messages":[]"#),
      ("messages", #""max_tokens":5,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]"#),
      ("messages[0].role", #""max_tokens":5,"messages":[{"role":"tool","content":"x"}]"#),
      ("messages[0].content", #""max_tokens":5,"messages":[{"role":"user","content":[]}]"#),
      ("messages[0].content[0].type", #""max_tokens":5,"messages":[{"role":"user","content":[{"type":"image"}]}]"#),
      ("messages[0].content[0].tool_use_id", #""max_tokens":5,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}]"#),
      ("messages[0].content[0]", #""max_tokens":5,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":"x"}]}]"#),
      ("system", #""max_tokens":5,"system":[{"type":"image"}],\#(hello)"#),
    ] { #expect(try refusal(fields) == .string(name), "\(fields)") }
    for (name, field) in [
      ("temperature", #""temperature":1.5"#), ("stop", #""stop":["x"]"#), ("stop_sequences", #""stop_sequences":[""]"#), ("colour", #""colour":1"#),
      ("thinking.budget_tokens", #""thinking":{"type":"enabled","budget_tokens":2000}"#), ("thinking.type", #""thinking":{"type":"deep"}"#),
      ("thinking.display", #""thinking":{"type":"adaptive","display":"omitted"}"#), ("container", #""container":"c""#), ("speed", #""speed":"fast""#),
      ("output_config.effort", #""output_config":{"effort":"huge"}"#), ("output_config.format", #""output_config":{"format":{"type":"xml"}}"#),
      ("metadata", #""metadata":{"a":"b"}"#), ("tools[0].type", #""tools":[{"type":"bash_20250124","name":"bash"}]"#),
      ("tools[0].input_schema", #""tools":[{"name":"f"}]"#), ("tools[0].defer_loading", #""tools":[{"name":"f","input_schema":{},"defer_loading":true}]"#),
      ("tool_choice.type", #""tool_choice":{"type":"must"}"#), ("tool_choice", #""tool_choice":{"type":"any"}"#),
    ] { #expect(try refusal(#""max_tokens":5,\#(hello),\#(field)"#) == .string(name), "\(field)") }
  }

  /// Thinking, text, two calls and text again, in frames that fall anywhere: the events of each block join to what the block has.
  @Test(arguments: 1...9) func eventsJoinToTheBlocks(size: Int) throws {
    let text =
      #"<think>a b</think>Hello <tool_call>{"name":"f","arguments":{"x":1}}</tool_call><tool_call>{"name":"g","arguments":{}}</tool_call>bye"#
    let tools = #"[{"name":"f","input_schema":{}},{"name":"g","input_schema":{}}]"#
    let wanted = try request(#"{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"x"}],"stop_sequences":["!"],"tools":\#(tools)}"#)
    var output = MessagesOutput(wanted.call, tools: wanted.tools)
    var events: [MessagesOutput.Event] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) {
      var frame = GenerateFrame(text: String(decoding: bytes[start..<min(bytes.count, start + size)], as: UTF8.self), tokens: [1])
      if start == 0 { (frame.reasoning, frame.callFormat) = ("tagged", "hermes") }
      events += output.read(frame)
    }
    events += output.read(GenerateFrame(text: "", tokens: [], finish: "stop", promptTokens: 5, completionTokens: 70, cachedTokens: 2))
    let blocks = try #require(output.content.arrayValue)
    #expect(blocks.map { $0["type"]?.stringValue } == ["thinking", "text", "tool_use", "tool_use", "text"])
    #expect(blocks[0]["thinking"] == "a b" && blocks[1]["text"] == "Hello" && blocks[2]["input"] == ["x": 1] && blocks[4]["text"] == "bye")
    for index in blocks.indices {
      let own = events.filter { $0.fields["index"]?.intValue == index }
      #expect(own.first?.type == "content_block_start" && own.last?.type == "content_block_stop")
      let deltas = own.dropFirst().dropLast().compactMap { $0.fields["delta"] }
      let joined = deltas.compactMap { ($0["text"] ?? $0["thinking"] ?? $0["partial_json"])?.stringValue }.joined()
      let whole = blocks[index]["text"] ?? blocks[index]["thinking"]
      #expect(try blocks[index]["type"] == "tool_use" ? JSONValue(parsing: joined) == blocks[index]["input"] : .string(joined) == whole)
    }
    #expect(output.stopReason == "tool_use")
    let usage = MessagesAnswer(id: "msg_1", model: "m").message(output)["usage"]
    #expect(usage?["input_tokens"] == 3 && usage?["cache_read_input_tokens"] == 2 && usage?["output_tokens"] == 70)
  }

  @Test func aStreamThatFailsSaysSoAtItsEnd() throws {
    let text = MessagesAnswer.failure(PlatformError(.unavailable, "no replica is left"))
    #expect(text.hasPrefix("event: error\ndata: ") && text.hasSuffix("\n\n"))
    let event = try JSONValue(parsing: String(text.dropFirst("event: error\ndata: ".count)))
    let expected: JSONValue = ["type": "error", "error": ["type": "overloaded_error", "message": "no replica is left", "code": "unavailable"]]
    #expect(event == expected)
  }

  @Test func anAnswerSaysWhyItEnded() throws {
    let wanted = try request(#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"stop_sequences":["!"]}"#)
    func ended(_ finish: String, tokens: Int = 3, stop: String? = nil) -> [String?] {
      var output = MessagesOutput(wanted.call, tools: [])
      var frame = GenerateFrame(text: "", tokens: [2], finish: finish, promptTokens: 1, completionTokens: tokens)
      frame.stop = stop
      _ = output.read(frame)
      return [output.stopReason, output.stopSequence]
    }
    #expect(ended("stop") == ["end_turn", nil])
    #expect(ended("stop", stop: "!") == ["stop_sequence", "!"])
    // Of the plain format of conversations.
    #expect(ended("stop", stop: "\nuser:") == ["end_turn", nil])
    #expect(ended("length", tokens: 9) == ["max_tokens", nil])
    #expect(ended("length") == ["model_context_window_exceeded", nil])
  }
}
