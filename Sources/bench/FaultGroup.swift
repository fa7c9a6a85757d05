// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation

/// How long it takes until a worker is missed: from the signal that ends or freezes its process to the coordinator's event, as any client reads it,
/// and until the work that it had is with others.
enum FaultGroup {
  static let rounds = SchedulingGroup.number("BENCH_FAULTS", 5)
  private static let workers = 3

  private struct Fault {
    var what: String
    var signal: Int32
    /// Whether nobody starts the worker again, as on a machine that has gone.
    var isForGood = false
    var wanted: String
  }

  private static let faults = [
    Fault(what: "killed, its supervisor starts another", signal: SIGKILL, wanted: "3 s"),
    Fault(what: "killed, and nobody starts it", signal: SIGKILL, isForGood: true, wanted: "3 s"),
    Fault(what: "frozen", signal: SIGSTOP, wanted: "10 s"),
  ]

  static func run(_ setup: Setup, report: Group.Report) async throws {
    let cluster = try await BenchCluster(setup, name: "faults", workers: workers, slots: 2)
    do {
      for fault in faults {
        var said: [Double] = []
        var moved: [Double] = []
        for round in 0..<rounds {
          let times = try await measure(cluster, fault, round: round)
          said.append(times.said)
          moved.append(times.moved)
        }
        note(setup, "worker \(fault.what): until it is missed", said, fault.wanted)
        note(setup, "worker \(fault.what): until others have its work", moved, "-")
      }
    } catch {
      try? await cluster.down()  // the first error counts
      throw error
    }
    try await cluster.down()
  }

  private static func note(_ setup: Setup, _ what: String, _ times: [Double], _ wanted: String) {
    let value = "half within \(Table.short(Table.median(times))) s, all within \(Table.short(times.max() ?? .nan)) s"
    SchedulingGroup.note(setup, Figure(what: what, value: value, wanted: wanted))
  }

  private static func measure(_ cluster: BenchCluster, _ fault: Fault, round: Int) async throws -> (said: Double, moved: Double) {
    func nodes() async throws -> [NodeInfo] { (try await cluster.client.get("/api/2.0/nodes") as NodeList).nodes }
    func events(after: Int64) async throws -> EventList { try await cluster.client.get("/api/2.0/events?kind=node&limit=1000&after=\(after)") }
    try await until("all workers are ready") {
      let all = try await nodes()
      return all.count == workers && all.allSatisfy { $0.state == "READY" && $0.running.isEmpty }
    }
    // One part for each; others have room for those of one that is gone.
    let run = try await cluster.submit([["task_key": "t", "wait_task": ["milliseconds": 600_000, "parts": .integer(Int64(workers))]]])
    try await until("the work is with them") { try await nodes().reduce(0) { $0 + $1.running.count } == workers }
    let busy = try await nodes().filter { !$0.running.isEmpty }
    let victim = busy[round % busy.count].name
    let process = try cluster.worker(victim)
    let supervisor = try cluster.supervisor()
    let last = try await events(after: 0).last
    if fault.isForGood { kill(supervisor, SIGSTOP) }
    defer {
      kill(supervisor, SIGCONT)
      kill(process, SIGCONT)
    }
    let began = ContinuousClock.now
    guard kill(process, fault.signal) == 0 else { throw PlatformError.system("signal", "worker \(victim)") }
    var said: Double?
    var moved: Double?
    let end = began + .seconds(60)
    while said == nil || moved == nil {
      guard ContinuousClock.now < end else { throw PlatformError(.timeout, "worker \(victim), \(fault.what), was not missed within 60 s") }
      if said == nil, try await events(after: last).events.contains(where: { $0.node == victim && ["node.silent", "node.joined"].contains($0.kind) }) {
        said = (ContinuousClock.now - began).inSeconds
      }
      // What it starts again itself has begun anew too, and is no longer with the process that is gone.
      if moved == nil, try await nodes().reduce(0, { $0 + ($1.name == victim && said == nil ? 0 : $1.state == "LOST" ? 0 : $1.running.count) }) == workers {
        moved = (ContinuousClock.now - began).inSeconds
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    kill(supervisor, SIGCONT)
    kill(process, SIGCONT)
    let _: JSONValue = try await cluster.client.post("/api/2.2/jobs/runs/cancel", ["run_id": .integer(Int64(run) ?? 0)] as JSONValue)
    try await cluster.idle()
    return (said ?? .nan, moved ?? .nan)
  }

  private static func until(_ what: String, _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + .seconds(120)
    while !(try await condition()) {
      guard ContinuousClock.now < end else { throw PlatformError(.timeout, "it is not so that \(what) after 120 s") }
      try await Task.sleep(for: .milliseconds(100))
    }
  }
}
