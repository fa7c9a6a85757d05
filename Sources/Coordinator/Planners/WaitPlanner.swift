// SPDX-License-Identifier: Apache-2.0

import Core
import Pipelines
import Scheduling

/// A task whose parts do nothing for so long.
struct WaitPlanner: TaskPlanner {
  private struct Body: Decodable {
    var milliseconds: Int?
    var parts: Int?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let payload = try JSONValue(encoding: WaitWork(milliseconds: body.milliseconds ?? 0))
    return .shards((0..<(body.parts ?? 1)).map { UnitSpec(index: $0, kind: WaitWork.kind, payload: payload) })
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    // A repeated part has been somewhere else the second time: only the span is kept.
    let began = results.compactMap { $0["began"]?.intValue }.min() ?? 0
    let ended = results.compactMap { $0["ended"]?.intValue }.max() ?? 0
    let parts = results.count == 1 ? "" : " in \(results.count) parts"
    return .taskDone(values: [
      "parts": .integer(Int64(results.count)), "began_microseconds": .integer(Int64(began)), "ended_microseconds": .integer(Int64(ended)),
      "summary": .string("waited \(body.milliseconds ?? 0) ms\(parts)"),
    ])
  }
}
