// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation
import Jobs
import Scheduling

/// Runs of jobs: start, look, cancel, repair, read their output.
extension CoordinatorService {
  /// Databricks keeps as much of a task's output.
  private static let outputLimit = 5 << 20

  private static func bad(_ text: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4217")
  }

  /// A member of a request that is there, of the right kind.
  private static func number(_ request: JSONValue, _ name: String) throws -> Int64 {
    guard let value = request[name], let number = value.intValue ?? value.stringValue.flatMap({ Int($0) }), number > 0 else {
      throw bad("'\(name)' is missing or no number above 0")
    }
    return Int64(number)
  }

  private static func texts(_ request: JSONValue, _ name: String) throws -> [String] {
    guard let value = request[name], value != .null else { return [] }
    guard let items = value.arrayValue, items.count <= 1000, items.allSatisfy({ $0.stringValue != nil }) else {
      throw bad("\(name) must be a list of at most 1000 texts")
    }
    return items.compactMap(\.stringValue)
  }

  private static func parameters(_ request: JSONValue) throws -> [String: String] {
    for key in [
      "notebook_params", "jar_params", "python_params", "python_named_params", "spark_submit_params", "sql_params", "dbt_commands", "pipeline_params",
    ] {
      guard let value = request[key], value != .null else { continue }
      throw bad("'\(key)' is not supported", hint: "Declare parameters of the job, hand them to tasks as {{job.parameters.NAME}}, and give job_parameters.")
    }
    guard let value = request["job_parameters"], value != .null else { return [:] }
    guard let members = value.objectValue else { throw bad("job_parameters must be names with values") }
    return members.mapValues { $0.stringValue ?? $0.sortedText }
  }

  private static func token(_ request: JSONValue, _ scope: String) throws -> String? {
    guard let value = request["idempotency_token"], value != .null else { return nil }
    guard let text = value.stringValue, (1...64).contains(text.count) else { throw bad("idempotency_token must be a text of 1 to 64 characters") }
    return "\(scope):\(text)"
  }

  // MARK: starting

  func runJob(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    let id = try Self.number(request, "job_id")
    try await require(.manageRun, ofJob: id, principal, to: "start runs of")
    let job = try await store.job(id)
    var start = JobLauncher.Request(settings: job.settings, user: principal.name)
    start.attachments = job.attachments
    start.job = id
    start.parameters = try Self.parameters(request)
    start.only = try Self.texts(request, "only")
    start.key = try Self.token(request, "run-now:\(id)")
    start.queues = request["queue"]?["enabled"]?.boolValue
    let run = try await launcher.start(start).run
    return ["run_id": .integer(Int64(run) ?? 0), "number_in_job": .integer(Int64(run) ?? 0)]
  }

  func submitRun(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    let grants = try await runGrants(request["access_control_list"], by: principal)
    var settings = request.objectValue ?? [:]
    let key = try Self.token(request, "submit")
    settings["name"] = settings["run_name"] ?? "Untitled"
    if (try? RunIdentity.user(of: .object(settings))) != nil { try RunIdentity.require(.object(settings), owner: principal.name) }
    for name in ["run_name", "idempotency_token", "access_control_list"] { settings[name] = nil }
    var start = JobLauncher.Request(settings: .object(settings), user: principal.name)
    try await requireDestinations(start.settings)
    start.key = key
    start.grants = grants
    start.type = .submit
    let run = try await launcher.start(start).run
    return ["run_id": .integer(Int64(run) ?? 0)]
  }

  // MARK: looking

  /// The run that a number names, be it its own or a task's.
  private func located(_ number: Int64) async throws -> (run: StoredRun, task: TaskRunID?) {
    let task = TaskRunID(number)
    do {
      return (try await store.storedRun(String(task?.run ?? number)), task)
    } catch let error as PlatformError where error.code == .notFound {
      throw JobStore.noRun(number: number)
    }
  }

  func jobRun(_ id: Int64, includesHistory: Bool, by principal: Principal) async throws -> JSONValue {
    let (run, task) = try await located(id)
    try await require(.view, ofRun: run.id, principal, to: "see")
    let tasks = try await store.tasks(of: run.id)
    if let task {
      guard let found = JobsView.taskRun(task, of: run, tasks: tasks, host: host) else { throw JobStore.noRun(number: id) }
      return found
    }
    return JobsView.run(run, tasks: tasks, repairs: includesHistory ? try await store.repairs(of: run.id) : nil, host: host)
  }

  // MARK: ending

  func cancelJobRun(_ id: Int64, by principal: Principal) async throws {
    let run = try await located(id).run
    try await require(.manageRun, ofRun: run.id, principal, to: "cancel")
    guard run.record?.state.isTerminal != true else { return }
    try await launcher.cancel(run.id)
    try await catalog.audit(actor: principal.name, action: "cancel run", object: run.id, outcome: "ok")
  }

  func cancelAllRuns(job: Int64?, onlyQueued: Bool, by principal: Principal) async throws {
    guard job != nil || onlyQueued else { throw Self.bad("'job_id' is missing", hint: "Give job_id, or all_queued_runs: true.") }
    if let job {
      try await require(.manageRun, ofJob: job, principal, to: "cancel runs of")
      _ = try await store.job(job)
    } else if !principal.isAdministrator {
      throw Self.denied("\(principal.name) may not cancel the queued runs of all jobs: that is for administrators", hint: "Give job_id.")
    }
    for run in try await store.activeRuns(of: job, onlyWaiting: onlyQueued) { try await launcher.cancel(run) }
    try await catalog.audit(actor: principal.name, action: "cancel runs", object: job.map { "job \($0)" } ?? "all queued", outcome: "ok")
  }

  func deleteRun(_ id: Int64, by principal: Principal) async throws {
    let run = try await located(id).run
    try await require(.manage, ofRun: run.id, principal, to: "delete")
    try await store.deleteRun(run.id)
    for kept in [configuration.layout.notebooks, configuration.layout.artifacts] {
      // There may be none; what cannot be removed is seen by nobody.
      _ = try? await BlockingPool.shared.run { try FileManager.default.removeItem(atPath: "\(kept)/\(run.id)") }
    }
    try await catalog.audit(actor: principal.name, action: "delete run", object: run.id, outcome: "ok")
  }

  // MARK: repairing

  func repairRun(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    let id = try Self.number(request, "run_id")
    let run = try await located(id).run
    try await require(.manageRun, ofRun: run.id, principal, to: "repair")
    if !(try Self.parameters(request)).isEmpty {
      throw Self.bad("a repair keeps the run's parameters", hint: "Start the job again with other job_parameters.")
    }
    let tasks = try await store.tasks(of: run.id)
    let repairs = try await store.repairs(of: run.id)
    guard run.record?.state.isTerminal == true else {
      throw PlatformError(.conflict, "run \(run.id) has not ended yet", hint: "Wait for its end, or cancel it.", number: "PLT-4225")
    }
    let latest = request["latest_repair_id"].flatMap { $0.intValue ?? $0.stringValue.flatMap { Int($0) } }
    if let last = repairs.last, latest != Int(last.id) {
      throw Self.bad("latest_repair_id must be \(last.id), the run's last repair")
    }
    if repairs.isEmpty, latest != nil { throw Self.bad("latest_repair_id is given, but the run was never repaired") }
    let rerun = try RepairRequest(request).tasks(of: run.spec, tasks)
    let number = repairs.count + 1
    let repair = try await store.addRepair(
      run: run.id, number: number, tasks: rerun, before: JobsView.snapshot(run, tasks: tasks), by: principal.name)
    try await launcher.repair(run.id, number: number, tasks: rerun)
    try await catalog.audit(actor: principal.name, action: "repair run", object: run.id, outcome: "ok")
    return ["repair_id": .integer(repair)]
  }

  // MARK: output

  /// What one attempt printed, and whether there was more.
  private func log(_ run: String, _ key: String, attempt: Int) async throws -> (text: String, isTruncated: Bool) {
    await plane.telemetryStored()
    var text = ""
    var after: Int64 = 0
    while true {
      let lines = try await telemetry.logs(runID: run, taskKey: key, attempt: attempt, after: after, limit: 1000)
      for line in lines {
        if text.utf8.count + line.line.utf8.count > Self.outputLimit { return (text, true) }
        text += line.line + "\n"
      }
      guard lines.count == 1000, let last = lines.last else { return (text, false) }
      after = last.id
    }
  }

  func runOutput(_ id: Int64, by principal: Principal) async throws -> JSONValue {
    let (run, given) = try await located(id)
    try await require(.view, ofRun: run.id, principal, to: "see")
    let tasks = try await store.tasks(of: run.id)
    guard let task = given ?? (run.spec.tasks.count == 1 ? TaskRunID(run: Int64(run.id) ?? 0, task: 0) : nil) else {
      throw Self.bad(
        "Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of each individual task run instead.",
        hint: "The run_id of each task is in runs/get.")
    }
    guard let key = JobsView.recordKey(task, of: run), let metadata = JobsView.taskRun(task, of: run, tasks: tasks, host: host) else {
      throw JobStore.noRun(number: id)
    }
    let record = tasks.first { $0.key == key }
    let (text, isTruncated) = try await log(run.id, key, attempt: record?.attempt ?? 1)
    return JobsView.output(record, kind: run.spec.tasks[task.task].kind, metadata: metadata, logs: text, isTruncated: isTruncated)
  }

  func exportRun(_ id: Int64, by principal: Principal) async throws -> JSONValue {
    let (run, given) = try await located(id)
    try await require(.view, ofRun: run.id, principal, to: "see")
    let tasks = try await store.tasks(of: run.id)
    var views: [JSONValue] = []
    for index in run.spec.tasks.indices where given == nil || given?.task == index {
      let task = TaskRunID(run: Int64(run.id) ?? 0, task: index, iteration: given?.iteration)
      guard let key = JobsView.recordKey(task, of: run) else { continue }
      let record = tasks.first { $0.key == key }
      let path = configuration.layout.notebook(run: run.id, task: key, attempt: record?.attempt ?? 1)
      let notebook = try await BlockingPool.shared.run { FileManager.default.contents(atPath: path) }
      let text = try await log(run.id, key, attempt: record?.attempt ?? 1).text
      let state = (record?.state ?? .pending).rawValue + (record?.error.map { ": \($0.message)" } ?? "")
      // What a person's program wrote need not be a notebook: then its log is shown.
      if run.spec.tasks[index].kind == "notebook", let notebook, let value = try? JSONValue(parsing: notebook) {
        let page = NotebookPage.html(value, title: "\(run.row.name): \(key)", state: state)
        views.append(["name": .string(key), "type": "NOTEBOOK", "content": .string(page)])
        views.append(["name": .string(key + ".ipynb"), "type": "NOTEBOOK", "content": .string(String(decoding: notebook, as: UTF8.self))])
        continue
      }
      views.append([
        "name": .string(key), "type": "NOTEBOOK", "content": .string(JobsView.page(title: "\(run.row.name): \(key)", state: state, logs: text)),
      ])
    }
    return ["views": .array(views)]
  }
}
