// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Egress
import Foundation
import Jobs
public import Logging
import ObjectStore
import Pipelines
import Postgres
import Scheduling
import Serving
import Synchronization
import Transport

/// One coordinator: catalog, scheduler, router and HTTP API over one Postgres. Everything that matters is stored there, so it
/// may be killed at any moment and started again.
///
/// Several may share a Postgres. One holds the lease and leads; the others hand requests on to it and wait for the lease.
public struct CoordinatorProcess: Sendable {
  public struct Configuration: Sendable {
    public var layout: DataLayout
    /// `HOST:PORT` for people and clients.
    public var httpBind: String
    /// `HOST:PORT` for nodes; the port above it takes joining nodes.
    public var nodeBind: String
    /// Connection string of the Postgres.
    public var postgres: String

    public init(layout: DataLayout, httpBind: String, nodeBind: String, postgres: String) {
      self.layout = layout
      self.httpBind = httpBind
      self.nodeBind = nodeBind
      self.postgres = postgres
    }
  }

  private let configuration: Configuration
  private let logger: Logger

  public init(configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
  }

  /// The database's schema.
  static let migrations =
    CatalogMigrations.all + JobMigrations.all + Leadership.migrations + InferenceLog.migrations + StatementHistory.migrations
    + IngestMigrations.all + RecordMigrations.all + PullMigrations.all + DeploymentStore.migrations + GitFolderStore.migrations

  /// The folder of the Postgres server's programs, or nil when none is installed.
  public static func postgresBinaries() -> String? { PrivatePostgres.binaries() }

  /// Runs until SIGTERM or SIGINT, or until another coordinator has taken over.
  /// - Throws: what keeps it from starting or from going on; the supervisor starts it again.
  public func run() async throws {
    let layout = configuration.layout
    try layout.create()
    let own = CoordinatorAddress(instance: UUID().uuidString.lowercased(), http: configuration.httpBind, nodes: configuration.nodeBind)
    var database = Self.database(configuration.postgres)
    database.applicationName = own.applicationName
    let pool = try PostgresPool(database)
    try await connect(pool)
    let applied = try await Migrator(pool: pool, migrations: Self.migrations).migrate()
    for name in applied { logger.info("migration", metadata: ["name": "\(name)"]) }
    let keys = try KeyPairStore(path: layout.coordinatorKey).loadOrCreate()
    try layout.writePrivate(Data((keys.publicKey.description + "\n").utf8), to: layout.keys + "/coordinator.pub")
    try layout.makeSealingKey()

    // Connections of their own: renewing does not wait behind others.
    database.poolSize = 2
    database.outagePatience = .zero
    let leadership = Leadership(pool: try PostgresPool(database))
    let requests = RequestSwitch(logger: logger)
    let api = try APIServer(address: configuration.httpBind, requests: requests, logger: logger)
    let signals = SignalWaiter([SIGTERM, SIGINT])
    let goodbye = Goodbye()
    try await withThrowingTaskGroup(of: String.self) { group in
      group.addTask {
        try await api.run()
        return "http"
      }
      group.addTask {
        await signals.wait()
        return "signal"
      }
      group.addTask {
        let lease = try await standBy(own, leadership, requests)
        return try await lead(lease, leadership, own, pool: pool, keys: keys, requests: requests, goodbye: goodbye)
      }
      // The first part that ends, ends the process: the others are of no use alone.
      defer { group.cancelAll() }
      if let ended = try await group.next() { logger.info("stopping", metadata: ["because": "\(ended)"]) }
      try await goodbye.say()
      // Hummingbird ends by its own signal handling or cancellation; nothing acknowledged depends on it.
      exit(0)
    }
  }

  /// Hands requests on to whoever leads, until the lease can be taken.
  private func standBy(_ own: CoordinatorAddress, _ leadership: Leadership, _ requests: RequestSwitch) async throws -> LeaseKeeper {
    var followed: String?
    var lastBeat: ContinuousClock.Instant?
    while true {
      do {
        if lastBeat.map({ .now - $0 > .seconds(1) }) ?? true {
          lastBeat = .now
          try await leadership.beat(own)
        }
        let leader = try await leadership.leader()
        if leader.isValid {
          if followed != leader.address.instance { logger.info("standing by", metadata: ["leader": "\(leader.address.http)", "epoch": "\(leader.epoch)"]) }
          followed = leader.address.instance
          requests.follow(leader.address.http, epoch: leader.epoch)
        } else {
          let asked = ContinuousClock.now
          if let epoch = try await leadership.acquire(own) {
            logger.info("leading", metadata: ["epoch": "\(epoch)"])
            requests.follow(nil, epoch: epoch)
            return LeaseKeeper(leadership, epoch: epoch, acquired: asked)
          }
        }
      } catch let error as PlatformError where error.isRetryable {
        // Postgres is away: whoever leads still does.
        logger.debug("the lease cannot be read", metadata: ["error": "\(error)"])
      }
      try await Task.sleep(for: .milliseconds(200))
    }
  }

  /// Leads until something ends it.
  private func lead(
    _ lease: LeaseKeeper, _ leadership: Leadership, _ own: CoordinatorAddress, pool: PostgresPool, keys: CurveKeyPair, requests: RequestSwitch,
    goodbye: Goodbye
  ) async throws -> String {
    try await withThrowingTaskGroup(of: String.self) { group in
      group.addTask { [logger] in
        do { try await lease.run() } catch let error as PlatformError where error.number == "PLT-1301" {
          // Nothing that is under way may have an effect any more, nor may anything be waited for.
          logger.error("stopping at once", metadata: ["because": "\(error)"])
          _exit(EX_TEMPFAIL)
        }
        return "lease"
      }
      group.addTask {
        try await work(lease, leadership, own, pool: pool, keys: keys, requests: requests, goodbye: goodbye)
      }
      defer { group.cancelAll() }
      return try await group.next() ?? "nothing"
    }
  }

  private func work(
    _ lease: LeaseKeeper, _ leadership: Leadership, _ own: CoordinatorAddress, pool: PostgresPool, keys: CurveKeyPair, requests: RequestSwitch,
    goodbye: Goodbye
  ) async throws -> String {
    let layout = configuration.layout
    let egress = try EgressRules(environment: ProcessInfo.processInfo.environment)
    let mail = try MailSettings(environment: ProcessInfo.processInfo.environment)
    let epoch = lease.epoch
    pool.setFence { try Leadership.check(epoch, $0) }
    WriteGate.shared.set { try lease.require() }
    let catalog = CatalogStore(pool: pool)
    try await catalog.bootstrap()
    try await catalog.seedLocations(CoordinatorService.seededFolders)
    try await registerEncoder(catalog)
    try await adminToken(AccessTokens(pool: pool))

    let spool = try InferenceSpool(directory: layout.spool)
    let dataKeys = keys
    let gateway = ServingGateway(spool: spool, logger: logger) { replica in
      StreamChannel(
        client: try StreamClient(
          .init(address: replica.address, serverKey: CurvePublicKey(replica.publicKey), keys: dataKeys)))
    }
    for entry in try await catalog.endpoints() {
      gateway.set(ServedEndpoint(entry))
    }

    let nodes = NodeStore(pool: pool)
    let admitted = AdmittedKeys()
    for (name, key) in try await nodes.admitted() { admitted.admit(try CurvePublicKey(key), as: name) }
    var control = ControlServer.Configuration(keys: keys, platformVersion: PlatformVersion.current, epoch: UInt64(epoch))
    control.address = "tcp://\(configuration.nodeBind)"
    control.joinAddress = "tcp://\(try Self.nextPort(configuration.nodeBind))"
    try await leadership.beat(own)
    control.coordinators = try await leadership.nodeAddresses().map { "tcp://\($0)" }
    let server = try ControlServer(control, admitted: admitted) { request in
      await Self.join(request, nodes: nodes, admitted: admitted)
    }

    for problem in try await StorageKeyLoader(catalog: catalog, keyPath: layout.sealingKey).load() {
      logger.warning("keys cannot be used", metadata: ["problem": "\(problem)"])
    }
    let store = JobStore(pool: pool, epoch: Int64(epoch))
    let telemetry = RunTelemetry(pool: pool)
    let waiters = RunWaiters()
    let gitFolders = GitFolders(
      store: GitFolderStore(pool: pool), catalog: catalog, egress: egress,
      credentials: GitCredentials(catalog: catalog, keyPath: layout.sealingKey), root: layout.repositories, own: layout.ownFolders)
    let launcher = JobLauncher(store: store, catalog: catalog, waiters: waiters, gitFolders: gitFolders)
    let dispatcher = StatementDispatcher(server: server, logger: logger)
    let eventStore = ClusterEventStore(pool: pool)
    try await eventStore.add([ClusterEvent(.leaderChanged, own.http, "the coordinator at \(own.http) leads, epoch \(epoch)", key: "\(epoch)")])
    let events = ClusterEventLog(store: eventStore, logger: logger)
    let plane = ControlPlane(
      server: server, telemetry: telemetry, gateway: gateway, statements: dispatcher, waiters: waiters,
      secrets: SecretReader(catalog: catalog, keyPath: layout.sealingKey), events: events, logger: logger)
    let tables = LakeTables(catalog: catalog, root: layout.lake)
    let services = PlanningServices(
      layout: layout, catalog: catalog, tables: tables, gateway: gateway,
      requests: InferenceTable(reader: InferenceLogReader(pool: pool), tables: tables), dataKey: keys.publicKey.description,
      encoderDirectory: { try Self.encoderDirectory() }, launcher: launcher, dispatcher: dispatcher)
    let history = StatementHistory(pool: pool, logger: logger)
    let handler = CoordinatorEffects(services: services, plane: plane)
    var scheduling = Scheduler.Configuration()
    scheduling.purePlans = CoordinatorEffects.purePlans
    let restored = Scheduler.restore(
      try await store.loadLive(), configuration: scheduling, epoch: Int64(epoch), now: ProcessSupport.wallMilliseconds)
    let runner = JobRunner(scheduler: restored.scheduler, store: store, epoch: epoch, handler: handler, logger: logger)
    launcher.use(runner)
    let interactive = InteractiveRuns(store: store, runner: runner, waiters: waiters)
    let statements = StatementService(
      services: services, dispatcher: dispatcher, runs: interactive, history: history, logger: logger,
      timeLimit: try StatementService.timeLimit(ProcessInfo.processInfo.environment))
    try await tables.finishDecided(logger: logger)
    try await statements.recover()
    let records = RecordService(services: services, dispatcher: dispatcher, logger: logger)
    try await records.recover()
    let triggers = JobTriggers(store: store, launcher: launcher, tables: tables, listing: services.listing, epoch: epoch, logger: logger)
    let service = CoordinatorService(
      configuration: configuration, lease: lease, pool: pool, catalog: catalog, tokens: AccessTokens(pool: pool), store: store,
      launcher: launcher, telemetry: telemetry, nodes: nodes, plane: plane, gateway: gateway, runner: runner,
      statements: statements, statementHistory: history, records: records, egress: egress, triggers: triggers, coordinatorKey: keys.publicKey,
      joinAddress: try Self.nextPort(configuration.nodeBind))
    requests.lead(service: service, gateway: gateway) { try await lease.verify() }
    let log = InferenceLog(pool: pool, spool: spool, logger: logger)
    let sender = NotificationSender(
      store: NotificationStore(pool: pool), jobs: store, client: EgressClient(rules: egress), mail: mail.map { MailClient(settings: $0) },
      host: "http://\(configuration.httpBind)", keyPath: layout.sealingKey, epoch: epoch, logger: logger)
    let logger = self.logger
    goodbye.set {
      // What was acknowledged is in the spool; storing it now only makes it visible sooner.
      await history.flush()
      await events.flush()
      do { try await log.flush() } catch { logger.warning("the spool stays for the next start", metadata: ["error": "\(error)"]) }
      try await lease.release()
      server.close()
    }
    let restoring = restored.effects
    let localNodes = layout.localNodes

    return try await withThrowingTaskGroup(of: String.self) { group in
      group.addTask {
        try await runner.run(initial: restoring)
        return "scheduler"
      }
      group.addTask {
        for spec in try await store.unscheduledRuns() { await runner.post(.runSubmitted(spec)) }
        do { try await launcher.resume() } catch { logger.error("repairs were not taken up", metadata: ["error": "\(error)"]) }
        await plane.receive(into: runner)
        return "control link"
      }
      group.addTask {
        await Self.tellNodes(server, leadership, own)
        return "coordinators"
      }
      group.addTask {
        await log.run()
        return "inference log"
      }
      group.addTask {
        await triggers.run()
        return "triggers"
      }
      group.addTask {
        await sender.run()
        return "notifications"
      }
      group.addTask {
        await statements.keepHouse()
        return "statements"
      }
      group.addTask {
        await history.run()
        return "statement history"
      }
      group.addTask {
        await events.run()
        return "events"
      }
      group.addTask {
        await plane.storeTelemetry()
        return "telemetry"
      }
      group.addTask {
        await Self.admitLocal(localNodes, nodes: nodes, admitted: admitted, logger: logger)
        return "local nodes"
      }
      group.addTask {
        await CatalogUpkeep(catalog: catalog, lake: layout.lake, logger: logger).run()
        return "catalog upkeep"
      }
      group.addTask {
        await tables.upkeep.run(logger: logger) { table in
          let body = JSONValue.object(["statement": .string("OPTIMIZE \(table)")])
          _ = try await interactive.statement(body, by: Principal(name: "platform"), limit: TableUpkeep.timeLimit)
        }
        return "table upkeep"
      }
      defer { group.cancelAll() }
      return try await group.next() ?? "nothing"
    }
  }

  /// Keeps the nodes informed of where coordinators are, until the task is cancelled.
  private static func tellNodes(_ server: ControlServer, _ leadership: Leadership, _ own: CoordinatorAddress) async {
    while !Task.isCancelled {
      do {
        try await leadership.beat(own)
        server.setCoordinators(try await leadership.nodeAddresses().map { "tcp://\($0)" })
      } catch {
        // Postgres is away: nothing has changed that could be known.
      }
      try? await Task.sleep(for: .seconds(2))  // cancelled: the loop condition ends it
    }
  }

  // MARK: start

  /// Waits for a Postgres that is starting.
  private func connect(_ pool: PostgresPool) async throws {
    var attempt = 0
    while true {
      do {
        _ = try await pool.query("SELECT 1")
        return
      } catch let error as PlatformError where error.isRetryable && attempt < 60 {
        attempt += 1
        if attempt == 1 { logger.info("waiting for Postgres", metadata: ["error": "\(error)"]) }
        try await Task.sleep(for: .milliseconds(500))
      }
    }
  }

  /// Connections that outlive a restart of the server: a request waits for it as long as its client may be expected to wait, and then says so.
  private static func database(_ connection: String) -> PostgresConfiguration {
    var database = PostgresConfiguration(connectionString: connection, poolSize: 6)
    database.outagePatience = .seconds(10)
    database.silenceLimit = .seconds(3)
    database.connectTimeout = .seconds(2)
    return database
  }

  /// `host:port` with the next port.
  static func nextPort(_ address: String) throws -> String {
    guard let colon = address.lastIndex(of: ":"), let port = Int(address[address.index(after: colon)...]), port < 65_535 else {
      throw PlatformError(.invalidArgument, "'\(address)' is not HOST:PORT", number: "PLT-1003")
    }
    return "\(address[..<colon]):\(port + 1)"
  }

  private static func encoderDirectory() throws -> String {
    try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "the MiniLM encoder")
  }

  private func registerEncoder(_ catalog: CatalogStore) async throws {
    guard let directory = InstalledFiles.find("models/all-MiniLM-L6-v2") else {
      logger.warning("the MiniLM encoder is not installed: embedding tasks will say so")
      return
    }
    _ = try await catalog.registerModel(
      ThreePartName(BuiltInModels.encoder), kind: "embed", location: directory, runID: nil,
      facts: ["dimension": .integer(Int64(BuiltInModels.encoderDimension))], by: "platform")
  }

  /// The administrator's token: made once, kept in a file that only the owner can read, stored as a hash.
  private func adminToken(_ tokens: AccessTokens) async throws {
    let layout = configuration.layout
    let secret: String
    if let existing = layout.loadAdminToken(), !existing.isEmpty {
      secret = existing
    } else {
      secret = SecureRandom.token(prefix: AccessTokens.prefix)
      try layout.writePrivate(Data((secret + "\n").utf8), to: layout.adminTokenFile)
    }
    try await tokens.store(secret)
  }

  // MARK: nodes

  private static func join(_ request: JoinRequest, nodes: NodeStore, admitted: AdmittedKeys) async -> JoinReply {
    do {
      guard ReleaseVersion.speak(request.platformVersion, PlatformVersion.current) else {
        throw PlatformError(
          .badConfiguration,
          "node '\(request.node)' runs platform \(request.platformVersion), the coordinator runs platform \(PlatformVersion.current)",
          hint: "Install platform \(PlatformVersion.current) on '\(request.node)'.", number: "PLT-2123")
      }
      try await nodes.admit(
        name: request.node, publicKey: request.publicKey.description, secretDigest: SHA256Digest.hex(request.secret))
      admitted.admit(request.publicKey, as: request.node)
      return .accepted(node: request.node, controlEndpoint: "")
    } catch {
      return .refused(PlatformError.from(error))
    }
  }

  /// Admits the workers whose keys this machine's supervisor put into the cluster's own folder.
  private static func admitLocal(_ folder: String, nodes: NodeStore, admitted: AdmittedKeys, logger: Logger) async {
    var seen: [String: String] = [:]
    while !Task.isCancelled {
      for file in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where file.hasSuffix(".pub") {  // gone: none
        guard let data = FileManager.default.contents(atPath: folder + "/" + file) else { continue }
        let text = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        let name = String(file.dropLast(4))
        guard seen[name] != text else { continue }
        do {
          try await nodes.admitLocal(name: name, publicKey: text)
          admitted.admit(try CurvePublicKey(text), as: name)
          seen[name] = text
        } catch {
          logger.warning("cannot admit a local worker", metadata: ["name": "\(name)", "error": "\(error)"])
        }
      }
      try? await Task.sleep(for: .milliseconds(200))  // cancelled: the loop condition ends it
    }
  }
}

/// What a leader does before its process ends.
private final class Goodbye: Sendable {
  private let steps = Mutex<(@Sendable () async throws -> Void)?>(nil)
  func set(_ steps: @escaping @Sendable () async throws -> Void) { self.steps.withLock { $0 = steps } }
  func say() async throws { try await steps.withLock { $0 }?() }
}

/// A replica over the data plane.
struct StreamChannel: ReplicaChannel {
  let client: StreamClient
  func call(verb: String, payload: Data, deadline: Duration) -> AsyncThrowingStream<Data, any Error> {
    client.call(verb: verb, payload: payload, deadline: deadline)
  }
  func close() { client.close() }
}

/// Plans, commits and messages for the runner.
final class CoordinatorEffects: EffectHandler {
  /// Tasks whose planning only looks. (That of a notebook makes a folder, which planning it again finds.)
  static let purePlans: Set<String> = ["command", "spark_python", "python_wheel", "notebook", "wait"]

  private let planners: [String: any TaskPlanner]
  private let plane: ControlPlane

  init(services: PlanningServices, plane: ControlPlane) {
    self.plane = plane
    planners = [
      "ingest": IngestPlanner(services: services), "prepare": PreparePlanner(services: services),
      "embed": EmbedPlanner(services: services), "index_sync": IndexPlanner(services: services),
      "train": TrainPlanner(services: services), "evaluate": EvaluatePlanner(services: services),
      "deploy": DeployPlanner(services: services), "monitor": MonitorPlanner(services: services),
      "sql": StatementPlanner(services: services), "postgres": PostgresPlanner(services: services),
      "command": CommandPlanner(services: services), "spark_python": CommandPlanner(services: services),
      "python_wheel": CommandPlanner(services: services), "notebook": CommandPlanner(services: services), "dbt": CommandPlanner(services: services),
      "run_job": RunJobPlanner(launcher: services.launcher),
      "wait": WaitPlanner(), "network": NetworkPlanner(), "serving_plan": ServingPlanPlanner(services: services),
    ]
  }

  private func planner(_ call: StageCall) throws -> any TaskPlanner {
    guard let planner = planners[call.kind] else {
      throw PlatformError(.invalidArgument, "tasks of kind '\(call.kind)' are not built", number: "PLT-1210")
    }
    return planner
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    RepeatableWork.bundled(RepeatableWork.declare(try await planner(call).plan(call)), by: call.partsPerBatch)
  }
  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    try await planner(call).commit(call, results: ShardBatch.parts(of: results))
  }
  func deliver(_ effect: Effect) { plane.deliver(effect) }
}
