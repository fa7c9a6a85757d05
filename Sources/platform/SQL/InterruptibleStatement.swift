// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Glibc
import Synchronization

/// Ctrl-C ends the statement that runs, not the program.
enum InterruptibleStatement {
  /// Runs a statement; after a second a line on the terminal says how far it is.
  /// - Throws: what the statement fails with; `cancelled` after Ctrl-C.
  static func run(_ client: PlatformClient, _ request: StatementRequest) async throws -> StatementResponse {
    let line = ProgressLine()
    defer { line.clear() }
    return try await interruptible { try await client.run(request) { line.percent = $0 } }
  }

  /// - Throws: `CancellationError` after Ctrl-C.
  static func pause(_ seconds: Double) async throws { try await interruptible { try await Task.sleep(for: .seconds(seconds)) } }

  private static func interruptible<T: Sendable>(_ body: @escaping @Sendable () async throws -> T) async throws -> T {
    let task = Task { try await body() }
    Interrupts.shared.handle { task.cancel() }
    defer { Interrupts.shared.forget() }
    return try await task.value
  }
}

/// `running 12 s  45 %` on the terminal's last line.
private final class ProgressLine: @unchecked Sendable {  // protected by `lock`
  private let lock = NSLock()
  private let started = Date()
  private let timer: (any DispatchSourceTimer)?
  private var shown = false
  private var isOver = false
  private var share: Int?

  init() {
    guard isatty(STDERR_FILENO) == 1, ProcessInfo.processInfo.environment["CI"] == nil else {
      timer = nil
      return
    }
    let timer = DispatchSource.makeTimerSource()
    self.timer = timer
    timer.schedule(deadline: .now() + 1, repeating: .milliseconds(200))
    timer.setEventHandler { [weak self] in self?.draw() }
    timer.resume()
  }

  var percent: Int? {
    get { lock.withLock { share } }
    set { lock.withLock { share = newValue } }
  }

  private func draw() {
    lock.withLock {
      guard !isOver else { return }
      shown = true
      let part = share.map { "  \($0) %" } ?? ""
      StandardStreams.error("\r\u{1B}[Krunning \(Report.duration(Date().timeIntervalSince(started)))\(part)   Ctrl-C cancels")
    }
  }

  func clear() {
    timer?.cancel()
    lock.withLock {
      isOver = true
      if shown { StandardStreams.error("\r\u{1B}[K") }
    }
  }
}

/// Long output, a screen at a time.
enum Pager {
  static func isWanted(_ text: String) -> Bool {
    var size = winsize()
    guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 2 else { return false }
    return text.utf8.reduce(0) { $0 + ($1 == 10 ? 1 : 0) } >= Int(size.ws_row) - 1
  }

  /// Blocks until the pager ends. Without one the text is printed.
  static func show(_ text: String) {
    let command = ProcessInfo.processInfo.environment["PAGER"].flatMap { $0.isEmpty ? nil : $0 } ?? "less -SFRX"
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", command]
    let pipe = Pipe()
    process.standardInput = pipe
    Interrupts.shared.handle {}  // the pager's
    defer { Interrupts.shared.forget() }
    do {
      try process.run()
      try? pipe.fileHandleForWriting.write(contentsOf: Data(text.utf8))  // the pager was left early
      try? pipe.fileHandleForWriting.close()  // the same
      process.waitUntilExit()
      if process.terminationStatus == 127 { StandardStreams.out(text) }
    } catch { StandardStreams.out(text) }
  }
}

/// The person's own editor.
enum Editor {
  /// - Returns: the text after editing.
  static func edit(_ text: String) throws -> String {
    let path = NSTemporaryDirectory() + "platform-\(UUID().uuidString).sql"
    guard FileManager.default.createFile(atPath: path, contents: Data(text.utf8), attributes: [.posixPermissions: 0o600]) else {
      throw PlatformError(.badConfiguration, "cannot write a temporary file", path: path)
    }
    defer { unlink(path) }
    let environment = ProcessInfo.processInfo.environment
    let editor = environment["VISUAL"] ?? environment["EDITOR"] ?? "vi"
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "\(editor) \"$1\"", "sh", path]
    try process.run()
    process.waitUntilExit()
    guard process.terminationStatus == 0, let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.cancelled, "the editor ended without a statement")
    }
    return String(decoding: data, as: UTF8.self)
  }
}
