// SPDX-License-Identifier: Apache-2.0

public import Core

/// Plans for the usual changes of a table's files. Pure: they decide on a snapshot, and `DeltaTable.commit` carries them out.
extension CommitPlan {
  /// Adds `files` without having read anything.
  public static func append(_ files: [AddFile], operation: String = "WRITE") -> CommitPlan {
    var plan = CommitPlan(files.map { .add($0) }, operation: operation)
    plan.operationParameters = ["mode": "Append"]
    return plan
  }

  /// Replaces every file of `base`. Files of the same name stay.
  public static func overwrite(
    _ files: [AddFile], base: Snapshot, now: Int64 = ProcessSupport.wallMilliseconds, operation: String = "WRITE"
  ) -> CommitPlan {
    var plan = CommitPlan(
      replacement(of: base.files, by: files, now: now), reads: .matching(.all, base.files), operation: operation)
    plan.operationParameters = ["mode": "Overwrite"]
    return plan
  }

  /// Replaces the partitions that `condition` names. Every new file has to lie in one of them.
  /// - Throws: `invalidArgument` for a condition on other than partition columns and for files outside of it.
  public static func replaceWhere(
    _ condition: FilePredicate, _ files: [AddFile], base: Snapshot, now: Int64 = ProcessSupport.wallMilliseconds,
    operation: String = "WRITE"
  ) throws -> CommitPlan {
    let skipper = FileSkipper(base)
    for file in files where try !skipper.matchesWholePartition(file.partitionValues, condition) {
      throw PlatformError(.invalidArgument, "a new file lies outside of the condition that is replaced", path: file.path)
    }
    let old = try base.files.filter { try skipper.matchesWholePartition($0.partitionValues, condition) }
    var plan = CommitPlan(replacement(of: old, by: files, now: now), reads: .matching(condition, old), operation: operation)
    plan.operationParameters = ["mode": "Overwrite", "predicate": .string(condition.text)]
    return plan
  }

  /// Replaces exactly the partitions that `files` have rows for.
  public static func dynamicOverwrite(
    _ files: [AddFile], base: Snapshot, now: Int64 = ProcessSupport.wallMilliseconds, operation: String = "WRITE"
  ) -> CommitPlan {
    let partitions = Set(files.map(\.partitionValues))
    let old = base.files.filter { partitions.contains($0.partitionValues) }
    var reads = TransactionReads()
    reads.files = Set(old.map(\.path))
    reads.predicates = partitions.map { FilePredicate.partition($0, base: base) }
    var plan = CommitPlan(replacement(of: old, by: files, now: now), reads: reads, operation: operation)
    plan.operationParameters = ["mode": "Overwrite", "partitionOverwriteMode": "dynamic"]
    return plan
  }

  /// Removes whole partitions.
  /// - Throws: `invalidArgument` for a condition on other than partition columns.
  public static func deletePartitions(
    _ condition: FilePredicate, base: Snapshot, now: Int64 = ProcessSupport.wallMilliseconds
  ) throws -> CommitPlan {
    let skipper = FileSkipper(base)
    let old = try base.files.filter { try skipper.matchesWholePartition($0.partitionValues, condition) }
    var plan = CommitPlan(replacement(of: old, by: [], now: now), reads: .matching(condition, old), operation: "DELETE")
    plan.operationParameters = ["predicate": .string(condition.text)]
    return plan
  }

  /// The files of one update, delete or merge.
  public struct Rewrite: Sendable {
    /// Files whose rows are gone or lie in `added` now.
    public var removed: [AddFile] = []
    public var added: [AddFile] = []
    /// Files that lose rows by a deletion vector, with the vector that holds all deleted rows, old ones included.
    public var deleted: [(file: AddFile, vector: DeletionVectorDescriptor)] = []
    /// Files of changed rows, for the change data feed.
    public var changes: [ChangeFile] = []
    public init() {}
  }

  /// An update, delete or merge that chose rows by `condition` and has read all of `read`.
  public static func rewrite(
    _ rewrite: Rewrite, where condition: FilePredicate, read: [AddFile], now: Int64 = ProcessSupport.wallMilliseconds,
    operation: String
  ) -> CommitPlan {
    var actions: [Action] = rewrite.removed.map { .remove(RemoveFile($0, deletionTimestamp: now)) }
    for (file, vector) in rewrite.deleted {
      actions.append(.remove(RemoveFile(file, deletionTimestamp: now)))
      actions.append(.add(file.with(vector, now: now)))
    }
    actions += rewrite.added.map { .add($0) }
    actions += rewrite.changes.map { .change($0) }
    return CommitPlan(actions, reads: .matching(condition, read), operation: operation)
  }

  /// Puts the rows of `removed` into `added` without changing any (compaction, clustering).
  public static func rearrange(
    removed: [AddFile], added: [AddFile], now: Int64 = ProcessSupport.wallMilliseconds, operation: String = "OPTIMIZE"
  ) -> CommitPlan {
    var reads = TransactionReads()
    reads.files = Set(removed.map(\.path))
    let actions: [Action] =
      removed.map { .remove(RemoveFile($0, deletionTimestamp: now, dataChange: false)) }
      + added.map {
        var file = $0
        file.dataChange = false
        return .add(file)
      }
    return CommitPlan(actions, reads: reads, operation: operation)
  }

  static func replacement(of old: [AddFile], by new: [AddFile], now: Int64) -> [Action] {
    let kept = Set(new.map(\.path))
    return old.filter { !kept.contains($0.path) }.map { .remove(RemoveFile($0, deletionTimestamp: now)) } + new.map { .add($0) }
  }
}

extension AddFile {
  /// This file with fewer rows. Its bounds are wide from now on: deleted rows may have been the smallest or largest.
  func with(_ vector: DeletionVectorDescriptor, now: Int64) -> AddFile {
    var file = self
    file.deletionVector = vector
    file.dataChange = true
    file.modificationTime = now
    file.stats = stats.map(FileStatistics.withWideBounds)
    return file
  }
}

extension FilePredicate {
  /// The condition that a row lies in the partition with these values (by physical name).
  static func partition(_ values: [String: String?], base: Snapshot) -> FilePredicate {
    .and(
      base.schema.fields.filter { values.keys.contains($0.physicalName) }.map { field in
        guard let text = values[field.physicalName] ?? nil, !text.isEmpty else { return .isNull([field.name]) }
        guard let value = try? Literal(partition: text, type: field.type) else { return .unknown }  // judged as "may be"
        return .compare(column: [field.name], .equal, value)
      })
  }

  /// For the history.
  public var text: String {
    func name(_ column: [String]) -> String { column.joined(separator: ".") }
    switch self {
    case .all: return "true"
    case .nothing: return "false"
    case .unknown: return "?"
    case .compare(let column, let comparison, let value):
      let sign =
        switch comparison {
        case .equal: "="
        case .notEqual: "<>"
        case .less: "<"
        case .lessOrEqual: "<="
        case .greater: ">"
        case .greaterOrEqual: ">="
        }
      return "\(name(column)) \(sign) \(value.sqlText)"
    case .isNull(let column): return "\(name(column)) IS NULL"
    case .isNotNull(let column): return "\(name(column)) IS NOT NULL"
    case .isIn(let column, let values): return "\(name(column)) IN (\(values.map(\.sqlText).joined(separator: ", ")))"
    case .and(let parts): return parts.isEmpty ? "true" : "(" + parts.map(\.text).joined(separator: " AND ") + ")"
    case .or(let parts): return parts.isEmpty ? "false" : "(" + parts.map(\.text).joined(separator: " OR ") + ")"
    case .not(let part): return "NOT (\(part.text))"
    }
  }
}

extension Literal {
  /// As SQL writes it.
  var sqlText: String {
    switch self {
    case .boolean(let value): value ? "true" : "false"
    case .integer(let value): String(value)
    case .number(let value): "\(value)"
    case .decimal(let text): text
    case .string(let text): "'" + text.replacing("'", with: "''") + "'"
    case .binary(let bytes): "X'" + bytes.hexadecimal + "'"
    case .date(let days): "DATE '" + CivilTime.dateText(days) + "'"
    case .timestamp(let value): "TIMESTAMP '" + CivilTime.text(value, separator: " ") + "'"
    }
  }
}
