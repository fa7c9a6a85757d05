// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport

/// A cluster of real processes in a temporary folder on free ports, driven through the built command line.
final class LocalCluster: Sendable {
  typealias Output = Program.Output

  let folder: TemporaryDirectory
  let data: String
  let http: String
  let nodes: String

  init(_ label: String) throws {
    folder = TemporaryDirectory(label)
    // The private Postgres runs as another user when the tests run as root: its parents must be traversable.
    chmod(folder.path, 0o755)
    data = folder.file("data")
    let port = try Self.freePort()
    http = "127.0.0.1:\(port)"
    nodes = "127.0.0.1:\(try Self.freePort(farFrom: port))"
  }

  deinit {
    // Whatever a failed test left running ends with its supervisor.
    _ = try? cli(["down"], timeout: 60)  // already down, or nothing to stop
  }

  /// The program that was built with these tests.
  static let binary: String = {
    if let given = ProcessInfo.processInfo.environment["PLATFORM_BINARY"] { return given }
    var folder = (CommandLine.arguments[0] as NSString).deletingLastPathComponent
    while folder.count > 1 {
      let candidate = folder + "/platform"
      if FileManager.default.isExecutableFile(atPath: candidate) && !candidate.hasSuffix(".xctest/platform") {
        return candidate
      }
      folder = (folder as NSString).deletingLastPathComponent
    }
    return "platform"
  }()

  /// A port with a free one above it: the join socket takes the next, and a second coordinator the same ones ten higher. It lies below those that the system gives to outgoing connections: a client
  /// that asks again and again for a server that was killed would at some time be given that server's port and connect to itself.
  static func freePort(farFrom other: Int = 0) throws -> Int {
    for _ in 0..<200 {
      let port = Int.random(in: 10_000..<32_000)
      if abs(port - other) > 20, [0, 1, 10, 11].allSatisfy({ isFree(port + $0) }) { return port }
    }
    throw PlatformError(.unavailable, "no free port")
  }

  static func isFree(_ port: Int) -> Bool {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    } == 0
  }

  func start(workers: Int = 2, _ arguments: [String] = []) throws -> Output {
    try cli(["up", "--workers", String(workers), "--bind", http, "--node-bind", nodes] + arguments, timeout: 120)
  }

  /// Runs the command line against this cluster's folder.
  func cli(_ arguments: [String], timeout: Double = 120, environment extra: [String: String] = [:]) throws -> Output {
    try Self.run(Self.binary, arguments, timeout: timeout, environment: ["PLATFORM_HOME": data].merging(extra) { $1 })
  }

  static func run(
    _ program: String, _ arguments: [String], timeout: Double, environment extra: [String: String] = [:]
  ) throws -> Output {
    var environment = ProcessInfo.processInfo.environment
    for name in ["PLATFORM_HOST", "PLATFORM_TOKEN", "PLATFORM_HOME"] { environment[name] = nil }
    environment["LC_ALL"] = "C.UTF-8"
    return try Program.run(program, arguments, environment: environment.merging(extra) { $1 }, timeout: timeout)
  }

  /// One HTTP call with curl-like freedom: any token, any body.
  func http(_ method: String, _ path: String, token: String?, body: String? = nil) throws -> (status: Int, body: String) {
    var arguments = ["-s", "-o", "-", "-w", "\n%{http_code}", "-X", method, "http://\(http)\(path)"]
    if let token { arguments += ["-H", "Authorization: Bearer \(token)"] }
    if let body { arguments += ["-H", "Content-Type: application/json", "--data-binary", body] }
    let answer = try Self.run("/usr/bin/curl", arguments, timeout: 60).out
    let lines = answer.split(separator: "\n", omittingEmptySubsequences: false)
    return (Int(lines.last ?? "") ?? 0, lines.dropLast().joined(separator: "\n"))
  }

  var token: String {
    String(decoding: FileManager.default.contents(atPath: data + "/admin-token") ?? Data(), as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What clients read from `platform env`.
  var clientEnvironment: [String: String] { ["OPENAI_BASE_URL": "http://\(http)/v1", "OPENAI_API_KEY": token] }

  /// The value in the first row and column of a query.
  func scalar(_ sql: String) throws -> JSONValue {
    let answer = try cli(["sql", sql, "-o", "json"])
    guard answer.status == 0 else { throw PlatformError(.internalError, "sql failed: \(answer.all)") }
    return try JSONValue(parsing: answer.out)["rows"]?.arrayValue?.first?.arrayValue?.first ?? .null
  }

  func write(_ name: String, _ text: String) throws -> String {
    let path = folder.file(name)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  /// A folder with documents of some repetitive but varied English, so that everything downstream has something to do.
  func documents(_ count: Int, seed: UInt64 = 1) throws -> String {
    var random = SplitMix64(seed: seed)
    let subjects = [
      "The server", "A worker", "The scheduler", "This program", "The user", "A table", "The index", "The model",
    ]
    let verbs = ["reads", "writes", "starts", "stops", "copies", "checks", "repeats", "returns", "keeps", "removes"]
    let objects = [
      "the file", "a message", "the result", "every row", "the request", "its own log", "the next block", "an answer",
    ]
    let endings = [
      "when it is asked to", "and then waits for more", "before the others have finished", "without any delay",
      "in the same order",
    ]
    let path = folder.file("documents")
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    for index in 0..<count {
      var text = "# Document \(index)\n\n"
      for _ in 0..<40 {
        text += "\(subjects.randomElement(using: &random)!) \(verbs.randomElement(using: &random)!) "
        text +=
          "\(objects.randomElement(using: &random)!) \(endings.randomElement(using: &random)!) and this is number \(Int.random(in: 0..<500, using: &random)). "
      }
      try Data((text + "\n").utf8).write(to: URL(fileURLWithPath: "\(path)/doc-\(index).md"))
    }
    return path
  }

  /// Process identifiers whose command line holds all `words`, of this cluster only.
  func processes(_ words: [String]) -> [Int32] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { entry in  // no /proc: none
      guard let pid = Int32(entry), let bytes = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else {
        return nil
      }
      let command = String(decoding: bytes, as: UTF8.self).split(separator: "\0").map(String.init)
      let own = command.contains { $0.hasPrefix(data) }
      return own && words.allSatisfy(command.contains) ? pid : nil
    }
  }

  /// The process that runs a unit whose name contains `part`.
  func executor(_ part: String) -> Int32? {
    let workers = data + "/workers"
    for worker in (try? FileManager.default.contentsOfDirectory(atPath: workers)) ?? [] {  // none yet
      let units = "\(workers)/\(worker)/units"
      for unit in (try? FileManager.default.contentsOfDirectory(atPath: units)) ?? [] where unit.contains(part) {  // none yet
        if let bytes = FileManager.default.contents(atPath: units + "/" + unit) {
          return Int32(String(decoding: bytes, as: UTF8.self))
        }
      }
    }
    return nil
  }

  /// Waits until `condition` holds.
  func wait(_ what: String, seconds: Double = 60, _ condition: () throws -> Bool) throws {
    let deadline = Date().addingTimeInterval(seconds)
    while try !condition() {
      guard Date() < deadline else { throw PlatformError(.timeout, "\(what) did not happen within \(seconds) s") }
      usleep(50_000)
    }
  }

  func run(_ id: String) throws -> JSONValue { try JSONValue(parsing: cli(["runs", "get", id, "-o", "json"]).out) }

  /// Submits a workflow and returns the run's identifier.
  func submit(_ text: String, _ arguments: [String] = []) throws -> String {
    let file = try write("workflow-\(UUID().uuidString.prefix(6)).yml", text)
    let answer = try cli(["submit", file] + arguments)
    guard answer.status == 0 else { throw PlatformError(.internalError, "submit failed: \(answer.all)") }
    return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Waits for the end of a run.
  func finish(_ id: String, seconds: Double = 240) throws -> JSONValue {
    var last: JSONValue = .null
    try wait("the end of run \(id)", seconds: seconds) {
      let answer = try cli(["runs", "get", id, "-o", "json"])
      guard answer.status == 0 else { return false }
      last = try JSONValue(parsing: answer.out)
      return ["SUCCEEDED", "FAILED", "CANCELLED"].contains(last["state"]?.stringValue ?? "")
    }
    return last
  }
}

extension JSONValue {
  /// The task of a run by key.
  func task(_ key: String) -> JSONValue { self["tasks"]?.arrayValue?.first { $0["task_key"]?.stringValue == key } ?? .null }
}
