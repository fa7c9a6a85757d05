// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation
import Synchronization

/// A program that a test has started, in a process group of its own. Foundation's `Process` hears of an end through a socket that whatever
/// else is started at the same moment may inherit, and then never hears of it; here a thread waits for the process itself.
public final class Program: Sendable {
  public enum Stream: Sendable {
    case nowhere
    /// Written behind what is there.
    case file(String)
    /// Read with `line`; for standard error: where standard output goes.
    case pipe
  }

  /// What a program that has ended said. `status` is its exit status, above 128 for the signal that killed it, and -1 when it was late.
  public struct Output: Sendable {
    public var status: Int32
    public var out: String
    public var err: String
    public var all: String { out + err }
  }

  public let processID: Int32
  private let status = Mutex<Int32?>(nil)
  private let ended = DispatchGroup()
  private let input: Mutex<Int32>
  private let output: Mutex<Int32>
  private let unread = Mutex(Data())

  /// - Parameters:
  ///   - environment: nil: that of the tests.
  ///   - takesInput: whether `write` reaches it; otherwise its standard input is empty.
  public init(
    _ executable: String, _ arguments: [String] = [], environment: [String: String]? = nil, directory: String? = nil, takesInput: Bool = false,
    output: Stream = .nowhere, error: Stream = .nowhere
  ) throws {
    var theirs: [Int32] = []
    var ours: [Int32] = []
    var isStarted = false
    defer { (isStarted ? theirs : theirs + ours).forEach { close($0) } }
    func opened(_ descriptor: Int32, _ what: String) throws -> Int32 {
      guard descriptor >= 0 else { throw PlatformError(.unavailable, "\(what): \(String(cString: strerror(errno)))") }
      theirs.append(descriptor)
      return descriptor
    }
    /// - Returns: the child's end; ours joins `ours`.
    func ends(childReads: Bool) throws -> (child: Int32, own: Int32) {
      var pair: [Int32] = [0, 0]
      guard pipe(&pair) == 0 else { throw PlatformError(.unavailable, "no pipe: \(String(cString: strerror(errno)))") }
      for descriptor in pair { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
      theirs.append(pair[childReads ? 0 : 1])
      ours.append(pair[childReads ? 1 : 0])
      return childReads ? (pair[0], pair[1]) : (pair[1], pair[0])
    }
    func target(_ stream: Stream, joined: Int32? = nil) throws -> (child: Int32, own: Int32) {
      switch stream {
      case .nowhere: (-1, -1)
      case .file(let path): (try opened(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600), path), -1)
      case .pipe: try joined.map { ($0, -1) } ?? ends(childReads: false)
      }
    }
    let stdin = takesInput ? try ends(childReads: true) : (child: -1, own: -1)
    let stdout = try target(output)
    let stderr = try target(error, joined: stdout.child)
    let variables = (environment ?? ProcessInfo.processInfo.environment).map { "\($0.key)=\($0.value)" }
    processID = Self.withCStrings([executable] + arguments) { argv in
      Self.withCStrings(variables) { ps_spawn(argv, $0, directory, stdin.child, stdout.child, stderr.child, 0, UInt32.max, UInt32.max) }
    }
    isStarted = processID > 0
    input = Mutex(isStarted ? stdin.own : -1)
    self.output = Mutex(isStarted ? stdout.own : -1)
    guard isStarted else { throw PlatformError(.unavailable, "cannot start \(executable): \(String(cString: strerror(-processID)))") }
    ended.enter()
    let waiting = Thread { [self] in
      var information = siginfo_t()
      while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
      // Its number is free for others only from here on, and nobody may signal it any more.
      status.withLock {
        var code: Int32 = 0
        waitpid(processID, &code, 0)
        $0 = code & 0x7F == 0 ? (code >> 8) & 0xFF : 128 + (code & 0x7F)
      }
      ended.leave()
    }
    waiting.stackSize = 1 << 19
    waiting.start()
  }

  deinit {
    closeInput()
    output.withLock { if $0 >= 0 { close($0) } }
  }

  public var isRunning: Bool { status.withLock { $0 == nil } }

  public func signal(_ number: Int32) { status.withLock { if $0 == nil { kill(processID, number) } } }

  /// - Returns: its status; nil: it has not ended in time.
  @discardableResult public func wait(atMost seconds: Double = 60) -> Int32? {
    _ = ended.wait(timeout: .now() + seconds)
    return status.withLock { $0 }
  }

  /// Writes all of it to the standard input.
  public func write(_ text: String) throws {
    try input.withLock { descriptor in
      var bytes = Data(text.utf8)
      while !bytes.isEmpty {
        let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard count >= 0 || errno == EINTR else { throw PlatformError(.unavailable, "the program does not read: \(String(cString: strerror(errno)))") }
        bytes.removeFirst(max(count, 0))
      }
    }
  }

  public func closeInput() {
    input.withLock {
      if $0 >= 0 { close($0) }
      $0 = -1
    }
  }

  /// The next line of its standard output, which is a pipe.
  public func line(atMost seconds: Double = 60) throws -> String {
    let deadline = ContinuousClock.now + .milliseconds(Int64(seconds * 1000))
    return try unread.withLock { unread in
      while true {
        if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
          defer { unread.removeSubrange(unread.startIndex...end) }
          return String(decoding: unread[unread.startIndex..<end], as: UTF8.self)
        }
        guard ContinuousClock.now < deadline else { throw PlatformError(.timeout, "no line from the program within \(seconds) s") }
        try output.withLock { descriptor in
          var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
          guard poll(&wanted, 1, 500) > 0 else { return }
          var piece = [UInt8](repeating: 0, count: 65_536)
          let count = read(descriptor, &piece, piece.count)
          guard count != 0 else { throw PlatformError(.unavailable, "the program has ended") }
          unread += piece.prefix(max(count, 0))
        }
      }
    }
  }

  /// Runs a program to its end; one that is late is killed.
  public static func run(
    _ executable: String, _ arguments: [String] = [], environment: [String: String]? = nil, directory: String? = nil, timeout: Double = 120
  ) throws -> Output {
    let files = TemporaryDirectory("cli")
    let program = try Program(
      executable, arguments, environment: environment, directory: directory, output: .file(files.file("out")), error: .file(files.file("err")))
    var status = program.wait(atMost: timeout)
    if status == nil {
      program.signal(SIGKILL)
      program.wait()
      status = -1
    }
    func text(_ name: String) -> String {
      String(decoding: FileManager.default.contents(atPath: files.file(name)) ?? Data(), as: UTF8.self)
    }
    return Output(status: status ?? -1, out: text("out"), err: text("err"))
  }

  private static func withCStrings<T>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> T) -> T {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies.map { $0.map { UnsafePointer<CChar>($0) } } + [nil])
  }
}
