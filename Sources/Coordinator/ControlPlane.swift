// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs
import Logging
import ObjectStore
import Scheduling
import Serving
import Synchronization
import Transport

/// Translates between the control link and the scheduler: events one way, effects the other. Also keeps what only pages show
/// (heartbeats, progress) and hands curves and logs to their store.
final class ControlPlane: Sendable {
  /// The last that was heard of a node.
  struct NodeView: Sendable {
    var name: String
    var hostID: String
    var slots: Int
    var cpus: Double
    var memoryBytes: Int64
    var labels: [String: String]
    var incarnation: Int64
    var version: String
    var connected: Bool
    var lastSeen: Date
    var residentBytes: Int64
    var load: Double
    var running: [String]
  }

  private struct State {
    var nodes: [String: NodeView] = [:]
    var beats: [String: Int64] = [:]
    var progress: [String: (done: Int64, total: Int64, unit: String)] = [:]
    var metrics: [RunTelemetry.Metric] = []
    var logs: [RunTelemetry.Log] = []
    var droppedTelemetry = 0
    /// Curves and logs are on their way to Postgres.
    var isStoring = false
  }

  /// Curve points and log lines that may wait for Postgres; more are dropped and counted.
  static let telemetryLimit = 100_000

  private let server: any ControlServing
  private let telemetry: RunTelemetry
  private let gateway: ServingGateway
  private let logger: Logger
  private let state = Mutex(State())
  private let statements: StatementDispatcher
  private let waiters: RunWaiters
  private let secrets: SecretReader
  private let events: ClusterEventLog

  init(
    server: any ControlServing, telemetry: RunTelemetry, gateway: ServingGateway, statements: StatementDispatcher, waiters: RunWaiters,
    secrets: SecretReader, events: ClusterEventLog, logger: Logger
  ) {
    self.events = events
    self.server = server
    self.statements = statements
    self.waiters = waiters
    self.secrets = secrets
    self.telemetry = telemetry
    self.gateway = gateway
    self.logger = logger
  }

  func nodes() -> [NodeView] { state.withLock { $0.nodes.values.sorted { $0.name < $1.name } } }
  func progress(of unit: String) -> (done: Int64, total: Int64, unit: String)? { state.withLock { $0.progress[unit] } }

  // MARK: worker to scheduler

  /// Reads the link until it closes.
  func receive(into runner: JobRunner) async {
    for await event in server.events {
      switch event {
      case .connected(let hello): await connected(hello, runner)
      case .disconnected(let node, let reason):
        // A broken connection is no proof of death: the lease decides.
        logger.warning("node is silent", metadata: ["node": "\(node)", "reason": "\(reason)"])
        state.withLock { $0.nodes[node]?.connected = false }
        events.add(ClusterEvent(.nodeSilent, node, node: node, "node \(node) is silent: \(reason)"))
        statements.workerDown(node)
      case .message(let node, _, let message):
        if statements.received(message, from: node) { continue }
        await received(message, from: node, runner)
      }
    }
  }

  private func connected(_ hello: Transport.WorkerHello, _ runner: JobRunner) async {
    logger.info("node connected", metadata: ["node": "\(hello.node)"])
    let held = (hello.running + hello.unacknowledged).map { Scheduling.UnitAttempt(unit: $0.unit, attempt: $0.attempt) }
    let incarnation = Int64(clamping: hello.incarnation)
    let (isKnown, isBack) = state.withLock { state in
      let isKnown = state.nodes[hello.node]?.incarnation == incarnation
      let isBack = isKnown && state.nodes[hello.node]?.connected == false
      if !isKnown { state.beats[hello.node] = 0 }
      state.nodes[hello.node] = NodeView(
        name: hello.node, hostID: hello.hostID, slots: hello.cpuSlots, cpus: hello.cpus > 0 ? hello.cpus : Double(hello.cpuSlots),
        memoryBytes: hello.memoryBytes, labels: hello.labels, incarnation: incarnation,
        version: hello.platformVersion, connected: true, lastSeen: Date(), residentBytes: 0, load: 0,
        running: held.map(\.unit))
      return (isKnown, isBack)
    }
    if isBack { events.add(ClusterEvent(.nodeReturned, hello.node, node: hello.node, "node \(hello.node) is back")) }
    if !isKnown {
      // The same process under another coordinator is known by its key.
      events.add(
        ClusterEvent(
          .nodeJoined, hello.node, node: hello.node, "node \(hello.node) joined: \(hello.cpuSlots) slots, version \(hello.platformVersion)",
          key: "\(hello.node)/\(incarnation)"))
    }
    statements.workerUp(hello.node, slots: hello.cpuSlots)
    await runner.post(
      .workerJoined(
        Scheduling.WorkerHello(
          worker: hello.node, incarnation: incarnation, slots: hello.cpuSlots, hostID: hello.hostID, labels: hello.labels, held: held,
          cpus: hello.cpus > 0 ? hello.cpus : nil, memoryBytes: hello.memoryBytes)))
  }

  private func received(_ message: ControlMessage, from node: String, _ runner: JobRunner) async {
    switch message {
    case .heartbeat(let beat):
      let held = beat.running.map { Scheduling.UnitAttempt(unit: $0.unit, attempt: $0.attempt) }
      let next = state.withLock { state -> (incarnation: Int64, sequence: Int64, isBack: Bool)? in
        guard let incarnation = state.nodes[node]?.incarnation else { return nil }
        let isBack = state.nodes[node]?.connected == false
        state.nodes[node]?.connected = true
        state.nodes[node]?.lastSeen = Date()
        state.nodes[node]?.residentBytes = beat.residentBytes
        state.nodes[node]?.load = beat.load
        state.nodes[node]?.running = held.map(\.unit).sorted()
        state.beats[node, default: 0] += 1
        return (incarnation, state.beats[node]!, isBack)
      }
      guard let next else { return }
      if next.isBack { events.add(ClusterEvent(.nodeReturned, node, node: node, "node \(node) is back")) }
      await runner.post(.workerHeartbeat(worker: node, incarnation: next.incarnation, sequence: next.sequence, held: held))
    case .unitStarted(let key): await runner.post(.unitStarted(worker: node, unit: key.unit, attempt: key.attempt))
    case .unitEndpoint(let key, let address, let publicKey):
      await runner.post(.unitReady(worker: node, unit: key.unit, attempt: key.attempt, address: address, publicKey: publicKey))
    case .unitFinished(let key, let outcome, let result, let error):
      state.withLock { $0.progress[key.unit] = nil }
      await runner.post(
        .unitFinished(worker: node, unit: key.unit, attempt: key.attempt, outcome: Self.outcome(outcome, result, error)))
    case .unitProgress(let key, let done, let total, let unit):
      state.withLock { $0.progress[key.unit] = (done, total, unit) }
    case .unitMetric(let key, let name, let step, let value):
      if name == TrainingWork.checkpointMetric { await runner.post(.gangCheckpointed(worker: node, unit: key.unit, attempt: key.attempt)) }
      metric(key, name, step, value)
    case .unitLog(let key, let lines): log(key, lines)
    default: break
    }
  }

  private static func outcome(_ outcome: Transport.UnitOutcome, _ result: Data, _ error: Data) -> Scheduling.UnitOutcome {
    switch outcome {
    case .succeeded:
      guard let value = result.isEmpty ? .null : try? JSONValue(parsing: result) else {  // the same binary wrote it
        return .failed(PlatformError(.internalError, "the result of the work cannot be read"))
      }
      return .succeeded(value)
    case .failed:
      let failure = try? JSONDecoder.platform.decode(PlatformError.self, from: error)  // unreadable: said so below
      return .failed(failure ?? PlatformError(.internalError, "the work failed without saying why"))
    case .cancelled: return .cancelled
    case .lost: return .lost
    }
  }

  /// `run/task/attempt/stage/index` of shards and ranks; replicas have no run.
  private static func place(_ unit: String) -> (run: String, task: String, attempt: Int)? {
    let parts = unit.split(separator: "/")
    guard parts.count == 5, let attempt = Int(parts[2]) else { return nil }
    return (String(parts[0]), String(parts[1]), attempt)
  }

  private func metric(_ key: Transport.UnitAttempt, _ name: String, _ step: Int64, _ value: Double) {
    guard let place = Self.place(key.unit) else { return }
    state.withLock { state in
      guard state.metrics.count < Self.telemetryLimit else { return state.droppedTelemetry += 1 }
      state.metrics.append(.init(runID: place.run, taskKey: place.task, name: name, step: step, value: value))
    }
  }

  private func log(_ key: Transport.UnitAttempt, _ lines: [String]) {
    let place = Self.place(key.unit) ?? (run: "", task: key.unit, attempt: key.attempt)
    let now = Date()
    state.withLock { state in
      guard state.logs.count < Self.telemetryLimit else { return state.droppedTelemetry += lines.count }
      state.logs += lines.map {
        .init(runID: place.run, taskKey: place.task, attempt: place.attempt, unit: "\(key.unit)#\(key.attempt)", time: now, line: $0)
      }
    }
  }

  /// Stores curves and logs, again and again, until the task is cancelled.
  func storeTelemetry() async {
    while !Task.isCancelled {
      let (metrics, logs) = state.withLock { state in
        defer {
          state.metrics = []
          state.logs = []
        }
        state.isStoring = !state.metrics.isEmpty || !state.logs.isEmpty
        return (state.metrics, state.logs)
      }
      do {
        try await telemetry.store(metrics)
        try await telemetry.store(logs)
      } catch {
        logger.warning("curves and logs wait for Postgres", metadata: ["error": "\(error)"])
        state.withLock { state in
          state.metrics = metrics + state.metrics
          state.logs = logs + state.logs
          state.isStoring = false
        }
        try? await Task.sleep(for: .seconds(1))  // cancelled: the loop condition ends it
      }
      state.withLock { $0.isStoring = false }
      try? await Task.sleep(for: .milliseconds(250))  // cancelled: the loop condition ends it
    }
  }

  /// Returns when what was heard so far can be read, or after two seconds.
  func telemetryStored() async {
    for _ in 0..<200 {
      guard state.withLock({ $0.isStoring || !$0.metrics.isEmpty || !$0.logs.isEmpty }) else { return }
      try? await Task.sleep(for: .milliseconds(10))  // cancelled: what is there is read
    }
  }

  // MARK: scheduler to worker

  func deliver(_ effect: Effect) {
    switch effect {
    case .assign(let assignment):
      let work = AssignedWork(
        incarnation: assignment.incarnation, payload: assignment.payload,
        gang: assignment.gang.map { .init(gang: $0.gang, generation: $0.generation, rank: $0.rank, size: $0.size) },
        isReplica: assignment.service != nil, mayWait: assignment.mayWait ? true : nil, keys: KeyRing.shared.keys(neededBy: assignment.payload))
      let wanted = Set((assignment.payload["secrets"]?.objectValue ?? [:]).values.compactMap(\.stringValue))
      guard assignment.kind == CommandWork.kind, !wanted.isEmpty else { return assign(assignment, work) }
      // Read now and kept nowhere. While they cannot be read the work is not handed over; the scheduler asks again.
      Task { [work] in
        do {
          var complete = work
          complete.secrets = try await secrets.values(wanted)
          assign(assignment, complete)
        } catch {
          logger.warning("secrets cannot be read", metadata: ["unit": "\(assignment.unit)", "error": "\(error)"])
        }
      }
    case .cancelUnit(let worker, let unit, let attempt):
      send(.cancel(.init(unit: unit, attempt: attempt), reason: "cancelled"), to: worker)
    case .drainReplica(let worker, let unit, let attempt):
      if let service = Self.service(of: unit) { gateway.replicaDraining(unit: unit, endpoint: service) }
      send(.cancel(.init(unit: unit, attempt: attempt), reason: AssignedWork.drainReason), to: worker)
    case .acknowledge(let worker, let unit, let attempt): send(.acknowledge(.init(unit: unit, attempt: attempt)), to: worker)
    case .peerTable(let table):
      let peers = table.members.map {
        PeerAddress(rank: $0.rank, address: $0.address, publicKey: $0.publicKey, hostID: $0.hostID)
      }
      for worker in Set(table.members.map(\.worker)) {
        send(.peerTable(group: table.gang, generation: table.generation, peers: peers), to: worker)
      }
    case .replicaReady(let replica):
      gateway.replicaReady(
        .init(
          unit: replica.unit, attempt: replica.attempt, node: replica.worker, address: replica.address, publicKey: replica.publicKey,
          generation: replica.generation),
        endpoint: replica.service)
    case .replicaGone(let service, let unit, let attempt): gateway.replicaGone(unit: unit, attempt: attempt, endpoint: service)
    case .runStateChanged(let run, let runState, let error):
      logger.info("run", metadata: ["run": "\(run)", "state": "\(runState.rawValue)", "error": "\(error.map { "\($0)" } ?? "")"])
      if runState.isTerminal { waiters.ended(run) }
    case .requestJoin(let worker): server.disconnect(worker, reason: "say hello again")
    case .refused(let name, let error): logger.warning("refused", metadata: ["name": "\(name)", "error": "\(error)"])
    // The transport renews its own lease with its heartbeats; plans and commits are the runner's.
    case .heartbeatAccepted, .taskStateChanged, .planStage, .commitStage: break
    }
  }

  private func assign(_ assignment: Assignment, _ work: AssignedWork) {
    guard let payload = try? work.json.sortedData else { return }  // holds only encodable values
    send(
      .assign(.init(unit: assignment.unit, attempt: assignment.attempt), kind: assignment.kind, payload: payload, timeoutMilliseconds: 0),
      to: assignment.worker)
  }

  /// `service/<name>/<number>`
  private static func service(of unit: String) -> String? {
    let parts = unit.split(separator: "/")
    return parts.count == 3 && parts[0] == "service" ? String(parts[1]) : nil
  }

  private func send(_ message: ControlMessage, to node: String) {
    do {
      try server.send(message, to: node)
    } catch {
      // The scheduler repeats what was not confirmed.
      logger.debug("not sent", metadata: ["node": "\(node)", "error": "\(error)"])
    }
  }
}
