// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// Frames of generations in OpenAI's shapes: whole answers and stream chunks.
struct OpenAIAnswer {
  var id: String
  var model: String
  var chat: Bool
  var wantsLogprobs: Bool
  /// Chunks say `"usage": null` when one with the usage follows.
  var announcesUsage: Bool
  private let created = Int64(Date().timeIntervalSince1970)

  init(id: String, model: String, chat: Bool, wantsLogprobs: Bool, announcesUsage: Bool = false) {
    self.id = id
    self.model = model
    self.chat = chat
    self.wantsLogprobs = wantsLogprobs
    self.announcesUsage = announcesUsage
  }

  /// One finished choice.
  struct Collected: Sendable {
    var text = ""
    var reasoning = ""
    var calls: [(name: String, arguments: String)] = []
    private var reader: ChoiceReader
    var logprobs: [GenerateFrame.TokenLogprob] = []
    var finish = "stop"
    var usage = Usage()

    init(_ reader: ChoiceReader) { self.reader = reader }

    mutating func add(_ frame: GenerateFrame) {
      let (pieces, finish) = reader.read(frame)
      for piece in pieces {
        switch piece {
        case .content(let part): text += part
        case .reasoning(let part): reasoning += part
        case .call(let name): calls.append((name, ""))
        case .arguments(let part): calls[calls.count - 1].arguments += part
        }
      }
      logprobs += frame.logprobs ?? []
      self.finish = finish ?? self.finish
      if frame.finish != nil { usage.add(frame, reasoning: reader.reasoningTokens, countsPrompt: true) }
    }
  }

  private func envelope(_ object: String, _ choices: [JSONValue]) -> [String: JSONValue] {
    [
      "id": .string(id), "object": .string(object), "created": .integer(created), "model": .string(model),
      "choices": .array(choices), "system_fingerprint": .string("platform-\(PlatformVersion.current)"),
    ]
  }

  /// Tokens of an answer's choices.
  struct Usage: Sendable {
    var prompt = 0
    var cached = 0
    var completion = 0
    /// Of the completion.
    var reasoning = 0

    /// - Parameters:
    ///   - reasoning: tokens that the choice reasoned with.
    ///   - countsPrompt: the prompt of several choices counts once.
    mutating func add(_ frame: GenerateFrame, reasoning: Int, countsPrompt: Bool) {
      if countsPrompt {
        prompt += frame.promptTokens ?? 0
        cached += frame.cachedTokens ?? 0
      }
      completion += frame.completionTokens ?? 0
      self.reasoning += reasoning
    }

    var json: JSONValue {
      [
        "prompt_tokens": .integer(Int64(prompt)), "completion_tokens": .integer(Int64(completion)),
        "total_tokens": .integer(Int64(prompt + completion)), "prompt_tokens_details": ["cached_tokens": .integer(Int64(cached))],
        "completion_tokens_details": ["reasoning_tokens": .integer(Int64(reasoning))],
      ]
    }
  }

  func complete(_ choices: [Collected], choicesPerPrompt: Int) -> JSONValue {
    let rendered = choices.enumerated().map { index, choice -> JSONValue in
      var fields: [String: JSONValue] = ["index": .integer(Int64(index)), "finish_reason": .string(choice.finish)]
      fields["logprobs"] = wantsLogprobs ? logprobs(choice.logprobs, offset: 0) : .null
      if chat {
        var message: [String: JSONValue] = ["role": "assistant", "content": .string(choice.text), "refusal": nil]
        if !choice.reasoning.isEmpty { message["reasoning_content"] = .string(choice.reasoning) }
        if !choice.calls.isEmpty {
          if choice.text.isEmpty { message["content"] = .null }
          message["tool_calls"] = .array(
            choice.calls.map { call in
              [
                "id": .string(ChoiceReader.callID()), "type": "function",
                "function": ["name": .string(call.name), "arguments": .string(call.arguments)],
              ]
            })
        }
        fields["message"] = .object(message)
      } else {
        fields["text"] = .string(choice.text)
      }
      return .object(fields)
    }
    var body = envelope(chat ? "chat.completion" : "text_completion", rendered)
    var usage = Usage()
    for (index, choice) in choices.enumerated() {
      usage.completion += choice.usage.completion
      usage.reasoning += choice.usage.reasoning
      // The prompt of several choices counts once.
      guard index % max(1, choicesPerPrompt) == 0 else { continue }
      usage.prompt += choice.usage.prompt
      usage.cached += choice.usage.cached
    }
    body["usage"] = usage.json
    return .object(body)
  }

  /// The chunk that opens a chat choice.
  func opening(_ index: Int) -> JSONValue? {
    chat ? chunk(index, delta: ["role": "assistant", "content": ""], text: "", finish: nil, logprobs: nil) : nil
  }

  /// What one choice of a stream has told so far.
  struct Told {
    var reader: ChoiceReader
    var calls = 0
    /// Where the next frame's tokens begin in the text.
    var offset = 0
    init(_ reader: ChoiceReader) { self.reader = reader }
  }

  func chunks(_ index: Int, _ frame: GenerateFrame, _ told: inout Told) -> [JSONValue] {
    var result: [JSONValue] = []
    let (pieces, finish) = told.reader.read(frame)
    var logprobs = frame.logprobs ?? []
    for piece in pieces {
      let delta: JSONValue
      var text = ""
      switch piece {
      case .content(let part):
        delta = ["content": .string(part)]
        text = part
      case .reasoning(let part): delta = ["reasoning_content": .string(part)]
      case .call(let name):
        delta = [
          "tool_calls": [
            [
              "index": .integer(Int64(told.calls)), "id": .string(ChoiceReader.callID()), "type": "function",
              "function": ["name": .string(name), "arguments": ""],
            ]
          ]
        ]
        told.calls += 1
      case .arguments(let part):
        delta = ["tool_calls": [["index": .integer(Int64(told.calls - 1)), "function": ["arguments": .string(part)]]]]
      }
      result.append(chunk(index, delta: delta, text: text, finish: nil, logprobs: logprobs.isEmpty ? nil : logprobs, offset: told.offset))
      told.offset += logprobs.reduce(0) { $0 + $1.token.unicodeScalars.count }
      logprobs = []
    }
    if !logprobs.isEmpty {
      result.append(chunk(index, delta: ["content": ""], text: "", finish: nil, logprobs: logprobs, offset: told.offset))
      told.offset += logprobs.reduce(0) { $0 + $1.token.unicodeScalars.count }
    }
    if let finish { result.append(chunk(index, delta: [:], text: "", finish: finish, logprobs: nil)) }
    return result
  }

  func usageChunk(_ usage: Usage) -> JSONValue {
    var body = envelope(chat ? "chat.completion.chunk" : "text_completion", [])
    body["usage"] = usage.json
    return .object(body)
  }

  private func chunk(
    _ index: Int, delta: JSONValue, text: String, finish: String?, logprobs list: [GenerateFrame.TokenLogprob]?, offset: Int = 0
  ) -> JSONValue {
    var fields: [String: JSONValue] = [
      "index": .integer(Int64(index)), "finish_reason": finish.map { .string($0) } ?? .null,
      "logprobs": wantsLogprobs && list != nil ? logprobs(list ?? [], offset: offset) : .null,
    ]
    if chat { fields["delta"] = delta } else { fields["text"] = .string(text) }
    var body = envelope(chat ? "chat.completion.chunk" : "text_completion", [.object(fields)])
    if announcesUsage { body["usage"] = .null }
    return .object(body)
  }

  private func logprobs(_ tokens: [GenerateFrame.TokenLogprob], offset: Int) -> JSONValue {
    func entry(_ token: GenerateFrame.TokenLogprob) -> [String: JSONValue] {
      [
        "token": .string(token.token), "logprob": .number(token.logprob),
        "bytes": .array(token.bytes.map { .integer(Int64($0)) }),
      ]
    }
    if chat {
      return [
        "content": .array(
          tokens.map { token in
            var fields = entry(token)
            fields["top_logprobs"] = .array(token.top.map { .object(entry($0)) })
            return .object(fields)
          }), "refusal": nil,
      ]
    }
    var position = offset
    let offsets = tokens.map { token -> JSONValue in
      // Clients count in code points.
      defer { position += token.token.unicodeScalars.count }
      return .integer(Int64(position))
    }
    return [
      "tokens": .array(tokens.map { .string($0.token) }), "token_logprobs": .array(tokens.map { .number($0.logprob) }),
      "top_logprobs": .array(
        tokens.map { token in
          if token.logprob.isNaN { return .null }
          return .object(Dictionary(token.top.map { ($0.token, .number($0.logprob)) }, uniquingKeysWith: { first, _ in first }))
        }),
      "text_offset": .array(offsets),
    ]
  }
}
