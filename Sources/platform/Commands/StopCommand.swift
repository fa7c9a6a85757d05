// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// `platform stop`: endpoints without replicas.
struct StopCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stop", abstract: "Stop serving models: all replicas of the endpoints end.",
    discussion: """
      Answers that are being written are written to their end, for half a minute at most; new requests are refused at once (503, PLT-4540). The endpoint,
      its model and its settings stay, and it stays stopped, also when the cluster starts again, until it is scaled or deployed again. Nothing is
      deleted, so a name is not asked about; --all is.

      EXAMPLES
        platform stop assistant
        platform stop --all --yes
        platform scale endpoint assistant --replicas 1        start it again
      """)
  @Argument(help: "Names of endpoints; 'platform ps' lists them.") var names: [String] = []
  @Flag(help: "All that are being served.") var all = false
  @Flag(help: "Do not ask.") var yes = false
  @Option(help: "Wait this many seconds for the replicas to end; 0: do not wait.") var wait: Int = 60
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard all != !names.isEmpty else {
      throw PlatformError(
        .invalidArgument, all ? "give names or --all, not both" : "say what to stop", hint: "'platform ps' lists what is being served.",
        number: "PLT-4541")
    }
    guard (0...3600).contains(wait) else { throw PlatformError(.invalidArgument, "--wait must be 0 to 3600", number: "PLT-4541") }
    let client = try options.client()
    let list: EndpointList = try await client.get("/api/2.0/serving-endpoints")
    let chosen = all ? list.endpoints.filter { EndpointActivity($0).isShown } : try StopChoice.endpoints(names, among: list.endpoints)
    if all {
      guard !chosen.isEmpty else { return try end([], "Nothing is being served.") }
      try Self.confirm(chosen.map(\.name), yes: yes)
    }
    for one in chosen where one.desiredReplicas > 0 {
      let _: EndpointInfo = try await client.put("/api/2.0/serving-endpoints/\(segment(one.name))/scale", ScaleRequest(replicas: 0))
    }
    let deadline = ContinuousClock.now + .seconds(wait)
    var ended: [EndpointInfo] = []
    for one in chosen {
      var now: EndpointInfo = try await client.get("/api/2.0/serving-endpoints/\(segment(one.name))")
      while wait > 0, !now.replicas.isEmpty, now.desiredReplicas == 0 {
        guard ContinuousClock.now < deadline else {
          throw PlatformError(
            .timeout, "\(one.name) is stopping, and \(now.replicas.count) of its replicas have not ended after \(wait) s",
            hint: "See 'platform ps' and 'platform nodes list'.", number: "PLT-4541")
        }
        try await Task.sleep(for: .milliseconds(200))
        now = try await client.get("/api/2.0/serving-endpoints/\(segment(one.name))")
      }
      ended.append(now)
      guard !options.output.isStructured else { continue }
      let again = "platform scale endpoint \(one.name) --replicas \(max(1, one.desiredReplicas))"
      if one.desiredReplicas == 0 {
        Report.note("\(one.name) is already stopped. Start it: \(again)")
      } else {
        Report.note("\(Report.check) \(one.name) \(now.replicas.isEmpty ? "stopped" : "is stopping"). Start it again: \(again)")
      }
    }
    try end(ended, nil)
  }

  private func end(_ endpoints: [EndpointInfo], _ note: String?) throws {
    if options.output == .name { return endpoints.forEach { Report.data($0.name) } }
    if options.output.isStructured { return try Report.structured(EndpointList(endpoints: endpoints), options.output) }
    if let note { Report.note(note) }
  }

  private static func confirm(_ names: [String], yes: Bool) throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw PlatformError(.invalidArgument, "this stops \(names.joined(separator: ", "))", hint: "Add --yes to confirm.", number: "PLT-4541")
    }
    StandardStreams.error("This stops \(names.joined(separator: ", ")). Continue? [y/N] ")
    guard ["y", "yes"].contains((readLine() ?? "").lowercased()) else { throw PlatformError(.cancelled, "nothing was stopped") }
  }
}
