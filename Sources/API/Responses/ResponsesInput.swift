// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar
import Transport

/// The conversation of a `/v1/responses` request: `input`, a text or a list of items, with `instructions` before it.
///
/// What the assistant did comes as several items: reasoning, a message, calls. Those in a row become one turn of the chat.
struct ResponsesInput {
  private(set) var turns: [ChatTurn] = []
  private var assistant = AssistantTurn()
  /// Calls that were made so far, by their `call_id`.
  private var calls: Set<String> = []

  /// - Parameter body: the request with its members' order.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: OrderedJSON) throws {
    if let instructions = body.given("instructions") {
      guard let text = instructions.stringValue else { throw Self.refusal("'instructions' must be a text") }
      turns.append(ChatTurn(role: "system", content: text))
    }
    switch body.given("input") {
    case .string(let text): turns.append(ChatTurn(role: "user", content: text))
    case .array(let items) where !items.isEmpty:
      for (index, item) in items.enumerated() { try add(item, "input[\(index)]") }
      endAssistantTurn()
    default: throw Self.refusal("'input' must be a text, or a list with at least one item")
    }
    guard !turns.isEmpty else { throw Self.refusal("'input' has nothing to answer") }
  }

  static func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }

  private mutating func add(_ item: OrderedJSON, _ place: String) throws {
    switch item.given("type")?.stringValue ?? (item["role"] == nil ? "" : "message") {
    case "message": try addMessage(item, place)
    case "reasoning":
      let text = try Self.reasoning(item, place)
      if assistant.content != nil || !assistant.calls.isEmpty { endAssistantTurn() }
      assistant.reasoning += text
    case "function_call": try addCall(item, place)
    case "function_call_output":
      guard let id = item["call_id"]?.stringValue, calls.contains(id) else {
        throw Self.refusal("'\(place).call_id' must be that of a 'function_call' before it")
      }
      endAssistantTurn()
      let members = OrderedJSON.object([.init("tool_call_id", .string(id))]).text
      turns.append(ChatTurn(role: "tool", content: try Self.text(item["output"], "\(place).output"), members: members))
    case "item_reference": throw Self.refusal("'\(place)' refers to an item, and none are stored: send the item itself")
    default: throw Self.refusal("'\(place).type' must be 'message', 'function_call', 'function_call_output' or 'reasoning'")
    }
  }

  private mutating func addMessage(_ item: OrderedJSON, _ place: String) throws {
    guard let role = item["role"]?.stringValue, ["system", "developer", "user", "assistant"].contains(role) else {
      throw Self.refusal("'\(place).role' must be 'system', 'developer', 'user' or 'assistant'")
    }
    let content = try Self.text(item["content"], "\(place).content")
    if role == "assistant" {
      if assistant.content != nil || !assistant.calls.isEmpty { endAssistantTurn() }
      assistant.content = content
    } else {
      endAssistantTurn()
      turns.append(ChatTurn(role: role == "developer" ? "system" : role, content: content))
    }
  }

  private mutating func addCall(_ item: OrderedJSON, _ place: String) throws {
    guard let id = item["call_id"]?.stringValue, !id.isEmpty, let name = item["name"]?.stringValue, !name.isEmpty else {
      throw Self.refusal("'\(place)' must have a 'call_id' and a 'name'")
    }
    guard let text = item["arguments"]?.stringValue, let arguments = try? OrderedJSON(parsing: text.isEmpty ? "{}" : text) else {
      throw Self.refusal("'\(place).arguments' must be JSON as a text")
    }
    calls.insert(id)
    assistant.addCall(id: id, name: name, arguments: arguments)
  }

  private mutating func endAssistantTurn() {
    if let turn = assistant.turn { turns.append(turn) }
    assistant = AssistantTurn()
  }

  /// A text, or parts of text.
  private static func text(_ value: OrderedJSON?, _ place: String) throws -> String {
    if let text = value?.stringValue { return text }
    guard let parts = value?.arrayValue else { throw refusal("'\(place)' must be a text or a list of parts") }
    return try parts.map { part in
      let type = part["type"]?.stringValue ?? ""
      guard ["input_text", "output_text", "text", "refusal"].contains(type), let text = part[type == "refusal" ? type : "text"]?.stringValue else {
        throw refusal("'\(place)': only parts of text are supported ('input_text', 'output_text')")
      }
      return text
    }.joined(separator: "\n")
  }

  /// What a reasoning item says, else its summary.
  private static func reasoning(_ item: OrderedJSON, _ place: String) throws -> String {
    func texts(_ name: String) throws -> [String] {
      guard let value = item.given(name) else { return [] }
      let found = value.arrayValue?.compactMap { $0["text"]?.stringValue }
      guard let found, found.count == value.arrayValue?.count else { throw refusal("'\(place).\(name)' must be a list of parts with a text") }
      return found
    }
    let content = try texts("content")
    let told = try content.isEmpty ? texts("summary") : content
    guard !told.isEmpty || item.given("encrypted_content") == nil else {
      throw refusal("'\(place).encrypted_content' is of another server, and cannot be read")
    }
    return told.joined(separator: "\n")
  }
}
