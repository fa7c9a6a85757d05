// SPDX-License-Identifier: Apache-2.0

public import Core

/// One attempt at one unit. The attempt grows with every lease, so the pair is never used twice.
public struct UnitAttempt: Codable, Sendable, Hashable, Comparable {
  public var unit: String
  public var attempt: Int

  public init(unit: String, attempt: Int) {
    self.unit = unit
    self.attempt = attempt
  }

  public static func < (a: UnitAttempt, b: UnitAttempt) -> Bool { (a.unit, a.attempt) < (b.unit, b.attempt) }
}

/// What a worker says when it introduces itself.
public struct WorkerHello: Codable, Sendable, Equatable {
  public var worker: String
  /// Grows with each start of the worker process (its start time in microseconds, for example).
  public var incarnation: Int64
  /// Shards and gang ranks it runs at once.
  public var slots: Int
  /// Names the machine, so that ranks know whom they share memory with.
  public var hostID: String
  public var labels: [String: String]
  /// Its processors, when they are not as many as its slots, and its memory. Nil of older workers, to whom nothing that asks
  /// for memory is given.
  public var cpus: Double?
  public var memoryBytes: Int64?
  /// What it holds: running, or finished and not acknowledged yet.
  public var held: [UnitAttempt]

  public init(
    worker: String, incarnation: Int64, slots: Int, hostID: String, labels: [String: String] = [:], held: [UnitAttempt] = [],
    cpus: Double? = nil, memoryBytes: Int64? = nil
  ) {
    self.cpus = cpus
    self.memoryBytes = memoryBytes
    self.worker = worker
    self.incarnation = incarnation
    self.slots = slots
    self.hostID = hostID
    self.labels = labels
    self.held = held
  }
}

/// How an attempt ended.
public enum UnitOutcome: Sendable, Equatable {
  case succeeded(JSONValue)
  /// Counts towards the bound on failures of the unit, also when the executor crashed.
  case failed(PlatformError)
  /// It stopped because it was told to.
  case cancelled
  /// The worker cannot run it or cannot tell (it fenced itself, for example). Counts as a loss, not as a failure.
  case lost
}

/// Identifies one planning or commit. An answer whose values are not the task's current ones changes nothing.
public struct StageID: Codable, Sendable, Hashable {
  public var run: String
  public var task: String
  public var attempt: Int
  public var stage: Int

  public init(run: String, task: String, attempt: Int, stage: Int) {
    self.run = run
    self.task = task
    self.attempt = attempt
    self.stage = stage
  }
}

/// Everything that can happen to the scheduler. Events may be repeated, late and out of order.
public enum Event: Sendable, Equatable {
  /// A hello: at start, after `Effect.requestJoin`, and after a reconnection.
  case workerJoined(WorkerHello)
  /// Renews the leases of everything on the worker. `sequence` grows with each beat of an incarnation; older beats are
  /// ignored. `held` as in `WorkerHello`: what it lists and the scheduler does not want is cancelled, what it misses is sent again.
  case workerHeartbeat(worker: String, incarnation: Int64, sequence: Int64, held: [UnitAttempt])
  /// The process is known to have ended (it said goodbye). A broken connection is no proof: let the lease run out.
  case workerLost(worker: String, incarnation: Int64)
  /// Give it nothing new and move its replicas elsewhere; what runs there may finish. Stays so, also while the worker or
  /// the scheduler is away, until `workerUncordon`.
  case workerDrain(worker: String)
  /// Give it nothing new; what it has stays.
  case workerCordon(worker: String)
  /// It takes everything again.
  case workerUncordon(worker: String)

  case unitStarted(worker: String, unit: String, attempt: Int)
  /// Workers repeat this until `Effect.acknowledge` names the pair.
  case unitFinished(worker: String, unit: String, attempt: Int, outcome: UnitOutcome)
  /// A replica serves, or a gang rank listens. Ranks repeat it until they have the peer table.
  case unitReady(worker: String, unit: String, attempt: Int, address: String, publicKey: String)

  /// Every rank of the gang has written its latest checkpoint, as this rank says. When one of its workers is draining and the
  /// others have the slots, the gang moves now and loses nothing; when a service waits for its room, it makes room now.
  case gangCheckpointed(worker: String, unit: String, attempt: Int)

  case runSubmitted(RunSpec)
  case runCancelRequested(run: String)
  /// A run that has ended goes on with some of its tasks run again, as `Repair` says. `number` counts the run's repairs from 1: a
  /// repeated event changes nothing. Refused while the run has not ended.
  case runRepaired(RunRecord, tasks: [TaskRecord], rerun: [String], number: Int)

  case stagePlanned(StageID, StagePlan)
  /// A retryable error is planned again a few times inside the attempt; any other ends the attempt.
  case stagePlanFailed(StageID, PlatformError)
  case stageCommitted(StageID, StageOutcome)
  case stageCommitFailed(StageID, PlatformError, retryable: Bool)

  case serviceSet(ServiceSpec)
  case serviceRemoved(name: String)

  /// Time passed; see `Scheduler.nextDeadline`.
  case tick
}
