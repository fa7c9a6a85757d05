// SPDX-License-Identifier: Apache-2.0

import Core

/// Decides which pushed batches of one table share a commit. A pure value: time and sizes come from outside.
///
/// One group of a table runs at a time. While it does, others gather; an idle table waits a moment for company, unless enough came.
struct RecordGroups: Sendable {
  struct Limits: Sendable {
    /// How long a batch waits for company.
    var windowMilliseconds: Int64 = 50
    /// What one commit takes; reaching it ends the wait.
    var groupCount = 128
    var groupBytes: Int64 = 64 << 20
    /// What may wait; more is refused.
    var waitingCount = 512
    var waitingBytes: Int64 = 512 << 20
  }

  enum Admission: Sendable, Equatable {
    case queued
    /// A batch of the same identifier waits or runs: both get its answer.
    case joined
  }

  enum Decision: Sendable, Equatable {
    case start([String])
    /// Until this moment, or until another batch comes.
    case wait(untilMilliseconds: Int64)
    case idle
  }

  private struct Waiting: Sendable {
    var id: String
    var bytes: Int64
    var since: Int64
  }

  private let limits: Limits
  private var waiting: [Waiting] = []
  private var waitingBytes: Int64 = 0
  private(set) var running: [String] = []

  init(_ limits: Limits = Limits()) { self.limits = limits }

  var isEmpty: Bool { waiting.isEmpty && running.isEmpty }

  /// - Throws: `resourceExhausted` PLT-3121.
  mutating func add(_ id: String, bytes: Int64, now: Int64) throws -> Admission {
    if running.contains(id) || waiting.contains(where: { $0.id == id }) { return .joined }
    guard waiting.count < limits.waitingCount, waiting.isEmpty || waitingBytes + bytes <= limits.waitingBytes else {
      throw PlatformError(
        .resourceExhausted, "\(waiting.count) batches wait for this table already", hint: "Send it again in a second, under the same batch id.",
        number: "PLT-3121")
    }
    waiting.append(Waiting(id: id, bytes: bytes, since: now))
    waitingBytes += bytes
    return .queued
  }

  /// The next group, in the order in which batches came. It runs until `finished`.
  mutating func next(now: Int64) -> Decision {
    guard running.isEmpty, let first = waiting.first else { return .idle }
    let isFull = waiting.count >= limits.groupCount || waitingBytes >= limits.groupBytes
    let due = first.since + limits.windowMilliseconds
    guard isFull || now >= due else { return .wait(untilMilliseconds: due) }
    var bytes: Int64 = 0
    var count = 0
    for batch in waiting {
      guard count == 0 || (count < limits.groupCount && bytes + batch.bytes <= limits.groupBytes) else { break }
      bytes += batch.bytes
      count += 1
    }
    running = waiting.prefix(count).map(\.id)
    waiting.removeFirst(count)
    waitingBytes -= bytes
    return .start(running)
  }

  mutating func finished() { running = [] }
}
