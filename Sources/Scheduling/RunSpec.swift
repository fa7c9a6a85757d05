// SPDX-License-Identifier: Apache-2.0

public import Core

/// Milliseconds on any clock that the runner keeps monotonic for as long as it leads. The scheduler never reads a clock.
public typealias Instant = Int64

/// One task of a run as the user wrote it, resolved. `body` is what the planner of `kind` reads; the scheduler never does.
public struct TaskSpec: Codable, Sendable, Equatable {
  /// Unique in the run; letters, digits, `_`, `-` and `.`.
  public var key: String
  /// Which planner makes the stages: `ingest`, `prepare`, `train`, `deploy`, ...
  public var kind: String
  public var dependsOn: [String]
  /// Further attempts after the first one. Committed stages are not repeated by a later attempt.
  public var maxRetries: Int
  public var retryBackoff: Backoff
  /// Time that one attempt may take, from its first planning to its last commit. Nil: no limit.
  public var timeoutMs: Int64?
  public var body: JSONValue
  /// When it starts; nil is `allSuccess`. These four are absent in what older versions stored.
  public var runIf: RunIf?
  /// Which outcome a condition in `dependsOn` must have, by its key.
  public var outcomes: [String: Bool]?
  /// The task is a comparison and nothing else.
  public var condition: Condition?
  /// The task runs once for each item.
  public var forEach: ForEach?
  /// Whether an attempt that took longer than `timeoutMs` is repeated like one that failed; nil is yes.
  public var retryOnTimeout: Bool?
  /// It is skipped, as if a condition had decided so.
  public var disabled: Bool?
  /// What each of its units needs of a worker; also its replicas, when its service does not say. Nil: a slot.
  public var demand: Demand?
  /// Whether its units may be stopped, and run again, to make room for a service. Nil: gangs, and shards that are repeatable.
  public var preemptible: Bool?
  /// How many of its shards share a lease and a result. Nil: each has its own.
  public var partsPerBatch: Int?

  public init(
    key: String, kind: String, dependsOn: [String] = [], maxRetries: Int = 0, retryBackoff: Backoff = Backoff(),
    timeoutMs: Int64? = nil, body: JSONValue = .null, runIf: RunIf? = nil, outcomes: [String: Bool]? = nil,
    condition: Condition? = nil, forEach: ForEach? = nil, retryOnTimeout: Bool? = nil, disabled: Bool? = nil, demand: Demand? = nil,
    preemptible: Bool? = nil
  ) {
    self.demand = demand
    self.preemptible = preemptible
    self.retryOnTimeout = retryOnTimeout
    self.disabled = disabled
    self.runIf = runIf
    self.outcomes = outcomes
    self.condition = condition
    self.forEach = forEach
    self.key = key
    self.kind = kind
    self.dependsOn = dependsOn
    self.maxRetries = maxRetries
    self.retryBackoff = retryBackoff
    self.timeoutMs = timeoutMs
    self.body = body
  }
}

/// A run that somebody asked for: a DAG of tasks. The runner refuses repeated identifiers and idempotency keys in
/// Postgres; the scheduler only knows runs that have not ended.
public struct RunSpec: Codable, Sendable, Equatable {
  /// Unique for ever; contains no `/`.
  public var id: String
  public var name: String
  public var idempotencyKey: String?
  public var tasks: [TaskSpec]
  /// The job that it is a run of; nil for a run on its own.
  public var job: String?
  /// Runs of the job at once; the others wait as `pending`. Nil: no limit.
  public var maxConcurrentRuns: Int?
  /// Whose share of the slots it takes.
  public var user: String?
  /// Higher is placed first; nil is 0.
  public var priority: Int?
  /// Whether it waits while its job has `maxConcurrentRuns` others; false: it is skipped then. Nil is yes.
  public var queues: Bool?
  /// Time from its start to its end; then it is cancelled and has failed. Nil: no limit.
  public var timeoutMs: Int64?
  /// What references such as `{{job.id}}` in its tasks stand for, by their name.
  public var facts: [String: String]?

  public init(
    id: String, name: String, idempotencyKey: String? = nil, tasks: [TaskSpec], job: String? = nil, maxConcurrentRuns: Int? = nil,
    user: String? = nil, priority: Int? = nil, queues: Bool? = nil, timeoutMs: Int64? = nil, facts: [String: String]? = nil
  ) {
    self.queues = queues
    self.timeoutMs = timeoutMs
    self.facts = facts
    self.job = job
    self.maxConcurrentRuns = maxConcurrentRuns
    self.user = user
    self.priority = priority
    self.id = id
    self.name = name
    self.idempotencyKey = idempotencyKey
    self.tasks = tasks
  }
}

/// Pending: it waits for other runs of its job.
/// pending -> running -> succeeded | failed | cancelled; running -> cancelling -> cancelled | failed | succeeded;
/// pending -> skipped (its job had as many runs as it may have, and it does not queue); failed | cancelled | skipped | succeeded -> pending
/// when it is repaired.
public enum RunState: String, Codable, Sendable, CaseIterable {
  case pending, running, cancelling, succeeded, failed, cancelled, skipped

  public var isTerminal: Bool {
    switch self {
    case .succeeded, .failed, .cancelled, .skipped: true
    case .pending, .running, .cancelling: false
    }
  }
}

/// Where a task is.
///
///     pending -> planning -> running -> committing -> planning (next stage) | succeeded
///     planning, running, committing -> retrying (attempt failed, another is allowed) -> planning (same stage)
///     any of them -> failed | cancelled;   pending -> skipped (see `RunIf`)
///     pending -> succeeded (a condition);  pending -> running (a loop, while its iterations run)
public enum TaskState: String, Codable, Sendable, CaseIterable {
  case pending, planning, running, committing, retrying, succeeded, failed, cancelled, skipped

  public var isTerminal: Bool {
    switch self {
    case .succeeded, .failed, .cancelled, .skipped: true
    case .pending, .planning, .running, .committing, .retrying: false
    }
  }
}

/// One shard or gang rank as the planner made it.
public struct UnitSpec: Codable, Sendable, Equatable {
  /// Position in its stage, 0..<count; the rank for gangs. The scheduler renumbers by array position.
  public var index: Int
  /// The executor function: `ingest`, `embed`, `train.rank`, ...
  public var kind: String
  public var payload: JSONValue
  /// Of shards: see `UnitRecord.repeatable`.
  public var repeatable: Bool
  /// False: it is short, and runs beside everything else, without a slot and whatever its task asks for but labels.
  public var takesRoom: Bool
  /// Of shards: what stands for the data that it reads over the network. Those with the same are placed on the same worker while it has room:
  /// it has copies of that data. Nil: any worker will do.
  public var affinity: Int64?

  public init(index: Int, kind: String, payload: JSONValue, repeatable: Bool = false, takesRoom: Bool = true, affinity: Int64? = nil) {
    self.affinity = affinity
    self.repeatable = repeatable
    self.takesRoom = takesRoom
    self.index = index
    self.kind = kind
    self.payload = payload
  }
}

/// What a service should be. `generation` 0 lets the scheduler choose: the current one when kind and payload are the
/// same, otherwise the next. An explicit generation older than the current one is refused.
public struct ServiceSpec: Codable, Sendable, Equatable {
  /// Unique; contains no `/`.
  public var name: String
  public var kind: String
  public var payload: JSONValue
  public var replicas: Int
  public var generation: Int
  /// How long a task that sets this service waits for `replicas` ready ones.
  public var readyTimeoutMs: Int64
  /// What each replica needs of a worker. Another demand is another generation.
  public var demand: Demand?
  /// Work of a higher priority is never stopped to make room for its replicas. Nil: that of the run that sets it, 0 when none does.
  public var priority: Int?
  /// Processes that make up one replica: placed, and ended, together. `demand` is that of each. Nil: one. Another number is another generation.
  public var ranks: Int?

  public init(
    name: String, kind: String, payload: JSONValue, replicas: Int, generation: Int = 0, readyTimeoutMs: Int64 = 300_000,
    demand: Demand? = nil, priority: Int? = nil, ranks: Int? = nil
  ) {
    self.ranks = ranks
    self.demand = demand
    self.priority = priority
    self.name = name
    self.kind = kind
    self.payload = payload
    self.replicas = replicas
    self.generation = generation
    self.readyTimeoutMs = readyTimeoutMs
  }
}

/// What the planner answers for one stage.
public enum StagePlan: Sendable, Equatable {
  /// One lease each, many at once, in any order.
  case shards([UnitSpec])
  /// All or nothing; the array position is the rank. All unless the terms say that fewer will do, and then which.
  case gang([UnitSpec], GangTerms = GangTerms())
  /// Set the service and wait until its replicas are ready.
  case service(ServiceSpec)
  /// Nothing to run: the stage goes straight to its commit with no results.
  case none
}

/// What a commit leads to.
public enum StageOutcome: Sendable, Equatable {
  /// Another stage follows; `carry` is handed to its planning (also after a restart).
  case nextStage(carry: JSONValue)
  /// The task is done; `values` is what `{{tasks.<key>.values.<name>}}` of later tasks reads.
  case taskDone(values: JSONValue)
}
