// SPDX-License-Identifier: Apache-2.0

// The routes need the HTTP server, which a build for the other targets leaves out.
#if canImport(API)
  import Core
  import Foundation
  import Transport

  @testable import API

  extension FuzzTarget {
    /// Bodies of the OpenAI routes; the first byte is `c` for chat, `r` for responses, `m` for messages.
    static let openai = FuzzTarget(
      name: "openai",
      samples: {
        [
          #"c{"model":"m","messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"}]}],"max_tokens":7,"stop":["x","y"],"seed":-1,"stream":true,"stream_options":{"include_usage":true},"tools":[],"user":"u","temperature":0.5,"top_p":1,"logit_bias":{"5":-100}}"#,
          #"c{"model":"m","messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"z":{"type":"integer"},"a":{}}}}},"logprobs":true,"top_logprobs":3,"n":2}"#,
          #"p{"model":"m","prompt":["a","b"],"n":2,"seed":5,"echo":true,"logprobs":2,"max_tokens":0,"guided_regex":"a+","stop_token_ids":[5]}"#,
          #"p{"model":"m","prompt":[[1,2],[3]],"best_of":1,"suffix":"","frequency_penalty":-2,"guided_choice":["a","b"],"ignore_eos":true}"#,
          #"r{"model":"m","instructions":"s","input":[{"role":"user","content":"hi"},{"type":"reasoning","id":"r","summary":[],"content":[{"type":"reasoning_text","text":"t"}]},{"type":"function_call","call_id":"c","name":"f","arguments":"{\"a\":1}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"}]}],"tools":[{"type":"function","name":"f","parameters":{"type":"object"},"strict":true}],"tool_choice":{"type":"function","name":"f"},"max_output_tokens":5,"metadata":{"a":"b"}}"#,
          #"r{"model":"m","input":"hi","text":{"format":{"type":"json_schema","name":"n","schema":{"type":"object","properties":{"z":{"type":"integer"}}}}},"include":["message.output_text.logprobs"],"top_logprobs":2,"reasoning":{"effort":"low","summary":"auto"},"stream":true,"truncation":"disabled","store":false}"#,
          #"m{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":""},{"type":"text","text":"x"},{"type":"tool_use","id":"c","name":"f","input":{"a":1}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"2","is_error":false}]}],"tools":[{"name":"f","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"thinking":{"type":"adaptive"},"stop_sequences":["z"]}"#,
        ].map { Array($0.utf8) }
      },
      words: [
        "\"messages\":", "\"prompt\":", "\"n\":16", "null", "true", "1e999", "-1", "9223372036854775807", "\"reasoning_effort\":\"low\"",
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}}]", "\"tool_choice\":",
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},",
        "\"response_format\":",
        "\"guided_json\":",
        "\"structured_outputs\":{", "\"content\":", "\\ud800", "\"stop\":", "\"logit_bias\":{", "[[", "\"role\":\"tool\"", "\"seed\":",
        "\"input\":[", "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"\"},", "\"include\":[", "\"text\":{\"format\":",
      ]
    ) { bytes in
      guard let kind = bytes.first else { return }
      let text = Array(bytes.dropFirst())
      let body = try JSONValue(parsing: Data(text))
      if kind == UInt8(ascii: "r") {
        let request = try ResponsesRequest(body, text: String(decoding: text, as: UTF8.self), requestID: "r")
        try hold(request.call.messages?.isEmpty == false, "a request that asks for nothing")
        _ = try JSONValue(encoding: request.call).sortedText
        return
      }
      if kind == UInt8(ascii: "m") {
        let request = try MessagesRequest(body, text: String(decoding: text, as: UTF8.self), requestID: "r")
        try hold(request.call.messages?.isEmpty == false && request.call.maxTokens != nil, "a request that asks for nothing")
        _ = try JSONValue(encoding: request.call).sortedText
        return
      }
      let request = try OpenAIRequest(body, text: String(decoding: text, as: UTF8.self), chat: kind == UInt8(ascii: "c"), requestID: "r")
      try hold(!request.calls.isEmpty, "a request that asks for nothing")
      _ = try request.calls.prefix(3).map { try JSONValue(encoding: $0).sortedText }
    }
  }
#endif
