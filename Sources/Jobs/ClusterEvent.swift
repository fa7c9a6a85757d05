// SPDX-License-Identifier: Apache-2.0

import Core
import Postgres
public import Scheduling

/// Something that happened in the cluster and that an operator may want to know: what ended badly, who came and went.
public struct ClusterEvent: Sendable, Equatable {
  /// The first word says of what.
  public enum Kind: String, Sendable, CaseIterable {
    case leaderChanged = "leader.changed"
    case nodeJoined = "node.joined"
    /// Its connection broke; its leases decide whether what it ran is lost.
    case nodeSilent = "node.silent"
    case nodeReturned = "node.returned"
    case nodeCordoned = "node.cordoned"
    case nodeDraining = "node.draining"
    case nodeOpened = "node.opened"
    case runFailed = "run.failed"
    case runCancelled = "run.cancelled"
    case taskFailed = "task.failed"
    case taskRetried = "task.retried"
    /// A program took more memory, processes or disk than it may.
    case taskLimited = "task.limited"
    case unitFailed = "unit.failed"
    case unitLost = "unit.lost"
    /// It was stopped to make room for a service.
    case unitPreempted = "unit.preempted"
    /// It goes on with fewer ranks than it should have.
    case gangShrunk = "gang.shrunk"
    case replicaFailed = "replica.failed"
    case replicaLost = "replica.lost"

    /// How bad it is, as logs have it.
    public var severity: String {
      switch self {
      case .leaderChanged, .nodeJoined, .nodeReturned, .nodeCordoned, .nodeDraining, .nodeOpened, .runCancelled, .unitPreempted: "INFO"
      case .nodeSilent, .taskRetried, .unitFailed, .unitLost, .gangShrunk, .replicaLost: "WARNING"
      case .runFailed, .taskFailed, .taskLimited, .replicaFailed: "ERROR"
      }
    }

    /// Those that a word means: a kind, or all of its first word.
    public static func matching(_ word: String) -> [Kind] { allCases.filter { $0.rawValue == word || $0.rawValue.hasPrefix(word + ".") } }
  }

  public var kind: Kind
  /// What it happened to: a node, `run/12`, `run/12/task`, a unit.
  public var subject: String
  public var node: String?
  public var message: String
  /// What makes it one event, however often it is noted; nil: each note is another one.
  public var key: String?

  public init(_ kind: Kind, _ subject: String, node: String? = nil, _ message: String, key: String? = nil) {
    self.kind = kind
    self.subject = subject
    self.node = node
    self.message = message
    self.key = key.map { "\(kind.rawValue)/\($0)" }
  }

  /// Number of the error of a program that took more than it may.
  private static let overLimit = "PLT-4240"
  /// How the scheduler's error of a unit ends whose worker is gone.
  private static let lost = " was lost"

  /// What a changed record of the scheduler tells. The same record tells the same, also when it is stored again with another change.
  public static func of(_ record: Record) -> ClusterEvent? {
    switch record {
    case .run(let run):
      let subject = "run/\(run.spec.id)"
      let key = "\(run.spec.id)/\(run.repairs ?? 0)"
      switch run.state {
      case .failed: return ClusterEvent(.runFailed, subject, "run \(run.spec.id) (\(run.spec.name)) failed" + text(run.error), key: key)
      case .cancelled: return ClusterEvent(.runCancelled, subject, "run \(run.spec.id) (\(run.spec.name)) was cancelled", key: key)
      case .pending, .running, .cancelling, .succeeded, .skipped: return nil
      }
    case .task(let task):
      let subject = "run/\(task.run)/\(task.key)"
      let key = "\(task.run)/\(task.key)/\(task.attempt)"
      switch task.state {
      case .failed:
        let isLimit = task.error?.number == overLimit
        return ClusterEvent(isLimit ? .taskLimited : .taskFailed, subject, "task \(task.key) of run \(task.run) failed" + text(task.error), key: key)
      case .retrying:
        let isLimit = task.error?.number == overLimit
        return ClusterEvent(
          isLimit ? .taskLimited : .taskRetried, subject,
          "attempt \(task.attempt) of task \(task.key) of run \(task.run) failed, and is repeated" + text(task.error), key: key)
      case .running where task.ranks != nil:
        return ClusterEvent(
          .gangShrunk, subject, "task \(task.key) of run \(task.run) goes on with \(task.ranks ?? 0) of \(task.unitCount) ranks",
          key: "\(key)/\(task.stage)/\(task.generation)")
      case .pending, .planning, .running, .committing, .succeeded, .cancelled, .skipped: return nil
      }
    case .unit(let unit):
      if let service = unit.preemptedBy, let count = unit.preemptions, unit.state == .waiting || unit.state.isLeased, unit.generation == 0 || unit.index == 0 {
        let what = unit.generation > 0 ? "the gang of unit \(unit.name)" : "unit \(unit.name)"
        return ClusterEvent(
          .unitPreempted, unit.name, "\(what) is stopped to make room for service \(service), and is run again", key: "\(unit.name)/\(count)")
      }
      guard unit.state == .waiting || unit.state == .failed, unit.failures + unit.losses > 0 else { return nil }
      if let service = unit.service {
        let key = "\(unit.name)/\(unit.attempt)"
        // One that failed waits before it starts again, one that was lost does not.
        return unit.notBefore == nil
          ? ClusterEvent(.replicaLost, unit.name, "replica \(unit.index) of \(service) was lost with its worker, and starts again", key: key)
          : ClusterEvent(.replicaFailed, unit.name, "replica \(unit.index) of \(service) failed, and starts again" + text(unit.error), key: key)
      }
      // Counted, and not by attempts: when one rank of a gang fails, all begin anew.
      let key = "\(unit.name)/\(unit.failures + unit.losses)"
      return unit.error?.message.hasSuffix(lost) != false
        ? ClusterEvent(.unitLost, unit.name, "unit \(unit.name) was lost with its worker", key: key)
        : ClusterEvent(.unitFailed, unit.name, "unit \(unit.name) failed" + text(unit.error), key: key)
    case .worker(let worker):
      switch worker.availability {
      case .open: return ClusterEvent(.nodeOpened, worker.worker, node: worker.worker, "node \(worker.worker) takes everything again")
      case .cordoned: return ClusterEvent(.nodeCordoned, worker.worker, node: worker.worker, "node \(worker.worker) takes nothing new")
      case .draining: return ClusterEvent(.nodeDraining, worker.worker, node: worker.worker, "node \(worker.worker) is being emptied")
      }
    case .service: return nil
    }
  }

  private static func text(_ error: PlatformError?) -> String {
    error.map { ": \($0.message.prefix(500))" + ($0.number.isEmpty ? "" : " (\($0.number))") } ?? ""
  }
}
