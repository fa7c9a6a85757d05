// SPDX-License-Identifier: Apache-2.0

import Grammar
import Transport

/// What the assistant did between two turns of others: routes take it in parts, chat templates as one turn.
struct AssistantTurn {
  var content: String?
  var reasoning = ""
  private(set) var calls: [OrderedJSON] = []

  mutating func addCall(id: String, name: String, arguments: OrderedJSON) {
    calls.append(
      .object([
        .init("id", .string(id)), .init("type", .string("function")),
        .init("function", .object([.init("name", .string(name)), .init("arguments", arguments)])),
      ]))
  }

  /// Nil when there is nothing.
  var turn: ChatTurn? {
    guard content != nil || !calls.isEmpty || !reasoning.isEmpty else { return nil }
    var members: [OrderedJSON.Member] = []
    if !reasoning.isEmpty { members.append(.init("reasoning_content", .string(reasoning))) }
    if !calls.isEmpty { members.append(.init("tool_calls", .array(calls))) }
    return ChatTurn(role: "assistant", content: content ?? "", members: members.isEmpty ? nil : OrderedJSON.object(members).text)
  }
}
