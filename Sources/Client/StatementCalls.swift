// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

extension PlatformClient {
  /// How often a look at a running statement may fail, one after the other. Each waits for a coordinator that is started again.
  private static let lostLooks = 3

  /// Runs a statement to its end. Cancelling the task cancels the statement.
  /// - Parameter progress: called with percent (when known) each time a running statement was looked at.
  /// - Throws: the statement's own error, `cancelled`, or what keeps the coordinator from being reached.
  public func run(_ request: StatementRequest, progress: (@Sendable (Int?) -> Void)? = nil) async throws -> StatementResponse {
    var request = request
    request.waitTimeout = "5s"
    var status: StatementStatus
    do {
      status = try await post("/api/2.0/sql/statements", request)
    } catch let error as PlatformError where error.code == .cancelled {
      throw PlatformError(.cancelled, "the statement was cancelled")  // by the coordinator, which sees the connection close
    }
    let path = "/api/2.0/sql/statements/\(status.statementID)"
    do {
      var pause = 5
      var lost = 0
      while ["PENDING", "RUNNING"].contains(status.status.state) {
        try await Task.sleep(for: .milliseconds(pause))
        pause = min(200, pause * 2)
        do {
          status = try await get(path)
          lost = 0
        } catch let error as PlatformError where error.number == "PLT-1501" && lost < Self.lostLooks {
          // The statement goes on without us: looking again does no harm.
          lost += 1
          continue
        }
        progress?(status.status.percent)
      }
    } catch {
      // Whoever stops waiting does not want it any more; a task of its own, because this one may be cancelled.
      let client = self
      _ = await Task { try? await client.send("POST", path + "/cancel", body: Data("{}".utf8)) }.value  // unreachable: it ends by itself
      throw error is CancellationError ? PlatformError(.cancelled, "the statement was cancelled") : error
    }
    if let failure = status.status.error {
      let own = failure.platformError
      throw PlatformError(
        own.flatMap { PlatformError.Code(rawValue: $0.code) } ?? .internalError,
        own.map { failure.message.hasSuffix(". " + $0.hint) ? String(failure.message.dropLast($0.hint.count + 2)) : failure.message }
          ?? failure.message, hint: own?.hint ?? "", number: own?.number ?? "", path: own?.path, line: own?.line)
    }
    guard status.status.state == "SUCCEEDED" else { throw PlatformError(.cancelled, "the statement was cancelled") }
    return try await response(status, path)
  }

  private func response(_ status: StatementStatus, _ path: String) async throws -> StatementResponse {
    let columns = status.manifest?.schema.columns ?? []
    var answer = StatementResponse(
      statementID: status.statementID, columns: columns.map { .init(name: $0.name, type: $0.typeSQL ?? $0.typeText.lowercased()) }, rows: [],
      truncated: status.manifest?.truncated ?? false, affectedRows: status.affectedRows, version: status.version)
    (answer.catalog, answer.schema, answer.statements) = (status.catalog, status.schema, status.statements)
    // What a change did is said by the counts.
    if answer.affectedRows != nil && columns.map(\.name) == ["num_affected_rows"] {
      answer.columns = []
      return answer
    }
    var part = status.result
    while let chunk = part {
      answer.rows += (chunk.dataArray ?? []).map { row in zip(columns, row).map { Self.value($1, $0.typeName) } }
      part = nil
      if let next = chunk.nextChunkIndex { part = try await get("\(path)/result/chunks/\(next)") }
    }
    return answer
  }

  /// A cell as its type.
  static func value(_ text: String?, _ type: String) -> JSONValue {
    guard let text else { return .null }
    switch type {
    case "BOOLEAN": return .bool(text == "true")
    case "BYTE", "SHORT", "INT", "LONG": return Int64(text).map { .integer($0) } ?? .string(text)
    case "FLOAT", "DOUBLE": return Double(text).map { $0.isFinite ? .number($0) : .string(text) } ?? .string(text)
    case "ARRAY", "STRUCT", "MAP": return (try? JSONValue(parsing: text)) ?? .string(text)  // shown as it came
    default: return .string(text)
    }
  }
}
