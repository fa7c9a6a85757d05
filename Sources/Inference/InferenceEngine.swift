// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Grammar
public import Models
import Synchronization
public import Tokenizers

/// Generates text with one model for many requests at once (continuous batching) on a thread of its own.
///
///     let engine = try InferenceEngine(directory: "/models/tiny")
///     for try await event in try engine.generate(GenerationRequest(id: "1", prompt: .text("Once"))) { .. }
///
/// What a request gets depends on the model and the request only, never on other requests. `generate` checks a request
/// before it is queued, so a bad one never reaches the loop. A consumer that stops reading cancels its request, which
/// leaves the batch before the next step.
public final class InferenceEngine: Sendable {
  public struct Configuration: Codable, Sendable, Equatable {
    public var scheduler = BatchScheduler.Configuration()
    /// Memory for keys and values. Rounded to blocks of 16 tokens, and never more than `maxBatch` full contexts.
    public var cacheBytes = 512 << 20
    /// Longest sequence; nil: the model's own limit. Never above what the cache can hold.
    public var contextLength: Int?
    /// What matrices are multiplied as, of a model that the engine loads.
    public var precision = WeightPrecision.f32
    /// How keys and values are kept; nil for what suits the weights: f32 beside weights that are not rounded, else bf16.
    public var cache: CacheFormat?
    /// Threads that compute a step; what a request gets does not depend on it.
    public var threads = 1
    /// The most tokens (0...8) that are supposed to follow and computed together with a request's last one (`PromptLookup`); 0 for none. What a
    /// request gets does not depend on it.
    public var speculation = 0
    public init() {}
  }

  public let model: any GenerativeModel
  public let tokenizer: (any Tokenizer)?
  /// Longest sequence in tokens, prompt and output together.
  public let contextLength: Int
  /// How keys and values are kept.
  public let cacheFormat: CacheFormat
  /// Tokens that end a generation.
  public let endTokenIDs: Set<Int32>
  private let chat: ChatPrompt
  private let loop: EngineLoop
  private let grammars: GrammarCompiler
  private let inFlightLimit: Int

  /// Loads a Hugging Face model folder (`config.json`, safetensors, `tokenizer.json`) or a GGUF file and starts the thread. Blocking.
  /// - Parameter loaded: its weights, when they are loaded already; `configuration.precision` then says nothing.
  /// - Throws: `notFound`, `invalidFile` naming what cannot be used.
  public convenience init(
    directory: String, loaded: (any GenerativeModel)? = nil, configuration: Configuration = Configuration()
  ) throws {
    let model = try loaded ?? GenerativeModels.open(directory, precision: configuration.precision)
    let tokenizer = try ModelTokenizer.open(directory)
    var ends = Set(model.endTokenIDs.map { Int32($0) })
    if let data = FileManager.default.contents(atPath: directory + "/generation_config.json") {
      let id = try JSONValue(parsing: data)["eos_token_id"] ?? .null
      ends.formUnion((id.arrayValue ?? [id]).compactMap(\.intValue).compactMap { Int32(exactly: $0) })
    }
    if ends.isEmpty, let end = tokenizer.special.end { ends = [end] }
    try self.init(
      model: model, tokenizer: tokenizer, endTokenIDs: ends, chat: ChatPrompt(directory: directory),
      configuration: configuration)
  }

  /// With a model that is already loaded. Without a tokenizer prompts are tokens and no text is produced.
  /// - Parameter endTokenIDs: nil takes those of the model's configuration.
  public init(
    model: any GenerativeModel, tokenizer: (any Tokenizer)?, endTokenIDs: Set<Int32>? = nil, chat: ChatPrompt = ChatPrompt(),
    configuration: Configuration = Configuration()
  ) throws {
    let scheduler = configuration.scheduler
    guard scheduler.maxBatch > 0, scheduler.tokensPerStep >= scheduler.maxBatch, scheduler.tokensPerStep <= 1 << 16,
      (0...1 << 20).contains(scheduler.queueLimit), configuration.cacheBytes > 0, (configuration.contextLength ?? 1) > 0, configuration.threads > 0,
      (0...PromptLookup.limit).contains(configuration.speculation)
    else { throw PlatformError(.invalidArgument, "the engine's limits contradict each other: \(configuration)") }
    if let tokenizer, tokenizer.vocabularySize > model.vocabularySize {
      throw PlatformError(
        .invalidFile,
        "the tokenizer has \(tokenizer.vocabularySize) tokens, the model only \(model.vocabularySize)",
        number: "PLT-4104")
    }
    let cache = configuration.cache ?? model.cacheFormat
    let wanted = min(configuration.contextLength ?? .max, model.servedLength)
    let perSequence = KVBlockPool.blocks(forTokens: wanted)
    let affordable = KVBlockPool.capacity(budgetBytes: configuration.cacheBytes, bytesPerToken: model.cacheBytesPerToken(cache))
    let blocks = min(affordable, perSequence.multipliedReportingOverflow(by: scheduler.maxBatch).partialValue)
    self.model = model
    cacheFormat = cache
    self.tokenizer = tokenizer
    self.chat = chat
    self.endTokenIDs = endTokenIDs ?? Set(model.endTokenIDs.map { Int32($0) })
    // `inFlightLimit` is the bound; what is admitted at once passes through the scheduler's queue on its way to the batch.
    var admitting = scheduler
    admitting.queueLimit += scheduler.maxBatch
    contextLength = min(wanted, blocks * KVBlockPool.blockSize)
    inFlightLimit = scheduler.maxBatch + scheduler.queueLimit
    loop = EngineLoop(
      runner: try model.makeRunner(blockCount: blocks, maxRows: scheduler.tokensPerStep, threads: configuration.threads, cache: cache),
      scheduler: BatchScheduler(configuration: admitting, blockCount: blocks), speculation: configuration.speculation)
    var ends = self.endTokenIDs
    if let tokenizer { ends.formUnion([tokenizer.special.end].compactMap { $0 }) }
    grammars = GrammarCompiler(tokenizer: tokenizer, vocabularySize: model.vocabularySize, endTokens: ends)
    loop.start()
  }

  deinit { loop.shutdown() }

  /// Queues a request. The stream ends after the event that has `finish`.
  /// - Throws: `invalidArgument` for a request that can never run (PLT-4201: longer than the context),
  ///   `resourceExhausted` when too many are waiting, `unavailable` after `drain` or `shutdown`.
  public func generate(_ request: GenerationRequest) throws -> AsyncThrowingStream<GenerationEvent, any Error> {
    do {
      return try loop.submit(prepare(request), inFlightLimit: inFlightLimit)
    } catch {
      loop.countRefusal()
      throw error
    }
  }

  /// Collects a whole generation.
  public func complete(_ request: GenerationRequest) async throws -> GenerationEvent {
    var whole = GenerationEvent(text: "", tokenIDs: [], logprobs: request.logprobs == nil ? nil : [])
    for try await event in try generate(request) {
      whole.text += event.text
      whole.tokenIDs += event.tokenIDs
      whole.logprobs? += event.logprobs ?? []
      whole.finish = event.finish
      whole.usage = event.usage
    }
    // A stream that ends without a finish was cancelled together with this task.
    if whole.finish == nil { throw CancellationError() }
    return whole
  }

  /// The automaton for `GenerationRequest.grammar`, made on a thread of its own and kept for the next that asks for the same.
  /// - Throws: `invalidArgument` naming what cannot be used (PLT-5240 ... PLT-5244).
  public func grammar(_ source: GrammarSource) async throws -> CompiledGrammar { try await grammars.grammar(source) }

  /// How the answer to a conversation is to be read.
  /// - Throws: what rendering the conversation throws.
  public func answerForm(_ conversation: ChatConversation) throws -> AnswerForm { try chat.answerForm(conversation) }

  /// Takes nothing new; what runs is finished.
  public func drain() { loop.drain() }

  /// Ends everything that runs with `abort` and stops the thread after its current step.
  public func shutdown() { loop.shutdown() }

  public var statistics: EngineStatistics { loop.statistics() }

  /// The tokens of a request's prompt.
  /// - Throws: `invalidArgument`, or what `ChatPrompt.render` throws.
  public func promptTokens(_ prompt: GenerationRequest.Prompt) throws -> [Int32] {
    func encode(_ text: String, addSpecialTokens: Bool = true) throws -> [Int32] {
      let tokenizer = try requireTokenizer()
      let ids = tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
      return ids.isEmpty ? (tokenizer.special.beginning ?? tokenizer.special.end).map { [$0] } ?? [] : ids
    }
    switch prompt {
    case .text(let text): return try encode(text)
    case .messages(let messages): return try encode(chat.render(messages), addSpecialTokens: !chat.isComplete)
    case .conversation(let conversation): return try encode(chat.render(conversation), addSpecialTokens: !chat.isComplete)
    case .tokens(let ids): return ids
    }
  }

  /// What a text is to the model.
  /// - Parameter addsSpecialTokens: those that the tokenizer puts at the ends.
  /// - Throws: `invalidArgument` without a tokenizer.
  public func tokens(of text: String, addsSpecialTokens: Bool) throws -> [Int32] {
    try requireTokenizer().encode(text, addSpecialTokens: addsSpecialTokens)
  }

  /// The prompt of a conversation, as the model's template writes it.
  /// - Throws: what `ChatPrompt.render` throws; `invalidArgument` without a tokenizer.
  public func tokens(of conversation: ChatConversation, addsSpecialTokens: Bool?) throws -> [Int32] {
    try requireTokenizer().encode(chat.render(conversation), addSpecialTokens: addsSpecialTokens ?? !chat.isComplete)
  }

  private func requireTokenizer() throws -> any Tokenizer {
    guard let tokenizer else { throw PlatformError(.invalidArgument, "the model has no tokenizer, so the prompt has to be token ids") }
    return tokenizer
  }

  private func prepare(_ request: GenerationRequest) throws -> (state: GenerationState, echoed: String?) {
    func check(_ holds: Bool, _ what: String, _ number: String = "PLT-4203") throws {
      if !holds { throw PlatformError(.invalidArgument, what, number: number) }
    }
    let vocabulary = model.vocabularySize
    let prompt = try promptTokens(request.prompt)
    try check(!prompt.isEmpty, "the prompt is empty and the model has no token to begin with")
    for id in prompt + request.emittedTokenIDs + request.stopTokenIDs {
      try check(id >= 0 && id < vocabulary, "token \(id) is outside the vocabulary of \(vocabulary)")
    }
    if let adapter = request.adapter, !model.takes(adapter) {
      throw PlatformError(
        .invalidArgument,
        model.adapterTargets == nil
          ? "the model takes no adapters" : "the adapter '\(adapter.name)' was made for another model", number: "PLT-4506")
    }
    try request.sampling.validate(vocabularySize: vocabulary)
    try check(request.maxTokens ?? 1 > (request.echo ? -1 : 0), "max_tokens must be positive, or 0 with echo")
    try check(
      request.minTokens >= 0 && request.minTokens <= request.maxTokens ?? .max, "min_tokens must lie between 0 and max_tokens")
    try check((0...20).contains(request.logprobs ?? 0), "logprobs must lie between 0 and 20")
    try check(
      request.stop.count <= 16 && request.stop.allSatisfy { $0.utf8.count <= 1024 }, "at most 16 stop texts of 1024 bytes")
    try check(request.stop.isEmpty || tokenizer != nil, "the model has no tokenizer, so it cannot stop at texts")
    try check(request.grammar == nil || request.minTokens == 0, "min_tokens cannot be kept together with a grammar")
    try check(
      prompt.count < contextLength,
      "the maximum context length is \(contextLength) tokens, the prompt has \(prompt.count) and one has to be left for the answer",
      "PLT-4201")
    let limit = min(request.maxTokens ?? .max, contextLength - prompt.count)
    try check(request.emittedTokenIDs.count <= limit, "more tokens were emitted before than the request allows")
    var stops = request.stop
    switch request.prompt {
    case .messages, .conversation: stops += chat.stops
    case .text, .tokens: break
    }
    var ends = endTokenIDs
    if let tokenizer { ends.formUnion([tokenizer.special.end].compactMap { $0 }) }
    let state = GenerationState(
      request: request, prompt: prompt, maxTokens: limit, endTokens: ends, stops: stops, tokenizer: tokenizer)
    var echoed: String?
    if request.echo && request.emittedTokenIDs.isEmpty {
      echoed =
        switch request.prompt {
        case .text(let text): text
        default: tokenizer?.decode(prompt, skipSpecialTokens: true)
        }
    }
    return (state, echoed)
  }
}
