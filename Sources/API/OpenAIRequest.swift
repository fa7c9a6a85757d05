// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// A body of `/v1/chat/completions` or `/v1/completions`, checked field by field. Every parameter is honoured or refused by name; those that
/// could not change an answer (`user`, `store`, `metadata`) are accepted.
struct OpenAIRequest {
  var model: String
  var calls: [GenerateCall]
  /// Choices that each call makes.
  var choicesPerPrompt: Int
  var stream: Bool
  var includeUsage: Bool
  var wantsLogprobs: Bool
  /// Tools that answers may call.
  var tools: Set<String> = []

  /// What both routes know.
  private static let common = Set([
    "model", "stream", "stream_options", "n", "max_tokens", "logprobs", "user", "store", "metadata", "service_tier", "safety_identifier",
    "prompt_cache_key", "prompt_cache_retention",
  ]).union(OpenAISampling.names).union(OpenAIConstraint.names)
  private static let chatOnly = Set(["messages", "max_completion_tokens", "top_logprobs", "reasoning_effort", "chat_template_kwargs"]).union(
    OpenAITools.names)
  private static let completionOnly: Set<String> = ["prompt", "echo", "best_of", "suffix"]
  /// Values that ask for nothing, of parameters that are not supported otherwise.
  private static let neutral: [String: [JSONValue]] = [
    "tools": [[]], "tool_choice": ["none"], "functions": [[]], "function_call": ["none"], "modalities": [["text"]], "suffix": [""],
    "best_of": [], "audio": [], "prediction": [], "web_search_options": [], "verbosity": [], "reasoning_effort": [],
    "parallel_tool_calls": [true, false],
  ]

  /// Refuses what is not known, so that no misspelt or new parameter is dropped in silence.
  private static func checkNames(_ body: JSONValue, chat: Bool) throws {
    let known = common.union(chat ? chatOnly : completionOnly)
    for (name, value) in (body.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null {
      if let allowed = neutral[name], !(chat && chatOnly.contains(name)) {
        if allowed.contains(value) || (name == "best_of" && !chat && value.intValue == body["n"]?.intValue ?? 1) { continue }
        throw PlatformError(.invalidArgument, "'\(name)' is not supported by this server yet", number: "unsupported_parameter")
      }
      guard known.contains(name) else {
        throw PlatformError(.invalidArgument, "'\(name)' is no parameter of this route", number: "unknown_parameter")
      }
    }
    for (name, value) in (body["stream_options"]?.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null {
      // Obfuscation adds bytes of no meaning, and is not done.
      guard name == "include_usage" || (name == "include_obfuscation" && value == false) else {
        throw PlatformError(.invalidArgument, "'stream_options.\(name)' is not supported by this server", number: "unsupported_parameter")
      }
      guard value.boolValue != nil else {
        throw PlatformError(.invalidArgument, "'stream_options.\(name)' must be true or false", number: "invalid_type")
      }
    }
  }

  /// - Parameter text: the body as it came, whose members' order is that of structured answers.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: JSONValue, text: String? = nil, chat: Bool, requestID: String) throws {
    let fields = OpenAIFields(body)
    guard let model = body["model"]?.stringValue, !model.isEmpty else {
      throw PlatformError(.invalidArgument, "you must provide a model parameter", number: "missing_model")
    }
    self.model = model
    try Self.checkNames(body, chat: chat)
    stream = try fields.bool("stream") ?? false
    if let options = body["stream_options"], options != .null, !stream || options.objectValue == nil {
      throw PlatformError(.invalidArgument, "'stream_options' is an object, and only for requests with 'stream'", number: "invalid_value")
    }
    includeUsage = body["stream_options"]?["include_usage"]?.boolValue ?? false
    choicesPerPrompt = try fields.int("n", in: 1...16) ?? 1

    var call = GenerateCall(requestID: requestID)
    call.maxTokens =
      try fields.int("max_completion_tokens", in: 1...1_000_000) ?? fields.int("max_tokens", in: chat ? 1...1_000_000 : 0...1_000_000) ?? (chat ? nil : 16)
    try OpenAISampling.read(body, into: &call)
    if OpenAIConstraint.names.contains(where: { body[$0] != nil }),
      let source = try OpenAIConstraint.source(OrderedJSON(parsing: text ?? body.sortedText))
    {
      try OpenAISampling.constrain(&call, to: source)
    }
    if chat {
      let wanted = try fields.bool("logprobs") ?? false
      let top = try fields.int("top_logprobs", in: 0...20)
      guard wanted || top ?? 0 == 0 else {
        throw PlatformError(.invalidArgument, "'top_logprobs' needs 'logprobs' to be true", number: "invalid_value")
      }
      wantsLogprobs = wanted
      call.logprobs = wanted ? top ?? 0 : nil
      call.messages = try Self.messages(body["messages"])
      // Most requests need the order of no members.
      let needsOrder = OpenAITools.names.union(["reasoning_effort", "chat_template_kwargs"]).contains { body[$0] != nil }
      if needsOrder || body["messages"]?.arrayValue?.contains(where: { ($0.objectValue ?? [:]).count > 2 }) == true {
        let ordered = try OrderedJSON(parsing: text ?? body.sortedText)
        let tools = try OpenAITools(ordered)
        try OpenAISampling.present(tools, in: &call)
        self.tools = tools.names
        call.templateValues = try OpenAITools.templateValues(ordered)
        for (index, message) in (ordered["messages"]?.arrayValue ?? []).enumerated() {
          call.messages?[index].members = try OpenAITools.members(message, "messages[\(index)]")
        }
      }
      calls = [call]
    } else {
      let top = try fields.int("logprobs", in: 0...20)
      wantsLogprobs = top != nil
      call.logprobs = top
      call.echo = try fields.bool("echo") ?? false
      guard call.echo || call.maxTokens != 0 else {
        throw PlatformError(.invalidArgument, "'max_tokens' may be 0 with 'echo' only", number: "invalid_value")
      }
      calls = try Self.prompts(body["prompt"]).map { prompt in
        var one = call
        switch prompt {
        case .text(let text): one.prompt = text
        case .tokens(let tokens): one.promptTokens = tokens
        }
        return one
      }
    }
    // Each choice draws with a seed of its own, so that n answers differ and stay reproducible.
    calls = calls.flatMap { call in
      (0..<choicesPerPrompt).map { index in
        var one = call
        one.seed = call.seed &+ UInt64(index) &* 0x9E37_79B9
        return one
      }
    }
    for index in calls.indices { calls[index].requestID = calls.count == 1 ? requestID : "\(requestID)-\(index)" }
  }

  private enum Prompt {
    case text(String)
    case tokens([Int32])
  }

  private static func prompts(_ value: JSONValue?) throws -> [Prompt] {
    func tokens(_ items: [JSONValue]) -> [Int32]? {
      let ids = items.compactMap { $0.intValue.flatMap { Int32(exactly: $0) } }
      return ids.count == items.count && !ids.isEmpty ? ids : nil
    }
    switch value {
    case .string(let text): return [.text(text)]
    case .array(let items):
      if let ids = tokens(items) { return [.tokens(ids)] }
      let prompts = items.compactMap { item -> Prompt? in
        if let text = item.stringValue { return .text(text) }
        return item.arrayValue.flatMap(tokens).map { .tokens($0) }
      }
      guard prompts.count == items.count, (1...128).contains(prompts.count) else { fallthrough }
      return prompts
    default:
      throw PlatformError(
        .invalidArgument, "'prompt' must be a string, an array of at most 128 strings, or token ids", number: "invalid_type")
    }
  }

  static func messages(_ value: JSONValue?) throws -> [ChatTurn] {
    guard let items = value?.arrayValue, !items.isEmpty else {
      throw PlatformError(.invalidArgument, "'messages' must be an array with at least one message", number: "invalid_type")
    }
    return try items.enumerated().map { index, item in
      guard let role = item["role"]?.stringValue, ["system", "developer", "user", "assistant", "tool"].contains(role) else {
        throw PlatformError(
          .invalidArgument, "messages[\(index)].role must be 'system', 'developer', 'user', 'assistant' or 'tool'", number: "invalid_value")
      }
      switch item["content"] {
      case .string(let text): return ChatTurn(role: role == "developer" ? "system" : role, content: text)
      case .array(let parts):
        let texts = try parts.map { part in
          guard part["type"]?.stringValue == "text", let text = part["text"]?.stringValue else {
            throw PlatformError(.invalidArgument, "messages[\(index)].content: only text parts are supported", number: "invalid_value")
          }
          return text
        }
        return ChatTurn(role: role == "developer" ? "system" : role, content: texts.joined(separator: "\n"))
      case nil where role == "assistant" && item["tool_calls"]?.arrayValue?.isEmpty == false,
        .null where role == "assistant" && item["tool_calls"]?.arrayValue?.isEmpty == false:
        return ChatTurn(role: role, content: "")
      default:
        throw PlatformError(.invalidArgument, "messages[\(index)].content must be text", number: "invalid_type")
      }
    }
  }
}

/// Typed access to a JSON object's fields; null counts as absent.
struct OpenAIFields {
  private let body: JSONValue
  init(_ body: JSONValue) { self.body = body }

  func bool(_ name: String) throws -> Bool? {
    guard let value = body[name], value != .null else { return nil }
    guard let flag = value.boolValue else { throw PlatformError(.invalidArgument, "'\(name)' must be true or false", number: "invalid_type") }
    return flag
  }

  func int(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
    guard let value = body[name], value != .null else { return nil }
    guard let number = value.intValue, range.contains(number) else {
      throw PlatformError(
        .invalidArgument, "'\(name)' must be an integer from \(range.lowerBound) to \(range.upperBound)", number: "invalid_value")
    }
    return number
  }

  func number(_ name: String, in range: ClosedRange<Double>) throws -> Double? {
    guard let value = body[name], value != .null else { return nil }
    guard let number = value.doubleValue, range.contains(number) else {
      throw PlatformError(
        .invalidArgument, "'\(name)' must be a number from \(range.lowerBound) to \(range.upperBound)", number: "invalid_value")
    }
    return number
  }
}
