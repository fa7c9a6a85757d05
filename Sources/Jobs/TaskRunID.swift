// SPDX-License-Identifier: Apache-2.0

/// The number of a task of a run, as Databricks' clients know it: run, task and iteration in one number that JSON carries exactly.
///
/// Runs are numbered below 2^29; bit 52 tells the numbers of tasks from those of runs.
public struct TaskRunID: Equatable, Sendable {
  public var run: Int64
  /// Position of the task in its run, from 0.
  public var task: Int
  /// Of an iteration: its position.
  public var iteration: Int?

  private static let mark: Int64 = 1 << 52

  public init(run: Int64, task: Int, iteration: Int? = nil) {
    self.run = run
    self.task = task
    self.iteration = iteration
  }

  /// Nil for the number of a run.
  public init?(_ number: Int64) {
    guard number >= Self.mark, number < Self.mark << 1 else { return nil }
    let rest = number - Self.mark
    run = rest >> 23
    task = Int(rest >> 13 & 0x3FF)
    let low = Int(rest & 0x1FFF)
    iteration = low == 0 ? nil : low - 1
  }

  public var number: Int64 { Self.mark + run << 23 + Int64(task) << 13 + Int64((iteration ?? -1) + 1) }
}
