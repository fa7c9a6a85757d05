// SPDX-License-Identifier: Apache-2.0

import Core

/// A condition on rows, as far as the log can judge it: by partition values and statistics of whole files.
public indirect enum FilePredicate: Codable, Sendable, Hashable {
  public enum Comparison: String, Codable, Sendable, Hashable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual
  }

  /// Every row.
  case all
  /// No row.
  case nothing
  /// What the log cannot judge: may hold for any row.
  case unknown
  /// - `column`: the display name, nested ones as a path.
  case compare(column: [String], Comparison, Literal)
  case isNull([String])
  case isNotNull([String])
  case isIn([String], [Literal])
  case and([FilePredicate])
  case or([FilePredicate])
  case not(FilePredicate)
}

/// Judges files by a table's schema. Made once for many files.
public struct FileSkipper: Sendable {
  /// What a predicate can be for the rows of a file. Rows for which it is null count for neither.
  struct Verdict: Sendable, Equatable {
    var canBeTrue: Bool
    var canBeFalse: Bool
    static let either = Verdict(canBeTrue: true, canBeFalse: true)
  }

  private struct Target: Sendable {
    var physicalPath: [String]
    var type: DeltaType
    var isPartition: Bool
  }

  /// Bounds of one column in one file; nil is unknown.
  private struct Bounds {
    var low: Literal?
    var high: Literal?
    /// Whether every row is null, or none is; nil: unknown.
    var isAllNull: Bool?
    var hasNulls: Bool?
  }

  private let schema: StructType
  private let partitionColumns: Set<String>

  public init(_ snapshot: Snapshot) { self.init(schema: snapshot.schema, partitionColumns: snapshot.metadata.partitionColumns) }

  public init(schema: StructType, partitionColumns: [String]) {
    self.schema = schema
    self.partitionColumns = Set(partitionColumns.map { $0.lowercased() })
  }

  /// False only when no row of `file` can satisfy `predicate`.
  public func mayMatch(_ file: AddFile, _ predicate: FilePredicate) -> Bool {
    // Statistics are text: read only when a column other than a partition column is asked for.
    var statistics: JSONValue?
    var isRead = false
    return verdict(predicate, file) {
      if !isRead {
        isRead = true
        // Statistics are optional: what cannot be read counts as absent.
        statistics = file.stats.flatMap { try? JSONScanner.value($0) }
      }
      return statistics
    }.canBeTrue
  }

  /// Whether every row, or no row, of a partition satisfies a predicate on partition columns.
  /// - Throws: `invalidArgument` when the predicate asks for more than partition columns.
  public func matchesWholePartition(_ partitionValues: [String: String?], _ predicate: FilePredicate) throws -> Bool {
    try checkPartitionColumns(predicate)
    let file = AddFile(path: "", partitionValues: partitionValues, size: 0, modificationTime: 0)
    return verdict(predicate, file, { nil }).canBeTrue
  }

  private func checkPartitionColumns(_ predicate: FilePredicate) throws {
    switch predicate {
    case .all, .nothing: break
    case .unknown: throw PlatformError(.invalidArgument, "the condition must only name partition columns")
    case .compare(let column, _, _), .isNull(let column), .isNotNull(let column), .isIn(let column, _):
      guard let target = target(column), target.isPartition else {
        throw PlatformError(.invalidArgument, "'\(column.joined(separator: "."))' is no partition column of the table")
      }
    case .and(let parts), .or(let parts): for part in parts { try checkPartitionColumns(part) }
    case .not(let part): try checkPartitionColumns(part)
    }
  }

  private func target(_ column: [String]) -> Target? {
    var fields = schema.fields
    var path: [String] = []
    for (index, name) in column.enumerated() {
      guard let field = fields.first(where: { $0.name == name }) ?? fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
        return nil
      }
      path.append(field.physicalName)
      if index == column.count - 1 {
        return Target(
          physicalPath: path, type: field.type, isPartition: column.count == 1 && partitionColumns.contains(field.name.lowercased()))
      }
      guard case .structure(let inner) = field.type else { return nil }
      fields = inner.fields
    }
    return nil
  }

  private func verdict(_ predicate: FilePredicate, _ file: AddFile, _ statistics: () -> JSONValue?) -> Verdict {
    switch predicate {
    case .all: return Verdict(canBeTrue: true, canBeFalse: false)
    case .nothing: return Verdict(canBeTrue: false, canBeFalse: true)
    case .unknown: return .either
    case .not(let part):
      let inner = verdict(part, file, statistics)
      return Verdict(canBeTrue: inner.canBeFalse, canBeFalse: inner.canBeTrue)
    case .and(let parts):
      let all = parts.map { verdict($0, file, statistics) }
      return Verdict(canBeTrue: all.allSatisfy(\.canBeTrue), canBeFalse: all.contains(where: \.canBeFalse))
    case .or(let parts):
      let all = parts.map { verdict($0, file, statistics) }
      return Verdict(canBeTrue: all.contains(where: \.canBeTrue), canBeFalse: all.allSatisfy(\.canBeFalse))
    case .isNull(let column):
      guard let bounds = bounds(column, file, statistics) else { return .either }
      return Verdict(canBeTrue: bounds.hasNulls ?? true, canBeFalse: !(bounds.isAllNull ?? false))
    case .isNotNull(let column):
      guard let bounds = bounds(column, file, statistics) else { return .either }
      return Verdict(canBeTrue: !(bounds.isAllNull ?? false), canBeFalse: bounds.hasNulls ?? true)
    case .isIn(let column, let values):
      return verdict(.or(values.map { .compare(column: column, .equal, $0) }), file, statistics)
    case .compare(let column, let comparison, let value):
      guard let bounds = bounds(column, file, statistics) else { return .either }
      if bounds.isAllNull == true { return Verdict(canBeTrue: false, canBeFalse: false) }
      return Self.compare(bounds.low.flatMap { $0.compare(value) }, bounds.high.flatMap { $0.compare(value) }, comparison)
    }
  }

  /// - Parameters: how the smallest and the largest value compare with the constant; nil: unknown.
  private static func compare(_ low: Int?, _ high: Int?, _ comparison: FilePredicate.Comparison) -> Verdict {
    let (low, high) = (low ?? -1, high ?? 1)
    let canBeEqual = low <= 0 && high >= 0
    let isOnlyEqual = low == 0 && high == 0
    switch comparison {
    case .equal: return Verdict(canBeTrue: canBeEqual, canBeFalse: !isOnlyEqual)
    case .notEqual: return Verdict(canBeTrue: !isOnlyEqual, canBeFalse: canBeEqual)
    case .less: return Verdict(canBeTrue: low < 0, canBeFalse: high >= 0)
    case .lessOrEqual: return Verdict(canBeTrue: low <= 0, canBeFalse: high > 0)
    case .greater: return Verdict(canBeTrue: high > 0, canBeFalse: low <= 0)
    case .greaterOrEqual: return Verdict(canBeTrue: high >= 0, canBeFalse: low < 0)
    }
  }

  private func bounds(_ column: [String], _ file: AddFile, _ statistics: () -> JSONValue?) -> Bounds? {
    guard let target = target(column) else { return nil }
    if target.isPartition {
      guard let text = file.partitionValues[target.physicalPath[0]] else { return nil }
      // "An empty string for any type translates to a null partition value."
      guard let text, !text.isEmpty else { return Bounds(isAllNull: true, hasNulls: true) }
      guard let value = try? Literal(partition: text, type: target.type) else { return nil }  // unreadable: judged as unknown
      return Bounds(low: value, high: value, isAllNull: false, hasNulls: false)
    }
    guard let statistics = statistics() else { return nil }
    func member(_ name: String) -> JSONValue? {
      target.physicalPath.reduce(statistics[name]) { $0?[$1] }
    }
    var bounds = Bounds()
    if let rows = statistics["numRecords"]?.intValue, let nulls = member("nullCount")?.intValue, nulls >= 0 {
      // Wide bounds: only "all" and "none" carry information, and they do so for tight bounds too.
      if nulls == 0 { (bounds.isAllNull, bounds.hasNulls) = (rows == 0, false) }
      if nulls == rows { (bounds.isAllNull, bounds.hasNulls) = (true, rows > 0) }
    }
    bounds.low = member("minValues").flatMap { Literal(statistic: $0, type: target.type, isMaximum: false) }
    bounds.high = member("maxValues").flatMap { Literal(statistic: $0, type: target.type, isMaximum: true) }
    // Maxima of times are cut down to milliseconds.
    if case .timestamp(let value)? = bounds.high { bounds.high = .timestamp(value.addingReportingOverflow(999).partialValue) }
    // NaN is above all numbers, and some writers leave it out of the bounds: a maximum counts where somebody has looked for NaN.
    if case .number? = bounds.high, member(FileStatistics.nanCount) != 0 { bounds.high = nil }
    return bounds
  }
}

extension StructField {
  /// The name in data files, partition values and statistics: the mapped one where names are mapped.
  public var physicalName: String { metadata["delta.columnMapping.physicalName"]?.stringValue ?? name }
}
