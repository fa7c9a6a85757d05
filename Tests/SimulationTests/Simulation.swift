// SPDX-License-Identifier: Apache-2.0

import Core

@testable import Scheduling

/// A cluster on virtual time: one coordinator around the real scheduler, four workers, a store that survives crashes, and a
/// lake that counts commits. Everything follows from the seed.
struct Simulation {
  /// What a seed means grows: each step draws what it adds from streams of its own, and a seed of the regression list is
  /// replayed with what there was when it failed.
  enum Vintage: Int, Comparable {
    case first
    /// Runs that did not succeed are repaired.
    case repairs
    /// The faults of `Fault.later`, and workers that know the epoch.
    case weather
    /// Work that asks for processors, memory and labels, and workers that have them.
    case resources
    /// Services that ask for memory, and take it from work that may be stopped for them.
    case preemption
    /// Shards that may run twice at once, and workers on which some take much longer.
    case rivals
    /// Shards that go where their data is.
    case affinity
    /// What precedes the store happens before it, events are handled while the store works, and what nobody waits for is stored later.
    case pipeline
    /// Shards wait on their workers.
    case ahead
    /// Gangs work with fewer ranks, grow again, and have spares.
    case elastic
    /// Replicas of services consist of several ranks.
    case ranked

    static let newest = Vintage.ranked
    static func < (a: Vintage, b: Vintage) -> Bool { a.rawValue < b.rawValue }
  }

  enum Fault: Int, CaseIterable {
    case drop, duplicate, delay, partition, workerCrash, executorCrash, executorFailure, workerStall, workerDrain
    case crashBeforePersist, crashAfterPersist, coordinatorStall, clockForward, clockBackward, planFailure, commitFailure
    case commitUnclear, poison, cancel, scale
    // Of the network: one direction only, everything overtakes everything, held up and then all at once, once more much later.
    case oneWayOut, oneWayIn, reorder, clog, replay
    // Of the store, and of a leader that pauses between storing and acting while another one takes over.
    case slowStore, storeRestart, leaderPaused
    // Of workers: all at once with the coordinator, old or false reports, clocks that run at another rate, other slots after a restart.
    case powerCut, staleReport, lie, workerDrift, workerResized
    // A second, different answer to one planning.
    case planTwice

    static let first = allCases.filter { $0.rawValue <= scale.rawValue }
    static let later = allCases.filter { $0.rawValue > scale.rawValue }
    /// Those of `later` that the injector makes.
    static let storms: [Fault] = [
      .oneWayOut, .oneWayIn, .reorder, .clog, .slowStore, .storeRestart, .powerCut, .staleReport, .lie,
    ]

    /// Whether it is decided where it happens, not by the fault injector.
    var isRolled: Bool {
      switch self {
      case .drop, .duplicate, .delay, .executorFailure, .crashBeforePersist, .crashAfterPersist, .planFailure, .commitFailure,
        .commitUnclear, .poison:
        true
      default: false
      }
    }
  }

  enum Action {
    case toCoordinator(Event)
    case fromWorker(String, Event, sequence: Int)
    case toWorker(String, Effect, epoch: Int, sequence: Int)
    case beat(String, incarnation: Int64)
    case finish(String, incarnation: Int64, UnitAttempt)
    case ready(String, incarnation: Int64, UnitAttempt)
    case planned(StageCall, epoch: Int)
    case committed(StageCall, [JSONValue], epoch: Int)
    case tick(epoch: Int, at: Instant)
    case startCoordinator
    case startWorker(String)
    case heal(String)
    case submit(RunSpec)
    case repair(String)
    case client(Event)
    case fault
    case storm
    /// The store has what was being stored; or the coordinator gives up on it.
    case stored(epoch: Int)
    case storeLost(epoch: Int)
    /// What nobody waited for is stored now.
    case storeDue(epoch: Int)
    /// A paused leader acts on what it had stored, not knowing that its epoch is over.
    case lateEffects([Effect], epoch: Int)
    /// An answer that comes once more.
    case repeated(Event, epoch: Int)
  }

  struct Execution {
    var assignment: Assignment
    var hasPeers = false
    var isReady = false
    /// Finished and not acknowledged.
    var outcome: UnitOutcome?
  }

  /// What is wrong with the way to a worker, and until when.
  struct Link {
    var outCutUntil: Instant = 0
    var inCutUntil: Instant = 0
    var shuffledUntil: Instant = 0
    var cloggedUntil: Instant = 0
    /// When the last message arrives, in each direction: without a fault a later one is not earlier.
    var lastIn: Instant = 0
    var lastOut: Instant = 0
  }

  /// A transaction of the coordinator that has not been answered.
  struct Storing {
    var changes: [Record]
    var effects: [Effect]
  }

  struct SimulatedWorker {
    var incarnation: Int64 = 0
    var isUp = false
    var partitioned = false
    var stalledUntil: Instant = 0
    var beat: Int64 = 0
    var sentBeats: [Int64: Instant] = [:]
    var leaseUntil: Instant = 0
    var work: [UnitAttempt: Execution] = [:]
    var tombstones: Set<UnitAttempt> = []
    /// What waits for a slot.
    var queue: [UnitAttempt] = []
    var slots = 2
    var link = Link()
    /// The last message that it has taken. Older ones are dropped, as the transport does.
    var heard = (epoch: 0, sequence: 0)
    /// How long a lease is by its clock, in parts of what it should be.
    var drift = 1.0
    /// The last attempts that it finished, of any incarnation.
    var history: [(key: UnitAttempt, outcome: UnitOutcome)] = []
  }

  /// What the workload uses.
  enum Feature: CaseIterable { case runIf, conditions, loops, queues, shares }

  let seed: UInt64
  let vintage: Vintage
  var random: SplitMix64
  /// Decides who asks for which resources; nil when nobody does.
  var demands: SplitMix64?
  /// Decides whose room services take; nil when nobody's.
  var pressure: SplitMix64?
  /// Decides which shards take long where; nil when none do.
  var stragglers: SplitMix64?
  /// Decides which gangs may be smaller, or have spares; nil when none.
  var elasticity: SplitMix64?
  /// Whether replicas consist of ranks.
  var splitsReplicas = false
  /// Attempts that are second ones.
  var rivals: Set<UnitAttempt> = []
  /// Decides the faults of `Fault.later`.
  var weather: SplitMix64
  /// Whether reports that others have overtaken, or that come again, are dropped as the transport does; the scheduler has to
  /// get along without.
  var dropsOvertaken = false
  var lastMessage = 0
  /// The last report that was taken, by worker.
  var lastReports: [String: Int] = [:]
  var features: Set<Feature> = []
  var enabled: Set<Fault> = []
  var faultsOver = false
  var time: Instant = 0
  var clockOffset: Instant = 0
  var queue = EventQueue<Action>()
  var scheduler: Scheduler?
  var epoch = 0
  var tickAt: Instant?
  var stalledCoordinatorUntil: Instant = 0
  var storing: Storing?
  var storingSince: Instant = 0
  /// Effects that wait for the next transaction.
  var unstored: [Effect] = []
  /// What came while the coordinator was storing; handled as one batch, as the runner does.
  var mailbox: [Event] = []
  var storeSlowUntil: Instant = 0
  var storeDownUntil: Instant = 0
  var workers: [String: SimulatedWorker] = [:]
  let names = ["w0", "w1", "w2", "w3"]
  var store: [String: Record] = [:]
  var lake: [String: StageOutcome] = [:]
  var submitted: [String: RunSpec] = [:]
  /// Whether runs that did not succeed are repaired; decided apart from the rest, so that older seeds stay what they were.
  var repairs = false
  var events = 0
  var trace = Trace()
  /// How often each fault happened.
  var injected: [Fault: Int] = [:]
  var problems: [String] = []
  /// Whether two attempts at one shard do no harm.
  var repeatable = false
  var configuration = Scheduler.Configuration()
  /// How often the scheduler did what only some clusters make it do.
  var done: [String: Int] = [:]

  init(seed: UInt64, vintage: Vintage = .newest) {
    self.seed = seed
    self.vintage = vintage
    random = SplitMix64(seed: seed)
    weather = SplitMix64(seed: seed &* 0x9E37_79B9_7F4A_7C15 ^ 0x5851_F42D)
    for fault in Fault.first where random.nextUnit() < 0.5 { enabled.insert(fault) }
    for feature in Feature.allCases where random.nextUnit() < 0.4 { features.insert(feature) }
    var apart = SplitMix64(seed: ~seed)
    repairs = apart.nextUnit() < 0.4 && vintage >= .repairs
    guard vintage >= .weather else { return }
    for fault in Fault.later where weather.nextUnit() < 0.35 { enabled.insert(fault) }
    dropsOvertaken = weather.nextUnit() < 0.5
    guard vintage >= .resources else { return }
    var resources = SplitMix64(seed: seed &+ 0x0BAD_5EED)
    if resources.nextUnit() < 0.4 { demands = resources }
    guard vintage >= .preemption else { return }
    var squeeze = SplitMix64(seed: seed &* 0xD6E8_FEB8_6659_FD93 &+ 7)
    if squeeze.nextUnit() < 0.35 {
      pressure = squeeze
      demands = demands ?? resources
      configuration.preemptAfterMs = 300
      configuration.preemptGangAfterMs = 4_000
      configuration.preemptionBackoff = Backoff(firstMilliseconds: 500, limitMilliseconds: 20_000)
    }
    guard vintage >= .rivals else { return }
    if vintage >= .affinity { configuration.affinityWaitMs = Instant(seed % 5) * 400 }
    var slowness = SplitMix64(seed: seed &* 0x2545_F491_4F6C_DD1D &+ 11)
    if slowness.nextUnit() < 0.5 {
      stragglers = slowness
      configuration.rivalLeastMs = 300
    }
    guard vintage >= .pipeline else { return }
    var pipeline = SplitMix64(seed: seed &+ 0x00C0_FFEE)
    repeatable = pipeline.nextUnit() < 0.6
    if pipeline.nextUnit() < 0.6 { configuration.purePlans = ["shards", "gang", "none"] }
    if vintage >= .ahead, pipeline.nextUnit() < 0.6 {
      configuration.aheadMs = 10_000
      configuration.aheadSamples = 1
    }
    if vintage >= .ranked, demands == nil {
      var ranked = SplitMix64(seed: seed &* 0x8CB9_2BA7_2F3D_8DD7 &+ 17)
      splitsReplicas = ranked.nextUnit() < 0.5
    }
    guard vintage >= .elastic else { return }
    var elastic = SplitMix64(seed: seed &* 0xA076_1D64_78BD_642F &+ 13)
    guard elastic.nextUnit() < 0.7 else { return }
    elasticity = elastic
    configuration.gangGrowAfterMs = 500 + Instant(seed % 4) * 1_500
  }

  // MARK: Running

  mutating func run() {
    for name in names {
      workers[name] = SimulatedWorker(slots: 1 + Int(random.next() % 3))
      schedule(Instant(random.next() % 500), .startWorker(name))
    }
    schedule(0, .startCoordinator)
    let faultsEnd: Instant = 60_000
    for index in 0..<(3 + Int(random.next() % 5)) {
      schedule(Instant(random.next() % 40_000), .submit(makeRun("r\(index)")))
    }
    for index in 0..<2 {
      let spec = pressed(ServiceSpec(name: "s\(index)", kind: "serve", payload: .integer(0), replicas: 1 + index))
      schedule(Instant(random.next() % 5_000), .client(.serviceSet(spec)))
    }
    schedule(500, .fault)
    if vintage >= .weather { schedule(700, .storm) }
    let limit: Instant = 60_000 + 3_600_000
    while let next = queue.pop(), problems.isEmpty {
      time = max(time, next.time)
      if !faultsOver, time >= faultsEnd { endFaults() }
      if time > limit { break }
      perform(next.action)
      if faultsOver, isQuiet { break }
    }
    if problems.isEmpty { finalChecks() }
  }

  private mutating func endFaults() {
    faultsOver = true
    note("faults end")
    for name in names where workers[name]!.isUp { workers[name]!.partitioned = false }
    for name in names { workers[name]!.link = Link() }
    storeSlowUntil = 0
    storeDownUntil = min(storeDownUntil, time)
    for name in names { schedule(100, .client(.workerUncordon(worker: name))) }
  }

  /// Whether everything accepted has ended and services are as wanted.
  private var isQuiet: Bool {
    for run in submitted.keys {
      guard case .run(let record)? = store["run:\(run)"], record.state.isTerminal else { return false }
    }
    guard let scheduler, !scheduler.hasChanges, storing == nil, submitted.count > 0,
      !queue.contains(where: {
        switch $0 {
        case .submit, .repair: true
        default: false
        }
      })
    else { return false }
    return servicesAreReady
  }

  private var servicesAreReady: Bool {
    for record in store.values {
      guard case .service(let service) = record, !service.removed else { continue }
      let ready = store.values.count {
        if case .unit(let unit) = $0 {
          unit.service == service.spec.name && unit.state == .ready && unit.generation == service.spec.generation && unit.rank ?? 0 == 0
        } else {
          false
        }
      }
      if service.removing || ready != service.spec.replicas { return false }
      if service.spec.demand != nil { continue }
      // Faults are over and every worker is back: no worker has two more than another.
      let spread = names.map { name in
        store.values.count {
          if case .unit(let unit) = $0 { unit.service == service.spec.name && unit.state == .ready && unit.worker == name } else { false }
        }
      }
      if (spread.max() ?? 0) - (spread.min() ?? 0) > 1 { return false }
    }
    return true
  }

  private mutating func finalChecks() {
    for run in submitted.keys.sorted() {
      guard case .run(let record)? = store["run:\(run)"] else {
        problems.append("accepted run \(run) is not in the store")
        continue
      }
      if !record.state.isTerminal { problems.append("run \(run) is \(record.state) for ever: \(reasons(run))") }
      if record.state == .succeeded {
        for task in record.spec.tasks {
          guard case .task(let ended)? = store["task:\(run)/\(task.key)"], ended.state == .succeeded, task.condition == nil else { continue }
          let keys = task.forEach == nil ? [task.key] : (ended.items ?? []).indices.map { "\(task.key)[\($0)]" }
          for key in keys {
            var suffix = ""
            if case .task(let one)? = store["task:\(run)/\(key)"], let repair = one.repairs { suffix = "/repair-\(repair)" }
            for stage in 0..<(task.body["stages"]?.intValue ?? 1) where lake["\(run)/\(key)/\(stage)\(suffix)"] == nil {
              problems.append("\(run)/\(key) succeeded without committing stage \(stage)")
            }
          }
        }
      }
    }
    if !servicesAreReady { problems.append("services did not converge") }
    guard let scheduler, storing == nil else { return problems.append("there is no coordinator at the end") }
    compareStore(scheduler)
    var restored = Scheduler(configuration: configuration, now: time + clockOffset)
    restored.load(Array(store.values))
    let difference = zip(restored.snapshot(), scheduler.snapshot()).first { $0 != $1 }
    if restored.snapshot() != scheduler.snapshot() {
      problems.append("a restored scheduler differs from the live one: \(difference.map { "\($0)" } ?? "length")")
    }
  }

  private func reasons(_ run: String) -> String {
    guard let scheduler, let spec = submitted[run] else { return "no coordinator" }
    return spec.tasks.map { task in
      var state = "?"
      if case .task(let record)? = store["task:\(run)/\(task.key)"] { state = "\(record.state)" }
      return "\(task.key) \(state) \(scheduler.waitingReason(run: run, task: task.key) ?? "")"
    }.joined(separator: "; ")
  }

  private mutating func compareStore(_ scheduler: Scheduler) {
    for record in scheduler.snapshot() where store[record.key] != record {
      problems.append("\(record.key) is not what was stored")
      return
    }
  }

  // MARK: Workload

  private mutating func makeRun(_ id: String) -> RunSpec {
    var tasks: [TaskSpec] = []
    for index in 0..<(1 + Int(random.next() % 4)) {
      let shapes = ["shards", "shards", "gang", "service", "none"]
      let shape = shapes[Int(random.next() % UInt64(shapes.count))]
      let body: JSONValue = [
        "shape": .string(shape), "stages": .integer(1 + Int64(random.next() % 2)),
        "width": .integer(1 + Int64(random.next() % 5)),
        "ms": .integer(50 + Int64(random.next() % 4_000)),
        "poison": .bool(roll(.poison, 0.15)),
      ]
      var task = TaskSpec(
        key: "t\(index)", kind: shape, dependsOn: tasks.map(\.key).filter { _ in random.nextUnit() < 0.5 },
        maxRetries: Int(random.next() % 3), timeoutMs: random.nextUnit() < 0.2 ? 30_000 : nil, body: body)
      if features.contains(.runIf), random.nextUnit() < 0.5 { task.runIf = RunIf.allCases[Int(random.next() % 6)] }
      for other in tasks where other.condition != nil && task.dependsOn.contains(other.key) && random.nextUnit() < 0.7 {
        task.outcomes = (task.outcomes ?? [:]).merging([other.key: random.nextUnit() < 0.5]) { $1 }
      }
      if features.contains(.conditions), random.nextUnit() < 0.3 {
        // Now and then a value that does not exist.
        let left = random.nextUnit() < 0.8 ? "\(random.next() % 3)" : "{{tasks.t0.values.missing}}"
        task.condition = Condition(random.nextUnit() < 0.5 ? .equal : .greater, left, "1")
      } else if features.contains(.loops), random.nextUnit() < 0.3 {
        let items = (0..<(random.next() % 6)).map { JSONValue.integer(Int64($0)) }
        task.forEach = ForEach(inputs: .array(items), concurrency: 1 + Int(random.next() % 3))
      }
      task.demand = demand(of: shape)
      press(&task)
      slowDown(&task)
      stretch(&task)
      tasks.append(task)
    }
    var run = RunSpec(id: id, name: id, tasks: tasks)
    if features.contains(.queues) {
      run.job = "j\(random.next() % 2)"
      run.maxConcurrentRuns = 1 + Int(random.next() % 2)
    }
    if features.contains(.shares) {
      run.user = "u\(random.next() % 3)"
      run.priority = Int(random.next() % 3)
    }
    return run
  }

  // MARK: Queue

  mutating func schedule(_ delay: Instant, _ action: Action) { queue.add(action, at: time + max(0, delay)) }

  mutating func note(_ line: String) { trace.add(.text(line), at: time) }

  func happens(_ fault: Fault, _ probability: Double) -> Bool {
    !faultsOver && enabled.contains(fault) && probability > 0
  }

  mutating func roll(_ fault: Fault, _ probability: Double) -> Bool {
    guard happens(fault, probability), random.nextUnit() < probability else { return false }
    injected[fault, default: 0] += 1
    return true
  }

  // MARK: Coordinator

  mutating func perform(_ action: Action) {
    switch action {
    case .toCoordinator(let event):
      if time < stalledCoordinatorUntil { schedule(stalledCoordinatorUntil - time, action) } else { deliver(event) }
    case .fromWorker(let name, let event, let sequence):
      if time < stalledCoordinatorUntil { return schedule(stalledCoordinatorUntil - time, action) }
      if dropsOvertaken, sequence <= lastReports[name] ?? 0 { return }
      lastReports[name] = sequence
      deliver(event)
    case .startCoordinator:
      guard scheduler == nil else { return }
      if time < storeDownUntil { return schedule(storeDownUntil - time + 100, action) }
      epoch += 1
      note("coordinator starts, epoch \(epoch)")
      let (restored, effects) = Scheduler.restore(
        store.keys.sorted().compactMap { store[$0] }, configuration: configuration, epoch: vintage >= .pipeline ? Int64(epoch) : 0,
        now: time + clockOffset)
      scheduler = restored
      settle(effects)
    case .tick(let of, let at):
      guard of == epoch, at == tickAt else { return }
      if time < stalledCoordinatorUntil { return schedule(stalledCoordinatorUntil - time, action) }
      tickAt = nil
      deliver(.tick)
    case .planned(let call, let of):
      guard of == epoch else { return }
      let answer = plan(call)
      deliver(answer)
      repeatPlanning(answer)
    case .committed(let call, let results, let of):
      // The commit lands even when the coordinator that asked for it is gone.
      let answer = commit(call, results)
      if of == epoch { deliver(answer) }
    case .submit(let spec):
      if isBusy { return schedule(700, action) }
      if store["run:\(spec.id)"] == nil { deliver(.runSubmitted(spec)) }
      if store["run:\(spec.id)"] == nil { schedule(700, action) } else { submitted[spec.id] = spec }
    case .repair(let run): repair(run)
    case .client(let event):
      if isBusy { return schedule(700, action) }
      // It had to wait until all workers were wanted again.
      if faultsOver, case .workerCordon = event { return }
      if faultsOver, case .workerDrain = event { return }
      deliver(event)
    case .fault: injectFault()
    case .storm: injectStorm()
    case .stored(let of): if of == epoch { stored() }
    case .storeLost(let of): if of == epoch { storeLost() }
    case .storeDue(let of):
      guard of == epoch, scheduler?.hasChanges == true, storing == nil else { return }
      if time < stalledCoordinatorUntil { return schedule(stalledCoordinatorUntil - time, action) }
      settle(unstored)
    case .lateEffects(let effects, let of): for effect in effects { act(effect, epoch: of) }
    case .repeated(let event, let of): if of == epoch { deliver(event) }
    case .toWorker(let name, let effect, let epoch, let sequence): receive(name, effect, (epoch, sequence))
    case .beat(let name, let incarnation): beat(name, incarnation)
    case .finish(let name, let incarnation, let key): finish(name, incarnation, key)
    case .ready(let name, let incarnation, let key): ready(name, incarnation, key)
    case .startWorker(let name): startWorker(name)
    case .heal(let name): workers[name]!.partitioned = false
    }
  }

  /// Whether a client has to try again later.
  private var isBusy: Bool { scheduler == nil || time < stalledCoordinatorUntil || storing != nil }

  private mutating func deliver(_ event: Event) {
    guard scheduler != nil else { return }
    if storing == nil || vintage >= .pipeline && time - storingSince <= 500 { handle([event]) } else { mailbox.append(event) }
  }

  private mutating func handle(_ batch: [Event]) {
    var effects: [Effect] = []
    let now = time + clockOffset
    for event in batch {
      events += 1
      if case .workerHeartbeat = event {} else { trace.add(.event(event), at: time) }
      effects += scheduler!.handle(event, now: now)
      if let violation = scheduler!.violations().first { problems.append(violation) }
      done["spares kept", default: 0] += scheduler!.spareLoads.isEmpty ? 0 : 1
      done["waiting on workers", default: 0] += scheduler!.workers.values.contains { $0.ahead > 0 } ? 1 : 0
    }
    guard vintage >= .pipeline else { return settle(effects) }
    for effect in effects { if effect.precedesStore { act(effect, epoch: epoch) } else { unstored.append(effect) } }
    if storing != nil { return }
    if unstored.isEmpty, scheduler!.hasChanges {
      schedule(50, .storeDue(epoch: epoch))
      return scheduleTick()
    }
    settle(unstored)
  }

  private mutating func settle(_ effects: [Effect]) {
    unstored = []
    let changes = scheduler!.takeChanges()
    if !changes.isEmpty, roll(.crashBeforePersist, 0.005) { return crashCoordinator("before persist") }
    if !changes.isEmpty, time < max(storeSlowUntil, storeDownUntil) {
      storing = Storing(changes: changes, effects: effects)
      storingSince = time
      if time >= storeDownUntil { return schedule(20 + Instant(weather.next() % 1_500), .stored(epoch: epoch)) }
      let patience: Instant = 5_000
      let wait = storeDownUntil - time + 50
      return schedule(min(wait, patience), wait <= patience ? .stored(epoch: epoch) : .storeLost(epoch: epoch))
    }
    persist(changes, then: effects)
  }

  /// The transaction is through, and with it what came in the meantime can be handled.
  private mutating func stored() {
    guard let done = storing else { return }
    storing = nil
    persist(done.changes, then: done.effects)
    guard scheduler != nil, !mailbox.isEmpty || !unstored.isEmpty || vintage >= .pipeline && scheduler!.hasChanges else { return }
    let batch = mailbox
    mailbox = []
    handle(batch)
  }

  /// Nobody knows whether the last transaction was committed.
  private mutating func storeLost() { crashCoordinator("without its store") }

  private mutating func persist(_ changes: [Record], then effects: [Effect]) {
    for record in changes { persist(record) }
    if events % 32 == 0, let live = scheduler, !live.hasChanges { compareStore(live) }
    if !effects.isEmpty, roll(.crashAfterPersist, 0.004) { return crashCoordinator("after persist") }
    if !effects.isEmpty, gust(.leaderPaused, 0.003) {
      schedule(3_000 + Instant(weather.next() % 12_000), .lateEffects(effects, epoch: epoch))
      return crashCoordinator("pauses, and another one takes over")
    }
    for effect in effects { act(effect, epoch: epoch) }
    scheduleTick()
  }

  private mutating func scheduleTick() {
    if let deadline = scheduler!.nextDeadline {
      let at = max(time + 1, deadline - clockOffset)
      if tickAt.map({ at < $0 || $0 < time }) ?? true {
        tickAt = at
        schedule(at - time, .tick(epoch: epoch, at: at))
      }
    }
  }

  private mutating func persist(_ record: Record) {
    if let old = store[record.key], old.isTerminal, old != record, !mayReturn(old), !isRepair(old, record) {
      problems.append("\(record.key) changed after its end")
    }
    if case .run(let run) = record, run.state.isTerminal, run.state != .succeeded, repairs, (run.repairs ?? 0) < 2 {
      schedule(200 + Instant(random.next() % 5_000), .repair(run.spec.id))
    }
    if case .task(let new) = record, case .task(let old)? = store[record.key], (new.repairs ?? 0) == (old.repairs ?? 0) {
      if (new.attempt, new.stage) < (old.attempt, old.stage), new.attempt < old.attempt || new.stage < old.stage {
        problems.append("\(record.key) went back")
      }
    }
    if case .task(let new) = record, case .task(let old)? = store[record.key] { noteGang(old, new) }
    if case .unit(let new) = record, case .unit(let old)? = store[record.key], new.attempt < old.attempt {
      problems.append("\(record.key) went back")
    }
    if case .unit(let unit) = record {
      checkPreemption(unit)
      noteRival(unit)
    }
    if case .unit(let unit) = record, unit.state == .succeeded, unit.result["lease"]?.intValue != unit.attempt {
      problems.append("\(record.key) attempt \(unit.attempt) has the result \(unit.result.sortedText)")
    }
    store[record.key] = record
  }

  /// A finished rank runs again with its gang, and a removed service can be set again.
  private func mayReturn(_ old: Record) -> Bool {
    switch old {
    case .unit(let unit): unit.service == nil && unit.generation > 0 && unit.state == .succeeded
    case .service, .worker: true
    case .run, .task: false
    }
  }

  /// A run that was repaired goes on, and so do the tasks that it runs again.
  private func isRepair(_ old: Record, _ new: Record) -> Bool {
    switch (old, new) {
    case (.run(let old), .run(let new)): (new.repairs ?? 0) == (old.repairs ?? 0) + 1
    case (.task(let old), .task(let new)): (new.repairs ?? 0) > (old.repairs ?? 0) && new.base ?? 0 >= max(old.attempt, old.base ?? 0)
    default: false
    }
  }

  /// As a client's request that is noted first, and told to the scheduler until it has taken it up.
  private mutating func repair(_ id: String) {
    if isBusy { return schedule(700, .repair(id)) }
    guard case .run(let run)? = store["run:\(id)"], run.state.isTerminal else { return }
    let tasks = store.values.compactMap { if case .task(let task) = $0, task.run == id { task } else { nil } }.sorted { $0.key < $1.key }
    let rerun = Repair.failed(run.spec, tasks)
    guard !rerun.isEmpty else { return }
    deliver(.runRepaired(run, tasks: tasks, rerun: rerun.sorted(), number: (run.repairs ?? 0) + 1))
    // The coordinator died before it could store the repair.
    if case .run(let after)? = store["run:\(id)"], after.repairs == run.repairs { schedule(700, .repair(id)) }
  }

  mutating func crashCoordinator(_ when: String) {
    note("coordinator crashes \(when)")
    if let open = storing {
      // Its transaction may have been committed all the same.
      if weather.nextUnit() < 0.5 { for record in open.changes { persist(record) } }
      storing = nil
    }
    unstored = []
    mailbox = []
    scheduler = nil
    tickAt = nil
    epoch += 1
    schedule(300 + Instant(random.next() % 4_000), .startCoordinator)
  }

  private mutating func act(_ effect: Effect, epoch: Int) {
    switch effect {
    case .planStage(let call): schedule(5 + Instant(random.next() % 200), .planned(call, epoch: epoch))
    case .commitStage(let call, let results):
      schedule(5 + Instant(random.next() % 300), .committed(call, results, epoch: epoch))
    case .assign(let assignment): send(assignment.worker, effect, epoch)
    case .cancelUnit(let worker, _, _), .drainReplica(let worker, _, _), .acknowledge(let worker, _, _),
      .heartbeatAccepted(let worker, _, _), .requestJoin(let worker):
      send(worker, effect, epoch)
    case .peerTable(let table):
      if table.gang.hasPrefix("service/") { done["replicas of ranks met", default: 0] += 1 }
      for name in Set(table.members.map(\.worker)).sorted() { send(name, effect, epoch) }
    case .replicaReady, .replicaGone, .runStateChanged, .taskStateChanged, .refused: break
    }
  }

  private mutating func plan(_ call: StageCall) -> Event {
    if roll(.planFailure, 0.1) {
      return .stagePlanFailed(call.id, PlatformError(random.nextUnit() < 0.7 ? .unavailable : .notFound, "planning failed"))
    }
    let width = call.body["width"]?.intValue ?? 1
    let repeatable = call.body["repeatable"]?.boolValue == true || repeatable && call.kind == "shards"
    let affinities = vintage >= .affinity && seed % 3 > 0 ? 1 + Int(seed % 7) : 0
    let units = (0..<width).map {
      UnitSpec(
        index: $0, kind: call.kind, payload: call.body, repeatable: repeatable, affinity: affinities > 0 && $0 % 5 < 4 ? Int64(Int($0) % affinities) : nil)
    }
    switch call.kind {
    case "shards": return .stagePlanned(call.id, .shards(units))
    case "gang": return .stagePlanned(call.id, .gang(units, terms(of: call.body)))
    case "service":
      let payload = JSONValue.string("\(call.id.run)/\(call.id.task)")
      return .stagePlanned(
        call.id,
        .service(
          pressed(
            ServiceSpec(
              name: "s\(width % 2)", kind: "serve", payload: payload, replicas: min(width, 3), readyTimeoutMs: 40_000))))
    default: return .stagePlanned(call.id, .none)
    }
  }

  private mutating func commit(_ call: StageCall, _ results: [JSONValue]) -> Event {
    if let known = lake[call.commitKey] { return .stageCommitted(call.id, known) }
    if roll(.commitFailure, 0.1) {
      return .stageCommitFailed(call.id, PlatformError(.unavailable, "commit failed"), retryable: random.nextUnit() < 0.7)
    }
    for (index, result) in results.enumerated()
    where result["index"]?.intValue != index || result["task"]?.intValue != call.id.attempt {
      problems.append("\(call.commitKey) commits a result of something else: \(result.sortedText)")
    }
    if call.kind == "gang" { checkGangResults(call, results) }
    if call.kind == "shards", results.count != call.body["width"]?.intValue {
      problems.append("\(call.commitKey) commits \(results.count) results")
    }
    let isLast = call.id.stage + 1 >= call.body["stages"]?.intValue ?? 1
    let outcome: StageOutcome = isLast ? .taskDone(values: ["ok": true]) : .nextStage(carry: .integer(Int64(call.id.stage)))
    lake[call.commitKey] = outcome
    if roll(.commitUnclear, 0.2) {
      return .stageCommitFailed(call.id, PlatformError(.timeout, "no answer"), retryable: random.nextUnit() < 0.7)
    }
    return .stageCommitted(call.id, outcome)
  }
}
