// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Testing
import Transport

@testable import API

@Suite struct OpenAIRequestTests {
  @Test func ordinaryBodiesAreRead() throws {
    let chat = try OpenAIRequest(
      JSONValue(
        parsing:
          #"{"model":"m","messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":7,"stop":"x","seed":-1,"stream":true,"stream_options":{"include_usage":true},"tools":[],"user":"u","temperature":0}"#
      ),
      chat: true, requestID: "r")
    #expect(chat.calls[0].messages == [ChatTurn(role: "system", content: "s"), ChatTurn(role: "user", content: "hi")])
    #expect(chat.calls[0].maxTokens == 7 && chat.calls[0].stop == ["x"] && chat.calls[0].temperature == 0)
    #expect(chat.stream && chat.includeUsage)
    let completion = try OpenAIRequest(
      JSONValue(parsing: #"{"model":"m","prompt":["a","b"],"n":2,"seed":5}"#), chat: false, requestID: "r")
    #expect(completion.calls.map(\.prompt) == ["a", "a", "b", "b"])
    #expect(Set(completion.calls.map(\.requestID)).count == 4)
    #expect(completion.calls[0].seed != completion.calls[1].seed && completion.calls[0].seed == completion.calls[2].seed)
    #expect(completion.calls[0].maxTokens == 16)
  }

  @Test(arguments: [
    #"{}"#, #"{"model":"m"}"#, #"{"model":"m","messages":[]}"#, #"{"model":"m","messages":[{"role":"robot","content":"x"}]}"#,
    #"{"model":"m","messages":[{"role":"user","content":5}]}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"temperature":3}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"n":100}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"function"}]}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"xml"}}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{}}}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_object"},"guided_regex":"a"}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"guided_choice":[]}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"structured_outputs":{"xml":"a"}}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"logit_bias":{"1":500}}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"seed":1.5}"#,
    #"{"model":"m","messages":[{"role":"user","content":"x"}],"stop":[1]}"#,
  ])
  func badBodiesAreRefusedByName(text: String) throws {
    let body = try JSONValue(parsing: text)
    #expect(throws: PlatformError.self) { try OpenAIRequest(body, chat: true, requestID: "r") }
  }

  @Test func everyParameterIsReadOrRefusedByItsName() throws {
    func refusal(_ fields: String, chat: Bool = true) throws -> JSONValue? {
      let body = try JSONValue(parsing: #"{"model":"m",\#(chat ? #""messages":[{"role":"user","content":"x"}]"# : #""prompt":"x""#),\#(fields)}"#)
      do {
        _ = try OpenAIRequest(body, chat: chat, requestID: "r")
        return nil
      } catch let error as PlatformError {
        return StatusMapping.openAIParameter(error)
      }
    }
    for (fields, name) in [
      (#""temperatur":1"#, "temperatur"), (#""functions":[{}]"#, "functions"), (#""temperature":9"#, "temperature"),
      (#""stream_options":{"include_usage":true}"#, "stream_options"), (#""top_logprobs":3"#, "top_logprobs"),
      (#""stream":true,"stream_options":{"x":true}"#, "stream_options.x"), (#""prompt":"x""#, "prompt"), (#""audio":{}"#, "audio"),
      (#""stop_token_ids":["a"]"#, "stop_token_ids"), (#""min_tokens":-1"#, "min_tokens"), (#""seed":"a""#, "seed"),
    ] {
      #expect(try refusal(fields) == .string(name), "\(fields)")
    }
    #expect(try refusal(#""max_tokens":0"#, chat: false) == "max_tokens")
    #expect(try refusal(#""best_of":3"#, chat: false) == "best_of")
    #expect(try refusal(#""messages":[]"#, chat: false) == "messages")
    #expect(try refusal(#""suffix":"","best_of":2,"n":2,"echo":true,"max_tokens":0"#, chat: false) == nil)
    #expect(
      try refusal(
        #""user":"u","metadata":{"a":"b"},"store":false,"tools":null,"modalities":["text"],"min_tokens":2,"stop_token_ids":[5],"top_logprobs":0"#) == nil)
  }

  @Test func whatAnAnswerHasToBeIsReadWithItsOrder() throws {
    let text =
      #"{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"z":{"type":"integer"},"a":{}}}}}}"#
    let request = try OpenAIRequest(JSONValue(parsing: text), text: text, chat: true, requestID: "r")
    let source = try JSONValue(parsing: try #require(request.calls[0].grammar)).decode(GrammarSource.self)
    #expect(source == .jsonSchema(#"{"type":"object","properties":{"z":{"type":"integer"},"a":{}}}"#))
    for (fields, expected) in [
      (#""guided_regex":"a+""#, GrammarSource.regex("a+")), (#""structured_outputs":{"choice":["a","b"]}"#, .choice(["a", "b"])),
      (#""guided_json":"{}""#, .jsonSchema("{}")), (#""guided_grammar":"root ::= 'a'""#, .notation("root ::= 'a'")),
      (#""response_format":{"type":"json_object"}"#, .jsonObject),
    ] {
      let body = try JSONValue(parsing: #"{"model":"m","prompt":"x",\#(fields)}"#)
      let request = try OpenAIRequest(body, chat: false, requestID: "r")
      #expect(try JSONValue(parsing: try #require(request.calls[0].grammar)).decode(GrammarSource.self) == expected)
    }
  }

  @Test func answersHaveTheShapeThatClientsRead() {
    let shape = OpenAIAnswer(id: "i", model: "m", chat: true, wantsLogprobs: false)
    let reader = ChoiceReader(GenerateCall(requestID: "r"), tools: [])
    var collected = OpenAIAnswer.Collected(reader)
    collected.add(GenerateFrame(text: "he", tokens: [1]))
    collected.add(GenerateFrame(text: "llo", tokens: [2], finish: "length", promptTokens: 4, completionTokens: 2))
    let body = shape.complete([collected], choicesPerPrompt: 1)
    #expect(body["choices"]?.arrayValue?.first?["message"]?["content"] == "hello")
    #expect(body["choices"]?.arrayValue?.first?["finish_reason"] == "length")
    #expect(body["usage"]?["total_tokens"] == 6)
    var told = OpenAIAnswer.Told(reader)
    let chunks = shape.chunks(0, GenerateFrame(text: "x", tokens: [1], finish: "stop"), &told)
    #expect(chunks.count == 2 && chunks[1]["choices"]?.arrayValue?.first?["finish_reason"] == "stop")
  }
}
