// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport
import Testing

/// An SSH server of our own on a free port of this machine, for one key.
private final class LoginServer: Sendable {
  static let program = "/usr/sbin/sshd"
  let port: Int
  let key: String
  /// Not Foundation's: that takes a program which closes the files it was given for one that has ended, and waits for it.
  private let process: ChildProcess
  private final class Ended: Sendable { let flag = Atomic(false) }

  init(_ folder: TemporaryDirectory) async throws {
    port = try LocalCluster.freePort()
    key = folder.file("key")
    for name in ["key", "host"] {
      let made = try LocalCluster.run("/usr/bin/ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", folder.file(name)], timeout: 60)
      guard made.status == 0 else { throw PlatformError(.internalError, "no key: \(made.all)") }
    }
    // Where it separates its rights.
    if geteuid() == 0 { mkdir("/run/sshd", 0o755) }
    let settings = """
      Port \(port)
      ListenAddress 127.0.0.1
      HostKey \(folder.file("host"))
      AuthorizedKeysFile \(folder.file("key.pub"))
      PidFile none
      StrictModes no
      UsePAM no
      PasswordAuthentication no
      PermitRootLogin prohibit-password
      """
    try Data(settings.utf8).write(to: URL(fileURLWithPath: folder.file("sshd_config")))
    let hasEnded = Ended()
    process = try await ChildProcess.start(
      .init(executable: Self.program, arguments: ["-D", "-f", folder.file("sshd_config"), "-E", folder.file("sshd.log")]),
      onExit: { _ in hasEnded.flag.store(true, ordering: .relaxed) })
    let deadline = Date().addingTimeInterval(60)
    while LocalCluster.isFree(port) {
      guard !hasEnded.flag.load(ordering: .relaxed), Date() < deadline else {
        throw PlatformError(
          .unavailable, "sshd does not listen: \(String(decoding: FileManager.default.contents(atPath: folder.file("sshd.log")) ?? Data(), as: UTF8.self))")
      }
      usleep(50_000)
    }
  }

  deinit { process.signal(SIGTERM) }
}

extension EndToEnd {
  /// Three nodes with data folders of their own, brought up over ssh by one command from one file.
  @Suite struct ManyNodesTests {
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: LoginServer.program), "there is no sshd (Debian package openssh-server)"))
    func aClusterFileIsBroughtUpAndTakenDown() async throws {
      let cluster = try LocalCluster("many-nodes")
      let folder = cluster.folder
      let server = try await LoginServer(folder)
      let control = try LocalCluster.freePort()
      let file = try cluster.write(
        "cluster.yaml",
        """
        cluster: { name: lab }
        ssh: { port: \(server.port), identity_file: \(server.key), options: [StrictHostKeyChecking=accept-new, UserKnownHostsFile=\(folder.file("known"))] }
        defaults: { install_dir: \(folder.file("opt")) }
        nodes:
          - { name: c1, host: 127.0.0.1, roles: [coordinator], data_dir: \(folder.file("c1")) }
          - { name: w1, host: 127.0.0.1, data_dir: \(folder.file("w1")), labels: { pool: a }, resources: { cpus: 1 } }
          - { name: w2, host: 127.0.0.1, data_dir: \(folder.file("w2")), resources: { cpus: 1 } }
        network: { http_bind: "\(cluster.http)", control_port: \(control) }
        storage: { root: \(folder.file("lake")) }
        """)
      func platform(_ arguments: [String]) throws -> LocalCluster.Output { try cluster.cli(arguments, timeout: 300) }
      defer { _ = try? platform(["down", "-f", file, "--yes", "--purge"]) }  // a test that failed leaves nothing behind

      let plan = try platform(["up", "-f", file, "--plan"])
      #expect(plan.status == 0 && plan.err.contains("start the coordinator") && plan.err.contains("install the program"), "\(plan.all)")
      #expect(!FileManager.default.fileExists(atPath: folder.file("opt")))
      #expect(try platform(["up", "-f", file]).status == 64)
      #expect(try platform(["up", "-f", file, "--limit", "w9"]).status == 66)

      let up = try platform(["up", "-f", file, "--yes"])
      try #require(up.status == 0, "\(up.all)")
      #expect(up.err.contains("all-reduce over 2 ranks: "), "\(up.all)")
      let token = String(decoding: FileManager.default.contents(atPath: folder.file("c1/admin-token")) ?? Data(), as: UTF8.self)
      let client = ["PLATFORM_HOST": "http://\(cluster.http)", "PLATFORM_TOKEN": token.trimmingCharacters(in: .whitespacesAndNewlines)]
      func sql(_ text: String) throws -> LocalCluster.Output { try cluster.cli(["sql", text], environment: client) }
      func ready() throws -> [String] {
        let list = try JSONValue(parsing: cluster.cli(["nodes", "list", "-o", "json"], environment: client).out)
        return (list["nodes"]?.arrayValue ?? []).filter { $0["state"]?.stringValue == "READY" }.compactMap { $0["name"]?.stringValue }.sorted()
      }
      #expect(try ready() == ["w1", "w2"])
      let made = try sql("create table main.default.t as select range as n from range(1000)")
      #expect(made.status == 0, "\(made.all)")
      #expect(try sql("select sum(n) as s from main.default.t").out.contains("499500"))
      // Tables are in the shared folder, what is the coordinator's own is not.
      #expect(FileManager.default.fileExists(atPath: folder.file("lake/lake")) && !FileManager.default.fileExists(atPath: folder.file("c1/lake")))

      func keeper(_ node: String, _ role: String) -> String {
        String(decoding: FileManager.default.contents(atPath: folder.file("\(node)/run/\(role).pid")) ?? Data(), as: UTF8.self)
      }
      let before = [keeper("c1", "coordinator"), keeper("w1", "worker"), keeper("w2", "worker")]
      let again = try platform(["up", "-f", file, "--yes"])
      #expect(again.status == 0 && again.err.contains("nothing to do") && !again.out.contains("started"), "\(again.all)")
      #expect([keeper("c1", "coordinator"), keeper("w1", "worker"), keeper("w2", "worker")] == before)

      // Another label of the file is another worker.
      let text = String(decoding: FileManager.default.contents(atPath: file) ?? Data(), as: UTF8.self)
      try Data(text.replacing("pool: a", with: "pool: b").utf8).write(to: URL(fileURLWithPath: file))
      let changed = try platform(["up", "-f", file, "--plan"])
      #expect(changed.status == 0 && changed.err.contains("w1  start the worker again") && changed.err.contains("w2  nothing to do"), "\(changed.all)")

      // A worker that is killed comes back by itself, without a token that is still good.
      let victims = try #require(Int32(keeper("w1", "worker").trimmingCharacters(in: .whitespacesAndNewlines)).map(children))
      #expect(!victims.isEmpty)
      for pid in victims { kill(pid, SIGKILL) }
      let pid = try #require(Int32(keeper("w1", "worker").trimmingCharacters(in: .whitespacesAndNewlines)))
      try cluster.wait("another worker", seconds: 60) { !children(of: pid).isEmpty && Set(children(of: pid)).isDisjoint(with: victims) }
      try cluster.wait("both workers", seconds: 60) { try ready() == ["w1", "w2"] }

      // Another program, one node after the other, while a run works on both.
      let program = folder.file("next/platform")
      try FileManager.default.createDirectory(atPath: folder.file("next"), withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: LocalCluster.binary, toPath: program)
      let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: program))
      try handle.seekToEnd()
      try handle.write(contentsOf: Data([0]))
      try handle.close()
      func upgrade(_ arguments: [String]) throws -> LocalCluster.Output {
        try LocalCluster.run(program, ["upgrade", "-f", file, "--rolling"] + arguments, timeout: 300, environment: ["PLATFORM_HOME": folder.file("nowhere")])
      }
      func submit(_ name: String, _ task: String) throws -> String {
        let workflow = try cluster.write("\(name).yml", "resources: { jobs: { j: { name: \(name), tasks: [ \(task) ] } } }\n")
        let answer = try cluster.cli(["submit", workflow], environment: client)
        try #require(answer.status == 0, "\(answer.all)")
        return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      func nodes() throws -> [JSONValue] {
        try JSONValue(parsing: cluster.cli(["nodes", "list", "-o", "json"], environment: client).out)["nodes"]?.arrayValue ?? []
      }
      func node(_ name: String) throws -> JSONValue { try nodes().first { $0["name"]?.stringValue == name } ?? .null }
      let old = try #require(try node("w1")["version"]?.stringValue)
      #expect(old.contains("+"))
      // A node that does not become empty stops it, and the same call later goes on.
      let long = try submit("long", "{ task_key: t, node_labels: { pool: a }, wait_task: { milliseconds: 600000 } }")
      try cluster.wait("work on w1") { try node("w1")["running"]?.arrayValue?.isEmpty == false }
      let stuck = try upgrade(["--yes", "--drain-seconds", "1"])
      #expect(stuck.err.contains("w1  send the program · empty it · start the worker again"), "\(stuck.all)")
      #expect(stuck.status == 75 && stuck.err.contains("PLT-4441") && stuck.err.contains("stopped at w1"), "\(stuck.all)")
      #expect(try node("w1")["state"] == "DRAINING" && node("w1")["version"]?.stringValue == old)
      #expect(try cluster.cli(["runs", "cancel", long], environment: client).status == 0)
      let during = try submit("during", "{ task_key: t, wait_task: { milliseconds: 1000, parts: 20 } }")
      let upgraded = try upgrade(["--yes"])
      #expect(upgraded.status == 0, "\(upgraded.all)")
      var state = ""
      try cluster.wait("the end of the run", seconds: 120) {
        let answer = try cluster.cli(["runs", "get", during, "-o", "json"], environment: client)
        state = answer.status == 0 ? try JSONValue(parsing: answer.out)["state"]?.stringValue ?? "" : ""
        return ["SUCCEEDED", "FAILED", "CANCELLED"].contains(state)
      }
      #expect(state == "SUCCEEDED")
      try cluster.wait("both workers", seconds: 60) { try ready() == ["w1", "w2"] }
      let versions = try Set(nodes().compactMap { $0["version"]?.stringValue })
      #expect(versions.count == 1 && !versions.contains(old), "\(versions)")
      #expect(try sql("select sum(n) as s from main.default.t").out.contains("499500"))

      let down = try platform(["down", "-f", file, "--yes", "--purge"])
      #expect(down.status == 0, "\(down.all)")
      #expect(!FileManager.default.fileExists(atPath: folder.file("c1")) && !FileManager.default.fileExists(atPath: folder.file("w2")))
      #expect(FileManager.default.fileExists(atPath: folder.file("lake/lake")))
    }

    /// Two coordinators that share a Postgres: the one that stands by takes over, and the one that was stopped comes back as a standby.
    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: LoginServer.program), "there is no sshd (Debian package openssh-server)"))
    func severalCoordinatorsAreBroughtUpFromOneFile() async throws {
      // Its Postgres is the one that the others share.
      let cluster = try LocalCluster("two-coordinators")
      #expect(try cluster.start(workers: 0).status == 0)
      let folder = cluster.folder
      func psql(_ sql: String, database: String = "lab") throws -> String {
        let answer = try LocalCluster.run("/usr/bin/psql", ["-h", cluster.data + "/pg", "-U", "platform", "-d", database, "-At", "-c", sql], timeout: 60)
        guard answer.status == 0 else { throw PlatformError(.internalError, "psql: \(answer.all)") }
        return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
      }
      _ = try psql("CREATE DATABASE lab", database: "postgres")
      let server = try await LoginServer(folder)
      let ports = try (0..<4).map { _ in try LocalCluster.freePort() }
      let addresses = ["c1": "127.0.0.1:\(ports[0])", "c2": "127.0.0.1:\(ports[1])"]
      let file = try cluster.write(
        "cluster.yaml",
        """
        ssh: { port: \(server.port), identity_file: \(server.key), options: [StrictHostKeyChecking=accept-new, UserKnownHostsFile=\(folder.file("known"))] }
        defaults: { install_dir: \(folder.file("opt")) }
        nodes:
          - { name: c1, host: 127.0.0.1, roles: [coordinator], data_dir: \(folder.file("c1")), http_bind: "\(addresses["c1"]!)", control_port: \(ports[2]) }
          - { name: c2, host: 127.0.0.1, roles: [coordinator], data_dir: \(folder.file("c2")), http_bind: "\(addresses["c2"]!)", control_port: \(ports[3]) }
          - { name: w1, host: 127.0.0.1, data_dir: \(folder.file("w1")) }
        postgres: { mode: external, url_secret: env:LAB_URL }
        storage: { root: \(folder.file("lake")) }
        """)
      let url = "postgresql://platform@\((cluster.data + "/pg").replacing("/", with: "%2F"))/lab"
      func platform(_ arguments: [String]) throws -> LocalCluster.Output { try cluster.cli(arguments, timeout: 300, environment: ["LAB_URL": url]) }
      defer { _ = try? platform(["down", "-f", file, "--yes", "--purge"]) }  // a test that failed leaves nothing behind

      let up = try platform(["up", "-f", file, "--yes"])
      try #require(up.status == 0, "\(up.all)")
      #expect(up.err.contains("coordinators on c1, c2") && up.err.contains(addresses["c2"]!), "\(up.all)")
      for name in ["keys/coordinator.json", "keys/catalog.key", "admin-token"] {
        #expect(FileManager.default.contentsEqual(atPath: folder.file("c1/\(name)"), andPath: folder.file("c2/\(name)")), "\(name)")
      }
      let token = String(decoding: FileManager.default.contents(atPath: folder.file("c1/admin-token")) ?? Data(), as: UTF8.self)
      func cli(_ node: String, _ arguments: [String]) throws -> LocalCluster.Output {
        try cluster.cli(
          arguments,
          environment: ["PLATFORM_HOST": "http://\(addresses[node]!)", "PLATFORM_TOKEN": token.trimmingCharacters(in: .whitespacesAndNewlines)])
      }
      func isReady(_ node: String) throws -> Bool {
        let answer = try cli(node, ["nodes", "list", "-o", "json"])
        guard answer.status == 0 else { return false }
        return try JSONValue(parsing: answer.out)["nodes"]?.arrayValue?.contains { $0["name"] == "w1" && $0["state"] == "READY" } == true
      }
      for node in ["c1", "c2"] { try cluster.wait("w1 at \(node)") { try isReady(node) } }
      let made = try cli("c2", ["sql", "create table main.default.t as select range as n from range(1000)"])
      #expect(made.status == 0, "\(made.all)")

      // Whoever leads is stopped for good.
      func leader() throws -> String? {
        let http = try psql("SELECT http FROM platform.scheduler_lease WHERE expires_at > clock_timestamp()")
        return addresses.first { $0.value == http }?.key
      }
      let first = try #require(try leader())
      let second = first == "c1" ? "c2" : "c1"
      let stopped = try platform(["down", "-f", file, "--yes", "--limit", first])
      #expect(stopped.status == 0, "\(stopped.all)")
      try cluster.wait("\(second) to lead") { try leader() == second }
      try cluster.wait("w1 at \(second)") { try isReady(second) }
      #expect(try cli(second, ["sql", "select sum(n) as s from main.default.t"]).out.contains("499500"))
      let back = try platform(["up", "-f", file, "--yes"])
      #expect(back.status == 0 && back.err.contains("\(first)  start the coordinator") && back.err.contains("\(second)  nothing to do"), "\(back.all)")
      try cluster.wait("w1 at \(first)") { try isReady(first) }
      #expect(try leader() == second)
      let down = try platform(["down", "-f", file, "--yes", "--purge"])
      #expect(down.status == 0 && !FileManager.default.fileExists(atPath: folder.file("c2")), "\(down.all)")
    }

    private func children(of parent: Int32) -> [Int32] {
      ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { entry in  // no /proc: none
        guard let pid = Int32(entry), let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        let rest = String(decoding: data, as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
        return rest.count > 1 && Int32(rest[1]) == parent ? pid : nil
      }
    }
  }
}
