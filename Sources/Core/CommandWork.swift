// SPDX-License-Identifier: Apache-2.0

/// A person's program as the coordinator hands it to an executor: work of the kind `command`.
public struct CommandWork: Codable, Sendable, Equatable {
  public static let kind = "command"

  public enum Program: Codable, Sendable, Equatable {
    /// A line for `/bin/sh`.
    case shell(String)
    /// A program, found by the worker's `PATH`, with its first arguments.
    case words([String])
    /// A Python program: the name of its file and its text.
    case python(name: String, text: String)
  }

  public var program: Program
  /// Further arguments.
  public var parameters: [String]
  public var environment: [String: String]
  /// What earlier tasks of the run have produced, by task.
  public var inputs: JSONValue
  public var run: String
  public var task: String
  public var taskAttempt: Int
  /// Nil in work that was stored before there were limits.
  public var limits: CommandLimits?

  public init(
    program: Program, parameters: [String], environment: [String: String], inputs: JSONValue, run: String, task: String, taskAttempt: Int,
    limits: CommandLimits? = nil
  ) {
    self.program = program
    self.parameters = parameters
    self.environment = environment
    self.inputs = inputs
    self.run = run
    self.task = task
    self.taskAttempt = taskAttempt
    self.limits = limits
  }
}

/// What a person's program may use, with all that it starts; nil: what the worker allows to everyone.
public struct CommandLimits: Codable, Sendable, Equatable {
  public var memoryBytes: Int64?
  /// Processes at the same time.
  public var processes: Int?
  /// In its own folder.
  public var diskBytes: Int64?

  public init(memoryBytes: Int64? = nil, processes: Int? = nil, diskBytes: Int64? = nil) {
    self.memoryBytes = memoryBytes
    self.processes = processes
    self.diskBytes = diskBytes
  }
}

/// How a person's program ended.
public struct CommandResult: Codable, Sendable, Equatable {
  /// Of the program; nil when a signal ended it.
  public var exitCode: Int?
  /// That ended it.
  public var signal: Int?
  /// Why the worker ended it, when it used more than it may.
  public var excess: String?
  /// What it handed on, or why that cannot be read.
  public var values: [String: JSONValue]
  public var valuesProblem: String?
  /// Bytes that it wrote, and whether some of them are not in the log.
  public var outputBytes: Int64
  public var isTruncated: Bool
  /// The last lines of its output.
  public var tail: String

  public init(
    exitCode: Int?, signal: Int?, excess: String? = nil, values: [String: JSONValue], valuesProblem: String?, outputBytes: Int64,
    isTruncated: Bool, tail: String
  ) {
    self.exitCode = exitCode
    self.signal = signal
    self.excess = excess
    self.values = values
    self.valuesProblem = valuesProblem
    self.outputBytes = outputBytes
    self.isTruncated = isTruncated
    self.tail = tail
  }
}
