// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "status", abstract: "What is running.")
  @Flag(help: "Show it again every two seconds.") var watch = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    repeat {
      let client = try options.client()
      let status: StatusInfo = try await client.get("/api/2.0/status")
      if options.output.isStructured {
        try Report.structured(status, options.output)
      } else {
        Report.data(
          "platform \(status.version) · up \(Report.duration(Date().timeIntervalSince(status.startedAt))) · epoch \(status.epoch)"
            + " · postgres \(status.postgres) · storage \(status.storage) \(Report.bytes(status.storageFreeBytes)) free")
        Report.data(
          "NODES \(status.nodesReady)/\(status.nodesTotal) ready   ENDPOINTS \(status.endpointsReady)/\(status.endpointsTotal) ready"
            + "   RUNS \(status.runsActive) running, \(status.runsQueued) queued")
        for alert in status.alerts { Report.data("! \(alert)") }
        if let problem = options.data.layout.loadState()?.problem { Report.data("! \(problem.message)") }
      }
      if watch { try await Task.sleep(for: .seconds(2)) }
    } while watch
  }
}

struct OpenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open", abstract: "Print a link that signs a browser in to the console: good once, for ten minutes.")
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let client = try options.client()
    let link: LoginLink = try await client.post("/api/2.0/login-links", [String: String]())
    if options.output.isStructured { return try Report.structured(link, options.output) }
    Report.data(client.host + link.path)
  }
}

struct EnvCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "env", abstract: "Shell variables that point existing clients at this cluster.",
    discussion: """
      EXAMPLES
        eval "$(platform env)"
      """)
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let client = try options.client()
    for (name, value) in [
      ("PLATFORM_HOST", client.host), ("PLATFORM_TOKEN", client.token ?? ""), ("OPENAI_BASE_URL", client.host + "/v1"),
      ("OPENAI_API_KEY", client.token ?? ""),
    ] {
      let quoted = value.replacingOccurrences(of: "'", with: "'\\''")
      Report.data("export \(name)='\(quoted)'")
    }
  }
}
