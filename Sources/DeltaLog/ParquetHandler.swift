// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// Reads and writes checkpoint files; `Query` has the implementation.
public protocol ParquetHandler: Sendable {
  /// The rows of a checkpoint file as JSON objects, one action each; maps as objects, NULL members absent or null.
  func readCheckpoint(_ parquet: Data) throws -> [Data]
  /// A parquet file of the protocol's checkpoint schema from JSON objects, one action each.
  func writeCheckpoint(_ actions: [Data]) throws -> Data
}
