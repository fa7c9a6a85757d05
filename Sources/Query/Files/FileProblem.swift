// SPDX-License-Identifier: Apache-2.0

/// Why nothing of a file can be read.
struct FileProblem {
  /// Position in `FileRead.files`.
  var index: Int
  var reason: String
  /// Of the first record that cannot be read, where that is known.
  var line: Int64?

  static let gone = "the file is gone"

  /// Whether there is nothing to be read any more: somebody removed the file after it was listed.
  var isGone: Bool { reason == Self.gone }
}
