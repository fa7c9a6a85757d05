// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// Reads logged requests back, oldest first, a page at a time.
public struct InferenceLogReader: Sendable {
  /// What one request was, without its routing.
  public struct Request: Sendable, Equatable {
    public var requestID: String
    public var time: Date
    public var model: String
    public var operation: String
    public var status: Int
    public var outcome: String
    public var promptTokens: Int
    public var completionTokens: Int
    public var firstTokenMilliseconds: Double?
    public var totalMilliseconds: Double
    public var input: String
    public var output: String
  }

  private let pool: PostgresPool

  public init(pool: PostgresPool) { self.pool = pool }

  /// How many requests of an endpoint are logged, at most `limit`.
  public func count(endpoint: String, limit: Int) async throws -> Int {
    try await pool.query(
      "SELECT count(*) AS n FROM (SELECT 1 FROM inference_log WHERE endpoint = $1 LIMIT $2) AS logged",
      [.text(endpoint), .int(limit)])[0].int("n")
  }

  /// The newest `limit` requests of an endpoint, oldest first, handed over in pages.
  public func newest(_ limit: Int, endpoint: String, page size: Int = 2_000, _ body: ([Request]) async throws -> Void) async throws {
    let columns = """
      request_id, time, model, operation, status, outcome, prompt_tokens, completion_tokens, first_token_ms, total_ms, input, output
      """
    // The oldest of the newest is where the reading starts; later pages go on after the last row that was read.
    let start = try await pool.query(
      "SELECT time, request_id FROM inference_log WHERE endpoint = $1 ORDER BY time DESC, request_id DESC OFFSET $2 LIMIT 1",
      [.text(endpoint), .int(max(0, limit - 1))]
    ).first
    var after: (time: Date, id: String)? = try start.map { (try $0.date("time"), try $0.string("request_id")) }
    var inclusive = true
    var left = limit
    while left > 0 {
      var sql = "SELECT \(columns) FROM inference_log WHERE endpoint = $1"
      var parameters: [PostgresValue] = [.text(endpoint), .int(min(size, left))]
      if let after {
        sql += " AND (time, request_id) \(inclusive ? ">=" : ">") ($3, $4)"
        parameters += [.timestamp(after.time), .text(after.id)]
      }
      let rows = try await pool.query(sql + " ORDER BY time, request_id LIMIT $2", parameters)
      guard let last = rows.last else { return }
      try await body(rows.map(Self.request))
      after = (try last.date("time"), try last.string("request_id"))
      inclusive = false
      left -= rows.count
    }
  }

  private static func request(_ row: PostgresRow) throws -> Request {
    Request(
      requestID: try row.string("request_id"), time: try row.date("time"), model: try row.string("model"),
      operation: try row.string("operation"), status: try row.int("status"), outcome: try row.string("outcome"),
      promptTokens: try row.int("prompt_tokens"), completionTokens: try row.int("completion_tokens"),
      firstTokenMilliseconds: try row.get("first_token_ms"), totalMilliseconds: try row.double("total_ms"),
      input: try row.string("input"), output: try row.string("output"))
  }
}
