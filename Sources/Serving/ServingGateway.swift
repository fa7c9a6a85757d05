// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Logging
import Synchronization
public import Transport

/// The router's way to one replica. `Transport`'s stream client in production, a script in tests.
public protocol ReplicaChannel: Sendable {
  /// Sends a request and streams the replica's frames. Ending the consumer cancels the request at the replica.
  /// A replica that dies fails the stream with `unavailable`.
  func call(verb: String, payload: Data, deadline: Duration) -> AsyncThrowingStream<Data, any Error>
  func close()
}

/// What the gateway knows of an endpoint.
public struct ServedEndpoint: Sendable, Equatable {
  public var name: String
  /// `generate`, `embed`, `rerank`, `search`.
  public var kind: String
  public var model: String
  public var createdAt: Date
  /// Served as models of their own, by the endpoint's replicas.
  public var adapters: [ServedAdapter]
  /// It is to have no replicas.
  public var isStopped: Bool
  public init(name: String, kind: String, model: String, createdAt: Date, adapters: [ServedAdapter] = [], isStopped: Bool = false) {
    self.isStopped = isStopped
    self.adapters = adapters
    self.name = name
    self.kind = kind
    self.model = model
    self.createdAt = createdAt
  }
}

/// An adapter of an endpoint's model.
public struct ServedAdapter: Sendable, Equatable {
  public var name: String
  /// `models:/catalog.schema.name/3`
  public var model: String
  /// Its folder.
  public var location: String
  public init(name: String, model: String, location: String) {
    self.name = name
    self.model = model
    self.location = location
  }
}

/// What a model's name means in a request.
public struct ServedModel: Sendable, Equatable {
  public var endpoint: ServedEndpoint
  /// Nil: the endpoint's model alone.
  public var adapter: ServedAdapter?
  public init(endpoint: ServedEndpoint, adapter: ServedAdapter? = nil) {
    self.endpoint = endpoint
    self.adapter = adapter
  }

  /// `models:/catalog.schema.name/3`
  public var model: String { adapter?.model ?? endpoint.model }
}

/// What a replica told of itself.
public struct ReplicaMetrics: Sendable {
  public var endpoint: String
  public var unit: String
  public var frame: MetricFrame
}

/// Who asks, and how: what the inference log needs beside the request itself.
public struct RequestOrigin: Sendable {
  public var requestID: String
  public var principal: String
  public var operation: String
  public var stream: Bool
  public init(requestID: String, principal: String, operation: String, stream: Bool) {
    self.requestID = requestID
    self.principal = principal
    self.operation = operation
    self.stream = stream
  }
}

/// Sends requests to replicas, moves them when a replica dies, and writes one inference-log record for each.
///
/// A generation that lost its replica goes on at another one behind the tokens that were already drawn; text that the
/// client has is never sent twice. Sampling depends on (seed, position) only, so the answer is the same as without failure.
public final class ServingGateway: Sendable {
  private struct State {
    var router = RouterState()
    var channels: [String: any ReplicaChannel] = [:]
    var endpoints: [String: ServedEndpoint] = [:]
    var counters: [String: EndpointCounters] = [:]
    var waiting = 0
  }

  /// Requests that may wait for a replica, over all endpoints; more are refused with `resourceExhausted`.
  public static let waitingLimit = 512
  /// Requests at one replica; above it new ones are refused: they would only wait longer than their deadline.
  public static let outstandingLimit = 256
  /// How long a request waits for a replica when none is ready.
  public static let replicaWait: Duration = .seconds(30)
  /// How long one waits that has lost its replica: its client has a part of the answer, and a replica that starts again takes a while.
  public static let movedWait: Duration = .seconds(180)

  private let state = Mutex(State())
  private let spool: InferenceSpool
  private let logger: Logger
  private let connect: @Sendable (RouterState.Replica) throws -> any ReplicaChannel
  /// Longest time that one request may take.
  public let deadline: Duration

  /// - Parameter connect: opens the channel to a replica that has become ready.
  public init(
    spool: InferenceSpool, logger: Logger, deadline: Duration = .seconds(600),
    connect: @escaping @Sendable (RouterState.Replica) throws -> any ReplicaChannel
  ) {
    self.spool = spool
    self.logger = logger
    self.deadline = deadline
    self.connect = connect
  }

  // MARK: endpoints and replicas

  public func set(_ endpoint: ServedEndpoint) { state.withLock { $0.endpoints[endpoint.name] = endpoint } }
  /// Adds an adapter, or another version of one, to an endpoint.
  public func setAdapter(_ adapter: ServedAdapter, endpoint name: String) {
    state.withLock { state in
      guard var endpoint = state.endpoints[name] else { return }
      endpoint.adapters = (endpoint.adapters.filter { $0.name != adapter.name } + [adapter]).sorted { $0.name < $1.name }
      state.endpoints[name] = endpoint
    }
  }
  public func removeAdapter(_ name: String) {
    state.withLock { state in
      for endpoint in state.endpoints.keys { state.endpoints[endpoint]?.adapters.removeAll { $0.name == name } }
    }
  }
  /// Requests to a stopped endpoint are refused at once once its replicas have gone.
  public func setStopped(_ isStopped: Bool, endpoint name: String) { state.withLock { $0.endpoints[name]?.isStopped = isStopped } }
  /// New requests find no such model; those under way are written to their end while its replicas drain.
  public func removeEndpoint(_ name: String) { state.withLock { $0.endpoints[name] = nil } }
  public func endpoints() -> [ServedEndpoint] { state.withLock { $0.endpoints.values.sorted { $0.name < $1.name } } }
  public func endpoint(_ name: String) -> ServedEndpoint? { state.withLock { $0.endpoints[name] } }
  /// An endpoint, or an adapter of one, by its name.
  public func served(_ name: String) -> ServedModel? {
    state.withLock { state in
      if let endpoint = state.endpoints[name] { return ServedModel(endpoint: endpoint) }
      for endpoint in state.endpoints.values {
        if let adapter = endpoint.adapters.first(where: { $0.name == name }) { return ServedModel(endpoint: endpoint, adapter: adapter) }
      }
      return nil
    }
  }
  public func replicas(of endpoint: String) -> [RouterState.Replica] { state.withLock { $0.router.replicas(of: endpoint) } }
  public func counters() -> [String: EndpointCounters] { state.withLock { $0.counters } }
  public var droppedLogRecords: Int64 { spool.dropped }

  /// A replica serves. Workers repeat this; a replica that is known keeps its channel and what it has in flight.
  public func replicaReady(_ replica: RouterState.Replica, endpoint: String) {
    let known = state.withLock { state in
      state.channels[replica.unit] != nil
        && state.router.replicas(of: endpoint).contains {
          $0.process == replica.process && $0.address == replica.address && $0.publicKey == replica.publicKey
        }
    }
    if known { return }
    do {
      let channel = try connect(replica)
      let old = state.withLock { state in
        let old = state.channels.updateValue(channel, forKey: replica.unit)
        state.router.replicaReady(replica, endpoint: endpoint)
        return old
      }
      old?.close()
    } catch {
      logger.error("cannot reach a replica", metadata: ["unit": "\(replica.unit)", "error": "\(error)"])
    }
  }

  /// A replica that drains gets nothing new; what it has goes on.
  public func replicaDraining(unit: String, endpoint: String) {
    state.withLock { $0.router.drain(unit: unit, endpoint: endpoint) }
  }

  /// The replica's process has ended: what it had in flight fails and moves. Of a draining replica it is answered to its end.
  public func replicaGone(unit: String, attempt: Int, endpoint: String) {
    let channel = state.withLock { state -> (any ReplicaChannel)? in
      guard state.router.replicaGone(unit: unit, attempt: attempt, endpoint: endpoint) != nil else { return nil }
      return state.channels.removeValue(forKey: unit)
    }
    channel?.close()
  }

  // MARK: requests

  /// A generation as frames; the last frame has `finish` and the usage. `name` is that of an endpoint or of an adapter.
  /// - Throws (into the stream): `notFound`, `invalidArgument`, `unavailable`, `resourceExhausted`, `timeout`.
  public func generate(
    endpoint name: String, _ call: GenerateCall, origin: RequestOrigin
  ) -> AsyncThrowingStream<GenerateFrame, any Error> {
    AsyncThrowingStream(bufferingPolicy: .bufferingOldest(100_000)) { continuation in
      let task = Task { await self.runGeneration(name, call, origin, continuation) }
      continuation.onTermination = { if case .cancelled = $0 { task.cancel() } }
    }
  }

  private func runGeneration(
    _ asked: String, _ original: GenerateCall, _ origin: RequestOrigin,
    _ continuation: AsyncThrowingStream<GenerateFrame, any Error>.Continuation
  ) async {
    // The adapter that was served when the request came stays its adapter, wherever it goes on.
    let served = served(asked)
    let name = served?.endpoint.name ?? asked
    var record = RequestRecord(asked, model: served?.model ?? "", origin)
    record.log.input = original.prompt ?? original.messages?.map { "\($0.role): \($0.content)" }.joined(separator: "\n") ?? ""
    let end = ContinuousClock.now + deadline
    var call = original
    call.cacheSalt = origin.principal
    call.adapter = served?.adapter.map { AdapterCall(name: $0.name, directory: $0.location) }
    var failed: Set<String> = []
    /// Of the replica that has begun the answer: another model, or other weights of it, would go on with another text.
    var generation: Int?
    let work = original.maxTokens ?? 256
    do {
      try requireEndpoint(name, kind: "generate")
      while true {
        let (replica, channel) = try await lease(name, work: work, excluding: failed, generation: generation, until: end)
        record.log.replicas.append(replica.unit)
        defer { finished(replica, name, work) }
        do {
          for try await data in channel.call(
            verb: ReplicaVerb.generate, payload: try JSONEncoder.platform.encode(call), deadline: end - ContinuousClock.now)
          {
            let frame = try JSONDecoder.platform.decode(GenerateFrame.self, from: data)
            try Task.checkCancellation()
            call.emittedTokens += frame.tokens
            generation = replica.generation
            if !frame.text.isEmpty || !frame.tokens.isEmpty { record.sawToken() }
            record.append(frame.text)
            record.log.completionTokens = frame.completionTokens ?? call.emittedTokens.count
            record.log.promptTokens = frame.promptTokens ?? record.log.promptTokens
            if let finish = frame.finish {
              record.log.outcome = finish
              finishRecord(&record)
              continuation.yield(frame)
              continuation.finish()
              return
            }
            continuation.yield(frame)
          }
          throw PlatformError(.unavailable, "the replica ended the stream early")
        } catch let error as PlatformError where error.code == .unavailable {
          try Task.checkCancellation()
          failed.insert(replica.process)
          logger.warning("request moves", metadata: ["request.id": "\(origin.requestID)", "from": "\(replica.unit)", "error": "\(error)"])
          if failed.count > 8 { throw error }
        }
      }
    } catch {
      fail(&record, error)
      continuation.finish(throwing: error is CancellationError ? PlatformError(.cancelled, "cancelled") : error)
    }
  }

  /// Vectors of texts. Retried on another replica: it has no effects.
  public func embed(endpoint name: String, _ call: EmbedCall, origin: RequestOrigin) async throws -> EmbedFrame {
    var record = RequestRecord(name, model: endpoint(name)?.model ?? "", origin)
    record.log.input = call.inputs.first ?? ""
    do {
      let frame: EmbedFrame = try await once(name, kind: "embed", verb: ReplicaVerb.embed, call, work: call.tokenInputs?.count ?? call.inputs.count, &record)
      record.log.promptTokens = frame.tokens
      record.log.outcome = "stop"
      finishRecord(&record)
      return frame
    } catch {
      fail(&record, error)
      throw error
    }
  }

  /// How well documents fit a query. Retried on another replica: it has no effects.
  public func rerank(endpoint name: String, _ call: RerankCall, origin: RequestOrigin) async throws -> RerankFrame {
    var record = RequestRecord(name, model: endpoint(name)?.model ?? "", origin)
    record.log.input = call.queries.first ?? ""
    do {
      let frame: RerankFrame = try await once(name, kind: "rerank", verb: ReplicaVerb.rerank, call, work: call.documents.count, &record)
      record.log.promptTokens = frame.tokens
      record.log.outcome = "stop"
      finishRecord(&record)
      return frame
    } catch {
      fail(&record, error)
      throw error
    }
  }

  /// The nearest rows of an index to a text.
  public func search(endpoint name: String, _ call: SearchCall, origin: RequestOrigin) async throws -> SearchFrame {
    var record = RequestRecord(name, model: endpoint(name)?.model ?? "", origin)
    record.log.input = call.text
    do {
      let frame: SearchFrame = try await once(name, kind: "search", verb: ReplicaVerb.search, call, work: 1, &record)
      record.log.outcome = "stop"
      finishRecord(&record)
      return frame
    } catch {
      fail(&record, error)
      throw error
    }
  }

  /// What a text is to an endpoint's model. Nothing is generated, so nothing is logged.
  public func tokenize(endpoint name: String, _ call: TokenizeCall, origin: RequestOrigin) async throws -> TokenizeFrame {
    var record = RequestRecord(name, model: "", origin)
    return try await once(name, kind: readsTexts(name), verb: ReplicaVerb.tokenize, call, work: 1, &record)
  }

  /// What token ids are as text. Nothing is logged.
  public func detokenize(endpoint name: String, _ call: DetokenizeCall, origin: RequestOrigin) async throws -> DetokenizeFrame {
    var record = RequestRecord(name, model: "", origin)
    return try await once(name, kind: readsTexts(name), verb: ReplicaVerb.detokenize, call, work: 1, &record)
  }

  /// Encoders have tokenizers, too.
  private func readsTexts(_ name: String) -> String { endpoint(name)?.kind == "embed" ? "embed" : "generate" }

  private func once<Answer: Decodable>(
    _ asked: String, kind: String, verb: String, _ call: some Encodable & Sendable, work: Int, _ record: inout RequestRecord
  ) async throws -> Answer {
    try requireEndpoint(asked, kind: kind)
    let name = served(asked)?.endpoint.name ?? asked
    let payload = try JSONEncoder.platform.encode(call)
    let end = ContinuousClock.now + .seconds(120)
    var failed: Set<String> = []
    while true {
      let (replica, channel) = try await lease(name, work: work, excluding: failed, until: end)
      record.log.replicas.append(replica.unit)
      defer { finished(replica, name, work) }
      do {
        for try await data in channel.call(verb: verb, payload: payload, deadline: end - ContinuousClock.now) {
          return try JSONDecoder.platform.decode(Answer.self, from: data)
        }
        throw PlatformError(.unavailable, "the replica sent no answer")
      } catch let error as PlatformError where error.code == .unavailable {
        try Task.checkCancellation()
        failed.insert(replica.process)
        if failed.count > 4 { throw error }
      }
    }
  }

  /// What replicas tell of themselves, all asked at once. One that does not answer in time is left out.
  public func replicaMetrics(within limit: Duration = .seconds(2)) async -> [ReplicaMetrics] {
    let asked = state.withLock { state in
      state.endpoints.values.flatMap { endpoint in
        state.router.replicas(of: endpoint.name).compactMap { replica in
          state.channels[replica.unit].map { (endpoint: endpoint.name, unit: replica.unit, channel: $0) }
        }
      }
    }
    let answers = await withTaskGroup(of: ReplicaMetrics?.self, returning: [ReplicaMetrics].self) { group in
      for one in asked {
        group.addTask {
          do {
            for try await data in one.channel.call(verb: ReplicaVerb.metrics, payload: Data("{}".utf8), deadline: limit) {
              return ReplicaMetrics(endpoint: one.endpoint, unit: one.unit, frame: try JSONDecoder.platform.decode(MetricFrame.self, from: data))
            }
          } catch {
            // Its state is told by `platform_endpoint_replicas`; a scrape does not fail for one replica.
            self.logger.debug("a replica told no metrics", metadata: ["unit": "\(one.unit)", "error": "\(error)"])
          }
          return nil
        }
      }
      return await group.reduce(into: []) { if let answer = $1 { $0.append(answer) } }
    }
    return answers.sorted { ($0.endpoint, $0.unit) < ($1.endpoint, $1.unit) }
  }

  private func requireEndpoint(_ name: String, kind: String) throws {
    guard let endpoint = served(name)?.endpoint else {
      throw PlatformError(
        .notFound, "the model '\(name)' does not exist", hint: "GET /v1/models lists what is served.", number: "model_not_found")
    }
    guard endpoint.kind == kind else {
      throw PlatformError(.invalidArgument, "the model '\(name)' is served for \(endpoint.kind), not for \(kind)", number: "PLT-4301")
    }
  }

  /// A replica for one request, waiting a while when none is ready.
  /// - Throws: `unavailable` (PLT-5292) when replicas of a later generation have taken the place of all that could go on with the answer.
  private func lease(
    _ name: String, work: Int, excluding: Set<String>, generation: Int? = nil, until end: ContinuousClock.Instant
  ) async throws -> (RouterState.Replica, any ReplicaChannel) {
    let giveUp = min(end, ContinuousClock.now + (excluding.isEmpty ? Self.replicaWait : Self.movedWait))
    let isEndpoint = state.withLock { $0.endpoints[name] != nil }
    var waiting = false
    defer { if waiting { state.withLock { $0.waiting -= 1 } } }
    while true {
      let found = try state.withLock { state -> (RouterState.Replica, any ReplicaChannel)? in
        let others = state.router.replicas(of: name)
        let ready = others.filter {
          !$0.draining && !excluding.contains($0.process) && (generation == nil || $0.generation == generation)
        }
        if let generation, ready.isEmpty, others.contains(where: { $0.generation > generation }) {
          throw PlatformError(
            .unavailable, "the model of '\(name)' was replaced while this answer was being written, and what wrote it is gone",
            hint: "Send the request again: another model would have gone on with another text.", number: "PLT-5292")
        }
        if !ready.isEmpty && ready.allSatisfy({ $0.outstanding >= Self.outstandingLimit }) {
          throw PlatformError(.resourceExhausted, "'\(name)' is at its limit", hint: "Try again shortly, or add replicas.", number: "PLT-4302")
        }
        if ready.isEmpty, isEndpoint, state.endpoints[name] == nil {
          throw PlatformError(.notFound, "the model '\(name)' was deleted", hint: "GET /v1/models lists what is served.", number: "model_not_found")
        }
        if ready.isEmpty, state.endpoints[name]?.isStopped == true {
          throw PlatformError(
            .unavailable, "'\(name)' is stopped; 'platform scale endpoint \(name) --replicas 1' starts it", number: "PLT-4540")
        }
        guard let replica = state.router.choose(endpoint: name, work: work, excluding: excluding, generation: generation),
          let channel = state.channels[replica.unit]
        else { return nil }
        return (replica, channel)
      }
      if let found { return found }
      if !waiting {
        waiting = try state.withLock { state in
          guard state.waiting < Self.waitingLimit else {
            throw PlatformError(.resourceExhausted, "too many requests wait for '\(name)'", number: "PLT-4302")
          }
          state.waiting += 1
          return true
        }
      }
      guard ContinuousClock.now < giveUp else {
        throw PlatformError(.unavailable, "no replica of '\(name)' is ready", hint: "See 'platform endpoints list'.", number: "PLT-4303")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  private func finished(_ replica: RouterState.Replica, _ name: String, _ work: Int) {
    let channel = state.withLock { state -> (any ReplicaChannel)? in
      guard state.router.finished(unit: replica.unit, attempt: replica.attempt, endpoint: name, work: work) != nil else { return nil }
      return state.channels.removeValue(forKey: replica.unit)
    }
    channel?.close()
  }

  // MARK: log

  /// Records a request that was refused before it reached an endpoint (a malformed body, for example).
  public func logRefused(endpoint name: String, origin: RequestOrigin, error: any Error) {
    var record = RequestRecord(name, model: served(name)?.model ?? "", origin)
    fail(&record, error)
  }

  private func fail(_ record: inout RequestRecord, _ error: any Error) {
    let failure = PlatformError.from(error)
    record.log.outcome = failure.code == .cancelled ? "disconnected" : "error"
    record.log.error = failure.message
    record.log.status =
      switch failure.code {
      case .cancelled: 499
      case .invalidArgument, .invalidFile: 400
      case .notFound: 404
      case .resourceExhausted: 429
      case .timeout: 504
      case .unavailable, .badConfiguration: 503
      case .unauthenticated: 401
      case .permissionDenied: 403
      case .conflict, .alreadyExists: 409
      case .internalError, .failed: 500
      }
    finishRecord(&record)
  }

  /// Before the last frame leaves, so that a client that has its answer is in the log, whatever dies next.
  private func finishRecord(_ record: inout RequestRecord) {
    record.log.totalMilliseconds = record.elapsedMilliseconds
    spool.append(record.log)
    let log = record.log
    state.withLock { $0.counters[log.endpoint, default: EndpointCounters()].add(log) }
  }
}

/// A record under construction with its clock.
private struct RequestRecord {
  var log: InferenceLogRecord
  private let start = ContinuousClock.now

  init(_ endpoint: String, model: String, _ origin: RequestOrigin) {
    log = InferenceLogRecord(
      requestID: origin.requestID, time: Date(), endpoint: endpoint, model: model, operation: origin.operation,
      principal: origin.principal, stream: origin.stream)
  }

  var elapsedMilliseconds: Double { (ContinuousClock.now - start) / .milliseconds(1) }

  mutating func sawToken() {
    if log.firstTokenMilliseconds == nil { log.firstTokenMilliseconds = elapsedMilliseconds }
  }

  mutating func append(_ text: String) {
    if log.output.utf8.count < InferenceLogRecord.textLimit { log.output += text }
  }
}
