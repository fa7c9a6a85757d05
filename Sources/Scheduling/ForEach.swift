// SPDX-License-Identifier: Apache-2.0

public import Core

/// Runs a task once for each item, some at a time. Iteration n of task `k` is the task `k[n]`, with stages, retries and a
/// time limit of its own; `{{input}}` in its body is the item. The value `results` of the task is the list of its
/// iterations' values; it fails when one of them failed for good, after all have ended.
public struct ForEach: Codable, Sendable, Equatable {
  /// A list, or a text that refers to one: `{{tasks.<key>.values.<name>}}`.
  public var inputs: JSONValue
  /// Iterations at once.
  public var concurrency: Int
  /// Iterations of one task at most: each is a record of its own.
  public static let limit = 5_000

  public init(inputs: JSONValue, concurrency: Int = 1) {
    self.inputs = inputs
    self.concurrency = concurrency
  }

  func items(_ scope: TemplateScope) throws -> [JSONValue] {
    let filled = try Template.fill(inputs, look: scope.look)
    var items = filled.arrayValue
    // A list that was handed on as text.
    if items == nil, let text = filled.stringValue { items = try? JSONValue(parsing: text).arrayValue }
    guard let items else { throw PlatformError(.invalidArgument, "the inputs of the loop are not a list") }
    guard items.count <= Self.limit else {
      throw PlatformError(.invalidArgument, "a loop over \(items.count) items is too long; the limit is \(Self.limit)")
    }
    return items
  }
}

extension Scheduler {
  /// Starts the iterations of a loop, or ends it when it has none.
  mutating func startLoop(_ run: Int, _ task: Int, _ loop: ForEach) {
    if runs[run].tasks[task].record.items != nil {
      // A repair: the items are those that there were, and some of their iterations have succeeded.
      return changeTask(run, task) { [now] in
        $0.attempt = ($0.base ?? 0) + 1
        $0.startedAt = now
        $0.state = .running
      }
    }
    let items: [JSONValue]
    do {
      items = try loop.items(scope(run, task))
    } catch {
      return finish(run, task, .failed, error: PlatformError.from(error))
    }
    changeTask(run, task) { [now] in
      $0.attempt = ($0.base ?? 0) + 1
      $0.startedAt = now
      $0.state = .running
      $0.items = items
      $0.unitCount = 0
    }
    let repaired = runs[run].tasks[task].record
    addIterations(run, task) {
      var record = TaskRecord(pending: $0, of: $1)
      (record.base, record.repairs) = (repaired.base, repaired.repairs)
      return record
    }
    for child in runs[run].tasks.indices where runs[run].tasks[child].loop == task {
      let record = runs[run].tasks[child].record
      changes["task:\(record.run)/\(record.key)"] = .task(record)
    }
  }

  /// The iterations as tasks at the end of the run's list; they are made again from the task's items after a restart.
  mutating func addIterations(_ run: Int, _ task: Int, record: (String, String) -> TaskRecord) {
    let parent = runs[run].tasks[task]
    for (number, item) in (parent.record.items ?? []).enumerated() {
      var spec = parent.spec
      spec.key = "\(parent.spec.key)[\(number)]"
      spec.dependsOn = []
      spec.forEach = nil
      spec.runIf = nil
      spec.outcomes = nil
      spec.disabled = nil
      spec.body = Template.iteration(parent.spec.body, input: item)
      var child = Task(record: record(spec.key, parent.record.run), spec: spec, upstream: [])
      child.loop = task
      runs[run].tasks.append(child)
    }
  }

  /// Starts what may start and ends the loop when all iterations have ended. Returns whether something changed.
  mutating func progressLoop(_ run: Int, _ task: Int) -> Bool {
    guard let loop = runs[run].tasks[task].spec.forEach else { return false }
    var active = 0
    var open: [Int] = []
    var failed: Int?
    for child in runs[run].tasks.indices where runs[run].tasks[child].loop == task {
      switch runs[run].tasks[child].record.state {
      case .pending: open.append(child)
      case .failed: failed = failed ?? child
      case .succeeded, .cancelled, .skipped: break
      case .planning, .running, .committing, .retrying: active += 1
      }
    }
    guard active > 0 || !open.isEmpty else {
      let children = runs[run].tasks.filter { $0.loop == task }
      if let failed {
        finish(run, task, .failed, error: runs[run].tasks[failed].record.error)
      } else if children.contains(where: { $0.record.state != .succeeded }) {
        finish(run, task, .cancelled, error: nil)
      } else {
        changeTask(run, task) { $0.values = ["results": .array(children.map(\.record.values))] }
        finish(run, task, .succeeded, error: nil)
      }
      return true
    }
    let starting = open.prefix(max(0, max(1, loop.concurrency) - active))
    for child in starting { startAttempt(run, child, attempt: (runs[run].tasks[child].record.base ?? 0) + 1) }
    return !starting.isEmpty
  }
}
