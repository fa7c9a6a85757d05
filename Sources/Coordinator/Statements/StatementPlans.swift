// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import Synchronization

/// Parsed statements by their text. A plan depends on nothing but the text and the names that complete it: tables are looked up
/// anew for every statement.
final class StatementPlans: Sendable {
  private struct Key: Hashable {
    var text: String
    var catalog: String
    var schema: String
  }

  private struct State {
    var recent: [Key: StatementPlan] = [:]
    var older: [Key: StatementPlan] = [:]
  }

  /// Two generations of so many; longer texts are not kept.
  private static let limit = 512
  private static let textLimit = 8192
  private let state = Mutex(State())

  static let shared = StatementPlans()

  /// Blocks while it parses.
  /// - Throws: what `StatementPlan` throws.
  func plan(_ text: String, catalog: String, schema: String) throws -> StatementPlan {
    let key = Key(text: text, catalog: catalog, schema: schema)
    if let known = find(key) { return known }
    let plan = try StatementPlan(parsing: text, catalog: catalog, schema: schema)
    if text.utf8.count <= Self.textLimit { keep(plan, key) }
    return plan
  }

  /// Whether `plan` would not have to parse.
  func knows(_ text: String, catalog: String, schema: String) -> Bool { find(Key(text: text, catalog: catalog, schema: schema)) != nil }

  private func find(_ key: Key) -> StatementPlan? {
    state.withLock { state in
      if let plan = state.recent[key] { return plan }
      guard let plan = state.older[key] else { return nil }
      state.recent[key] = plan
      return plan
    }
  }

  private func keep(_ plan: StatementPlan, _ key: Key) {
    state.withLock { state in
      if state.recent.count >= Self.limit {
        state.older = state.recent
        state.recent = [:]
      }
      state.recent[key] = plan
    }
  }
}

extension StatementScript {
  /// Whether one of its statements becomes several units of work, which are a run of the scheduler.
  var needsRun: Bool {
    items.contains { item in
      let word = item.text.prefix { $0.isLetter }
      return Self.manyUnits.contains { $0.caseInsensitiveCompare(word) == .orderedSame }
    }
  }

  private static let manyUnits = ["OPTIMIZE", "COPY", "REORG"]
}
