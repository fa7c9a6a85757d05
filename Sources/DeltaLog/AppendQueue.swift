// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Synchronization

/// Lets the writers of one process that append to the same table at the same time share a commit: while one of them commits,
/// the others gather, and the next commit takes all of them. Each gets its own answer, after its rows are durable.
///
/// There is no thread of its own: the first of those who wait commits for them.
final class AppendQueue: Sendable {
  /// What one writer wants to add.
  final class Request: Sendable {
    let files: [AddFile]
    let expectedSchema: StructType?
    let transaction: AppTransaction?
    let operation: String
    let expectedMetadata: TableMetadata?
    let metrics: [String: String]?
    let unsynced: [UnsyncedFile]
    let userName: String?
    /// Signalled when there is a result, or when this writer shall commit for those who wait.
    fileprivate let turn = DispatchSemaphore(value: 0)
    fileprivate let result = Mutex<Result<CommitOutcome, any Error>?>(nil)

    init(
      _ files: [AddFile], expectedSchema: StructType?, transaction: AppTransaction?, operation: String, expectedMetadata: TableMetadata? = nil,
      metrics: [String: String]? = nil, unsynced: [UnsyncedFile] = [], userName: String? = nil
    ) {
      self.userName = userName
      self.unsynced = unsynced
      self.expectedMetadata = expectedMetadata
      self.metrics = metrics
      self.files = files
      self.expectedSchema = expectedSchema
      self.transaction = transaction
      self.operation = operation
    }
  }

  /// Bounds one commit.
  static let requestLimit = 256
  static let fileLimit = 10_000

  private struct State {
    var waiting: [Request] = []
    var isCommitting = false
  }
  private let state = Mutex(State())

  /// Whether a writer that comes now has to wait for others.
  var isBusy: Bool { state.withLock { $0.isCommitting } }

  /// Waits for its turn, commits, and returns what became of `request`. `commit` gets requests that fit into one commit, and
  /// answers each.
  func append(_ request: Request, _ commit: ([Request]) -> [Result<CommitOutcome, any Error>]) throws -> CommitOutcome {
    let mustWait = state.withLock { state in
      state.waiting.append(request)
      defer { state.isCommitting = true }
      return state.isCommitting
    }
    // Others' commits end: each store call has its deadline.
    if mustWait { request.turn.wait() }
    if let result = request.result.withLock({ $0 }) { return try result.get() }
    let batch = state.withLock { state in
      let batch = Self.batch(state.waiting)
      let taken = Set(batch.map(ObjectIdentifier.init))
      state.waiting.removeAll { taken.contains(ObjectIdentifier($0)) }
      return batch
    }
    let results = commit(batch)
    precondition(results.count == batch.count, "an answer for each")
    for (one, result) in zip(batch, results) {
      one.result.withLock { $0 = result }
      if one !== request { one.turn.signal() }
    }
    state.withLock { state in
      if let next = state.waiting.first { next.turn.signal() } else { state.isCommitting = false }
    }
    guard let result = request.result.withLock({ $0 }) else {
      throw PlatformError(.internalError, "a writer's turn came without its request")
    }
    return try result.get()
  }

  /// The first request, and those behind it that one commit can hold with it.
  static func batch(_ waiting: [Request]) -> [Request] {
    guard let first = waiting.first else { return [] }
    var batch: [Request] = []
    var files = 0
    var paths: Set<String> = []
    var applications: Set<String> = []
    for request in waiting {
      let own = Set(request.files.map(\.path))
      guard batch.count < requestLimit, batch.isEmpty || files + request.files.count <= fileLimit else { break }
      // One operation a commit; a file or an application only once. Order is kept: nobody overtakes.
      guard request.operation == first.operation, paths.isDisjoint(with: own), request.transaction.map({ !applications.contains($0.appId) }) ?? true
      else { break }
      batch.append(request)
      files += request.files.count
      paths.formUnion(own)
      if let transaction = request.transaction { applications.insert(transaction.appId) }
    }
    return batch
  }
}

extension DeltaTable {
  /// Commits several appends as one version. A request that cannot go with the others is committed by itself, so that it gets
  /// the error that it deserves and the others do not.
  func appendTogether(_ requests: [AppendQueue.Request]) -> [Result<CommitOutcome, any Error>] {
    func alone(_ request: AppendQueue.Request) -> Result<CommitOutcome, any Error> {
      Result { try appendNow(request) }
    }
    guard requests.count > 1 else { return requests.map(alone) }
    do {
      var base = try takeLatest()
      let isReady = requests.allSatisfy { request in
        (request.expectedSchema.map { $0.hasSameColumns(as: base.schema) } ?? true)
          && (request.expectedMetadata.map { $0.asksTheSame(as: base.metadata) } ?? true)
          && (request.transaction.map { (base.transactions[$0.appId]?.version ?? .min) < $0.version } ?? true)
      }
      guard isReady else {
        keep(base)
        return requests.map(alone)
      }
      let transactions = requests.compactMap(\.transaction)
      var plan = CommitPlan(transactions.map { .transaction($0) } + requests.flatMap(\.files).map { .add($0) }, operation: requests[0].operation)
      plan.reads.applications = Set(transactions.map(\.appId))
      plan.operationParameters = ["mode": "Append"]
      plan.unsynced = requests.flatMap(\.unsynced)
      // One commit names one user, or none.
      if requests.allSatisfy({ $0.userName == requests[0].userName }) { plan.userName = requests[0].userName }
      plan.operationMetrics = Self.sum(requests.map(\.metrics))
      let outcome = try commit(plan, onto: &base)
      keep(base)
      return requests.map { _ in .success(outcome) }
    } catch {
      switch PlatformError.from(error).code {
      // Nothing was written.
      case .invalidArgument, .conflict, .permissionDenied, .notFound, .invalidFile: return requests.map(alone)
      default: return requests.map { _ in .failure(error) }
      }
    }
  }

  /// The numbers of all of them; nil when one gives none.
  private static func sum(_ metrics: [[String: String]?]) -> [String: String]? {
    var sums: [String: Int64] = [:]
    for own in metrics {
      guard let own else { return nil }
      for (name, value) in own { sums[name] = (sums[name] ?? 0).addingReportingOverflow(Int64(value) ?? 0).partialValue }
    }
    return sums.mapValues { String($0) }
  }
}

extension TableMetadata {
  /// Same columns, partitions and properties: what files were made for the one, the other takes as well.
  public func asksTheSame(as other: TableMetadata) -> Bool {
    schemaString == other.schemaString && partitionColumns == other.partitionColumns && configuration == other.configuration
  }
}
