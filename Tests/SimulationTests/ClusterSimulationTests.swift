// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

/// Seeds that once failed, each with what it found.
let regressionSeeds: [UInt64] = [
  6,  // a rejoined, fenced worker was taken for a running older generation
  18,  // a removed service that was set again reused the names of its replicas
]

/// `SIMULATION_SEED=n SIMULATION_COUNT=m` runs the seeds n ..< n + m.
@Suite struct ClusterSimulationTests {
  @Test func everySeedKeepsTheInvariantsAndEnds() {
    let environment = ProcessInfo.processInfo.environment
    let first = environment["SIMULATION_SEED"].flatMap { UInt64($0) } ?? 1
    let count = environment["SIMULATION_COUNT"].flatMap { UInt64($0) } ?? 200
    let start = ContinuousClock.now
    var events = 0
    var failed: [UInt64] = []
    for seed in regressionSeeds + Array(first..<(first + count)) {
      var simulation = Simulation(seed: seed)
      simulation.run()
      events += simulation.events
      guard !simulation.problems.isEmpty else { continue }
      failed.append(seed)
      print("seed \(seed): \(simulation.problems[0])")
      if failed.count <= 3 {
        let tail = simulation.trace.suffix(environment["SIMULATION_TRACE"].flatMap { Int($0) } ?? 25).joined(separator: "\n")
        Issue.record("seed \(seed): \(simulation.problems.prefix(3).joined(separator: " | "))\n\(tail)")
      }
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    print("simulation: \(count) seeds, \(events) events, \(Int(Double(count) * 60 / max(seconds, 0.001))) seeds a minute")
    #expect(failed.isEmpty, "failing seeds: \(failed)")
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
