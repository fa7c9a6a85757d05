// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Coordinator
import Core
import Foundation
import Glibc
import Synchronization

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Back this machine's cluster up, and restore it.",
    discussion: """
      A backup is a folder with all of the database, the tables, volumes, models, indexes and the keys: whoever reads it reads everything.
      It is made with the rights of whoever calls, on the coordinator's machine, and the cluster goes on meanwhile.

      EXAMPLES
        platform backup create /mnt/backups/monday
        platform backup verify /mnt/backups/monday
        platform backup restore /mnt/backups/monday --data-dir /var/lib/platform     on an empty machine; then: platform up
      """, subcommands: [Create.self, Verify.self, Restore.self])

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a backup in a new folder; the cluster may run.",
      discussion: """
        EXAMPLES
          platform backup create /mnt/backups/monday
          platform backup create "/mnt/backups/$(date +%F)" -o json
        """)
    @Argument(help: "The folder to make. It must not be there yet.") var folder: String
    @OptionGroup var options: BackupOptions

    func run() async throws {
      let progress = BackupProgressLine(isQuiet: options.output.isStructured)
      let manifest = try await ClusterBackup(layout: options.layout) { progress.show($0) }.create(folder, postgres: options.postgres)
      progress.end()
      try BackupCommand.show(manifest, "saved", at: folder, options.output)
      if options.output.isStructured { return }
      Report.note("  It holds the keys and the admin token: keep it as you keep those.")
      Report.note("  Next     platform backup verify \(folder)")
    }
  }

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Read every byte of a backup and say what is damaged.",
      discussion: """
        EXAMPLES
          platform backup verify /mnt/backups/monday
        """)
    @Argument(help: "The backup's folder.") var folder: String
    @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text

    func run() async throws {
      let progress = BackupProgressLine(isQuiet: output.isStructured)
      let verdict = try await ClusterBackup.verify(folder) { progress.show($0) }
      progress.end()
      if let first = verdict.damaged.first {
        if output.isStructured {
          try Report.structured(Damage(objects: verdict.damaged.map { .init(path: $0.path, problem: $0.what) }), output)
        } else {
          for one in verdict.damaged { Report.data("\(Report.cross) \(one.path)  \(one.what)") }
        }
        throw PlatformError(
          .invalidFile, "the backup is damaged: \(first.path) \(first.what)" + (verdict.damaged.count > 1 ? ", and \(verdict.damaged.count - 1) more" : ""),
          hint: "Use another backup.", number: "PLT-4402")
      }
      try BackupCommand.show(verdict.manifest, "as it was made", at: folder, output)
    }

    struct Damage: Encodable {
      struct Object: Encodable {
        var path: String
        var problem: String
      }
      var objects: [Object]
    }
  }

  struct Restore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make the cluster of a backup in an empty data folder; 'platform up' starts it.",
      discussion: """
        Workers of other machines join again. Do not run the restored cluster and the one it came from at the same time where jobs have schedules:
        both would run them.

        EXAMPLES
          platform backup restore /mnt/backups/monday
          platform backup restore /mnt/backups/monday --data-dir /srv/platform --storage /srv/lake
        """)
    @Argument(help: "The backup's folder.") var folder: String
    @OptionGroup var options: BackupOptions

    func run() async throws {
      let progress = BackupProgressLine(isQuiet: options.output.isStructured)
      let layout = options.layout
      let manifest = try await ClusterBackup(layout: layout) { progress.show($0) }.restore(folder, postgres: options.postgres)
      progress.end()
      try BackupCommand.show(manifest, "restored", at: layout.root, options.output)
      if options.output.isStructured { return }
      let shared = manifest.tables.filter(\.isShared)
      if layout.storage != manifest.storage, !shared.isEmpty {
        Report.note(
          "! \(shared.map(\.name).joined(separator: ", ")): shallow clones name files by their path in \(manifest.storage), where they are not now. Clone again, or restore with --storage \(manifest.storage)"
        )
      }
      var next = "platform up"
      if layout.root != DataLayout(root: DataLayout.defaultRoot).root { next += " --data-dir \(layout.root)" }
      if layout.storage != layout.root { next += " --storage \(layout.storage)" }
      Report.note("  Next     \(next)\(options.postgres == nil ? "" : " --postgres URL")")
    }
  }

  static func show(_ manifest: BackupManifest, _ done: String, at place: String, _ output: OutputFormat) throws {
    if output.isStructured { return try Report.structured(manifest, output) }
    Report.data(
      "\(Report.check) \(done): \(place)  \(manifest.objects) files, \(Report.bytes(manifest.bytes)), \(manifest.tables.count) table\(manifest.tables.count == 1 ? "" : "s"), of \(manifest.createdAt.formatted(.iso8601))"
    )
    for one in manifest.leftOut { Report.note("! not in it: \(one.name) (\(one.location)): \(one.reason)") }
  }
}

/// Which cluster, and how to answer.
struct BackupOptions: ParsableArguments {
  @OptionGroup var data: DataOptions
  @Option(help: "Where tables, models and indexes are, when it is not the data folder. A running cluster knows.") var storage: String?
  @Option(help: "The cluster's Postgres, when it is not its own. A running cluster knows.") var postgres: String?
  @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text

  var layout: DataLayout { DataLayout(root: data.layout.root, storage: storage) }
}

/// One line on standard error: rewritten on a terminal, one a phase otherwise.
final class BackupProgressLine: Sendable {
  private struct State {
    var phase: BackupProgress.Phase?
    var started = ContinuousClock.now
    var drawn = ContinuousClock.now
    var isOpen = false
  }
  private let state = Mutex(State())
  private let isQuiet: Bool
  private let isTerminal = isatty(STDERR_FILENO) == 1 && ProcessInfo.processInfo.environment["CI"] == nil

  init(isQuiet: Bool) { self.isQuiet = isQuiet }

  func show(_ progress: BackupProgress) {
    guard !isQuiet else { return }
    state.withLock { state in
      let isNew = state.phase != progress.phase
      if isNew {
        if state.isOpen { StandardStreams.error("\n") }
        state = State(phase: progress.phase)
      }
      let now = ContinuousClock.now
      guard isTerminal else {
        if isNew { StandardStreams.error("  \(progress.phase.rawValue) \(Report.bytes(progress.total))\n") }
        return
      }
      guard isNew || now - state.drawn > .milliseconds(250) else { return }
      state.drawn = now
      state.isOpen = true
      let seconds = max(0.001, Double((now - state.started).components.seconds) + Double((now - state.started).components.attoseconds) / 1e18)
      let rate = Double(progress.bytes) / seconds
      let left = rate > 0 ? Report.duration(Double(max(0, progress.total - progress.bytes)) / rate) : "?"
      StandardStreams.error(
        "\r\u{1B}[K  \(progress.phase.rawValue)  \(Report.bytes(progress.bytes)) of \(Report.bytes(progress.total))  \(Report.bytes(Int64(rate)))/s  \(left) left"
      )
    }
  }

  func end() {
    guard !isQuiet else { return }
    state.withLock { state in
      if state.isOpen { StandardStreams.error("\r\u{1B}[K") }
      state.isOpen = false
    }
  }
}
