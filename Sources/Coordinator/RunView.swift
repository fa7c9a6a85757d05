// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Foundation
import Jobs
import Scheduling
import Serving
import Transport

/// Stored records as the API shows them.
enum RunView {
  private static func date(_ instant: Instant?) -> Date? { instant.map { Date(timeIntervalSince1970: Double($0) / 1000) } }

  static func summary(_ row: JobStore.RunRow) -> RunInfo {
    RunInfo(
      runID: row.runID, name: row.name, state: state(row.record), submittedAt: row.submittedAt,
      startedAt: date(row.record?.submittedAt), endedAt: date(row.record?.finishedAt), message: row.record?.error?.message ?? "")
  }

  private static func state(_ record: RunRecord?) -> String {
    switch record?.state {
    case nil, .pending: "PENDING"
    case .running, .cancelling: "RUNNING"
    case .succeeded: "SUCCEEDED"
    case .failed: "FAILED"
    case .cancelled: "CANCELLED"
    case .skipped: "SKIPPED"
    }
  }

  static func info(_ row: JobStore.RunRow, spec: RunSpec, tasks: [TaskRecord], units: [UnitRecord], reasons: [String: String] = [:]) -> RunInfo {
    var info = summary(row)
    info.tasks = spec.tasks.map { task in
      let record = tasks.first { $0.key == task.key }
      let own = units.filter { $0.task == task.key }
      let iterations = tasks.filter { $0.key.hasPrefix(task.key + "[") }
      let current = own.filter { $0.taskAttempt == record?.attempt && $0.stage == record?.stage }
      return TaskInfo(
        taskKey: task.key, kind: task.kind, dependsOn: task.dependsOn, state: (record?.state ?? .pending).rawValue.uppercased(),
        attempt: record?.attempt ?? 1, stage: record?.stage ?? 0, startedAt: date(record?.startedAt), endedAt: date(record?.finishedAt),
        workers: Set(own.compactMap(\.worker)).sorted(),
        unitsDone: task.forEach == nil ? current.filter { $0.state == .succeeded }.count : iterations.count { $0.state == .succeeded },
        unitsTotal: record?.items?.count ?? record?.unitCount ?? 0, values: record?.values ?? .null,
        summary: record?.values["summary"]?.stringValue ?? reasons[task.key] ?? "", error: record?.error)
    }
    return info
  }
}

extension ServedEndpoint {
  init(_ entry: EndpointEntry) {
    self.init(
      name: entry.name, kind: entry.kind, model: entry.model, createdAt: entry.createdAt,
      adapters: entry.adapters.map { ServedAdapter(name: $0.name, model: $0.model, location: $0.location) }, isStopped: entry.replicas == 0)
  }
}

extension EndpointList {
  /// Puts what replicas tell of themselves beside them.
  mutating func addLoad(_ told: [ReplicaMetrics]) {
    let frames = Dictionary(told.map { ($0.unit, $0.frame) }, uniquingKeysWith: { first, _ in first })
    for endpoint in endpoints.indices {
      for replica in endpoints[endpoint].replicas.indices {
        endpoints[endpoint].replicas[replica].load = frames[endpoints[endpoint].replicas[replica].unit].flatMap { ReplicaLoad($0) }
      }
    }
  }
}

extension ReplicaLoad {
  /// Nil when the replica does not tell its memory, as those of earlier versions.
  init?(_ frame: MetricFrame) {
    func value(_ name: String) -> Double? { frame.families.first { $0.name == name }?.samples.first?.value }
    guard let resident = value(MetricFrame.residentBytes) else { return nil }
    self.init(
      residentBytes: Int64(resident), running: value("vllm:num_requests_running").map { Int($0) },
      waiting: value("vllm:num_requests_waiting").map { Int($0) }, generatedTokens: value("vllm:generation_tokens_total").map { Int64($0) },
      cacheUsage: value("vllm:kv_cache_usage_perc"))
  }
}

/// An endpoint's entry with the replicas that the scheduler and the router know.
enum EndpointView {
  static func info(_ entry: EndpointEntry, live: [Record], gateway: ServingGateway) -> EndpointInfo {
    let routed = gateway.replicas(of: entry.name)
    let counters = gateway.counters()[entry.name] ?? EndpointCounters()
    let replicas = live.compactMap { record -> EndpointInfo.Replica? in
      guard case .unit(let unit) = record, unit.service == entry.name, !unit.state.isTerminal, unit.rank ?? 0 == 0 else { return nil }
      // A replica in several ranks is one, on all their workers.
      let ranks = unit.ranks.map { _ in
        live.compactMap { if case .unit(let other) = $0, other.service == unit.service, other.index == unit.index { other.worker ?? "-" } else { nil } }
      }
      let state =
        switch unit.state {
        case .ready: "READY"
        case .draining: "DRAINING"
        default: "STARTING"
        }
      return EndpointInfo.Replica(
        unit: unit.name, node: unit.worker ?? "-", state: state,
        outstanding: routed.first { $0.unit == unit.name }?.outstanding ?? 0, ranks: ranks)
    }
    return EndpointInfo(
      name: entry.name, kind: entry.kind, model: entry.model, desiredReplicas: entry.replicas, replicas: replicas,
      requests: counters.requests, errors: counters.errors, lastRequestAt: counters.lastEnd,
      adapters: entry.adapters.map { EndpointInfo.Adapter(name: $0.name, model: $0.model) })
  }
}
