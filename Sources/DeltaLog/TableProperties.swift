// SPDX-License-Identifier: Apache-2.0

import Core

/// How strictly concurrent commits are ordered ("delta.isolationLevel").
public enum IsolationLevel: String, Sendable, Hashable {
  /// The result is that of some serial order of all commits; the order of the log is one.
  case serializable = "Serializable"
  /// Like `serializable` for commits that change data; a blind append may come after a commit that it was made before.
  case writeSerializable = "WriteSerializable"
  /// Only conflicting writes count. For commits that rearrange data without changing it.
  case snapshot = "SnapshotIsolation"
}

/// The table properties of a metaData action, with their defaults. Keys keep their case; booleans are `true` in any case.
public struct TableProperties: Sendable, Hashable {
  public var values: [String: String]
  public init(_ values: [String: String]) { self.values = values }

  public func flag(_ name: String, default fallback: Bool = false) -> Bool {
    values[name].map { $0.lowercased() == "true" } ?? fallback
  }

  public var isAppendOnly: Bool { flag("delta.appendOnly") }
  public var usesDeletionVectors: Bool { flag("delta.enableDeletionVectors") }
  public var hasChangeDataFeed: Bool { flag("delta.enableChangeDataFeed") }
  public var hasInCommitTimestamps: Bool { flag("delta.enableInCommitTimestamps") }
  public var hasRowTracking: Bool { flag("delta.enableRowTracking") }
  public var isRowTrackingSuspended: Bool { flag("delta.rowTrackingSuspended") }
  public var allowsTypeWidening: Bool { flag("delta.enableTypeWidening") }
  public var writesStatsAsJSON: Bool { flag("delta.checkpoint.writeStatsAsJson", default: true) }
  public var writesStatsAsStruct: Bool { flag("delta.checkpoint.writeStatsAsStruct") }
  public var usesV2Checkpoints: Bool { values["delta.checkpointPolicy"]?.lowercased() == "v2" }
  public var cleansExpiredLogs: Bool { flag("delta.enableExpiredLogCleanup", default: true) }

  /// Commits from one checkpoint to the next. A checkpoint costs what the table is large, the commits since one cost a reader a few
  /// milliseconds: without a word from the table they are made less often than the reference implementation does (10).
  public var checkpointInterval: Int64 {
    guard let value = values["delta.checkpointInterval"].flatMap({ Int64($0) }), value > 0 else { return 100 }
    return value
  }

  public var isolationLevel: IsolationLevel {
    values["delta.isolationLevel"]?.lowercased() == "serializable" ? .serializable : .writeSerializable
  }

  public var logRetentionMilliseconds: Int64 { interval("delta.logRetentionDuration", 30 * Self.day) }
  public var deletedFileRetentionMilliseconds: Int64 { interval("delta.deletedFileRetentionDuration", 7 * Self.day) }
  /// Transactions that were recorded longer ago than this may be forgotten; nil: never.
  public var transactionRetentionMilliseconds: Int64? {
    values["delta.setTransactionRetentionDuration"].flatMap(Self.milliseconds)
  }

  /// Leading columns that statistics are collected for; -1: all.
  public var indexedColumnCount: Int { values["delta.dataSkippingNumIndexedCols"].flatMap { Int($0) }.flatMap { $0 >= -1 ? $0 : nil } ?? 32 }
  /// Columns that statistics are collected for, by name; nil: the leading ones.
  public var statisticsColumns: [String]? {
    values["delta.dataSkippingStatsColumns"].map {
      $0.split(separator: ",").map { $0.trimmedSpaces.replacingBackticks }.filter { !$0.isEmpty }
    }
  }
  public var targetFileSizeBytes: Int64? { values["delta.targetFileSize"].flatMap(Self.bytes) }

  static let day: Int64 = 24 * 3600 * 1000

  private func interval(_ name: String, _ fallback: Int64) -> Int64 { values[name].flatMap(Self.milliseconds) ?? fallback }

  /// `interval 7 days`, `INTERVAL 1 week 2 hours`, `30 days`. nil for what is no interval of fixed length.
  static func milliseconds(_ text: String) -> Int64? {
    var words = text.lowercased().split(whereSeparator: { $0 == " " || $0 == "\t" })
    if words.first == "interval" { words.removeFirst() }
    guard !words.isEmpty, words.count % 2 == 0 else { return nil }
    var sum: Int64 = 0
    for index in stride(from: 0, to: words.count, by: 2) {
      guard let amount = Int64(words[index]) else { return nil }
      var unit = String(words[index + 1])
      if unit.hasSuffix("s") { unit.removeLast() }
      let length: Int64
      switch unit {
      case "week": length = 7 * day
      case "day": length = day
      case "hour": length = 3_600_000
      case "minute": length = 60_000
      case "second": length = 1000
      case "millisecond": length = 1
      default: return nil
      }
      let (product, over) = amount.multipliedReportingOverflow(by: length)
      let (total, more) = sum.addingReportingOverflow(product)
      guard !over, !more else { return nil }
      sum = total
    }
    return sum >= 0 ? sum : nil
  }

  /// `134217728`, `128mb`, `1g`.
  static func bytes(_ text: String) -> Int64? {
    let text = text.trimmedSpaces.lowercased()
    let digits = text.prefix { $0 >= "0" && $0 <= "9" }
    guard let amount = Int64(digits) else { return nil }
    let factor: Int64
    switch text.dropFirst(digits.count) {
    case "", "b": factor = 1
    case "k", "kb": factor = 1 << 10
    case "m", "mb": factor = 1 << 20
    case "g", "gb": factor = 1 << 30
    default: return nil
    }
    let (product, over) = amount.multipliedReportingOverflow(by: factor)
    return over || product <= 0 ? nil : product
  }

  /// - Throws: `invalidArgument` for a property of the protocol whose value cannot be meant.
  public func validate() throws {
    for (name, value) in values.sorted(by: { $0.key < $1.key }) {
      let isFine: Bool
      switch name {
      case "delta.appendOnly", "delta.enableDeletionVectors", "delta.enableChangeDataFeed", "delta.enableInCommitTimestamps",
        "delta.enableRowTracking", "delta.rowTrackingSuspended", "delta.enableTypeWidening", "delta.checkpoint.writeStatsAsJson",
        "delta.checkpoint.writeStatsAsStruct", "delta.enableExpiredLogCleanup", "delta.autoOptimize.autoCompact",
        "delta.autoOptimize.optimizeWrite":
        isFine = ["true", "false"].contains(value.lowercased())
      case "delta.logRetentionDuration", "delta.deletedFileRetentionDuration", "delta.setTransactionRetentionDuration":
        isFine = Self.milliseconds(value) != nil
      case "delta.checkpointInterval": isFine = (Int64(value) ?? 0) > 0
      case "delta.dataSkippingNumIndexedCols": isFine = (Int(value) ?? -2) >= -1
      case "delta.targetFileSize": isFine = Self.bytes(value) != nil
      case "delta.isolationLevel": isFine = ["serializable", "writeserializable"].contains(value.lowercased())
      case "delta.checkpointPolicy": isFine = ["classic", "v2"].contains(value.lowercased())
      case "delta.columnMapping.mode": isFine = ["none", "name", "id"].contains(value)
      default: isFine = true
      }
      guard isFine else { throw PlatformError(.invalidArgument, "the table property \(name) cannot be '\(value.prefix(100))'") }
    }
    if hasRowTracking && isRowTrackingSuspended {
      throw PlatformError(.invalidArgument, "delta.enableRowTracking and delta.rowTrackingSuspended cannot both be true")
    }
  }
}

extension StringProtocol {
  var trimmedSpaces: String {
    var text = Substring(self)
    while text.first == " " || text.first == "\t" { text.removeFirst() }
    while text.last == " " || text.last == "\t" { text.removeLast() }
    return String(text)
  }
}

extension String {
  fileprivate var replacingBackticks: String { filter { $0 != "`" } }
}
