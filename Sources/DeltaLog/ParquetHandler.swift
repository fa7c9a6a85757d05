// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Reads and writes checkpoint files; `Query` has the implementation.
public protocol ParquetHandler: Sendable {
  /// The rows of a checkpoint file as JSON objects, one action each; maps as objects, NULL members absent or null.
  func readCheckpoint(_ parquet: Data) throws -> [Data]
  /// The same rows as actions, in the file's order. The default reads the JSON; a handler that has the columns at hand is faster.
  /// - Parameter name: of the file, for messages.
  func readCheckpointActions(_ parquet: Data, name: String) throws -> [Action]
  /// A parquet file of the protocol's checkpoint schema from JSON objects, one action each.
  func writeCheckpoint(_ actions: [Data]) throws -> Data
  /// As above, with more members of `add`. The default writes the others only: readers can do without.
  func writeCheckpoint(_ actions: [Data], fileColumns: [StructField]) throws -> Data
}

extension ParquetHandler {
  public func writeCheckpoint(_ actions: [Data], fileColumns: [StructField]) throws -> Data { try writeCheckpoint(actions) }

  public func readCheckpointActions(_ parquet: Data, name: String) throws -> [Action] {
    try readCheckpoint(parquet).flatMap { try Action.parse($0, name: name) }
  }
}

extension Action {
  /// The action that a row of a checkpoint holds as JSON; nil for an empty row and for kinds unknown here.
  /// - Throws: `invalidFile` naming `name` and the byte.
  public static func parsing(row: Data, name: String) throws -> Action? { try parse(row, name: name).first }
}
