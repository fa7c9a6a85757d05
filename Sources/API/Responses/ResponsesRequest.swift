// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// A body of `/v1/responses`, checked field by field: every parameter is honoured or refused by name. Nothing is stored, so what refers to stored
/// responses is refused.
struct ResponsesRequest {
  var model: String
  var call: GenerateCall
  var stream: Bool
  /// Tools that the answer may call.
  var tools: Set<String>
  var wantsLogprobs: Bool
  /// What the answer repeats of the request.
  var echoed: [String: JSONValue]

  private static let known = Set([
    "model", "input", "instructions", "max_output_tokens", "max_tool_calls", "text", "reasoning", "include", "top_logprobs", "metadata", "user",
    "stream", "stream_options", "truncation", "store", "background", "service_tier", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "chat_template_kwargs",
  ]).union(OpenAITools.names).union(OpenAISampling.names).union(OpenAIConstraint.names).subtracting(["response_format"])
  /// Parameters of the API that are not here, with the reason.
  private static let absent = [
    "previous_response_id": "nothing is stored: send the conversation in 'input'", "conversation": "nothing is stored: send the conversation in 'input'",
    "prompt": "no prompts are stored", "context_management": "conversations are not compacted", "moderation": "there is no moderation",
    "prompt_cache_options": "the cache has no settings", "background_options": "nothing runs in the background", "image": "images are not supported",
    "access_programs": "there are none",
  ]
  /// Those of `include` that an answer can follow. Reasoning is told as text in any case, and never encrypted.
  private static let logprobsInclude = "message.output_text.logprobs"
  private static let includes: Set<String> = [logprobsInclude, "reasoning.encrypted_content"]

  /// - Parameter text: the body as it came, whose members' order is that of structured answers.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: JSONValue, text: String, requestID: String) throws {
    let fields = OpenAIFields(body)
    guard let model = body["model"]?.stringValue, !model.isEmpty else {
      throw PlatformError(.invalidArgument, "you must provide a model parameter", number: "missing_model")
    }
    self.model = model
    for (name, value) in (body.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null {
      if let reason = Self.absent[name] { throw Self.unsupported("'\(name)' is not supported by this server: \(reason)") }
      guard Self.known.contains(name) else {
        throw PlatformError(.invalidArgument, "'\(name)' is no parameter of this route", number: "unknown_parameter")
      }
    }
    let ordered = try OrderedJSON(parsing: text)
    stream = try fields.bool("stream") ?? false
    try Self.checkNeutral(body, fields, isStream: stream)

    var call = GenerateCall(requestID: requestID)
    call.messages = try ResponsesInput(ordered).turns
    call.maxTokens = try fields.int("max_output_tokens", in: 1...1_000_000)
    // Only tools that a server has itself count, and there are none.
    _ = try fields.int("max_tool_calls", in: 1...1_000_000)
    try OpenAISampling.read(body, into: &call)
    if let source = try OpenAIConstraint.source(ordered) { try OpenAISampling.constrain(&call, to: source) }
    let tools = try OpenAITools(ResponsesTools.chatForm(ordered))
    try OpenAISampling.present(tools, in: &call)
    self.tools = tools.names
    call.templateValues = try OpenAITools.templateValues(Self.reasoning(ordered))

    let include = try Self.include(body["include"])
    let top = try fields.int("top_logprobs", in: 0...20)
    wantsLogprobs = include.contains(Self.logprobsInclude)
    guard wantsLogprobs || top ?? 0 == 0 else { throw ResponsesInput.refusal("'top_logprobs' needs '\(Self.logprobsInclude)' in 'include'") }
    call.logprobs = wantsLogprobs ? top ?? 0 : nil
    self.call = call
    echoed = try Self.echo(body, call)
  }

  private static func unsupported(_ what: String) -> PlatformError {
    PlatformError(.invalidArgument, what, number: "unsupported_parameter")
  }

  /// Parameters of which one value asks for nothing.
  private static func checkNeutral(_ body: JSONValue, _ fields: OpenAIFields, isStream: Bool) throws {
    if try fields.bool("store") == true { throw unsupported("'store' cannot be true: this server stores no responses") }
    if try fields.bool("background") == true { throw unsupported("'background' cannot be true: this server answers at once") }
    if let value = body["truncation"], value != .null, value != "disabled" {
      throw unsupported("'truncation' can be 'disabled' only: an input that is too long is refused")
    }
    if let value = body["text"]?["verbosity"], value != .null, value != "medium" { throw unsupported("'text.verbosity' can be 'medium' only") }
    for (name, value) in (body["text"]?.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null {
      guard ["format", "verbosity"].contains(name) else { throw unsupported("'text.\(name)' is not supported by this server") }
    }
    if let options = body["stream_options"], options != .null {
      guard isStream, let members = options.objectValue else {
        throw ResponsesInput.refusal("'stream_options' is an object, and only for requests with 'stream'")
      }
      for (name, value) in members.sorted(by: { $0.key < $1.key }) where value != .null {
        // Obfuscation adds bytes of no meaning, and is not done.
        guard name == "include_obfuscation", value == false else { throw unsupported("'stream_options.\(name)' is not supported by this server") }
      }
    }
    for name in ["user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"] {
      if let value = body[name], value != .null, value.stringValue == nil {
        throw PlatformError(.invalidArgument, "'\(name)' must be a text", number: "invalid_type")
      }
    }
    if let value = body["metadata"], value != .null {
      guard let pairs = value.objectValue, pairs.count <= 16, pairs.allSatisfy({ $0.count <= 64 && ($1.stringValue.map { $0.count <= 512 } ?? false) })
      else { throw ResponsesInput.refusal("'metadata' must be at most 16 texts of at most 512 characters, with names of at most 64") }
    }
  }

  private static func include(_ value: JSONValue?) throws -> Set<String> {
    guard let value, value != .null else { return [] }
    guard let items = value.arrayValue else { throw ResponsesInput.refusal("'include' must be a list") }
    return try Set(
      items.map { item in
        guard let name = item.stringValue, includes.contains(name) else {
          throw unsupported("'include' can have \(includes.sorted().map { "'\($0)'" }.joined(separator: " and ")) only")
        }
        return name
      })
  }

  /// `reasoning.effort` as `/v1/chat/completions` has it, with the other values for the template.
  private static func reasoning(_ body: OrderedJSON) throws -> OrderedJSON {
    var members: [OrderedJSON.Member] = []
    if let reasoning = body.given("reasoning") {
      guard let given = reasoning.members else { throw ResponsesInput.refusal("'reasoning' must be an object") }
      for member in given where member.value != .null {
        switch member.name {
        case "effort":
          guard let text = member.value.stringValue, OpenAITools.efforts.contains(text) else {
            throw ResponsesInput.refusal("'reasoning.effort' must be \(OpenAITools.efforts.joined(separator: ", "))")
          }
          members.append(.init("reasoning_effort", member.value))
        // The best that there is: none.
        case "summary", "generate_summary":
          guard member.value.stringValue == "auto" else { throw unsupported("'reasoning.\(member.name)' can be 'auto' only: there are no summaries") }
        default: throw unsupported("'reasoning.\(member.name)' is not supported by this server")
        }
      }
    }
    if let values = body.given("chat_template_kwargs") { members.append(.init("chat_template_kwargs", values)) }
    return .object(members)
  }

  private static func echo(_ body: JSONValue, _ call: GenerateCall) throws -> [String: JSONValue] {
    func given(_ name: String, _ otherwise: JSONValue) -> JSONValue { body[name].flatMap { $0 == .null ? .none : $0 } ?? otherwise }
    let format = body["text"].flatMap { $0["format"] }.flatMap { $0 == .null ? .none : $0 } ?? ["type": "text"]
    return [
      "instructions": given("instructions", .null), "metadata": given("metadata", [:]), "parallel_tool_calls": given("parallel_tool_calls", true),
      "temperature": .number(call.temperature), "top_p": .number(call.topP), "tool_choice": given("tool_choice", "auto"), "tools": given("tools", []),
      "max_output_tokens": given("max_output_tokens", .null), "max_tool_calls": given("max_tool_calls", .null),
      "top_logprobs": given("top_logprobs", 0), "text": ["format": format],
      "reasoning": ["effort": body["reasoning"].flatMap { $0["effort"] } ?? .null, "summary": .null], "truncation": "disabled",
      "service_tier": "default", "user": given("user", .null), "safety_identifier": given("safety_identifier", .null),
      "prompt_cache_key": given("prompt_cache_key", .null), "previous_response_id": .null, "store": false, "background": false,
    ]
  }
}

/// Tools as `/v1/responses` writes them: without the `function` object around their name and parameters.
enum ResponsesTools {
  /// - Returns: an object with `tools`, `tool_choice` and `parallel_tool_calls` as in `/v1/chat/completions`.
  /// - Throws: `invalidArgument` naming the parameter.
  static func chatForm(_ body: OrderedJSON) throws -> OrderedJSON {
    var members: [OrderedJSON.Member] = []
    if let value = body.given("tools") {
      guard let items = value.arrayValue else { throw ResponsesInput.refusal("'tools' must be a list") }
      members.append(.init("tools", .array(try items.enumerated().map { try tool($1, "tools[\($0)]") })))
    }
    if let value = body.given("tool_choice") { members.append(.init("tool_choice", try choice(value))) }
    if let value = body.given("parallel_tool_calls") { members.append(.init("parallel_tool_calls", value)) }
    return .object(members)
  }

  private static func tool(_ item: OrderedJSON, _ place: String) throws -> OrderedJSON {
    guard item["type"]?.stringValue == "function", let given = item.members else {
      throw ResponsesInput.refusal("'\(place).type' must be 'function': this server has no tools of its own")
    }
    guard item["name"]?.stringValue != nil else { throw ResponsesInput.refusal("'\(place).name' must be a text") }
    var function: [OrderedJSON.Member] = []
    for member in given where member.value != .null && member.name != "type" {
      switch member.name {
      case "name", "description", "parameters": function.append(member)
      // Says something to the server, which holds to the schema wherever a call is required.
      case "strict":
        guard member.value.boolValue != nil else { throw ResponsesInput.refusal("'\(place).strict' must be true or false") }
      default: throw PlatformError(.invalidArgument, "'\(place).\(member.name)' is not supported by this server", number: "unsupported_parameter")
      }
    }
    return .object([.init("type", .string("function")), .init("function", .object(function))])
  }

  private static func choice(_ value: OrderedJSON) throws -> OrderedJSON {
    func named(_ entry: OrderedJSON) -> OrderedJSON {
      .object([.init("type", .string("function")), .init("function", .object([.init("name", entry["name"] ?? .null)]))])
    }
    switch value["type"]?.stringValue {
    case "function": return named(value)
    case "allowed_tools":
      let tools = value["tools"]?.arrayValue ?? []
      return .object([
        .init("type", .string("allowed_tools")),
        .init("allowed_tools", .object([.init("mode", value["mode"] ?? .null), .init("tools", .array(tools.map(named)))])),
      ])
    default: return value
    }
  }
}
