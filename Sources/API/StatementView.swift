// SPDX-License-Identifier: Apache-2.0

public import Client
public import Core
public import Foundation

/// What a client asks of `POST /api/2.0/sql/statements`, checked.
public struct StatementSubmission: Sendable {
  public var statement: String
  public var catalog: String
  public var schema: String
  /// Values of `:name` and `?`.
  public var parameters: [StatementParameter] = []
  public var rowLimit: Int?
  public var byteLimit: Int?
  /// Seconds.
  public var timeLimit: Int?
  public var format = "JSON_ARRAY"
  /// Rows inside the answer; otherwise links to files.
  public var isInline = true

  public init(statement: String, catalog: String = "main", schema: String = "default") {
    self.statement = statement
    self.catalog = catalog
    self.schema = schema
  }
}

/// A statement as its owner sees it now.
public struct StatementView: Sendable {
  public enum State: String, Sendable {
    case pending = "PENDING"
    case running = "RUNNING"
    case succeeded = "SUCCEEDED"
    case failed = "FAILED"
    case canceled = "CANCELED"
    /// It succeeded, and its rows are no longer kept.
    case closed = "CLOSED"

    public var isFinal: Bool { self != .pending && self != .running }
  }

  public struct Column: Sendable, Equatable {
    public var name: String
    /// The type as the SQL engine writes it.
    public var sql: String
    public init(name: String, sql: String) {
      self.name = name
      self.sql = sql
    }
  }

  public struct Chunk: Sendable, Equatable {
    public var rows: Int64
    public var bytes: Int64
    public init(rows: Int64, bytes: Int64) {
      self.rows = rows
      self.bytes = bytes
    }
  }

  public var id: String
  public var state: State
  public var error: PlatformError?
  /// 0...100 while it runs, when known.
  public var percent: Int?
  public var columns: [Column] = []
  public var format = "JSON_ARRAY"
  public var isInline = true
  public var chunks: [Chunk] = []
  public var rowCount: Int64 = 0
  public var isTruncated = false
  public var affectedRows: Int64?
  public var version: Int64?
  /// Defaults of names after a USE.
  public var catalog: String?
  public var schema: String?
  /// Of a text with several statements.
  public var statements: [StatementResponse.Step]?
  /// The first chunk as JSON, for inline results.
  public var firstRows = Data()

  public init(id: String, state: State) {
    self.id = id
    self.state = state
  }
}

/// Statements in and out. Every method throws `PlatformError`; a statement belongs to who sent it, others get `notFound`.
public protocol StatementServing: Sendable {
  /// Starts a statement.
  /// - Returns: its identifier.
  /// - Throws: `resourceExhausted` PLT-3230 when too many run or wait.
  func startStatement(_ submission: StatementSubmission, by principal: Principal) async throws -> String
  /// Returns when the statement has ended or the time is over.
  func awaitStatement(_ id: String, milliseconds: Int, by principal: Principal) async throws -> StatementView
  /// Makes sure that a statement which goes on without its client is known after a restart.
  func detachStatement(_ id: String, by principal: Principal) async throws
  /// Ends a statement that has not ended; what is being committed is committed.
  func cancelStatement(_ id: String, by principal: Principal) async throws
  /// The client has gone.
  func abandonStatement(_ id: String)
  /// One part of a result, in its format.
  func statementChunk(_ id: String, index: Int, by principal: Principal?) async throws -> (view: StatementView, bytes: Data)
  func statementHistory(_ filter: StatementHistoryFilter, by principal: Principal) async throws -> StatementHistoryPage
}

/// Which statements of the history are wanted.
public struct StatementHistoryFilter: Sendable {
  public var states: [String] = []
  public var ids: [String] = []
  public var startedAfterMilliseconds: Int64?
  public var startedBeforeMilliseconds: Int64?
  public var limit = 100
  /// `next_page_token` of the page before.
  public var token: String?
  public init() {}
}

/// Statements, newest first.
public struct StatementHistoryPage: Sendable {
  public struct Entry: Sendable, Equatable {
    public var id: String
    public var text: String
    public var kind: String
    public var principal: String
    public var engine: String
    public var state: String
    public var startedMilliseconds: Int64
    public var endedMilliseconds: Int64?
    public var rows: Int64
    public var bytes: Int64
    public var error: String?
    public var tables: JSONValue
    public init(
      id: String, text: String, kind: String, principal: String, engine: String, state: String, startedMilliseconds: Int64,
      endedMilliseconds: Int64?, rows: Int64, bytes: Int64, error: String?, tables: JSONValue
    ) {
      self.id = id
      self.text = text
      self.kind = kind
      self.principal = principal
      self.engine = engine
      self.state = state
      self.startedMilliseconds = startedMilliseconds
      self.endedMilliseconds = endedMilliseconds
      self.rows = rows
      self.bytes = bytes
      self.error = error
      self.tables = tables
    }
  }
  public var entries: [Entry]
  public var nextToken: String?
  public init(entries: [Entry], nextToken: String?) {
    self.entries = entries
    self.nextToken = nextToken
  }
}
