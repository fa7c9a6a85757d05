// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Worker

/// Control groups for people's programs: what is decided from the system's files, what is written, and what the kernel makes of it.
@Suite(.serialized) struct ControlGroupTests {
  private static let mounts = """
    31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
    35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:5 - cgroup cgroup rw,memory
    41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
    """

  @Test func theGroupIsFoundWhereItIsMounted() {
    #expect(ControlGroups.path(in: "4:memory:/x\n0::/system.slice/platform-worker-w1.service\n") == "/system.slice/platform-worker-w1.service")
    #expect(ControlGroups.path(in: "4:memory:/x\n1:name=systemd:/\n") == nil && ControlGroups.path(in: "") == nil)
    #expect(ControlGroups.folder(of: "/a/b", Self.mounts) == "/sys/fs/cgroup/unified/a/b")
    #expect(ControlGroups.folder(of: "/", Self.mounts) == "/sys/fs/cgroup/unified")
    // A container sees a part of the hierarchy.
    let part = "41 31 0:38 /docker/7 /sys/fs/cgroup ro - cgroup2 cgroup rw"
    #expect(ControlGroups.folder(of: "/docker/7/x", part) == "/sys/fs/cgroup/x" && ControlGroups.folder(of: "/docker/7", part) == "/sys/fs/cgroup")
    #expect(ControlGroups.folder(of: "/docker/71", part) == nil && ControlGroups.folder(of: "/", part) == nil)
    for bad in ["", "1 2 3", "1 2 0:3 / /x rw - ", "1 2 0:3 / /x rw"] { #expect(ControlGroups.folder(of: "/a", bad) == nil, "\(bad)") }
  }

  @Test func onlyWhatWasDelegatedIsUsed() throws {
    let own = "0::/system.slice/w.service\n"
    let folder = "/sys/fs/cgroup/unified/system.slice/w.service"
    func find(_ wanted: String?, own: String = own, _ files: [String: String]) throws -> ControlGroups? {
      try ControlGroups.find(wanted, own: own, mounts: Self.mounts) { files[$0] }
    }
    #expect(try find(nil, [folder + "/cgroup.controllers": "memory"]) == nil && find("", [:]) == nil)
    #expect(
      try find("delegated", [folder + "/cgroup.controllers": "cpuset cpu io memory hugetlb pids\n"])
        == ControlGroups(folder: folder, controllers: ["memory", "pids", "cpu"]))
    // Where the controllers are those of version 1 there is nothing to limit with, but processes can be ended.
    #expect(
      try find("/sys/fs/cgroup/unified/mine/", ["/sys/fs/cgroup/unified/mine/cgroup.controllers": "hugetlb\n"])
        == ControlGroups(folder: "/sys/fs/cgroup/unified/mine", controllers: []))
    for (wanted, own, says) in [
      ("delegated", "1:cpu:/\n", "in no group"), ("delegated", own, "no group of cgroup v2"), ("mine", own, "no absolute path"),
      ("/a/../b", own, "no absolute path"),
    ] {
      let error = #expect(throws: PlatformError.self) { try find(wanted, own: own, [:]) }
      #expect(error?.number == "PLT-4492" && error?.message.contains(says) == true, "\(String(describing: error))")
    }
  }

  @Test func limitsBecomeTheFilesOfTheGroup() throws {
    let limits = ProgramLimits(CommandLimits(memoryBytes: 200_000_000, processes: 10), machineBytes: 1 << 33, diskSize: 1 << 40)
    func text(_ controllers: [String]) -> [String] {
      ControlGroups(folder: "/x", controllers: controllers).settings(limits).map { "\($0.file)=\($0.text)" }
    }
    #expect(text(["memory", "pids", "cpu"]) == ["memory.max=200000000", "memory.swap.max=0", "memory.oom.group=1", "pids.max=520", "cpu.weight=20"])
    #expect(text(["pids"]) == ["pids.max=520"] && text([]) == [])
  }

  /// A folder plays the hierarchy.
  @Test func whatIsWrittenGoesToTheRightGroup() throws {
    let folder = TemporaryDirectory("groups")
    let root = folder.path
    let written = Written()
    let write: ProgramGroup.Write = { path, text in
      written.add("\(path.dropFirst(root.count)) \(text)")
      if path.hasSuffix("memory.swap.max") || text == "+cpu" { throw PlatformError(.unavailable, "not here") }
    }
    try Data("\(Int32.max)\n".utf8).write(to: URL(fileURLWithPath: root + "/cgroup.procs"))
    // One has ended since it was listed, which is no error; one controller cannot be handed on.
    let usable = try ProgramGroup.prepare(ControlGroups(folder: root, controllers: ["memory", "pids", "cpu"]), write: write)
    #expect(usable == ["memory", "pids"])
    #expect(
      written.take() == [
        "/platform/cgroup.procs \(getpid())", "/platform/cgroup.procs \(Int32.max)", "/cgroup.subtree_control +memory", "/cgroup.subtree_control +pids",
        "/cgroup.subtree_control +cpu",
      ])
    let group = try ProgramGroup(in: ControlGroups(folder: root, controllers: usable), write: write)
    let name = group.folder.dropFirst(root.count)
    try group.limit(ProgramLimits(CommandLimits(memoryBytes: 5, processes: 1), machineBytes: 8, diskSize: 8))
    #expect(written.take() == ["\(name)/memory.max 5", "\(name)/memory.swap.max 0", "\(name)/memory.oom.group 1", "\(name)/pids.max 502"])
    try Data("low 0\nmax 7\noom 1\noom_kill 0\n".utf8).write(to: URL(fileURLWithPath: group.folder + "/memory.events"))
    #expect(!group.isOutOfMemory)
    try Data("low 0\noom 1\noom_kill 2\n".utf8).write(to: URL(fileURLWithPath: group.folder + "/memory.events"))
    #expect(group.isOutOfMemory)
    try FileManager.default.removeItem(atPath: group.folder + "/memory.events")
    group.end()
    #expect(!FileManager.default.fileExists(atPath: group.folder))
    // Groups of executors that are gone are removed, no others.
    for name in ["program-\(Int32.max)-a", "program-\(getpid())-b", "other"] { mkdir("\(root)/\(name)", 0o755) }
    ProgramGroup.sweep(root)
    #expect(
      ["program-\(Int32.max)-a", "program-\(getpid())-b", "other"].map { FileManager.default.fileExists(atPath: "\(root)/\($0)") } == [false, true, true])
  }

  private final class Written: Sendable {
    private let lines = Mutex<[String]>([])
    func add(_ line: String) { lines.withLock { $0.append(line) } }
    func take() -> [String] {
      lines.withLock { lines in
        defer { lines = [] }; return lines
      }
    }
  }

  /// A group of this test's own in the system's hierarchy; nil where this user may not make one.
  private static func realGroup() -> String? {
    guard let own = FileManager.default.contents(atPath: "/proc/self/cgroup"), let mounts = FileManager.default.contents(atPath: "/proc/self/mountinfo"),
      let path = ControlGroups.path(in: String(decoding: own, as: UTF8.self)),
      let home = ControlGroups.folder(of: path, String(decoding: mounts, as: UTF8.self)), access(home + "/cgroup.procs", W_OK) == 0
    else { return nil }
    let folder = "\(home)/platform-test-\(getpid())"
    guard mkdir(folder, 0o755) == 0 || errno == EEXIST, access(folder + "/cgroup.kill", W_OK) == 0 else { return nil }
    rmdir(folder)
    return folder
  }

  @Test(.enabled(if: realGroup() != nil, "no cgroup v2 in which this user may make groups"))
  func aProgramAndAllThatItStartsEndWithItsGroup() async throws {
    let root = try #require(Self.realGroup())
    #expect(mkdir(root, 0o755) == 0)
    defer { rmdir(root) }
    let group = try ProgramGroup(in: ControlGroups(folder: root, controllers: []))
    let ended = AsyncStream<ChildProcess.Exit>.makeStream()
    // Two leave the program's process group, and forget the variables by which they would be found.
    let line = "for i in 1 2; do env -i setsid sleep 1000 & done; wait"
    let child = try group.start {
      try BlockingPool.wait(atMost: .seconds(30), for: "the start") {
        try await ChildProcess.start(.init(executable: "/bin/sh", arguments: ["-c", line], environment: ["PATH": "/usr/bin:/bin"])) {
          ended.continuation.yield($0)
        }
      }
    }
    // This process has left the group again.
    #expect(!ProgramGroup.processes(of: group.folder).contains(getpid()))
    try await withDeadline(.seconds(60), "its three processes") {
      while ProgramGroup.processes(of: group.folder).count < 3 { try await Task.sleep(for: .milliseconds(20)) }
    }
    #expect(ProgramGroup.processes(of: group.folder).contains(child.processID))
    let all = ProgramGroup.processes(of: group.folder)
    group.end()
    let exit = try await withDeadline(.seconds(60), "its end") {
      for await exit in ended.stream { return exit }; return ChildProcess.Exit.status(-1)
    }
    #expect(exit == .signal(SIGKILL))
    try await withDeadline(.seconds(60), "the end of all") {
      while all.contains(where: { kill($0, 0) == 0 && $0 != child.processID && !Self.isZombie($0) }) { try await Task.sleep(for: .milliseconds(20)) }
      while FileManager.default.fileExists(atPath: group.folder) {
        group.end()
        try await Task.sleep(for: .milliseconds(20))
      }
    }
  }

  private static func isZombie(_ pid: Int32) -> Bool {
    let text = FileManager.default.contents(atPath: "/proc/\(pid)/stat").map { String(decoding: $0, as: UTF8.self) } ?? ") Z"
    return text[(text.lastIndex(of: ")") ?? text.startIndex)...].hasPrefix(") Z")
  }
}
