// SPDX-License-Identifier: Apache-2.0

import Core
import Scheduling

/// The faults of `Fault.later`, all drawn from a stream of their own.
extension Simulation {
  /// As `roll`, but from the stream of the weather.
  mutating func gust(_ fault: Fault, _ probability: Double) -> Bool {
    guard happens(fault, probability), weather.nextUnit() < probability else { return false }
    injected[fault, default: 0] += 1
    return true
  }

  private mutating func span(_ least: Instant, _ most: Instant) -> Instant { least + Instant(weather.next() % UInt64(most - least)) }

  mutating func injectStorm() {
    guard !faultsOver else { return }
    schedule(span(100, 1_200), .storm)
    let fault = Fault.storms[Int(weather.next() % UInt64(Fault.storms.count))]
    guard enabled.contains(fault) else { return }
    let name = names[Int(weather.next() % 4)]
    note("storm \(fault) \(name)")
    var happened = true
    switch fault {
    case .oneWayOut: workers[name]!.link.outCutUntil = time + span(500, 15_000)
    case .oneWayIn: workers[name]!.link.inCutUntil = time + span(500, 15_000)
    case .reorder: workers[name]!.link.shuffledUntil = time + span(1_000, 10_000)
    case .clog: workers[name]!.link.cloggedUntil = time + span(200, 9_000)
    case .slowStore: storeSlowUntil = time + span(500, 8_000)
    case .storeRestart: storeDownUntil = time + span(200, 9_000)
    case .powerCut:
      // As rare as it is heavy.
      happened = weather.nextUnit() < 0.2
      if happened { cutPower() }
    case .staleReport: happened = reportAgain(name)
    case .lie: happened = tellOfOthers(name)
    default: happened = false
    }
    if happened { injected[fault, default: 0] += 1 }
  }

  private mutating func cutPower() {
    for name in names where workers[name]!.isUp {
      crashWorker(name)
      schedule(span(200, 8_000), .startWorker(name))
    }
    if scheduler != nil { crashCoordinator("with everything") }
  }

  /// What the worker has finished before, now and then as an earlier incarnation.
  private mutating func reportAgain(_ name: String) -> Bool {
    let worker = workers[name]!
    guard worker.isUp, !worker.history.isEmpty else { return false }
    let old = worker.history[Int(weather.next() % UInt64(worker.history.count))]
    switch weather.next() % 3 {
    case 0: report(name, .unitStarted(worker: name, unit: old.key.unit, attempt: old.key.attempt))
    case 1: report(name, .unitReady(worker: name, unit: old.key.unit, attempt: old.key.attempt, address: "old", publicKey: "k"))
    default: report(name, .unitFinished(worker: name, unit: old.key.unit, attempt: old.key.attempt, outcome: old.outcome))
    }
    return true
  }

  /// A worker tells of what another one runs, or of an attempt that there never was.
  private mutating func tellOfOthers(_ name: String) -> Bool {
    let other = names[Int(weather.next() % 4)]
    let running = workers[other]!.work.filter { $0.value.outcome == nil }.keys.sorted()
    guard workers[name]!.isUp, !running.isEmpty else { return false }
    let key = running[Int(weather.next() % UInt64(running.count))]
    let attempt = other == name ? key.attempt + 100 : key.attempt
    let outcome: UnitOutcome =
      weather.nextUnit() < 0.5 ? .succeeded(["index": -1, "lease": -1]) : .failed(PlatformError(.internalError, "not true"))
    report(name, .unitFinished(worker: name, unit: key.unit, attempt: attempt, outcome: outcome))
    return true
  }

  // MARK: Network

  func isCut(_ name: String, _ action: Action) -> Bool {
    let link = workers[name]!.link
    if case .toWorker = action { return time < link.inCutUntil }
    return time < link.outCutUntil
  }

  mutating func inOrder(_ name: String, _ action: Action, _ delay: Instant) -> Instant {
    let way: WritableKeyPath<Link, Instant> = if case .toWorker = action { \.lastIn } else { \.lastOut }
    let arrival = max(time + delay, workers[name]!.link[keyPath: way])
    workers[name]!.link[keyPath: way] = arrival
    return arrival - time
  }

  /// How long a message travels, given how long it would on a quiet day. What a clog has held up comes in order and at once.
  mutating func weathered(_ name: String, _ delay: Instant) -> Instant {
    let link = workers[name]!.link
    var delay = delay
    if time < link.shuffledUntil { delay += span(0, 3_000) }
    return max(delay, link.cloggedUntil - time)
  }

  // MARK: Workers and plannings

  mutating func prepareStart(_ name: String) {
    // Within what the scheduler's margin covers.
    if gust(.workerDrift, 0.5) { workers[name]!.drift = 0.85 + 0.3 * weather.nextUnit() }
    if workers[name]!.incarnation > 1, gust(.workerResized, 0.3) { workers[name]!.slots = 1 + Int(weather.next() % 3) }
  }

  /// The planner's answer once more, and not the same.
  mutating func repeatPlanning(_ answer: Event) {
    guard case .stagePlanned(let id, let plan) = answer, gust(.planTwice, 0.2) else { return }
    var other = plan
    switch plan {
    case .shards(let units): other = .shards(units + [UnitSpec(index: units.count, kind: "shards", payload: .null)])
    case .gang(let units, let terms): other = .gang(units + [UnitSpec(index: units.count, kind: "gang", payload: .null)], terms)
    case .service, .none: other = .shards([UnitSpec(index: 0, kind: "shards", payload: .null)])
    }
    schedule(span(1, 3_000), .repeated(.stagePlanned(id, other), epoch: epoch))
  }
}
