// SPDX-License-Identifier: Apache-2.0

import Client
import Core

extension StatementSubmission {
  /// How long a client waits for the end of its statement.
  struct Wait: Equatable {
    var seconds: Int
    var cancelsAfter: Bool
  }

  /// Checks a request.
  /// - Throws: `PlatformErrors` with every field that is not usable (PLT-3234).
  static func checked(_ request: StatementRequest) throws -> (StatementSubmission, Wait) {
    var problems: [PlatformError] = []
    func refuse(_ field: String, _ text: String) {
      problems.append(PlatformError(.invalidArgument, "\(field) \(text)", number: "PLT-3234", path: field))
    }
    var submission = StatementSubmission(
      statement: request.statement, catalog: request.catalog ?? "main", schema: request.schema ?? "default")
    if request.statement.allSatisfy(\.isWhitespace) { refuse("statement", "is empty") }
    if submission.catalog.isEmpty { refuse("catalog", "is empty") }
    if submission.schema.isEmpty { refuse("schema", "is empty") }
    submission.format = request.format ?? "JSON_ARRAY"
    if !["JSON_ARRAY", "ARROW_STREAM", "CSV"].contains(submission.format) { refuse("format", "must be JSON_ARRAY, ARROW_STREAM or CSV") }
    switch request.disposition ?? "INLINE" {
    case "INLINE":
      if submission.format != "JSON_ARRAY" { refuse("format", "must be JSON_ARRAY when disposition is INLINE; use EXTERNAL_LINKS") }
    case "EXTERNAL_LINKS": submission.isInline = false
    default: refuse("disposition", "must be INLINE or EXTERNAL_LINKS")
    }
    if let limit = request.rowLimit, limit < 1 { refuse("row_limit", "must be at least 1") }
    if let limit = request.byteLimit, limit < 1 { refuse("byte_limit", "must be at least 1") }
    if let limit = request.statementTimeout, limit < 1 { refuse("statement_timeout", "must be at least 1") }
    submission.timeLimit = request.statementTimeout
    submission.rowLimit = request.rowLimit.map { min($0, Int(Int32.max)) }
    submission.byteLimit = request.byteLimit.map { min($0, submission.isInline ? 25 << 20 : 8 << 30) }
    if let engine = request.engine, engine != "duckdb" { refuse("engine", "must be duckdb") }
    var wait = Wait(seconds: 10, cancelsAfter: false)
    if let text = request.waitTimeout {
      if let seconds = text.hasSuffix("s") ? Int(text.dropLast()) : nil, seconds == 0 || (5...50).contains(seconds) {
        wait.seconds = seconds
      } else {
        refuse("wait_timeout", "must be 0s, or 5s to 50s")
      }
    }
    switch request.onWaitTimeout ?? "CONTINUE" {
    case "CONTINUE": break
    case "CANCEL":
      wait.cancelsAfter = true
      if wait.seconds == 0 { refuse("on_wait_timeout", "cannot be CANCEL when wait_timeout is 0s") }
    default: refuse("on_wait_timeout", "must be CONTINUE or CANCEL")
    }
    var names: Set<String> = []
    for parameter in request.parameters ?? [] {
      if let name = parameter.name, !names.insert(name.lowercased()).inserted { refuse("parameters", "hold '\(name.prefix(64))' twice") }
      submission.parameters.append(parameter)
    }
    guard problems.isEmpty else { throw PlatformErrors(problems) }
    return (submission, wait)
  }
}
