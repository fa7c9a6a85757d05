// SPDX-License-Identifier: Apache-2.0

/// What a worker and an executor of statements tell each other; works are statements.
typealias StatementFrame = PipeFrame<StatementFrameKind>
typealias StatementFrameReader = PipeFrameReader<StatementFrameKind>

enum StatementFrameKind: UInt8, Sendable {
  // To the executor
  case run = 1
  case cancel = 2
  // From the executor
  /// The executor has what a statement needs.
  case ready = 16
  /// One byte: percent.
  case progress = 17
  case succeeded = 18
  /// A `PlatformError` as JSON.
  case failed = 19
  case cancelled = 20
}
