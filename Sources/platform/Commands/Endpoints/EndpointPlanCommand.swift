// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension EndpointsCommand {
  struct Plan: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "How a language model is best laid out over the nodes.",
      discussion: """
        Measures all ready nodes at once (memory, multiplications, meetings over the network), and predicts from that and the model's sizes what
        replicas and splitting (tensor_parallel of a deploy_task) would bring. Nothing is deployed. On nodes that are busy the figures are those of busy nodes.

        EXAMPLES
          platform endpoints plan main.demo.chat --dtype int8
          platform endpoints plan main.demo.chat --nodes 2 -o json
        """)
    @Argument(help: "Registered model, with @alias or /version.") var model: String
    @Option(help: "How many nodes to plan for. Default: all that are ready.") var nodes: Int?
    @Option(help: "What its matrices would be multiplied as: f32 (as stored), bf16, int8 or int4.") var dtype = "f32"
    @OptionGroup var options: ClientOptions

    private struct Layout: Decodable {
      var replicas: Int
      var tensor_parallel: Int
      var memory_bytes_per_node: Double
      var fits: Bool
      var first_token_seconds: Double
      var tokens_per_second_1: Double
      var tokens_per_second_8: Double
    }

    func run() async throws {
      let client = try options.client()
      let list: NodeList = try await client.get("/api/2.0/nodes")
      let ready = list.nodes.count { $0.state == "READY" }
      let count = nodes ?? ready
      guard (1...64).contains(count), count <= ready else {
        throw PlatformError(
          .invalidArgument, "a plan needs 1 to 64 ready nodes: \(count) are asked for, \(ready) are ready",
          hint: "See 'platform nodes list'; 'platform join' brings another one.", number: "PLT-5294")
      }
      var body: [String: JSONValue] = ["model": .string(model), "ranks": .integer(Int64(count))]
      if dtype != "f32" { body["dtype"] = .string(dtype) }
      let task = try await MeasuringRun.run(
        ["serving_plan_task": .object(body)], name: "plan an endpoint", client: client, timeout: options.timeout)
      if options.output.isStructured { return try Report.structured(task.values, options.output) }
      let layouts: [Layout] = try (task.values["layouts"] ?? []).decode()
      let (fastest, most) = (task.values["fastest_answer"]?.intValue, task.values["most_throughput"]?.intValue)
      Report.table(
        ["LAYOUT", "MEM/NODE", "TTFT", "TOK/S (1 user)", "TOK/S (8 users)", ""],
        layouts.enumerated().map { index, layout in
          let marks = [index == most ? "most throughput" : nil, index == fastest ? "fastest answer" : nil, layout.fits ? nil : "does not fit"]
          return [
            layout.tensor_parallel == 1 ? "1 node x \(layout.replicas)" : "tensor-parallel \(layout.tensor_parallel) x \(layout.replicas)",
            "\(Self.short(layout.memory_bytes_per_node / 1e9)) GB", "\(Self.short(layout.first_token_seconds)) s", Self.short(layout.tokens_per_second_1),
            Self.short(layout.tokens_per_second_8), marks.compactMap { $0 }.joined(separator: ", "),
          ]
        })
      Report.note(task.values["advice"]?.stringValue ?? "")
    }

    /// Two digits that say something.
    private static func short(_ number: Double) -> String {
      number >= 10 ? "\(Int(number.rounded()))" : number >= 1 ? "\((number * 10).rounded() / 10)" : "\((number * 1000).rounded() / 1000)"
    }
  }
}
