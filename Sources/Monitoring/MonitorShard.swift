// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB
public import Query

/// Profiles some columns of a table and measures how far each has moved from a baseline: payload of work of kind `monitor`.
public struct MonitorShard: Codable, Sendable, Equatable {
  /// Parquet files of the table and of its baseline.
  public var files: [String]
  public var baselineFiles: [String]
  /// Columns of both; each is treated as a number or as a category by its type.
  public var columns: [String]
  /// Where the profile is written.
  public var profilePath: String
  /// Where the drift of each column is written.
  public var driftPath: String
  /// PSI above this is an alert.
  public var threshold: Double

  public init(
    files: [String], baselineFiles: [String], columns: [String], profilePath: String, driftPath: String, threshold: Double = 0.2
  ) {
    self.files = files
    self.baselineFiles = baselineFiles
    self.columns = columns
    self.profilePath = profilePath
    self.driftPath = driftPath
    self.threshold = threshold
  }
}

public struct MonitorResult: Codable, Sendable, Equatable {
  public struct Drift: Codable, Sendable, Equatable {
    public var column: String
    public var psi: Double?
    public var ks: Double?
    public var js: Double?
    public var alert: Bool
  }
  public var profile: WrittenFile?
  public var drift: WrittenFile?
  public var columns: [Drift]
  public var rows: Int64
  public var baselineRows: Int64
}

extension MonitorShard {
  public static let profileColumns = [
    Column("column_name", .varchar), Column("rows", .bigint), Column("nulls", .bigint), Column("distinct_values", .bigint),
    Column("mean", .double), Column("stddev", .double), Column("minimum", .varchar), Column("maximum", .varchar),
  ]
  public static let driftColumns = [
    Column("column_name", .varchar), Column("psi", .double), Column("ks", .double), Column("js", .double), Column("alert", .boolean),
  ]

  /// Blocks. Numbers are compared in ten bins of the baseline's quantiles, categories by their frequency.
  /// - Throws: `notFound` for a column that one of the tables does not have.
  public func run(context: any WorkContext) throws -> MonitorResult {
    let profile = try ParquetTableWriter(path: profilePath, columns: Self.profileColumns)
    let drift = try ParquetTableWriter(path: driftPath, columns: Self.driftColumns)
    var result = MonitorResult(profile: nil, drift: nil, columns: [], rows: 0, baselineRows: 0)
    for (index, name) in columns.enumerated() {
      try context.checkCancelled()
      let current = try ColumnSample.read(files, name)
      let baseline = try ColumnSample.read(baselineFiles, name)
      result.rows = max(result.rows, Int64(current.rows))
      result.baselineRows = max(result.baselineRows, Int64(baseline.rows))
      let facts = current.profile
      try profile.append([
        .string(name), .int(Int64(current.rows)), .int(Int64(current.nulls)), .int(Int64(facts.distinct)),
        facts.mean.map { .double($0) } ?? .null, facts.deviation.map { .double($0) } ?? .null,
        facts.minimum.map { .string($0) } ?? .null, facts.maximum.map { .string($0) } ?? .null,
      ])
      let measured = DriftStatistics.compare(current: current, baseline: baseline)
      let alert = (measured.psi ?? 0) > threshold
      try drift.append([
        .string(name), measured.psi.map { .double($0) } ?? .null, measured.ks.map { .double($0) } ?? .null,
        measured.js.map { .double($0) } ?? .null, .bool(alert),
      ])
      result.columns.append(.init(column: name, psi: measured.psi, ks: measured.ks, js: measured.js, alert: alert))
      context.progress(done: Int64(index + 1), total: Int64(columns.count), unit: "columns")
    }
    result.profile = try profile.finish()
    result.drift = try drift.finish()
    return result
  }
}
