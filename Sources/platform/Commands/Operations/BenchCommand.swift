// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "bench", abstract: "Measure a running cluster.", subcommands: [Net.self])

  struct Net: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "net", abstract: "The network between the nodes, by an all-reduce as training does it.",
      discussion: """
        EXAMPLES
          platform bench net                one rank for each node
          platform bench net --ranks 2
        """)
    @Option(help: "How many ranks. Default: one for each ready node.") var ranks: Int?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let nodes: NodeList = try await client.get("/api/2.0/nodes")
      let ranks = ranks ?? nodes.nodes.count { $0.state == "READY" }
      guard (2...64).contains(ranks) else {
        throw PlatformError(.invalidArgument, "a network is measured between 2 to 64 ranks, not \(ranks)", hint: "Use --ranks, or bring up another worker.")
      }
      let task = try await MeasuringRun.run(
        ["network_task": ["ranks": .integer(Int64(ranks))]], name: "measure the network", client: client, timeout: options.timeout)
      if options.output.isStructured { return try Report.structured(task.values, options.output) }
      Report.data("\(Report.check) \(task.summary)")
    }
  }
}
