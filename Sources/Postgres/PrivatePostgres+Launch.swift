// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Running the server's programs, under another account where that is needed.
extension PrivatePostgres {
  /// A server process that was started, and what its log said since.
  final class Launch: Sendable {
    private let log: String
    private let logStart: UInt64
    private let ended = Mutex<ChildProcess.Exit?>(nil)

    /// - Parameter log: what is in it already is of an earlier server.
    init(log: String) {
      self.log = log
      var info = stat()
      logStart = stat(log, &info) == 0 ? UInt64(clamping: info.st_size) : 0
    }

    var exit: ChildProcess.Exit? { ended.withLock { $0 } }
    func end(_ exit: ChildProcess.Exit) { ended.withLock { $0 = exit } }

    /// `what` with the last lines that the server wrote.
    func failure(_ what: String) -> PlatformError {
      let lines = lastLines(5)
      return PlatformError(
        .unavailable, what + (lines.isEmpty ? "" : ": " + lines.joined(separator: "; ")), hint: "See \(log).", number: "PLT-1105")
    }

    private func lastLines(_ count: Int) -> [String] {
      guard let file = FileHandle(forReadingAtPath: log) else { return [] }
      defer { try? file.close() }  // nothing was written
      do {
        let end = try file.seekToEnd()
        // A log that became shorter was begun anew.
        let start = end >= logStart ? logStart : 0
        try file.seek(toOffset: max(start, end >= 8192 ? end - 8192 : 0))
        return String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self).split(separator: "\n").suffix(count).map(String.init)
      } catch {
        return ["\(log) cannot be read: \(error.localizedDescription)"]
      }
    }
  }

  /// Above this the log of earlier servers is put aside, as `postgres.log.1`.
  private static let logLimit: Int64 = 16 << 20

  static func launch(_ data: String, bin: String, directory: String, owner: Account?, diesWithParent: Bool) async throws -> Launch {
    let log = directory + "/postgres.log"
    var info = stat()
    if stat(log, &info) == 0 && Int64(info.st_size) > logLimit { _ = rename(log, log + ".1") }
    // The server reads a list here: names in double quotes, parted by commas.
    let socket = "\"" + directory.replacing("\"", with: "\"\"") + "\""
    var command = [
      bin + "/postgres", "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories=\(socket)", "-c",
      "unix_socket_permissions=0700", "-c", "max_connections=60", "-c", "shared_buffers=64MB", "-c", "logging_collector=off",
      "-c", "client_connection_check_interval=1s",
    ]
    command = asUser(owner, command, deathSignal: diesWithParent)
    let launched = Launch(log: log)
    _ = try await ChildProcess.start(
      .init(
        executable: command[0], arguments: Array(command.dropFirst()), environment: environment, directory: "/", outputPath: log,
        errorPath: log, deathSignal: diesWithParent && owner == nil ? SIGINT : 0),
      onExit: { launched.end($0) })
    return launched
  }

  private static let environment = ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"]

  /// The command line under another account. The death signal has to be set after the change of user, which clears it.
  static func asUser(_ owner: Account?, _ command: [String], deathSignal: Bool) -> [String] {
    guard let owner else { return command }
    var wrapped = ["/usr/bin/setpriv", "--reuid=\(owner.uid)", "--regid=\(owner.gid)", "--init-groups"]
    if deathSignal { wrapped += ["--pdeathsig", "INT"] }
    return wrapped + ["--"] + command
  }

  /// Runs a program to its end.
  /// - Returns: how it ended and the last 64 KiB of what it wrote.
  /// - Throws: `timeout` when it does not end in time; it is killed then.
  static func capture(_ command: [String], within bound: Duration) async throws -> (exit: ChildProcess.Exit, output: String) {
    let output = Gathered()
    let (exits, continuation) = AsyncStream<ChildProcess.Exit>.makeStream()
    let child = try await ChildProcess.start(
      .init(executable: command[0], arguments: Array(command.dropFirst()), environment: environment, directory: "/"),
      onOutput: { output.append($0) }, onError: { output.append($0) },
      onExit: {
        continuation.yield($0)
        continuation.finish()
      })
    do {
      let exit = try await withDeadline(bound, "\(command.joined(separator: " ").prefix(200))") {
        for await exit in exits { return exit }
        throw CancellationError()
      }
      return (exit, output.text)
    } catch {
      child.signal(SIGKILL)
      throw error
    }
  }

  private final class Gathered: Sendable {
    private let bytes = Mutex<[UInt8]>([])

    func append(_ piece: UnsafeRawBufferPointer?) {
      guard let piece else { return }
      bytes.withLock { bytes in
        bytes.append(contentsOf: piece)
        if bytes.count > 1 << 16 { bytes.removeFirst(bytes.count - 1 << 16) }
      }
    }

    var text: String { bytes.withLock { String(decoding: $0, as: UTF8.self) } }
  }
}
