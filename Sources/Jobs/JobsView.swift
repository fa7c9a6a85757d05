// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
public import Scheduling

/// Stored jobs and runs in the shapes of Databricks' Jobs API 2.2. Pure: what is shown follows from the records alone.
public enum JobsView {
  // MARK: jobs

  public static func job(_ job: StoredJob, expandsTasks: Bool = true, now: Date) -> JSONValue {
    var settings = job.settings.objectValue ?? [:]
    if !expandsTasks { for key in ["tasks", "job_clusters", "environments"] { settings[key] = nil } }
    if settings["max_concurrent_runs"] == nil { settings["max_concurrent_runs"] = 1 }
    settings["format"] = "MULTI_TASK"
    var members: [String: JSONValue] = [
      "job_id": .integer(job.id), "creator_user_name": .string(job.creator), "run_as_user_name": .string(job.owner),
      "created_time": .integer(milliseconds(job.createdAt)), "settings": .object(settings),
    ]
    // One that cannot be read was refused when it was stored.
    if let next = (try? JobTrigger(job.settings))?.next(after: now) { members["next_run_time"] = .integer(milliseconds(next)) }
    return .object(members)
  }

  static func milliseconds(_ date: Date) -> Int64 { Int64(date.timeIntervalSince1970 * 1000) }

  // MARK: states

  /// How a run or task stands, in the words of the API's old `state` and its newer `status`.
  struct Standing: Equatable {
    var lifeCycle: String
    var result: String?
    var message = ""
    /// `BLOCKED`, `PENDING`, `QUEUED`, `RUNNING`, `TERMINATING`, `WAITING`, `TERMINATED`.
    var status: String
    /// Of a terminated one.
    var code: String?
    var type: String?
    var isCancelledOrLate = false

    var state: JSONValue {
      var members: [String: JSONValue] = [
        "life_cycle_state": .string(lifeCycle), "state_message": .string(message), "user_cancelled_or_timedout": .bool(isCancelledOrLate),
      ]
      if let result { members["result_state"] = .string(result) }
      if lifeCycle == "QUEUED" { members["queue_reason"] = .string(message) }
      return .object(members)
    }

    var statusValue: JSONValue {
      var members: [String: JSONValue] = ["state": .string(status)]
      if let code {
        members["termination_details"] = ["code": .string(code), "type": .string(type ?? "SUCCESS"), "message": .string(message)]
      }
      if status == "QUEUED" { members["queue_details"] = ["code": "MAX_CONCURRENT_RUNS_REACHED", "message": .string(message)] }
      return .object(members)
    }
  }

  private static func text(_ error: PlatformError?) -> String {
    guard let error else { return "" }
    return error.hint.isEmpty ? error.message : "\(error.message). \(error.hint)"
  }

  private static func failure(_ error: PlatformError?) -> Standing {
    let isOurs = error?.code == .internalError
    return Standing(
      lifeCycle: isOurs ? "INTERNAL_ERROR" : "TERMINATED", result: "FAILED", message: text(error), status: "TERMINATED",
      code: isOurs ? "INTERNAL_ERROR" : "RUN_EXECUTION_ERROR",
      type: isOurs ? "INTERNAL_ERROR" : "CLIENT_ERROR")
  }

  static func standing(_ run: StoredRun, _ tasks: [TaskRecord]?) -> Standing {
    guard let record = run.record else { return Standing(lifeCycle: "PENDING", status: "PENDING") }
    switch record.state {
    case .pending where record.spec.maxConcurrentRuns != nil:
      let limit = record.spec.maxConcurrentRuns ?? 1
      return Standing(
        lifeCycle: "QUEUED", message: "Waits for other runs of the job to end: its limit is \(limit) at once.", status: "QUEUED")
    case .pending: return Standing(lifeCycle: "PENDING", status: "PENDING")
    case .running: return Standing(lifeCycle: "RUNNING", status: "RUNNING")
    case .cancelling: return Standing(lifeCycle: "TERMINATING", status: "TERMINATING", isCancelledOrLate: true)
    case .succeeded:
      let failed = (tasks ?? []).contains { $0.state == .failed && !$0.key.contains("[") }
      return Standing(
        lifeCycle: "TERMINATED", result: failed ? "SUCCESS_WITH_FAILURES" : "SUCCESS", status: "TERMINATED",
        code: failed ? "SUCCESS_WITH_FAILURES" : "SUCCESS", type: "SUCCESS")
    case .cancelled:
      return Standing(
        lifeCycle: "TERMINATED", result: "CANCELED", message: "Run cancelled.", status: "TERMINATED", code: "USER_CANCELED", type: "SUCCESS",
        isCancelledOrLate: true)
    case .skipped:
      return Standing(
        lifeCycle: "SKIPPED", result: "MAXIMUM_CONCURRENT_RUNS_REACHED", message: text(record.error), status: "TERMINATED",
        code: "MAX_CONCURRENT_RUNS_EXCEEDED", type: "CLIENT_ERROR")
    case .failed where record.error?.number == Scheduler.runTimeout:
      return Standing(
        lifeCycle: "TERMINATED", result: "TIMEDOUT", message: text(record.error), status: "TERMINATED", code: "RUN_EXECUTION_ERROR",
        type: "CLIENT_ERROR", isCancelledOrLate: true)
    case .failed: return failure(record.error)
    }
  }

  static func standing(_ record: TaskRecord?, _ spec: TaskSpec?, run: StoredRun, all: [TaskRecord]) -> Standing {
    guard let record else { return Standing(lifeCycle: "PENDING", status: "PENDING") }
    func ended(_ result: String, _ code: String, _ message: String = "") -> Standing {
      Standing(lifeCycle: "TERMINATED", result: result, message: message, status: "TERMINATED", code: code, type: "CLIENT_ERROR")
    }
    switch record.state {
    case .pending where run.record?.state == .pending: return Standing(lifeCycle: "QUEUED", status: "QUEUED")
    case .pending:
      let open = (spec?.dependsOn ?? []).filter { key in all.contains { $0.key == key && !$0.state.isTerminal } }
      return open.isEmpty
        ? Standing(lifeCycle: "PENDING", status: "PENDING")
        : Standing(lifeCycle: "BLOCKED", message: "Waits for \(open.joined(separator: ", ")).", status: "BLOCKED")
    case .planning, .running, .committing: return Standing(lifeCycle: "RUNNING", status: "RUNNING")
    case .retrying: return Standing(lifeCycle: "WAITING_FOR_RETRY", message: text(record.error), status: "WAITING")
    case .succeeded: return Standing(lifeCycle: "TERMINATED", result: "SUCCESS", status: "TERMINATED", code: "SUCCESS", type: "SUCCESS")
    case .failed where record.error?.number == Scheduler.taskTimeout:
      var standing = failure(record.error)
      (standing.result, standing.isCancelledOrLate) = ("TIMEDOUT", true)
      return standing
    case .failed: return failure(record.error)
    case .cancelled where record.error?.number == Scheduler.runTimeout:
      var standing = failure(record.error)
      (standing.result, standing.isCancelledOrLate) = ("TIMEDOUT", true)
      return standing
    case .cancelled where record.startedAt == nil && spec?.runIf != .allDone && isBehindCancelled(spec, run.spec.tasks, all):
      return ended("UPSTREAM_CANCELED", "SKIPPED", "A task before it was cancelled.")
    case .cancelled:
      return Standing(
        lifeCycle: "TERMINATED", result: "CANCELED", status: "TERMINATED", code: "USER_CANCELED", type: "SUCCESS", isCancelledOrLate: true)
    case .skipped where spec?.disabled == true: return ended("DISABLED", "SKIPPED", "The task is disabled.")
    case .skipped where run.record?.state == .skipped: return ended("MAXIMUM_CONCURRENT_RUNS_REACHED", "MAX_CONCURRENT_RUNS_EXCEEDED")
    case .skipped where record.excluded == true: return ended("EXCLUDED", "SKIPPED", "Its conditions were not met.")
    case .skipped:
      return ended(isBehindCancelled(spec, run.spec.tasks, all) ? "UPSTREAM_CANCELED" : "UPSTREAM_FAILED", "SKIPPED", "A task before it did not succeed.")
    }
  }

  /// Whether what it waited for, or what that waited for, was cancelled.
  private static func isBehindCancelled(_ spec: TaskSpec?, _ specs: [TaskSpec], _ all: [TaskRecord]) -> Bool {
    var open = spec?.dependsOn ?? []
    var seen: Set<String> = []
    while let key = open.popLast() {
      guard seen.insert(key).inserted, let record = all.first(where: { $0.key == key }) else { continue }
      if record.state == .cancelled { return true }
      if record.state == .skipped { open += specs.first { $0.key == key }?.dependsOn ?? [] }
    }
    return false
  }

  // MARK: runs

  /// A run as `runs/get` and `runs/list` show it.
  /// - Parameters:
  ///   - tasks: its records; nil leaves the tasks out.
  ///   - host: where the console is, for links.
  public static func run(_ run: StoredRun, tasks: [TaskRecord]?, repairs: [StoredRepair]?, host: String) -> JSONValue {
    let record = run.record
    let id = Int64(run.id) ?? 0
    let standing = standing(run, tasks)
    let submitted = milliseconds(run.row.submittedAt)
    var members: [String: JSONValue] = [
      "run_id": .integer(id), "number_in_job": .integer(id), "original_attempt_run_id": .integer(id), "run_name": .string(run.row.name),
      "creator_user_name": .string(run.creator), "run_as_user_name": .string(run.creator), "state": standing.state,
      "status": standing.statusValue, "run_type": .string(run.origin.type.rawValue), "trigger": .string(run.origin.trigger),
      "format": "MULTI_TASK", "attempt_number": 0, "run_page_url": .string("\(host)/#/runs/\(run.id)"), "setup_duration": 0,
      "cleanup_duration": 0, "start_time": .integer(submitted),
    ]
    if let job = run.origin.job { members["job_id"] = .integer(job) }
    if let parent = run.origin.parent.flatMap({ Int64($0) }) { members["trigger_info"] = ["run_id": .integer(parent)] }
    let ended = record?.finishedAt
    if let ended {
      members["end_time"] = .integer(ended)
      members["run_duration"] = .integer(max(0, ended - submitted))
    }
    if let started = record?.startedAt { members["queue_duration"] = .integer(max(0, started - submitted)) }
    members["execution_duration"] = .integer(0)
    if let settings = run.origin.settings?.objectValue {
      for key in ["git_source", "job_clusters", "schedule"] { if let value = settings[key] { members[key] = value } }
      if let parameters = settings["parameters"]?.arrayValue, !parameters.isEmpty {
        members["job_parameters"] = .array(
          parameters.map { parameter in
            let name = parameter["name"]?.stringValue ?? ""
            return [
              "name": .string(name), "default": parameter["default"] ?? "",
              "value": run.origin.parameters[name].map { .string($0) } ?? parameter["default"] ?? "",
            ]
          })
      }
    }
    if let tasks {
      members["tasks"] = .array(
        run.spec.tasks.indices.map { task(run, at: $0, record: taskRecord(run, $0, tasks), all: tasks, host: host) })
    }
    if let repairs, !repairs.isEmpty { members["repair_history"] = .array(history(run, repairs, standing)) }
    return .object(members)
  }

  private static func taskRecord(_ run: StoredRun, _ task: Int, _ tasks: [TaskRecord]) -> TaskRecord? {
    tasks.first { $0.key == run.spec.tasks[task].key }
  }

  private static func history(_ run: StoredRun, _ repairs: [StoredRepair], _ now: Standing) -> [JSONValue] {
    var items: [JSONValue] = []
    for (index, repair) in repairs.enumerated() {
      var before = repair.before.objectValue ?? [:]
      before["type"] = index == 0 ? "ORIGINAL" : "REPAIR"
      if index > 0 { before["id"] = .integer(repairs[index - 1].id) }
      items.append(.object(before))
    }
    guard let last = repairs.last else { return items }
    var current: [String: JSONValue] = [
      "type": "REPAIR", "id": .integer(last.id), "state": now.state, "status": now.statusValue,
      "start_time": .integer(milliseconds(last.requestedAt)),
      "task_run_ids": .array(
        run.spec.tasks.indices.filter { last.tasks.contains(run.spec.tasks[$0].key) }.map {
          .integer(TaskRunID(run: Int64(run.id) ?? 0, task: $0).number)
        }),
    ]
    if let ended = run.record?.finishedAt { current["end_time"] = .integer(ended) }
    items.append(.object(current))
    return items
  }

  /// How a run stands, for the history of its repairs.
  public static func snapshot(_ run: StoredRun, tasks: [TaskRecord]) -> JSONValue {
    let standing = standing(run, tasks)
    var members: [String: JSONValue] = [
      "state": standing.state, "status": standing.statusValue, "start_time": .integer(run.record?.startedAt ?? milliseconds(run.row.submittedAt)),
      "task_run_ids": .array(run.spec.tasks.indices.map { .integer(TaskRunID(run: Int64(run.id) ?? 0, task: $0).number) }),
    ]
    if let ended = run.record?.finishedAt { members["end_time"] = .integer(ended) }
    return .object(members)
  }

  // MARK: tasks

  static func task(_ run: StoredRun, at index: Int, record: TaskRecord?, all: [TaskRecord], host: String) -> JSONValue {
    let spec = run.spec.tasks[index]
    let standing = standing(record, spec, run: run, all: all)
    var members = settings(of: spec.key, run).objectValue ?? [:]
    if members.isEmpty, spec.forEach == nil { members["\(spec.kind)_task"] = spec.body }
    members["task_key"] = .string(spec.key)
    members["run_id"] = .integer(TaskRunID(run: Int64(run.id) ?? 0, task: index).number)
    members["depends_on"] = .array(
      spec.dependsOn.map { key in
        guard let outcome = spec.outcomes?[key] else { return ["task_key": .string(key)] }
        return ["task_key": .string(key), "outcome": outcome ? "true" : "false"]
      })
    members["run_if"] = .string((spec.runIf ?? .allSuccess).rawValue)
    if let outcome = record?.values["outcome"]?.boolValue, var condition = members["condition_task"]?.objectValue {
      condition["outcome"] = outcome ? "true" : "false"
      members["condition_task"] = .object(condition)
    }
    if let items = record?.items, var loop = members["for_each_task"]?.objectValue {
      loop["stats"] = stats(all.filter { $0.key.hasPrefix(spec.key + "[") }, total: items.count)
      members["for_each_task"] = .object(loop)
    }
    addTimes(record, standing, run, to: &members)
    members["run_page_url"] = .string("\(host)/#/runs/\(run.id)")
    return .object(members)
  }

  private static func settings(of key: String, _ run: StoredRun) -> JSONValue {
    run.origin.settings?["tasks"]?.arrayValue?.first { $0["task_key"]?.stringValue == key } ?? .null
  }

  private static func addTimes(_ record: TaskRecord?, _ standing: Standing, _ run: StoredRun, to members: inout [String: JSONValue]) {
    members["state"] = standing.state
    members["status"] = standing.statusValue
    members["attempt_number"] = .integer(Int64(max(0, (record?.attempt ?? 1) - (record?.base ?? 0) - 1)))
    members["setup_duration"] = 0
    members["cleanup_duration"] = 0
    members["start_time"] = .integer(record?.startedAt ?? 0)
    members["end_time"] = .integer(record?.finishedAt ?? 0)
    members["execution_duration"] = .integer(max(0, (record?.finishedAt ?? 0) - (record?.startedAt ?? record?.finishedAt ?? 0)))
    if let values = record?.values, let object = values.objectValue, !object.isEmpty {
      // The rows of a statement are read with its output.
      members["values"] = .object(object.filter { $0.key != "response" && $0.key != "results" })
    }
  }

  private static func stats(_ iterations: [TaskRecord], total: Int) -> JSONValue {
    func count(_ states: TaskState...) -> JSONValue { .integer(Int64(iterations.count { states.contains($0.state) })) }
    let ended = iterations.count(where: \.state.isTerminal)
    return [
      "task_run_stats": [
        "total_iterations": .integer(Int64(total)), "active_iterations": count(.planning, .running, .committing, .retrying),
        "completed_iterations": .integer(Int64(ended)), "succeeded_iterations": count(.succeeded), "failed_iterations": count(.failed, .cancelled),
        "scheduled_iterations": .integer(Int64(total)),
      ]
    ]
  }

  /// One task of a run, or one iteration of a loop, as `runs/get` shows it by its own number.
  public static func taskRun(_ id: TaskRunID, of run: StoredRun, tasks: [TaskRecord], host: String) -> JSONValue? {
    guard run.spec.tasks.indices.contains(id.task) else { return nil }
    let spec = run.spec.tasks[id.task]
    let parent = taskRecord(run, id.task, tasks)
    var whole = Self.run(run, tasks: nil, repairs: nil, host: host).objectValue ?? [:]
    var one = task(run, at: id.task, record: parent, all: tasks, host: host).objectValue ?? [:]
    if let iteration = id.iteration {
      guard let record = tasks.first(where: { $0.key == "\(spec.key)[\(iteration)]" }) else { return nil }
      addTimes(record, standing(record, nil, run: run, all: tasks), run, to: &one)
      one["task_key"] = .string(record.key)
      one["run_id"] = .integer(id.number)
    } else if let items = parent?.items {
      whole["iterations"] = .array(
        items.indices.compactMap { number in
          guard let record = tasks.first(where: { $0.key == "\(spec.key)[\(number)]" }) else { return nil }
          var members: [String: JSONValue] = [
            "task_key": .string(record.key),
            "run_id": .integer(TaskRunID(run: id.run, task: id.task, iteration: number).number),
          ]
          addTimes(record, standing(record, nil, run: run, all: tasks), run, to: &members)
          return .object(members)
        })
    }
    whole["run_id"] = .integer(id.number)
    whole["job_run_id"] = .integer(id.run)
    for key in ["state", "status", "start_time", "end_time", "execution_duration", "attempt_number"] { whole[key] = one[key] }
    whole["tasks"] = .array([.object(one)])
    return .object(whole)
  }

  /// The key of the record that a task's number names.
  public static func recordKey(_ id: TaskRunID, of run: StoredRun) -> String? {
    guard run.spec.tasks.indices.contains(id.task) else { return nil }
    let key = run.spec.tasks[id.task].key
    return id.iteration.map { "\(key)[\($0)]" } ?? key
  }

  /// What a task has produced, as `runs/get-output` shows it.
  public static func output(_ record: TaskRecord?, kind: String, metadata: JSONValue, logs: String, isTruncated: Bool) -> JSONValue {
    var members: [String: JSONValue] = ["metadata": metadata]
    if let error = record?.error, record?.state != .succeeded {
      members["error"] = .string(error.message)
      if !logs.isEmpty { members["error_trace"] = .string(String(logs.suffix(4_000))) }
    }
    if !logs.isEmpty || ["command", "spark_python", "python_wheel", "notebook", "dbt"].contains(kind) {
      members["logs"] = .string(logs)
      members["logs_truncated"] = .bool(isTruncated)
    }
    if let child = record?.values["run_id"]?.intValue, kind == "run_job" { members["run_job_output"] = ["run_id": .integer(Int64(child))] }
    if kind == "notebook", let result = record?.values["notebook_output"]?.stringValue {
      members["notebook_output"] = ["result": .string(result), "truncated": false]
    }
    if let values = record?.values.objectValue {
      if let summary = values["summary"]?.stringValue { members["info"] = .string(summary) }
      if let response = values["response"], kind == "sql" { members["statement_output"] = response }
      members["values"] = .object(values.filter { $0.key != "response" && $0.key != "results" })
    }
    return .object(members)
  }

  /// A page that shows what a task printed; everything in it is text.
  public static func page(title: String, state: String, logs: String) -> String {
    func escape(_ text: String) -> String {
      text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing("\"", with: "&quot;")
    }
    return """
      <!doctype html><html lang="en"><head><meta charset="utf-8"><title>\(escape(title))</title></head>
      <body><h1>\(escape(title))</h1><p>\(escape(state))</p><pre>\(escape(logs))</pre></body></html>
      """
  }
}
