// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Coordinator
import Core
import Foundation
import Logging
import Worker

/// The processes that `platform up` starts; people rarely call them.
enum ProcessStart {
  static func logger(_ label: String) -> Logger {
    LoggingSystem.bootstrap { label in
      var handler = StreamLogHandler.standardError(label: label)
      let level = ProcessInfo.processInfo.environment["PLATFORM_LOG"].flatMap { Logger.Level(rawValue: $0) }
      handler.logLevel = level ?? .info
      return handler
    }
    return Logger(label: label)
  }

  /// Lets a worker make control groups for people's programs, where it is told that it may.
  static func prepareGroups(_ logger: Logger) {
    ProgramGroup.prepare { logger.warning("programs get no control groups", metadata: ["error": "\($0)"]) }
  }

  /// Ends the process with the reason as one JSON line, which the supervisor reads.
  static func failing(_ body: () async throws -> Void) async throws {
    do {
      try await body()
    } catch {
      let failure = PlatformError.from(error)
      if let value = try? JSONValue(encoding: failure) {  // an error is always encodable; without it the plain report follows
        StandardStreams.error(JSONValue.object(["fatal": value]).sortedText + "\n")
      }
      throw failure
    }
  }
}

struct SuperviseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "supervise", abstract: "Keep the processes of this machine running (started by 'up').", shouldDisplay: false)
  @Option var workers: Int
  @Option var coordinators = 1
  @Option var slots: Int?
  @Option var cpus: Double?
  @Option var memoryBytes: Int64?
  @Option var label: [String] = []
  @Option var bind: String
  @Option var nodeBind: String
  @Option var storage: String?
  @OptionGroup var data: DataOptions

  func run() async throws {
    // 'up' starts us in a process group of our own; a session of our own keeps us when its terminal closes.
    setsid()
    let logger = ProcessStart.logger("supervisor")
    let url = ProcessInfo.processInfo.environment["PLATFORM_POSTGRES"].flatMap { $0.isEmpty ? nil : $0 }
    try await ProcessStart.failing {
      var configuration = Supervisor.Configuration(
        layout: DataLayout(root: data.layout.root, storage: storage), httpBind: bind, nodeBind: nodeBind, workers: workers, slotsPerWorker: slots,
        postgresURL: url,
        cpusPerWorker: cpus, memoryPerWorker: memoryBytes, labels: label)
      configuration.coordinators = coordinators
      try await Supervisor(configuration: configuration, logger: logger).run()
    }
  }
}

struct CoordinatorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "coordinator", abstract: "Run a coordinator (started by 'up').",
    discussion: """
      Several may share one Postgres, given as PLATFORM_POSTGRES: one leads, the others stand by. On another machine it needs the keys and the token
      of the first (keys/ and admin-token of its data folder) and the lake at the same path.

      EXAMPLES
        PLATFORM_POSTGRES=postgresql://me@db/platform platform coordinator --data-dir /var/lib/platform --bind 10.0.0.2:8400 --node-bind 10.0.0.2:7400
      """, shouldDisplay: false)
  @Option var bind: String = "127.0.0.1:8400"
  @Option var nodeBind: String = "127.0.0.1:7400"
  @Option var storage: String?
  @OptionGroup var data: DataOptions

  func run() async throws {
    let logger = ProcessStart.logger("coordinator")
    try await ProcessStart.failing {
      guard let connection = ProcessInfo.processInfo.environment["PLATFORM_POSTGRES"], !connection.isEmpty else {
        throw PlatformError(
          .badConfiguration, "PLATFORM_POSTGRES is not set", hint: "It is the connection string that all coordinators of a cluster share.")
      }
      try await CoordinatorProcess(
        configuration: .init(
          layout: DataLayout(root: data.layout.root, storage: storage), httpBind: bind, nodeBind: nodeBind, postgres: connection), logger: logger
      ).run()
    }
  }
}

struct WorkerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker", abstract: "Run a worker of this machine's cluster (started by 'up').", shouldDisplay: false)
  @Option var name: String
  @Option var coordinator: String
  @Option var clusterDir: String
  @Option var slots: Int = 1
  @Option var cpus: Double?
  @Option var memoryBytes: Int64?
  @Option var label: [String] = []
  @Option var dataDir: String

  func run() async throws {
    let logger = ProcessStart.logger("worker")
    try await ProcessStart.failing {
      let identity = try await WorkerIdentity.local(
        name: name, directory: dataDir, cluster: DataLayout(root: clusterDir).localNodes,
        coordinatorKey: DataLayout(root: clusterDir).keys + "/coordinator.pub", coordinator: coordinator)
      ProcessStart.prepareGroups(logger)
      try await WorkerProcess(
        configuration: .init(
          name: name, directory: dataDir, slots: slots, labels: try Capacity.labels(label), cpus: cpus, memoryBytes: memoryBytes),
        identity: identity, logger: logger
      ).run()
    }
  }
}

struct ExecutorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "executor", abstract: "Run work of a worker (started by workers).", shouldDisplay: false)

  @Flag(help: "Run interactive statements.") var statements = false
  @Option var memory = "1GB"
  @Option var threads = 2
  @Option var scratch = "."

  func run() async throws {
    guard !statements else {
      return await StatementExecutorProcess.run(memoryLimit: memory, threads: threads, scratch: scratch)
    }
    await ExecutorProcess.run()
  }
}

struct JoinCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "join", abstract: "Add this machine to a cluster as a worker.",
    discussion: """
      EXAMPLES
        platform join 127.0.0.1:7400 --token pt1.k7Q...      (the line that 'platform token create' prints)
        platform join 127.0.0.1:7400 --token pt1.k7Q... --label zone=b --label disk=ssd --memory 48GB
      """)
  @Argument(help: ArgumentHelp("The coordinator's node address, HOST:PORT; of several coordinators all, parted by commas.", valueName: "coordinator"))
  var coordinator: String
  @Option(help: "Join token. Others of the machine can see it: --token-file hides it.") var token: String?
  @Option(name: .long, help: "File with the join token.") var tokenFile: String?
  @Option(help: "Name of this node. Default: the host's name.") var name: String?
  @Option(help: "Shards and ranks at once. Default: the number of processors.") var slots: Int?
  @Option(help: "LABEL=VALUE, for node_labels of tasks; may be repeated. Replicas are spread over the values of 'zone'.") var label: [String] = []
  @Option(help: "Processors for tasks that say how many they need. Default: the machine's.") var cpus: Double?
  @Option(help: "Memory for tasks that say how much they need, for example 48GB. Default: the machine's.") var memory: String?
  @Option(help: "Where other nodes reach this one. Default: where its way to the coordinator starts.") var address: String?
  @OptionGroup var data: DataOptions

  func run() async throws {
    let addresses = coordinator.split(separator: ",").map(String.init)
    for one in addresses.isEmpty ? [coordinator] : addresses { try UpCommand.checkAddress(one) }
    let labels = try Capacity.labels(label)
    try Capacity.check(cpus: cpus)
    let bytes = try memory.map(Capacity.memory)
    let node = name ?? ProcessInfo.processInfo.hostName
    guard node.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "." || $0 == "_") }), !node.isEmpty else {
      throw PlatformError(.invalidArgument, "'\(node)' is not a node name", hint: "Use letters, digits, '-', '.' and '_'.")
    }
    let directory = data.layout.root + "/workers/" + node
    let logger = ProcessStart.logger("worker")
    let identity = try await WorkerIdentity.join(name: node, directory: directory, addresses: addresses, token: try joinToken())
    Report.note("\(Report.check) \(node) joined \(coordinator); Ctrl-C leaves")
    ProcessStart.prepareGroups(logger)
    try await WorkerProcess(
      configuration: .init(
        name: node, directory: directory, slots: slots ?? ProcessInfo.processInfo.activeProcessorCount, labels: labels,
        cpus: cpus ?? Double(ProcessInfo.processInfo.activeProcessorCount), memoryBytes: bytes, address: address),
      identity: identity, logger: logger
    ).run()
  }

  /// - Throws: `invalidArgument` unless one of both options says it.
  private func joinToken() throws -> String {
    switch (token, tokenFile) {
    case (let token?, nil): return token
    case (nil, let path?):
      guard let data = FileManager.default.contents(atPath: path) else { throw PlatformError(.notFound, "cannot read the join token", path: path) }
      return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    default:
      throw PlatformError(.invalidArgument, "a node joins with --token or --token-file", hint: "'platform token create' on the coordinator prints the line.")
    }
  }
}
