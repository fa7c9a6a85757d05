// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar
import Transport

/// The tools of a request, and what it says about calling them.
struct OpenAITools {
  static let names: Set<String> = ["tools", "tool_choice", "parallel_tool_calls"]

  /// For the prompt, as JSON text in the order of the request; nil when no tool may be called.
  private(set) var listed: String?
  private(set) var names: Set<String> = []
  /// Those of which the answer has to be calls; nil: the model decides.
  private(set) var required: [RequiredTool]?
  private(set) var isParallel = true

  /// - Parameter body: the request with its members' order.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: OrderedJSON) throws {
    if let value = body.given("parallel_tool_calls") {
      guard let flag = value.boolValue else { throw Self.refusal("'parallel_tool_calls' must be true or false") }
      isParallel = flag
    }
    let choice = body.given("tool_choice")
    guard let value = body.given("tools"), value != .array([]) else {
      if let choice, choice.stringValue != "none", choice.stringValue != "auto" { throw Self.refusal("'tool_choice' needs 'tools'") }
      return
    }
    guard let items = value.arrayValue, items.count <= 128 else { throw Self.refusal("'tools' must be a list of at most 128 tools") }
    let tools = try items.enumerated().map { try Self.tool($1, "tools[\($0)]") }
    guard Set(tools.map(\.name)).count == tools.count else { throw Self.refusal("'tools' has two of one name") }
    /// The tool that an entry like `{"type": "function", "function": {"name": ..}}` names.
    func named(_ entry: OrderedJSON?) throws -> Int {
      guard let place = tools.firstIndex(where: { $0.name == entry?["function"]?["name"]?.stringValue }) else {
        throw Self.refusal("'tool_choice' names a function that is not among 'tools'")
      }
      return place
    }
    var presented = Array(tools.indices)
    switch choice?.stringValue ?? choice?["type"]?.stringValue ?? (choice == nil ? "auto" : "") {
    case "none" where choice?.stringValue != nil: return
    case "auto" where choice?.stringValue ?? "auto" == "auto": break
    case "required" where choice?.stringValue != nil: required = tools
    case "function": required = [tools[try named(choice)]]
    case "allowed_tools":
      let allowed = choice?["allowed_tools"]
      guard let entries = allowed?["tools"]?.arrayValue, !entries.isEmpty, let mode = allowed?["mode"]?.stringValue,
        mode == "auto" || mode == "required"
      else { throw Self.refusal("'tool_choice' of 'allowed_tools' must have 'tools' and a 'mode', 'auto' or 'required'") }
      presented = try Set(entries.map(named)).sorted()
      if mode == "required" { required = presented.map { tools[$0] } }
    default: throw Self.refusal("'tool_choice' must be 'none', 'auto', 'required', 'allowed_tools' or a function's name with its type")
    }
    listed = presented.count == items.count ? value.text : OrderedJSON.array(presented.map { items[$0] }).text
    names = Set(presented.map { tools[$0].name })
  }

  private static func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }

  private static func tool(_ item: OrderedJSON, _ place: String) throws -> RequiredTool {
    guard item["type"]?.stringValue == "function", let function = item["function"] else {
      throw refusal("'\(place).type' must be 'function', with a 'function' beside it")
    }
    let name = function["name"]?.stringValue ?? ""
    let isName = name.utf8.allSatisfy { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"),
        UInt8(ascii: "-"), UInt8(ascii: "."):
        true
      default: false
      }
    }
    guard (1...64).contains(name.utf8.count), isName else {
      throw refusal("'\(place).function.name' must be 1 to 64 letters, digits, '_', '-' or '.'")
    }
    guard let schema = function.given("parameters") else { return RequiredTool(name: name, schema: #"{"type":"object","properties":{}}"#) }
    guard schema.members != nil else { throw refusal("'\(place).function.parameters' must be a JSON schema") }
    // Arguments are an object, also where the schema leaves that out.
    let isTyped = schema["type"] != nil || schema["$ref"] != nil || schema["anyOf"] != nil || schema["allOf"] != nil || schema["oneOf"] != nil
    let whole = isTyped ? schema : .object([.init("type", .string("object"))] + (schema.members ?? []))
    return RequiredTool(name: name, schema: whole.text)
  }

  /// Members of a message that its role and content do not say, for the chat template: calls of the assistant, whose arguments become
  /// objects, and what a tool's answer belongs to.
  static func members(_ message: OrderedJSON, _ place: String) throws -> String? {
    var members: [OrderedJSON.Member] = []
    for name in ["name", "tool_call_id", "reasoning_content"] {
      guard let value = message.given(name) else { continue }
      guard value.stringValue != nil else { throw refusal("'\(place).\(name)' must be a text") }
      members.append(.init(name, value))
    }
    if let calls = message.given("tool_calls") {
      guard let items = calls.arrayValue else { throw refusal("'\(place).tool_calls' must be a list") }
      let read = try items.map { call in
        guard let function = call["function"], let name = function["name"]?.stringValue, let text = function["arguments"]?.stringValue,
          let arguments = try? OrderedJSON(parsing: text.isEmpty ? "{}" : text)  // told by name below
        else { throw refusal("'\(place).tool_calls' must have functions with a name, and arguments that are JSON") }
        return OrderedJSON.object([
          .init("id", call["id"] ?? .string("")), .init("type", .string("function")),
          .init("function", .object([.init("name", .string(name)), .init("arguments", arguments)])),
        ])
      }
      if !read.isEmpty { members.append(.init("tool_calls", .array(read))) }
    }
    return members.isEmpty ? nil : OrderedJSON.object(members).text
  }

  static let efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"]

  /// Values that the request has for the chat template.
  static func templateValues(_ body: OrderedJSON) throws -> String? {
    var members: [OrderedJSON.Member] = []
    if let effort = body.given("reasoning_effort") {
      guard let text = effort.stringValue, efforts.contains(text) else {
        throw refusal("'reasoning_effort' must be \(efforts.joined(separator: ", "))")
      }
      members.append(.init("reasoning_effort", effort))
      if text == "none" { members.append(.init("enable_thinking", .bool(false))) }
    }
    if let values = body.given("chat_template_kwargs") {
      guard let given = values.members else { throw refusal("'chat_template_kwargs' must be an object") }
      for member in given {
        guard !["messages", "tools", "add_generation_prompt"].contains(member.name) else {
          throw refusal("'chat_template_kwargs.\(member.name)' cannot be set; the request says it")
        }
        members.removeAll { $0.name == member.name }
        members.append(member)
      }
    }
    return members.isEmpty ? nil : OrderedJSON.object(members).text
  }
}
