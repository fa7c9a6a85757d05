// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
public import Logging
public import Postgres

/// Moves the spool's records to Postgres: one row a request, never two, within a second while Postgres is there.
public struct InferenceLog: Sendable {
  public static let migrations: [Migration] = [
    Migration(
      component: "serving", number: 1, name: "inference log",
      sql: """
        CREATE TABLE inference_log (
          request_id text PRIMARY KEY,
          time timestamptz NOT NULL,
          endpoint text NOT NULL,
          model text NOT NULL,
          operation text NOT NULL,
          status int NOT NULL,
          outcome text NOT NULL,
          error text NOT NULL,
          prompt_tokens bigint NOT NULL,
          completion_tokens bigint NOT NULL,
          first_token_ms double precision,
          total_ms double precision NOT NULL,
          replicas jsonb NOT NULL,
          principal text NOT NULL,
          stream boolean NOT NULL,
          input text NOT NULL,
          output text NOT NULL
        );
        CREATE INDEX inference_log_by_time ON inference_log (time);
        CREATE INDEX inference_log_by_endpoint ON inference_log (endpoint, time);
        """)
  ]

  private let pool: PostgresPool
  private let spool: InferenceSpool
  private let logger: Logger

  public init(pool: PostgresPool, spool: InferenceSpool, logger: Logger) {
    self.pool = pool
    self.spool = spool
    self.logger = logger
  }

  /// Stores what waits, again and again, until the task is cancelled.
  public func run() async {
    var failing = false
    while !Task.isCancelled {
      do {
        try await flush()
        failing = false
      } catch {
        if !failing { logger.warning("the inference log waits for Postgres", metadata: ["error": "\(error)"]) }
        failing = true
      }
      try? await Task.sleep(for: .milliseconds(failing ? 1000 : 200))  // cancelled: the loop condition ends it
    }
  }

  /// Stores every sealed segment and forgets it. A record that is there already stays as it is.
  public func flush() async throws {
    for (segment, records) in spool.drain() {
      for start in stride(from: 0, to: records.count, by: 500) {
        let rows = records[start..<min(records.count, start + 500)].map(Self.row)
        try await pool.execute(
          """
          INSERT INTO inference_log
          SELECT request_id, to_timestamp(ms / 1000.0), endpoint, model, operation, status, outcome, error, prompt_tokens,
            completion_tokens, first_token_ms, total_ms, replicas, principal, stream, input, output
          FROM jsonb_to_recordset($1::jsonb) AS r(request_id text, ms bigint, endpoint text, model text, operation text,
            status int, outcome text, error text, prompt_tokens bigint, completion_tokens bigint,
            first_token_ms double precision, total_ms double precision, replicas jsonb, principal text, stream boolean,
            input text, output text)
          ON CONFLICT (request_id) DO NOTHING
          """, [.encoding(.array(rows))])
      }
      spool.remove(segment)
    }
  }

  private static func row(_ record: InferenceLogRecord) -> JSONValue {
    // U+0000 cannot be stored as text.
    func clean(_ text: String) -> JSONValue {
      .string(String(text.replacingOccurrences(of: "\0", with: "\u{FFFD}").prefix(InferenceLogRecord.textLimit)))
    }
    return [
      "request_id": clean(record.requestID), "ms": .integer(Int64(record.time.timeIntervalSince1970 * 1000)),
      "endpoint": clean(record.endpoint), "model": clean(record.model), "operation": .string(record.operation),
      "status": .integer(Int64(record.status)), "outcome": .string(record.outcome), "error": clean(record.error),
      "prompt_tokens": .integer(Int64(record.promptTokens)), "completion_tokens": .integer(Int64(record.completionTokens)),
      "first_token_ms": record.firstTokenMilliseconds.map { .number($0) } ?? .null,
      "total_ms": .number(record.totalMilliseconds), "replicas": .array(record.replicas.map { .string($0) }),
      "principal": clean(record.principal), "stream": .bool(record.stream), "input": clean(record.input),
      "output": clean(record.output),
    ]
  }
}
