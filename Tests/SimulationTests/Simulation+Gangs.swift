// SPDX-License-Identifier: Apache-2.0

import Core

@testable import Scheduling

/// Gangs that work with fewer ranks when there is no room for all of them, grow again, and have spares.
extension Simulation {
  mutating func stretch(_ task: inout TaskSpec) {
    guard elasticity != nil, task.kind == "gang" else { return }
    let (width, least, length) = (elasticity!.next(), elasticity!.next(), elasticity!.next())
    let (patience, spares, shrinks) = (elasticity!.next(), elasticity!.nextUnit(), elasticity!.nextUnit())
    var body = task.body.objectValue ?? [:]
    let ranks = Int64(1 + width % 5)
    body["width"] = .integer(ranks)
    if shrinks < 0.8 { body["least"] = .integer(1 + Int64(least % UInt64(ranks))) }
    body["patience"] = .integer([0, 300, 2_000, 8_000][Int(patience % 4)])
    if spares < 0.5 { body["spares"] = .integer(1 + Int64(least % 2)) }
    body["ms"] = .integer(Int64(500 + length % 20_000))
    task.body = .object(body)
  }

  private func sizes(of body: JSONValue) -> [Int] {
    guard let width = body["width"]?.intValue else { return [] }
    // Not every number between the least and all.
    return (1...width).filter { $0 == width || $0 >= body["least"]?.intValue ?? width && ($0 + Int(seed)) % 3 > 0 }
  }

  func terms(of body: JSONValue) -> GangTerms {
    guard body["patience"] != nil else { return GangTerms() }
    return GangTerms(sizes: sizes(of: body), patienceMs: Int64(body["patience"]?.intValue ?? 0), spares: body["spares"]?.intValue ?? 0)
  }

  /// A generation has as many ranks as its task allows, and each rank is one of them.
  mutating func checkSize(_ assignment: Assignment) {
    guard let gang = assignment.gang, assignment.payload["width"] != nil else { return }
    if !sizes(of: assignment.payload).contains(gang.size) || gang.rank >= gang.size {
      problems.append("\(assignment.unit) is rank \(gang.rank) of \(gang.size), and \(sizes(of: assignment.payload)) are allowed")
    }
  }

  /// What is committed is of one generation, of all its ranks.
  mutating func checkGangResults(_ call: StageCall, _ results: [JSONValue]) {
    let generations = Set(results.map { $0["generation"]?.intValue ?? -1 })
    if generations.count != 1 { problems.append("\(call.commitKey) commits results of generations \(generations.sorted())") }
    if !sizes(of: call.body).contains(results.count) || results.contains(where: { $0["size"]?.intValue != results.count }) {
      problems.append("\(call.commitKey) commits \(results.count) results: \(results.map(\.sortedText))")
    }
  }

  mutating func noteGang(_ old: TaskRecord, _ new: TaskRecord) {
    guard new.generation > old.generation, new.attempt == old.attempt, new.stage == old.stage else { return }
    let (before, after) = (old.ranks ?? new.unitCount, new.ranks ?? new.unitCount)
    if after < before { done["gangs shrunk", default: 0] += 1 }
    if after > before { done["gangs grown", default: 0] += 1 }
  }
}
