// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Provisioning
import Synchronization

/// One machine, reached with the system's OpenSSH: `~/.ssh/config`, agents and known hosts apply.
struct SSHHost: Sendable {
  struct Answer: Sendable {
    var status: Int32
    var out: String
    var error: String
  }

  let node: ClusterFile.Node

  /// Everything of the command line before what the machine runs. It never asks: there may be nobody to answer.
  var arguments: [String] {
    let access = node.access
    var list = ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=6"]
    for option in access.options { list += ["-o", option] }
    if let port = access.port { list += ["-p", String(port)] }
    if let file = access.identityFile { list += ["-i", (file as NSString).expandingTildeInPath] }
    if let jump = access.jump { list += ["-J", jump] }
    return list + [(access.user.map { $0 + "@" } ?? "") + node.host]
  }

  /// Runs `script` with the machine's `sh`. The script travels on standard input: nothing of it is in an argument list.
  /// - Parameter asRoot: with `sudo`, for people who are not root there.
  /// - Returns: whatever it ended with.
  /// - Throws: `unavailable` PLT-4391 when the machine cannot be reached, `timeout` after `seconds`.
  func run(_ script: String, asRoot: Bool = false, seconds: Double = 300) async throws -> Answer {
    let answer = try await Self.run("/usr/bin/env", ["ssh"] + arguments + [asRoot ? "sudo -n sh -s" : "sh -s"], input: script, seconds: seconds)
    if answer.status == 255 { throw unreachable(answer.error) }
    return answer
  }

  /// As `run`, for scripts that must succeed.
  /// - Throws: also `failed` PLT-4392 with the last thing that it wrote.
  @discardableResult
  func require(_ what: String, _ script: String, asRoot: Bool = false, seconds: Double = 300) async throws -> String {
    let answer = try await run(script, asRoot: asRoot, seconds: seconds)
    guard answer.status == 0 else {
      let said = (answer.error.isEmpty ? answer.out : answer.error).split(separator: "\n").suffix(3).joined(separator: " | ")
      throw PlatformError(.failed, "\(node.name) could not \(what): \(said.isEmpty ? "status \(answer.status)" : said)", number: "PLT-4392")
    }
    return answer.out.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Sends a folder, links followed, to `command`, which reads a tar stream.
  func send(folder: String, to command: String, asRoot: Bool, seconds: Double = 1800) async throws {
    let remote = asRoot ? "sudo -n " + command : command
    let words = (["ssh"] + arguments + [remote]).map { "'" + $0.replacingOccurrences(of: "'", with: "'\\''") + "'" }.joined(separator: " ")
    let answer = try await Self.run("/bin/sh", ["-c", "tar -chf - -C '\(folder)' . | \(words)"], input: "", seconds: seconds)
    if answer.status == 255 { throw unreachable(answer.error) }
    guard answer.status == 0 else {
      throw PlatformError(.failed, "\(node.name) could not take the program: \(answer.error.suffix(300))", number: "PLT-4392")
    }
  }

  private func unreachable(_ text: String) -> PlatformError {
    let said = text.split(whereSeparator: \.isNewline).last.map(String.init) ?? "no answer"
    let hint =
      said.contains("Host key verification failed")
      ? "Log in once by hand to learn its key, or add ssh.options: [StrictHostKeyChecking=accept-new]."
      : "Try it by hand: ssh \(arguments.drop { $0 != "ServerAliveCountMax=6" }.dropFirst().joined(separator: " "))"
    return PlatformError(.unavailable, "\(node.name) cannot be reached: \(said)", hint: hint, number: "PLT-4391")
  }

  /// Runs a program to its end.
  static func run(_ program: String, _ arguments: [String], input: String, seconds: Double) async throws -> Answer {
    let out = Mutex(Data())
    let error = Mutex(Data())
    let ended = AsyncStream<ChildProcess.Exit>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let child = try await ChildProcess.start(
      .init(executable: program, arguments: arguments, wantsInput: true),
      onOutput: { bytes in if let bytes { out.withLock { $0.append(contentsOf: bytes) } } },
      onError: { bytes in if let bytes { error.withLock { $0.append(contentsOf: bytes) } } },
      onExit: {
        ended.continuation.yield($0)
        ended.continuation.finish()
      })
    let late = Mutex(false)
    let watch = Task {
      try await Task.sleep(for: .seconds(seconds))
      late.withLock { $0 = true }
      child.signal(SIGKILL)
    }
    defer { watch.cancel() }
    let text = Data(input.utf8)
    try await BlockingPool.shared.run {
      child.write(text)
      child.closeInput()
    }
    var exit = ChildProcess.Exit.status(-1)
    for await one in ended.stream { exit = one }
    if late.withLock({ $0 }) { throw PlatformError(.timeout, "\(arguments.first ?? program) took longer than \(Int(seconds)) s", number: "PLT-4391") }
    let status: Int32 = if case .status(let code) = exit { code } else { -1 }
    return Answer(
      status: status, out: String(decoding: out.withLock { $0 }, as: UTF8.self), error: String(decoding: error.withLock { $0 }, as: UTF8.self))
  }
}
