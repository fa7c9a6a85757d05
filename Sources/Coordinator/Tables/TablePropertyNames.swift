// SPDX-License-Identifier: Apache-2.0

import Core

/// The table properties of the Delta protocol and its reference implementation. Others are free to choose, below another prefix.
enum TablePropertyNames {
  static let known: Set<String> = [
    "delta.appendOnly", "delta.autoOptimize.autoCompact", "delta.autoOptimize.optimizeWrite", "delta.checkpoint.writeStatsAsJson",
    "delta.checkpoint.writeStatsAsStruct", "delta.checkpointInterval", "delta.checkpointPolicy", "delta.columnMapping.mode",
    "delta.dataSkippingNumIndexedCols", "delta.dataSkippingStatsColumns", "delta.deletedFileRetentionDuration", "delta.enableChangeDataFeed",
    "delta.enableDeletionVectors", "delta.enableExpiredLogCleanup", "delta.enableIcebergCompatV1", "delta.enableIcebergCompatV2",
    "delta.enableInCommitTimestamps", "delta.enableRowTracking", "delta.enableTypeWidening", "delta.isolationLevel",
    "delta.logRetentionDuration", "delta.rowTrackingSuspended",
    "delta.setTransactionRetentionDuration", "delta.targetFileSize",
  ]

  /// - Throws: `invalidArgument` for a name below `delta.` that means nothing, with the one that was probably meant.
  static func check(_ names: some Sequence<String>) throws {
    for name in names where name.lowercased().hasPrefix("delta.") {
      if name.hasPrefix("delta.feature.") || name.lowercased().hasPrefix("delta.constraints.") { continue }
      if ["delta.minReaderVersion", "delta.minWriterVersion"].contains(name) {
        throw PlatformError(
          .invalidArgument, "the protocol's versions are not set by hand: a table gets what its features need",
          hint: "Leave \(name) out; 'delta.feature.<name>' = 'supported' asks for one feature.")
      }
      guard !known.contains(name) && !internalNames.contains(name) else { continue }
      let exact = known.first { $0.lowercased() == name.lowercased() }
      throw PlatformError(
        .invalidArgument, "the table property '\(name.prefix(100))' is unknown",
        hint: (exact ?? Spelling.suggestion(for: name, among: known.sorted())).map { "Did you mean '\($0)'?" }
          ?? "Names of your own may have any prefix but 'delta.'.", number: "PLT-3211")
    }
  }

  /// Known, and refused with a reason of their own.
  private static let internalNames: Set<String> = [
    "delta.columnMapping.maxColumnId", "delta.rowTracking.materializedRowIdColumnName",
    "delta.rowTracking.materializedRowCommitVersionColumnName", "delta.inCommitTimestampEnablementVersion",
    "delta.inCommitTimestampEnablementTimestamp",
  ]
}
