// SPDX-License-Identifier: Apache-2.0

public import Core

/// Decides what runs where. A value: no clock, randomness, socket, logger or dictionary order inside, so that a whole
/// cluster can be replayed from one seed.
///
/// The runner does, for each event: `handle`, then stores `takeChanges()` in one transaction that also checks the epoch
/// of its own lease, then performs the effects in order. When it dies anywhere in between, `restore` continues from the
/// records: plannings and commits are issued again, and workers are asked what they hold.
///
/// Slots: a shard or a gang rank takes one slot of its worker. Replicas take none, so that training never starves
/// serving; they are spread over the workers. A gang larger than the whole cluster is placed on an idle cluster, more
/// than one rank a slot.
///
/// Order: older runs first, round robin over the tasks of a run. A gang that does not fit keeps younger work from being
/// placed, so that it is never starved by it.
public struct Scheduler: Sendable {
  /// All times in milliseconds.
  public struct Configuration: Sendable, Equatable {
    /// A worker that has been silent for this long gets nothing new, and is told (by its own clock) to stop everything.
    public var leaseMs: Int64 = 5_000
    /// After the lease, before its units run elsewhere. Covers the drift of two clocks over one lease.
    public var marginMs: Int64 = 1_000
    /// After a restart, how long workers may take to report what they hold.
    public var restoreGraceMs: Int64 = 10_000
    /// An assignment that a heartbeat does not list is sent again after this long.
    public var resendMs: Int64 = 2_000
    /// Being called this much later than `nextDeadline` means that the scheduler itself stood still, not the workers.
    public var stallMs: Int64 = 1_500
    /// Failed attempts of one unit (executor crashes included) until its task attempt fails.
    public var unitFailureLimit = 3
    /// Lost attempts of one unit (worker deaths) until its task attempt fails.
    public var unitLossLimit = 10
    public var unitBackoff = Backoff(firstMilliseconds: 500, limitMilliseconds: 10_000)
    /// Retryable failures of planning or committing one stage until the task attempt fails.
    public var infrastructureFailureLimit = 5
    public var infrastructureBackoff = Backoff(firstMilliseconds: 500, limitMilliseconds: 15_000)
    /// Restart delays of a replica that keeps ending.
    public var replicaBackoff = Backoff(firstMilliseconds: 1_000, limitMilliseconds: 60_000)
    /// A replica that was ready for this long starts again without a delay.
    public var replicaStableMs: Int64 = 60_000
    /// Requests in flight on a draining replica have this long.
    public var drainMs: Int64 = 30_000
    /// Seed of the jitter.
    public var seed: UInt64 = 1

    public init() {}
  }

  struct Task: Sendable, Equatable {
    var record: TaskRecord
    var spec: TaskSpec
    /// Units of the current attempt and stage, by index.
    var units: [UnitRecord] = []
    /// No unit below is waiting.
    var firstWaiting = 0
  }

  struct Run: Sendable, Equatable {
    var record: RunRecord
    var tasks: [Task]
    /// Where the next placement pass starts, for fairness.
    var nextTask = 0
  }

  struct Service: Sendable, Equatable {
    var record: ServiceRecord
    var replicas: [UnitRecord] = []
  }

  /// Slot and fencing state of one unit attempt on a worker.
  struct Lease: Sendable, Equatable {
    var key: UnitAttempt
    var slots: Int
    /// False once the scheduler does not want it any more; the slot stays taken until the worker says that it ended.
    var active: Bool
    /// The worker has listed or reported it.
    var confirmed: Bool
    var sentAt: Instant
    /// Granted beyond the slots because the whole cluster is smaller than its gang, or found on a worker.
    var beyondSlots: Bool
    /// Found on a worker that came back after its lease had run out: it has fenced itself, and only keeps its slot.
    var foreign = false
  }

  struct Worker: Sendable, Equatable {
    /// live -> suspect (silent for a lease) -> gone; restored (known from records only) -> live | gone.
    enum State: Sendable, Equatable { case live, suspect, restored }
    var incarnation: Int64
    var slots: Int
    var hostID: String
    var labels: [String: String]
    var state: State
    var draining = false
    var lastHeard: Instant
    var lastBeat: Int64 = .min
    /// By unit.
    var leases = SortedTable<UnitAttempt, Lease>()

    var usedSlots: Int { leases.reduce(0) { $0 + $1.value.slots } }
    var acceptsWork: Bool { state == .live && !draining }
  }

  public let configuration: Configuration
  /// Oldest first.
  var runs: [Run] = []
  var services = SortedTable<String, Service>()
  var workers = SortedTable<String, Worker>()
  var jitter: SplitMix64
  var nextSequence: Int64 = 1
  /// The latest time that was seen; a clock that steps back stands still here.
  var now: Instant
  var changes: [String: Record] = [:]
  var effects: [Effect] = []

  /// When `tick` has to be called if nothing else happens before. Nil: nothing is waiting for time.
  public private(set) var nextDeadline: Instant?

  public init(configuration: Configuration = Configuration(), now: Instant = 0) {
    self.configuration = configuration
    self.now = now
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
    case .workerDrain(let worker): workers.update(worker) { $0.draining = true }
    case .unitStarted(let worker, let unit, let attempt): unitStarted(worker, UnitAttempt(unit: unit, attempt: attempt))
    case .unitFinished(let worker, let unit, let attempt, let outcome):
      unitFinished(worker, UnitAttempt(unit: unit, attempt: attempt), outcome)
    case .unitReady(let worker, let unit, let attempt, let address, let publicKey):
      unitReady(worker, UnitAttempt(unit: unit, attempt: attempt), address: address, publicKey: publicKey)
    case .runSubmitted(let spec): submit(spec)
    case .runCancelRequested(let run): requestCancel(run)
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

  /// What has to be stored before the effects of the last `handle` are performed, in a fixed order, each entity once.
  /// Runs that have ended are forgotten here. Removed services stay as a name and two numbers, so that a service that is
  /// created again never reuses the name of a replica.
  public mutating func takeChanges() -> [Record] {
    let taken = changes.keys.sorted().compactMap { changes[$0] }
    changes = [:]
    runs.removeAll { $0.record.state.isTerminal }
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
    return records
  }

  /// Acts on time until nothing changes, and hands out the effects.
  mutating func settle() -> [Effect] {
    expireWorkers()
    for index in runs.indices { progressRun(index) }
    for name in services.keys { reconcileService(name) }
    // A service may have become ready for a task that waits for it, or a task may have set one.
    for index in runs.indices { progressRun(index) }
    place()
    nextDeadline = earliestDeadline()
    defer { effects = [] }
    return effects
  }

  /// Time only moves forward. When the caller is far too late, the silence was its own: workers get that time back.
  private mutating func advanceClock(to time: Instant) {
    if let promised = nextDeadline, time > now, time - promised > configuration.stallMs {
      let lateness = time - promised
      for name in workers.keys { workers.update(name) { $0.lastHeard = min(time, $0.lastHeard + lateness) } }
    }
    now = max(now, time)
  }

  private func earliestDeadline() -> Instant? {
    var earliest: Instant?
    func consider(_ time: Instant?) {
      if let time { earliest = min(earliest ?? time, time) }
    }
    for (_, worker) in workers { consider(deadline(of: worker)) }
    for run in runs where !run.record.state.isTerminal {
      for task in run.tasks where !task.record.state.isTerminal {
        consider(task.record.notBefore)
        if task.record.state != .committing { consider(task.record.deadline) }
        if task.record.state == .running {
          consider(task.record.readyDeadline)
          for unit in task.units where unit.state == .waiting {
            if let time = unit.notBefore, time > now { consider(time) }
          }
        }
      }
    }
    for (_, service) in services {
      for replica in service.replicas {
        if replica.state == .draining { consider(replica.drainDeadline) }
        if replica.state == .waiting, let time = replica.notBefore, time > now { consider(time) }
      }
    }
    return earliest
  }

  // MARK: Changing entities

  mutating func changeTask(_ run: Int, _ task: Int, _ body: (inout TaskRecord) -> Void) {
    let before = runs[run].tasks[task].record
    body(&runs[run].tasks[task].record)
    let after = runs[run].tasks[task].record
    guard before != after else { return }
    changes["task:\(after.run)/\(after.key)"] = .task(after)
    if before.state != after.state || before.attempt != after.attempt || before.stage != after.stage {
      effects.append(
        .taskStateChanged(
          run: after.run, task: after.key, attempt: after.attempt, stage: after.stage, state: after.state, error: after.error
        ))
    }
  }

  mutating func changeRun(_ run: Int, _ body: (inout RunRecord) -> Void) {
    let before = runs[run].record
    body(&runs[run].record)
    let after = runs[run].record
    guard before != after else { return }
    changes["run:\(after.spec.id)"] = .run(after)
    if before.state != after.state {
      effects.append(.runStateChanged(run: after.spec.id, state: after.state, error: after.error))
    }
  }

  /// Where a unit is kept.
  enum Place { case task(run: Int, task: Int, unit: Int), replica(service: String, index: Int) }

  /// The unit of a name, when it belongs to the current attempt and stage of its task, or to a known service.
  func find(_ unit: String) -> Place? {
    let parts = unit.split(separator: "/", omittingEmptySubsequences: false)
    if parts.count == 3, parts[0] == "service" {
      let service = String(parts[1])
      return services[service]?.replicas.firstIndex { $0.name == unit }.map { .replica(service: service, index: $0) }
    }
    guard parts.count == 5, let index = Int(parts[4]), let run = runs.firstIndex(where: { $0.record.spec.id == parts[0] }),
      let task = runs[run].tasks.firstIndex(where: { $0.record.key == parts[1] }),
      runs[run].tasks[task].units.indices.contains(index), runs[run].tasks[task].units[index].name == unit
    else { return nil }
    return .task(run: run, task: task, unit: index)
  }

  func record(_ place: Place) -> UnitRecord {
    switch place {
    case .task(let run, let task, let unit): runs[run].tasks[task].units[unit]
    case .replica(let service, let index): services[service]!.replicas[index]
    }
  }

  mutating func change(_ place: Place, _ body: (inout UnitRecord) -> Void) {
    switch place {
    case .task(let run, let task, let unit):
      body(&runs[run].tasks[task].units[unit])
      let after = runs[run].tasks[task].units[unit]
      changes["unit:\(after.name)"] = .unit(after)
      if after.state == .waiting { runs[run].tasks[task].firstWaiting = min(runs[run].tasks[task].firstWaiting, unit) }
    case .replica(let service, let index):
      services.update(service) { body(&$0.replicas[index]) }
      let after = record(place)
      changes["unit:\(after.name)"] = .unit(after)
    }
  }

  mutating func delay(_ backoff: Backoff, afterAttempt attempt: Int) -> Instant {
    now + backoff.delayMilliseconds(afterAttempt: attempt, unit: jitter.nextUnit())
  }
}
