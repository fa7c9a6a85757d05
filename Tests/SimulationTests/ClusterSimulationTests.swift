// SPDX-License-Identifier: Apache-2.0

import Core
import Dispatch
import Foundation
import Synchronization
import Testing

/// Seeds that once failed, each with what it found, and what a seed meant then.
let regressionSeeds: [(seed: UInt64, vintage: Simulation.Vintage)] = [
  (6, .first),  // a rejoined, fenced worker was taken for a running older generation
  (18, .first),  // a removed service that was set again reused the names of its replicas
  (315, .repairs),  // a task that was repaired, cancelled before it started, and repaired again used the names of its first attempt
  (1530, .repairs),  // after a crash between storing a gang's restart and stopping its ranks, the next generation started beside them
]

/// `SIMULATION_SEED=n SIMULATION_COUNT=m` runs the seeds n ..< n + m, one thread a core.
@Suite struct ClusterSimulationTests {
  /// What many seeds add up to.
  private struct Totals {
    var events = 0
    var injected: [Simulation.Fault: Int] = [:]
    var done: [String: Int] = [:]
    var failed: [(seed: UInt64, problems: [String], trace: [String])] = []
  }

  @Test func everySeedKeepsTheInvariantsAndEnds() {
    let environment = ProcessInfo.processInfo.environment
    func number(_ name: String) -> UInt64? { environment[name].flatMap { UInt64($0) } }
    let first = number("SIMULATION_SEED") ?? 1
    let count = number("SIMULATION_COUNT") ?? 200
    let traced = Int(number("SIMULATION_TRACE") ?? 25)
    let seeds = (number("SIMULATION_SEED") == nil ? regressionSeeds : []) + (first..<(first + count)).map { ($0, .newest) }
    let totals = Mutex(Totals())
    let next = Atomic(0)
    let start = ContinuousClock.now
    DispatchQueue.concurrentPerform(iterations: max(1, min(ProcessInfo.processInfo.activeProcessorCount, seeds.count))) { _ in
      while true {
        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard index < seeds.count else { return }
        var simulation = Simulation(seed: seeds[index].seed, vintage: seeds[index].vintage)
        simulation.run()
        totals.withLock { totals in
          totals.events += simulation.events
          totals.injected.merge(simulation.injected, uniquingKeysWith: +)
          totals.done.merge(simulation.done, uniquingKeysWith: +)
          if !simulation.problems.isEmpty {
            totals.failed.append((seeds[index].seed, simulation.problems, simulation.trace.suffix(traced)))
          }
        }
      }
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let sum = totals.withLock { $0 }
    print("simulation: \(seeds.count) seeds, \(sum.events) events, \(Int(Double(seeds.count) * 60 / max(seconds, 0.001))) seeds a minute")
    let faults = Simulation.Fault.allCases.map { "\($0) \(sum.injected[$0] ?? 0)" }
    print("faults injected: \(sum.injected.values.reduce(0, +)): " + faults.joined(separator: ", "))
    print("done: " + sum.done.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
    let failed = sum.failed.sorted { $0.seed < $1.seed }
    for (seed, problems, _) in failed.prefix(20) {
      print("seed \(seed): \(problems[0])\n  replay: make simulate SEED=\(seed) COUNT=1")
    }
    for (seed, problems, trace) in failed.prefix(3) {
      Issue.record("seed \(seed): \(problems.prefix(3).joined(separator: " | "))\n\(trace.joined(separator: "\n"))")
    }
    #expect(failed.isEmpty, "failing seeds: \(failed.map(\.seed))")
  }

  @Test func aSeedReplaysExactly() {
    var first = Simulation(seed: 42)
    first.run()
    var second = Simulation(seed: 42)
    second.run()
    #expect(first.events == second.events)
    #expect(first.time == second.time)
    #expect(first.random == second.random)
    #expect(first.store == second.store)
  }
}
