// SPDX-License-Identifier: Apache-2.0

/// Why the own reader of Parquet files stops.
enum ParquetFault: Error, Equatable {
  /// The file has something that this reader does not know. The engine may.
  case unknown(String)
  /// The file contradicts itself.
  case damaged(String, offset: Int)
}
