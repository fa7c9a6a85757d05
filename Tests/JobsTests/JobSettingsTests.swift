// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Jobs
@testable import Scheduling

/// Jobs with conditions, loops, programs, parameters; settings as clients send them; their views.
@Suite struct JobSettingsTests {
  private func parse(_ text: String, parameters: [String: String] = [:], files: [String: String] = [:]) -> ParsedWorkflow {
    WorkflowFile.parse(text: text, path: "w.yml", job: nil, parameters: parameters, attachments: files)
  }

  static let good = """
    resources:
      jobs:
        j:
          max_concurrent_runs: 2
          queue: { enabled: false }
          timeout_seconds: 60
          priority: 5
          parameters: [ { name: day, default: "{{job.start_time.iso_date}}" } ]
          tasks:
            - { task_key: list, command_task: { command: [ ./list, "{{job.parameters.day}}" ], env: { A: "1" } }, retry_on_timeout: true, max_retries: 2, preemptible: true }
            - task_key: each
              depends_on: [ { task_key: list } ]
              max_retries: 1
              for_each_task:
                inputs: "{{tasks.list.values.items}}"
                concurrency: 4
                task: { task_key: one, spark_python_task: { python_file: one.py, parameters: [ "{{input.name}}" ] }, timeout_seconds: 9 }
            - { task_key: check, depends_on: [ { task_key: each } ], run_if: ALL_DONE,
                condition_task: { op: EQUAL_TO, left: "{{tasks.each.result_state}}", right: success } }
            - { task_key: yes, depends_on: [ { task_key: check, outcome: "true" } ], command_task: { command: "echo yes" }, disabled: true }
            - { task_key: other, run_job_task: { job_id: 12, job_parameters: { a: b } } }
            - { task_key: rest, wait_task: { milliseconds: 5, parts: 3 }, parts_per_batch: 2 }
    """

  @Test func aWorkflowWithEverythingIsRead() throws {
    let parsed = parse(Self.good, parameters: ["day": "{{tasks.list.values.secret}}"], files: ["one.py": "print('{{x}}')"])
    #expect(parsed.errors == [] && parsed.warnings == [])
    let run = try #require(parsed.run)
    #expect(run.maxConcurrentRuns == 2 && run.queues == false && run.timeoutMs == 60_000 && run.priority == 5 && run.job == "file:j")
    func task(_ key: String) throws -> TaskSpec { try #require(run.tasks.first { $0.key == key }) }
    // What is given from outside stays text.
    #expect(try Template.texts(in: task("list").body, TemplateScope())["command"] == ["./list", "{{tasks.list.values.secret}}"])
    #expect(try task("list").retryOnTimeout == true && task("check").retryOnTimeout == false)
    #expect(try task("list").preemptible == true && task("check").preemptible == nil)
    let each = try task("each")
    #expect(each.kind == "spark_python" && each.forEach == ForEach(inputs: "{{tasks.list.values.items}}", concurrency: 4))
    #expect(each.maxRetries == 1 && each.timeoutMs == 9_000)
    #expect(try Template.texts(in: ["s": each.body["script"] ?? .null], TemplateScope())["s"] == "print('{{x}}')")
    #expect(try task("check").condition == Condition(.equal, "{{tasks.each.result_state}}", "success") && task("check").runIf == .allDone)
    #expect(try task("yes").outcomes == ["check": true] && task("yes").disabled == true)
    #expect(try task("other").body == ["job_id": 12, "job_parameters": ["a": "b"]])
    #expect(try task("rest").kind == "wait" && task("rest").body == ["milliseconds": 5, "parts": 3])
    #expect(try task("rest").partsPerBatch == 2 && task("list").partsPerBatch == nil)
    let defaults = try #require(parse(Self.good, files: ["one.py": ""]).run)
    #expect(defaults.tasks[0].body["command"] == ["./list", "{{job.start_time.iso_date}}"])
  }

  @Test(arguments: [
    ("command_task: { command: 'rm {{job.parameters.x}}' }", "PLT-1203", "would be read as shell"),
    ("command_task: { command: [] }", "PLT-1202", "is empty"),
    ("command_task: { command: ls, env: { 'A B': 1 } }", "PLT-1204", "'A B' is not a name"),
    ("command_task: { command: ls, env: { PLATFORM_X: 1 } }", "PLT-1204", "the platform's own"),
    ("command_task: { commnad: ls }", "PLT-1202", "Did you mean 'command'?"),
    ("spark_python_task: { python_file: a.py }", "PLT-1211", "'a.py' was not sent"),
    ("spark_python_task: { python_file: a.py, source: GIT }", "PLT-4345", "from git"),
    ("dbt_task: { commands: [ ls ], project_directory: /Volumes/a/b/c/d }", "PLT-1203", "no command of dbt"),
    ("dbt_task: { commands: [ 'dbt run \"a' ], project_directory: /Volumes/a/b/c/d }", "PLT-1203", "not closed"),
    ("dbt_task: { commands: [], project_directory: /Volumes/a/b/c/d }", "PLT-1202", "is empty"),
    ("dbt_task: { commands: [ dbt run ], project_directory: shop }", "PLT-4472", "'shop' is no folder"),
    ("dbt_task: { commands: [ dbt run ], source: GIT }", "PLT-4345", "from git"),
    ("sql_task: { query: { query_id: abc } }", "PLT-1210", "saved queries"),
    ("condition_task: { op: EQUALS, left: a, right: b }", "PLT-1203", "Use EQUAL_TO"),
    ("condition_task: { op: EQUAL_TO, left: a }", "PLT-1202", "'right' is missing"),
    ("for_each_task: { inputs: 'a, b', task: { task_key: x, command_task: { command: ls } } }", "PLT-1203", "is no list"),
    ("for_each_task: { inputs: [1] }", "PLT-1202", "'task' is missing"),
    ("for_each_task: { inputs: [1], concurrency: 101, task: { task_key: x, command_task: { command: ls } } }", "PLT-1203", "Use 1 to 100"),
    ("for_each_task: { inputs: [1], task: { task_key: x, condition_task: { op: EQUAL_TO, left: a, right: b } } }", "PLT-1203", "cannot repeat"),
    ("for_each_task: { inputs: [1], task: { task_key: x, run_if: ALL_DONE, command_task: { command: ls } } }", "PLT-1203", "no meaning inside"),
    ("command_task: { command: [ls, '{{input}}'] }", "PLT-1206", "only inside of a for_each_task"),
    ("command_task: { command: [ls, '{{job.run_ids}}'] }", "PLT-1206", "Did you mean '{{job.run_id}}'?"),
    ("command_task: { command: ls }, run_if: ALL_SUCESS", "PLT-1203", "Did you mean 'ALL_SUCCESS'?"),
    ("condition_task: { op: EQUALS, left: a }", "PLT-1203", "'EQUALS' is not possible"),
    ("for_each_task: { inputs: [1], task: { task_key: x, for_each_task: { inputs: [1] } } }", "PLT-1203", "a job of its own"),
    ("comand: { command: ls }", "PLT-1202", "Did you mean 'command_task'?"),
    ("command_task: ls", "PLT-1202", "For example { command: ... }."),
    ("sql_task: { file: q.sql }", "PLT-1202", "For example { path: ... }."),
    ("spark_python_task: { python_file: /Volumes/a/b/c/d.py, source: git }", "PLT-1203", "Did you mean 'GIT'?"),
    ("spark_python_task: { python_file: /Volumes/a/b/c/d.py, parameters: x }", "PLT-1202", "For example [ one, two ]."),
    ("command_task: { command: ls }, depends_on: a", "PLT-1202", "Write [ { task_key: a } ]."),
    ("command_task: { command: ls }, depends_on: [ a ]", "PLT-1202", "Write { task_key: a }."),
    ("command_task: { command: ls }, timeout_seconds: 1h", "PLT-1202", "In seconds"),
    ("command_task: { command: [ls, '{{tasks.aa.values.n}}'] }", "PLT-1206", "Tasks: a, t."),
    ("command_task: { command: [ls, '{{job.parameters.n}}'] }", "PLT-1207", "Declare it: parameters"),
    ("command_task: { command: ls }, disabled: maybe", "PLT-1202", "true or false"),
    ("run_job_task: { job_id: 0 }", "PLT-1203", "out of range"),
    ("wait_task: { parts: 0 }", "PLT-1203", "out of range"),
    ("wait_task: {}, parts_per_batch: 0", "PLT-1203", "out of range"),
    ("command_task: { command: ls }, parts_per_batch: 4", "PLT-1203", "a command_task has no parts that could share a batch"),
    ("command_task: { command: ls }, depends_on: [ { task_key: a, outcome: maybe } ]", "PLT-1203", "Use true, false"),
    ("command_task: { command: ls }, depends_on: [ { task_key: a, outcome: 'true' } ]", "PLT-1205", "has no outcome"),
  ]) func aBadTaskIsRefusedWithItsLine(_ task: String, _ number: String, _ says: String) {
    let parsed = parse(
      "resources:\n  jobs:\n    j:\n      tasks:\n        - { task_key: a, command_task: { command: ls } }\n        - { task_key: t, \(task) }\n")
    #expect(parsed.run == nil)
    #expect(
      parsed.errors.contains { $0.number == number && $0.line == 6 && ($0.message + " " + $0.hint).contains(says) }, "\(parsed.errors)")
  }

  @Test func settingsOfClientsAreReadByTheSameRules() throws {
    let settings: JSONValue = [
      "name": "nightly", "email_notifications": [:], "format": "MULTI_TASK", "max_concurrent_runs": 3,
      "parameters": [["name": "n", "default": "1"]],
      "tasks": [
        ["task_key": "a", "spark_python_task": ["python_file": "/Volumes/main/d/v/a.py", "parameters": ["{{job.parameters.n}}", "null"]]],
        ["task_key": "b", "depends_on": [["task_key": "a"]], "sql_task": ["statement": "SELECT 1", "warehouse_id": "w"], "timeout_seconds": 0],
        ["task_key": "c", "depends_on": [["task_key": "b"]], "sql_task": ["statement": "SELECT 1"]],
      ],
    ]
    let checked = JobSettings.check(settings)
    #expect(checked.errors == [] && checked.missingFiles == ["/Volumes/main/d/v/a.py"])
    let missing = JobSettings.run(settings, parameters: [:], attachments: [:])
    #expect(missing.run == nil && missing.missingFiles == ["/Volumes/main/d/v/a.py"])
    let run = try #require(JobSettings.run(settings, parameters: ["n": "5"], attachments: ["/Volumes/main/d/v/a.py": "pass"]).run)
    #expect(run.name == "nightly" && run.maxConcurrentRuns == 3)
    #expect(run.tasks[0].body["parameters"] == ["5", "null"] && run.tasks[0].body["script"] == "pass")
    let bad = JobSettings.check(["name": "x", "tasks": [["task_key": "a", "max_retries": -1, "sql_tsk": [:]], ["task_key": "a"]]])
    #expect(bad.errors.count >= 3 && bad.errors.allSatisfy { $0.code == .invalidArgument && $0.path == nil })
    #expect(bad.errors.contains { $0.message.contains("tasks[0]") && $0.hint == "Did you mean 'sql_task'?" })
    #expect(!JobSettings.check([:]).errors.isEmpty && !JobSettings.check(["tasks": 3]).errors.isEmpty)
    var deep: JSONValue = 1
    for _ in 0..<100 { deep = .array([deep]) }
    #expect(JobSettings.check(["tasks": deep]).errors.map(\.number) == ["PLT-1200"])

    let text =
      "bundle: { name: b }\nvariables: { n: { default: 3 } }\nresources:\n  jobs:\n    j:\n      max_concurrent_runs: ${var.n}\n      tasks: [ { task_key: a, sql_task: { statement: \"SELECT ${var.n}\" } } ]\n"
    #expect(
      try JobSettings.settings(text: text, path: "w.yml", job: nil, variables: [:]) == [
        "name": "j", "max_concurrent_runs": 3, "tasks": [["task_key": "a", "sql_task": ["statement": "SELECT 3"]]],
      ])
  }

  /// Keys of a job that are wrong in several ways, and how often it is said.
  @Test(arguments: [
    ("schedule: { quartz_cron_expression: '0 30 2 * *', timezone_id: Europe/Belin, pause: PAUSED }", ["5 fields", "Europe/Berlin", "'pause_status'"]),
    ("trigger: { file_arival: { url: /x } }", ["Did you mean 'file_arrival'?"]),
    ("trigger: { periodic: { interval: 0, unit: HOURS } }", ["from 1 to 10000"]),
    (
      "email_notifications: { on_failur: [ a@example.org ], on_start: nobody }, webhook_notifications: { on_failure: [ x ] }, health: { rules: [ 1 ] }",
      ["Did you mean 'on_failure'?", "list of addresses", "destinations list", "RUN_DURATION_SECONDS"]
    ),
    (
      "git_source: { git_url: 'git@github.com:a/b.git', git_branch: a, git_tag: b, git_brunch: c }",
      ["https://HOST/PATH", "git_branch and git_tag", "'git_branch'?"]
    ),
    (
      "parameters: [ { name: 'a b', default: 1 }, { default: 1 } ], queue: true, tags: [ a ]",
      ["usable name", "'name' is missing", "{ enabled: ... }", "{ NAME: text }"]
    ),
    ("max_concurrent_runs: 0, timeout_seconds: soon", ["Use 1 to 1000", "In seconds"]),
    ("max_concurrent_runs: 1001, run_as: { user_nam: a }", ["1001 is out of range", "Did you mean 'user_name'?"]),
    ("run_as: { user_name: a, group_name: b }, priority: 101", ["exactly one user", "Use -100 to 100"]),
    ("run_as: { group_name: b }", ["not of the group 'b'"]),
    ("run_as: { service_principal_name: 1-2 }", ["ServicePrincipalName(1-2) does not exist"]),
    ("trigger: { table_update: { table_names: [ a.b.c ], min_time_between_triggers_seconds: 59 } }", ["seconds from 60 on"]),
    ("schedule: { quartz_cron_expression: '0 0 3 * * ?', timezone_id: UTC, sql_condition: { sql_query_id: x } }", ["sql_condition"]),
  ]) func allErrorsOfAJobAreSaidAtOnce(_ keys: String, _ says: [String]) throws {
    let text = "{ resources: { jobs: { j: { \(keys), tasks: [ { task_key: a, command_task: { command: ls } } ] } } } }"
    let parsed = WorkflowFile.parse(text: text, path: "w.yml", job: nil, parameters: [:], attachments: [:], isDefinition: true)
    let shown = parsed.errors.map { $0.message + " " + $0.hint }
    #expect(parsed.errors.count == says.count && says.allSatisfy { one in shown.contains { $0.contains(one) } }, "\(shown)")
    #expect(parsed.errors.allSatisfy { $0.path == "w.yml" && $0.line == 1 })
  }

  @Test func jobsHaveTheLimitsThatAreSaid() {
    func errors(_ members: [String: JSONValue], tasks: Int = 1) -> [String] {
      var settings: [String: JSONValue] = ["name": "x"]
      settings["tasks"] = .array((0..<tasks).map { ["task_key": .string("t\($0)"), "wait_task": [:]] })
      return JobSettings.check(.object(settings.merging(members) { $1 })).errors.map(\.message)
    }
    func tags(_ count: Int) -> JSONValue { .object(Dictionary(uniqueKeysWithValues: (0..<count).map { ("k\($0)", .string("v")) })) }
    func webhooks(_ count: Int) -> JSONValue { ["on_start": .array((0..<count).map { ["id": .string("d\($0)")] })] }
    #expect(errors(["tags": tags(25), "max_concurrent_runs": 1000, "webhook_notifications": webhooks(3)], tasks: 1000) == [])
    #expect(
      errors(["tags": tags(26), "max_concurrent_runs": 1001, "webhook_notifications": webhooks(4)], tasks: 1001) == [
        "max_concurrent_runs: 1001 is out of range", "tags: has 26 tags; 25 are the most", "tasks: has 1001 tasks; 1000 are the most",
        "webhook_notifications.on_start: has 4 destinations; 3 are the most",
      ])
  }

  @Test func aJobRunsInTheNameOfItsOwner() {
    let settings: JSONValue = ["run_as": ["user_name": "ann"], "tasks": [["task_key": "a", "wait_task": [:]]]]
    #expect(JobSettings.check(settings).errors == [])
    #expect(throws: Never.self) { try RunIdentity.require(settings, owner: "ann") }
    #expect(throws: Never.self) { try RunIdentity.require(["run_as": .null], owner: "ann") }
    let refused = #expect(throws: PlatformError.self) { try RunIdentity.require(settings, owner: "bob") }
    #expect(refused?.number == "PLT-4491" && refused?.code == .permissionDenied && refused?.hint.contains("IS_OWNER") == true)
  }

  @Test func errorsOfATriggerHaveTheLinesOfTheirKeys() {
    let text = """
      resources:
        jobs:
          j:
            schedule:
              quartz_cron_expression: "0 0 3 * * ?"
              timezone_id: Nowhere
            email_notifications:
              on_start: [ a@example.org ]
              on_end: [ a@example.org ]
            tasks: [ { task_key: a, command_task: { command: ls } } ]
      """
    let parsed = WorkflowFile.parse(text: text, path: "w.yml", job: nil, parameters: [:], attachments: [:], isDefinition: true)
    #expect(parsed.errors.map(\.line) == [6, 9], "\(parsed.errors)")
  }

  @Test func aFileThatIsNoYAMLSaysWhatIsTheMatter() {
    func hint(_ text: String) -> String? {
      WorkflowFile.parse(text: text, path: "w.yml", job: nil, parameters: [:], attachments: [:]).errors.first?.hint
    }
    #expect(hint("resources:\n\tjobs: {}\n") == "YAML knows no tabs: indent with spaces.")
    #expect(hint("resources: {}\nresources: {}\n") == "Keep one of the two.")
    #expect(hint("resources: [\n")?.contains("brackets") == true)
  }

  @Test func partsOfAJobCanBeChosen() throws {
    let tasks = ["a", "b", "c", "d"].enumerated().map { index, key in
      TaskSpec(key: key, kind: "k", dependsOn: index == 0 ? [] : [["a", "b", "c"][index - 1]])
    }
    func keys(_ only: [String]) throws -> [String] { try TaskSelection.apply(only, to: tasks).map(\.key) }
    #expect(try keys(["c"]) == ["c"] && keys(["+b"]) == ["a", "b"] && keys(["c+"]) == ["c", "d"] && keys(["+c+"]) == ["a", "b", "c", "d"])
    #expect(try TaskSelection.apply(["b", "d"], to: tasks).map(\.dependsOn) == [[], []])
    #expect(throws: PlatformError.self) { try TaskSelection.apply(["e"], to: tasks) }
  }

  @Test func settingsAreChangedAsDatabricksDoes() throws {
    let old: JSONValue = ["name": "a", "tags": ["x": "1"], "tasks": [["task_key": "a", "n": 1], ["task_key": "b"]]]
    let changed = try JobChange.apply(["name": "b", "tasks": [["task_key": "a", "n": 2], ["task_key": "c"]]], removing: ["tags", "tasks/b"], to: old)
    #expect(changed == ["name": "b", "tasks": [["task_key": "a", "n": 2], ["task_key": "c"]]])
    for path in ["", "tags/x", "tasks/a/b", "/"] {
      #expect(throws: PlatformError.self, "\(path)") { try JobChange.apply([:], removing: [path], to: old) }
    }
  }

  @Test func numbersOfTasksNameRunTaskAndIteration() {
    for id in [TaskRunID(run: 1, task: 0), TaskRunID(run: 536_870_911, task: 999, iteration: 4_999), TaskRunID(run: 7, task: 3, iteration: 0)] {
      #expect(TaskRunID(id.number) == id)
      #expect(id.number < 1 << 53)
    }
    #expect(TaskRunID(12) == nil && TaskRunID(-1) == nil && TaskRunID(.max) == nil)
  }

  @Test func repairsNameTheirTasks() throws {
    let spec = RunSpec(
      id: "1", name: "n",
      tasks: [TaskSpec(key: "a", kind: "k"), TaskSpec(key: "b", kind: "k", dependsOn: ["a"]), TaskSpec(key: "c", kind: "k", dependsOn: ["b"])])
    var records = ["a", "b", "c"].map { record($0, .succeeded) }
    func tasks(_ request: JSONValue) throws -> [String] { try RepairRequest(request).tasks(of: spec, records) }
    #expect(try tasks(["rerun_tasks": ["b"]]) == ["b"])
    #expect(try tasks(["rerun_tasks": ["b"], "rerun_dependent_tasks": true]) == ["b", "c"])
    #expect(throws: PlatformError.self) { try tasks(["rerun_all_failed_tasks": true]) }
    records[1] = record("b", .failed)
    records[2] = record("c", .skipped)
    #expect(try tasks(["rerun_all_failed_tasks": true]) == ["b", "c"])
    for bad: JSONValue in [[:], ["rerun_tasks": ["x"]], ["rerun_tasks": "b"], ["rerun_tasks": ["b"], "rerun_all_failed_tasks": true]] {
      #expect(throws: PlatformError.self) { try tasks(bad) }
    }
  }

  // MARK: views

  private func record(_ key: String, _ state: TaskState, error: PlatformError? = nil) -> TaskRecord {
    var record = TaskRecord(pending: key, of: "5")
    (record.state, record.attempt, record.error) = (state, 1, error)
    return record
  }

  private func stored(_ state: RunState, error: PlatformError? = nil, limit: Int? = nil) -> StoredRun {
    let spec = RunSpec(
      id: "5", name: "r", tasks: [TaskSpec(key: "a", kind: "sql"), TaskSpec(key: "b", kind: "sql", dependsOn: ["a"], disabled: nil)],
      maxConcurrentRuns: limit)
    let run = RunRecord(spec: spec, state: state, sequence: 1, submittedAt: 1_000, finishedAt: nil, cancelRequested: false, error: error)
    return StoredRun(
      row: JobStore.RunRow(runID: "5", name: "r", submittedAt: Date(timeIntervalSince1970: 1), record: run), spec: spec, origin: RunOrigin(), creator: "me")
  }

  @Test(
    arguments: [
      (RunState.pending, nil, "PENDING", nil), (.running, nil, "RUNNING", nil), (.cancelling, nil, "TERMINATING", nil),
      (.succeeded, nil, "TERMINATED", "SUCCESS"), (.failed, PlatformError(.failed, "x"), "TERMINATED", "FAILED"),
      (.failed, PlatformError(.timeout, "x", number: Scheduler.runTimeout), "TERMINATED", "TIMEDOUT"), (.cancelled, nil, "TERMINATED", "CANCELED"),
      (.skipped, nil, "SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED"),
      (.failed, PlatformError(.internalError, "ours"), "INTERNAL_ERROR", "FAILED"),
    ] as [(RunState, PlatformError?, String, String?)])
  func runsHaveDatabricksStates(_ state: RunState, _ error: PlatformError?, _ lifeCycle: String, _ result: String?) {
    let shown = JobsView.run(stored(state, error: error), tasks: [], repairs: nil, host: "http://h")
    #expect(shown["state"]?["life_cycle_state"]?.stringValue == lifeCycle && shown["state"]?["result_state"]?.stringValue == result)
    #expect(shown["run_id"] == 5 && shown["start_time"] == 1_000)
    #expect((shown["status"]?["termination_details"] != nil) == (result != nil))
  }

  @Test func queuedRunsAndTasksHaveTheirStates() {
    #expect(JobsView.run(stored(.pending, limit: 1), tasks: nil, repairs: nil, host: "")["state"]?["life_cycle_state"] == "QUEUED")
    func states(_ run: StoredRun, _ a: TaskRecord, _ b: TaskRecord) -> [String] {
      let shown = JobsView.run(run, tasks: [a, b], repairs: nil, host: "")
      return (shown["tasks"]?.arrayValue ?? []).map { $0["state"]?["result_state"]?.stringValue ?? $0["state"]?["life_cycle_state"]?.stringValue ?? "" }
    }
    #expect(states(stored(.running), record("a", .running), record("b", .pending)) == ["RUNNING", "BLOCKED"])
    #expect(states(stored(.running), record("a", .retrying), record("b", .pending)) == ["WAITING_FOR_RETRY", "BLOCKED"])
    #expect(states(stored(.failed), record("a", .failed), record("b", .skipped)) == ["FAILED", "UPSTREAM_FAILED"])
    #expect(states(stored(.cancelled), record("a", .cancelled), record("b", .skipped)) == ["CANCELED", "UPSTREAM_CANCELED"])
    #expect(states(stored(.cancelled), record("a", .cancelled), record("b", .cancelled)) == ["CANCELED", "UPSTREAM_CANCELED"])
    var began = record("b", .cancelled)
    began.startedAt = 5
    #expect(states(stored(.cancelled), record("a", .cancelled), began) == ["CANCELED", "CANCELED"])
    #expect(states(stored(.pending, limit: 1), record("a", .pending), record("b", .pending)) == ["QUEUED", "QUEUED"])
    #expect(states(stored(.running), record("a", .pending), record("b", .pending)) == ["PENDING", "BLOCKED"])
    // What the platform broke is told apart from what a program did.
    let ours = JobsView.run(
      stored(.failed), tasks: [record("a", .failed, error: PlatformError(.internalError, "ours")), record("b", .skipped)], repairs: nil, host: "")
    #expect((ours["tasks"]?.arrayValue ?? []).map { $0["state"]?["life_cycle_state"] } == ["INTERNAL_ERROR", "TERMINATED"])
    // Stopping: what still runs is shown as it is, what has not begun as ended.
    #expect(states(stored(.cancelling), record("a", .running), record("b", .cancelled)) == ["RUNNING", "CANCELED"])
    #expect(states(stored(.skipped), record("a", .skipped), record("b", .skipped)) == Array(repeating: "MAXIMUM_CONCURRENT_RUNS_REACHED", count: 2))
    let long = RunSpec(
      id: "5", name: "r",
      tasks: [
        TaskSpec(key: "a", kind: "sql"), TaskSpec(key: "b", kind: "sql", dependsOn: ["a"]), TaskSpec(key: "c", kind: "sql", dependsOn: ["b"]),
        TaskSpec(key: "d", kind: "sql", dependsOn: ["c"], disabled: true),
      ])
    var behind = stored(.cancelled)
    behind.spec = long
    let shown = JobsView.run(
      behind, tasks: [record("a", .cancelled), record("b", .skipped), record("c", .skipped), record("d", .skipped)], repairs: nil, host: "")
    #expect(
      (shown["tasks"]?.arrayValue ?? []).map { $0["state"]?["result_state"]?.stringValue } == [
        "CANCELED", "UPSTREAM_CANCELED", "UPSTREAM_CANCELED", "DISABLED",
      ])
    var excluded = record("b", .skipped)
    excluded.excluded = true
    #expect(states(stored(.succeeded), record("a", .succeeded), excluded) == ["SUCCESS", "EXCLUDED"])
    let late = PlatformError(.timeout, "late", number: Scheduler.taskTimeout)
    #expect(states(stored(.failed), record("a", .failed, error: late), record("b", .skipped)) == ["TIMEDOUT", "UPSTREAM_FAILED"])
    let handled = JobsView.run(stored(.succeeded), tasks: [record("a", .failed), record("b", .succeeded)], repairs: nil, host: "")
    #expect(handled["state"]?["result_state"] == "SUCCESS_WITH_FAILURES")
  }

  @Test func exportedPagesHoldOnlyText() {
    let page = JobsView.page(title: "<b>", state: "ok", logs: "<script>alert(1)</script>")
    #expect(!page.contains("<script>") && !page.contains("<b>") && page.contains("&lt;script&gt;"))
  }
}
