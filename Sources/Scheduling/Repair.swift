// SPDX-License-Identifier: Apache-2.0

import Core

/// Which tasks of a run that has ended run again.
public enum Repair {
  /// All that did not succeed and were not excluded by a decision, and what comes after them.
  public static func failed(_ spec: RunSpec, _ tasks: [TaskRecord]) -> Set<String> {
    let records = Dictionary(tasks.map { ($0.key, $0) }, uniquingKeysWith: { $1 })
    let wrong = spec.tasks.filter { task in
      switch records[task.key]?.state {
      case .succeeded: false
      case .skipped: records[task.key]?.excluded != true
      default: true
      }
    }.map(\.key)
    // What was excluded may be wanted now; what has succeeded although something before it failed has taken care of that.
    let after = dependents(of: Set(wrong), spec).filter { records[$0]?.state != .succeeded }
    return Set(wrong).union(after)
  }

  /// All tasks that come after any of `keys`, directly or not.
  public static func dependents(of keys: Set<String>, _ spec: RunSpec) -> Set<String> {
    var found: Set<String> = []
    var grew = true
    while grew {
      grew = false
      for task in spec.tasks where !found.contains(task.key) && task.dependsOn.contains(where: { keys.contains($0) || found.contains($0) }) {
        found.insert(task.key)
        grew = true
      }
    }
    return found
  }

  /// The record of a task that runs again.
  /// - Parameter iterations: of a loop.
  static func again(_ old: TaskRecord, iterations: [TaskRecord] = [], keepItems: Bool = false) -> TaskRecord {
    var record = TaskRecord(pending: old.key, of: old.run)
    // A task that was repaired and cancelled before it started has no attempt, but those before the repair are its own too.
    record.base = iterations.reduce(max(old.attempt, old.base ?? 0)) { max($0, $1.attempt, $1.base ?? 0) }
    record.repairs = iterations.compactMap(\.repairs).reduce(old.repairs ?? 0, max) + 1
    if keepItems { record.items = old.items }
    return record
  }
}

extension Scheduler {
  /// Takes up a run that has ended. A loop whose items are still right repeats only the iterations that did not succeed.
  mutating func repair(_ old: RunRecord, tasks: [TaskRecord], rerun: [String], number: Int) {
    let id = old.spec.id
    func refuse(_ text: String) { effects.append(.refused(name: id, error: PlatformError(.conflict, text, number: "PLT-4225"))) }
    if let live = runIndex[id] {
      // The same repair, once more.
      guard runs[live].record.repairs ?? 0 < number else { return }
      return refuse("run \(id) has not ended yet")
    }
    guard old.state.isTerminal else { return refuse("run \(id) has not ended yet") }
    guard (old.repairs ?? 0) < number else { return }
    var record = old
    record.state = .pending
    record.finishedAt = nil
    record.startedAt = nil
    record.cancelRequested = false
    record.error = nil
    record.repairs = number
    record.sequence = nextSequence
    nextSequence += 1
    let again = Set(rerun)
    let known = Dictionary(tasks.map { ($0.key, $0) }, uniquingKeysWith: { $1 })
    var resumed: Set<String> = []
    var changed: [TaskRecord] = []
    var made: [Task] = Self.tasks(of: record.spec) { key in
      let found = known[key] ?? TaskRecord(pending: key, of: id)
      guard again.contains(key) || !found.state.isTerminal else { return found }
      let iterations = tasks.filter { $0.key.hasPrefix(key + "[") }
      let spec = record.spec.tasks.first { $0.key == key }
      let inputsStand = found.items != nil && found.state != .succeeded && !(spec?.dependsOn.contains(where: again.contains) ?? false)
      if inputsStand { resumed.insert(key) }
      let fresh = Repair.again(found, iterations: iterations, keepItems: inputsStand)
      changed.append(fresh)
      return fresh
    }
    runs.append(Run(record: record, tasks: made))
    let run = runs.count - 1
    runIndex[id] = run
    for task in made.indices where made[task].record.items != nil {
      let isResumed = resumed.contains(made[task].record.key)
      addIterations(run, task) { key, id in
        let found = known[key] ?? TaskRecord(pending: key, of: id)
        guard isResumed, found.state != .succeeded else { return found }
        let fresh = Repair.again(found)
        changed.append(fresh)
        return fresh
      }
    }
    made = []
    changes["run:\(id)"] = .run(record)
    for task in changed { changes["task:\(id)/\(task.key)"] = .task(task) }
    effects.append(.runStateChanged(run: id, state: .pending, error: nil))
  }
}
