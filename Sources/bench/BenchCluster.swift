// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Postgres

/// A cluster of real processes on this machine, in a folder of its own, asked over HTTP as any client asks it.
final class BenchCluster {
  let home: String
  let nodes: String
  let client: PlatformClient
  private let program: String

  /// - Throws: `notFound` when there is no program to start; what it says when it cannot start.
  init(_ setup: Setup, name: String, workers: Int, slots: Int) async throws {
    program = URL(fileURLWithPath: setup.options.platform).path
    guard FileManager.default.isExecutableFile(atPath: program) else {
      throw PlatformError(.notFound, "there is no program to measure", hint: "Run make build, or pass --platform FILE.", path: program)
    }
    home = setup.file(name)
    let port = Int.random(in: 1_000..<2_000) * 10
    nodes = "127.0.0.1:\(port + 1000)"
    // The private Postgres runs as another user when this is root: its parents must be traversable.
    chmod(setup.folder.path, 0o755)
    let arguments = [
      "up", "--workers", String(workers), "--slots", String(slots), "--bind", "127.0.0.1:\(port)", "--node-bind", nodes,
    ]
    try await Self.call(program, arguments, home: home)
    guard let token = FileManager.default.contents(atPath: home + "/admin-token") else {
      throw PlatformError(.internalError, "the cluster has no token", path: home)
    }
    client = PlatformClient(
      host: "http://127.0.0.1:\(port)", token: String(decoding: token, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Runs a command of the program against this cluster.
  func command(_ arguments: [String]) async throws { try await Self.call(program, arguments, home: home) }

  func down() async throws { try await Self.call(program, ["down"], home: home) }

  private static func call(_ program: String, _ arguments: [String], home: String) async throws {
    var environment = ProcessInfo.processInfo.environment
    environment["PLATFORM_HOME"] = home
    let log = home + ".log"
    let ended = AsyncStream<ChildProcess.Exit>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let child = try await ChildProcess.start(
      .init(executable: program, arguments: arguments, environment: environment, outputPath: log, errorPath: log),
      onExit: {
        ended.continuation.yield($0)
        ended.continuation.finish()
      })
    var exit: ChildProcess.Exit?
    for await one in ended.stream { exit = one }
    guard exit == .status(0) else {
      let text = String(decoding: FileManager.default.contents(atPath: log) ?? Data(), as: UTF8.self)
      throw PlatformError(.unavailable, "platform \(arguments[0]) (\(child.processID)) failed: \(text.suffix(2000))")
    }
  }

  // MARK: runs

  /// Starts a run of these tasks.
  func submit(_ tasks: JSONValue) async throws -> String {
    let answer: JSONValue = try await client.post("/api/2.2/jobs/runs/submit", ["run_name": "bench", "tasks": tasks] as JSONValue)
    guard let run = answer["run_id"]?.intValue else { throw PlatformError(.internalError, "no run was started: \(answer.sortedText)") }
    return String(run)
  }

  /// Returns when no run is active. Asked this way it costs the coordinator nearly nothing.
  func idle(every pause: Duration = .milliseconds(20), within limit: Duration = .seconds(900)) async throws {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
      let answer: JSONValue = try await client.get("/api/2.2/jobs/runs/list?active_only=true&limit=1")
      if (answer["runs"]?.arrayValue ?? []).isEmpty { return }
      try await Task.sleep(for: pause)
    }
    throw PlatformError(.timeout, "a run did not end within \(limit)")
  }

  /// The values of the run's first task, and when the run ended, in seconds since 1970.
  /// - Throws: `internalError` when the run did not succeed.
  func values(of run: String) async throws -> (values: JSONValue, ended: Double) {
    let ended = try await end(of: run)
    let info: RunInfo = try await client.get("/api/2.0/runs/get?run_id=\(run)")
    return (info.tasks.first?.values ?? .null, ended)
  }

  private func end(of run: String) async throws -> Double {
    let answer: JSONValue = try await client.get("/api/2.2/jobs/runs/get?run_id=\(run)")
    guard answer["state"]?["result_state"] == "SUCCESS", let ended = answer["end_time"]?.doubleValue else {
      throw PlatformError(.internalError, "run \(run) did not succeed: \((answer["state"] ?? .null).sortedText)")
    }
    return ended / 1000
  }

  /// Seconds from submitting the tasks to their end.
  func run(_ tasks: JSONValue) async throws -> Double {
    let began = ContinuousClock.now
    let run = try await submit(tasks)
    try await idle()
    let time = (ContinuousClock.now - began).inSeconds
    _ = try await end(of: run)
    return time
  }

  // MARK: inside

  /// The cluster's own Postgres.
  func database() throws -> PostgresPool {
    try PostgresPool(PostgresConfiguration(connectionString: "host='\(home)/pg' user=platform dbname=platform", poolSize: 1))
  }

  /// Samples of the coordinator's metrics, by name with labels.
  func metrics() async throws -> [String: Double] {
    let text = String(decoding: try await client.send("GET", "/metrics", body: nil), as: UTF8.self)
    var found: [String: Double] = [:]
    for line in text.split(separator: "\n") where !line.hasPrefix("#") {
      guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { continue }
      found[String(line[..<space])] = value
    }
    return found
  }

  /// The process of this cluster that runs a command, with a word in its arguments.
  private func process(_ command: String, with word: String) throws -> Int32 {
    for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
      guard let pid = Int32(name), let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { continue }
      let words = String(decoding: bytes, as: UTF8.self).split(separator: "\0")
      if words.dropFirst().first.map(String.init) == command, words.contains(where: { $0 == word }) { return pid }
    }
    throw PlatformError(.notFound, "there is no process '\(command)' of \(word)")
  }

  func worker(_ name: String) throws -> Int32 { try process("worker", with: "\(home)/workers/\(name)") }
  func supervisor() throws -> Int32 {
    let state = try JSONValue(parsing: Data(contentsOf: URL(fileURLWithPath: home + "/cluster.json")))
    guard let pid = state["supervisorPID"]?.intValue else {
      throw PlatformError(.notFound, "the cluster's file names no supervisor: \(state.sortedText)")
    }
    return Int32(pid)
  }

  /// The most memory that the coordinator has had, in bytes.
  func coordinatorPeak() throws -> Int64 {
    let pid = try process("coordinator", with: home)
    let status = String(decoding: FileManager.default.contents(atPath: "/proc/\(pid)/status") ?? Data(), as: UTF8.self)
    guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
      let kilobytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int64($0) })
    else { throw PlatformError(.notFound, "the coordinator is not there") }
    return kilobytes << 10
  }
}
