// SPDX-License-Identifier: Apache-2.0

public import DeltaLog

/// What CREATE TABLE says of a table.
public struct TableDefinition: Sendable, Hashable {
  /// A CHECK constraint; without a name one is given when the table is made.
  public struct Check: Sendable, Hashable {
    public var name: String?
    public var expression: String
    public init(name: String?, expression: String) {
      self.name = name
      self.expression = expression
    }
  }

  /// A primary or foreign key: recorded for people and tools, never enforced.
  public struct Key: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable {
      case primary, foreign
    }
    public var kind: Kind
    public var name: String?
    public var columns: [String]
    /// Of a foreign key: the other table and its columns; no columns are its primary key.
    public var references: QualifiedName?
    public var referenced: [String]

    /// As SQL writes it behind the constraint's name.
    public var sql: String {
      func list(_ names: [String]) -> String { "(" + names.map(SparkType.name).joined(separator: ", ") + ")" }
      guard let references else { return "PRIMARY KEY \(list(columns))" }
      let target = [references.catalog, references.schema, references.name].map(SparkType.name).joined(separator: ".")
      return "FOREIGN KEY \(list(columns)) REFERENCES \(target)" + (referenced.isEmpty ? "" : " " + list(referenced))
    }
  }

  /// With comments, defaults, generation expressions and identities in their metadata, as the Delta protocol keeps them.
  public var fields: [StructField] = []
  public var partitionColumns: [String] = []
  /// nil: not said; empty: `CLUSTER BY NONE`.
  public var clusteringColumns: [[String]]?
  public var properties: [String: String] = [:]
  public var comment: String?
  /// As it is written; nil: the platform chooses.
  public var location: String?
  public var checks: [Check] = []
  public var keys: [Key] = []
  public init() {}
}

/// One change that ALTER TABLE makes.
public enum TableAlteration: Sendable, Hashable {
  public struct NewColumn: Sendable, Hashable {
    /// Structs (and `element`, `key`, `value`) that lead to it; empty: a column at the top.
    public var parent: [String]
    public var field: StructField
    public var position: Position
    public init(parent: [String], field: StructField, position: Position) {
      self.parent = parent
      self.field = field
      self.position = position
    }
  }

  public enum Position: Sendable, Hashable {
    case first, last
    case after(String)
  }

  case addColumns([NewColumn], isConditional: Bool)
  case renameColumn([String], to: String)
  case dropColumns([[String]], isConditional: Bool)
  case changeType([String], DeltaType)
  case setComment([String], String?)
  case setNullable([String], Bool)
  case setDefault([String], String?)
  case moveColumn([String], Position)
  case syncIdentity([String])
  case addCheck(TableDefinition.Check)
  case addKey(TableDefinition.Key)
  case dropConstraint(String, isConditional: Bool)
  case dropPrimaryKey(isConditional: Bool)
  case setProperties([String: String])
  case unsetProperties([String], isConditional: Bool)
  case clusterBy([[String]])
  case setTableComment(String?)
  case rename(to: QualifiedName)
  case setOwner(String)
  /// Of the table, or of a column at the top.
  case setTags([String: String], column: String?)
  case unsetTags([String], column: String?)
  /// The length of a text column as its metadata has it (`varchar(20)`); nil: any.
  case changeLength([String], String?)
  case dropFeature(String, truncatesHistory: Bool)
}

/// Which version of a table a statement means; both nil: the latest.
public struct TableVersion: Sendable, Hashable {
  public var version: Int64?
  public var timestampMilliseconds: Int64?
  public init(version: Int64? = nil, timestampMilliseconds: Int64? = nil) {
    self.version = version
    self.timestampMilliseconds = timestampMilliseconds
  }
}

/// A statement about one table that is no query and changes no single rows. The table itself is `StatementPlan.target`.
public enum TableCommand: Sendable, Hashable {
  /// Without columns the location must hold a table, or the files for one.
  case create(TableDefinition)
  /// The columns, properties and partitioning of another table; no rows.
  case createLike(QualifiedName, TableDefinition)
  case clone(QualifiedName, TableVersion, isDeep: Bool, TableDefinition)
  case alter(TableAlteration)
  /// `condition` is SQL text over partition columns.
  case optimize(condition: String?, zOrder: [[String]], isFull: Bool)
  /// Files that have lost rows to deletion vectors are written anew without them.
  case purge
  /// Takes files that are gone out of the table.
  case repair(isDryRun: Bool)
  /// `hours` nil: the table's own retention.
  case vacuum(hours: Double?, isDryRun: Bool)
  case restore(TableVersion)
  case describe(isExtended: Bool, column: [String])
  case showCreate
  case showColumns
  /// One property or, without a name, all.
  case showProperties(String?)
  case showPartitions
}
