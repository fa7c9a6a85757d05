// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Egress
import Foundation
import Jobs
import Postgres
import Scheduling
import Serving
import Synchronization
import Transport

/// The coordinator's answers to the HTTP API.
final class CoordinatorService: PlatformService {
  let configuration: CoordinatorProcess.Configuration
  let lease: LeaseKeeper
  let pool: PostgresPool
  let catalog: CatalogStore
  let tokens: AccessTokens
  let store: JobStore
  let launcher: JobLauncher
  let telemetry: RunTelemetry
  let nodeStore: NodeStore
  let plane: ControlPlane
  let gateway: ServingGateway
  let runner: JobRunner
  let statements: StatementService
  let statementHistory: StatementHistory
  let records: RecordService
  let notifications: NotificationStore
  let egress: EgressRules
  let triggers: JobTriggers
  let coordinatorKey: CurvePublicKey
  let joinAddress: String
  let startedAt = Date()
  let dashboards = SharedSnapshot(seconds: 0.8)
  /// Principals of tokens that were valid a moment ago; revoking takes effect when an entry ages out.
  private let recentTokens = Mutex<[String: (principal: Principal, checked: ContinuousClock.Instant)]>([:])
  /// How long a token counts as valid after it was looked up: while Postgres answers, and while it is away, where it cannot be revoked.
  private static let tokenLasts = (usually: Duration.seconds(1), away: Duration.seconds(600))

  init(
    configuration: CoordinatorProcess.Configuration, lease: LeaseKeeper, pool: PostgresPool, catalog: CatalogStore, tokens: AccessTokens,
    store: JobStore, launcher: JobLauncher, telemetry: RunTelemetry, nodes: NodeStore, plane: ControlPlane, gateway: ServingGateway, runner: JobRunner,
    statements: StatementService, statementHistory: StatementHistory, records: RecordService,
    egress: EgressRules, triggers: JobTriggers, coordinatorKey: CurvePublicKey, joinAddress: String
  ) {
    self.configuration = configuration
    self.lease = lease
    self.pool = pool
    self.catalog = catalog
    self.tokens = tokens
    self.store = store
    self.launcher = launcher
    self.telemetry = telemetry
    nodeStore = nodes
    self.plane = plane
    self.gateway = gateway
    self.runner = runner
    self.statements = statements
    self.statementHistory = statementHistory
    self.records = records
    notifications = NotificationStore(pool: pool)
    self.egress = egress
    self.triggers = triggers
    self.coordinatorKey = coordinatorKey
    self.joinAddress = joinAddress
  }

  // MARK: access, health

  /// A valid token is remembered for a second, so that streams of requests do not each ask Postgres; while Postgres is away, for ten minutes, so
  /// that models go on answering.
  func authenticate(token: String) async throws -> Principal {
    let key = SHA256Digest.hex(token)
    let now = ContinuousClock.now
    let known = recentTokens.withLock { $0[key] }
    if let known, now - known.checked < (lease.databaseAnswers ? Self.tokenLasts.usually : Self.tokenLasts.away) {
      return known.principal
    }
    do {
      let holder = try await tokens.authenticate(token, within: known == nil ? nil : .seconds(3))
      let principal = Principal(name: holder.name, isAdministrator: holder.isAdministrator)
      recentTokens.withLock { cache in
        if cache.count > 10_000 { cache.removeAll() }
        cache[key] = (principal, now)
      }
      return principal
    } catch let error as PlatformError {
      guard let known, error.code == .unavailable, now - known.checked < Self.tokenLasts.away else { throw error }
      return known.principal
    }
  }

  func readiness() async throws { _ = try await pool.query("SELECT 1", within: .seconds(2)) }

  func status() async throws -> StatusInfo {
    let nodes = plane.nodes()
    let endpoints = try await endpoints().endpoints.filter { $0.desiredReplicas > 0 }  // what is stopped is missed by nobody
    let runs = try await store.list(limit: 200, before: nil)
    let active = runs.filter { $0.record?.state == .running || $0.record?.state == .cancelling }.count
    let drift = try await catalog.latestDrift().filter(\.alert)
    return StatusInfo(
      version: ReleaseVersion.current, epoch: lease.epoch, startedAt: startedAt, postgres: "ok",
      storage: "file://\(configuration.layout.lake)", storageFreeBytes: ProcessSupport.freeBytes(at: configuration.layout.root) ?? 0,
      nodesReady: nodes.filter(\.connected).count, nodesTotal: nodes.count,
      endpointsReady: endpoints.filter { $0.ready >= $0.desiredReplicas }.count, endpointsTotal: endpoints.count, runsActive: active,
      runsQueued: runs.filter { $0.record == nil || $0.record?.state == .pending }.count,
      alerts: Self.alerts(drift: drift, nodes: nodes))
  }

  private static func alerts(drift: [DriftEntry], nodes: [ControlPlane.NodeView]) -> [String] {
    nodes.filter { !$0.connected }.map { "node \($0.name) has not been heard since \($0.lastSeen.formatted(.iso8601))" }
      + drift.map { "drift: \($0.table).\($0.column) PSI \(String(format: "%.2f", $0.psi ?? 0))" }
  }

  func metricsText() async throws -> String {
    var text = PrometheusText()
    let nodes = plane.nodes()
    text.family("platform_nodes", "gauge", "Nodes by state.")
    text.sample("platform_nodes", ["state": "ready"], Double(nodes.filter(\.connected).count))
    text.sample("platform_nodes", ["state": "lost"], Double(nodes.filter { !$0.connected }.count))
    let states = try await pool.query("SELECT state, count(*) AS n FROM job_records WHERE kind = 'run' GROUP BY 1 ORDER BY 1")
    text.family("platform_runs", "gauge", "Runs by state.")
    for row in states { text.sample("platform_runs", ["state": try row.string("state")], Double(try row.int("n"))) }
    text.scheduler(steps: await runner.stepTimes, stores: await runner.storeTimes)
    for (name, counters) in gateway.counters().sorted(by: { $0.key < $1.key }) where gateway.served(name) != nil {
      text.endpoint(name, counters)
    }
    for replica in await gateway.replicaMetrics() {
      // vLLM's second label counts the engines of a server.
      text.replica(["model_name": replica.endpoint, "engine": String(replica.unit.split(separator: "/").last ?? "0")], replica.frame)
    }
    text.family("platform_endpoint_replicas", "gauge", "Replicas by state.")
    for endpoint in try await endpoints().endpoints {
      for (state, list) in Dictionary(grouping: endpoint.replicas, by: \.state).sorted(by: { $0.key < $1.key }) {
        text.sample("platform_endpoint_replicas", ["endpoint": endpoint.name, "state": state.lowercased()], Double(list.count))
      }
    }
    let curves = try await pool.query(
      """
      SELECT DISTINCT ON (run_id, task_key, name) run_id, task_key, name, value FROM run_metrics
      WHERE name IN ('loss', 'tokens_per_second') AND recorded_at > now() - interval '1 day'
      ORDER BY run_id, task_key, name, step DESC LIMIT 100
      """)
    text.family("platform_training_loss", "gauge", "Latest training loss.")
    text.family("platform_training_tokens_per_second", "gauge", "Latest training speed.")
    for row in curves {
      let metric = try row.string("name") == "loss" ? "platform_training_loss" : "platform_training_tokens_per_second"
      text.sample(metric, ["run": try row.string("run_id"), "task": try row.string("task_key")], try row.double("value"))
    }
    text.family("platform_drift", "gauge", "Latest drift statistics.")
    for one in try await catalog.latestDrift() {
      for (name, value) in [("psi", one.psi), ("ks", one.ks), ("js", one.js)] {
        if let value { text.sample("platform_drift", ["table": one.table, "column": one.column, "statistic": name], value) }
      }
    }
    text.ingestion(try await IngestLedger(pool: pool).lag())
    text.family("platform_inference_log_dropped_total", "counter", "Records that a full spool did not take.")
    text.sample("platform_inference_log_dropped_total", [:], Double(gateway.droppedLogRecords))
    return text.text
  }

  // MARK: runs

  func submit(_ request: SubmitFileRequest, by principal: Principal) async throws -> SubmitFileResponse {
    var parsed = WorkflowFile.parse(
      text: request.text, path: request.file, job: request.job, parameters: request.parameters, attachments: request.attachments)
    var (attachments, commit) = (request.attachments, String?.none)
    // Notebooks name further ones.
    for _ in 0..<NotebookRounds.limit where !parsed.missingFiles.isEmpty {
      // All files are of one commit.
      let git = commit.map { commit in parsed.git.map { GitSource(url: $0.url, reference: .commit(commit)) } } ?? parsed.git
      let found = try await launcher.files(parsed.missingFiles, git: git, user: principal.name)
      attachments.merge(found.texts) { $1 }
      commit = found.commit ?? commit
      parsed = WorkflowFile.parse(text: request.text, path: request.file, job: request.job, parameters: request.parameters, attachments: attachments)
    }
    guard parsed.errors.isEmpty, var spec = parsed.run else { throw PlatformErrors(parsed.errors) }
    spec.idempotencyKey = request.idempotencyKey
    spec.user = principal.name
    spec.facts = ["job.name": spec.name, "job.trigger.type": "manual"]
    let (runID, created) = try await store.create(spec, submittedBy: principal.name)
    if created {
      spec.id = runID
      try await runner.submit(.runSubmitted(spec))
    }
    return SubmitFileResponse(runID: runID, name: spec.name, warnings: parsed.warnings, created: created)
  }

  func runs(limit: Int, before: String?, by principal: Principal) async throws -> RunList {
    let rows = try await store.list(limit: limit, before: before, viewer: principal.viewer)
    let runs = rows.map { RunView.summary($0) }
    return RunList(runs: runs, nextPageToken: rows.count == limit ? rows.last?.runID : nil)
  }

  func run(_ runID: String, by principal: Principal) async throws -> RunInfo {
    try await require(.view, ofRun: runID, principal, to: "see")
    return try await run(runID)
  }

  func run(_ runID: String) async throws -> RunInfo {
    let row = try await store.row(of: runID)
    let (_, tasks, units) = try await store.records(of: runID)
    let spec = try await store.spec(of: runID)
    let keys = spec.tasks.map(\.key)
    let reasons = await runner.inspect { scheduler in
      Dictionary(keys.compactMap { key in scheduler.waitingReason(run: runID, task: key).map { (key, $0) } }, uniquingKeysWith: { $1 })
    }
    return RunView.info(row, spec: spec, tasks: tasks, units: units, reasons: reasons)
  }

  func cancelRun(_ runID: String, by principal: Principal) async throws -> RunInfo {
    try await require(.manageRun, ofRun: runID, principal, to: "cancel")
    let before = try await run(runID)
    if !before.isFinished {
      try await launcher.cancel(runID)
      try await catalog.audit(actor: principal.name, action: "cancel run", object: runID, outcome: "ok")
    }
    return try await run(runID)
  }

  func logs(runID: String, taskKey: String?, attempt: Int?, after: Int64, limit: Int, by principal: Principal) async throws -> LogPage {
    try await require(.view, ofRun: runID, principal, to: "see")
    if try await store.row(of: runID).record?.state.isTerminal == true { await plane.telemetryStored() }
    let lines = try await telemetry.logs(runID: runID, taskKey: taskKey, attempt: attempt, after: after, limit: limit)
    return LogPage(
      lines: lines.map { LogLine(id: $0.id, time: $0.time, taskKey: $0.taskKey, attempt: $0.attempt, unit: $0.unit, line: $0.line) })
  }

  func metrics(runID: String, taskKey: String?, name: String?, by principal: Principal) async throws -> MetricPage {
    try await require(.view, ofRun: runID, principal, to: "see")
    _ = try await store.row(of: runID)
    return MetricPage(
      points: try await telemetry.metrics(runID: runID, taskKey: taskKey, name: name).map {
        MetricPoint(taskKey: $0.taskKey, name: $0.name, step: $0.step, value: $0.value)
      })
  }

  func queryIndex(_ name: String, _ request: IndexQueryRequest, by principal: Principal) async throws -> IndexQueryResponse {
    let index = try await catalog.index(ThreePartName(name))
    guard !request.queryText.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty else {
      throw PlatformError(.invalidArgument, "query_text is empty")
    }
    let frame = try await gateway.search(
      endpoint: "\(index.name)", SearchCall(text: request.queryText, count: request.numResults ?? 5),
      origin: RequestOrigin(
        requestID: "search-" + UUID().uuidString.lowercased(), principal: principal.name, operation: "search", stream: false))
    return IndexQueryResponse(
      index: "\(index.name)", tableVersion: frame.tableVersion,
      hits: frame.hits.map { IndexHit(id: $0.id, path: $0.path, text: $0.text, score: $0.score) })
  }

  // MARK: serving

  func endpoints(load: Bool = false) async throws -> EndpointList {
    let live = await runner.inspect { $0.snapshot() }
    var list = EndpointList(endpoints: try await catalog.endpoints().map { EndpointView.info($0, live: live, gateway: gateway) })
    if load { list.addLoad(await gateway.replicaMetrics()) }
    return list
  }

  func endpoint(_ name: String) async throws -> EndpointInfo {
    guard let found = try await endpoints().endpoints.first(where: { $0.name == name }) else {
      throw PlatformError(
        .notFound, "endpoint '\(name)' does not exist", hint: "List them with 'platform endpoints list'.", number: "PLT-4304")
    }
    return found
  }

  func scale(_ name: String, replicas: Int, by principal: Principal) async throws -> EndpointInfo {
    _ = try await endpoint(name)
    let records = await runner.inspect { $0.snapshot() }
    let current = records.compactMap { record -> ServiceRecord? in
      if case .service(let service) = record, service.spec.name == name, !service.removed { service } else { nil }
    }.first
    guard let current, let entry = try await catalog.endpoints().first(where: { $0.name == name }) else {
      throw PlatformError(.conflict, "endpoint '\(name)' has no service; deploy it again", number: "PLT-4305")
    }
    var spec = current.spec
    spec.replicas = replicas
    spec.generation = 0
    try await runner.submit(.serviceSet(spec))
    try await catalog.setEndpoint(name: name, kind: entry.kind, model: entry.model, replicas: replicas, by: principal.name)
    gateway.setStopped(replicas == 0, endpoint: name)
    return try await endpoint(name)
  }

  /// The service first: when this ends between the two, the endpoint is still there to be removed.
  func removeEndpoint(_ name: String, by principal: Principal) async throws {
    _ = try await endpoint(name)
    try await runner.submit(.serviceRemoved(name: name))
    try await catalog.removeEndpoint(name, by: principal.name)
    gateway.removeEndpoint(name)
  }

  // MARK: nodes

  func nodes() async throws -> NodeList {
    let restricted = await runner.inspect { $0.restrictedWorkers }
    return NodeList(
      nodes: plane.nodes().map { node in
        var state = node.connected ? "READY" : "LOST"
        switch restricted[node.name] {
        case .cordoned where node.connected: state = "CORDONED"
        case .draining where node.connected: state = node.running.isEmpty ? "DRAINED" : "DRAINING"
        default: break
        }
        return NodeInfo(
          name: node.name, state: state, hostID: node.hostID, slots: node.slots, running: node.running,
          residentBytes: node.residentBytes, lastSeen: node.lastSeen, version: node.version,
          cpus: node.cpus, memoryBytes: node.memoryBytes, labels: node.labels, load: node.load)
      })
  }

  func setNode(_ name: String, _ change: NodeChange, by principal: Principal) async throws -> NodeInfo {
    let known = try await nodes().nodes.map(\.name)
    guard known.contains(name) else {
      let close = Spelling.suggestion(for: name, among: known)
      throw PlatformError(
        .notFound, "there is no node '\(name.prefix(100))'",
        hint: close.map { "Did you mean '\($0)'?" } ?? "Nodes: \(known.joined(separator: ", ")).", number: "PLT-4211")
    }
    switch change {
    case .cordon: try await runner.submit(.workerCordon(worker: name))
    case .uncordon: try await runner.submit(.workerUncordon(worker: name))
    case .drain: try await runner.submit(.workerDrain(worker: name))
    }
    try await catalog.audit(actor: principal.name, action: "\(change.rawValue) node", object: name, outcome: "ok")
    guard let node = try await nodes().nodes.first(where: { $0.name == name }) else {
      throw PlatformError(.notFound, "node '\(name)' has just left", number: "PLT-4211")
    }
    return node
  }

  func createJoinToken(_ request: JoinTokenRequest, by principal: Principal) async throws -> JoinTokenResponse {
    let token = JoinToken(coordinatorKey: coordinatorKey)
    try await nodeStore.addToken(digest: token.secretDigest, ttlSeconds: request.ttlSeconds, uses: request.uses)
    try await catalog.audit(actor: principal.name, action: "create join token", object: coordinatorKey.fingerprint, outcome: "ok")
    // Of several coordinators any may lead when the node comes.
    let others = try await Leadership(pool: pool).nodeAddresses(within: 60).map { try CoordinatorProcess.nextPort($0) }.filter { $0 != joinAddress }
    return JoinTokenResponse(token: token.text, address: ([joinAddress] + others).joined(separator: ","))
  }
}
