// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// A workflow run as `/api/2.0/runs/get` returns it and `platform runs get` prints it.
public struct RunInfo: Codable, Sendable, Equatable {
  public var runID: String
  public var name: String
  /// `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED`, `CANCELLED`, `SKIPPED`.
  public var state: String
  public var submittedAt: Date
  public var startedAt: Date?
  public var endedAt: Date?
  public var message: String
  public var tasks: [TaskInfo]

  public init(
    runID: String, name: String, state: String, submittedAt: Date, startedAt: Date? = nil, endedAt: Date? = nil,
    message: String = "", tasks: [TaskInfo] = []
  ) {
    self.runID = runID
    self.name = name
    self.state = state
    self.submittedAt = submittedAt
    self.startedAt = startedAt
    self.endedAt = endedAt
    self.message = message
    self.tasks = tasks
  }

  public var isFinished: Bool { ["SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"].contains(state) }

  enum CodingKeys: String, CodingKey {
    case name, state, message, tasks
    case runID = "run_id"
    case submittedAt = "submitted_at"
    case startedAt = "started_at"
    case endedAt = "ended_at"
  }
}

/// One task of a run, with where it ran and what it did.
public struct TaskInfo: Codable, Sendable, Equatable {
  public var taskKey: String
  public var kind: String
  public var dependsOn: [String]
  /// `PENDING`, `PLANNING`, `RUNNING`, `COMMITTING`, `RETRYING`, `SUCCEEDED`, `FAILED`, `CANCELLED`, `SKIPPED`.
  public var state: String
  public var attempt: Int
  public var stage: Int
  public var startedAt: Date?
  public var endedAt: Date?
  /// Names of the workers that ran its units.
  public var workers: [String]
  public var unitsDone: Int
  public var unitsTotal: Int
  /// Task values: rows in and out, table versions, model URI, perplexity.
  public var values: JSONValue
  /// One line for people: "3 871 kept, 341 duplicates".
  public var summary: String
  public var error: PlatformError?

  public init(
    taskKey: String, kind: String, dependsOn: [String], state: String, attempt: Int, stage: Int, startedAt: Date? = nil,
    endedAt: Date? = nil, workers: [String] = [], unitsDone: Int = 0, unitsTotal: Int = 0, values: JSONValue = [:],
    summary: String = "", error: PlatformError? = nil
  ) {
    self.taskKey = taskKey
    self.kind = kind
    self.dependsOn = dependsOn
    self.state = state
    self.attempt = attempt
    self.stage = stage
    self.startedAt = startedAt
    self.endedAt = endedAt
    self.workers = workers
    self.unitsDone = unitsDone
    self.unitsTotal = unitsTotal
    self.values = values
    self.summary = summary
    self.error = error
  }

  enum CodingKeys: String, CodingKey {
    case kind, state, attempt, stage, workers, values, summary, error
    case taskKey = "task_key"
    case dependsOn = "depends_on"
    case startedAt = "started_at"
    case endedAt = "ended_at"
    case unitsDone = "units_done"
    case unitsTotal = "units_total"
  }
}

public struct RunList: Codable, Sendable {
  public var runs: [RunInfo]
  public var nextPageToken: String?
  public init(runs: [RunInfo], nextPageToken: String? = nil) {
    self.runs = runs
    self.nextPageToken = nextPageToken
  }
  enum CodingKeys: String, CodingKey {
    case runs
    case nextPageToken = "next_page_token"
  }
}

/// Body of `POST /api/2.2/jobs/runs/submit-file`: the text of a workflow file as the user wrote it.
public struct SubmitFileRequest: Codable, Sendable {
  public var file: String
  public var text: String
  /// Files that the workflow names (SQL), by their path relative to it.
  public var attachments: [String: String]
  public var job: String?
  public var parameters: [String: String]
  public var idempotencyKey: String?

  public init(
    file: String, text: String, attachments: [String: String] = [:], job: String? = nil, parameters: [String: String] = [:],
    idempotencyKey: String? = nil
  ) {
    self.file = file
    self.text = text
    self.attachments = attachments
    self.job = job
    self.parameters = parameters
    self.idempotencyKey = idempotencyKey
  }

  enum CodingKeys: String, CodingKey {
    case file, text, attachments, job, parameters
    case idempotencyKey = "idempotency_key"
  }
}

public struct SubmitFileResponse: Codable, Sendable {
  public var runID: String
  public var name: String
  public var warnings: [String]
  /// False when the idempotency key named a run that already existed.
  public var created: Bool
  public init(runID: String, name: String, warnings: [String], created: Bool) {
    self.runID = runID
    self.name = name
    self.warnings = warnings
    self.created = created
  }
  enum CodingKeys: String, CodingKey {
    case name, warnings, created
    case runID = "run_id"
  }
}

/// One stored line of an attempt's log.
public struct LogLine: Codable, Sendable, Equatable {
  public var id: Int64
  public var time: Date
  public var taskKey: String
  public var attempt: Int
  public var unit: String
  public var line: String
  public init(id: Int64, time: Date, taskKey: String, attempt: Int, unit: String, line: String) {
    self.id = id
    self.time = time
    self.taskKey = taskKey
    self.attempt = attempt
    self.unit = unit
    self.line = line
  }
  enum CodingKeys: String, CodingKey {
    case id, time, attempt, unit, line
    case taskKey = "task_key"
  }
}

public struct LogPage: Codable, Sendable {
  public var lines: [LogLine]
  public init(lines: [LogLine]) { self.lines = lines }
}

/// One point of a curve (loss, tokens per second) of a run.
public struct MetricPoint: Codable, Sendable, Equatable {
  public var taskKey: String
  public var name: String
  public var step: Int64
  public var value: Double
  public init(taskKey: String, name: String, step: Int64, value: Double) {
    self.taskKey = taskKey
    self.name = name
    self.step = step
    self.value = value
  }
  enum CodingKeys: String, CodingKey {
    case name, step, value
    case taskKey = "task_key"
  }
}

public struct MetricPage: Codable, Sendable {
  public var points: [MetricPoint]
  public init(points: [MetricPoint]) { self.points = points }
}
