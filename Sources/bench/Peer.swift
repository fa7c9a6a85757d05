// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The peers' Python process. It lives as long as the benchmarks, so that importing packages is never measured.
///
/// A call is a line `{"call": name, ...}` on its standard input and a line of JSON on its standard output. Work that is
/// measured is timed by the peer itself, between reading the line and writing the answer.
final class Peer {
  static let threads = 2
  private let child: ChildProcess
  private let answers: Answers
  private let log: String
  private var announced: Int?

  /// Whole lines of the process, waited for by `call`.
  private final class Answers: Sendable {
    private struct State {
      var pending = Data()
      var lines: [Data] = []
      var hasEnded = false
    }
    private let state = Mutex(State())
    private let arrived = DispatchSemaphore(value: 0)

    func take(_ bytes: UnsafeRawBufferPointer?) {
      let count = state.withLock { state -> Int in
        guard let bytes else {
          state.hasEnded = true
          return 1
        }
        let before = state.lines.count
        state.pending.append(contentsOf: bytes)
        while let end = state.pending.firstIndex(of: UInt8(ascii: "\n")) {
          state.lines.append(Data(state.pending[..<end]))
          state.pending = Data(state.pending[(end + 1)...])
        }
        return state.lines.count - before
      }
      for _ in 0..<count { arrived.signal() }
    }

    /// The next line, or nil when the process has ended or is silent for `limit`.
    func next(within limit: DispatchTimeInterval) -> Data? {
      guard arrived.wait(timeout: .now() + limit) == .success else { return nil }
      return state.withLock { $0.lines.isEmpty ? nil : $0.lines.removeFirst() }
    }
  }

  /// That of `make bench-peers`, or what `BENCH_PYTHON` names; nil where neither is there.
  static var benchPython: String? {
    let environment = ProcessInfo.processInfo.environment
    let folder = environment["PLATFORM_BENCH"] ?? NSHomeDirectory() + "/.cache/platform/bench"
    return [environment["BENCH_PYTHON"], folder + "/bin/python"].compactMap { $0 }.first(where: FileManager.default.isExecutableFile)
  }

  /// - Parameters:
  ///   - scripts: the folder of `peer.py`.
  ///   - python: nil takes that of the peers' packages.
  /// - Throws: `notFound` when the peers or the script are not there.
  init(scripts: String, folder: String, python given: String? = nil) async throws {
    let environment = ProcessInfo.processInfo.environment
    let homes = [environment["PLATFORM_PEERS"], NSHomeDirectory() + "/.cache/platform/peers"].compactMap { $0 }
    guard let python = given ?? homes.map({ $0 + "/bin/python" }).first(where: FileManager.default.isExecutableFile) else {
      throw PlatformError(.notFound, "the peer packages are not installed", hint: "Run make peers.")
    }
    let script = scripts + "/peer.py"
    guard FileManager.default.fileExists(atPath: script) else {
      throw PlatformError(.notFound, "no peer script", hint: "Start from the checkout, or pass --peers FOLDER.", path: script)
    }
    log = folder + "/peer.log"
    var variables = environment
    for name in ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "TOKIO_WORKER_THREADS"] {
      variables[name] = "\(Self.threads)"
    }
    variables["HF_HUB_OFFLINE"] = "1"
    variables["TOKENIZERS_PARALLELISM"] = "false"
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    let answers = Answers()
    self.answers = answers
    child = try await ChildProcess.start(
      .init(executable: python, arguments: ["-u", script, folder], environment: variables, errorPath: log, wantsInput: true),
      onOutput: { answers.take($0) }, onExit: { _ in answers.take(nil) })
  }

  deinit { child.closeInput() }

  /// Waits for the answer, for at most ten minutes.
  /// - Throws: `internalError` with the peer's own message.
  @discardableResult
  func call(_ name: String, _ arguments: [String: JSONValue] = [:]) throws -> JSONValue {
    var members = arguments
    members["call"] = .string(name)
    child.writeLine(Data(JSONValue.object(members).sortedText.utf8))
    guard let line = answers.next(within: .seconds(600)) else {
      let text = String(decoding: FileManager.default.contents(atPath: log) ?? Data(), as: UTF8.self)
      throw PlatformError(.unavailable, "the peer gave no answer to \(name): \(text.suffix(2000))")
    }
    let answer = try JSONValue(parsing: line)
    if let error = answer["error"]?.stringValue { throw PlatformError(.internalError, "the peer failed in \(name): \(error)") }
    return answer
  }

  /// A measured call: the seconds that the peer says it took.
  func time(_ name: String, _ arguments: [String: JSONValue] = [:]) throws -> Double {
    guard let seconds = try call(name, arguments)["seconds"]?.doubleValue else {
      throw PlatformError(.internalError, "the peer did not say how long \(name) took")
    }
    return seconds
  }
}
