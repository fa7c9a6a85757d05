// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// A body of Anthropic's `/v1/messages` or `/v1/messages/count_tokens`, checked field by field: every parameter is honoured or refused by name.
struct MessagesRequest {
  var model: String
  var call: GenerateCall
  var stream: Bool
  /// Tools that the answer may call.
  var tools: Set<String>

  private static let known = Set([
    "model", "messages", "max_tokens", "system", "stop_sequences", "stream", "tools", "tool_choice", "thinking", "output_config", "metadata",
    "service_tier", "speed", "cache_control", "chat_template_kwargs",
  ]).union(OpenAISampling.names).subtracting(["stop", "include_stop_str_in_output"])
  /// Parameters of the API that are not here, with the reason.
  private static let absent = [
    "container": "nothing is run here", "mcp_servers": "tools are called by the client", "context_management": "conversations are not changed",
    "diagnostics": "nothing is stored", "inference_geo": "the cluster is where it is",
  ]

  /// - Parameters:
  ///   - text: the body as it came, whose members' order is that of tools and schemas.
  ///   - counts: whether the prompt is only counted.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: JSONValue, text: String, requestID: String, counts: Bool = false) throws {
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
    try Self.checkNeutral(body)

    var call = GenerateCall(requestID: requestID)
    call.messages = try MessagesInput(ordered).turns
    call.maxTokens = try fields.int("max_tokens", in: 1...1_000_000)
    guard counts || call.maxTokens != nil else { throw MessagesInput.refusal("'max_tokens' is missing: how long the answer may be") }
    // The range of this API.
    _ = try fields.number("temperature", in: 0...1)
    try OpenAISampling.read(body, into: &call)
    call.stop = try Self.stops(body["stop_sequences"])
    if let source = try Self.form(ordered) { try OpenAISampling.constrain(&call, to: source) }
    let tools = try OpenAITools(MessagesTools.chatForm(ordered))
    try OpenAISampling.present(tools, in: &call)
    self.tools = tools.names
    call.templateValues = try OpenAITools.templateValues(Self.thinking(ordered))
    self.call = call
  }

  static func unsupported(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "unsupported_parameter") }

  private static func checkNeutral(_ body: JSONValue) throws {
    if let value = body["speed"], value != .null, value != "standard" { throw unsupported("'speed' can be 'standard' only") }
    if let value = body["service_tier"], value != .null, value != "auto", value != "standard_only" {
      throw unsupported("'service_tier' can be 'auto' or 'standard_only' only")
    }
    if let value = body["metadata"], value != .null {
      guard let members = value.objectValue, members.allSatisfy({ $0.key == "user_id" && ($0.value == .null || $0.value.stringValue != nil) }) else {
        throw MessagesInput.refusal("'metadata' can have a 'user_id' only, a text")
      }
    }
  }

  private static func stops(_ value: JSONValue?) throws -> [String] {
    guard let value, value != .null else { return [] }
    let texts = value.arrayValue?.compactMap(\.stringValue)
    guard let texts, texts.count == value.arrayValue?.count, texts.count <= 16, texts.allSatisfy({ (1...1024).contains($0.utf8.count) }) else {
      throw MessagesInput.refusal("'stop_sequences' must be at most 16 texts of 1 to 1024 bytes")
    }
    return texts
  }

  /// `output_config.format`.
  private static func form(_ body: OrderedJSON) throws -> GrammarSource? {
    guard let settings = body.given("output_config") else { return nil }
    guard let members = settings.members else { throw MessagesInput.refusal("'output_config' must be an object") }
    for member in members where member.value != .null && !["effort", "format"].contains(member.name) {
      throw unsupported("'output_config.\(member.name)' is not supported by this server")
    }
    guard let format = settings.given("format") else { return nil }
    guard format["type"]?.stringValue == "json_schema", let schema = format["schema"], schema.members != nil else {
      throw MessagesInput.refusal("'output_config.format' must have the type 'json_schema' and a 'schema'")
    }
    return .jsonSchema(schema.text)
  }

  /// `thinking` and `output_config.effort` as values for the template.
  private static func thinking(_ body: OrderedJSON) throws -> OrderedJSON {
    var members: [OrderedJSON.Member] = []
    if let effort = body.given("output_config")?.given("effort") {
      guard let text = effort.stringValue, ["low", "medium", "high", "xhigh", "max"].contains(text) else {
        throw MessagesInput.refusal("'output_config.effort' must be low, medium, high, xhigh or max")
      }
      members.append(.init("reasoning_effort", effort))
    }
    var values: [OrderedJSON.Member] = []
    if let thinking = body.given("thinking") {
      switch thinking["type"]?.stringValue {
      case "adaptive": values.append(.init("enable_thinking", .bool(true)))
      case "disabled": values.append(.init("enable_thinking", .bool(false)))
      case "enabled": throw unsupported("'thinking.budget_tokens' cannot be kept by this server: use the type 'adaptive', and 'max_tokens'")
      default: throw MessagesInput.refusal("'thinking.type' must be 'adaptive' or 'disabled'")
      }
      if let display = thinking.given("display"), display.stringValue != "summarized" {
        throw unsupported("'thinking.display' can be 'summarized' only: thinking is told as it is")
      }
    }
    if let given = body.given("chat_template_kwargs") {
      guard let more = given.members else { throw MessagesInput.refusal("'chat_template_kwargs' must be an object") }
      values += more
    }
    if !values.isEmpty { members.append(.init("chat_template_kwargs", .object(values))) }
    return .object(members)
  }
}

/// Tools as `/v1/messages` writes them.
enum MessagesTools {
  /// - Returns: an object with `tools`, `tool_choice` and `parallel_tool_calls` as in `/v1/chat/completions`.
  /// - Throws: `invalidArgument` naming the parameter.
  static func chatForm(_ body: OrderedJSON) throws -> OrderedJSON {
    var members: [OrderedJSON.Member] = []
    if let value = body.given("tools") {
      guard let items = value.arrayValue else { throw MessagesInput.refusal("'tools' must be a list") }
      members.append(.init("tools", .array(try items.enumerated().map { try tool($1, "tools[\($0)]") })))
    }
    guard let choice = body.given("tool_choice") else { return .object(members) }
    func function(_ name: OrderedJSON) -> OrderedJSON {
      .object([.init("type", .string("function")), .init("function", .object([.init("name", name)]))])
    }
    let wanted: OrderedJSON
    switch choice["type"]?.stringValue {
    case "auto": wanted = .string("auto")
    case "any": wanted = .string("required")
    case "none": wanted = .string("none")
    case "tool": wanted = function(choice["name"] ?? .null)
    default: throw MessagesInput.refusal("'tool_choice.type' must be 'auto', 'any', 'tool' or 'none'")
    }
    members.append(.init("tool_choice", wanted))
    if let single = choice.given("disable_parallel_tool_use") {
      guard let flag = single.boolValue else { throw MessagesInput.refusal("'tool_choice.disable_parallel_tool_use' must be true or false") }
      members.append(.init("parallel_tool_calls", .bool(!flag)))
    }
    return .object(members)
  }

  private static func tool(_ item: OrderedJSON, _ place: String) throws -> OrderedJSON {
    guard let given = item.members, item.given("type") == nil || item["type"]?.stringValue == "custom" else {
      throw MessagesInput.refusal("'\(place).type' must be 'custom': this server has no tools of its own")
    }
    guard item["name"]?.stringValue != nil else { throw MessagesInput.refusal("'\(place).name' must be a text") }
    guard item["input_schema"]?.members != nil else { throw MessagesInput.refusal("'\(place).input_schema' must be a JSON schema") }
    var function: [OrderedJSON.Member] = []
    for member in given where member.value != .null {
      switch member.name {
      case "name", "description": function.append(member)
      case "input_schema": function.append(.init("parameters", member.value))
      // These say something to the server: what a cache keeps, how soon arguments are told, and that they follow the schema.
      case "type", "cache_control", "eager_input_streaming", "strict": break
      default: throw MessagesRequest.unsupported("'\(place).\(member.name)' is not supported by this server")
      }
    }
    return .object([.init("type", .string("function")), .init("function", .object(function))])
  }
}
