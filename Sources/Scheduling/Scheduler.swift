// SPDX-License-Identifier: Apache-2.0

import Core

/// Decides what runs where. A value: no clock, randomness, socket, logger or dictionary order inside, so that a whole
/// cluster can be replayed from one seed.
///
/// The runner does, for each event: `handle`, then performs the effects that precede the store, stores `takeChanges()` in one transaction that
/// also checks the epoch of its own lease, then performs the other effects in order. When it dies anywhere in between, `restore` continues from
/// the records: plannings and commits are issued again, and workers are asked what they hold.
///
/// Slots: a shard or a gang rank takes one slot of its worker. Replicas take none, so that training never starves
/// serving; they are spread over the workers. A gang larger than the whole cluster is placed on an idle cluster, more
/// than one rank a slot.
///
/// Order: by priority, then in fair shares of the users, then older runs first, round robin over the tasks of a run. A gang
/// that does not fit keeps what comes after it from being placed, so that it is never starved by it.
public struct Scheduler: Sendable {
  public let configuration: Configuration
  /// Oldest first.
  var runs: [Run] = []
  /// Positions in `runs`, by identifier.
  var runIndex: [String: Int] = [:]
  var services = SortedTable<String, Service>()
  var workers = SortedTable<String, Worker>()
  /// Workers that shall not take everything, also while they are away.
  var availability = SortedTable<String, WorkerRecord>()
  /// A worker came, went, or became silent or heard: services and placement have to look again.
  var workersChanged = false
  /// A run ended and is forgotten with the next `takeChanges`.
  var runsEnded = false
  /// Gangs that may have run before wait until then: the coordinator that this one follows may have stored that their ranks
  /// stop without telling the workers. By then each of those has fenced itself, or has reported what it holds.
  var gangsWaitUntil: Instant = .min
  /// A rank of the gang that has a checkpoint, while the event that says so is handled.
  var checkpointed: String?
  /// When the next gang has waited for all its ranks for long enough, and is placed with fewer.
  var gangsShrinkAt: Instant?
  /// What is kept for the spares of gangs, by position of the worker; found anew with each placement.
  var spareLoads: [Int: Load] = [:]
  /// When the next shard has waited for the worker with its data for long enough.
  var homesAt: Instant?
  /// When the next shard has run for so long that it is started a second time.
  var rivalsAt: Instant?
  /// When the next of the shards that wait on their workers has waited for long.
  var aheadUntil: Instant?
  /// Attempts of repeatable work count from here. It is handed out before that is stored: a successor, which may not have heard of it, must
  /// not use the name again.
  let firstAttempt: Int
  var jitter: SplitMix64
  var nextSequence: Int64 = 1
  /// The latest time that was seen; a clock that steps back stands still here.
  var now: Instant
  var changes: [String: Record] = [:]
  var effects: [Effect] = []

  /// When `tick` has to be called if nothing else happens before. Nil: nothing is waiting for time.
  public private(set) var nextDeadline: Instant?

  /// - Parameter epoch: of the lease of the coordinator; greater than that of every one before.
  public init(configuration: Configuration = Configuration(), epoch: Int64 = 0, now: Instant = 0) {
    self.configuration = configuration
    self.now = now
    // Nobody gives a unit a million times in one epoch.
    firstAttempt = Int(min(max(0, epoch), 1 << 40)) << 20
    jitter = SplitMix64(seed: configuration.seed)
  }

  /// Everything that follows from `event`. Store `takeChanges()` before performing the effects.
  public mutating func handle(_ event: Event, now time: Instant) -> [Effect] {
    advanceClock(to: time)
    switch event {
    case .workerJoined(let hello): workerJoined(hello)
    case .workerHeartbeat(let worker, let incarnation, let sequence, let held):
      workerHeartbeat(worker, incarnation: incarnation, sequence: sequence, held: held)
    case .workerLost(let worker, let incarnation):
      if workers[worker]?.incarnation == incarnation { loseWorker(worker) }
    case .workerDrain(let worker): setAvailability(worker, .draining)
    case .workerCordon(let worker): setAvailability(worker, .cordoned)
    case .workerUncordon(let worker): setAvailability(worker, .open)
    case .unitStarted(let worker, let unit, let attempt): unitStarted(worker, UnitAttempt(unit: unit, attempt: attempt))
    case .unitFinished(let worker, let unit, let attempt, let outcome):
      unitFinished(worker, UnitAttempt(unit: unit, attempt: attempt), outcome)
    case .unitReady(let worker, let unit, let attempt, let address, let publicKey):
      unitReady(worker, UnitAttempt(unit: unit, attempt: attempt), address: address, publicKey: publicKey)
    case .gangCheckpointed(let worker, let unit, let attempt): gangCheckpointed(worker, UnitAttempt(unit: unit, attempt: attempt))
    case .runSubmitted(let spec): submit(spec)
    case .runCancelRequested(let run): requestCancel(run)
    case .runRepaired(let run, let tasks, let rerun, let number): repair(run, tasks: tasks, rerun: rerun, number: number)
    case .stagePlanned(let id, let plan): stagePlanned(id, plan)
    case .stagePlanFailed(let id, let error): stagePlanFailed(id, error)
    case .stageCommitted(let id, let outcome): stageCommitted(id, outcome)
    case .stageCommitFailed(let id, let error, let retryable): stageCommitFailed(id, error, retryable: retryable)
    case .serviceSet(let spec):
      if case .failure(let error) = setService(spec) { effects.append(.refused(name: spec.name, error: error)) }
    case .serviceRemoved(let name): removeService(name)
    case .tick: break
    }
    return settle()
  }

  /// Whether there is anything that is not stored.
  public var hasChanges: Bool { !changes.isEmpty }

  /// What has to be stored before the effects since the last call are performed, in a fixed order, each entity once.
  /// Runs that have ended are forgotten here. Removed services stay as a name and two numbers, so that a service that is
  /// created again never reuses the name of a replica.
  public mutating func takeChanges() -> [Record] {
    guard !changes.isEmpty else { return [] }
    let taken = changes.keys.sorted().compactMap { changes[$0] }
    changes.removeAll(keepingCapacity: true)
    if runsEnded {
      runs.removeAll { $0.record.state.isTerminal }
      indexRuns()
      runsEnded = false
    }
    return taken
  }

  /// The durable state of everything that is alive, by key: what a store that applied all changes must hold.
  public func snapshot() -> [Record] {
    var records: [Record] = []
    for run in runs {
      records.append(.run(run.record))
      for task in run.tasks {
        records.append(.task(task.record))
        records += task.units.map(Record.unit)
      }
    }
    for (_, service) in services {
      records.append(.service(service.record))
      records += service.replicas.map(Record.unit)
    }
    for (_, record) in availability { records.append(.worker(record)) }
    return records
  }

  /// Acts on time until nothing changes, and hands out the effects. Only what an event touched or whose time has come is
  /// looked at, so that the cost of an event does not grow with what waits.
  mutating func settle() -> [Effect] {
    expireWorkers()
    progressRuns()
    let servicesMoved = reconcileServices()
    // A service may have become ready for a task that waits for it, or a task may have set one.
    if servicesMoved {
      for run in runs.indices where runs[run].waitsForService { runs[run].isDirty = true }
    }
    progressRuns()
    if reconcileServices() { for run in runs.indices where runs[run].waitsForService { runs[run].isDirty = true } }
    progressRuns()
    place()
    checkpointed = nil
    workersChanged = false
    nextDeadline = earliestDeadline()
    defer { effects = [] }
    return effects
  }

  private mutating func progressRuns() {
    for run in runs.indices where runs[run].isDirty || runs[run].wakeAt ?? .max <= now { progressRun(run) }
    // The end of one run lets an earlier one of its job start.
    while let run = runs.indices.first(where: { runs[$0].isDirty }) { progressRun(run) }
  }

  /// Returns whether any service was looked at.
  private mutating func reconcileServices() -> Bool {
    var looked = false
    for index in services.indices
    where workersChanged || services[at: index].isDirty || services[at: index].wakeAt ?? .max <= now {
      looked = true
      reconcileService(index)
    }
    return looked
  }
}
