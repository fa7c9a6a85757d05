// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import Transport

/// Workers without executors: real sockets and keys, and whatever they are given is done at once.
final class SimulatedWorkers {
  private let links: [ControlClient]
  private let listeners: [Task<Void, Never>]

  /// Connects workers to a cluster that has none.
  init(_ cluster: BenchCluster, count: Int, slots: Int) async throws {
    var made: [(name: String, keys: CurveKeyPair)] = []
    for index in 0..<count {
      let keys = try CurveKeyPair.generate()
      let name = "sim\(index)"
      try Data((keys.publicKey.description + "\n").utf8).write(to: URL(fileURLWithPath: "\(cluster.home)/nodes.d/\(name).pub"))
      made.append((name, keys))
    }
    let file = try Data(contentsOf: URL(fileURLWithPath: cluster.home + "/keys/coordinator.pub"))
    let server = try CurvePublicKey(String(decoding: file, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    var links: [ControlClient] = []
    var listeners: [Task<Void, Never>] = []
    for one in made {
      let held = Held()
      let link = try ControlClient(
        .init(address: "tcp://\(cluster.nodes)", serverKey: server, keys: one.keys),
        hello: {
          WorkerHello(
            node: one.name, platformVersion: PlatformVersion.current, incarnation: 1, cpuSlots: slots, memoryBytes: 1 << 33, labels: [:],
            running: [], unacknowledged: held.list, cpus: Double(slots))
        }, heartbeat: { Heartbeat(load: 0, residentBytes: 1 << 26, running: held.list) })
      links.append(link)
      listeners.append(
        Task {
          for await event in link.events {
            guard case .message(let message) = event else { continue }
            switch message {
            case .assign(let key, _, _, _):
              held.add(key)
              // Lost with the session, and assigned again then.
              try? link.send(.unitFinished(key, outcome: .succeeded, result: Data("{}".utf8), error: Data()))
            case .acknowledge(let key): held.remove(key)
            default: break
            }
          }
        })
    }
    self.links = links
    self.listeners = listeners
  }

  func close() async {
    for listener in listeners { listener.cancel() }
    for link in links { link.close() }
    for link in links { await link.closed() }
  }

  /// What a worker has finished and was not told to forget.
  private final class Held: Sendable {
    private let keys = Mutex<Set<UnitAttempt>>([])
    var list: [UnitAttempt] { keys.withLock { Array($0) } }
    func add(_ key: UnitAttempt) { keys.withLock { _ = $0.insert(key) } }
    func remove(_ key: UnitAttempt) { keys.withLock { _ = $0.remove(key) } }
  }

  /// A cluster of such workers with many parts in its queue: its memory, and how long the scheduler thinks.
  static func run(_ setup: Setup, report: Group.Report) async throws {
    let workers = SchedulingGroup.number("BENCH_WORKERS", 200)
    let parts = SchedulingGroup.number("BENCH_QUEUED", 100_000)
    let cluster = try await BenchCluster(setup, name: "many", workers: 0, slots: 1)
    do {
      let all = try await SimulatedWorkers(cluster, count: workers, slots: 4)
      while try await cluster.metrics()["platform_nodes{state=\"ready\"}"] ?? 0 < Double(workers) { try await Task.sleep(for: .milliseconds(200)) }
      let time = try await cluster.run([["task_key": "t", "wait_task": ["parts": .integer(Int64(parts))]]])
      let metrics = try await cluster.metrics()
      let what = "\(workers) simulated workers, \(parts) parts queued"
      SchedulingGroup.note(setup, Figure(what: "\(what): parts a second", value: Table.short(Double(parts) / time), wanted: "-"))
      SchedulingGroup.note(
        setup, Figure(what: "\(what): most memory of the coordinator", value: "\(try cluster.coordinatorPeak() >> 20) MB", wanted: "400 MB"))
      SchedulingGroup.note(
        setup,
        Figure(what: "\(what): scheduling step, 99 of 100 within", value: quantile(0.99, metrics, "platform_scheduler_step_seconds"), wanted: "5 ms"))
      await all.close()
    } catch {
      try? await cluster.down()  // the first error counts
      throw error
    }
    try await cluster.down()
  }

  /// The upper end of the histogram's bucket in which the quantile lies.
  private static func quantile(_ share: Double, _ metrics: [String: Double], _ name: String) -> String {
    let buckets = metrics.compactMap { key, value -> (Double, Double)? in
      guard key.hasPrefix(name + "_bucket{le=\""), let end = key.lastIndex(of: "\"") else { return nil }
      let bound = key[key.index(key.startIndex, offsetBy: name.count + 12)..<end]
      return (bound == "+Inf" ? .infinity : Double(bound) ?? .infinity, value)
    }.sorted { $0.0 < $1.0 }
    guard let total = buckets.last?.1, total > 0, let found = buckets.first(where: { $0.1 >= share * total }) else { return "unknown" }
    return found.0.isFinite ? "\(Table.short(found.0 * 1000)) ms" : "more than \(Table.short((buckets.dropLast().last?.0 ?? 0) * 1000)) ms"
  }
}
