// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
import TestSupport

/// Three nodes in network namespaces of their own, joined by a bridge in a fourth: coordinators and Postgres on the first, a worker on each of
/// the others. Whoever dies is started again, as a service manager would.
final class NamespaceCluster: Sendable {
  struct Node: Sendable {
    let name: String
    let address: String
    /// In the bridge's namespace: taken down, the node is alone.
    let link: String
  }

  let cluster: LocalCluster
  let nodes: [Node]
  private let hub: String
  private let stopping = Mutex(false)
  private let joined = Mutex<[String: Program]>([:])
  private let join = Mutex<[String]>([])
  /// The nodes' wall clocks; none where there is no C compiler. Postgres has the machine's own: leases are judged by it.
  private let clocks: [SkewedClock]
  /// What the nodes' data folders are mounted on; none where mounting is not allowed.
  private let disks: [String]
  private static let diskSize = "4g"

  /// Why it cannot be done here; nil: it can.
  static let obstacle: String? = {
    guard geteuid() == 0 else { return "network namespaces need root" }
    guard FileManager.default.isExecutableFile(atPath: ip) else { return "there is no \(ip)" }
    let name = "plt-probe-\(getpid())"
    defer { _ = try? run(["netns", "del", name]) }
    do {
      try run(["netns", "add", name])
      try run(["netns", "exec", name, ip, "link", "add", "b0", "type", "bridge"])
      try run(["netns", "exec", name, ip, "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
      return nil
    } catch {
      return "network namespaces cannot be made here: \(PlatformError.from(error).message)"
    }
  }()

  private static let ip = ["/usr/sbin/ip", "/sbin/ip"].first { FileManager.default.isExecutableFile(atPath: $0) } ?? "/usr/sbin/ip"

  @discardableResult
  private static func run(_ arguments: [String], timeout: Double = 30, environment: [String: String] = [:]) throws -> LocalCluster.Output {
    let answer = try LocalCluster.run(ip, arguments, timeout: timeout, environment: environment)
    guard answer.status == 0 else { throw PlatformError(.unavailable, "ip \(arguments.joined(separator: " ")): \(answer.all)") }
    return answer
  }

  init(_ label: String) throws {
    cluster = try LocalCluster(label)
    let mark = "plt\(getpid())\(UInt8.random(in: 0...255))"
    hub = mark + "-hub"
    nodes = (1...3).map { Node(name: "\(mark)-n\($0)", address: "10.77.0.\($0)", link: "to-n\($0)") }
    try Self.run(["netns", "add", hub])
    try Self.run(["-n", hub, "link", "add", "br0", "type", "bridge"])
    try Self.run(["-n", hub, "link", "set", "br0", "up"])
    for node in nodes {
      try Self.run(["netns", "add", node.name])
      try Self.run(["-n", hub, "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.name])
      try Self.run(["-n", hub, "link", "set", node.link, "master", "br0", "up"])
      try Self.run(["-n", node.name, "addr", "add", node.address + "/24", "dev", "eth0"])
      try Self.run(["-n", node.name, "link", "set", "eth0", "up"])
      try Self.run(["-n", node.name, "link", "set", "lo", "up"])
    }
    let folder = cluster.folder.path
    clocks = (try? (0...2).map { try SkewedClock(in: folder, name: "node\($0)") }) ?? []  // without: no such faults
    disks = EndToEnd.HostileMachineTests.mayMount ? [cluster.data, Self.folder(cluster, 1), Self.folder(cluster, 2)] : []
    for disk in disks {
      try FileManager.default.createDirectory(atPath: disk, withIntermediateDirectories: true)
      try Self.mount(["-t", "tmpfs", "-o", "mode=755,size=\(Self.diskSize)", "none", disk])
    }
  }

  /// Ends everything and takes the networks away.
  func stop() {
    stopping.withLock { $0 = true }
    for process in joined.withLock({ Array($0.values) }) { process.signal(SIGKILL) }
    _ = try? cli(["down"], timeout: 60)  // already down
    for disk in disks { _ = try? LocalCluster.run("/usr/bin/umount", ["-l", disk], timeout: 30) }  // not mounted
    for name in nodes.map(\.name) + [hub] { _ = try? Self.run(["netns", "del", name]) }  // not made
  }

  // MARK: the cluster

  /// Addresses of the two coordinators.
  var https: [String] { ["\(nodes[0].address):8400", "\(nodes[0].address):8410"] }

  /// A command on the first node.
  func cli(_ arguments: [String], timeout: Double = 120, environment: [String: String] = [:]) throws -> LocalCluster.Output {
    try LocalCluster.run(
      Self.ip, ["netns", "exec", nodes[0].name, LocalCluster.binary] + arguments, timeout: timeout,
      environment: ["PLATFORM_HOME": cluster.data].merging(environment) { $1 })
  }

  func http(_ method: String, _ path: String, body: String? = nil, coordinator: Int = 0) throws -> (status: Int, body: String) {
    var arguments = ["netns", "exec", nodes[0].name, "/usr/bin/curl", "-s", "--max-time", "60", "-w", "\n%{http_code}", "-X", method]
    arguments += ["http://\(https[coordinator])\(path)", "-H", "Authorization: Bearer \(cluster.token)"]
    if let body { arguments += ["-H", "Content-Type: application/json", "--data-binary", body] }
    let lines = try LocalCluster.run(Self.ip, arguments, timeout: 70).out.split(separator: "\n", omittingEmptySubsequences: false)
    return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
  }

  /// Starts everything and returns when both workers are there.
  func start() throws {
    let up = try cli(
      ["up", "--workers", "0", "--coordinators", "2", "--bind", https[0], "--node-bind", "\(nodes[0].address):7400"],
      environment: clocks.first?.environment ?? [:])
    guard up.status == 0 else { throw PlatformError(.internalError, "up: \(up.all)") }
    let token = try cli(["token", "create", "--uses", "2", "-o", "json"])
    guard token.status == 0, let text = try JSONValue(parsing: token.out)["token"]?.stringValue else {
      throw PlatformError(.internalError, "token: \(token.all)")
    }
    join.withLock { $0 = ["join", "\(nodes[0].address):7401,\(nodes[0].address):7411", "--token", text, "--slots", "2"] }
    for index in 1...2 {
      Thread.detachNewThread {
        while !self.stopping.withLock({ $0 }) { self.runWorker(index) }
      }
    }
    try cluster.wait("both workers") { try readyNodes() == 2 }
  }

  func readyNodes() throws -> Int {
    let answer = try http("GET", "/api/2.0/nodes")
    guard answer.status == 200 else { return 0 }
    return try JSONValue(parsing: answer.body)["nodes"]?.arrayValue?.filter { $0["state"]?.stringValue == "READY" }.count ?? 0
  }

  private static func folder(_ cluster: LocalCluster, _ index: Int) -> String { cluster.folder.file("node\(index)") }
  private func folder(_ index: Int) -> String { Self.folder(cluster, index) }

  /// Runs a node's worker once, to its end.
  private func runWorker(_ index: Int) {
    let arguments =
      ["netns", "exec", nodes[index].name, LocalCluster.binary] + join.withLock { $0 } + ["--name", "n\(index)", "--data-dir", folder(index)]
    let log = Program.Stream.file(cluster.folder.file("worker\(index).log"))
    let environment = ProcessInfo.processInfo.environment.merging(clocks.isEmpty ? [:] : clocks[index].environment) { $1 }
    // None is started once the end has begun.
    let process = stopping.withLock { isStopping -> Program? in
      guard !isStopping, let process = try? Program(Self.ip, arguments, environment: environment, output: log, error: log) else { return nil }  // tried again
      joined.withLock { $0["n\(index)"] = process }
      return process
    }
    while let process, process.isRunning { process.wait(atMost: 60) }
    usleep(200_000)
  }

  // MARK: victims

  /// A worker's own process.
  func worker(_ index: Int) -> Int32? {
    joined.withLock { $0["n\(index)"] }.flatMap { $0.isRunning ? $0.processID : nil }
  }

  /// Some executor of a worker that has work.
  func executor(_ index: Int) -> Int32? {
    let units = "\(folder(index))/workers/n\(index)/units"
    for unit in (try? FileManager.default.contentsOfDirectory(atPath: units)) ?? [] {  // none yet
      if let bytes = FileManager.default.contents(atPath: units + "/" + unit), let process = Int32(String(decoding: bytes, as: UTF8.self)) { return process }
    }
    return nil
  }

  func coordinator(_ index: Int) -> Int32? { cluster.processes(["coordinator", "--bind", https[index]]).first }

  func setLink(of node: Int, up: Bool) throws { try Self.run(["-n", hub, "link", "set", nodes[node].link, up ? "up" : "down"]) }

  // MARK: surroundings

  var hasClocks: Bool { !clocks.isEmpty }

  /// Shifts the wall clock of all of a node's processes but Postgres.
  func setClock(of node: Int, seconds: Int64) throws { try clocks[node].set(seconds: seconds) }

  var hasDisks: Bool { !disks.isEmpty }

  /// Makes a node's disk as large as what lies on it, or as large as it was.
  func setDisk(of node: Int, full: Bool) throws {
    guard full else { return try Self.mount(["-o", "remount,size=\(Self.diskSize)", disks[node]]) }
    var last: (any Error)?
    for _ in 0..<50 {
      var info = statvfs()
      guard statvfs(disks[node], &info) == 0 else { throw PlatformError.system("look at", disks[node]) }
      // Refused when it has grown meanwhile.
      do { return try Self.mount(["-o", "remount,size=\((info.f_blocks - info.f_bfree) * info.f_frsize)", disks[node]]) } catch { last = error }
    }
    throw last!
  }

  private static func mount(_ arguments: [String]) throws {
    let answer = try LocalCluster.run("/usr/bin/mount", arguments, timeout: 30)
    guard answer.status == 0 else { throw PlatformError(.unavailable, "mount \(arguments.joined(separator: " ")): \(answer.all)") }
  }

  /// Keeps the supervisor from starting anything again.
  func holdSupervisor(_ isHeld: Bool) throws {
    let state = try JSONValue(parsing: FileManager.default.contents(atPath: cluster.data + "/cluster.json") ?? Data())
    guard let process = state["supervisorPID"]?.intValue else {
      throw PlatformError(.notFound, "no supervisor in \(state.sortedText)")
    }
    kill(Int32(process), isHeld ? SIGSTOP : SIGCONT)
  }
}
