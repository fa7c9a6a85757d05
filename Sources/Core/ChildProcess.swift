// SPDX-License-Identifier: Apache-2.0

import CSupport
public import Foundation
import Glibc
import Synchronization

/// A child process in its own process group, with pipes for its three streams, ended when this process ends.
///
/// All children are started from one thread that lives as long as the process, because Linux sends the parent-death
/// signal when the *thread* that forked ends.
public final class ChildProcess: Sendable {
  /// How it ended: an exit status, or the signal that killed it.
  public enum Exit: Sendable, Equatable, CustomStringConvertible {
    case status(Int32)
    case signal(Int32)

    public var description: String {
      switch self {
      case .status(let code): "exit status \(code)"
      case .signal(let number): "signal \(number)"
      }
    }
  }

  /// Whom a child runs as.
  public struct Account: Sendable, Equatable {
    public var user: UInt32
    public var group: UInt32
    public init(user: UInt32, group: UInt32) {
      self.user = user
      self.group = group
    }
  }

  public struct Configuration: Sendable {
    public var executable: String
    public var arguments: [String]
    public var environment: [String: String]
    public var directory: String?
    /// Where standard output and error go; nil makes a pipe.
    public var outputPath: String?
    public var errorPath: String?
    /// Whether standard error goes where standard output goes, both in the order in which they were written.
    public var joinsError: Bool
    /// Signal that the child gets when this process dies; 0: none, it outlives us.
    public var deathSignal: Int32
    /// Whether the child may be written to; otherwise its standard input is /dev/null.
    public var wantsInput: Bool
    /// Nil: as this process.
    public var account: Account?

    public init(
      executable: String, arguments: [String] = [], environment: [String: String] = ProcessInfo.processInfo.environment,
      directory: String? = nil, outputPath: String? = nil, errorPath: String? = nil, joinsError: Bool = false,
      deathSignal: Int32 = SIGKILL, wantsInput: Bool = false, account: Account? = nil
    ) {
      self.account = account
      self.executable = executable
      self.arguments = arguments
      self.environment = environment
      self.directory = directory
      self.outputPath = outputPath
      self.errorPath = errorPath
      self.joinsError = joinsError
      self.deathSignal = deathSignal
      self.wantsInput = wantsInput
    }
  }

  private static let spawner = BlockingPool(name: "spawn", threads: 1)

  public let processID: Int32
  private let input: Mutex<Int32>
  private let output: Int32
  private let error: Int32

  private init(processID: Int32, input: Int32, output: Int32, error: Int32) {
    self.processID = processID
    self.input = Mutex(input)
    self.output = output
    self.error = error
  }

  deinit {
    input.withLock { if $0 >= 0 { close($0) } }
  }

  /// Starts the child.
  /// - Parameters:
  ///   - onOutput, onError: called on a thread of the child's own with each piece read, and with nil at the end.
  ///     Never called for a stream that goes to a file, and `onError` not where the streams are joined.
  ///   - onExit: called once, after both streams ended.
  /// - Throws: `unavailable` with the reason when the program cannot be started.
  public static func start(
    _ configuration: Configuration,
    onOutput: @escaping @Sendable (UnsafeRawBufferPointer?) -> Void = { _ in },
    onError: @escaping @Sendable (UnsafeRawBufferPointer?) -> Void = { _ in },
    onExit: @escaping @Sendable (Exit) -> Void
  ) async throws -> ChildProcess {
    try await spawner.run {
      try spawn(configuration, onOutput: onOutput, onError: onError, onExit: onExit)
    }
  }

  private static func spawn(
    _ configuration: Configuration, onOutput: @escaping @Sendable (UnsafeRawBufferPointer?) -> Void,
    onError: @escaping @Sendable (UnsafeRawBufferPointer?) -> Void, onExit: @escaping @Sendable (Exit) -> Void
  ) throws -> ChildProcess {
    var opened: [Int32] = []
    func fail(_ text: String) -> PlatformError {
      for descriptor in opened { close(descriptor) }
      return PlatformError(.unavailable, "cannot start \(configuration.executable): \(text)")
    }
    func makePipe() throws -> (read: Int32, write: Int32) {
      var ends: [Int32] = [0, 0]
      guard pipe(&ends) == 0 else { throw fail(String(cString: strerror(errno))) }
      opened += ends
      for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
      return (ends[0], ends[1])
    }
    func openFile(_ path: String) throws -> Int32 {
      let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
      guard descriptor >= 0 else { throw fail("\(path): \(String(cString: strerror(errno)))") }
      opened.append(descriptor)
      return descriptor
    }
    let inPipe = configuration.wantsInput ? try makePipe() : nil
    let outPipe = configuration.outputPath == nil ? try makePipe() : nil
    let errorPipe = configuration.errorPath == nil && !configuration.joinsError ? try makePipe() : nil
    let outFile = try configuration.outputPath.map(openFile)
    let errorFile = configuration.joinsError ? nil : try configuration.errorPath.map(openFile)
    let outTarget = outPipe?.write ?? outFile ?? -1

    let arguments = [configuration.executable] + configuration.arguments
    let environment = configuration.environment.map { "\($0.key)=\($0.value)" }
    let pid = withCStrings(arguments) { argv in
      withCStrings(environment) { envp in
        ps_spawn(
          argv, envp, configuration.directory, inPipe?.read ?? -1, outTarget,
          configuration.joinsError ? outTarget : errorPipe?.write ?? errorFile ?? -1, configuration.deathSignal, configuration.account?.user ?? UInt32.max,
          configuration.account?.group ?? UInt32.max)
      }
    }
    guard pid > 0 else { throw fail(String(cString: strerror(-pid))) }
    for descriptor in [inPipe?.read, outPipe?.write, errorPipe?.write, outFile, errorFile].compactMap({ $0 }) { close(descriptor) }
    let child = ChildProcess(
      processID: pid, input: inPipe?.write ?? -1, output: outPipe?.read ?? -1, error: errorPipe?.read ?? -1)
    let group = DispatchGroup()
    for (descriptor, handler, label) in [(child.output, onOutput, "out"), (child.error, onError, "err")] where descriptor >= 0 {
      group.enter()
      startThread("\(label)-\(pid)") {
        readAll(descriptor, handler)
        close(descriptor)
        group.leave()
      }
    }
    startThread("wait-\(pid)") {
      var status: Int32 = 0
      while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
      // A grandchild may hold the pipes open for ever: what the child itself wrote is there within a moment.
      _ = group.wait(timeout: .now() + 2)
      let signalNumber = status & 0x7F
      onExit(signalNumber == 0 ? .status((status >> 8) & 0xFF) : .signal(signalNumber))
    }
    return child
  }

  /// Writes `line` and a newline to the child's standard input. Returns false when the child has gone.
  @discardableResult
  public func writeLine(_ line: Data) -> Bool { write(line + [UInt8(ascii: "\n")]) }

  /// Writes all of `data` to the child's standard input, whole messages one after the other. Blocks while the pipe is full.
  /// Returns false when the child has gone.
  @discardableResult
  public func write(_ data: Data) -> Bool {
    input.withLock { descriptor in
      guard descriptor >= 0 else { return false }
      return data.withUnsafeBytes { bytes in
        var sent = 0
        while sent < bytes.count {
          let count = Glibc.write(descriptor, bytes.baseAddress! + sent, bytes.count - sent)
          if count < 0 {
            if errno == EINTR { continue }
            return false
          }
          sent += count
        }
        return true
      }
    }
  }

  public func closeInput() {
    input.withLock {
      if $0 >= 0 { close($0) }
      $0 = -1
    }
  }

  /// Lets this process and others come before the child's whole group wherever processors are short: a busy machine still answers and sends its heartbeats.
  public func yieldProcessors() {
    guard getpriority(__priority_which_t(PRIO_PGRP.rawValue), id_t(processID)) < 5 else { return }
    _ = setpriority(__priority_which_t(PRIO_PGRP.rawValue), id_t(processID), 5)  // a child that has gone needs none
  }

  /// Sends a signal to the child's whole process group.
  public func signal(_ number: Int32) { kill(-processID, number) }

  private static func readAll(_ descriptor: Int32, _ handler: (UnsafeRawBufferPointer?) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 16) { buffer in
      while true {
        let count = read(descriptor, buffer.baseAddress, buffer.count)
        if count > 0 { handler(UnsafeRawBufferPointer(start: buffer.baseAddress, count: count)) }
        if count == 0 || (count < 0 && errno != EINTR) { break }
      }
    }
    handler(nil)
  }

  private static func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    let thread = Thread {
      ps_set_thread_name(name)
      body()
    }
    thread.stackSize = 1 << 20
    thread.start()
  }
}

/// Calls `body` with a NULL-terminated array of C strings.
private func withCStrings<T>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> T) -> T {
  let copies = strings.map { strdup($0) }
  defer { copies.forEach { free($0) } }
  var pointers = copies.map { $0.map { UnsafePointer<CChar>($0) } }
  pointers.append(nil)
  return body(pointers)
}
