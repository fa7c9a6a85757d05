// SPDX-License-Identifier: Apache-2.0

public import Core

/// Body of `POST /api/2.0/sql/statements`.
public struct StatementRequest: Codable, Sendable {
  public var statement: String
  public var catalog: String?
  public var schema: String?
  public var rowLimit: Int?
  /// Values of `:name` and `?`.
  public var parameters: [StatementParameter]?
  public init(
    statement: String, catalog: String? = nil, schema: String? = nil, rowLimit: Int? = nil, parameters: [StatementParameter]? = nil
  ) {
    self.statement = statement
    self.catalog = catalog
    self.schema = schema
    self.rowLimit = rowLimit
    self.parameters = parameters
  }
  enum CodingKeys: String, CodingKey {
    case statement, catalog, schema, parameters
    case rowLimit = "row_limit"
  }
}

/// A value for a parameter of a statement.
public struct StatementParameter: Codable, Sendable, Equatable {
  /// Without the colon; nil: for the next `?`.
  public var name: String?
  /// null, a truth value, a number or a text that `type` can be read from.
  public var value: JSONValue?
  /// `INT`, `DATE`, `DECIMAL(10,2)`, ..; STRING for a text when it is left out.
  public var type: String?
  public init(name: String? = nil, value: JSONValue?, type: String? = nil) {
    self.name = name
    self.value = value
    self.type = type
  }
}

/// A finished statement: columns in order and rows as JSON values. Of a text with several statements, the last one.
public struct StatementResponse: Codable, Sendable {
  public struct Column: Codable, Sendable, Equatable {
    public var name: String
    public var type: String
    public init(name: String, type: String) {
      self.name = name
      self.type = type
    }
  }
  public var statementID: String
  public var columns: [Column]
  public var rows: [[JSONValue]]
  public var truncated: Bool
  public var affectedRows: Int64?
  /// The table version that the statement made, when it wrote one.
  public var version: Int64?
  /// What names with fewer than three parts mean from now on, when a USE changed it.
  public var catalog: String?
  public var schema: String?
  /// All statements of a text that has several, in order.
  public var statements: [Step]?

  /// One statement of several.
  public struct Step: Codable, Sendable, Equatable {
    /// As in `insert`, `select`.
    public var kind: String
    /// Where it begins, from 1.
    public var line: Int
    public var rowCount: Int
    public var affectedRows: Int64?
    public var version: Int64?
    public init(kind: String, line: Int, rowCount: Int, affectedRows: Int64?, version: Int64?) {
      self.kind = kind
      self.line = line
      self.rowCount = rowCount
      self.affectedRows = affectedRows
      self.version = version
    }
    enum CodingKeys: String, CodingKey {
      case kind, line, version
      case rowCount = "row_count"
      case affectedRows = "affected_rows"
    }
  }

  public init(
    statementID: String, columns: [Column], rows: [[JSONValue]], truncated: Bool, affectedRows: Int64? = nil,
    version: Int64? = nil
  ) {
    self.statementID = statementID
    self.columns = columns
    self.rows = rows
    self.truncated = truncated
    self.affectedRows = affectedRows
    self.version = version
  }
  enum CodingKeys: String, CodingKey {
    case columns, rows, truncated, version, catalog, schema, statements
    case statementID = "statement_id"
    case affectedRows = "affected_rows"
  }
}

/// Body of `POST /api/2.0/vector-search/indexes/NAME/query`.
public struct IndexQueryRequest: Codable, Sendable {
  public var queryText: String
  public var numResults: Int?
  public init(queryText: String, numResults: Int? = nil) {
    self.queryText = queryText
    self.numResults = numResults
  }
  enum CodingKeys: String, CodingKey {
    case queryText = "query_text"
    case numResults = "num_results"
  }
}

public struct IndexHit: Codable, Sendable, Equatable {
  public var id: String
  public var path: String
  public var text: String
  /// Cosine similarity, 1 is equal.
  public var score: Double
  public init(id: String, path: String, text: String, score: Double) {
    self.id = id
    self.path = path
    self.text = text
    self.score = score
  }
}

public struct IndexQueryResponse: Codable, Sendable {
  public var index: String
  public var tableVersion: Int64
  public var hits: [IndexHit]
  public init(index: String, tableVersion: Int64, hits: [IndexHit]) {
    self.index = index
    self.tableVersion = tableVersion
    self.hits = hits
  }
  enum CodingKeys: String, CodingKey {
    case index, hits
    case tableVersion = "table_version"
  }
}
