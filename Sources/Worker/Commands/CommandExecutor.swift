// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation
import Glibc
import Synchronization

/// Runs a person's program in a folder of its own: without the platform's variables, as another user where the worker is root, with
/// its output in the attempt's log. When the attempt ends, everything that the program has started ends too.
enum CommandExecutor {
  /// After it was asked to end, until it is ended with all that it has started. The worker ends an executor after three.
  static let graceSeconds = 1.0

  static func run(_ work: CommandWork, unit: UnitName, context: ExecutorContext) throws -> CommandResult {
    // What loses its parent becomes our child, and is found when the attempt ends.
    _ = ps_set_child_subreaper()  // an old kernel: only what stays in the group is found
    let owner = FileManager.default.currentDirectoryPath
    let folder = try CommandFolder(account: try CommandFolder.account())
    defer { folder.remove() }
    let (executable, arguments) = try program(work, folder)
    let inputs = try folder.write("inputs.json", Data(work.inputs.sortedText.utf8), mode: 0o400)
    let values = try folder.write("values", Data())
    try folder.write("modules/taskvalues.py", Data(TaskValues.pythonModule.utf8), mode: 0o444)
    try folder.handOver()

    var environment = work.environment
    let own = [
      "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin", "HOME": folder.home, "TMPDIR": folder.home + "/tmp",
      "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
    ]
    environment.merge(own) { given, _ in given }
    environment["PYTHONPATH"] = ([folder.path + "/modules"] + [work.environment["PYTHONPATH"]].compactMap { $0 }).joined(separator: ":")
    environment["PLATFORM_TASK_VALUES"] = values
    environment["PLATFORM_TASK_INPUTS"] = inputs
    environment["PLATFORM_RUN_ID"] = work.run
    environment["PLATFORM_TASK_KEY"] = work.task
    environment["PLATFORM_TASK_ATTEMPT"] = String(work.taskAttempt)
    environment[ProcessTree.ownerVariable] = owner
    environment[ProcessTree.unitVariable] = unit.text

    let output = Mutex(CommandOutput())
    let ended = Ended()
    let take: @Sendable (UnsafeRawBufferPointer?) -> Void = { bytes in
      guard let bytes else { return }
      for line in output.withLock({ $0.feed(bytes) }) { context.log(line) }
    }
    let configuration = ChildProcess.Configuration(
      executable: executable, arguments: arguments, environment: environment, directory: folder.home, joinsError: true, deathSignal: SIGKILL,
      account: folder.owner)
    let watch = ProgramWatch(work.limits ?? CommandLimits(), folder: folder.path)
    watch.boundChildren(of: folder.owner?.user ?? geteuid())
    let child = try BlockingPool.wait(atMost: .seconds(30), for: "the start of the program") { () async throws -> ChildProcess in
      do {
        return try await ChildProcess.start(configuration, onOutput: take) { ended.finish($0) }
      } catch let error as PlatformError {
        // Another attempt on the same machine would not find it either.
        throw PlatformError(.invalidArgument, error.message, hint: "Check that the program is installed on every worker.", number: "PLT-4208")
      }
    }
    ProgramWatch.offer(child.processID)
    let (exit, excess) = ended.wait(child, watch, context: context)
    ProcessTree.killDescendants(of: getpid(), reaps: true)
    try context.checkCancelled()
    for line in output.withLock({ $0.finish() }) { context.log(line) }
    return result(exit, excess, output.withLock { $0 }, values: values)
  }

  private static func result(_ exit: ChildProcess.Exit, _ excess: String?, _ output: CommandOutput, values path: String) -> CommandResult {
    var result = CommandResult(
      exitCode: nil, signal: nil, excess: excess, values: [:], valuesProblem: nil, outputBytes: output.bytes, isTruncated: output.leftOut > 0,
      tail: String(output.lastLines.suffix(4_000)))
    switch exit {
    case .status(let code): result.exitCode = Int(code)
    case .signal(let number): result.signal = Int(number)
    }
    do {
      result.values = try TaskValues.parse(CommandFolder.read(path, limit: TaskValues.fileLimit + 1))
    } catch {
      result.valuesProblem = PlatformError.from(error).message
    }
    return result
  }

  private static func program(_ work: CommandWork, _ folder: CommandFolder) throws -> (String, [String]) {
    switch work.program {
    case .shell(let line): return ("/bin/sh", ["-c", line, "sh"] + work.parameters)
    case .words(let words):
      guard let first = words.first, !first.isEmpty else { throw PlatformError(.invalidArgument, "the command is empty", number: "PLT-4208") }
      return (try find(first, folder.owner), Array(words.dropFirst()) + work.parameters)
    case .python(let name, let text):
      // Only the last part of the name is used, and only when it is an ordinary one.
      let plain = name.utf8.allSatisfy { (48...57).contains($0) || (65...90).contains($0) || (97...122).contains($0) || "._-".utf8.contains($0) }
      let file = try folder.write("home/" + (plain && name.hasSuffix(".py") && !name.hasPrefix(".") ? name : "main.py"), Data(text.utf8))
      return (try find("python3", folder.owner), [file] + work.parameters)
    }
  }

  /// - Throws: `invalidArgument` PLT-4208 when no folder of `PATH` has it.
  private static func find(_ name: String, _ account: ChildProcess.Account?) throws -> String {
    if name.contains("/") { return name }
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":")
    for folder in folders {
      let path = "\(folder)/\(name)"
      if access(path, X_OK) == 0, account == nil || isOpenToAll(path) { return path }
    }
    throw PlatformError(
      .invalidArgument, "this worker has no program '\(name.prefix(200))'", hint: "Install it on every worker, or give its full path.", number: "PLT-4208")
  }

  /// Whether users without rights of their own can run it: the folders of `PATH` may be the worker's alone.
  private static func isOpenToAll(_ path: String) -> Bool {
    guard let real = realpath(path, nil) else { return false }
    defer { free(real) }
    return [path, String(cString: real)].allSatisfy { file in
      var part = ""
      return file.split(separator: "/").allSatisfy { component in
        part += "/\(component)"
        var info = stat()
        return stat(part, &info) == 0 && info.st_mode & S_IXOTH != 0
      }
    }
  }

  /// Waits for the program's end, and ends it when the attempt is cancelled or it uses more than it may.
  private final class Ended: Sendable {
    private let exit = Mutex<ChildProcess.Exit?>(nil)
    private let changed = DispatchSemaphore(value: 0)

    func finish(_ how: ChildProcess.Exit) {
      exit.withLock { $0 = how }
      changed.signal()
    }

    /// - Returns: how it ended, and why it was ended when it used too much.
    func wait(_ child: ChildProcess, _ limits: ProgramWatch, context: ExecutorContext) -> (ChildProcess.Exit, excess: String?) {
      context.onStop { [changed] _ in changed.signal() }
      var watch = limits
      var excess: String?
      var asked: Date?
      while true {
        if let exit = exit.withLock({ $0 }) { return (exit, excess) }
        if context.isCancelled {
          if let asked, Date().timeIntervalSince(asked) > CommandExecutor.graceSeconds {
            child.signal(SIGKILL)
            ProcessTree.killDescendants(of: getpid())
          } else if asked == nil {
            asked = Date()
            child.signal(SIGTERM)
          }
          _ = changed.wait(timeout: .now() + .milliseconds(100))
        } else if excess != nil {
          _ = changed.wait(timeout: .now() + .seconds(1))
        } else if let found = watch.excess(below: getpid()) {
          excess = found
          context.log("platform: the program is ended: \(found)")
          ProcessTree.killDescendants(of: getpid())
        } else {
          _ = changed.wait(timeout: .now() + watch.wait)
        }
      }
    }
  }
}
