// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Query
import Scheduling

/// What one statement of a text leaves for the next: defaults of names, temporary views, what has been done. It travels as the carry of
/// the task's stages: each statement is one stage, so one that has been committed is never run again.
struct SQLContext: Codable, Sendable {
  struct TemporaryView: Codable, Sendable {
    var view: ViewDefinition
    var columns: [ColumnEntry]
    var comment: String
  }

  /// Which statement is next.
  var index = 0
  /// How often it has started again.
  var attempt = 0
  var catalog: String
  var schema: String
  /// By name in small letters.
  var temporaryViews: [String: TemporaryView] = [:]
  var finished: [StatementResponse.Step] = []
  /// What a statement of several stages hands to its own next one.
  var carry = JSONValue.null
  /// What the transaction that has begun has done so far.
  var block: AtomicBlock?
}

/// The task's body, and the statement that this stage is about.
struct StatementWork: Sendable {
  struct Body: Codable, Sendable {
    var statement: String
    var catalog: String?
    var schema: String?
    var row_limit: Int?
    var parameters: [StatementParameters.Value]?
    /// `auto` or a number, see `ShardedStatement`.
    var shards: String?
    var partition_by: [String]?
    /// Whoever sent it waits for the answer.
    var interactive: Bool?
  }

  let body: Body
  let script: StatementScript
  var session: SQLContext
  let plan: StatementPlan
  let parameters: StatementParameters

  /// Parses; blocks.
  /// - Throws: `invalidArgument` for bad SQL; PLT-3223 for parameters that do not fit.
  init(_ call: StageCall) throws { try self.init(call.body(), carry: call.carry) }

  /// - Parameter carry: what the stage before has left.
  init(_ given: Body, carry: JSONValue) throws {
    body = given
    script = try StatementScript(body.statement)
    session =
      try carry == .null
      ? SQLContext(catalog: body.catalog ?? "main", schema: body.schema ?? "default") : carry.decode(SQLContext.self)
    guard script.items.indices.contains(session.index) else {
      throw PlatformError(.internalError, "the text has no statement \(session.index + 1)")
    }
    parameters = try StatementParameters(body.parameters ?? [])
    if session.index == 0 {
      var used: Set<String> = []
      for (index, item) in script.items.enumerated() {
        do {
          let applied = try parameters.apply(to: item)
          used.formUnion(applied.read.union(applied.naming))
        } catch let error as PlatformError { throw script.located(error, at: index) }
      }
      try parameters.requireUsed(used)
    }
    do {
      let applied = try parameters.apply(to: script.items[session.index])
      plan = try StatementPlans.shared.plan(applied.text, catalog: session.catalog, schema: session.schema)
      if plan.kind == .catalog, let name = applied.read.sorted().first, !plan.isTemporaryView {
        throw PlatformError(
          .invalidArgument, "parameter '\(name)' cannot be part of what is stored in the catalog", hint: "Only IDENTIFIER(:name) can be.",
          number: "PLT-3223")
      }
    } catch let error as PlatformError { throw script.located(error, at: session.index) }
  }

  func located(_ error: any Error) -> any Error {
    (error as? PlatformError).map { script.located($0, at: session.index) } ?? error
  }

  var isLast: Bool { session.index == script.items.count - 1 }

  /// Whether the statement is part of BEGIN ATOMIC .. END.
  var isInBlock: Bool { script.items[session.index].block != nil }
  /// Whether this stage only begins the transaction that the statement belongs to.
  var beginsBlock: Bool { isInBlock && session.block == nil }
  /// Whether the statement is the last one of its transaction.
  var endsBlock: Bool { isInBlock && (isLast || script.items[session.index + 1].block != script.items[session.index].block) }

  /// The session that starts the transaction again, as nothing of it has happened.
  var restarted: SQLContext {
    var again = session
    again.index = script.items.firstIndex { $0.block == script.items[session.index].block } ?? session.index
    again.finished.removeLast(min(again.finished.count, session.index - again.index))
    again.block = nil
    again.attempt += 1
    return again
  }

  /// Values that the statement may read by name.
  func variables(user: String) -> [StatementVariable] {
    SQLExtensions.session(user: user, catalog: session.catalog, schema: session.schema) + parameters.variables
  }
}

extension StatementPlan {
  var isTemporaryView: Bool {
    if case .createView(let view)? = catalogCommand { view.isTemporary } else { false }
  }
}
