// SPDX-License-Identifier: Apache-2.0

public import Core

/// Body of `POST /api/2.0/sql/statements`, with Databricks' names and meanings.
public struct StatementRequest: Codable, Sendable {
  public var statement: String
  /// There is one warehouse: any name is taken.
  public var warehouseID: String?
  public var catalog: String?
  public var schema: String?
  /// Values of `:name` and `?`.
  public var parameters: [StatementParameter]?
  public var rowLimit: Int?
  public var byteLimit: Int?
  /// `INLINE` or `EXTERNAL_LINKS`.
  public var disposition: String?
  /// `JSON_ARRAY`, `ARROW_STREAM` or `CSV`.
  public var format: String?
  /// `0s`, or `5s` to `50s`.
  public var waitTimeout: String?
  /// `CONTINUE` or `CANCEL`.
  public var onWaitTimeout: String?
  /// Seconds after which the statement is ended; at most what the service allows.
  public var statementTimeout: Int?
  /// Only `duckdb`.
  public var engine: String?

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
    case statement, catalog, schema, parameters, disposition, format, engine
    case warehouseID = "warehouse_id"
    case rowLimit = "row_limit"
    case byteLimit = "byte_limit"
    case waitTimeout = "wait_timeout"
    case onWaitTimeout = "on_wait_timeout"
    case statementTimeout = "statement_timeout"
  }
}

/// A statement as `/api/2.0/sql/statements` shows it.
public struct StatementStatus: Codable, Sendable {
  public struct Status: Codable, Sendable {
    public var state: String
    public var error: Failure?
    /// 0 to 100 while it runs, when known.
    public var percent: Int?
  }

  public struct Failure: Codable, Sendable {
    public var errorCode: String
    public var message: String
    /// The platform's own error.
    public var platformError: PlatformFailure?
    enum CodingKeys: String, CodingKey {
      case message
      case errorCode = "error_code"
      case platformError = "platform_error"
    }
  }

  public struct PlatformFailure: Codable, Sendable {
    public var code: String
    public var number: String
    public var hint: String
    public var path: String?
    public var line: Int?
    public init(code: String, number: String, hint: String, path: String?, line: Int?) {
      self.code = code
      self.number = number
      self.hint = hint
      self.path = path
      self.line = line
    }
  }

  public struct Manifest: Codable, Sendable {
    public struct Schema: Codable, Sendable {
      public var columns: [Column]?
    }
    public struct Column: Codable, Sendable {
      public var name: String
      public var typeName: String
      public var typeText: String
      public var position: Int
      /// The type as the SQL engine writes it.
      public var typeSQL: String?
      enum CodingKeys: String, CodingKey {
        case name, position
        case typeName = "type_name"
        case typeText = "type_text"
        case typeSQL = "type_sql"
      }
    }
    public var schema: Schema
    public var totalRowCount: Int64?
    public var totalChunkCount: Int?
    public var truncated: Bool?
    enum CodingKeys: String, CodingKey {
      case schema, truncated
      case totalRowCount = "total_row_count"
      case totalChunkCount = "total_chunk_count"
    }
  }

  public struct Result: Codable, Sendable {
    public var dataArray: [[String?]]?
    public var nextChunkIndex: Int?
    enum CodingKeys: String, CodingKey {
      case dataArray = "data_array"
      case nextChunkIndex = "next_chunk_index"
    }
  }

  public var statementID: String
  public var status: Status
  public var manifest: Manifest?
  public var result: Result?
  public var affectedRows: Int64?
  public var version: Int64?
  /// What names with fewer than three parts mean from now on, when a USE changed it.
  public var catalog: String?
  public var schema: String?
  /// All statements of a text that has several, in order.
  public var statements: [StatementResponse.Step]?
  enum CodingKeys: String, CodingKey {
    case status, manifest, result, version, catalog, schema, statements
    case statementID = "statement_id"
    case affectedRows = "affected_rows"
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
