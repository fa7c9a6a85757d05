// SPDX-License-Identifier: Apache-2.0

/// What a text, or a conversation behind its chat template, is to a replica's model. Exactly one of `text` and `messages` is given.
public struct TokenizeCall: Codable, Sendable, Equatable {
  public var text: String?
  public var messages: [ChatTurn]?
  /// Of a conversation, as in `GenerateCall`.
  public var tools: String?
  public var templateValues: String?
  /// Whether the template opens the assistant's turn.
  public var opensAnswer = true
  /// Those that the tokenizer adds at the ends. nil: as a request for an answer has them.
  public var addsSpecialTokens: Bool?
  public var wantsTexts = false

  public init() {}
}

public struct TokenizeFrame: Codable, Sendable, Equatable {
  public var tokens: [Int32]
  /// How the vocabulary writes each of `tokens`.
  public var texts: [String]?
  /// Longest sequence of the replica in tokens.
  public var contextLength: Int

  public init(tokens: [Int32], texts: [String]?, contextLength: Int) {
    self.tokens = tokens
    self.texts = texts
    self.contextLength = contextLength
  }
}

public struct DetokenizeCall: Codable, Sendable, Equatable {
  public var tokens: [Int32]
  public init(tokens: [Int32]) { self.tokens = tokens }
}

public struct DetokenizeFrame: Codable, Sendable, Equatable {
  public var text: String
  public init(text: String) { self.text = text }
}
