// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling
import Testing

/// A scheduler with its workers and a clock that the test turns.
struct Bench {
  var scheduler = Scheduler(now: 0)
  var now: Instant = 0
  /// What a store would hold.
  var stored: [String: Record] = [:]
  var effects: [Effect] = []
  var beats: [String: Int64] = [:]

  mutating func send(_ event: Event) {
    now += 1
    effects = scheduler.handle(event, now: now)
    #expect(scheduler.violations().isEmpty, "\(scheduler.violations())")
    for record in scheduler.takeChanges() { stored[record.key] = record }
  }

  mutating func join(_ name: String, incarnation: Int64 = 1, slots: Int = 2, held: [UnitAttempt] = []) {
    send(.workerJoined(WorkerHello(worker: name, incarnation: incarnation, slots: slots, hostID: "h", held: held)))
  }

  /// Time passes while these workers go on beating.
  mutating func pass(_ milliseconds: Int64, alive: [String: [UnitAttempt]] = [:]) -> [Effect] {
    var all: [Effect] = []
    let end = now + milliseconds
    while now < end {
      now += 499
      for (worker, held) in alive.sorted(by: { $0.key < $1.key }) {
        beats[worker, default: 0] += 1
        send(.workerHeartbeat(worker: worker, incarnation: 1, sequence: beats[worker]!, held: held))
        all += effects
      }
      send(.tick)
      all += effects
    }
    return all
  }

  mutating func submit(_ tasks: [TaskSpec], id: String = "1") { send(.runSubmitted(RunSpec(id: id, name: "n", tasks: tasks))) }

  /// The scheduler's process dies and another one continues from the store.
  mutating func restart(configuration: Scheduler.Configuration = Scheduler.Configuration()) {
    now += 1
    (scheduler, effects) = Scheduler.restore(stored.keys.sorted().compactMap { stored[$0] }, configuration: configuration, now: now)
    for record in scheduler.takeChanges() { stored[record.key] = record }
    #expect(scheduler.violations().isEmpty, "\(scheduler.violations())")
  }

  /// Answers the plannings among the last effects.
  mutating func plan(_ plan: StagePlan) throws {
    let call = try #require(calls.first)
    send(.stagePlanned(call.id, plan))
  }

  mutating func finish(_ one: Assignment, _ outcome: UnitOutcome = .succeeded(1)) {
    send(.unitFinished(worker: one.worker, unit: one.unit, attempt: one.attempt, outcome: outcome))
  }

  mutating func checkpoint(_ one: Assignment) { send(.gangCheckpointed(worker: one.worker, unit: one.unit, attempt: one.attempt)) }

  mutating func ready(_ one: Assignment) {
    send(.unitReady(worker: one.worker, unit: one.unit, attempt: one.attempt, address: "x", publicKey: "k"))
  }

  /// Calls at exactly the time that the scheduler asks for, until an effect matches or `limit` has passed.
  mutating func wait(upTo limit: Int64, for matches: (Effect) -> Bool) -> Instant? {
    let end = now + limit
    while let next = scheduler.nextDeadline, next <= end {
      now = max(now, next)
      effects = scheduler.handle(.tick, now: now)
      #expect(scheduler.violations().isEmpty, "\(scheduler.violations())")
      for record in scheduler.takeChanges() { stored[record.key] = record }
      if effects.contains(where: matches) { return now }
    }
    return nil
  }

  func unit(_ name: String) -> UnitRecord? { if case .unit(let unit)? = stored["unit:\(name)"] { unit } else { nil } }
  func task(_ key: String, run: String = "1") -> TaskRecord? {
    if case .task(let task)? = stored["task:\(run)/\(key)"] { task } else { nil }
  }
  func run(_ id: String = "1") -> RunRecord? { if case .run(let run)? = stored["run:\(id)"] { run } else { nil } }
  /// Ready replicas by worker.
  func replicas(of service: String) -> [String: Int] {
    var found: [String: Int] = [:]
    for case .unit(let unit) in stored.values where unit.service == service && unit.state == .ready { found[unit.worker ?? "", default: 0] += 1 }
    return found
  }

  var calls: [StageCall] { effects.compactMap { if case .planStage(let call) = $0 { call } else { nil } } }
  var assignments: [Assignment] { effects.assignments }
  var cancelled: [String] { effects.compactMap { if case .cancelUnit(_, let unit, _) = $0 { unit } else { nil } } }
  var commits: [StageCall] { effects.compactMap { if case .commitStage(let call, _) = $0 { call } else { nil } } }
  func state(_ task: String) -> TaskState? {
    effects.compactMap { if case .taskStateChanged(_, let key, _, _, let state, _) = $0, key == task { state } else { nil } }.last
  }
}

extension [Effect] {
  var assignments: [Assignment] { compactMap { if case .assign(let one) = $0 { one } else { nil } } }
}

func units(_ count: Int) -> [UnitSpec] { (0..<count).map { UnitSpec(index: $0, kind: "k", payload: .null) } }
