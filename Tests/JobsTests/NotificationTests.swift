// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres
import TestSupport
import Testing

@testable import Jobs
@testable import Scheduling

/// Who is told of what, and that what is to be told is stored with what it tells of.
@Suite struct NotificationTests {
  static let id = "3b241101-e2bb-4255-8caf-4136c566a962"

  private static func rules(_ text: String) throws -> NotificationRules { try NotificationRules(JSONValue(parsing: text)) }

  @Test func settingsAreRead() throws {
    let rules = try Self.rules(
      """
      {"webhook_notifications": {"on_start": [{"id": "A"}], "on_failure": [{"id": "a"}, {"id": "b"}, {"id": "b"}], "on_success": [],
        "on_streaming_backlog_exceeded": []}, "notification_settings": {"no_alert_for_skipped_runs": true, "no_alert_for_canceled_runs": false},
       "health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 60}]}, "email_notifications": {"on_failure": ["Ops@Example.com"],
        "no_alert_for_skipped_runs": true, "on_start": []}, "tasks": []}
      """)
    #expect(rules.isMailQuietOnSkip)
    #expect(rules.targets(.start) == ["webhook:a"] && rules.targets(.success) == [])
    #expect(rules.targets(.failure) == ["webhook:a", "webhook:b", "email:Ops@Example.com"])
    #expect(rules.isQuietOnSkip && !rules.isQuietOnCancel && rules.slowAfterSeconds == 60 && rules.destinations == ["a", "b"])
    #expect(try Self.rules(#"{"webhook_notifications": {}, "health": null}"#).isEmpty)
  }

  @Test(arguments: [
    (#"{"webhook_notifications": {"on_start": [{"id":"1"},{"id":"2"},{"id":"3"},{"id":"4"}]}}"#, "3 are the most"),
    (#"{"webhook_notifications": {"on_streaming_backlog_exceeded": [{"id":"1"}]}}"#, "is not built"),
    (#"{"webhook_notifications": {"on_sucess": [{"id":"1"}]}}"#, "Did you mean 'on_success'?"),
    (#"{"webhook_notifications": {"on_start": [{"url":"1"}]}}"#, "'id' is missing"),
    (#"{"webhook_notifications": {"on_start": "1"}}"#, "must be a list"),
    (#"{"webhook_notifications": [1]}"#, "must be a mapping"),
    (#"{"email_notifications": {"on_failure": ["a@b\\r\\nBcc: c@d"]}}"#, "is no address"),
    (#"{"email_notifications": {"on_failure": "a@b"}}"#, "must be a list"),
    (#"{"notification_settings": {"no_alert_for_cancelled_runs": true}}"#, "Did you mean 'no_alert_for_canceled_runs'?"),
    (#"{"notification_settings": {"no_alert_for_skipped_runs": "x"}}"#, "true or false"),
    (#"{"health": {"rules": [{"metric": "STREAMING_BACKLOG_BYTES", "op": "GREATER_THAN", "value": 1}]}}"#, "is not built"),
    (#"{"health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "LESS_THAN", "value": 1}]}}"#, "GREATER_THAN"),
    (#"{"health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 0}]}}"#, "1 to 31536000"),
  ]) func mistakesAreNamed(_ text: String, _ words: String) throws {
    let error = try #require(throws: PlatformError.self) { try Self.rules(text) }
    #expect(error.number == "PLT-4312" && "\(error)".contains(words), "\(error)")
  }

  @Test func settingsOfJobsAreChecked() throws {
    func check(_ job: String, _ task: String) throws -> [String] {
      let text = #"{"name": "j", \#(job) "tasks": [{"task_key": "a", \#(task) "condition_task": {"op": "EQUAL_TO", "left": "1", "right": "1"}}]}"#
      return try JobSettings.check(JSONValue(parsing: text)).errors.map { "\($0)" }
    }
    #expect(try check(#""webhook_notifications": {"on_start": [{"id": "x"}]},"#, #""webhook_notifications": {"on_failure": [{"id": "x"}]},"#) == [])
    #expect(try check(#""webhook_notifications": {"on_end": [{"id": "x"}]},"#, "")[0].contains("on_end"))
    #expect(try check("", #""notification_settings": {"x": true},"#)[0].hasPrefix("tasks[0]: notification_settings: unknown key 'x'"))
    let loop = """
      {"name": "j", "tasks": [{"task_key": "l", "for_each_task": {"inputs": "[1]", "task": {"task_key": "a",
        "webhook_notifications": {"on_start": [{"id": "x"}]}, "command_task": {"command": "ls"}}}}]}
      """
    #expect(try JobSettings.check(JSONValue(parsing: loop)).errors.map(\.number) == ["PLT-4312"])
  }

  // MARK: deciding

  private static let spec = RunSpec(
    id: "7", name: "nightly", tasks: [TaskSpec(key: "z", kind: "x"), TaskSpec(key: "a", kind: "x", maxRetries: 2)])

  private static func notifications(job: String = "", task: String = "") throws -> RunNotifications {
    let text = """
      {"webhook_notifications": {"on_start": [{"id": "s"}], "on_success": [{"id": "g"}], "on_failure": [{"id": "f"}],
        "on_duration_warning_threshold_exceeded": [{"id": "w"}]}, "health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 9}]},
        "notification_settings": {\(job)}, "tasks": [{"task_key": "a", "webhook_notifications": {"on_start": [{"id": "s"}], "on_failure": [{"id": "f"}],
        "on_duration_warning_threshold_exceeded": [{"id": "w"}]}, "health": {"rules": [{"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": 5}]},
        "notification_settings": {\(task)}}]}
      """
    return try #require(RunNotifications(settings: JSONValue(parsing: text), spec: spec, job: 12))
  }

  private static func run(_ state: RunState, started: Bool = true, repairs: Int? = nil) -> RunRecord {
    RunRecord(
      spec: spec, state: state, sequence: 1, submittedAt: 1, finishedAt: nil, cancelRequested: false, error: nil, startedAt: started ? 1000 : nil,
      repairs: repairs)
  }

  private static func task(_ state: TaskState, attempt: Int = 1, started: Bool = true, key: String = "a", error: PlatformError? = nil) -> TaskRecord {
    var record = TaskRecord(pending: key, of: "7")
    record.state = state
    record.attempt = attempt
    record.startedAt = started ? 1000 : nil
    record.error = error
    return record
  }

  private static func words(_ notices: [Notice]) -> [String] { notices.map { "\($0.occasion.rawValue.dropFirst(3)) \($0.target.dropFirst(8)) \($0.cycle)" } }

  @Test func runsAreToldOf() throws {
    let rules = try Self.notifications()
    #expect(rules.watches)
    #expect(Self.words(rules.notices(Self.run(.pending, started: false))) == [])
    #expect(Self.words(rules.notices(Self.run(.running))) == ["start s 0"])
    // A run that has started and ended between two looks.
    #expect(Self.words(rules.notices(Self.run(.succeeded))) == ["start s 0", "success g 0"])
    #expect(Self.words(rules.notices(Self.run(.failed, repairs: 2))) == ["start s 2", "failure f 2"])
    #expect(Self.words(rules.notices(Self.run(.cancelled))) == ["start s 0", "failure f 0"])
    #expect(Self.words(rules.notices(Self.run(.skipped, started: false))) == ["failure f 0"])
    let quiet = try Self.notifications(job: #""no_alert_for_skipped_runs": true, "no_alert_for_canceled_runs": true"#)
    #expect(Self.words(quiet.notices(Self.run(.cancelled))) == ["start s 0"])
    #expect(Self.words(quiet.notices(Self.run(.skipped, started: false))) == [])
    #expect(Self.words(quiet.notices(Self.run(.failed))) == ["start s 0", "failure f 0"])
    #expect(
      rules.notices(Self.run(.succeeded))[1].body == [
        "event_type": "jobs.on_success", "workspace_id": "1", "run": ["run_id": "7"], "job": ["job_id": "12", "name": "nightly"],
      ])
  }

  @Test func mailIsTextForPeople() throws {
    let rules = try #require(
      RunNotifications(
        settings: ["email_notifications": ["on_failure": ["o@example.com"], "no_alert_for_skipped_runs": true]], spec: Self.spec, job: 12))
    #expect(rules.notices(Self.run(.skipped, started: false)).isEmpty)
    let notice = try #require(rules.notices(Self.run(.failed)).first)
    #expect(notice.target == "email:o@example.com" && NotificationText.subject(notice) == "[platform] nightly did not succeed (run 7)")
    let body = NotificationText.body(notice, error: PlatformError(.failed, "it broke", hint: "Mend it."), host: "http://h")
    #expect(body.contains("it broke. Mend it.") && body.contains("http://h/#/runs/7") && body.contains("platform runs repair 7"))
  }

  @Test func tasksAreToldOf() throws {
    let rules = try Self.notifications()
    #expect(Self.words(rules.notices(Self.task(.pending, started: false))) == [])
    #expect(Self.words(rules.notices(Self.task(.running, key: "z"))) == [])
    #expect(Self.words(rules.notices(Self.task(.running))) == ["start s 1"])
    #expect(Self.words(rules.notices(Self.task(.retrying))) == ["start s 1", "failure f 1"])
    #expect(Self.words(rules.notices(Self.task(.failed, attempt: 3))) == ["start s 3", "failure f 3"])
    #expect(Self.words(rules.notices(Self.task(.skipped, started: false))) == [])
    let last = try Self.notifications(task: #""alert_on_last_attempt": true, "no_alert_for_canceled_runs": true"#)
    #expect(Self.words(last.notices(Self.task(.retrying))) == ["start s 1"])
    #expect(Self.words(last.notices(Self.task(.running, attempt: 2))) == [])
    #expect(Self.words(last.notices(Self.task(.failed, attempt: 3))) == ["failure f 3"])
    #expect(Self.words(last.notices(Self.task(.cancelled))) == ["start s 1"])
    let late = PlatformError(.timeout, "late", number: Scheduler.runTimeout)
    #expect(Self.words(last.notices(Self.task(.cancelled, error: late))) == ["start s 1", "failure f 1"])
    #expect(
      rules.notices(Self.task(.running))[0].body == [
        "event_type": "jobs.on_start", "workspace_id": "1", "job": ["job_id": "12", "name": "nightly"], "task": ["task_key": "a"],
        "run": ["run_id": .string(String(TaskRunID(run: 7, task: 1).number)), "parent_run_id": "7"],
      ])
  }

  @Test func slowOnesAreToldOfOnce() throws {
    let rules = try Self.notifications()
    func words(_ now: Instant, _ run: RunRecord = Self.run(.running), _ task: TaskRecord = Self.task(.running)) -> [String] {
      rules.notices(run, [task], now: now).map { "\($0.taskKey)\($0.cycle)" }
    }
    #expect(words(6000) == [])
    #expect(words(6001) == ["a0"])
    #expect(words(10_001) == ["0", "a0"])
    #expect(words(10_001, Self.run(.running, repairs: 1), Self.task(.succeeded)) == ["1"])
    #expect(words(10_001, Self.run(.running, started: false), Self.task(.pending, started: false)) == [])
  }

  @Test func deliveriesAreRepeatedForHoursAndThenGivenUp() {
    let plan = DeliveryPlan()
    let away = PlatformError(.unavailable, "away")
    #expect(plan.next(attempts: 1, failure: nil, unit: 0) == .sent)
    #expect(plan.next(attempts: 1, failure: PlatformError(.permissionDenied, "inside"), unit: 0) == .failed)
    var total: Int64 = 0
    var attempts = 1
    while case .again(let delay) = plan.next(attempts: attempts, failure: away, unit: 0) {
      #expect(delay > 0 && delay <= 3_600_000)
      total += delay
      attempts += 1
    }
    #expect(attempts == plan.attempts && total > 2 * 3_600_000 && total < 6 * 3_600_000)
  }

  // MARK: destinations

  @Test func signaturesAreThoseOfStandardWebhooks() throws {
    let settings = try WebhookSettings(
      ["generic_webhook": ["url": "https://example.com/", "username": "u", "password": "p", "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]],
      freshSecret: [])
    let headers = settings.headers(id: "msg_p5jXN8AQM9LWM0D4loKWxJek", seconds: 1_614_265_330, body: #"{"test": 2432232314}"#)
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }
    // The example of the specification's reference implementation.
    #expect(header("webhook-signature") == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    #expect(header("webhook-id") == "msg_p5jXN8AQM9LWM0D4loKWxJek" && header("webhook-timestamp") == "1614265330" && header("authorization") == "Basic dTpw")
    #expect(settings.shown.sortedText.contains("true") && !settings.shown.sortedText.contains("example"))
  }

  @Test func destinationsChangeByParts() throws {
    let fresh = [UInt8](repeating: 7, count: 32)
    let first = try WebhookSettings(["generic_webhook": ["url": "https://a/", "username": "u", "password": "p"]], freshSecret: fresh)
    #expect(first.signingSecret.hasPrefix("whsec_BwcH"))
    let second = try WebhookSettings(["generic_webhook": ["url": "https://b/", "password": "q"]], over: first, freshSecret: [])
    #expect(second.url == "https://b/" && second.username == "u" && second.password == "q" && second.signingSecret == first.signingSecret)
    #expect(try WebhookSettings(["generic_webhook": ["username": "", "password": ""]], over: first, freshSecret: []).username == nil)
    for wrong: JSONValue in [
      .null, [:], ["slack": ["url": "x"]], ["generic_webhook": [:]], ["generic_webhook": ["url": 1]], ["generic_webhook": ["url": "x", "uri": "y"]],
      ["generic_webhook": ["url": "x", "password": "y"]], ["generic_webhook": ["url": "x", "signing_secret": "whsec_AAAA"]],
      ["generic_webhook": ["url": "x", "username": "a:b"]],
    ] {
      let error = #expect(throws: PlatformError.self) { try WebhookSettings(wrong, freshSecret: fresh) }
      #expect(error?.number == "PLT-4311", "\(wrong)")
    }
  }
}

/// What is to be told, in Postgres.
@Suite(.serialized) struct NotificationStoreTests {
  private func makeStore() async throws -> (folder: TemporaryDirectory, server: PrivatePostgres, pool: PostgresPool, store: JobStore) {
    let folder = TemporaryDirectory("jobs")
    chmod(folder.path, 0o755)
    let server = try await PrivatePostgres.start(directory: folder.file("pg"), diesWithParent: true)
    let pool = try PostgresPool(PostgresConfiguration(connectionString: server.connectionString, poolSize: 2))
    try await Migrator(pool: pool, migrations: JobMigrations.all + Leadership.migrations).migrate()
    return (folder, server, pool, JobStore(pool: pool))
  }

  @Test func noticesAreStoredWithTheChangeAndOnce() async throws {
    let (folder, server, pool, jobs) = try await makeStore()
    defer { withExtendedLifetime(folder) {} }
    let store = NotificationStore(pool: pool)
    let epoch = try #require(await Leadership(pool: pool, seconds: 600).acquire(CoordinatorAddress(instance: "test", http: "", nodes: "")))
    let key = try SealingKey([UInt8](repeating: 1, count: 32))

    let settings = try WebhookSettings(["generic_webhook": ["url": "https://secret.example/"]], freshSecret: [UInt8](repeating: 2, count: 32))
    let made = try await store.create(name: "ops", settings, sealedWith: key, by: "me")
    #expect(try await store.destination(made.id, sealedWith: key).1 == settings)
    #expect(try await store.missing([made.id, NotificationTests.id]) == [NotificationTests.id])
    #expect(try await store.destinations(offset: 0, limit: 10) == [made])
    for wrong in ["x", NotificationTests.id] {
      await #expect(throws: PlatformError.self) { _ = try await store.destination(wrong, sealedWith: key) }
    }

    var origin = RunOrigin()
    origin.job = 3
    origin.settings = [
      "webhook_notifications": ["on_start": [["id": .string(made.id)]], "on_failure": [["id": .string(made.id)]]],
      "tasks": [["task_key": "a", "webhook_notifications": ["on_failure": [["id": .string(made.id)]]]]],
    ]
    var spec = RunSpec(id: "", name: "j", tasks: [TaskSpec(key: "a", kind: "x")])
    spec.id = try await jobs.create(spec, submittedBy: "me", origin: origin).runID
    var run = RunRecord(
      spec: spec, state: .running, sequence: 1, submittedAt: 1, finishedAt: nil, cancelRequested: false, error: nil, startedAt: 5, repairs: nil)
    var task = TaskRecord(pending: "a", of: spec.id)
    (task.state, task.startedAt, task.attempt) = (.retrying, 6, 1)
    try await jobs.save([.run(run), .task(task)], epoch: epoch)
    try await jobs.save([.run(run), .task(task)], epoch: epoch)
    func found() async throws -> [String] {
      try await store.list(run: spec.id, state: nil, before: nil, limit: 100).map { "\($0.notice.taskKey)\($0.notice.occasion.rawValue) \($0.state)" }.sorted()
    }
    #expect(try await found() == ["aon_failure waiting", "on_start waiting"])

    // Neither the change nor its notice, when the epoch is over.
    run.state = .failed
    await #expect(throws: PlatformError.self) { try await jobs.save([.run(run)], epoch: epoch - 1) }
    #expect(try await found().count == 2)

    let due = try await store.due(except: [], each: 1, limit: 10)
    #expect(due.count == 1)
    #expect(try await store.due(except: ["webhook:" + made.id], each: 1, limit: 10).isEmpty)
    try await store.note(due[0].number, .sent, attempts: 1, error: "", epoch: epoch)
    let next = try #require(await store.due(except: [], each: 9, limit: 10).first)
    #expect(next.id != due[0].id)
    try await store.note(next.number, .again(afterMilliseconds: 600_000), attempts: 1, error: "away", epoch: epoch)
    #expect(try await store.due(except: [], each: 9, limit: 10).isEmpty)
    try await store.note(next.number, .failed, attempts: 2, error: "gone", epoch: epoch)
    #expect(try await store.list(run: nil, state: .failed, before: nil, limit: 10).map(\.error) == ["gone"])
    // Known already, in whatever state.
    try await jobs.save([.task(task)], epoch: epoch)
    #expect(try await found() == ["aon_failure failed", "on_start sent"])

    // What has ended long ago goes with its run.
    try await pool.execute("UPDATE notifications SET ended_at = now() - interval '40 days'")
    try await store.tidy()
    #expect(try await found().count == 2)
    run.state = .succeeded
    try await jobs.save([.run(run)], epoch: epoch)
    try await store.tidy()
    #expect(try await found().isEmpty)
    #expect(try await jobs.watchedRuns().isEmpty)

    try await store.delete(made.id)
    await #expect(throws: PlatformError.self) { try await store.delete(made.id) }
    pool.close()
    try await server.stop()
  }
}
