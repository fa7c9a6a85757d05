// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization
import TestSupport
import Testing

@testable import DeltaLog

/// Many processes change one table while they are killed. At the end the log must read as changes made one after the other,
/// with all that was acknowledged in it once and nothing that nobody did. `SOAK_SECONDS` (8) and `SOAK_PROCESSES` (16).
@Suite(.serialized) struct SoakTests {
  static let variable = "PLATFORM_TEST_SOAK"
  static let folder = ProcessInfo.processInfo.environment[variable]
  static let seconds = ProcessInfo.processInfo.environment["SOAK_SECONDS"].flatMap(Double.init) ?? 8
  static let processes = ProcessInfo.processInfo.environment["SOAK_PROCESSES"].flatMap(Int.init) ?? 16

  /// Data files are lines of `key value` next to the log: what matters here is which of them are in the table.
  typealias Rows = [String: Int]

  struct Lake {
    let store: LocalObjectStore
    let table: DeltaTable

    init(_ folder: String) throws {
      store = try LocalObjectStore(root: folder)
      table = try DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), cache: SnapshotCache())
    }

    func write(_ rows: Rows) throws -> AddFile {
      let name = UUID().uuidString
      let data = Data(rows.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)\n" }.joined().utf8)
      try store.put(ObjectPath("t/\(name)"), data)
      return AddFile(relativePath: name, size: Int64(data.count), statistics: ["numRecords": .integer(Int64(rows.count))])
    }

    func read(_ file: AddFile) throws -> Rows {
      let text = String(decoding: try store.get(ObjectPath("t/" + (try file.relativePath()))), as: UTF8.self)
      var rows: Rows = [:]
      for line in text.split(separator: "\n") {
        let parts = line.split(separator: " ")
        rows[String(parts[0])] = Int(parts[1])
      }
      return rows
    }
  }

  /// What a commit did, in its `userMetadata`: a function of the rows before it.
  struct Change: Codable {
    enum Kind: String, Codable, CaseIterable { case append, update, delete, merge }
    var id = UUID().uuidString
    var kind: Kind
    var rows: Rows

    func apply(to state: inout Rows) {
      for (key, value) in rows {
        switch kind {
        case .append: state[key] = value
        case .update: if let old = state[key] { state[key] = old + value }
        case .delete: state[key] = nil
        case .merge: state[key] = (state[key] ?? 0) + value
        }
      }
    }
  }

  /// One process: changes, each noted before it begins and after it was acknowledged.
  @Test(.enabled(if: folder != nil, "only a process that another test starts runs it")) func body() throws {
    guard let folder = Self.folder else { return }
    let lake = try Lake(folder + "/lake")
    let journal = open("\(folder)/journal-\(UUID().uuidString)", O_WRONLY | O_CREAT | O_APPEND, 0o644)
    func note(_ text: String) {
      _ = (text + "\n").withCString { write(journal, $0, strlen($0)) }
    }
    var random = SystemRandomNumberGenerator()
    while !FileManager.default.fileExists(atPath: folder + "/stop") {
      var base = try lake.table.latest()
      let kind = Change.Kind.allCases.randomElement(using: &random)!
      var change = Change(kind: kind, rows: [:])
      var rewrite = CommitPlan.Rewrite()
      let plan: CommitPlan
      switch kind {
      case .append:
        change.rows = [UUID().uuidString: Int.random(in: 0..<100)]
        plan = .append([try lake.write(change.rows)])
      case .update, .delete:
        guard let file = base.files.randomElement(), let key = try lake.read(file).keys.randomElement() else { continue }
        change.rows = [key: kind == .update ? Int.random(in: 1..<100) : 0]
        var rows = try lake.read(file)
        change.apply(to: &rows)
        rewrite.removed = [file]
        rewrite.added = rows.isEmpty ? [] : [try lake.write(rows)]
        plan = .rewrite(rewrite, where: .unknown, read: [file], operation: kind == .update ? "UPDATE" : "DELETE")
      case .merge:
        // Keys that everybody uses: whether they are there depends on all files.
        for _ in 0..<3 { change.rows["shared-\(Int.random(in: 0..<8))"] = Int.random(in: 1..<100) }
        var rows: Rows = [:]
        for file in base.files {
          let own = try lake.read(file)
          guard !Set(own.keys).isDisjoint(with: change.rows.keys) else { continue }
          rewrite.removed.append(file)
          rows.merge(own) { $1 }
        }
        change.apply(to: &rows)
        rewrite.added = [try lake.write(rows)]
        plan = .rewrite(rewrite, where: .all, read: base.files, operation: "MERGE")
      }
      var told = plan
      told.isolation = .serializable
      told.userMetadata = String(decoding: try JSONEncoder().encode(change), as: UTF8.self)
      note("begin \(change.id)")
      do {
        let outcome = try lake.table.commit(told, onto: &base)
        note("done \(change.id) \(outcome.version)")
      } catch let error as PlatformError where CommitConflict.kind(of: error) != nil || error.code == .conflict {
        note("lost \(change.id)")
      } catch let error as PlatformError where error.code == .notFound { continue }
    }
  }

  struct Running {
    var child: ChildProcess
    /// Ends when the process has.
    var ended: AsyncStream<Never>
  }

  @Test(.enabled(if: folder == nil, "not in a process that a test has started")) func killedWritersLeaveASerialHistory() async throws {
    let folder = TemporaryDirectory("soak")
    let lake = try Lake(folder.file("lake"))
    _ = try lake.table.create(schema: LogFixture().schema, configuration: ["delta.checkpointInterval": "10"])
    var environment = ProcessInfo.processInfo.environment
    environment[Self.variable] = folder.path
    let itself = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    let start = { [environment] in
      let (ended, continuation) = AsyncStream<Never>.makeStream()
      let child = try await ChildProcess.start(
        .init(
          executable: itself, arguments: ["--testing-library", "swift-testing", "--filter", "SoakTests/body"], environment: environment,
          outputPath: "/dev/null", errorPath: "/dev/null", deathSignal: SIGKILL)
      ) { _ in continuation.finish() }
      return Running(child: child, ended: ended)
    }
    var running: [Running] = []
    for _ in 0..<Self.processes { running.append(try await start()) }
    // Time counts from the first commit: on a busy machine the processes take a while to begin.
    let begun = ContinuousClock.now
    while try lake.table.latestVersion() ?? 0 < 5, ContinuousClock.now - begun < .seconds(120) { try await Task.sleep(for: .milliseconds(50)) }
    let end = ContinuousClock.now + .seconds(Self.seconds)
    var kills = 0
    while ContinuousClock.now < end {
      try await Task.sleep(for: .milliseconds(Int.random(in: 20...250)))
      let victim = Int.random(in: 0..<running.count)
      running[victim].child.signal(SIGKILL)
      kills += 1
      running[victim] = try await start()
    }
    _ = FileManager.default.createFile(atPath: folder.file("stop"), contents: nil)
    for one in running.prefix(running.count / 2) { one.child.signal(SIGKILL) }
    for one in running { for await _ in one.ended {} }

    var done: [String: Int64] = [:]
    var begunChanges: Set<String> = []
    var lost: Set<String> = []
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) where name.hasPrefix("journal-") {
      for line in try String(contentsOfFile: folder.file(name), encoding: .utf8).split(separator: "\n") {
        let parts = line.split(separator: " ").map(String.init)
        switch parts.first {
        case "begin": if parts.count == 2 { begunChanges.insert(parts[1]) }
        case "done": if parts.count == 3 { done[parts[1]] = Int64(parts[2]) }
        case "lost": lost.insert(parts[1])
        default: break
        }
      }
    }
    // One after the other, as the log has them.
    let fresh = try Lake(folder.file("lake"))
    let last = try fresh.table.snapshot()
    var model: Rows = [:]
    var found: [String: Int64] = [:]
    for version in 1...last.version {
      let info = try fresh.table.commit(version).lazy.compactMap { action -> CommitInfo? in
        if case .commitInfo(let info) = action { info } else { nil }
      }.first
      let change = try JSONDecoder().decode(Change.self, from: Data((info?.userMetadata ?? "").utf8))
      #expect(found.updateValue(version, forKey: change.id) == nil, "\(change.id) is there twice")
      #expect(begunChanges.contains(change.id) && !lost.contains(change.id))
      change.apply(to: &model)
      if version % 25 == 0 || version == last.version {
        let snapshot = try fresh.table.snapshot(version: version)
        var rows: Rows = [:]
        for file in snapshot.files { rows.merge(try fresh.read(file)) { _, _ in Int.min } }
        #expect(rows == model, "version \(version)")
      }
    }
    for (change, version) in done { #expect(found[change] == version, "\(change) was acknowledged as \(version)") }
    #expect(last.version >= 20 && kills >= 3, "\(last.version) versions, \(kills) kills")
  }
}
