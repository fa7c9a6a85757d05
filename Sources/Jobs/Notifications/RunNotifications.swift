// SPDX-License-Identifier: Apache-2.0

public import Core
public import Scheduling

/// One thing to tell one receiver.
public struct Notice: Codable, Sendable, Equatable {
  public var runID: String
  /// Empty for the run itself.
  public var taskKey: String
  public var occasion: Occasion
  /// Which of several times: a repair of a run, an attempt of a task. With run, task, occasion and target it names the notice for ever, so
  /// that what is decided again after a crash is the same notice.
  public var cycle: Int
  public var target: String
  /// What webhooks are sent, as Databricks' jobs send it.
  public var body: JSONValue
}

/// What people are told of a run, kept with it as it was when it started. A value: records go in, notices come out.
public struct RunNotifications: Codable, Sendable, Equatable {
  public struct OfTask: Codable, Sendable, Equatable {
    public var key: String
    /// In its run, from 0.
    public var position: Int
    public var rules: NotificationRules
  }
  public var job: Int64?
  public var name: String
  public var run: NotificationRules?
  public var tasks: [OfTask] = []
  /// Whether somebody has to look at the clock.
  public var watches: Bool

  /// Nil when nobody is told anything. Settings that cannot be read were refused before.
  public init?(settings: JSONValue, spec: RunSpec, job: Int64?) {
    func rules(_ value: JSONValue) -> NotificationRules? {
      guard let rules = try? NotificationRules(value), !rules.isEmpty else { return nil }
      return rules
    }
    self.job = job
    name = spec.name
    run = rules(settings)
    for (position, task) in spec.tasks.enumerated() {
      guard let own = settings["tasks"]?.arrayValue?.first(where: { $0["task_key"]?.stringValue == task.key }), let rules = rules(own) else { continue }
      tasks.append(OfTask(key: task.key, position: position, rules: rules))
    }
    let all = tasks.map(\.rules) + (run.map { [$0] } ?? [])
    watches = all.contains { $0.slowAfterSeconds != nil && !$0.targets(.slow).isEmpty }
    if all.isEmpty { return nil }
  }

  // MARK: deciding

  /// What has to be told because of how a run stands.
  public func notices(_ record: RunRecord) -> [Notice] {
    guard let run else { return [] }
    let occasion: Occasion?
    switch record.state {
    case .pending, .running, .cancelling: occasion = nil
    // With failures that later tasks took care of, too.
    case .succeeded: occasion = .success
    case .failed: occasion = .failure
    case .cancelled: occasion = run.isQuietOnCancel ? nil : .failure
    case .skipped: occasion = run.isQuietOnSkip ? nil : .failure
    }
    var all: [Occasion] = record.startedAt == nil ? [] : [.start]
    if let occasion { all.append(occasion) }
    let found = all.flatMap { notices($0, run, runID: record.spec.id, task: nil, cycle: record.repairs ?? 0) }
    return record.state == .skipped && run.isMailQuietOnSkip ? found.filter { !$0.target.hasPrefix("email:") } : found
  }

  /// What has to be told because of how a task stands.
  public func notices(_ record: TaskRecord) -> [Notice] {
    guard let task = tasks.first(where: { $0.key == record.key }), record.startedAt != nil else { return [] }
    let isFirst = record.attempt - (record.base ?? 0) <= 1
    let occasion: Occasion?
    switch record.state {
    case .pending, .planning, .running, .committing, .skipped: occasion = nil
    case .succeeded: occasion = .success
    case .failed: occasion = .failure
    case .retrying: occasion = task.rules.isForLastAttempt ? nil : .failure
    case .cancelled where record.error?.number == Scheduler.runTimeout: occasion = .failure
    case .cancelled: occasion = task.rules.isQuietOnCancel ? nil : .failure
    }
    var all: [Occasion] = task.rules.isForLastAttempt && !isFirst ? [] : [.start]
    if let occasion { all.append(occasion) }
    return all.flatMap { notices($0, task.rules, runID: record.run, task: task, cycle: record.attempt) }
  }

  /// What has to be told because the clock has moved on. A run or attempt is told of once.
  public func notices(_ record: RunRecord, _ records: [TaskRecord], now: Instant) -> [Notice] {
    var found: [Notice] = []
    func isSlow(_ rules: NotificationRules, since start: Instant?) -> Bool {
      guard let limit = rules.slowAfterSeconds, let start else { return false }
      return now - start > limit * 1000
    }
    if let run, !record.state.isTerminal, isSlow(run, since: record.startedAt) {
      found += notices(.slow, run, runID: record.spec.id, task: nil, cycle: record.repairs ?? 0)
    }
    for task in tasks {
      guard let one = records.first(where: { $0.key == task.key }), !one.state.isTerminal, isSlow(task.rules, since: one.startedAt) else { continue }
      found += notices(.slow, task.rules, runID: record.spec.id, task: task, cycle: one.repairs ?? 0)
    }
    return found
  }

  private func notices(_ occasion: Occasion, _ rules: NotificationRules, runID: String, task: OfTask?, cycle: Int) -> [Notice] {
    let targets = rules.targets(occasion)
    guard !targets.isEmpty else { return [] }
    let body = body(occasion, runID: runID, task: task)
    return targets.map { Notice(runID: runID, taskKey: task?.key ?? "", occasion: occasion, cycle: cycle, target: $0, body: body) }
  }

  /// The numbers are texts there.
  private func body(_ occasion: Occasion, runID: String, task: OfTask?) -> JSONValue {
    var members: [String: JSONValue] = ["event_type": .string(occasion.eventType), "workspace_id": "1"]
    var job: [String: JSONValue] = ["name": .string(name)]
    if let number = self.job { job["job_id"] = .string(String(number)) }
    members["job"] = .object(job)
    if let task {
      members["task"] = ["task_key": .string(task.key)]
      members["run"] = [
        "run_id": .string(String(TaskRunID(run: Int64(runID) ?? 0, task: task.position).number)), "parent_run_id": .string(runID),
      ]
    } else {
      members["run"] = ["run_id": .string(runID)]
    }
    return .object(members)
  }
}
