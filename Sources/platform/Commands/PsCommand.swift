// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// `platform ps`: what is being served.
struct PsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ps", abstract: "The models that are being served, where, and what they use.",
    discussion: """
      REQUESTS are those that replicas compute and, behind the plus, those that wait at them. MEMORY is that of the replicas' processes, weights included as
      far as they are in memory (of a split model that of rank 0). TOK/S is measured for a second where requests are running. Stopped endpoints
      are shown with --all. What is on this machine's disk is 'platform models list --pulled'.

      EXAMPLES
        platform ps
        platform ps --all -o json | jq '.models[] | select(.state == "STOPPED").endpoint'
      """)
  @Flag(name: [.short, .long], help: "Also endpoints that are stopped.") var all = false
  @OptionGroup var options: ClientOptions

  private struct Answer: Encodable {
    var models: [EndpointActivity]
  }

  func run() async throws {
    let client = try options.client()
    let served = try await Self.look(client)
    let shown = served.filter { all || $0.isShown }
    if options.output == .name { return shown.forEach { Report.data($0.endpoint) } }
    if options.output.isStructured { return try Report.structured(Answer(models: shown), options.output) }
    let stopped = served.filter { !$0.isShown }.map(\.endpoint)
    if shown.isEmpty {
      guard !stopped.isEmpty else {
        return Report.note("No model is being served. Serve one: platform endpoints create NAME hf:ORG/MODEL")
      }
      Report.note("No model is being served. Stopped: \(stopped.joined(separator: ", "))")
      return Report.note("Start one: platform scale endpoint \(stopped[0]) --replicas 1")
    }
    Report.table(Self.header, shown.map { Self.row($0, wide: options.output == .wide) })
    if !all, !stopped.isEmpty { Report.note("\(stopped.count) stopped: \(stopped.joined(separator: ", ")) (platform ps --all)") }
  }

  /// A second look only where there is something to measure.
  private static func look(_ client: PlatformClient) async throws -> [EndpointActivity] {
    func list() async throws -> [EndpointInfo] {
      let answer: EndpointList = try await client.get("/api/2.0/serving-endpoints?load=true")
      return answer.endpoints
    }
    let first = try await list()
    guard first.contains(where: { $0.replicas.contains { ($0.load?.running ?? 0) > 0 } }) else { return first.map { EndpointActivity($0) } }
    let began = ContinuousClock.now
    try await Task.sleep(for: .seconds(1))
    let second = try await list()
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    return second.map { now in EndpointActivity(now, before: first.first { $0.name == now.name }, seconds: seconds) }
  }

  static let header = ["ENDPOINT", "KIND", "MODEL", "STATE", "REPLICAS", "NODES", "MEMORY", "REQUESTS", "TOK/S", "LAST USED"]

  private static func row(_ one: EndpointActivity, wide: Bool) -> [String] {
    let model = one.model.hasPrefix("models:/") ? String(one.model.dropFirst("models:/".count)) : one.model
    return [
      one.endpoint, one.kind, model.count > 40 && !wide ? String(model.prefix(39)) + (Report.unicode ? "…" : "~") : model, one.state.rawValue,
      "\(one.ready)/\(one.wanted)", one.nodes.isEmpty ? "-" : one.nodes.joined(separator: " "), one.memoryBytes.map { Report.bytes($0) } ?? "-",
      "\(one.running)" + (one.waiting > 0 ? "+\(one.waiting)" : ""), one.tokensPerSecond.map { String(format: $0 < 100 ? "%.1f" : "%.0f", $0) } ?? "-",
      one.running > 0 ? "now" : one.lastRequestAt.map { Report.ago($0) } ?? "-",
    ]
  }
}
