// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation
import Worker

struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check this machine and the cluster; every problem comes with its fix.",
    discussion: """
      --fix mends what can be mended without losing anything: leftovers of processes that were killed, folders that are missing or open to others,
      members of the cluster that were stopped.

      EXAMPLES
        platform doctor
        platform doctor --fix --plan      what would be done
        platform doctor --fix             shows it, asks, does it
      """)
  @Flag(help: "Mend what can be mended safely.") var fix = false
  @Flag(help: "With --fix: only show what would be done.") var plan = false
  @Flag(help: "With --fix: do not ask.") var yes = false
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard fix || !plan && !yes else { throw PlatformError(.invalidArgument, "--plan and --yes are for --fix", hint: "Add --fix.") }
    // Before the questions to the cluster: it may answer again afterwards.
    let isHealthy = try await mend()
    let isWell = await check()
    if !isHealthy || !isWell { throw ExitCode(1) }
  }

  // MARK: what can be mended

  /// - Returns: whether nothing is left to mend.
  private func mend() async throws -> Bool {
    let layout = options.data.layout
    let examination = FolderExamination(layout, mark: ProcessTree.ownerVariable)
    let findings = try await BlockingPool.shared.run { examination.findings() }
    for finding in findings {
      Report.data("! \(finding.what)  \(finding.place)")
      Report.data("  \(fix ? "To do" : "Fix: platform doctor --fix, to"): \(finding.mend.text)")
    }
    guard fix, !findings.isEmpty else {
      if fix { Report.data("\(Report.check) there is nothing to mend in \(layout.root)") }
      return findings.isEmpty
    }
    if plan { return false }
    try agree(findings.count)
    // What has changed while a person thought about it is left alone.
    let current = try await BlockingPool.shared.run { examination.findings() }
    for finding in findings where current.contains(finding) {
      do {
        try await BlockingPool.shared.run { try finding.mend.perform() }
        Report.data("\(Report.check) \(finding.place)  done: \(finding.mend.text)")
      } catch {
        Report.data("\(Report.cross) \(finding.place)  \(PlatformError.from(error).message)")
      }
    }
    let left = try await BlockingPool.shared.run { examination.findings() }
    for finding in left { Report.data("\(Report.cross) still: \(finding.what)  \(finding.place)") }
    return left.isEmpty
  }

  private func agree(_ count: Int) throws {
    if yes { return }
    guard isatty(STDIN_FILENO) == 1 else {
      throw PlatformError(.invalidArgument, "this mends \(count) thing\(count == 1 ? "" : "s")", hint: "Add --yes to confirm, or --plan to only look.")
    }
    StandardStreams.error("Continue? [y/N] ")
    guard let answer = readLine()?.lowercased(), ["y", "yes"].contains(answer) else { throw PlatformError(.cancelled, "nothing was changed") }
  }

  // MARK: what only people can mend

  /// - Returns: whether all is well.
  private func check() async -> Bool {
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
    return !failed
  }
}
