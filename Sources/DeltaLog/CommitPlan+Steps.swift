// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Several changes of a table that become one commit.
extension CommitPlan {
  /// One change that does what `steps` do one after the other, each decided on what those before it leave of `base`. Files that one step
  /// adds and a later one removes are in no log.
  /// - Throws: `invalidArgument` PLT-3283 when the table's rows or their changes could not be told apart in one commit.
  public static func combined(_ steps: [CommitPlan], base: Snapshot) throws -> CommitPlan {
    guard var whole = steps.first else { throw PlatformError(.internalError, "there is no change to commit", path: base.metadata.id) }
    if steps.count == 1 { return whole }
    if let reason = tracking(base), steps.contains(where: { !$0.onlyAdds }) { throw severalChanges(reason) }
    var tableProtocol: TableProtocol?
    var metadata: TableMetadata?
    var domains: [String: DomainMetadata] = [:]
    var removed: [LogicalFile: RemoveFile] = [:]
    var added: [String: AddFile] = [:]
    var order: [String] = []
    var changes: [Action] = []
    for step in steps {
      // A commit may name the removal of a file's old vector behind the addition with its new one.
      for case .remove(let file) in step.actions {
        if let own = added[file.path], LogicalFile(own) == LogicalFile(file) { added[file.path] = nil } else { removed[LogicalFile(file)] = file }
      }
      for action in step.actions {
        switch action {
        case .protocol(let value): tableProtocol = value
        case .metadata(let value): metadata = value
        case .domain(let value): domains[value.domain] = value
        case .add(let file):
          if added.updateValue(file, forKey: file.path) == nil { order.append(file.path) }
        case .change: changes.append(action)
        case .remove, .transaction, .commitInfo, .checkpoint, .sidecar: break
        }
      }
      whole.reads.formUnion(step.reads)
      if step.isolation == .serializable { whole.isolation = .serializable }
      if step.preservesRowIds == false || whole.preservesRowIds == nil { whole.preservesRowIds = step.preservesRowIds }
      whole.droppedFeatures.formUnion(step.droppedFeatures)
    }
    var seen: Set<String> = []
    whole.unsynced = steps.flatMap(\.unsynced)
    whole.actions = tableProtocol.map { [.protocol($0)] } ?? []
    whole.actions += metadata.map { [.metadata($0)] } ?? []
    whole.actions += domains.keys.sorted().compactMap { domains[$0].map { .domain($0) } }
    whole.actions += removed.values.sorted { $0.path < $1.path }.map { .remove($0) }
    whole.actions += order.compactMap { path in added[path].flatMap { seen.insert(path).inserted ? .add($0) : nil } }
    whole.actions += changes
    whole.describe(steps)
    return whole
  }

  /// Whether rows only come in.
  private var onlyAdds: Bool {
    actions.allSatisfy {
      switch $0 {
      case .remove, .change: false
      default: true
      }
    }
  }

  /// What keeps one commit of the table from holding several changes of its rows; nil: nothing does.
  private static func tracking(_ base: Snapshot) -> String? {
    // A version's feed does not say in which order its changes came, and rows get their ids only when they are committed.
    base.properties.hasChangeDataFeed ? "a change data feed" : base.properties.hasRowTracking ? "row tracking" : nil
  }

  /// - Parameter isFirst: whether no earlier change waits to be committed with it.
  /// - Throws: `invalidArgument` PLT-3283 for a change of rows behind another one that `combined` would not take.
  public static func requireChangeable(_ base: Snapshot, isFirst: Bool) throws {
    if !isFirst, let reason = tracking(base) { throw severalChanges(reason) }
  }

  private static func severalChanges(_ reason: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "a table with \(reason) takes one statement of a transaction, or several that only insert",
      hint: "Say it in one statement, a MERGE for instance, or commit in between.", number: "PLT-3283")
  }

  /// For the history: the operation that all steps have, or `TRANSACTION`, with what each of them was.
  private mutating func describe(_ steps: [CommitPlan]) {
    let names = steps.map(\.operation)
    if Set(names).count > 1 { operation = "TRANSACTION" }
    if Set(steps.map(\.operationParameters)).count > 1 { operationParameters = [:] }
    operationParameters["statements"] = .array(names.map { .string($0) })
    var sums: [String: Int64] = [:]
    for step in steps {
      for (name, value) in step.operationMetrics ?? step.fileMetrics {
        guard let number = Int64(value) else { continue }
        sums[name] = (sums[name] ?? 0).addingReportingOverflow(number).partialValue
      }
    }
    operationMetrics = sums.mapValues { String($0) }
  }
}

extension TransactionReads {
  /// What two transactions have read.
  public mutating func formUnion(_ other: TransactionReads) {
    wholeTable = wholeTable || other.wholeTable
    files.formUnion(other.files)
    for predicate in other.predicates where !predicates.contains(predicate) { predicates.append(predicate) }
    applications.formUnion(other.applications)
  }
}

extension Snapshot {
  /// As the table would be behind `plans`, each decided on what those before it leave. It keeps its version: nothing is committed.
  /// - Parameter data: as for `DeltaTable.dataFeatures`.
  public func behind(_ plans: [CommitPlan], data: Set<TableFeature>) throws -> Snapshot {
    var state = self
    for plan in plans { try state.advance(plan.actions, data: data) }
    state.version = version
    return state
  }
}

/// A change that waits travels as text: its actions as they stand in a log. Files that are not on the disk yet do not travel.
extension CommitPlan: Codable {
  private enum Key: String, CodingKey {
    case actions, reads, isolation, operation, parameters, metrics, userName, userMetadata, preservesRowIds
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: Key.self)
    self.init(
      try Action.parse(Data(values.decode(String.self, forKey: .actions).utf8), name: "a waiting change"),
      reads: try values.decode(TransactionReads.self, forKey: .reads),
      isolation: try values.decodeIfPresent(String.self, forKey: .isolation).flatMap(IsolationLevel.init(rawValue:)),
      operation: try values.decode(String.self, forKey: .operation))
    operationParameters = try values.decode([String: JSONValue].self, forKey: .parameters)
    operationMetrics = try values.decodeIfPresent([String: String].self, forKey: .metrics)
    userName = try values.decodeIfPresent(String.self, forKey: .userName)
    userMetadata = try values.decodeIfPresent(String.self, forKey: .userMetadata)
    preservesRowIds = try values.decodeIfPresent(Bool.self, forKey: .preservesRowIds)
  }

  public func encode(to encoder: any Encoder) throws {
    precondition(unsynced.isEmpty && droppedFeatures.isEmpty, "what cannot travel is not part of a waiting change")
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(String(decoding: Action.encode(actions), as: UTF8.self), forKey: .actions)
    try values.encode(reads, forKey: .reads)
    try values.encodeIfPresent(isolation?.rawValue, forKey: .isolation)
    try values.encode(operation, forKey: .operation)
    try values.encode(operationParameters, forKey: .parameters)
    try values.encodeIfPresent(operationMetrics, forKey: .metrics)
    try values.encodeIfPresent(userName, forKey: .userName)
    try values.encodeIfPresent(userMetadata, forKey: .userMetadata)
    try values.encodeIfPresent(preservesRowIds, forKey: .preservesRowIds)
  }
}
