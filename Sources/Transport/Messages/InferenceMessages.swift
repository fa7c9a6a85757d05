// SPDX-License-Identifier: Apache-2.0

/// What the router asks a replica, and what the replica streams back: JSON payloads of the data plane.
/// `Serving` and `Worker` share these types; neither imports the other.
public enum ReplicaVerb {
  public static let generate = "generate"
  public static let embed = "embed"
  public static let rerank = "rerank"
  public static let search = "search"
  /// Token ids of a text, and the text of token ids.
  public static let tokenize = "tokenize"
  public static let detokenize = "detokenize"
  /// Asks for the engine's counters, a `MetricFrame`.
  public static let metrics = "metrics"
  /// Asks the replica to finish what it has and take nothing new.
  public static let drain = "drain"
}

public struct ChatTurn: Codable, Sendable, Equatable {
  public var role: String
  public var content: String
  /// Further members for the chat template, a JSON object as text.
  public var members: String?
  public init(role: String, content: String, members: String? = nil) {
    self.role = role
    self.content = content
    self.members = members
  }
}

/// A tool that an answer may call.
public struct RequiredTool: Codable, Sendable, Equatable {
  public var name: String
  /// Of the arguments, as JSON text.
  public var schema: String
  public init(name: String, schema: String) {
    self.name = name
    self.schema = schema
  }
}

/// A LoRA adapter that a generation is made with. Every call names it, so that any replica of the endpoint can answer, whenever it was started.
public struct AdapterCall: Codable, Sendable, Equatable {
  /// Adapters that a replica keeps in memory when nothing else was said.
  public static let residentsDefault = 8

  /// Under which it is served.
  public var name: String
  /// Folder in PEFT's layout.
  public var directory: String
  public init(name: String, directory: String) {
    self.name = name
    self.directory = directory
  }
}

/// One generation. Exactly one of `prompt`, `promptTokens` and `messages` is given.
public struct GenerateCall: Codable, Sendable, Equatable {
  public var requestID: String
  public var prompt: String?
  public var promptTokens: [Int32]?
  public var messages: [ChatTurn]?
  /// Tokens that another replica already produced for this request; generation goes on behind them.
  public var emittedTokens: [Int32] = []
  public var maxTokens: Int?
  public var temperature: Double = 1
  public var topP: Double = 1
  public var topK: Int = 0
  public var minP: Double = 0
  public var frequencyPenalty: Double = 0
  public var presencePenalty: Double = 0
  public var repetitionPenalty: Double = 1
  /// Token id as text to bias, as clients send it.
  public var logitBias: [String: Double] = [:]
  public var stop: [String] = []
  public var seed: UInt64 = 0
  public var ignoreEOS: Bool = false
  public var echo: Bool = false
  /// Number of alternatives to report with each token; nil reports none.
  public var logprobs: Int?
  public var minTokens: Int?
  public var stopTokenIDs: [Int32]?
  /// Whether the stop text that ended the generation is part of its output.
  public var includesStop: Bool?
  public var keepsSpecialTokens: Bool?
  /// Who asks: requests of different people share nothing of the cache.
  public var cacheSalt: String?
  /// What the text has to be: `Grammar.GrammarSource` as JSON.
  public var grammar: String?
  /// Tools that the prompt presents: a JSON list as text, in OpenAI's form.
  public var tools: String?
  /// Further values for the chat template, a JSON object as text.
  public var templateValues: String?
  /// The answer has to be calls of these.
  public var required: [RequiredTool]?
  /// Whether the answer may be several calls.
  public var parallelCalls: Bool?
  /// Nil: the model alone.
  public var adapter: AdapterCall?

  public init(requestID: String) { self.requestID = requestID }
}

/// A piece of a generation. `finish` is set in the last one, with the usage.
public struct GenerateFrame: Codable, Sendable, Equatable {
  public struct TokenLogprob: Codable, Sendable, Equatable {
    public var token: String
    public var bytes: [UInt8]
    public var logprob: Double
    public var top: [TokenLogprob]
    public init(token: String, bytes: [UInt8], logprob: Double, top: [TokenLogprob] = []) {
      self.token = token
      self.bytes = bytes
      self.logprob = logprob
      self.top = top
    }
  }
  public var text: String
  /// Ids drawn since the last frame, also those whose text is still held back.
  public var tokens: [Int32]
  public var logprobs: [TokenLogprob]?
  /// `stop`, `length`.
  public var finish: String?
  public var promptTokens: Int?
  public var completionTokens: Int?
  /// Of the prompt's tokens, those that the prefix cache had.
  public var cachedTokens: Int?
  /// How the text of a chat is to be read: `Grammar.ReasoningForm` and `Grammar.ToolCallFormat`, in a replica's first frame.
  public var reasoning: String?
  public var callFormat: String?
  /// The stop text that ended the generation, if one did.
  public var stop: String?

  public init(
    text: String, tokens: [Int32], logprobs: [TokenLogprob]? = nil, finish: String? = nil, promptTokens: Int? = nil,
    completionTokens: Int? = nil, cachedTokens: Int? = nil
  ) {
    self.cachedTokens = cachedTokens
    self.text = text
    self.tokens = tokens
    self.logprobs = logprobs
    self.finish = finish
    self.promptTokens = promptTokens
    self.completionTokens = completionTokens
  }
}

public struct EmbedCall: Codable, Sendable {
  public var inputs: [String]
  /// Token ids in place of the texts; taken as they are.
  public var tokenInputs: [[Int32]]?
  public init(inputs: [String]) { self.inputs = inputs }
  public init(tokenInputs: [[Int32]]) {
    inputs = []
    self.tokenInputs = tokenInputs
  }
}

public struct EmbedFrame: Codable, Sendable {
  /// One unit-length vector an input.
  public var vectors: [[Float]]
  public var tokens: Int
  public init(vectors: [[Float]], tokens: Int) {
    self.vectors = vectors
    self.tokens = tokens
  }
}

/// How well documents fit a query: one query for all, or one for each.
public struct RerankCall: Codable, Sendable {
  public var queries: [String]
  public var documents: [String]
  public init(queries: [String], documents: [String]) {
    self.queries = queries
    self.documents = documents
  }
}

public struct RerankFrame: Codable, Sendable {
  /// One a document, in the order of the call.
  public var scores: [Float]
  /// That were read, of all pairs.
  public var tokens: Int
  public init(scores: [Float], tokens: Int) {
    self.scores = scores
    self.tokens = tokens
  }
}

public struct SearchCall: Codable, Sendable {
  public var text: String
  public var count: Int
  public init(text: String, count: Int) {
    self.text = text
    self.count = count
  }
}

public struct SearchFrame: Codable, Sendable {
  public struct Hit: Codable, Sendable {
    public var id: String
    public var path: String
    public var text: String
    public var score: Double
    public init(id: String, path: String, text: String, score: Double) {
      self.id = id
      self.path = path
      self.text = text
      self.score = score
    }
  }
  public var hits: [Hit]
  public var tableVersion: Int64
  public init(hits: [Hit], tableVersion: Int64) {
    self.hits = hits
    self.tableVersion = tableVersion
  }
}
