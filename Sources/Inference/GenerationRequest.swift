// SPDX-License-Identifier: Apache-2.0

import Core
public import Grammar
public import Models

/// One turn of a conversation.
public struct ChatMessage: Codable, Sendable, Equatable {
  /// `system`, `user` or `assistant`.
  public var role: String
  public var content: String
  /// Further members for the template (`tool_calls`, `tool_call_id`, ..), a JSON object as text.
  public var members: String?
  public init(role: String, content: String, members: String? = nil) {
    self.role = role
    self.content = content
    self.members = members
  }
}

/// What a chat template is given.
public struct ChatConversation: Sendable, Equatable {
  public var messages: [ChatMessage]
  /// A JSON list as text, in OpenAI's form; nil: none.
  public var tools: String?
  /// Further values for the template, a JSON object as text.
  public var values: String?
  /// Whether the template opens the assistant's turn.
  public var opensAnswer: Bool
  public init(_ messages: [ChatMessage], tools: String? = nil, values: String? = nil, opensAnswer: Bool = true) {
    self.messages = messages
    self.tools = tools
    self.values = values
    self.opensAnswer = opensAnswer
  }
}

/// What the text of an answer is made of, besides what everybody reads.
public struct AnswerForm: Sendable, Equatable {
  public var reasoning: ReasoningForm
  /// How calls of tools are written; nil for models whose template has no place for tools.
  public var calls: ToolCallFormat?
  public init(reasoning: ReasoningForm = .none, calls: ToolCallFormat? = nil) {
    self.reasoning = reasoning
    self.calls = calls
  }
}

/// How the next token is chosen. The defaults draw from the model's own distribution.
public struct SamplingParameters: Codable, Sendable, Equatable {
  /// 0 takes the most likely token (ties: the lowest id).
  public var temperature: Double = 1
  /// Keeps the smallest set of tokens whose probabilities reach this sum. 1 keeps all.
  public var topP: Double = 1
  /// Keeps this many tokens. 0 keeps all.
  public var topK: Int = 0
  /// Drops tokens less likely than this fraction of the most likely one.
  public var minP: Double = 0
  /// Subtracted from a token's logit for each time that it was generated.
  public var frequencyPenalty: Double = 0
  /// Subtracted once from the logit of every token that was generated.
  public var presencePenalty: Double = 0
  /// Divides positive and multiplies negative logits of tokens of the prompt and the output (Keskar et al., 2019).
  public var repetitionPenalty: Double = 1
  /// Added to logits, by token id.
  public var logitBias: [Int32: Double] = [:]
  /// The draw at a position depends on this and the position only.
  public var seed: UInt64 = 0

  public init() {}
  /// The most likely token each time.
  public static var greedy: SamplingParameters {
    var parameters = SamplingParameters()
    parameters.temperature = 0
    return parameters
  }

  /// - Throws: `invalidArgument` (PLT-4203) naming the parameter.
  public func validate(vocabularySize: Int) throws {
    func check(_ holds: Bool, _ what: String) throws {
      if !holds { throw PlatformError(.invalidArgument, what, number: "PLT-4203") }
    }
    try check(temperature.isFinite && temperature >= 0 && temperature <= 100, "temperature must lie between 0 and 100")
    try check(topP > 0 && topP <= 1, "top_p must be above 0 and at most 1")
    try check(topK >= 0, "top_k must not be negative")
    try check(minP >= 0 && minP <= 1, "min_p must lie between 0 and 1")
    try check(abs(frequencyPenalty) <= 100, "frequency_penalty must lie between -100 and 100")
    try check(abs(presencePenalty) <= 100, "presence_penalty must lie between -100 and 100")
    try check(
      repetitionPenalty > 0 && repetitionPenalty <= 100, "repetition_penalty must be above 0 and at most 100")
    for (id, bias) in logitBias {
      try check(id >= 0 && id < vocabularySize, "logit_bias names token \(id), the vocabulary has \(vocabularySize)")
      try check(bias.isFinite && abs(bias) <= 1000, "logit_bias of token \(id) must lie between -1000 and 1000")
    }
  }
}

/// One sequence to generate. `maxTokens` may be 0 with `echo`. For n alternatives submit n requests with different seeds.
public struct GenerationRequest: Sendable {
  public enum Prompt: Sendable, Equatable {
    case text(String)
    case tokens([Int32])
    case messages([ChatMessage])
    case conversation(ChatConversation)
  }

  /// For logs; need not be unique.
  public var id: String
  public var prompt: Prompt
  /// Tokens that another engine with the same model already produced for this request, as its events reported them.
  /// Generation goes on behind them exactly as it would have there; their text is not sent again.
  public var emittedTokenIDs: [Int32] = []
  /// Upper bound of produced tokens, `emittedTokenIDs` included. Nil: up to the context's end.
  public var maxTokens: Int?
  public var sampling = SamplingParameters()
  /// Texts that end the generation; they are not part of the output. At most 16.
  public var stop: [String] = []
  /// Tokens that end the generation, besides the model's own.
  public var stopTokenIDs: [Int32] = []
  /// Requests share what was computed for equal beginnings only when this is equal too.
  public var cacheSalt = ""
  /// What changes the model for this request; nil for nothing. Loaded for the engine's model.
  public var adapter: LoRAAdapter?
  /// Goes on after the model's end token.
  public var ignoreEOS = false
  /// Tokens that are produced at least: before, nothing ends the generation.
  public var minTokens = 0
  /// Whether the stop text that ended the generation is part of its output.
  public var includesStop = false
  /// What the text has to be; from `InferenceEngine.grammar`. Without `minTokens`: the text ends where it may not go on.
  public var grammar: CompiledGrammar?
  /// Leaves special tokens out of the text.
  public var skipsSpecialTokens = true
  /// Sends the prompt's text with the first event, and with `logprobs` its tokens' too.
  public var echo = false
  /// Number of alternatives (0...20) to report with each token; nil reports no probabilities.
  public var logprobs: Int?

  public init(id: String, prompt: Prompt) {
    self.id = id
    self.prompt = prompt
  }
}

public enum FinishReason: String, Codable, Sendable {
  /// The model ended, or a stop text or stop token was met.
  case stop
  /// `maxTokens` or the context's end.
  case length
  /// The engine shut down.
  case abort
}

/// The log-probability of a token under the model itself, before penalties and temperature.
public struct TokenLogprob: Codable, Sendable, Equatable {
  public var id: Int32
  /// The token's text; U+FFFD where its bytes are no whole characters. Empty without a tokenizer, and for tokens that decode to nothing.
  public var token: String
  public var bytes: [UInt8]
  /// NaN for a prompt's first token, before which there is nothing.
  public var logprob: Double
  /// The most likely tokens at this place, best first.
  public var top: [TokenLogprob]
}

public struct GenerationUsage: Codable, Sendable, Equatable {
  public var promptTokens: Int
  /// Produced tokens, those that were given as already emitted included.
  public var completionTokens: Int
  /// Of the prompt's tokens, those that the prefix cache had when the generation began.
  public var cachedTokens = 0
}

/// A piece of a generation. The last one has `finish` and `usage`.
public struct GenerationEvent: Sendable, Equatable {
  /// Whole characters. Text that may be the beginning of a stop text is held back until that is decided.
  public var text: String
  /// Ids drawn since the last event, also those whose text is held back.
  public var tokenIDs: [Int32]
  public var logprobs: [TokenLogprob]?
  public var finish: FinishReason?
  public var usage: GenerationUsage?
  /// The stop text that ended it, if one did.
  public var stop: String?
}
