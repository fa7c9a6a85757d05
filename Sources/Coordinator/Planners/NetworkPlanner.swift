// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Scheduling

/// A task that measures the network between nodes: a gang, one rank a worker where that is possible, adds up buffers.
struct NetworkPlanner: TaskPlanner {
  static let kind = "network.rank"

  private struct Body: Decodable { var ranks: Int }

  private struct RankResult: Decodable {
    var smallMilliseconds: Double
    var largeMilliseconds: Double
    var smallBytes: Int
    var largeBytes: Int
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    return .gang((0..<body.ranks).map { UnitSpec(index: $0, kind: Self.kind, payload: [:]) })
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let ranks: [RankResult] = try results.map { try $0.decode() }
    // Over when the last rank has it.
    guard let small = ranks.map(\.smallMilliseconds).max(), let large = ranks.map(\.largeMilliseconds).max(), let first = ranks.first else {
      throw PlatformError(.internalError, "no rank has measured anything")
    }
    let rate = large > 0 ? Double(first.largeBytes) / large * 1000 : 0
    let time = String(format: "%.2f", small)
    return .taskDone(values: [
      "ranks": .integer(Int64(ranks.count)), "milliseconds": .number(small), "bytes_per_second": .number(rate.rounded()),
      "summary": .string(
        "all-reduce over \(ranks.count) ranks: \(time) ms @ \(first.smallBytes >> 10) KiB, \(Int((rate / 1e6).rounded())) MB/s @ \(first.largeBytes >> 20) MiB"),
    ])
  }
}
