// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Coordinator
import Core
import Foundation
import Glibc
import Provisioning

struct UpCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "up", abstract: "Start a cluster on this machine, or on those of a cluster file.",
    discussion: """
      EXAMPLES
        platform up                          one coordinator, one worker, a private Postgres
        platform up --workers 2
        platform up --coordinators 2         another one takes over when the first dies
        platform up --postgres postgresql://me@db/platform
        platform up -f cluster/three-node.yaml --plan      what would be done on which machine
        platform up -f cluster/three-node.yaml             over ssh; again after a change of the file
      """)
  @Option(name: [.short, .long], help: "A cluster file: the machines are reached with ssh.") var file: String?
  @Flag(help: "With -f: only show what would be done.") var plan = false
  @Option(help: "With -f: touch only this node; may be repeated.") var limit: [String] = []
  @Flag(help: "With -f: do not ask.") var yes = false
  @Option(help: "How many workers to start here.") var workers: Int = 1
  @Option(help: "How many coordinators to start here: one leads, the others stand by, on ports ten apart.") var coordinators: Int = 1
  @Option(help: "Slots of each worker; by default the processors are shared out.") var slots: Int?
  @Option(help: "Processors of each worker for tasks that say how many they need; by default the machine's are shared out.") var cpus: Double?
  @Option(help: "Memory of each worker for tasks that say how much they need, for example 8GB; by default the machine's is shared out.")
  var memory: String?
  @Option(help: "LABEL=VALUE of the workers here, for node_labels of tasks; may be repeated.") var label: [String] = []
  @Option(name: .long, help: "Address for people and clients.") var bind: String = "127.0.0.1:8400"
  @Option(name: .long, help: "Address for other nodes.") var nodeBind: String = "127.0.0.1:7400"
  @Option(help: "Use this Postgres instead of a private one.") var postgres: String?
  @Option(help: "Where tables, models and indexes are, when other machines share it. Default: the data folder.") var storage: String?
  @Flag(help: "Stay in the foreground.") var foreground = false
  @OptionGroup var data: DataOptions

  func run() async throws {
    if let file {
      return try await ClusterBringUp(file: ClusterBringUp.load(file), limit: limit, isPlan: plan, yes: yes).up()
    }
    guard !plan, limit.isEmpty else { throw PlatformError(.invalidArgument, "--plan and --limit are for cluster files", hint: "Add -f FILE.") }
    guard (0...64).contains(workers) else { throw PlatformError(.invalidArgument, "--workers must be 0 to 64") }
    guard (1...8).contains(coordinators) else { throw PlatformError(.invalidArgument, "--coordinators must be 1 to 8") }
    for address in [bind, nodeBind] { try Self.checkAddress(address) }
    _ = try Capacity.labels(label)
    try Capacity.check(cpus: cpus)
    let memoryBytes = try memory.map(Capacity.memory)
    let layout = DataLayout(root: data.layout.root, storage: storage)
    if let state = layout.loadState(), kill(state.supervisorPID, 0) == 0, state.phase != "failed",
      await Self.ready(state.url)
    {
      Report.note("\(Report.check) already running (pid \(state.supervisorPID))")
      await Self.welcome(layout, state)
      return
    }
    let start = Date()
    try preflight()
    Report.note(
      "\(Report.check) preflight   \(ProcessInfo.processInfo.activeProcessorCount) cores, \(Report.bytes(Int64(ProcessInfo.processInfo.physicalMemory)))")
    try layout.create()
    var arguments = ["supervise", "--data-dir", layout.root, "--workers", String(workers), "--bind", bind, "--node-bind", nodeBind]
    arguments += ["--coordinators", String(coordinators)]
    if let slots { arguments += ["--slots", String(slots)] }
    if storage != nil { arguments += ["--storage", layout.storage] }
    if let cpus { arguments += ["--cpus", String(cpus)] }
    if let memoryBytes { arguments += ["--memory-bytes", String(memoryBytes)] }
    for one in label { arguments += ["--label", one] }
    var environment = ProcessInfo.processInfo.environment
    if let postgres { environment["PLATFORM_POSTGRES"] = postgres }
    unlink(layout.stateFile)
    let log = layout.logs + "/supervisor.log"
    let child = try await ChildProcess.start(
      .init(
        executable: ProcessSupport.executablePath, arguments: arguments, environment: environment, directory: "/",
        outputPath: log, errorPath: log, deathSignal: foreground ? SIGTERM : 0),
      onExit: { _ in })
    try await waitUntilReady(layout, child, since: start)
    // What a service prints goes to a journal, which others read: no link that logs in.
    if let state = layout.loadState() { await Self.welcome(layout, state, logsIn: !foreground || isatty(STDERR_FILENO) == 1) }
    if foreground {
      let signals = SignalWaiter([SIGTERM, SIGINT])
      await signals.wait()
      child.signal(SIGTERM)
      while kill(child.processID, 0) == 0 { try await Task.sleep(for: .milliseconds(100)) }
    }
  }

  /// Shows each phase as it passes.
  private func waitUntilReady(_ layout: DataLayout, _ child: ChildProcess, since start: Date) async throws {
    var shown = Set<String>()
    let labels = ["postgres": "postgres    private, unix socket only", "coordinator": "coordinator", "running": "workers"]
    let deadline = Date().addingTimeInterval(120)
    while Date() < deadline {
      let state = layout.loadState()
      if let problem = state?.problem {
        // Nothing is left running when this command ends.
        kill(child.processID, SIGTERM)
        let patience = Date().addingTimeInterval(20)
        while kill(child.processID, 0) == 0 && Date() < patience { try await Task.sleep(for: .milliseconds(50)) }
        throw problem
      }
      if let phase = state?.phase, labels[phase] != nil, shown.insert(phase).inserted, phase == "coordinator", postgres == nil {
        Report.note("\(Report.check) \(labels["postgres"]!) (data: \(layout.postgres))  \(Report.duration(Date().timeIntervalSince(start)))")
      }
      if let state, state.phase == "running", await Self.ready(state.url),
        let token = layout.loadAdminToken()
      {
        let client = PlatformClient(host: state.url, token: token, timeout: .seconds(5))
        let nodes: NodeList? = try? await client.get("/api/2.0/nodes")  // not ready yet: asked again below
        // One that was cordoned or drained before is there too.
        let ready = nodes?.nodes.filter { $0.state != "LOST" }.map { $0.state == "READY" ? $0.name : "\($0.name) (\($0.state.lowercased()))" } ?? []
        if ready.count >= workers {
          let workers = ready.isEmpty ? "" : " and " + ready.joined(separator: ", ")
          Report.note("\(Report.check) coordinator\(workers) ready  \(Report.duration(Date().timeIntervalSince(start)))")
          return
        }
      }
      if kill(child.processID, 0) != 0 {
        throw layout.loadState()?.problem
          ?? PlatformError(.unavailable, "the cluster did not start", hint: "See \(layout.logs)/supervisor.log.")
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw PlatformError(.timeout, "the cluster was not ready after 120 s", hint: "See the logs in \(layout.logs).")
  }

  /// What has to be there before anything is started.
  private func preflight() throws {
    _ = try InstalledFiles.require("duckdb/libduckdb.so", what: "DuckDB's library")
    for address in try Supervisor.addresses(bind, coordinators) + Supervisor.addresses(nodeBind, coordinators) { try Self.checkFree(address) }
  }

  static func ready(_ url: String) async -> Bool {
    let client = PlatformClient(host: url, token: nil, timeout: .seconds(3))
    return (try? await client.send("GET", "/readyz", body: nil)) != nil  // any failure means: not ready
  }

  /// Checks the form HOST:PORT. Any host of this machine is taken; HTTP is plain, so another than loopback needs TLS in front.
  static func checkAddress(_ address: String) throws {
    let parts = address.split(separator: ":")
    guard parts.count == 2, let port = Int(parts[1]), (1...65_535).contains(port) else {
      throw PlatformError(.invalidArgument, "'\(address)' is not HOST:PORT", hint: "For example 127.0.0.1:8400.", number: "PLT-1003")
    }
  }

  /// - Throws: `conflict` naming the address when something listens there.
  static func checkFree(_ address: String) throws {
    let parts = address.split(separator: ":")
    var target = sockaddr_in()
    target.sin_family = sa_family_t(AF_INET)
    target.sin_port = UInt16(parts[1])!.bigEndian
    guard inet_pton(AF_INET, parts[0] == "localhost" ? "127.0.0.1" : String(parts[0]), &target.sin_addr) == 1 else { return }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var yes: Int32 = 1
    setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    let result = withUnsafePointer(to: &target) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    if result != 0 {
      let reason = errno == EADDRINUSE ? "is in use by another program" : "cannot be bound: \(String(cString: strerror(errno)))"
      throw PlatformError(
        .conflict, "\(address) \(reason)", hint: "Choose another with --bind or --node-bind, or stop what listens there.",
        number: "PLT-1004")
    }
  }

  /// - Parameter logsIn: the console's address logs whoever opens it in, once.
  static func welcome(_ layout: DataLayout, _ state: DataLayout.State, logsIn: Bool = true) async {
    let client = PlatformClient(host: state.url, token: layout.loadAdminToken(), timeout: .seconds(10))
    var link: LoginLink?
    if logsIn { link = try? await client.post("/api/2.0/login-links", [String: String]()) }  // without one: 'platform open' says why
    Report.note("  Console  \(state.url)\(link.map { "\($0.path)   (good once, for ten minutes)" } ?? "   (platform open)")")
    Report.note("  Next     platform demo      documents to a served model, in a few minutes")
    Report.note("           platform status    what is running")
  }
}

struct DownCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "down", abstract: "Stop the cluster of this machine, or of a cluster file; its data stays.")
  @Option(name: [.short, .long], help: "A cluster file: the machines are reached with ssh.") var file: String?
  @Option(help: "With -f: touch only this node; may be repeated.") var limit: [String] = []
  @Flag(help: "Also delete all data, after a typed confirmation.") var purge = false
  @Flag(help: "Do not ask.") var yes = false
  @OptionGroup var data: DataOptions

  func run() async throws {
    if let file {
      let cluster = try ClusterBringUp.load(file)
      if purge { try Confirmation.require(cluster.name, toDelete: "the data folders of \(cluster.nodes.count) nodes", yes: yes) }
      return try await ClusterBringUp(file: cluster, limit: limit).down(purge: purge)
    }
    let layout = data.layout
    if purge { try Confirmation.require("purge", toDelete: "everything in \(layout.root)", yes: yes) }
    if let state = layout.loadState(), kill(state.supervisorPID, 0) == 0, Self.isSupervisor(state.supervisorPID) {
      kill(state.supervisorPID, SIGTERM)
      let deadline = Date().addingTimeInterval(60)
      while kill(state.supervisorPID, 0) == 0 {
        if Date() > deadline {
          throw PlatformError(.timeout, "the cluster did not stop within 60 s", hint: "See \(layout.logs)/supervisor.log.")
        }
        try await Task.sleep(for: .milliseconds(100))
      }
      Report.note("\(Report.check) stopped")
    } else {
      Report.note("already stopped")
    }
    if purge {
      guard FileManager.default.fileExists(atPath: layout.root) else { return Report.note("already purged") }
      // Only a folder that we made is deleted: it carries our lock file.
      guard FileManager.default.fileExists(atPath: layout.lockFile) else {
        throw PlatformError(.conflict, "\(layout.root) is not a data folder of this program; nothing was deleted")
      }
      try FileManager.default.removeItem(atPath: layout.root)
      Report.note("\(Report.check) deleted \(layout.root)")
    }
  }

  /// A process identifier may have been given to another program since.
  static func isSupervisor(_ processID: Int32) -> Bool {
    let command = FileManager.default.contents(atPath: "/proc/\(processID)/cmdline") ?? Data()
    return String(decoding: command, as: UTF8.self).contains("supervise")
  }
}
