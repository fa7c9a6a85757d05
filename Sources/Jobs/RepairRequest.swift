// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling

/// Which tasks a request for a repair names.
public struct RepairRequest: Sendable, Equatable {
  public var tasks: [String]
  public var allFailed: Bool
  public var dependents: Bool

  /// - Throws: `invalidArgument` PLT-4213 for other shapes than `rerun_tasks`, `rerun_all_failed_tasks`, `rerun_dependent_tasks`.
  public init(_ request: JSONValue) throws(PlatformError) {
    func bad(_ text: String) -> PlatformError { PlatformError(.invalidArgument, text, number: "PLT-4213") }
    func flag(_ name: String) throws(PlatformError) -> Bool {
      guard let value = request[name], value != .null else { return false }
      guard let flag = value.boolValue else { throw bad("\(name) must be true or false") }
      return flag
    }
    tasks = []
    if let value = request["rerun_tasks"], value != .null {
      guard let items = value.arrayValue, items.allSatisfy({ $0.stringValue != nil }) else { throw bad("rerun_tasks must be a list of task keys") }
      tasks = items.compactMap(\.stringValue)
    }
    allFailed = try flag("rerun_all_failed_tasks")
    dependents = try flag("rerun_dependent_tasks")
    if !tasks.isEmpty, allFailed {
      throw bad("rerun_tasks and rerun_all_failed_tasks exclude each other")
    }
    if tasks.isEmpty, !allFailed {
      throw PlatformError(
        .invalidArgument, "the request names no tasks to run again", hint: "Give rerun_tasks, or rerun_all_failed_tasks: true.", number: "PLT-4213")
    }
  }

  /// Keys of the tasks that run again.
  /// - Throws: `invalidArgument` PLT-4213 for an unknown task, or when nothing would run.
  public func tasks(of spec: RunSpec, _ records: [TaskRecord]) throws(PlatformError) -> [String] {
    let known = spec.tasks.map(\.key)
    for task in tasks where !known.contains(task) {
      let close = Spelling.suggestion(for: task, among: known.sorted())
      throw PlatformError(
        .invalidArgument, "the run has no task '\(task.prefix(100))'",
        hint: close.map { "Did you mean '\($0)'?" } ?? "Tasks: \(known.joined(separator: ", ")).", number: "PLT-4213")
    }
    var chosen = allFailed ? Repair.failed(spec, records) : Set(tasks)
    if dependents { chosen.formUnion(Repair.dependents(of: chosen, spec)) }
    guard !chosen.isEmpty else {
      throw PlatformError(.invalidArgument, "no task of the run has failed", hint: "Name tasks with rerun_tasks.", number: "PLT-4213")
    }
    return known.filter(chosen.contains)
  }
}
