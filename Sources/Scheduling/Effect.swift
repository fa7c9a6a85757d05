// SPDX-License-Identifier: Apache-2.0

public import Core

/// A planning or a commit that the runner performs: input and output outside of the scheduler.
public struct StageCall: Sendable, Equatable {
  public var id: StageID
  /// Kind and body of the task.
  public var kind: String
  public var body: JSONValue
  /// What the previous stage's commit carried over; null for stage 0.
  public var carry: JSONValue
  /// Values of the run's tasks that have succeeded, by task key.
  public var values: [String: JSONValue]
  /// What other references in the body stand for, by their name.
  public var facts: [String: String]
  /// How often a repair has started the task anew.
  public var repair: Int
  /// How many of its shards share a lease and a result; nil: each has its own.
  public var partsPerBatch: Int?
  /// Planning it changes nothing anywhere.
  public var isPure = false

  public init(
    id: StageID, kind: String, body: JSONValue, carry: JSONValue, values: [String: JSONValue], facts: [String: String] = [:], repair: Int = 0
  ) {
    self.facts = facts
    self.repair = repair
    self.id = id
    self.kind = kind
    self.body = body
    self.carry = carry
    self.values = values
  }

  /// What makes a commit idempotent: the same for every attempt, because a committed stage is never repeated, except by a repair.
  public var commitKey: String { "\(id.run)/\(id.task)/\(id.stage)" + (repair > 0 ? "/repair-\(repair)" : "") }

  /// What references in the body stand for.
  public var scope: TemplateScope { TemplateScope(values: values, facts: facts) }
}

/// A unit's place in its gang.
public struct GangPlace: Codable, Sendable, Equatable {
  public var gang: String
  public var generation: Int
  public var rank: Int
  public var size: Int
}

/// A lease: this worker shall run this attempt.
public struct Assignment: Sendable, Equatable {
  public var worker: String
  /// The worker refuses an assignment of another incarnation, and ignores one that it runs or ran already.
  public var incarnation: Int64
  public var unit: String
  public var attempt: Int
  public var kind: String
  public var payload: JSONValue
  public var gang: GangPlace?
  public var service: String?
  /// See `UnitRecord.repeatable`.
  public var isRepeatable = false
  /// It begins when a slot of its worker is free.
  public var mayWait = false
}

/// One rank of a complete gang.
public struct GangMember: Codable, Sendable, Equatable {
  public var rank: Int
  public var unit: String
  public var attempt: Int
  public var worker: String
  public var hostID: String
  public var address: String
  public var publicKey: String
}

/// Everyone's endpoint, sent to each member once all of them have reported.
public struct PeerTable: Codable, Sendable, Equatable {
  public var gang: String
  public var generation: Int
  public var members: [GangMember]
}

/// A replica as the router needs it.
public struct ReadyReplica: Codable, Sendable, Equatable {
  public var service: String
  public var generation: Int
  public var unit: String
  public var attempt: Int
  public var worker: String
  public var address: String
  public var publicKey: String
}

/// What the runner does after it has stored `Scheduler.takeChanges()`, in this order; those that precede the store it does at once.
/// Every effect may be repeated.
public enum Effect: Sendable, Equatable {
  /// Answer with `stagePlanned` or `stagePlanFailed`.
  case planStage(StageCall)
  /// Results are in unit order. Must be idempotent by `commitKey`: when that stage was committed before, answer with the
  /// outcome it had then. Answer with `stageCommitted` or `stageCommitFailed`.
  case commitStage(StageCall, results: [JSONValue])

  case assign(Assignment)
  case cancelUnit(worker: String, unit: String, attempt: Int)
  /// Finish what is in flight, take nothing new, then end; `cancelUnit` follows if it takes too long.
  case drainReplica(worker: String, unit: String, attempt: Int)
  /// The worker may forget this finished attempt (it keeps the pair in mind so that a late `assign` does not run it again).
  case acknowledge(worker: String, unit: String, attempt: Int)
  /// Everything on the worker is leased for another `leaseMs` counted from when it sent beat `sequence`.
  case heartbeatAccepted(worker: String, incarnation: Int64, sequence: Int64)
  /// The scheduler does not know this worker (any more): it should send its hello.
  case requestJoin(worker: String)
  /// Send to each member's worker.
  case peerTable(PeerTable)

  case replicaReady(ReadyReplica)
  /// Route nothing new there.
  case replicaGone(service: String, unit: String, attempt: Int)

  case runStateChanged(run: String, state: RunState, error: PlatformError?)
  case taskStateChanged(run: String, task: String, attempt: Int, stage: Int, state: TaskState, error: PlatformError?)
  /// The submitted run, or the service, was not accepted: the specification is wrong or superseded.
  case refused(name: String, error: PlatformError)
}

extension Effect {
  /// Whether it may be performed before what it follows from is stored: nothing is lost or told wrongly when that is never stored, because
  /// the coordinator ended. A successor plans again, and gives repeatable work again, under the name of another attempt.
  public var precedesStore: Bool {
    switch self {
    case .taskStateChanged, .heartbeatAccepted: true
    case .planStage(let call): call.isPure
    case .assign(let assignment): assignment.isRepeatable
    case .commitStage, .cancelUnit, .drainReplica, .acknowledge, .requestJoin, .peerTable, .replicaReady, .replicaGone, .runStateChanged, .refused: false
    }
  }
}
