// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// Tasks through HTTP, the scheduler, Postgres, workers and their executor processes, against ray's, which keeps everything in memory.
///
/// A task of ours is a run, a part of a run, or an iteration, of `wait_task`; every result is in Postgres, and Postgres has waited for
/// the disk, before anyone hears of it. The reports that arrive while one transaction is stored share the next.
enum SchedulingGroup {
  static func number(_ variable: String, _ standard: Int) -> Int { Int(ProcessInfo.processInfo.environment[variable] ?? "") ?? standard }
  /// Parts that do nothing, in one run.
  static let parts = number("BENCH_PARTS", 3000)
  /// Of those that share a lease and a result.
  static let perBatch = 32
  /// Tasks one after the other.
  static let singles = number("BENCH_SINGLES", 100)
  /// Iterations of 100 ms each.
  static let iterations = number("BENCH_ITERATIONS", 1000)

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let ray = try await Ray(setup)
    for slots in [1, 4] { try await compare(setup, ray, workers: 2, slots: slots, report: report) }
  }

  /// One cluster and one ray of the same size, in turns.
  private static func compare(_ setup: Setup, _ ray: Ray, workers: Int, slots: Int, report: Group.Report) async throws {
    let all = workers * slots
    let cluster = try await BenchCluster(setup, name: "cluster\(all)", workers: workers, slots: slots)
    do {
      try ray.start(slots: all)
      try await compare(setup, cluster, ray, slots: all, report: report)
    } catch {
      try? await cluster.down()  // the first error counts
      throw error
    }
    try ray.stop()
    try await cluster.down()
  }

  private static func compare(_ setup: Setup, _ cluster: BenchCluster, _ ray: Ray, slots: Int, report: Group.Report) async throws {
    func show(_ comparison: Comparison) async throws {
      guard ray.isThere else { return try await alone(setup, comparison) }
      try await report(comparison)
    }
    let nothing: JSONValue = [["task_key": "t", "wait_task": ["parts": .integer(Int64(parts))]]]
    try await show(
      Comparison(
        what: "\(parts) tasks that do nothing, \(slots) slots", ours: "parts of a task, each result on disk", peer: "ray, results in memory",
        threads: slots, amount: Double(parts), unit: "tasks", runOurs: { _ in try await cluster.run(nothing) },
        runPeer: { _ in try ray.run(count: parts, milliseconds: 0) }))
    let batches: JSONValue = [["task_key": "t", "wait_task": ["parts": .integer(Int64(parts))], "parts_per_batch": .integer(Int64(perBatch))]]
    try await show(
      Comparison(
        what: "\(parts) tasks that do nothing, \(slots) slots, \(perBatch) to a batch", ours: "parts of a task, each batch on disk",
        peer: "ray, results in memory", threads: slots, amount: Double(parts), unit: "tasks", runOurs: { _ in try await cluster.run(batches) },
        runPeer: { _ in try ray.run(count: parts, milliseconds: 0) }))
    if slots == 2 {
      try await latencies(cluster, ray, show)
    } else {
      try await loop(setup, cluster, ray, slots: slots, show)
    }
  }

  /// Ours alone, where ray is not installed.
  private static func alone(_ setup: Setup, _ comparison: Comparison) async throws {
    _ = try await comparison.runOurs(0)
    var times: [Double] = []
    for round in 1...setup.options.rounds { times.append(try await comparison.runOurs(round)) }
    let time = Table.median(times)
    let value = comparison.isLatency ? Latencies.milliseconds(time) : "\(Table.short(comparison.amount / time)) \(comparison.unit)/s"
    note(setup, Figure(what: comparison.what, value: value, wanted: "against ray, which is not installed"))
  }

  static func note(_ setup: Setup, _ figure: Figure) {
    Terminal.note("\(figure.what): \(figure.value) (wanted: \(figure.wanted))")
    setup.figures.append(figure)
  }

  /// One task on an idle cluster: until it runs, by the clock of the machine, and until its end is stored.
  private static func latencies(_ cluster: BenchCluster, _ ray: Ray, _ show: (Comparison) async throws -> Void) async throws {
    final class Rounds { var ours: [Int: [String: Latencies]] = [:]; var peer: [Int: [String: Latencies]] = [:] }
    let rounds = Rounds()
    let one: JSONValue = [["task_key": "t", "wait_task": [:]]]
    func ours(_ round: Int) async throws {
      guard rounds.ours[round] == nil else { return }
      var starts: [Double] = []
      var ends: [Double] = []
      for _ in 0..<singles {
        try await Task.sleep(for: .milliseconds(20))
        let sent = Date().timeIntervalSince1970
        let run = try await cluster.submit(one)
        try await cluster.idle(every: .milliseconds(5))
        let (values, ended) = try await cluster.values(of: run)
        starts.append((values["began_microseconds"]?.doubleValue ?? .nan) / 1e6 - sent)
        ends.append(ended - sent)
      }
      rounds.ours[round] = ["start": Latencies(starts), "end": Latencies(ends)]
    }
    func peer(_ round: Int) throws {
      guard rounds.peer[round] == nil else { return }
      rounds.peer[round] = try ray.latencies(count: singles)
    }
    for (what, name) in [("to its start", "start"), ("to its end", "end")] {
      for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
        try await show(
          Comparison(
            what: "one task \(what), \(label)", ours: "a run, stored", peer: "ray, in memory", threads: 2, amount: 1, unit: "tasks", isLatency: true,
            runOurs: {
              try await ours($0)
              return rounds.ours[$0]?[name]?.quantile(share) ?? .nan
            },
            runPeer: {
              try peer($0)
              return rounds.peer[$0]?[name]?.quantile(share) ?? .nan
            }))
      }
    }
  }

  /// Many tasks of 100 ms.
  private static func loop(
    _ setup: Setup, _ cluster: BenchCluster, _ ray: Ray, slots: Int, _ show: (Comparison) async throws -> Void
  ) async throws {
    let ideal = Double(iterations) * 0.1 / Double(slots)
    for atOnce in [slots, 2 * slots] {
      let tasks: JSONValue = [
        [
          "task_key": "each",
          "for_each_task": [
            "inputs": .string(JSONValue.array((0..<iterations).map { .integer(Int64($0)) }).sortedText), "concurrency": .integer(Int64(atOnce)),
            "task": ["task_key": "one", "wait_task": ["milliseconds": 100]],
          ],
        ]
      ]
      var times: [Double] = []
      try await show(
        Comparison(
          what: "for_each of \(iterations) tasks of 100 ms, \(slots) slots, \(atOnce) at once", ours: "iterations, each result on disk",
          peer: "ray, results in memory", threads: slots, amount: Double(iterations), unit: "tasks",
          runOurs: { round in
            let time = try await cluster.run(tasks)
            if round > 0 { times.append(time) }
            return time
          }, runPeer: { _ in try ray.run(count: iterations, milliseconds: 100) }))
      note(
        setup,
        Figure(
          what: "for_each of \(iterations) tasks of 100 ms, \(slots) slots, \(atOnce) at once: share of ideal", value: Table.short(ideal / Table.median(times)),
          wanted: "0.9"))
    }
  }
}

/// Ray in a Python process of its own, of `make bench-peers`.
final class Ray {
  private let peer: Peer
  private let folder: String
  private(set) var isThere = true

  init(_ setup: Setup) async throws {
    folder = setup.file("ray")
    peer = try await Peer(
      scripts: setup.options.peers, folder: setup.folder.path, python: Peer.benchPython)
  }

  /// Starts it with so many processors, which is how it counts slots. Where it is not installed, that is said once and ours measured alone.
  func start(slots: Int) throws {
    guard isThere else { return }
    do {
      let version = try peer.call("ray.start", ["cpus": .integer(Int64(slots)), "folder": .string(folder)])["version"]?.stringValue ?? "?"
      Terminal.note("scheduling: against ray \(version) with \(slots) slots")
    } catch let error as PlatformError where error.message.contains("No module named 'ray'") {
      isThere = false
      Terminal.note("scheduling: ray is not installed, ours is measured alone. Run make bench-peers.")
    }
  }

  func stop() throws { if isThere { try peer.call("ray.stop") } }

  func run(count: Int, milliseconds: Int) throws -> Double {
    try peer.time("ray.run", ["count": .integer(Int64(count)), "milliseconds": .integer(Int64(milliseconds))])
  }

  func latencies(count: Int) throws -> [String: Latencies] {
    let answer = try peer.call("ray.latency", ["count": .integer(Int64(count)), "pause": .number(0.02)])
    func times(_ name: String) -> Latencies { Latencies((answer[name]?.arrayValue ?? []).compactMap(\.doubleValue)) }
    return ["start": times("starts"), "end": times("ends")]
  }
}
