// SPDX-License-Identifier: Apache-2.0

import Core

@testable import Scheduling

/// Shards that take ten times as long on one of the workers, and what may run twice at once.
extension Simulation {
  mutating func slowDown(_ task: inout TaskSpec) {
    guard stragglers != nil, task.kind == "shards" else { return }
    let (width, worker) = (stragglers!.next(), stragglers!.next())
    var body = task.body.objectValue ?? [:]
    body["repeatable"] = .bool(seed % 5 != 0)
    if width % 3 > 0 { body["width"] = .integer(4 + Int64(width % 20)) }
    body["ms"] = .integer(min(1_500, Int64(body["ms"]?.intValue ?? 100)))
    body["slow"] = .string(names[Int(worker % 4)])
    task.body = .object(body)
  }

  func span(of assignment: Assignment, on worker: String) -> Instant {
    let span = Instant(assignment.payload["ms"]?.intValue ?? 100)
    return assignment.payload["slow"]?.stringValue == worker ? 10 * span : span
  }

  mutating func noteRival(_ new: UnitRecord) {
    guard let attempt = new.rivalAttempt else { return }
    let isNew = rivals.insert(UnitAttempt(unit: new.name, attempt: attempt)).inserted
    if isNew { done["second attempts", default: 0] += 1 }
    if new.state == .succeeded, new.attempt == attempt { done["won by the second", default: 0] += 1 }
  }

  /// Whether one of two attempts at a unit was started beside the other.
  func areRivals(_ a: UnitAttempt, _ b: UnitAttempt) -> Bool { a.attempt != b.attempt && rivals.contains(max(a, b)) }
}
