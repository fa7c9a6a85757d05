// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@testable import Coordinator

@Suite struct FolderExaminationTests {
  private let folder = TemporaryDirectory("examination")
  private var layout: DataLayout { DataLayout(root: folder.file("data")) }
  private static let mark = "EXAMINATION_TEST_OWNER"

  private func examine() -> [FolderExamination.Finding] {
    // Folders of other tests' programs may lie in the temporary folder.
    FolderExamination(layout, mark: Self.mark).findings().filter { !$0.place.contains(FolderExamination.programFolder) }
  }

  /// One that has ended.
  private func deadProcess() throws -> Int32 {
    let program = try Program("/bin/true")
    program.wait()
    return program.processID
  }

  private func write(_ path: String, _ text: String = "") throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }

  @Test func leftoversAndOpenFoldersAreMended() throws {
    let layout = layout
    try layout.create()
    try layout.writePrivate(Data("{}".utf8), to: layout.coordinatorKey)
    #expect(examine() == [])
    let dead = try deadProcess()
    try FileManager.default.removeItem(atPath: layout.spool)
    chmod(layout.keys, 0o755)
    chmod(layout.coordinatorKey, 0o644)
    try layout.saveState(
      DataLayout.State(url: "http://127.0.0.1:1", nodeAddress: "127.0.0.1:2", supervisorPID: dead, workers: 1, startedAt: 0, phase: "running"))
    try write(layout.adminTokenFile + ".tmp-\(dead)")
    try write(layout.adminTokenFile + ".tmp-\(getpid())")
    for path in ["/run", "/pg/data", "/workers/w0/scratch/one"] {
      try FileManager.default.createDirectory(atPath: layout.root + path, withIntermediateDirectories: true)
    }
    try write(layout.root + "/run/worker.pid", "\(dead)\n")
    // A number that somebody else has by now.
    try write(layout.postgres + "/data/postmaster.pid", "\(getpid())\n\(layout.postgres)/data\n")
    try write(layout.postgres + "/.s.PGSQL.5432.lock")
    let real = try #require(realpath(layout.workers + "/w0", nil).map { String(cString: $0) })
    let left = try Program("/bin/sleep", ["600"], environment: [Self.mark: real])
    defer { left.signal(SIGKILL) }
    let found = examine()
    let expected: [(String, FolderExamination.Mend)] = [
      (layout.spool, .makeFolder(layout.spool, mode: 0o700)), (layout.keys, .setMode(layout.keys, 0o700)),
      (layout.coordinatorKey, .setMode(layout.coordinatorKey, 0o600)), (layout.stateFile, .remove([layout.stateFile])),
      (layout.root + "/run/worker.pid", .remove([layout.root + "/run/worker.pid"])),
      (layout.postgres + "/data/postmaster.pid", .remove([layout.postgres + "/data/postmaster.pid", layout.postgres + "/.s.PGSQL.5432.lock"])),
      (layout.workers + "/w0", .end([left.processID])), (layout.workers + "/w0/scratch", .remove([layout.workers + "/w0/scratch/one"])),
      (layout.adminTokenFile + ".tmp-\(dead)", .remove([layout.adminTokenFile + ".tmp-\(dead)"])),
    ]
    #expect(found.map(\.place) == expected.map(\.0) && found.map(\.mend) == expected.map(\.1), "\(found)")
    for finding in found { try finding.mend.perform() }
    #expect(left.wait() == 128 + SIGKILL)
    #expect(examine() == [])
    // Again, it does nothing.
    for finding in found where finding.place != layout.workers + "/w0" { try finding.mend.perform() }
    #expect(FileManager.default.fileExists(atPath: layout.adminTokenFile + ".tmp-\(getpid())"))
  }

  @Test func whatRunsIsLeftAloneAndWhatIsStoppedGoesOn() throws {
    let layout = layout
    try layout.create()
    try FileManager.default.createDirectory(atPath: layout.workers + "/w0/scratch/one", withIntermediateDirectories: true)
    // Stand-ins with the words of a supervisor, and of a worker that it has started. A shell waits for somebody who writes into the pipe.
    #expect(mkfifo(folder.file("nobody"), 0o600) == 0)
    try write(folder.file("worker"), "echo $$\nread line < nobody\n")
    try write(folder.file("supervise"), "/bin/sh worker --data-dir '\(layout.workers)/w0' &\nread line < nobody\n")
    let supervisor = try Program("/bin/sh", ["supervise", "--data-dir", layout.root], directory: folder.path, output: .pipe)
    defer { supervisor.signal(SIGKILL) }
    let worker = try #require(Int32(try supervisor.line()))
    defer { kill(worker, SIGKILL) }
    try layout.saveState(
      DataLayout.State(
        url: "http://127.0.0.1:1", nodeAddress: "127.0.0.1:2", supervisorPID: supervisor.processID, workers: 1, startedAt: 0, phase: "running"))
    #expect(examine() == [])
    kill(worker, SIGSTOP)
    try wait("it stops") { LocalProcess(worker)?.state == "T" }
    let found = examine()
    #expect(found == [.init(what: "members of the cluster are stopped: worker", place: layout.root, mend: .resume([worker]))])
    try found.first?.mend.perform()
    try wait("it goes on") { LocalProcess(worker)?.state != "T" }
    #expect(examine() == [])
  }

  private func wait(_ what: String, _ condition: () -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while !condition() {
      guard ContinuousClock.now < deadline else { throw PlatformError(.timeout, "\(what): not within 60 s") }
      usleep(10_000)
    }
  }
}
