// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Testing
import Transport

@testable import API

@Suite struct ResponsesTests {
  private func request(_ text: String) throws -> ResponsesRequest {
    try ResponsesRequest(JSONValue(parsing: text), text: text, requestID: "r")
  }

  @Test func itemsOfTheAssistantInARowAreOneTurn() throws {
    let wanted = try request(
      #"""
      {"model":"m","instructions":"short","max_output_tokens":9,"temperature":0,"input":[
      {"role":"developer","content":"d"},{"type":"message","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_text","text":"b"}]},
      {"type":"reasoning","id":"rs","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
      {"type":"message","id":"m","status":"completed","role":"assistant","content":[{"type":"output_text","text":"I look","annotations":[]}]},
      {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"z\":1,\"a\":2}"},{"type":"function_call","call_id":"c2","name":"g","arguments":""},
      {"type":"function_call_output","call_id":"c1","output":"one"},{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"}]},
      {"role":"assistant","content":"x"},{"role":"assistant","content":"y"},{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"s"}]}]}
      """#)
    let turns = try #require(wanted.call.messages)
    #expect(turns.map(\.role) == ["system", "system", "user", "assistant", "tool", "tool", "assistant", "assistant", "assistant"])
    #expect(turns.map(\.content) == ["short", "d", "a\nb", "I look", "one", "two", "x", "y", ""])
    #expect(
      turns[3].members
        == #"{"reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":{"z":1,"a":2}}},{"id":"c2","type":"function","function":{"name":"g","arguments":{}}}]}"#
    )
    #expect(turns[4].members == #"{"tool_call_id":"c1"}"# && turns[8].members == #"{"reasoning_content":"s"}"#)
    #expect(wanted.call.maxTokens == 9 && wanted.call.temperature == 0 && !wanted.stream)
  }

  @Test func toolsAreThoseOfAChat() throws {
    let first = #"{"type":"function","name":"f","description":"d","parameters":{"properties":{"b":{},"a":{}}},"strict":true}"#
    let tools = #"[\#(first),{"type":"function","name":"g","strict":null}]"#
    let wanted = try request(#"{"model":"m","input":"x","tools":\#(tools),"parallel_tool_calls":false}"#)
    #expect(
      wanted.call.tools
        == #"[{"type":"function","function":{"name":"f","description":"d","parameters":{"properties":{"b":{},"a":{}}}}},{"type":"function","function":{"name":"g"}}]"#
    )
    #expect(wanted.tools == ["f", "g"] && wanted.call.required == nil && wanted.call.parallelCalls == false)
    let named = try request(#"{"model":"m","input":"x","tools":\#(tools),"tool_choice":{"type":"function","name":"g"}}"#)
    #expect(named.call.required?.map(\.name) == ["g"])
    let allowed = try request(
      #"{"model":"m","input":"x","tools":\#(tools),"tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"g"}]}}"#)
    #expect(allowed.call.required?.map(\.name) == ["g"] && allowed.tools == ["g"])
    #expect(allowed.call.tools == #"[{"type":"function","function":{"name":"g"}}]"#)
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
    for accepted in [
      #""store":false,"background":false,"truncation":"disabled","previous_response_id":null,"user":"u","metadata":{"a":"b"},"service_tier":"auto""#,
      #""text":{"format":{"type":"text"},"verbosity":"medium"},"reasoning":{"effort":"high","summary":"auto"},"include":["reasoning.encrypted_content"]"#,
      #""include":["message.output_text.logprobs"],"top_logprobs":3,"max_tool_calls":4,"stream":true,"stream_options":{"include_obfuscation":false}"#,
      #""top_k":3,"seed":4,"stop":["a"],"guided_regex":"a+","chat_template_kwargs":{"x":1}"#, #""tools":[],"tool_choice":"none""#,
    ] { #expect(try refusal(#""input":"x",\#(accepted)"#) == nil, "\(accepted)") }
    for (name, fields) in [
      ("input", #""user":"u""#), ("input", #""input":[]"#), ("input", #""input":5"#), ("input[0].role", #""input":[{"role":"tool","content":"x"}]"#),
      ("input[0].content", #""input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]"#),
      ("input[0].type", #""input":[{"type":"web_search_call"}]"#), ("input[0]", #""input":[{"type":"item_reference","id":"x"}]"#),
      ("input[0].call_id", #""input":[{"type":"function_call_output","call_id":"c","output":"x"}]"#),
      ("input[0].arguments", #""input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{"}]"#),
      ("input[0].encrypted_content", #""input":[{"type":"reasoning","id":"r","summary":[],"encrypted_content":"x"}]"#),
      ("store", #""input":"x","store":true"#), ("previous_response_id", #""input":"x","previous_response_id":"resp_1""#),
      ("conversation", #""input":"x","conversation":"c""#), ("background", #""input":"x","background":true"#),
      ("prompt", #""input":"x","prompt":{"id":"p"}"#),
      ("truncation", #""input":"x","truncation":"auto""#), ("text.verbosity", #""input":"x","text":{"verbosity":"low"}"#),
      ("text.format.type", #""input":"x","text":{"format":{"type":"xml"}}"#),
      ("text.format.schema", #""input":"x","text":{"format":{"type":"json_schema","name":"n"}}"#),
      ("reasoning.effort", #""input":"x","reasoning":{"effort":"huge"}"#), ("reasoning.summary", #""input":"x","reasoning":{"summary":"detailed"}"#),
      ("top_logprobs", #""input":"x","top_logprobs":2"#), ("include", #""input":"x","include":["file_search_call.results"]"#),
      ("tools[0].type", #""input":"x","tools":[{"type":"web_search"}]"#),
      ("tools[0].defer_loading", #""input":"x","tools":[{"type":"function","name":"f","defer_loading":true}]"#),
      ("tool_choice", #""input":"x","tool_choice":"required""#), ("metadata", #""input":"x","metadata":{"a":1}"#),
      ("colour", #""input":"x","colour":1"#),
      ("messages", #""input":"x","messages":[]"#), ("max_output_tokens", #""input":"x","max_output_tokens":0"#),
      ("temperature", #""input":"x","temperature":3"#),
      ("stream_options", #""input":"x","stream_options":{}"#), ("response_format", #""input":"x","response_format":{"type":"json_object"}"#),
      ("tools", #""input":"x","text":{"format":{"type":"json_object"}},"tools":[{"type":"function","name":"f"}]"#),
    ] { #expect(try refusal(fields) == .string(name), "\(fields)") }
  }

  /// Reasoning, text, two calls and text again, in frames that fall anywhere: the events of each item join to what the item has.
  @Test(arguments: 1...9) func eventsJoinToTheItems(size: Int) throws {
    let text =
      #"<think>a b</think>Hello <tool_call>{"name":"f","arguments":{"x":1}}</tool_call><tool_call>{"name":"g","arguments":{}}</tool_call>bye"#
    let tools = #"[{"type":"function","name":"f"},{"type":"function","name":"g"}]"#
    let wanted = try request(#"{"model":"m","input":"x","tools":\#(tools),"include":["message.output_text.logprobs"]}"#)
    var output = ResponsesOutput(ChoiceReader(wanted.call, tools: wanted.tools), wantsLogprobs: true)
    var events: [ResponsesOutput.Event] = []
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: size) {
      let part = String(decoding: bytes[start..<min(bytes.count, start + size)], as: UTF8.self)
      var frame = GenerateFrame(text: part, tokens: [1], logprobs: [.init(token: part, bytes: Array(part.utf8), logprob: -1)])
      if start == 0 { (frame.reasoning, frame.callFormat) = ("tagged", "hermes") }
      events += output.read(frame)
    }
    events += output.read(GenerateFrame(text: "", tokens: [], finish: "stop", promptTokens: 5, completionTokens: 70))
    let items = try #require(output.items.arrayValue)
    #expect(items.map { $0["type"]?.stringValue } == ["reasoning", "message", "function_call", "function_call", "message"])
    #expect(items.allSatisfy { $0["status"] == "completed" })
    func told(_ index: Int, _ type: String) -> [JSONValue] {
      events.filter { $0.type == type && $0.fields["output_index"]?.intValue == index }.map { .object($0.fields) }
    }
    for (index, item) in items.enumerated() {
      #expect(told(index, "response.output_item.added").count == 1)
      #expect(told(index, "response.output_item.done").map { $0["item"] } == [item])
      let place = ["reasoning": "reasoning_text", "message": "output_text", "function_call": "function_call_arguments"][item["type"]?.stringValue ?? ""] ?? ""
      let deltas = told(index, "response.\(place).delta")
      let whole = item["arguments"] ?? item["content"]?.arrayValue?.first?["text"]
      #expect(deltas.compactMap { $0["delta"]?.stringValue }.joined() == whole?.stringValue)
      let last = told(index, "response.\(place).done")
      #expect(last.count == 1 && (last[0]["text"] ?? last[0]["arguments"]) == whole)
      #expect((deltas + last).allSatisfy { $0["item_id"] == item["id"] })
      if item["type"] == "message" {
        let joined = deltas.flatMap { $0["logprobs"]?.arrayValue ?? [] }
        #expect(item["content"]?.arrayValue?.first?["logprobs"] == .array(joined))
      }
    }
    #expect(items[0]["content"]?.arrayValue?.first?["text"] == "a b" && items[2]["arguments"] == #"{"x":1}"#)
    #expect(items[1]["content"]?.arrayValue?.first?["text"] == "Hello" && items[4]["content"]?.arrayValue?.first?["text"] == "bye")
    #expect(output.usage.prompt == 5 && output.usage.completion == 70 && output.usage.reasoning > 0)
  }

  @Test func aStreamThatFailsSaysSoAtItsEnd() throws {
    let wanted = try request(#"{"model":"m","input":"x"}"#)
    var output = ResponsesOutput(ChoiceReader(wanted.call, tools: []), wantsLogprobs: false)
    var answer = ResponsesAnswer(id: "resp_1", model: "m", echoed: wanted.echoed)
    var told = answer.opening()
    told += answer.events(output.read(GenerateFrame(text: "ab", tokens: [2])))
    told += answer.closing(output, failure: PlatformError(.unavailable, "no replica is left"))
    let lines = told.split(separator: "\n")
    let events = try lines.filter { $0.hasPrefix("data: ") }.map { try JSONValue(parsing: String($0.dropFirst(6))) }
    let names = lines.filter { $0.hasPrefix("event: ") }.map { String($0.dropFirst(7)) }
    #expect(names == events.map { $0["type"]?.stringValue ?? "" })
    #expect(events.enumerated().allSatisfy { $1["sequence_number"]?.intValue == $0 })
    let last = try #require(events.last)
    let error: JSONValue = ["code": "server_error", "message": "no replica is left"]
    #expect(last["type"]?.stringValue == "response.failed" && last["response"]?["status"]?.stringValue == "failed")
    #expect(last["response"]?["error"] == error)
    // Clients take an `error` at the top for one of the connection.
    #expect(last.objectValue?.keys.contains("error") == false)
  }

  @Test func anAnswerOfNothingIsAnEmptyMessageAndACutOneIsIncomplete() throws {
    let wanted = try request(#"{"model":"m","input":"x"}"#)
    var empty = ResponsesOutput(ChoiceReader(wanted.call, tools: []), wantsLogprobs: false)
    let events = empty.read(GenerateFrame(text: "", tokens: [2], finish: "stop", promptTokens: 1, completionTokens: 1))
    #expect(empty.items.arrayValue?.count == 1 && events.last?.type == "response.output_item.done")
    var cut = ResponsesOutput(ChoiceReader(wanted.call, tools: []), wantsLogprobs: false)
    _ = cut.read(GenerateFrame(text: "ab", tokens: [2], finish: "length", promptTokens: 1, completionTokens: 1))
    let answer = ResponsesAnswer(id: "resp_1", model: "m", echoed: wanted.echoed).response(cut)
    #expect(answer["status"] == "incomplete" && answer["incomplete_details"]?["reason"] == "max_output_tokens")
    #expect(answer["output"]?.arrayValue?.first?["status"] == "incomplete")
  }
}
