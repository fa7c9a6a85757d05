// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Models
import Tokenizers

/// Turns a conversation into a prompt: with the model's own chat template, or for models without one in a plain format.
///
/// The plain format is one line a turn, `role: content`, and `assistant:` at the end:
///
///     system: You are brief.
///     user: Hello
///     assistant:
///
/// `\nuser:` ends an answer, since a model that learned this format goes on with the next turn.
public struct ChatPrompt: Sendable {
  private enum Format: Sendable {
    case plain
    /// With the special tokens that templates ask for by name.
    case template(ChatTemplate, source: String, tokens: [String: JSONValue])
    /// The model's template cannot be used; conversations fail with this, other requests do not.
    case unusable(PlatformError)
  }

  private static let plainStop = "\nuser:"
  private let format: Format

  /// The plain format.
  public init() { format = .plain }

  /// Looks for a template in `chat_template.jinja`, `chat_template.json` and `tokenizer_config.json` of a model folder, or in a GGUF file.
  public init(directory: String) {
    do {
      guard let (text, tokens) = try Self.find(directory) else {
        format = .plain
        return
      }
      format = .template(try ChatTemplate(text), source: text, tokens: tokens)
    } catch {
      var failure = PlatformError.from(error)
      if failure.hint.isEmpty { failure.hint = "Use text completions with a prompt in the model's own format." }
      format = .unusable(failure)
    }
  }

  /// Whether the prompt holds the special tokens that the tokenizer would otherwise add.
  var isComplete: Bool { if case .plain = format { false } else { true } }

  /// What ends an answer besides the model's end tokens.
  var stops: [String] { isComplete ? [] : [Self.plainStop] }

  private static func find(_ directory: String) throws -> (String, [String: JSONValue])? {
    if let file = ModelFile.gguf(directory) {
      let stored = try GGUFVocabulary(path: file)
      var tokens: [String: JSONValue] = [:]
      for (name, id) in [("bos_token", stored.beginning), ("eos_token", stored.end), ("unk_token", stored.unknown), ("pad_token", stored.padding)] {
        if let id, stored.tokens.indices.contains(Int(id)) { tokens[name] = .string(stored.tokens[Int(id)]) }
      }
      return stored.chatTemplate.map { ($0, tokens) }
    }
    func json(_ name: String) throws -> JSONValue? {
      try FileManager.default.contents(atPath: directory + "/" + name).map { try JSONValue(parsing: $0) }
    }
    let configuration = try json("tokenizer_config.json")
    var tokens: [String: JSONValue] = [:]
    for (name, value) in configuration?.objectValue ?? [:] where name.hasSuffix("_token") {
      if let text = value.stringValue ?? value["content"]?.stringValue { tokens[name] = .string(text) }
    }
    if let data = FileManager.default.contents(atPath: directory + "/chat_template.jinja") {
      return (String(decoding: data, as: UTF8.self), tokens)
    }
    let value = try json("chat_template.json")?["chat_template"] ?? configuration?["chat_template"]
    // Some models bring several templates by name.
    let chosen = value?.arrayValue.map { named in (named.first { $0["name"] == "default" } ?? named.first)?["template"] ?? .null } ?? value
    return chosen?.stringValue.map { ($0, tokens) }
  }

  /// - Throws: `invalidArgument` for no messages, for what the template refuses, and without a template for unknown roles or a last
  ///   message by the assistant; what is wrong with the model's template (PLT-4120).
  public func render(_ messages: [ChatMessage]) throws -> String { try render(ChatConversation(messages)) }

  /// Like `render(_:)` with messages alone.
  /// - Throws: also `invalidArgument` (PLT-5250) for tools that the model's template has no place for.
  public func render(_ conversation: ChatConversation) throws -> String {
    let messages = conversation.messages
    guard let last = messages.last else {
      throw PlatformError(.invalidArgument, "a conversation needs at least one message")
    }
    switch format {
    case .unusable(let error): throw error
    case .template(let template, let source, let tokens):
      if conversation.tools != nil && ToolCallFormat(template: source) == nil { throw Self.noTools }
      return try template.render(contextJSON: Array(Self.context(conversation, tokens).utf8)).text
    case .plain:
      if conversation.tools != nil { throw Self.noTools }
    }
    guard last.role != "assistant" || !conversation.opensAnswer else {
      throw PlatformError(.invalidArgument, "the last message is the assistant's; there is nothing to answer")
    }
    var text = ""
    for message in messages {
      guard ["system", "user", "assistant"].contains(message.role) else {
        throw PlatformError(.invalidArgument, "unknown role '\(message.role)'; use system, user or assistant")
      }
      text += "\(message.role): \(message.content)\n"
    }
    return conversation.opensAnswer ? text + "assistant:" : text
  }

  /// How the answer is to be read.
  func answerForm(_ conversation: ChatConversation) throws -> AnswerForm {
    guard case .template(_, let source, _) = format else { return AnswerForm() }
    return AnswerForm(
      reasoning: ReasoningForm(template: source, prompt: try render(conversation)),
      calls: conversation.tools == nil ? nil : ToolCallFormat(template: source))
  }

  private static var noTools: PlatformError {
    PlatformError(
      .invalidArgument, "'tools' cannot be used: the model's chat template has no place for them",
      hint: "Use a model that was trained to call tools.", number: "PLT-5250")
  }

  /// The template's values as JSON, members in the order in which they were sent: a model was trained on that order of a tool's schema.
  private static func context(_ conversation: ChatConversation, _ tokens: [String: JSONValue]) -> String {
    func members(_ object: String?) -> String {
      let inner = (object ?? "{}").dropFirst().dropLast()
      return inner.isEmpty ? "" : ",\(inner)"
    }
    func quoted(_ text: String) -> String { JSONValue.string(text).sortedText }
    let messages = conversation.messages.map { "{\"role\":\(quoted($0.role)),\"content\":\(quoted($0.content))\(members($0.members))}" }
    return "{\"messages\":[\(messages.joined(separator: ","))],\"add_generation_prompt\":\(conversation.opensAnswer)"
      + (conversation.tools.map { ",\"tools\":\($0)" } ?? "") + members(JSONValue.object(tokens).sortedText) + members(conversation.values) + "}"
  }
}
