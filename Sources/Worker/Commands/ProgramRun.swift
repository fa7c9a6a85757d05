// SPDX-License-Identifier: Apache-2.0

import CSupport
import Core
import Foundation
import Glibc
import Synchronization

/// One process of a person's, started by an executor and watched until it ends: its output becomes log lines, it is ended when the attempt is
/// or when it uses more than it may, and everything that it has started ends with it.
enum ProgramRun {
  struct Outcome {
    var exit: ChildProcess.Exit
    /// Why it was ended, when it used too much.
    var excess: String?
    var output: CommandOutput
  }

  /// What loses its parent becomes this process's child from now on, and is found when the attempt ends.
  static func adoptChildren() {
    _ = ps_set_child_subreaper()  // an old kernel: only what stays in the group is found
  }

  /// - Parameters:
  ///   - folder: what counts as the program's own disk space.
  ///   - logs: whether its lines become the attempt's.
  /// - Throws: `invalidArgument` PLT-4208 when it cannot be started, `CancellationError` when the attempt was.
  static func run(
    _ configuration: ChildProcess.Configuration, limits: CommandLimits, folder: String, context: ExecutorContext, logs: Bool = true,
    redaction: Redaction = Redaction([])
  ) throws -> Outcome {
    let output = Mutex(CommandOutput())
    let ended = Ended()
    let take: @Sendable (UnsafeRawBufferPointer?) -> Void = { bytes in
      guard let bytes else { return }
      for line in output.withLock({ $0.feed(bytes) }) where logs { context.log(redaction.text(line)) }
    }
    let watch = ProgramWatch(limits, folder: folder)
    watch.boundChildren(of: configuration.account?.user ?? geteuid())
    let group = group(context)
    defer { group?.end() }
    let child = try start(in: group, watch.limits, context) {
      try BlockingPool.wait(atMost: .seconds(30), for: "the start of the program") { () async throws -> ChildProcess in
        do {
          return try await ChildProcess.start(configuration, onOutput: take) { ended.finish($0) }
        } catch let error as PlatformError {
          // Another attempt on the same machine would not find it either.
          throw PlatformError(.invalidArgument, error.message, hint: "Check that the program is installed on every worker.", number: "PLT-4208")
        }
      }
    }
    ProgramWatch.offer(child.processID)
    var (exit, excess) = ended.wait(child, watch, group, context: context)
    ProcessTree.killDescendants(of: getpid(), reaps: true)
    if excess == nil, group?.isOutOfMemory == true {
      excess = watch.limits.outOfMemory
      context.log("platform: the program was ended: \(watch.limits.outOfMemory)")
    }
    try context.checkCancelled()
    for line in output.withLock({ $0.finish() }) where logs { context.log(redaction.text(line)) }
    return Outcome(exit: exit, excess: excess, output: output.withLock { $0 })
  }

  /// A control group for the program, where the worker may make some. Without one it is watched all the same.
  private static func group(_ context: ExecutorContext) -> ProgramGroup? {
    guard let place = ProgramGroup.place else { return nil }
    do { return try ProgramGroup(in: place) } catch {
      context.log("platform: the program has no control group: \(PlatformError.from(error).message)")
      return nil
    }
  }

  private static func start(
    in group: ProgramGroup?, _ limits: ProgramLimits, _ context: ExecutorContext, _ body: () throws -> ChildProcess
  ) throws -> ChildProcess {
    guard let group else { return try body() }
    let child = try group.start(body)
    do { try group.limit(limits) } catch {
      context.log("platform: the program's control group limits nothing: \(PlatformError.from(error).message)")
    }
    return child
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
    func wait(_ child: ChildProcess, _ limits: ProgramWatch, _ group: ProgramGroup?, context: ExecutorContext) -> (ChildProcess.Exit, excess: String?) {
      context.onStop { [changed] _ in changed.signal() }
      var watch = limits
      var excess: String?
      var asked: Date?
      while true {
        if let exit = exit.withLock({ $0 }) { return (exit, excess) }
        if context.isCancelled {
          if let asked, Date().timeIntervalSince(asked) > CommandExecutor.graceSeconds {
            child.signal(SIGKILL)
            group?.kill()
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
          group?.kill()
          ProcessTree.killDescendants(of: getpid())
        } else {
          _ = changed.wait(timeout: .now() + watch.wait)
        }
      }
    }
  }
}
