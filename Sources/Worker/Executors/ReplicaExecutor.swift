// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Inference
import Models
import Synchronization
import Tokenizers
import Transport
import VectorSearch

/// A serving replica: loads its model, listens, announces itself, answers until it is drained or ended.
enum ReplicaExecutor {
  /// Blocks for the replica's life.
  static func run(_ spec: ReplicaSpec, context: ExecutorContext) throws -> JSONValue {
    let stopped = DispatchSemaphore(value: 0)
    let lost = Mutex<PlatformError?>(nil)
    let answering: any Answering
    if let seat = context.gang {
      guard seat.rank == 0 else { return try SplitReplica.follow(spec, seat, context) }
      let (model, configuration) = try SplitReplica.lead(spec, seat, context) { error in
        lost.withLock { $0 = error }
        stopped.signal()
      }
      answering = try GenerateAnswering(spec, split: model, configuration)
    } else {
      answering = try load(spec)
    }
    let inFlight = InFlight()
    var listening = StreamServer.Configuration(keys: try CurveKeyPair.generate())
    listening.address = context.listenAddress
    let server = try StreamServer(listening, admitted: [try CurvePublicKey(spec.coordinatorKey)]) { request, reply in
      inFlight.enter()
      defer { inFlight.leave() }
      if request.verb == ReplicaVerb.metrics { return try await reply.send(JSONEncoder.platform.encode(await answering.metrics())) }
      try await answering.answer(request, reply)
    }
    context.onStop { draining in
      if draining {
        // What is in flight is answered to its end; the router sends nothing new.
        Thread.detachNewThread {
          inFlight.waitUntilEmpty(seconds: 600)
          stopped.signal()
        }
      } else {
        stopped.signal()
      }
    }
    context.announce(address: server.endpoint, publicKey: server.publicKey.description)
    context.log("\(spec.role) replica listens at \(server.endpoint)")
    stopped.wait()
    answering.stop()
    server.close()
    if let error = lost.withLock({ $0 }) { throw error.wrapping("a rank of this replica is lost") }
    return [:]
  }
}

extension ReplicaExecutor {
  /// Loads what a replica would load, and lets it go.
  static func check(_ spec: ReplicaSpec) throws -> JSONValue {
    let loaded = try load(spec)
    defer { loaded.stop() }
    if let adapters = spec.checkedAdapters, !adapters.isEmpty {
      guard let targets = (loaded as? GenerateAnswering)?.engine.model.adapterTargets ?? (loaded as? SplitReplica.Checked)?.adapterTargets else {
        throw PlatformError(.invalidArgument, "adapters change language models only", hint: "Leave out 'adapters'.", number: "PLT-4506")
      }
      for adapter in adapters { _ = try LoRAAdapter(name: adapter.name, directory: adapter.directory, targets: targets) }
    }
    return [
      "directory": .string(spec.modelDirectory),
      "adapters": .object(Dictionary((spec.checkedAdapters ?? []).map { ($0.name, .string($0.directory)) }, uniquingKeysWith: { first, _ in first })),
    ]
  }

  private static func load(_ spec: ReplicaSpec) throws -> any Answering {
    switch spec.role {
    case "generate" where spec.ranks ?? 1 > 1: try SplitReplica.Checked(spec)
    case "generate": try GenerateAnswering(spec)
    case "embed": try EmbedAnswering(spec)
    case "rerank": try RerankAnswering(spec)
    case "search": try SearchAnswering(spec)
    default: throw PlatformError(.internalError, "a replica cannot be '\(spec.role)'")
    }
  }
}

/// Counts requests that are being answered.
private final class InFlight: Sendable {
  private let count = Mutex(0)
  func enter() { count.withLock { $0 += 1 } }
  func leave() { count.withLock { $0 -= 1 } }
  /// Empty means: nothing for half a second, because a request may be on its way when the drain begins.
  func waitUntilEmpty(seconds: Double) {
    let deadline = Date().addingTimeInterval(seconds)
    var quiet = 0
    while Date() < deadline && quiet < 10 {
      quiet = count.withLock { $0 } == 0 ? quiet + 1 : 0
      Thread.sleep(forTimeInterval: 0.05)
    }
  }
}

protocol Answering: Sendable {
  func answer(_ request: StreamRequest, _ reply: StreamReply) async throws
  func stop()
  /// What its engine tells; empty when there is nothing to tell.
  func engineMetrics() async -> MetricFrame
}

extension Answering {
  func engineMetrics() async -> MetricFrame { MetricFrame() }

  /// What the engine and the process tell.
  func metrics() async -> MetricFrame {
    var frame = await engineMetrics()
    if let bytes = ProcessSupport.residentBytes(getpid()) {
      frame.families.append(.init(MetricFrame.residentBytes, .gauge, "Memory of the replica's process.", [.init([:], Double(bytes))]))
    }
    return frame
  }
}

extension StreamRequest {
  func decode<T: Decodable>(_ type: T.Type = T.self) throws -> T {
    do {
      return try JSONDecoder.platform.decode(T.self, from: payload)
    } catch {
      throw PlatformError(.invalidArgument, "unreadable request: \(JSONValue.reason(error))")
    }
  }

  func require(_ verb: String) throws {
    guard self.verb == verb else { throw PlatformError(.invalidArgument, "this replica does not answer '\(self.verb)'") }
  }
}

extension Tokenizer {
  /// - Throws: `invalidArgument` for ids that the vocabulary does not have.
  fileprivate func frame(_ call: DetokenizeCall) throws -> DetokenizeFrame {
    if let id = call.tokens.first(where: { token($0) == nil }) {
      throw PlatformError(.invalidArgument, "'tokens' has \(id), which is outside the vocabulary of \(vocabularySize)", number: "invalid_value")
    }
    return DetokenizeFrame(text: decode(call.tokens, skipSpecialTokens: false))
  }
}

extension ReplicaSpec {
  /// - Throws: `invalidArgument` (PLT-5201) for a name that is none.
  func precision() throws -> WeightPrecision {
    guard let dtype else { return .f32 }
    guard let precision = WeightPrecision(rawValue: dtype) else {
      throw PlatformError(.invalidArgument, "dtype '\(dtype)' is unknown", hint: "Use f32, bf16, int8 or int4.", number: "PLT-5201")
    }
    return precision
  }
}

private struct GenerateAnswering: Answering {
  let engine: InferenceEngine
  private let adapters: AdapterStore
  /// Of a replica in several ranks.
  private let split: SplitModel?

  init(_ spec: ReplicaSpec) throws {
    split = nil
    engine = try InferenceEngine(directory: spec.modelDirectory, configuration: SplitReplica.configuration(spec))
    adapters = AdapterStore(model: engine.model, limit: spec.maxLoras ?? AdapterCall.residentsDefault)
  }

  init(_ spec: ReplicaSpec, split: SplitModel, _ configuration: InferenceEngine.Configuration) throws {
    self.split = split
    engine = try InferenceEngine(directory: spec.modelDirectory, loaded: split, configuration: configuration)
    adapters = AdapterStore(model: split, limit: spec.maxLoras ?? AdapterCall.residentsDefault)
  }

  func answer(_ request: StreamRequest, _ reply: StreamReply) async throws {
    if request.verb == ReplicaVerb.tokenize { return try await reply.send(JSONEncoder.platform.encode(tokenized(request.decode()))) }
    if let tokenizer = engine.tokenizer, request.verb == ReplicaVerb.detokenize {
      return try await reply.send(JSONEncoder.platform.encode(tokenizer.frame(request.decode())))
    }
    try request.require(ReplicaVerb.generate)
    let call: GenerateCall = try request.decode()
    guard let named = call.adapter else { return try await answer(call, nil, reply) }
    try await adapters.with(.init(name: named.name, directory: named.directory)) { try await answer(call, $0, reply) }
  }

  private func answer(_ call: GenerateCall, _ adapter: LoRAAdapter?, _ reply: StreamReply) async throws {
    var wanted = try Self.generation(call)
    wanted.adapter = adapter
    var form: AnswerForm?
    if case .conversation(let conversation) = wanted.prompt { form = try engine.answerForm(conversation) }
    if let required = call.required {
      // A prompt that presents tools has a way to call them.
      guard let format = form?.calls else { throw PlatformError(.internalError, "tools are required that the prompt does not present") }
      let source = format.calls(required.map { ($0.name, $0.schema) }, isParallel: call.parallelCalls ?? true)
      wanted.grammar = try await engine.grammar(form?.reasoning.behind(source) ?? source)
    } else if let text = call.grammar {
      let source = try JSONValue(parsing: text).decode(GrammarSource.self)
      wanted.grammar = try await engine.grammar(form?.reasoning.behind(source) ?? source)
    }
    for try await event in try engine.generate(wanted) {
      if event.finish == .abort { throw PlatformError(.unavailable, "the replica is stopping") }
      var frame = Self.frame(event)
      frame.reasoning = form?.reasoning.rawValue
      frame.callFormat = form?.calls?.rawValue
      form = nil
      try await reply.send(JSONEncoder.platform.encode(frame))
    }
  }

  func engineMetrics() async -> MetricFrame { await EngineMetrics.frame(engine.statistics, maxLoras: adapters.limit, cache: engine.cacheFormat.rawValue) }

  func stop() {
    engine.shutdown()
    split?.end()
  }

  private func tokenized(_ call: TokenizeCall) throws -> TokenizeFrame {
    let tokens =
      if let messages = call.messages {
        try engine.tokens(
          of: ChatConversation(messages.map(Self.message), tools: call.tools, values: call.templateValues, opensAnswer: call.opensAnswer),
          addsSpecialTokens: call.addsSpecialTokens)
      } else {
        try engine.tokens(of: call.text ?? "", addsSpecialTokens: call.addsSpecialTokens ?? true)
      }
    return TokenizeFrame(
      tokens: tokens, texts: call.wantsTexts ? tokens.map { engine.tokenizer?.token($0) ?? "" } : nil, contextLength: engine.contextLength)
  }

  private static func message(_ turn: ChatTurn) -> ChatMessage { ChatMessage(role: turn.role, content: turn.content, members: turn.members) }

  private static func generation(_ call: GenerateCall) throws -> GenerationRequest {
    let prompt: GenerationRequest.Prompt
    if let messages = call.messages {
      prompt = .conversation(
        ChatConversation(
          messages.map(message), tools: call.tools, values: call.templateValues))
    } else if let tokens = call.promptTokens {
      prompt = .tokens(tokens)
    } else {
      prompt = .text(call.prompt ?? "")
    }
    var request = GenerationRequest(id: call.requestID, prompt: prompt)
    request.emittedTokenIDs = call.emittedTokens
    request.maxTokens = call.maxTokens
    request.stop = call.stop
    request.ignoreEOS = call.ignoreEOS
    request.echo = call.echo
    request.logprobs = call.logprobs
    request.minTokens = call.minTokens ?? 0
    request.cacheSalt = call.cacheSalt ?? ""
    request.stopTokenIDs = call.stopTokenIDs ?? []
    request.includesStop = call.includesStop ?? false
    request.skipsSpecialTokens = !(call.keepsSpecialTokens ?? false)
    request.sampling.temperature = call.temperature
    request.sampling.topP = call.topP
    request.sampling.topK = call.topK
    request.sampling.minP = call.minP
    request.sampling.frequencyPenalty = call.frequencyPenalty
    request.sampling.presencePenalty = call.presencePenalty
    request.sampling.repetitionPenalty = call.repetitionPenalty
    request.sampling.seed = call.seed
    for (token, bias) in call.logitBias {
      guard let id = Int32(token) else { throw PlatformError(.invalidArgument, "logit_bias: '\(token)' is not a token id") }
      request.sampling.logitBias[id] = bias
    }
    return request
  }

  private static func frame(_ event: GenerationEvent) -> GenerateFrame {
    func logprob(_ token: Inference.TokenLogprob) -> GenerateFrame.TokenLogprob {
      .init(token: token.token, bytes: token.bytes, logprob: token.logprob, top: token.top.map(logprob))
    }
    var frame = GenerateFrame(
      text: event.text, tokens: event.tokenIDs, logprobs: event.logprobs?.map(logprob), finish: event.finish?.rawValue,
      promptTokens: event.usage?.promptTokens, completionTokens: event.usage?.completionTokens,
      cachedTokens: event.usage?.cachedTokens)
    frame.stop = event.stop
    return frame
  }
}

/// Texts to vectors with the encoder; a long text is cut at the encoder's own limit, as its reference does.
struct TextEncoder: Sendable {
  /// BERT has a path of its own, the other architectures share one.
  private enum Encoder: Sendable {
    case bert(BertEncoder)
    case other(EncoderModel, SentencePooling)
  }
  private let encoder: Encoder
  private let tokenizer: any Tokenizer
  private let truncationTokens: Int
  private let threads: Int

  /// - Parameters:
  ///   - precision: what matrices are multiplied as; nil: the stored numbers.
  ///   - threads: that compute; nil: one. With either, vectors are those of the shared path, whatever the number of threads.
  init(directory: String, precision: WeightPrecision? = nil, threads: Int? = nil) throws {
    self.threads = threads ?? 1
    tokenizer = try TokenizerFile.open(directory)
    if precision == nil, threads == nil, try ModelArchitectures.modelType(directory: directory) == "bert" {
      let bert = try BertEncoder(folder: directory)
      encoder = .bert(bert)
      truncationTokens = bert.truncationTokens
    } else {
      let model = try EncoderModel(directory: directory, precision: precision ?? .f32)
      let pooling = try SentencePooling(folder: directory)
      encoder = .other(model, pooling)
      truncationTokens = min(pooling.truncationTokens ?? .max, model.trainedTokens)
    }
  }

  func tokenized(_ call: TokenizeCall) throws -> TokenizeFrame {
    guard let text = call.text else { throw PlatformError(.invalidArgument, "an encoder has no chat template", number: "PLT-4301") }
    let tokens = tokenizer.encode(text, addSpecialTokens: call.addsSpecialTokens ?? true)
    return TokenizeFrame(tokens: tokens, texts: call.wantsTexts ? tokens.map { tokenizer.token($0) ?? "" } : nil, contextLength: truncationTokens)
  }

  func detokenized(_ call: DetokenizeCall) throws -> DetokenizeFrame { try tokenizer.frame(call) }

  func tokens(_ text: String) -> [Int32] { tokenizer.encode(text, maximumLength: truncationTokens) }

  func encode(_ texts: [String], isCancelled: (@Sendable () -> Bool)? = nil) throws -> (vectors: [[Float]], tokens: Int) {
    try encode(ids: texts.map(tokens), isCancelled: isCancelled)
  }

  /// Vectors of token ids as they are, the model's own marks among them.
  func encode(ids: [[Int32]], isCancelled: (@Sendable () -> Bool)? = nil) throws -> (vectors: [[Float]], tokens: Int) {
    let vectors =
      switch encoder {
      case .bert(let bert): try bert.encode(ids, isCancelled: isCancelled)
      case .other(let model, let pooling): try model.encode(ids, pooling: pooling, threads: threads, isCancelled: isCancelled)
      }
    return (vectors, ids.reduce(0) { $0 + $1.count })
  }
}

private struct EmbedAnswering: Answering {
  let encoder: TextEncoder
  let thread = BlockingPool(name: "encode", threads: 1, queueLimit: 1024)

  init(_ spec: ReplicaSpec) throws {
    encoder = try TextEncoder(directory: spec.modelDirectory, precision: spec.dtype == nil ? nil : spec.precision(), threads: spec.threads)
  }

  func answer(_ request: StreamRequest, _ reply: StreamReply) async throws {
    if request.verb == ReplicaVerb.tokenize { return try await reply.send(JSONEncoder.platform.encode(encoder.tokenized(request.decode()))) }
    if request.verb == ReplicaVerb.detokenize { return try await reply.send(JSONEncoder.platform.encode(encoder.detokenized(request.decode()))) }
    try request.require(ReplicaVerb.embed)
    let call: EmbedCall = try request.decode()
    let encoder = self.encoder
    let answer = try await thread.run {
      if let ids = call.tokenInputs { return try encoder.encode(ids: ids, isCancelled: { !reply.isWanted }) }
      return try encoder.encode(call.inputs, isCancelled: { !reply.isWanted })
    }
    try await reply.send(JSONEncoder.platform.encode(EmbedFrame(vectors: answer.vectors, tokens: answer.tokens)))
  }

  func stop() {}
}

private struct SearchAnswering: Answering {
  let encoder: TextEncoder
  let index: StoredVectorIndex
  let thread = BlockingPool(name: "search", threads: 1, queueLimit: 1024)

  init(_ spec: ReplicaSpec) throws {
    encoder = try TextEncoder(directory: spec.modelDirectory)
    guard let folder = spec.indexDirectory else { throw PlatformError(.internalError, "a search replica needs an index folder") }
    index = try StoredVectorIndex(path: folder)
  }

  func answer(_ request: StreamRequest, _ reply: StreamReply) async throws {
    try request.require(ReplicaVerb.search)
    let call: SearchCall = try request.decode()
    let (encoder, index) = (encoder, index)
    let hits = try await thread.run {
      guard let vector = try encoder.encode([call.text]).vectors.first else { return [VectorSearchHit]() }
      return try index.search(vector, k: call.count)
    }
    let frame = SearchFrame(
      hits: hits.map { .init(id: $0.payload.chunkID, path: $0.payload.path, text: $0.payload.text, score: Double($0.score)) },
      tableVersion: index.manifest.sourceVersion)
    try await reply.send(JSONEncoder.platform.encode(frame))
  }

  func stop() {}
}
