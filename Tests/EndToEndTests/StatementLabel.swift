// SPDX-License-Identifier: Apache-2.0

import Query

/// The kinds of statement that people tell apart. A new case of the plan's enumerations does not compile here until it has a label.
enum StatementLabel {
  /// Every label; each needs an answer and an error among the golden files.
  static let all: Set<String> = [
    "SELECT", "SELECT .. AS OF", "table_changes", "read_files", "EXPLAIN", "INSERT", "INSERT OVERWRITE", "INSERT REPLACE WHERE", "UPDATE", "DELETE", "MERGE",
    "TRUNCATE", "COPY INTO", "CREATE TABLE", "CREATE TABLE AS", "CREATE TABLE LIKE", "CREATE TABLE CLONE", "DROP TABLE", "DESCRIBE HISTORY", "DESCRIBE DETAIL",
    "OPTIMIZE", "REORG", "FSCK", "VACUUM", "RESTORE", "DESCRIBE TABLE", "SHOW CREATE TABLE", "SHOW COLUMNS", "SHOW TBLPROPERTIES", "SHOW PARTITIONS",
    "ALTER TABLE ADD COLUMNS", "ALTER TABLE RENAME COLUMN", "ALTER TABLE DROP COLUMN", "ALTER COLUMN TYPE", "ALTER COLUMN COMMENT", "ALTER COLUMN NOT NULL",
    "ALTER COLUMN DEFAULT", "ALTER COLUMN FIRST", "ALTER COLUMN SYNC IDENTITY", "ADD CHECK", "ADD KEY", "ALTER TABLE TAGS", "DROP CONSTRAINT",
    "DROP PRIMARY KEY",
    "SET TBLPROPERTIES", "UNSET TBLPROPERTIES", "CLUSTER BY", "COMMENT ON TABLE", "ALTER TABLE RENAME", "ALTER TABLE OWNER", "ALTER COLUMN LENGTH",
    "DROP FEATURE", "CREATE CATALOG", "CREATE SCHEMA", "CREATE VOLUME", "CREATE VIEW", "CREATE FUNCTION", "DROP catalog", "DROP schema", "DROP volume",
    "DROP view", "DROP function", "COMMENT ON catalog", "COMMENT ON schema", "COMMENT ON volume", "COMMENT ON view", "ALTER catalog", "ALTER schema",
    "ALTER volume", "ALTER view", "SHOW catalog", "SHOW schema", "SHOW volume", "SHOW view", "SHOW function", "SHOW table", "DESCRIBE catalog",
    "DESCRIBE schema", "DESCRIBE volume", "DESCRIBE function", "SHOW CREATE view", "SHOW CREATE function", "UNDROP", "SHOW DROPPED", "USE",
  ]

  /// Statements that no error can follow but one of syntax.
  static let withoutError: Set<String> = ["SHOW catalog"]

  static func of(_ plan: StatementPlan) -> String {
    switch plan.kind {
    case .select:
      if plan.references.contains(where: { $0.changes != nil }) { return "table_changes" }
      if !plan.fileRequests.isEmpty { return "read_files" }
      return plan.references.contains { $0.version != nil || $0.timestampMilliseconds != nil } ? "SELECT .. AS OF" : "SELECT"
    case .explain: return "EXPLAIN"
    case .createTableAs: return "CREATE TABLE AS"
    case .insert:
      if plan.insert.replaceCondition != nil { return "INSERT REPLACE WHERE" }
      return plan.replaces ? "INSERT OVERWRITE" : "INSERT"
    case .dropTable: return "DROP TABLE"
    case .delete: return "DELETE"
    case .update: return "UPDATE"
    case .merge: return "MERGE"
    case .truncate: return "TRUNCATE"
    case .describeHistory: return "DESCRIBE HISTORY"
    case .describeDetail: return "DESCRIBE DETAIL"
    case .copyInto: return "COPY INTO"
    case .table: return plan.command.map(of) ?? "?"
    case .catalog: return plan.catalogCommand.map(of) ?? "?"
    }
  }

  private static func of(_ command: TableCommand) -> String {
    switch command {
    case .create: "CREATE TABLE"
    case .createLike: "CREATE TABLE LIKE"
    case .clone: "CREATE TABLE CLONE"
    case .alter(let change): of(change)
    case .optimize: "OPTIMIZE"
    case .purge: "REORG"
    case .repair: "FSCK"
    case .vacuum: "VACUUM"
    case .restore: "RESTORE"
    case .describe: "DESCRIBE TABLE"
    case .showCreate: "SHOW CREATE TABLE"
    case .showColumns: "SHOW COLUMNS"
    case .showProperties: "SHOW TBLPROPERTIES"
    case .showPartitions: "SHOW PARTITIONS"
    }
  }

  private static func of(_ change: TableAlteration) -> String {
    switch change {
    case .addColumns: "ALTER TABLE ADD COLUMNS"
    case .renameColumn: "ALTER TABLE RENAME COLUMN"
    case .dropColumns: "ALTER TABLE DROP COLUMN"
    case .changeType: "ALTER COLUMN TYPE"
    case .setComment: "ALTER COLUMN COMMENT"
    case .setNullable: "ALTER COLUMN NOT NULL"
    case .setDefault: "ALTER COLUMN DEFAULT"
    case .moveColumn: "ALTER COLUMN FIRST"
    case .syncIdentity: "ALTER COLUMN SYNC IDENTITY"
    case .addCheck: "ADD CHECK"
    case .addKey: "ADD KEY"
    case .dropConstraint: "DROP CONSTRAINT"
    case .dropPrimaryKey: "DROP PRIMARY KEY"
    case .setProperties: "SET TBLPROPERTIES"
    case .unsetProperties: "UNSET TBLPROPERTIES"
    case .clusterBy: "CLUSTER BY"
    case .setTableComment: "COMMENT ON TABLE"
    case .rename: "ALTER TABLE RENAME"
    case .setOwner: "ALTER TABLE OWNER"
    case .setTags, .unsetTags: "ALTER TABLE TAGS"
    case .changeLength: "ALTER COLUMN LENGTH"
    case .dropFeature: "DROP FEATURE"
    }
  }

  private static func of(_ command: CatalogCommand) -> String {
    switch command {
    case .createCatalog: "CREATE CATALOG"
    case .createSchema: "CREATE SCHEMA"
    case .createVolume: "CREATE VOLUME"
    case .createView: "CREATE VIEW"
    case .createFunction: "CREATE FUNCTION"
    case .drop(let name, _, _): "DROP \(name.kind.rawValue)"
    case .comment(let name, _): "COMMENT ON \(name.kind.rawValue)"
    case .alter(let name, _): "ALTER \(name.kind.rawValue)"
    case .show(let kind, _, _): "SHOW \(kind.rawValue)"
    case .describe(let name, _): "DESCRIBE \(name.kind.rawValue)"
    case .showCreate(let name): "SHOW CREATE \(name.kind.rawValue)"
    case .undrop, .undropModel: "UNDROP"
    case .showDropped: "SHOW DROPPED"
    case .use: "USE"
    }
  }
}
