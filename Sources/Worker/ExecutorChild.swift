// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The worker's handle of one executor process.
final class ExecutorChild: Sendable {
  enum Message: Sendable {
    /// As many as were read at once.
    case frames([ExecutorFrame])
    case log(String)
    case ended(ChildProcess.Exit)
  }

  let messages: AsyncStream<Message>
  let processID: Int32
  private let child: ChildProcess
  private let end: End

  private final class End: Sendable { let hasCome = Atomic<Bool>(false) }

  /// False soon after the process has ended, whatever ended it.
  var isRunning: Bool { !end.hasCome.load(ordering: .acquiring) }

  private init(child: ChildProcess, messages: AsyncStream<Message>, end: End) {
    self.child = child
    self.end = end
    self.messages = messages
    processID = child.processID
  }

  /// The variable with the address of this node, which ranks and replicas listen on.
  static let addressVariable = "PLATFORM_NODE_ADDRESS"

  /// Starts an executor.
  /// - Parameter address: where its ranks and replicas listen.
  static func start(directory: String, address: String) async throws -> ExecutorChild {
    let (stream, continuation) = AsyncStream<Message>.makeStream(bufferingPolicy: .bufferingOldest(100_000))
    let out = Mutex(ExecutorFrameReader())
    let err = Mutex(LineSplitter(limit: 16 << 10))
    let end = End()
    var environment = ProcessInfo.processInfo.environment
    // Executors compute; they get no credentials of the platform, whoever started the worker. How buckets are reached, and where groups of programs are made, they do get.
    for name in environment.keys where name.hasPrefix("PLATFORM_") && name != "PLATFORM_LIB" && name != "PLATFORM_LOG" {
      if ["PLATFORM_S3_", "PLATFORM_OBJECT_CACHE", "PLATFORM_ENVIRONMENTS", ProgramGroup.folderVariable].contains(where: name.hasPrefix) { continue }
      environment[name] = nil
    }
    environment["OPENBLAS_NUM_THREADS"] = "1"
    environment[addressVariable] = address
    let child = try await ChildProcess.start(
      .init(
        executable: ProcessSupport.executablePath, arguments: ["executor"], environment: environment, directory: directory,
        deathSignal: SIGKILL, wantsInput: true),
      onOutput: { bytes in
        guard let bytes else { return }
        if let frames = out.withLock({ $0.feed(bytes) }) {
          if !frames.isEmpty { continuation.yield(.frames(frames)) }
        } else {
          continuation.yield(.log("the executor wrote what is no message; what follows is not read"))
        }
      },
      onError: { bytes in
        guard let bytes else {
          if let rest = err.withLock({ $0.finish() }) { continuation.yield(.log(String(decoding: rest, as: UTF8.self))) }
          return
        }
        for line in err.withLock({ $0.feed(bytes) }) { continuation.yield(.log(String(decoding: line, as: UTF8.self))) }
      },
      onExit: { exit in
        end.hasCome.store(true, ordering: .releasing)
        continuation.yield(.ended(exit))
        continuation.finish()
      })
    return ExecutorChild(child: child, messages: stream, end: end)
  }

  /// Returns false when the process has gone.
  @discardableResult
  func send(_ frames: [ExecutorFrame]) -> Bool { child.write(frames.reduce(into: Data()) { $0.append($1.encoded) }) }

  @discardableResult
  func send(_ kind: ExecutorFrameKind, _ number: UInt32, _ payload: Data = Data()) -> Bool {
    send([ExecutorFrame(kind: kind, number: number, payload: payload)])
  }

  func yieldProcessors() { child.yieldProcessors() }
  func kill() { child.signal(SIGKILL) }
  /// An idle executor ends when its input does.
  func retire() { child.closeInput() }
}
