// SPDX-License-Identifier: Apache-2.0

import Core

@testable import Scheduling

/// Services that take the room of other work. A worker has 12 of memory, a replica asks for 2, a shard for 6 at most, and there are six
/// replicas at most when nothing changes: so there is room for each shard on one of any two workers, and every run has to end.
extension Simulation {
  /// A service as it is where services take room. A service's priority never changes, so that it can be looked up afterwards.
  func pressed(_ spec: ServiceSpec) -> ServiceSpec {
    var spec = spec
    guard pressure != nil else {
      guard splitsReplicas else { return spec }
      // Four workers have a processor each at least, and there are twelve such replicas at most while services change: there is room for all.
      spec.ranks = 2
      spec.demand = Demand(cpus: 0.125)
      return spec
    }
    spec.demand = Demand(cpus: seed % 3 == 0 ? 0.5 : nil, memoryBytes: 2)
    spec.priority = Self.priority(of: spec.name)
    return spec
  }

  static func priority(of service: String) -> Int { service == "s0" ? 0 : 1 }

  mutating func press(_ task: inout TaskSpec) {
    guard pressure != nil else { return }
    let (memory, repeatable, told) = (pressure!.next(), pressure!.nextUnit(), pressure!.nextUnit())
    var body = task.body.objectValue ?? [:]
    body["repeatable"] = .bool(repeatable < 0.8)
    if task.kind == "shards" { body["ms"] = .integer(Int64(1_500 + pressure!.next() % 15_000)) }
    task.body = .object(body)
    if told < 0.2 { task.preemptible = told < 0.1 }
    switch task.kind {
    case "shards": task.demand = Demand(cpus: task.demand?.cpus, memoryBytes: [2, 4, 6, 6][Int(memory % 4)], labels: task.demand?.labels)
    // Each service is as all others are.
    case "service": task.demand = nil
    default: break
    }
  }

  /// Whatever was stopped for a service may be, and nothing counts against it.
  mutating func checkPreemption(_ new: UnitRecord) {
    guard case .unit(let old)? = store["unit:\(new.name)"] else { return }
    let (before, after) = (old.preemptions ?? 0, new.preemptions ?? 0)
    if after > before {
      done["preempted", default: 0] += after - before
      guard case .run(let run)? = store["run:\(new.run)"] else { return }
      let task = run.spec.tasks.first { $0.key == new.task || new.task.hasPrefix($0.key + "[") }
      // Also a rank that has never been placed, of a gang that works with fewer.
      let isGang = task?.kind == "gang"
      if after > configuration.preemptionLimit { problems.append("\(new.name) was stopped \(after) times") }
      if !(task?.preemptible ?? (isGang || new.repeatable == true)) { problems.append("\(new.name) may not be stopped and is") }
      if let service = new.preemptedBy, run.spec.priority ?? 0 > Self.priority(of: service) {
        problems.append("\(new.name) is stopped for \(service), which matters less")
      }
    }
    if old.preemptedBy != nil, old.state.isLeased, new.state == .waiting, new.attempt == old.attempt, new.preemptedBy != nil,
      new.losses != old.losses || new.failures != old.failures
    {
      problems.append("\(new.name) was stopped for a service, and that counts as a failure")
    }
  }
}
