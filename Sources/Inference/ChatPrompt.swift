// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Turns a conversation into a prompt for models without a chat template.
///
/// The format is one line a turn, `role: content`, and `assistant:` at the end:
///
///     system: You are brief.
///     user: Hello
///     assistant:
///
/// `\nuser:` ends an answer, since a model that learned this format goes on with the next turn.
public struct ChatPrompt: Sendable, Equatable {
  public static let plainStop = "\nuser:"
  /// Set when the model brings a template; templates are not interpreted.
  private let templatePath: String?

  /// The plain format.
  public init() { templatePath = nil }

  /// Looks for a template in `tokenizer_config.json` and `chat_template.jinja` of a model folder.
  public init(directory: String) {
    let separate = directory + "/chat_template.jinja"
    let configuration = directory + "/tokenizer_config.json"
    if FileManager.default.fileExists(atPath: separate) {
      templatePath = separate
    } else if let data = FileManager.default.contents(atPath: configuration),
      let json = try? JSONValue(parsing: data),  // an unreadable file has no template; the tokenizer reports on it
      let template = json["chat_template"], template != .null
    {
      templatePath = configuration
    } else {
      templatePath = nil
    }
  }

  /// - Throws: `badConfiguration` (PLT-4202) when the model has a template; `invalidArgument` for no messages, unknown
  ///   roles, or a last message by the assistant.
  public func render(_ messages: [ChatMessage]) throws -> String {
    if let templatePath {
      throw PlatformError(
        .badConfiguration, "the model brings its own chat template, and chat templates are not supported",
        hint: "Use text completions with a prompt in the model's own format.", number: "PLT-4202", path: templatePath)
    }
    guard let last = messages.last else {
      throw PlatformError(.invalidArgument, "a conversation needs at least one message")
    }
    guard last.role != "assistant" else {
      throw PlatformError(.invalidArgument, "the last message is the assistant's; there is nothing to answer")
    }
    var text = ""
    for message in messages {
      guard ["system", "user", "assistant"].contains(message.role) else {
        throw PlatformError(.invalidArgument, "unknown role '\(message.role)'; use system, user or assistant")
      }
      text += "\(message.role): \(message.content)\n"
    }
    return text + "assistant:"
  }
}
