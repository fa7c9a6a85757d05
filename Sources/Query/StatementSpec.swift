// SPDX-License-Identifier: Apache-2.0

public import Core
public import DeltaLog

/// A table's full name.
public struct QualifiedName: Codable, Sendable, Hashable, CustomStringConvertible {
  public var catalog: String
  public var schema: String
  public var name: String
  public init(catalog: String, schema: String, name: String) {
    self.catalog = catalog
    self.schema = schema
    self.name = name
  }
  public var description: String { "\(catalog).\(schema).\(name)" }
}

/// What kind of statement a text is.
public enum StatementKind: String, Codable, Sendable {
  case select, explain, createTableAs, insert, dropTable
  /// See `StatementPlan.command`.
  case table
  /// See `StatementPlan.catalogCommand`.
  case catalog
  case delete, update, merge, truncate, describeHistory, describeDetail, copyInto

  /// Whether an executor runs something for it.
  public var runsQuery: Bool {
    switch self {
    case .select, .explain, .createTableAs, .insert, .delete, .update, .merge: true
    default: false
    }
  }

  /// Whether it changes rows that are there.
  public var changesRows: Bool { self == .delete || self == .update || self == .merge }
}

/// A statement for an executor: the query with its tables resolved to files.
public struct StatementSpec: Codable, Sendable, Hashable {
  public struct Table: Codable, Sendable, Hashable {
    /// `StatementPlan.Reference.view`: the name that `sql` uses.
    public var view: String
    /// What it stands for.
    public var scan: TableScan
    /// What people call it.
    public var name: String?
    public init(view: String, scan: TableScan, name: String? = nil) {
      self.view = view
      self.name = name
      self.scan = scan
    }
    /// For EXPLAIN: what is read of the table.
    var summary: String {
      func files(_ count: Int) -> String { count == 1 ? "1 file" : "\(count) files" }
      let skipped =
        scan.skipped.files == 0 ? "" : ", \(files(scan.skipped.files)) (\(scan.skipped.bytes) bytes) skipped by partition values and statistics"
      return
        "\(name ?? view): version \(scan.version), \(files(scan.files.count)) read (\(scan.sizeInBytes) bytes, \(scan.rows.map { String($0) } ?? "unknown") rows)"
        + skipped
    }

    /// Plain files that have `columns`.
    public init(view: String, files: [String], columns: [Column]) { self.init(view: view, scan: TableScan(files: files, columns: columns)) }
  }

  public struct Limits: Codable, Sendable, Hashable {
    public var rows = 10_000
    /// Of the rows' JSON, roughly.
    public var bytes = 8 << 20
    public var memory = "1GB"
    public var threads = 2
    public init() {}
  }

  /// For statements that change rows.
  public struct Change: Codable, Sendable, Hashable {
    public var queries: ChangeQueries
    /// The target's live data files.
    public var files: [TargetFile]
    /// Files whose rows all go, as the log tells: they are not read.
    public var whole: [WholeFile]?
    /// The version that the files belong to.
    public var version: Int64
    /// What the files were chosen by, and all that the change has read of its table; nil: it may have read any row.
    public var condition: FilePredicate?

    public struct WholeFile: Codable, Sendable, Hashable {
      /// Absolute.
      public var path: String
      public var rows: Int64
    }

    public init(queries: ChangeQueries, files: [TargetFile], version: Int64) {
      self.queries = queries
      self.files = files
      self.version = version
    }
  }

  public var kind: StatementKind
  /// A query of the platform's own: its rows go to the commit and not to a client.
  public var isInternal: Bool?
  public var change: Change?
  /// Views and functions of the catalog, what is needed before what needs it.
  public var definitions: [StatementDefinition] = []
  /// What the session words and named parameters of the query mean.
  public var variables: [StatementVariable] = []
  /// Where the rows come from; given back with the result.
  public var sources: StatementSources?
  /// `StatementPlan.sql`.
  public var sql: String
  public var tables: [Table]
  /// Files that `sql` reads as tables.
  public var fileReads: [FileRead] = []
  /// For `insert`: all columns of the target.
  public var targetColumns: [Column]
  /// For `insert`: the columns named in the statement; empty: all.
  public var insertColumns: [String]
  /// The other clauses of an INSERT.
  public var insert = InsertOptions()
  /// For `insert`: rows of another Postgres that take the place of a query.
  public var postgres: PostgresRead?
  /// For `insert`: pushed records that take the place of a query.
  public var records: [RecordBatch]?
  /// For statements that write rows: the table they go to. nil: a table of `targetColumns` without any rules.
  public var target: WriteTarget?
  /// Names the machine (`ProcessSupport.hostID`) that waits for the disk when it commits the new files, together with its own writes: an
  /// executor there need not. nil: nobody does.
  public var syncingHost: String?
  /// For `createTableAs` and `insert`: an absolute folder that takes the new files.
  public var outputDirectory: String?
  /// For `?` and `$1`: null, truth values, numbers and texts.
  public var parameters: [JSONValue]
  public var limits: Limits

  public init(
    kind: StatementKind, sql: String, tables: [Table], targetColumns: [Column] = [], insertColumns: [String] = [],
    outputDirectory: String? = nil, parameters: [JSONValue] = [], limits: Limits = Limits()
  ) {
    self.kind = kind
    self.sql = sql
    self.tables = tables
    self.targetColumns = targetColumns
    self.insertColumns = insertColumns
    self.outputDirectory = outputDirectory
    self.parameters = parameters
    self.limits = limits
  }

  /// Whether `variable` has to be set. Values of parameters are, so that wrong ones are told; what a session word means only where
  /// one is used.
  func reads(_ variable: StatementVariable) -> Bool {
    guard SQLExtensions.isOfSession(variable), change == nil else { return true }
    return sql.contains(variable.name) || definitions.contains { $0.sql.contains(variable.name) }
  }

  /// Whether a variable has to be set for it.
  var setsVariables: Bool { variables.contains(where: reads) }

  /// Whether it reads and writes nothing, and brings no views and functions along.
  public var needsNothing: Bool {
    tables.isEmpty && definitions.isEmpty && change == nil && outputDirectory == nil && postgres == nil && records == nil && fileReads.isEmpty
  }
}

/// What a statement gave.
public struct StatementResult: Codable, Sendable, Hashable {
  public var columns: [Column]
  /// An array for each row, in the columns' order.
  public var rows: [[JSONValue]]
  /// Whether rows were left out because of the limits.
  public var isTruncated: Bool
  /// Files to commit, for `createTableAs` and `insert`.
  public var files: [WrittenFile]
  /// A loss of power may still take `files` away: who commits them waits for the disk.
  public var isUnsynced: Bool?
  /// Rows returned or written.
  public var rowCount: Int64
  public var change: Change?
  /// The table that the files were made for.
  public var target: WriteTarget?
  /// What `StatementSpec.postgres` read.
  public var postgres: PostgresOutcome?
  /// What became of `StatementSpec.records`, in their order.
  public var records: [RecordOutcome]?
  /// The last value that each identity column has given or taken.
  public var identityMarks: [String: Int64]?
  /// `StatementSpec.sources`: what was read, as it was when the statement was planned.
  public var sources: StatementSources?

  /// What a statement that changes rows did.
  public struct Change: Codable, Sendable, Hashable {
    /// The version that it read.
    public var version: Int64
    /// `StatementSpec.Change.condition`.
    public var condition: FilePredicate?
    /// Absolute paths of files whose rows are gone or lie in `files` now.
    public var removed: [String]
    public var updated: Int64
    public var deleted: Int64
    public var inserted: Int64
    /// Unchanged rows that were written again.
    public var copied: Int64 = 0
    /// Rows of a MERGE's source.
    public var sourceRows: Int64?
    /// Files that lose rows by a deletion vector: all their deleted rows, older ones included.
    public var vectors: [Vector] = []
    /// Files of changed rows, for the change data feed.
    public var changeFiles: [WrittenFile] = []

    /// A file and the deletion vector that it gets.
    public struct Vector: Codable, Sendable, Hashable {
      /// Absolute.
      public var path: String
      public var descriptor: DeletionVectorDescriptor
    }
  }
}
