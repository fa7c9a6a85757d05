// SPDX-License-Identifier: Apache-2.0

public import Core
public import DuckDB

/// A view or function of the catalog, as the engine gets to know it for one statement.
public struct StatementDefinition: Codable, Sendable, Hashable {
  /// A column of a view: what its query calls it, what the view calls it, and the type it had when the view was made.
  public struct ViewColumn: Codable, Sendable, Hashable {
    public var source: String
    public var name: String
    public var type: SQLType
    public init(source: String, name: String, type: SQLType) {
      self.source = source
      self.name = name
      self.type = type
    }
  }

  public enum Kind: String, Codable, Sendable, Hashable {
    case view, function
  }

  public var kind: Kind
  /// The engine's name for it.
  public var name: String
  /// The catalog's name, for messages.
  public var label: String
  /// A view's query with replaced names; for functions the whole CREATE MACRO.
  public var sql: String
  public var columns: [ViewColumn]

  public init(view name: String, label: String, sql: String, columns: [ViewColumn]) {
    kind = .view
    self.name = name
    self.label = label
    self.sql = sql
    self.columns = columns
  }

  /// - Parameter sql: a CREATE MACRO of our own making.
  public init(function name: String, label: String, sql: String) {
    kind = .function
    self.name = name
    self.label = label
    self.sql = sql
    columns = []
  }

  /// - Throws: `invalidArgument` PLT-3222 for a view that does not fit its tables any more.
  func create(_ connection: Connection) throws {
    switch kind {
    case .function: try connection.execute(sql)
    case .view:
      guard try connection.statementCount(sql) == 1 else { throw PlatformError(.internalError, "view '\(label)' holds more than a query") }
      let found: [String]
      do {
        found = try connection.query("SELECT * FROM (\n\(sql)\n) AS probe LIMIT 0").columns.map { $0.name.lowercased() }
      } catch let error as PlatformError where error.code == .invalidArgument {
        throw stale(error.message)
      }
      let missing = columns.filter { !found.contains($0.source.lowercased()) }
      guard missing.isEmpty else { throw stale("its query has no column '\(missing[0].source)' any more") }
      let list = columns.map { "CAST(r.\(SQLText.identifier($0.source)) AS \($0.type.sql)) AS \(SQLText.identifier($0.name))" }
      try connection.execute("CREATE TEMP VIEW \(SQLText.identifier(name)) AS SELECT \(list.joined(separator: ", ")) FROM (\n\(sql)\n) AS r")
    }
  }

  private func stale(_ why: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "view '\(label)' does not fit what it reads any more: \(why)", hint: "CREATE OR REPLACE VIEW it.", number: "PLT-3222")
  }
}

/// A value that a query reads by name: of a parameter, or of the session.
public struct StatementVariable: Codable, Sendable, Hashable {
  public var name: String
  /// null, a truth value, a number or a text.
  public var value: JSONValue
  /// A type of the engine's.
  public var type: String
  public init(name: String, value: JSONValue, type: String) {
    self.name = name
    self.value = value
    self.type = type
  }

  /// The expression that reads it.
  public var expression: String { "getvariable(\(SQLText.literal(name)))" }

  /// - Throws: `invalidArgument` for a value that the type cannot hold.
  func set(_ connection: Connection) throws {
    let bound: SQLValue
    switch value {
    case .null: bound = .null
    case .bool(let flag): bound = .bool(flag)
    case .integer(let number): bound = .int(number)
    case .number(let number): bound = .double(number)
    case .string(let text): bound = .string(text)
    default: throw PlatformError(.invalidArgument, "a parameter is null, a truth value, a number or a text")
    }
    do {
      try connection.execute("SET VARIABLE \(SQLText.identifier(name)) = CAST(? AS \(type))", [bound])
    } catch var error as PlatformError {
      error.message = "parameter '\(name.replacing("__parameter_", with: ""))': \(error.message)"
      throw error
    }
  }
}

/// Where a statement's rows come from, fixed when it is planned.
public struct StatementSources: Codable, Sendable, Hashable {
  public struct Object: Codable, Sendable, Hashable {
    /// `table` or `view`.
    public var kind: String
    /// Full name.
    public var name: String
    public var version: Int64?
    public init(kind: String, name: String, version: Int64?) {
      self.kind = kind
      self.name = name
      self.version = version
    }
  }
  /// A column of `source` that reaches a column of the target, or of the view `target`.
  public struct Column: Codable, Sendable, Hashable {
    public var source: String
    public var sourceColumn: String
    /// nil: the statement's own target.
    public var target: String?
    public var targetColumn: String
    public init(source: String, sourceColumn: String, target: String?, targetColumn: String) {
      self.source = source
      self.sourceColumn = sourceColumn
      self.target = target
      self.targetColumn = targetColumn
    }
  }
  /// What the statement itself names.
  public var objects: [Object]
  /// What views read, by view.
  public var throughViews: [String: [Object]]
  /// What functions read.
  public var readByFunctions: [Object] = []
  public var columns: [Column]
  public init(objects: [Object] = [], throughViews: [String: [Object]] = [:], columns: [Column] = []) {
    self.objects = objects
    self.throughViews = throughViews
    self.columns = columns
  }

  /// Whether rows of a table are read, by the statement itself, a view or a function.
  public func reads(table name: String) -> Bool {
    (objects + readByFunctions + throughViews.values.joined()).contains { $0.kind == "table" && $0.name == name }
  }
}
