// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Query
import Testing

/// Statements about tables are taken apart as they are meant, and what is not understood is said.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct TableStatementTests {
  func plan(_ sql: String) throws -> StatementPlan { try StatementPlan(parsing: sql, catalog: "main", schema: "demo") }

  func command(_ sql: String) throws -> TableCommand {
    let plan = try plan(sql)
    #expect(plan.kind == .table)
    return try #require(plan.command)
  }

  func definition(_ sql: String) throws -> TableDefinition {
    guard case .create(let definition) = try command(sql) else {
      Issue.record("no CREATE TABLE: \(sql)")
      return TableDefinition()
    }
    return definition
  }

  @Test(arguments: [
    ("STRING", "string"), ("text", "string"), ("LONG", "long"), ("bigint", "long"), ("BYTE", "byte"), ("INT", "integer"), ("REAL", "float"),
    ("DOUBLE PRECISION", "double"), ("DECIMAL", "decimal(10,0)"), ("NUMERIC(12, 3)", "decimal(12,3)"), ("TIMESTAMP", "timestamp"),
    ("TIMESTAMP_NTZ", "timestamp_ntz"), ("TIMESTAMP WITHOUT TIME ZONE", "timestamp_ntz"), ("BINARY", "binary"), ("UBIGINT", "decimal(20,0)"),
  ]) func plainTypes(_ text: String, _ expected: String) throws {
    #expect(try definition("CREATE TABLE t (a \(text))").fields == [StructField(name: "a", type: .primitive(expected))])
  }

  @Test func nestedTypesKeepWhatTheirFieldsSay() throws {
    let fields = try definition(
      "CREATE TABLE t (a ARRAY<MAP<STRING, STRUCT<x: INT NOT NULL COMMENT 'it''s', `y z` LONG>>>, b INT[][], c STRUCT(v DOUBLE), d MAP(INT, TEXT))"
    ).fields
    #expect(
      fields.map { SparkType.sql($0.type) } == [
        "ARRAY<MAP<STRING, STRUCT<x: INT NOT NULL COMMENT 'it''s', `y z`: BIGINT>>>", "ARRAY<ARRAY<INT>>", "STRUCT<v: DOUBLE>", "MAP<INT, STRING>",
      ])
    #expect(SparkType.simple(fields[0].type) == "array<map<string,struct<x:int,y z:bigint>>>")
    // What is printed reads back as the same type.
    for field in fields { #expect(try definition("CREATE TABLE t (a \(SparkType.sql(field.type)))").fields[0].type == field.type) }
  }

  @Test func createTableTakesEveryOption() throws {
    let statement = """
      CREATE OR REPLACE TABLE lake.sales.`my orders` (
        id BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 5), day DATE NOT NULL COMMENT 'of the order',
        price DECIMAL(10, 2) DEFAULT round(1.5, 1) NOT NULL, year INT GENERATED ALWAYS AS (year(day)),
        buyer BIGINT REFERENCES people (id), CONSTRAINT positive CHECK (price > 0 AND (id) > 0), PRIMARY KEY (id, day),
        CONSTRAINT x FOREIGN KEY (buyer) REFERENCES lake.sales.people NOT ENFORCED)
      USING DELTA PARTITIONED BY (year) TBLPROPERTIES ('delta.appendOnly' = true, a.b = -1, c 'd') COMMENT 'all' LOCATION '/data/orders';
      """
    let plan = try plan(statement)
    #expect(plan.replaces && plan.target == QualifiedName(catalog: "lake", schema: "sales", name: "my orders"))
    let made = try definition(statement)
    #expect(made.fields.map(\.name) == ["id", "day", "price", "year", "buyer"])
    #expect(made.fields.map(\.nullable) == [false, false, false, true, true])
    let identity = try #require(try IdentityColumn(made.fields[0]))
    #expect(identity.start == 10 && identity.step == 5 && !identity.allowsExplicitInsert)
    #expect(made.fields[1].metadata["comment"] == "of the order" && made.fields[2].metadata["CURRENT_DEFAULT"] == "round(1.5, 1)")
    #expect(made.fields[3].metadata["delta.generationExpression"] == "year(day)")
    #expect(made.checks == [.init(name: "positive", expression: "price > 0 AND (id) > 0")])
    #expect(
      made.keys.map(\.sql) == [
        "FOREIGN KEY (buyer) REFERENCES main.demo.people (id)", "PRIMARY KEY (id, day)", "FOREIGN KEY (buyer) REFERENCES lake.sales.people",
      ])
    #expect(made.partitionColumns == ["year"] && made.properties == ["delta.appendOnly": "true", "a.b": "-1", "c": "d"])
    #expect(made.comment == "all" && made.location == "/data/orders" && made.clusteringColumns == nil)
  }

  @Test func queriesMayBringOptions() throws {
    let made = try plan("CREATE TABLE u CLUSTER BY (a, b.c) TBLPROPERTIES (x = 'y') COMMENT 'c' AS SELECT `a` FROM `main`.demo.`t`")
    #expect(made.kind == .createTableAs && made.definition?.clusteringColumns == [["a"], ["b", "c"]] && made.definition?.comment == "c")
    #expect(made.references.map(\.name.description) == ["main.demo.t"])
    #expect(try plan("CREATE TABLE u (SELECT 1 AS a)").kind == .createTableAs)
    #expect(try plan("CREATE TABLE u USING delta WITH x AS (SELECT 1 AS a) SELECT * FROM x").kind == .createTableAs)
  }

  @Test func copiesOfTables() throws {
    #expect(try command("CREATE TABLE a LIKE x.b") == .createLike(QualifiedName(catalog: "main", schema: "x", name: "b"), TableDefinition()))
    let source = QualifiedName(catalog: "main", schema: "demo", name: "b")
    #expect(try command("CREATE TABLE a SHALLOW CLONE b VERSION AS OF 3") == .clone(source, TableVersion(version: 3), isDeep: false, TableDefinition()))
    guard case .clone(_, let version, true, let options) = try command("CREATE TABLE a CLONE b TIMESTAMP AS OF '2026-01-02' TBLPROPERTIES (a=b)") else {
      Issue.record("no clone")
      return
    }
    #expect(version.timestampMilliseconds == 1_767_312_000_000 && options.properties == ["a": "b"])
  }

  static let alterations: [(String, TableAlteration)] = [
    (
      "ADD COLUMNS (a INT COMMENT 'c' FIRST, b.c STRING AFTER x)",
      .addColumns(
        [
          .init(parent: [], field: StructField(name: "a", type: .primitive("integer"), metadata: ["comment": "c"]), position: .first),
          .init(parent: ["b"], field: StructField(name: "c", type: .primitive("string")), position: .after("x")),
        ], isConditional: false)
    ),
    (
      "ADD COLUMN IF NOT EXISTS a INT",
      .addColumns([.init(parent: [], field: StructField(name: "a", type: .primitive("integer")), position: .last)], isConditional: true)
    ),
    ("RENAME COLUMN a.b TO `c d`", .renameColumn(["a", "b"], to: "c d")), ("DROP COLUMN a", .dropColumns([["a"]], isConditional: false)),
    ("DROP COLUMNS IF EXISTS (a, b.c)", .dropColumns([["a"], ["b", "c"]], isConditional: true)),
    ("ALTER COLUMN a TYPE BIGINT", .changeType(["a"], .primitive("long"))), ("CHANGE COLUMN a COMMENT 'x'", .setComment(["a"], "x")),
    ("ALTER COLUMN a SET NOT NULL", .setNullable(["a"], false)), ("ALTER COLUMN a DROP NOT NULL", .setNullable(["a"], true)),
    ("ALTER COLUMN a SET DEFAULT 1 + 2", .setDefault(["a"], "1 + 2")), ("ALTER COLUMN a DROP DEFAULT", .setDefault(["a"], nil)),
    ("ALTER COLUMN a AFTER b", .moveColumn(["a"], .after("b"))), ("ALTER COLUMN a SYNC IDENTITY", .syncIdentity(["a"])),
    ("SET TAGS ('pii' = 'no', cost = 'eu')", .setTags(["pii": "no", "cost": "eu"], column: nil)), ("UNSET TAGS ('pii')", .unsetTags(["pii"], column: nil)),
    ("ALTER COLUMN a SET TAGS ('pii' = 'yes')", .setTags(["pii": "yes"], column: "a")),
    ("ALTER COLUMN a UNSET TAGS ('pii', 'cost')", .unsetTags(["pii", "cost"], column: "a")),
    ("ADD CONSTRAINT c CHECK (a > (1))", .addCheck(.init(name: "c", expression: "a > (1)"))),
    ("DROP CONSTRAINT IF EXISTS c", .dropConstraint("c", isConditional: true)),
    ("DROP PRIMARY KEY", .dropPrimaryKey(isConditional: false)), ("SET TBLPROPERTIES ('a' = 'b')", .setProperties(["a": "b"])),
    ("UNSET TBLPROPERTIES IF EXISTS (a.b, 'c')", .unsetProperties(["a.b", "c"], isConditional: true)), ("CLUSTER BY (a)", .clusterBy([["a"]])),
    ("CLUSTER BY NONE", .clusterBy([])), ("SET OWNER TO `ann@x.org`", .setOwner("ann@x.org")),
    ("RENAME TO other.t2", .rename(to: QualifiedName(catalog: "main", schema: "other", name: "t2"))),
  ]

  @Test(arguments: alterations) func alter(_ text: String, _ expected: TableAlteration) throws {
    #expect(try command("ALTER TABLE t \(text)") == .alter(expected))
    #expect(try plan("ALTER TABLE t \(text)").target?.name == "t")
  }

  @Test func maintenanceAndDescriptions() throws {
    #expect(try command("OPTIMIZE t") == .optimize(condition: nil, zOrder: [], isFull: false))
    #expect(try command("OPTIMIZE t WHERE d >= '2026' ZORDER BY (a, b.c)") == .optimize(condition: "d >= '2026'", zOrder: [["a"], ["b", "c"]], isFull: false))
    #expect(try command("VACUUM t RETAIN 0.5 HOURS DRY RUN") == .vacuum(hours: 0.5, isDryRun: true))
    #expect(try command("RESTORE TABLE t TO VERSION AS OF 4") == .restore(TableVersion(version: 4)))
    #expect(try command("COMMENT ON TABLE t IS 'x'") == .alter(.setTableComment("x")))
    #expect(try command("COMMENT ON COLUMN demo.t.a IS NULL") == .alter(.setComment(["a"], nil)))
    #expect(try command("DESCRIBE TABLE EXTENDED t a.b") == .describe(isExtended: true, column: ["a", "b"]))
    #expect(try command("desc t") == .describe(isExtended: false, column: []))
    #expect(try command("SHOW CREATE TABLE t") == .showCreate)
    #expect(try command("SHOW COLUMNS IN t") == .showColumns)
    #expect(try command("SHOW TBLPROPERTIES t ('delta.x')") == .showProperties("delta.x"))
    #expect(try command("SHOW PARTITIONS t") == .showPartitions)
    #expect(try plan("DESCRIBE HISTORY t").kind == .describeHistory)
    #expect(try plan("DESCRIBE history").command == .describe(isExtended: false, column: []))
  }

  @Test(arguments: [
    ("CREATE TABLE t (a INT) USING CSV", "tables of the format 'CSV' are not supported: every table is a Delta table"),
    ("CREATE TABLE t (a ARRAY<VARCHAR(10)>)", "a text with a length cannot be part of another type"),
    ("CREATE TABLE t (a STRIN)", "'STRIN' is not a column type"),
    ("CREATE TABLE t (a INT, A INT)", "the column 'A' is there twice"), ("CREATE TABLE t (a VARIANT)", "columns of type VARIANT are not supported"),
    ("CREATE TABLE t (a INT) PARTITIONED BY (a) CLUSTER BY (a)", "a table cannot be both partitioned and clustered"),
    ("CREATE TABLE t (a INT) PARTITIONED BY (days(a))", "a table is partitioned by columns, not by the expression 'days(..)'"),
    ("CREATE TABLE t (a INT) AS SELECT 1", "CREATE TABLE .. AS takes its columns from the query"),
    ("CREATE TABLE t (a INT GENERATED ALWAYS AS IDENTITY)", "the identity column 'a' must be BIGINT"),
    ("CREATE OR REPLACE TABLE IF NOT EXISTS t (a INT)", "OR REPLACE and IF NOT EXISTS exclude each other"),
    ("CREATE TABLE t", "a list of columns, or AS and a query, is expected at the end"),
    ("CREATE TABLE t (a INT) CLUSTER BY AUTO", "CLUSTER BY AUTO is not supported"),
    ("ALTER TABLE t SPLIT a", "this change of a table is not supported"),
    ("ALTER TABLE t ADD CONSTRAINT CHECK (a > 0)", "CHECK, PRIMARY KEY or FOREIGN KEY is expected before '('"),
    ("RESTORE TABLE t", "VERSION AS OF or TIMESTAMP AS OF is expected at the end"), ("VACUUM t RETAIN x HOURS", "a number of hours is expected before 'x'"),
    ("OPTIMIZE t ZORDER BY a", "( is expected before 'a'"),
    ("COMMENT ON COLUMN a IS 'x'", "a column is named with its table: COMMENT ON COLUMN t.a"), ("SHOW COLUMNS t", "IN is expected before 't'"),
  ]) func whatIsWrongIsSaid(_ sql: String, _ message: String) {
    #expect { try plan(sql) } throws: { error in
      let text = (error as? PlatformError)?.message ?? ""
      if text != message { Issue.record("\(sql): \(text)") }
      return (error as? PlatformError)?.code == .invalidArgument
    }
  }

  @Test func truncatedStatementsNeverPassForWhole() throws {
    let whole = "CREATE TABLE t (a ARRAY<STRUCT<x: INT>> COMMENT 'c', b DECIMAL(3, 1) DEFAULT (1), CHECK (b > 0)) PARTITIONED BY (b) TBLPROPERTIES (a = 'b')"
    for length in whole.indices.dropFirst(16) {
      // Some beginnings are statements of their own; none may crash.
      _ = try? plan(String(whole[..<length]))
    }
    #expect(try plan(whole).kind == .table)
  }

  @Test func expressionsOfTablesAreJudgedWithoutBeingRun() throws {
    let columns = [Column("a", .integer), Column("b c", .varchar)]
    try TableExpression.check("a > 0 AND `b c` LIKE 'x%'", columns: columns, what: "it")
    try TableExpression.check("coalesce(1, 2)", columns: [], castTo: .bigint, what: "it")
    // A literal is a value of the type, or no row could take it.
    for text in ["'7'", "-7", "NULL", "1 + 1"] { try TableExpression.check(text, columns: [], castTo: .integer, what: "it") }
    #expect(throws: PlatformError.self) { try TableExpression.check("'x'", columns: [], castTo: .integer, what: "it") }
    #expect(throws: PlatformError.self) { try TableExpression.check("300", columns: [], castTo: .tinyint, what: "it") }
    // Would take forever, or fail, if it were evaluated.
    try TableExpression.check("length(repeat('x', 1000000000000)) > 0 OR 1/0 > 2", columns: columns, what: "it")
    for (text, castTo) in [
      ("x > 0", nil), ("sum(a) > 1", nil), ("a > (SELECT 1)", nil), ("row_number() OVER () > 1", nil), ("a + 1", nil), ("a) > 0 OR (a", nil), ("? > 1", nil),
      ("a", SQLType.bigint), ("1; DROP TABLE t", nil), ("", nil),
    ] as [(String, SQLType?)] {
      #expect(throws: PlatformError.self, "\(text)") {
        try TableExpression.check(text, columns: castTo == nil ? columns : [], castTo: castTo, what: "it")
      }
    }
  }
}
