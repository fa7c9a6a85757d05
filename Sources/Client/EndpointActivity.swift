// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// One line of `platform ps`: an endpoint as it serves at a moment. A value made of values.
public struct EndpointActivity: Codable, Sendable, Equatable {
  public enum State: String, Codable, Sendable {
    /// All wanted replicas are ready.
    case running = "RUNNING"
    /// None is ready yet.
    case starting = "STARTING"
    /// Some are ready.
    case degraded = "DEGRADED"
    /// None is wanted; the last ones answer what they have.
    case stopping = "STOPPING"
    case stopped = "STOPPED"
  }

  public var endpoint: String
  public var model: String
  public var kind: String
  public var state: State
  public var ready: Int
  public var wanted: Int
  public var nodes: [String]
  /// Of all replicas that tell it; nil when none does.
  public var memoryBytes: Int64?
  /// Requests that replicas compute, and those that wait at them.
  public var running: Int
  public var waiting: Int
  /// Drawn by all replicas between two looks; nil without a second look, and for what draws none.
  public var tokensPerSecond: Double?
  /// When a request last ended; nil: none since the coordinator started.
  public var lastRequestAt: Date?
  public var requests: Int64
  public var errors: Int64

  enum CodingKeys: String, CodingKey {
    case endpoint, model, kind, state, ready, wanted, nodes, running, waiting, requests, errors
    case memoryBytes = "memory_bytes"
    case tokensPerSecond = "tokens_per_second"
    case lastRequestAt = "last_request_at"
  }

  /// - Parameters:
  ///   - before: the same endpoint, `seconds` earlier.
  public init(_ info: EndpointInfo, before: EndpointInfo? = nil, seconds: Double = 0) {
    endpoint = info.name
    model = info.model
    kind = info.kind
    ready = info.ready
    wanted = info.desiredReplicas
    state =
      wanted == 0
      ? (info.replicas.isEmpty ? .stopped : .stopping) : ready >= wanted ? .running : ready == 0 ? .starting : .degraded
    nodes = Set(info.replicas.flatMap { $0.ranks ?? [$0.node] }).filter { !$0.isEmpty && $0 != "-" }.sorted()
    let loads = info.replicas.compactMap(\.load)
    memoryBytes = loads.isEmpty ? nil : loads.reduce(0) { $0 + $1.residentBytes }
    waiting = loads.reduce(0) { $0 + ($1.waiting ?? 0) }
    // What the gateway has sent and no engine counts is with replicas that count nothing.
    running = info.replicas.reduce(0) { $0 + ($1.load?.running ?? $1.outstanding) }
    lastRequestAt = info.lastRequestAt
    requests = info.requests
    errors = info.errors
    guard let before, seconds > 0 else { return }
    let then = Dictionary(before.replicas.map { ($0.unit, $0.load?.generatedTokens) }, uniquingKeysWith: { first, _ in first })
    let drawn = info.replicas.compactMap { replica -> Int64? in
      guard let now = replica.load?.generatedTokens, let earlier = then[replica.unit] ?? nil, now >= earlier else { return nil }
      return now - earlier
    }
    if !drawn.isEmpty { tokensPerSecond = Double(drawn.reduce(0, +)) / seconds }
  }

  /// Whether `docker ps` would show it.
  public var isShown: Bool { state != .stopped }
}
