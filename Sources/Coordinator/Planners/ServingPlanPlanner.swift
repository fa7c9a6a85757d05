// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Models
import Scheduling
import Serving
import Transport

/// A task that says how a model is best served: a gang measures the nodes, one rank each where that is possible, and a plan is made of that.
struct ServingPlanPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    var model: String
    var ranks: Int
    var dtype: String?
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    _ = try await sizes(body)
    let payload = try JSONValue(encoding: ServingMeasureWork(dtype: body.dtype ?? WeightPrecision.f32.rawValue))
    return .gang((0..<body.ranks).map { UnitSpec(index: $0, kind: ServingMeasureWork.kind, payload: payload) })
  }

  private func sizes(_ body: Body) async throws -> DecoderSizes {
    let model = try await services.catalog.resolveModel(body.model)
    guard model.kind == "generate" else {
      throw PlatformError(
        .invalidArgument, "'\(model.uri)' is no language model, and only those are planned",
        hint: "Encoders are not split: deploy it with as many replicas as there are nodes.", number: "PLT-5293")
    }
    let precision = WeightPrecision(rawValue: body.dtype ?? "f32") ?? .f32
    return try await BlockingPool.shared.run { try DecoderSizes(directory: model.location, precision: precision) }
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    let measured: [ServingMeasure] = try results.map { try $0.decode() }
    let sizes = try await sizes(body)
    let model = ServingPlan.Model(
      layers: sizes.layers, weightBytes: Double(sizes.weightBytes), weightBytesPerToken: Double(sizes.weightBytesPerToken),
      multiplicationsPerToken: Double(sizes.multiplicationsPerToken), cacheBytesPerToken: Double(sizes.cacheBytesPerToken),
      gatheredBytesPerToken: Double(sizes.gatheredBytesPerToken))
    let nodes = measured.map { one in
      // Nodes of one machine share its memory; how fast it is they have found out together.
      let sharers = measured.count { $0.hostID == one.hostID }
      return ServingPlan.Node(
        memoryBytes: Double(one.memoryBytes) / Double(sharers), bytesPerSecond: one.bytesPerSecond, multiplicationsPerSecond: one.multiplicationsPerSecond)
    }
    var link: ServingPlan.Link?
    if let small = measured.compactMap(\.smallSeconds).max(), let large = measured.compactMap(\.largeSeconds).max() {
      link = ServingPlan.Link(smallSeconds: small, largeSeconds: large, largeBytes: Double(measured.first?.largeBytes ?? 0))
    }
    let plan = ServingPlan(model: model, nodes: nodes, link: link)
    let layouts = plan.layouts.map { layout -> JSONValue in
      [
        "replicas": .integer(Int64(layout.replicas)), "tensor_parallel": .integer(Int64(layout.tensorParallel)),
        "memory_bytes_per_node": .integer(Int64(layout.memoryBytesPerNode)), "fits": .bool(layout.fits),
        "first_token_seconds": .number(layout.firstTokenSeconds), "tokens_per_second_1": .number(layout.tokensPerSecondOfOne),
        "tokens_per_second_8": .number(layout.tokensPerSecondOfAll),
      ]
    }
    return .taskDone(values: [
      "model": .string(body.model), "dtype": .string(body.dtype ?? "f32"), "layouts": .array(layouts),
      "fastest_answer": plan.quickest.map { .integer(Int64($0)) } ?? .null, "most_throughput": plan.most.map { .integer(Int64($0)) } ?? .null,
      "prompt_tokens": .integer(Int64(ServingPlan.promptTokens)), "advice": .string(plan.advice), "summary": .string(plan.advice),
      "nodes": .array(
        nodes.map {
          [
            "memory_bytes": .integer(Int64($0.memoryBytes)), "bytes_per_second": .number($0.bytesPerSecond.rounded()),
            "multiplications_per_second": .number($0.multiplicationsPerSecond.rounded()),
          ]
        }),
      "link": link.map { ["meeting_seconds": .number($0.meetingSeconds), "bytes_per_second": .number($0.bytesPerSecond.rounded())] } ?? .null,
    ])
  }
}
