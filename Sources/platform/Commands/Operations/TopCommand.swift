// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Glibc

struct TopCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "top", abstract: "Nodes, endpoints and runs with what they use, again and again on a terminal.",
    discussion: """
      EXAMPLES
        platform top                 until Ctrl-C; once when its output is no terminal
        platform top nodes           only this part: nodes, endpoints, runs
        platform top -o json | jq '.nodes[].slots'
      """)

  enum Part: String, ExpressibleByArgument, CaseIterable {
    case nodes, endpoints, runs
  }

  @Argument(help: "nodes, endpoints or runs; all of them by default.") var part: Part?
  @Option(help: "Seconds between two looks on a terminal.") var interval = 2.0
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard (0.2...3600).contains(interval) else { throw PlatformError(.invalidArgument, "--interval must be 0.2 to 3600") }
    let client = try options.client()
    if options.output.isStructured { return try Report.structured(try await ClusterLoad.look(client), options.output) }
    let isTerminal = isatty(STDOUT_FILENO) == 1 && ProcessInfo.processInfo.environment["CI"] == nil
    var before: ClusterLoad?
    repeat {
      let now = try await ClusterLoad.look(client)
      if isTerminal { StandardStreams.out("\u{1B}[H\u{1B}[J") }
      show(now, before)
      before = now
      if isTerminal { try await Task.sleep(for: .seconds(interval)) }
    } while isTerminal
  }

  private func show(_ load: ClusterLoad, _ before: ClusterLoad?) {
    if part == nil || part == .nodes { Report.table(ClusterLoad.nodeHeader, load.nodeRows) }
    if part == .endpoints || (part == nil && !load.endpoints.isEmpty) {
      if part == nil { Report.data("") }
      Report.table(ClusterLoad.endpointHeader, load.endpointRows(since: before))
    }
    if part == .runs || (part == nil && !load.runs.isEmpty) {
      if part == nil { Report.data("") }
      Report.table(ClusterLoad.runHeader, load.runRows)
    }
  }
}

/// What the cluster's parts use at a moment. Texts are made by values alone.
struct ClusterLoad: Codable {
  var at: Date
  var nodes: [NodeInfo]
  var endpoints: [EndpointInfo]
  /// Those that have not ended.
  var runs: [RunInfo]

  static func look(_ client: PlatformClient) async throws -> ClusterLoad {
    let nodes: NodeList = try await client.get("/api/2.0/nodes")
    let endpoints: EndpointList = try await client.get("/api/2.0/serving-endpoints")
    let runs: RunList = try await client.get("/api/2.0/runs/list?limit=200")
    return ClusterLoad(at: Date(), nodes: nodes.nodes, endpoints: endpoints.endpoints, runs: runs.runs.filter { !$0.isFinished })
  }

  static let nodeHeader = ["NODE", "STATE", "LOAD", "CPUS", "MEMORY", "SLOTS", "RUNNING"]
  var nodeRows: [[String]] {
    nodes.map { node in
      [
        node.name, node.state, node.load.map { String(format: "%.2f", $0) } ?? "-", node.cpus.map { String(format: "%g", $0) } ?? "-",
        Report.bytes(node.residentBytes) + (node.memoryBytes.map { "/" + Report.bytes($0) } ?? ""), "\(node.running.count)/\(node.slots)",
        node.running.prefix(4).joined(separator: " ") + (node.running.count > 4 ? " +\(node.running.count - 4)" : ""),
      ]
    }
  }

  static let endpointHeader = ["ENDPOINT", "KIND", "REPLICAS", "NODES", "UNDER WAY", "REQ/S", "REQUESTS", "ERRORS"]
  func endpointRows(since before: ClusterLoad?) -> [[String]] {
    endpoints.map { endpoint in
      var rate = "-"
      if let before, let then = before.endpoints.first(where: { $0.name == endpoint.name }), at > before.at, endpoint.requests >= then.requests {
        rate = String(format: "%.1f", Double(endpoint.requests - then.requests) / at.timeIntervalSince(before.at))
      }
      return [
        endpoint.name, endpoint.kind, "\(endpoint.ready)/\(endpoint.desiredReplicas)",
        Set(endpoint.replicas.map(\.node)).filter { !$0.isEmpty }.sorted().joined(separator: " "),
        "\(endpoint.replicas.reduce(0) { $0 + $1.outstanding })", rate, "\(endpoint.requests)", "\(endpoint.errors)",
      ]
    }
  }

  static let runHeader = ["RUN", "NAME", "STATE", "FOR"]
  var runRows: [[String]] {
    runs.map { run in [run.runID, run.name, run.state, Report.duration(max(0, at.timeIntervalSince(run.startedAt ?? run.submittedAt)))] }
  }
}
