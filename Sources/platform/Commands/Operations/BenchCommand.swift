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
      let job: JSONValue = [
        "name": "measure the network",
        "tasks": [["task_key": "net", "timeout_seconds": .integer(Int64(max(1, options.timeout) + 30)), "network_task": ["ranks": .integer(Int64(ranks))]]],
      ]
      // JSON is YAML.
      let file: JSONValue = ["resources": ["jobs": ["net": job]]]
      let submitted: SubmitFileResponse = try await client.post("/api/2.2/jobs/runs/submit-file", SubmitFileRequest(file: "net.yml", text: file.sortedText))
      let deadline = Date().addingTimeInterval(Double(options.timeout))
      var run: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(segment(submitted.runID))")
      while !run.isFinished {
        guard Date() < deadline else {
          let _: RunInfo = try await client.post("/api/2.0/runs/cancel", ["run_id": submitted.runID])
          if let started = run.tasks.first?.workers, !started.isEmpty {
            throw PlatformError(
              .timeout, "the ranks on \(started.joined(separator: ", ")) did not reach each other within \(options.timeout) s",
              hint: "Let the nodes reach each other on the ports that the system chooses.", number: "PLT-4442")
          }
          throw PlatformError(
            .timeout, "the network was not measured within \(options.timeout) s",
            hint: "The nodes may have no room: see 'platform top', or wait longer with --timeout.", number: "PLT-4443")
        }
        try await Task.sleep(for: .milliseconds(200))
        run = try await client.get("/api/2.0/runs/get?run_id=\(segment(submitted.runID))")
      }
      guard run.state == "SUCCEEDED", let task = run.tasks.first else {
        throw run.tasks.first?.error ?? PlatformError(.failed, "the measurement ended as \(run.state)", number: "PLT-4442")
      }
      if options.output.isStructured { return try Report.structured(task.values, options.output) }
      Report.data("\(Report.check) \(task.summary)")
    }
  }
}
