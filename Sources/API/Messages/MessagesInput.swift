// SPDX-License-Identifier: Apache-2.0

import Core
import Grammar
import Transport

/// The conversation of a `/v1/messages` request: `system`, then `messages` with texts or blocks. Turns of one role in a row become one.
struct MessagesInput {
  private(set) var turns: [ChatTurn] = []
  private var assistant = AssistantTurn()
  /// Calls that were made so far, by their id.
  private var calls: Set<String> = []

  /// - Parameter body: the request with its members' order.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: OrderedJSON) throws {
    if let system = body.given("system") { turns.append(ChatTurn(role: "system", content: try Self.text(system, "system"))) }
    guard let messages = body["messages"]?.arrayValue, !messages.isEmpty else {
      throw Self.refusal("'messages' must be a list with at least one message")
    }
    for (index, message) in messages.enumerated() {
      let place = "messages[\(index)]"
      switch message["role"]?.stringValue {
      case "user": try addUser(message["content"], "\(place).content")
      case "assistant": try addAssistant(message["content"], "\(place).content")
      case "system":
        endAssistantTurn()
        turns.append(ChatTurn(role: "system", content: try Self.text(message["content"], "\(place).content")))
      default: throw Self.refusal("'\(place).role' must be 'user', 'assistant' or 'system'")
      }
    }
    guard assistant.turn == nil else {
      throw Self.refusal("'messages' ends with the assistant's, and this server does not go on with an answer that was begun elsewhere")
    }
  }

  static func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }

  private mutating func endAssistantTurn() {
    if let turn = assistant.turn { turns.append(turn) }
    assistant = AssistantTurn()
  }

  private mutating func addUser(_ content: OrderedJSON?, _ place: String) throws {
    endAssistantTurn()
    for (index, block) in try Self.blocks(content, place).enumerated() {
      let place = content?.arrayValue == nil ? place : "\(place)[\(index)]"
      switch block["type"]?.stringValue {
      case "text":
        let text = try Self.plain(block, place)
        if turns.last?.role == "user" {
          turns[turns.count - 1].content += "\n" + text
        } else {
          turns.append(ChatTurn(role: "user", content: text))
        }
      case "tool_result":
        guard let id = block["tool_use_id"]?.stringValue, calls.contains(id) else {
          throw Self.refusal("'\(place).tool_use_id' must be the id of a 'tool_use' before it")
        }
        var members: [OrderedJSON.Member] = [.init("tool_call_id", .string(id))]
        if let flag = block.given("is_error") {
          guard flag.boolValue != nil else { throw Self.refusal("'\(place).is_error' must be true or false") }
          members.append(.init("is_error", flag))
        }
        turns.append(
          ChatTurn(
            role: "tool", content: try block.given("content").map { try Self.text($0, "\(place).content") } ?? "",
            members: OrderedJSON.object(members).text))
      default: throw Self.refusal("'\(place).type' must be 'text' or 'tool_result'")
      }
    }
  }

  private mutating func addAssistant(_ content: OrderedJSON?, _ place: String) throws {
    for (index, block) in try Self.blocks(content, place).enumerated() {
      let place = content?.arrayValue == nil ? place : "\(place)[\(index)]"
      switch block["type"]?.stringValue {
      case "text":
        let text = try Self.plain(block, place)
        assistant.content = assistant.content.map { $0 + "\n" + text } ?? text
      case "thinking":
        guard let text = block["thinking"]?.stringValue else { throw Self.refusal("'\(place).thinking' must be a text") }
        assistant.reasoning += (assistant.reasoning.isEmpty ? "" : "\n") + text
      case "tool_use":
        guard let id = block["id"]?.stringValue, !id.isEmpty, let name = block["name"]?.stringValue, !name.isEmpty, let input = block["input"],
          input.members != nil
        else { throw Self.refusal("'\(place)' must have an 'id', a 'name' and an 'input' that is an object") }
        calls.insert(id)
        assistant.addCall(id: id, name: name, arguments: input)
      default: throw Self.refusal("'\(place).type' must be 'text', 'thinking' or 'tool_use'")
      }
    }
  }

  /// A text is one block.
  private static func blocks(_ content: OrderedJSON?, _ place: String) throws -> [OrderedJSON] {
    if let text = content?.stringValue { return [.object([.init("type", .string("text")), .init("text", .string(text))])] }
    guard let blocks = content?.arrayValue, !blocks.isEmpty else { throw refusal("'\(place)' must be a text or a list of blocks") }
    return blocks
  }

  private static func plain(_ block: OrderedJSON, _ place: String) throws -> String {
    guard let text = block["text"]?.stringValue else { throw refusal("'\(place).text' must be a text") }
    return text
  }

  /// A text, or blocks of text.
  private static func text(_ content: OrderedJSON?, _ place: String) throws -> String {
    try blocks(content, place).map { block in
      guard block["type"]?.stringValue == "text" else { throw refusal("'\(place)': only blocks of 'text' are supported") }
      return try plain(block, place)
    }.joined(separator: "\n")
  }
}
