// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct EndpointsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "endpoints", abstract: "Serve models, and see what is served.",
    discussion: """
      EXAMPLES
        platform endpoints create assistant hf:HuggingFaceTB/SmolLM2-135M-Instruct
        platform chat assistant
        platform endpoints plan main.default.assistant --dtype int8
        platform endpoints delete assistant --yes
      """, subcommands: [List.self, Get.self, Create.self, Delete.self, Plan.self], aliases: ["serving-endpoints"])

  static func print(_ endpoints: [EndpointInfo]) {
    Report.table(
      ["ENDPOINT", "KIND", "MODEL", "REPLICAS", "ON", "REQUESTS", "ERRORS"],
      endpoints.map {
        [
          $0.name, $0.kind, $0.model, "\($0.ready)/\($0.desiredReplicas)",
          $0.replicas.map { $0.ranks.map { "(\($0.joined(separator: ",")))" } ?? $0.node }.joined(separator: "+"),
          "\($0.requests)", "\($0.errors)",
        ]
      })
    let adapters = endpoints.flatMap { endpoint in (endpoint.adapters ?? []).map { [$0.name, endpoint.name, $0.model] } }
    if !adapters.isEmpty { Report.table(["ADAPTER", "ENDPOINT", "MODEL"], adapters) }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All endpoints with their replicas.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list: EndpointList = try await options.client().get("/api/2.0/serving-endpoints")
      if options.output.isStructured { return try Report.structured(list, options.output) }
      guard !list.endpoints.isEmpty else { return Report.note("No endpoints yet. Serve a model: platform endpoints create NAME hf:ORG/MODEL") }
      EndpointsCommand.print(list.endpoints)
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One endpoint.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let endpoint: EndpointInfo = try await options.client().get("/api/2.0/serving-endpoints/\(segment(name))")
      if options.output.isStructured { return try Report.structured(endpoint, options.output) }
      EndpointsCommand.print([endpoint])
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End an endpoint for good.",
      discussion: """
        Its replicas end as with 'platform stop': what is being written is written to its end, for half a minute at most; new requests find no such model.
        The registered model, its versions and the logged requests stay.

        EXAMPLES
          platform endpoints delete assistant --yes
        """)
    @Argument(help: "The endpoint.") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let list: EndpointList = try await client.get("/api/2.0/serving-endpoints")
      let one = try StopChoice.endpoints([name], among: list.endpoints)[0]
      let adapters = (one.adapters ?? []).map(\.name)
      try Confirmation.require(
        name, toDelete: "endpoint \(name)" + (adapters.isEmpty ? "" : " with its adapters \(adapters.joined(separator: ", "))"), yes: yes)
      _ = try await client.send("DELETE", "/api/2.0/serving-endpoints/\(segment(name))", body: nil)
      Report.note("\(Report.check) endpoint \(name) deleted; \(one.model.replacing("models:/", with: "")) stays")
    }
  }
}
