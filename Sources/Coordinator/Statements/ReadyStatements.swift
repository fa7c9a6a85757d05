// SPDX-License-Identifier: Apache-2.0

import API
import Foundation
import Query
import Synchronization

/// Orders that were written out before: of queries that read nothing from the catalog, so that whoever repeats one gets the same order as the
/// first time. Everything that is part of an order is part of its key, who sent it too.
final class ReadyStatements: Sendable {
  struct Key: Hashable {
    var text: String
    var catalog: String
    var schema: String
    var user: String
    var rowLimit: Int?
    var byteLimit: Int?
    var format: String
    var isInline: Bool

    /// Nil for what is not kept: parameters have values, and long texts take room.
    init?(_ submission: StatementSubmission, user: String) {
      guard submission.parameters.isEmpty, submission.statement.utf8.count <= 4096 else { return nil }
      text = submission.statement
      catalog = submission.catalog
      schema = submission.schema
      self.user = user
      rowLimit = submission.rowLimit
      byteLimit = submission.byteLimit
      format = submission.format
      isInline = submission.isInline
    }
  }

  private struct State {
    var recent: [Key: Data] = [:]
    var older: [Key: Data] = [:]
  }

  /// Two generations of so many.
  private static let limit = 512
  private let state = Mutex(State())

  /// `StatementMessage.head`.
  func find(_ key: Key) -> Data? {
    state.withLock { state in
      if let head = state.recent[key] { return head }
      guard let head = state.older[key] else { return nil }
      Self.keep(head, key, &state)
      return head
    }
  }

  /// Whether the order of a statement hangs on nothing but its key.
  static func takes(_ work: StatementWork, _ spec: StatementSpec) -> Bool {
    work.script.items.count == 1 && !work.isInBlock && work.plan.kind == .select && work.plan.references.isEmpty && work.plan.functions.isEmpty
      && spec.needsNothing
  }

  func keep(_ message: StatementMessage, _ key: Key) {
    guard message.head.count <= 16 << 10 else { return }
    state.withLock { Self.keep(message.head, key, &$0) }
  }

  private static func keep(_ head: Data, _ key: Key, _ state: inout State) {
    if state.recent.count >= limit {
      state.older = state.recent
      state.recent = [:]
    }
    state.recent[key] = head
  }
}
