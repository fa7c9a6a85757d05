// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Transport

/// Reads one choice of a chat from its frames. The first one says how its text is to be read.
struct ChoiceReader: Sendable {
  private let tools: Set<String>
  private let isConstrained: Bool
  private let isParallel: Bool
  private var parser: AnswerParser?
  /// Tokens that were drawn so far while the model reasoned, the marks of the span among them.
  private(set) var reasoningTokens = 0

  var isReasoning: Bool { parser?.isReasoning ?? false }

  init(_ call: GenerateCall, tools: Set<String>) {
    self.tools = tools
    isConstrained = call.required != nil
    isParallel = call.parallelCalls ?? true
  }

  /// The frame's parts, and how the choice ended if this is the last one.
  mutating func read(_ frame: GenerateFrame) -> (pieces: [AnswerParser.Piece], finish: String?) {
    var reading =
      parser
      ?? AnswerParser(
        reasoning: frame.reasoning.flatMap { ReasoningForm(rawValue: $0) } ?? .none,
        format: tools.isEmpty ? nil : frame.callFormat.flatMap { ToolCallFormat(rawValue: $0) }, names: tools, isConstrained: isConstrained,
        isParallel: isParallel)
    parser = nil
    let began = reading.isReasoning
    var pieces = reading.push(frame.text)
    if began || reading.isReasoning { reasoningTokens += frame.tokens.count }
    if frame.finish != nil { pieces += reading.finish() }
    let finish = frame.finish == "stop" && reading.callCount > 0 ? "tool_calls" : frame.finish
    parser = reading
    return (pieces, finish)
  }

  static func callID() -> String { "call_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased().prefix(24) }
}
