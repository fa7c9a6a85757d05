// SPDX-License-Identifier: Apache-2.0

public import Core

/// The durable state of a run.
public struct RunRecord: Codable, Sendable, Equatable {
  public var spec: RunSpec
  public var state: RunState
  /// Order of submission; older runs are placed first.
  public var sequence: Int64
  public var submittedAt: Instant
  public var finishedAt: Instant?
  public var cancelRequested: Bool
  /// The first task failure.
  public var error: PlatformError?
  /// When it began to run. This and what follows is absent in what older versions stored.
  public var startedAt: Instant?
  /// How often it was repaired.
  public var repairs: Int?
}

/// What the current stage of a task consists of.
public enum StageShape: String, Codable, Sendable {
  case shards, gang, service, none
}

/// The durable state of a task.
public struct TaskRecord: Codable, Sendable, Equatable {
  public var run: String
  public var key: String
  public var state: TaskState
  /// Counts from 1; a retry starts the next one at the stage that failed.
  public var attempt: Int
  public var stage: Int
  public var shape: StageShape
  public var unitCount: Int
  public var carry: JSONValue
  public var values: JSONValue
  /// In `retrying`, and in `planning` and `committing` that wait to be repeated: when.
  public var notBefore: Instant?
  /// When the attempt times out.
  public var deadline: Instant?
  /// When the replicas of a service stage have to be ready.
  public var readyDeadline: Instant?
  /// Retryable failures of planning or committing this stage in this attempt.
  public var infrastructureFailures: Int
  /// Placements of the gang of this stage; 0 for other shapes.
  public var generation: Int
  /// In a service stage: the service, and the generation that must become ready.
  public var service: String?
  public var serviceGeneration: Int
  public var serviceReplicas: Int
  /// Of a skipped task: nothing before it failed, its `RunIf` or a condition decided so.
  public var excluded: Bool?
  /// Of a loop that has started: its items.
  public var items: [JSONValue]?
  public var startedAt: Instant?
  public var finishedAt: Instant?
  public var error: PlatformError?
  /// Attempts before the last repair; those of a repaired task count on from there, so that no attempt's name is used twice.
  public var base: Int?
  /// Repairs that ran the task again from its first stage.
  public var repairs: Int?
  /// Of a gang that may be smaller, or keeps spares.
  public var gang: GangTerms?
  /// Ranks of the gang's latest generation, when it was placed with fewer than it has units: the first so many.
  public var ranks: Int?

  public var stageID: StageID { StageID(run: run, task: key, attempt: attempt, stage: stage) }
}

/// Shards and ranks: waiting -> assigned -> running (-> ready) -> succeeded | failed | waiting again. A rank that has
/// succeeded waits again when another rank of its gang fails.
/// Replicas: waiting -> assigned -> running -> ready -> draining -> ended, or back to waiting when they die.
public enum UnitState: String, Codable, Sendable {
  case waiting, assigned, running, ready, draining, succeeded, failed, cancelled, ended

  public var isTerminal: Bool {
    switch self {
    case .succeeded, .failed, .cancelled, .ended: true
    case .waiting, .assigned, .running, .ready, .draining: false
    }
  }

  /// Whether a worker holds a lease on it.
  public var isLeased: Bool {
    switch self {
    case .assigned, .running, .ready, .draining: true
    case .waiting, .succeeded, .failed, .cancelled, .ended: false
    }
  }
}

/// A second attempt at a shard that takes much longer than its neighbours. The first one that succeeds is the unit's; the other stops.
public struct RivalAttempt: Codable, Sendable, Equatable {
  public var attempt: Int
  public var worker: String
  public var incarnation: Int64
}

/// Where a rank of a replica listens for the others.
public struct RankAddress: Codable, Sendable, Equatable {
  public var address: String
  public var publicKey: String
}

/// The durable state of a unit: a shard, a gang rank, a replica, or one rank of it.
public struct UnitRecord: Codable, Sendable, Equatable {
  /// `run/task/taskAttempt/stage/index`, or `service/<name>/<number>`, for ranks above 0 with `/<rank>` behind it.
  public var name: String
  /// Of shards and ranks; empty for replicas.
  public var run: String
  public var task: String
  public var taskAttempt: Int
  public var stage: Int
  /// Index, rank, or number of the replica.
  public var index: Int
  /// Of replicas.
  public var service: String?
  /// Of a replica that was started to spread a service better: the one that drains once this one is ready.
  public var replaces: String?
  /// Of ranks: the gang's generation; of replicas: the service's.
  public var generation: Int
  public var kind: String
  public var payload: JSONValue
  public var state: UnitState
  /// Leases so far.
  public var attempt: Int
  public var worker: String?
  public var incarnation: Int64
  public var failures: Int
  public var losses: Int
  /// While waiting: not to be placed before.
  public var notBefore: Instant?
  /// Of a replica: since when it has been ready; of a draining one: when it is ended by force.
  public var readySince: Instant?
  public var drainDeadline: Instant?
  public var address: String?
  public var publicKey: String?
  public var result: JSONValue
  public var error: PlatformError?
  /// Absent in what older versions stored, and where a slot is all that it needs.
  public var demand: Demand?
  /// Of shards: running it again, or twice at once, is the same as running it once. Absent: it may not be.
  public var repeatable: Bool?
  /// See `UnitSpec.affinity`.
  public var affinity: Int64?
  /// How often it was stopped to make room for a service.
  public var preemptions: Int?
  /// The service that it is being stopped for, or, while it waits, was stopped for.
  public var preemptedBy: String?
  /// While another worker runs it too.
  public var rival: RivalAttempt?
  /// The number of that attempt, also when it is over: numbers are never used twice, and one is enough.
  public var rivalAttempt: Int?
  /// Of a replica in several ranks: which of them this is, of how many. `index` is the replica's number.
  public var rank: Int?
  public var ranks: Int?
  /// Where it listens for the other ranks of its replica.
  public var meets: RankAddress?

  public var key: UnitAttempt { UnitAttempt(unit: name, attempt: attempt) }
}

/// The durable state of a service.
public struct ServiceRecord: Codable, Sendable, Equatable {
  /// With the generation that was decided, never 0.
  public var spec: ServiceSpec
  /// Number of the next replica.
  public var nextReplica: Int
  /// All replicas drain, then the service is forgotten.
  public var removing: Bool
  /// Gone. The record is kept and restored, because the numbers of replicas and generations go on if it is set again.
  public var removed: Bool
}

/// What a worker may be given.
public enum WorkerAvailability: String, Codable, Sendable {
  /// Everything.
  case open
  /// Nothing new; what it has stays.
  case cordoned
  /// Nothing new, and its replicas move elsewhere.
  case draining
}

/// The durable state of a worker: only what an operator decided.
public struct WorkerRecord: Codable, Sendable, Equatable {
  public var worker: String
  public var availability: WorkerAvailability
}

/// One changed entity. The runner writes each as an upsert by `key`; terminal ones stay as the archive. Indirect, because tables of a hundred thousand have
/// room for twice as many.
public indirect enum Record: Codable, Sendable, Equatable {
  case run(RunRecord)
  case task(TaskRecord)
  case unit(UnitRecord)
  case service(ServiceRecord)
  case worker(WorkerRecord)

  /// Unique over all kinds.
  public var key: String {
    switch self {
    case .run(let run): "run:\(run.spec.id)"
    case .task(let task): "task:\(task.run)/\(task.key)"
    case .unit(let unit): "unit:\(unit.name)"
    case .service(let service): "service:\(service.spec.name)"
    case .worker(let worker): "worker:\(worker.worker)"
    }
  }

  /// Whether nothing can happen to it any more.
  public var isTerminal: Bool {
    switch self {
    case .run(let run): run.state.isTerminal
    case .task(let task): task.state.isTerminal
    case .unit(let unit): unit.state.isTerminal
    case .service: false  // a removed one is restored too, see `ServiceRecord.removed`
    case .worker(let worker): worker.availability == .open
    }
  }
}
