// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Coordinator
import Core
import Foundation
import Glibc
import Logging

/// Starts a service of this program again whenever it ends, where no systemd does.
struct KeepCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keep", abstract: "Keep one command of this program running (started by 'up -f').", shouldDisplay: false)
  @Option var name: String
  @OptionGroup var data: DataOptions
  @Argument(parsing: .postTerminator) var command: [String]

  func run() async throws {
    let folder = data.layout.root + "/run"
    let logger = ProcessStart.logger("keep-\(name)")
    let lock = open("\(folder)/\(name).lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      throw PlatformError(.conflict, "'\(name)' is kept running already from \(data.layout.root)")
    }
    try data.layout.writePrivate(Data("\(getpid())\n".utf8), to: "\(folder)/\(name).pid")
    let signals = SignalWaiter([SIGTERM, SIGINT])
    let keeper = Task { await keep(logger) }
    await signals.wait()
    keeper.cancel()
    await keeper.value
    unlink("\(folder)/\(name).pid")
    close(lock)
  }

  /// Until it is cancelled; the child has ended then.
  private func keep(_ logger: Logger) async {
    let backoff = Backoff(firstMilliseconds: 200, limitMilliseconds: 10_000)
    var quickFailures = 0
    while !Task.isCancelled {
      let started = Date()
      let ended = AsyncStream<ChildProcess.Exit>.makeStream(bufferingPolicy: .bufferingNewest(1))
      do {
        let log = "\(data.layout.root)/logs/\(name).log"
        let child = try await ChildProcess.start(
          .init(executable: ProcessSupport.executablePath, arguments: command, directory: "/", outputPath: log, errorPath: log, deathSignal: SIGTERM),
          onExit: {
            ended.continuation.yield($0)
            ended.continuation.finish()
          })
        await withTaskCancellationHandler {
          // Not ended by the cancellation itself: the child's own end is waited for.
          await Task.detached { for await exit in ended.stream { logger.warning("ended", metadata: ["exit": "\(exit)"]) } }.value
        } onCancel: {
          kill(child.processID, SIGTERM)
          Task.detached {
            try? await Task.sleep(for: .seconds(60))  // nothing cancels it
            child.signal(SIGKILL)
          }
        }
      } catch {
        logger.error("did not start", metadata: ["error": "\(error)"])
      }
      quickFailures = Date().timeIntervalSince(started) > 30 ? 0 : quickFailures + 1
      let delay = backoff.delayMilliseconds(afterAttempt: max(1, quickFailures), unit: 0.5)
      if !Task.isCancelled { try? await Task.sleep(for: .milliseconds(delay)) }  // cancelled: the loop condition ends it
    }
  }
}
