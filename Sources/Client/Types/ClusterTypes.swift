// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// One machine of the cluster as `platform nodes list` shows it.
public struct NodeInfo: Codable, Sendable, Equatable {
  public var name: String
  /// `READY`, `CORDONED`, `DRAINING`, `DRAINED`, `LOST`.
  public var state: String
  public var hostID: String
  public var slots: Int
  public var running: [String]
  public var residentBytes: Int64
  public var lastSeen: Date?
  public var version: String
  /// For tasks that say how much they need. These three are absent in answers of older coordinators.
  public var cpus: Double?
  public var memoryBytes: Int64?
  public var labels: [String: String]?
  /// Programs that want the machine's processors, as the system counts them over a minute.
  public var load: Double?

  public init(
    name: String, state: String, hostID: String, slots: Int, running: [String], residentBytes: Int64, lastSeen: Date?,
    version: String, cpus: Double? = nil, memoryBytes: Int64? = nil, labels: [String: String]? = nil, load: Double? = nil
  ) {
    self.load = load
    self.cpus = cpus
    self.memoryBytes = memoryBytes
    self.labels = labels
    self.name = name
    self.state = state
    self.hostID = hostID
    self.slots = slots
    self.running = running
    self.residentBytes = residentBytes
    self.lastSeen = lastSeen
    self.version = version
  }

  enum CodingKeys: String, CodingKey {
    case name, state, slots, running, version, cpus, labels, load
    case memoryBytes = "memory_bytes"
    case hostID = "host_id"
    case residentBytes = "resident_bytes"
    case lastSeen = "last_seen"
  }
}

public struct NodeList: Codable, Sendable {
  public var nodes: [NodeInfo]
  public init(nodes: [NodeInfo]) { self.nodes = nodes }
}

/// A serving endpoint with the replicas that answer for it.
public struct EndpointInfo: Codable, Sendable, Equatable {
  public struct Replica: Codable, Sendable, Equatable {
    public var unit: String
    public var node: String
    /// `STARTING`, `READY`, `DRAINING`, `GONE`.
    public var state: String
    public var outstanding: Int
    /// Of a replica whose model is split: the node of each rank. Its `node` is that of rank 0.
    public var ranks: [String]?
    /// What its process tells of itself, when that was asked for and it answered.
    public var load: ReplicaLoad?
    public init(unit: String, node: String, state: String, outstanding: Int, ranks: [String]? = nil, load: ReplicaLoad? = nil) {
      self.load = load
      self.ranks = ranks
      self.unit = unit
      self.node = node
      self.state = state
      self.outstanding = outstanding
    }
  }
  public var name: String
  public var kind: String
  public var model: String
  public var desiredReplicas: Int
  public var replicas: [Replica]
  public var requests: Int64
  public var errors: Int64
  /// When a request last ended; nil: none has since the coordinator started.
  public var lastRequestAt: Date?
  /// Served as models of their own; nil for none.
  public var adapters: [Adapter]?

  public struct Adapter: Codable, Sendable, Equatable {
    public var name: String
    public var model: String
    public init(name: String, model: String) {
      self.name = name
      self.model = model
    }
  }

  public init(
    name: String, kind: String, model: String, desiredReplicas: Int, replicas: [Replica], requests: Int64 = 0,
    errors: Int64 = 0, lastRequestAt: Date? = nil, adapters: [Adapter] = []
  ) {
    self.lastRequestAt = lastRequestAt
    self.adapters = adapters.isEmpty ? nil : adapters
    self.name = name
    self.kind = kind
    self.model = model
    self.desiredReplicas = desiredReplicas
    self.replicas = replicas
    self.requests = requests
    self.errors = errors
  }

  public var ready: Int { replicas.filter { $0.state == "READY" }.count }

  enum CodingKeys: String, CodingKey {
    case name, kind, model, replicas, requests, errors, adapters
    case desiredReplicas = "desired_replicas"
    case lastRequestAt = "last_request_at"
  }
}

/// What a replica's process uses at a moment.
public struct ReplicaLoad: Codable, Sendable, Equatable {
  /// Memory, of a split model that of rank 0; mapped weights count as far as they are in memory.
  public var residentBytes: Int64
  /// Requests in the batch, and those that wait for room in it. Nil for replicas that draw no tokens.
  public var running: Int?
  public var waiting: Int?
  /// Tokens drawn since the process started.
  public var generatedTokens: Int64?
  /// Share of the cache's blocks that requests hold; 1 is all.
  public var cacheUsage: Double?

  public init(residentBytes: Int64, running: Int? = nil, waiting: Int? = nil, generatedTokens: Int64? = nil, cacheUsage: Double? = nil) {
    self.residentBytes = residentBytes
    self.running = running
    self.waiting = waiting
    self.generatedTokens = generatedTokens
    self.cacheUsage = cacheUsage
  }

  enum CodingKeys: String, CodingKey {
    case running, waiting
    case residentBytes = "resident_bytes"
    case generatedTokens = "generated_tokens"
    case cacheUsage = "cache_usage"
  }
}

public struct EndpointList: Codable, Sendable {
  public var endpoints: [EndpointInfo]
  public init(endpoints: [EndpointInfo]) { self.endpoints = endpoints }
}

public struct ScaleRequest: Codable, Sendable {
  public var replicas: Int
  public init(replicas: Int) { self.replicas = replicas }
}

/// What `platform status` prints.
public struct StatusInfo: Codable, Sendable {
  public var version: String
  public var epoch: Int64
  public var startedAt: Date
  public var postgres: String
  public var storage: String
  public var storageFreeBytes: Int64
  public var nodesReady: Int
  public var nodesTotal: Int
  public var endpointsReady: Int
  public var endpointsTotal: Int
  public var runsActive: Int
  public var runsQueued: Int
  public var alerts: [String]

  public init(
    version: String, epoch: Int64, startedAt: Date, postgres: String, storage: String, storageFreeBytes: Int64,
    nodesReady: Int, nodesTotal: Int, endpointsReady: Int, endpointsTotal: Int, runsActive: Int, runsQueued: Int,
    alerts: [String]
  ) {
    self.version = version
    self.epoch = epoch
    self.startedAt = startedAt
    self.postgres = postgres
    self.storage = storage
    self.storageFreeBytes = storageFreeBytes
    self.nodesReady = nodesReady
    self.nodesTotal = nodesTotal
    self.endpointsReady = endpointsReady
    self.endpointsTotal = endpointsTotal
    self.runsActive = runsActive
    self.runsQueued = runsQueued
    self.alerts = alerts
  }

  enum CodingKeys: String, CodingKey {
    case version, epoch, postgres, storage, alerts
    case startedAt = "started_at"
    case storageFreeBytes = "storage_free_bytes"
    case nodesReady = "nodes_ready"
    case nodesTotal = "nodes_total"
    case endpointsReady = "endpoints_ready"
    case endpointsTotal = "endpoints_total"
    case runsActive = "runs_active"
    case runsQueued = "runs_queued"
  }
}

public struct JoinTokenRequest: Codable, Sendable {
  public var ttlSeconds: Int
  public var uses: Int
  public init(ttlSeconds: Int, uses: Int) {
    self.ttlSeconds = ttlSeconds
    self.uses = uses
  }
  enum CodingKeys: String, CodingKey {
    case uses
    case ttlSeconds = "ttl_seconds"
  }
}

public struct JoinTokenResponse: Codable, Sendable {
  public var token: String
  /// Where `platform join` connects: `host:port`.
  public var address: String
  public init(token: String, address: String) {
    self.token = token
    self.address = address
  }
}

/// A link that signs a browser in.
public struct LoginLink: Codable, Sendable {
  /// Path with its one-time code, below the cluster's address.
  public var path: String
  public var expiresInSeconds: Int

  public init(path: String, expiresInSeconds: Int) {
    self.path = path
    self.expiresInSeconds = expiresInSeconds
  }

  enum CodingKeys: String, CodingKey {
    case path
    case expiresInSeconds = "expires_in_seconds"
  }
}
