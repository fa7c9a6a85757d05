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

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine and the cluster; every problem comes with its fix.")
  @OptionGroup var options: ClientOptions

  func run() async throws {
    var failed = false
    func check(_ name: String, _ body: () async throws -> String) async {
      do {
        Report.data("\(Report.check) \(name)  \(try await body())")
      } catch {
        failed = true
        let failure = PlatformError.from(error)
        Report.data("\(Report.cross) \(name)  \(failure.message)")
        if !failure.hint.isEmpty { Report.data("  Fix: \(failure.hint)") }
      }
    }
    await check("duckdb") { try InstalledFiles.require("duckdb/libduckdb.so", what: "DuckDB's library") }
    await check("encoder") { try InstalledFiles.require("models/all-MiniLM-L6-v2", what: "the MiniLM encoder") }
    await check("postgres") {
      guard let path = CoordinatorProcess.postgresBinaries() else {
        throw PlatformError(.badConfiguration, "no PostgreSQL server found", hint: "sudo apt-get install postgresql")
      }
      return path
    }
    let layout = options.data.layout
    await check("disk") {
      var path = layout.root
      while !FileManager.default.fileExists(atPath: path), path != "/" { path = (path as NSString).deletingLastPathComponent }
      let free = ProcessSupport.freeBytes(at: path) ?? 0
      guard free > 2 << 30 else {
        throw PlatformError(.resourceExhausted, "\(Report.bytes(free)) free for \(layout.root)", hint: "Free some space or use --data-dir.")
      }
      return "\(Report.bytes(free)) free for \(layout.root)"
    }
    await check("cluster") {
      let status: StatusInfo = try await options.client().get("/api/2.0/status")
      return "\(status.nodesReady)/\(status.nodesTotal) nodes ready, postgres \(status.postgres)"
    }
    if failed { throw ExitCode(1) }
  }
}
