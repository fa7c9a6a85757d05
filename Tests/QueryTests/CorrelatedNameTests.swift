// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Columns that a query within another one names with the schema of their table, where other tables have the same last name. What is right is
/// what the engine alone answers when every table has a name of its own.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct CorrelatedNameTests {
  private static let two = [Column("id", .bigint), Column("name", .varchar)]
  /// By the table's name: what the engine calls it alone, its columns and rows.
  private static let tables: [String: (own: String, columns: [Column], rows: String)] = [
    "main.demo.t": ("a", two, "(1, 'one'), (2, 'two'), (3, 'three')"), "main.other.t": ("b", two, "(2, 'zwei'), (3, 'drei'), (4, 'vier')"),
    "lab.demo.t": ("d", two, "(3, 'drie'), (5, 'vijf')"), "main.demo.u": ("c", two, "(2, 'deux'), (9, 'neuf')"),
    "lab.other.t": ("e", [Column("key", .bigint)], "(2), (3)"),
    "main.demo.p": (
      "p", [Column("id", .bigint), Column("t", .structure([SQLField(name: "id", type: .bigint)]))], "(1, {'id': 2}), (7, {'id': 8}), (3, {'id': 3})"
    ),
  ]

  private let folder = TemporaryDirectory("correlated")
  private let engine: Connection

  init() throws {
    engine = try Database(settings: .init(threads: 1)).connect()
    for (name, table) in Self.tables {
      let columns = table.columns.map { "\(SQLText.identifier($0.name)) \($0.type.sql)" }.joined(separator: ", ")
      try engine.execute(
        """
        CREATE TABLE \(table.own) (\(columns)); INSERT INTO \(table.own) VALUES \(table.rows);
        COPY \(table.own) TO \(SQLText.literal(folder.file("\(name).parquet"))) (FORMAT parquet)
        """)
    }
  }

  private func run(_ text: String) throws -> [String] {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: try plan.references.map {
        .init(view: $0.view, files: [folder.file("\($0.name).parquet".lowercased())], columns: try #require(Self.tables["\($0.name)".lowercased()]).columns)
      })
    spec.variables = SQLExtensions.session(user: "ann", catalog: "main", schema: "demo")
    return try StatementRunner.run(spec, context: QuietContext(scratchDirectory: folder.path)).rows.map { JSONValue.array($0).sortedText }.sorted()
  }

  @Test(
    arguments: [
      (
        "SELECT name FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)",
        "SELECT name FROM a WHERE EXISTS (FROM b WHERE b.id = a.id)"
      ),
      (
        "SELECT name FROM demo.t WHERE NOT EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)",
        "SELECT name FROM a WHERE NOT EXISTS (FROM b WHERE b.id = a.id)"
      ),
      (
        "SELECT id, (SELECT max(other.t.name) FROM other.t WHERE other.t.id = demo.t.id) FROM demo.t",
        "SELECT id, (SELECT max(b.name) FROM b WHERE b.id = a.id) FROM a"
      ),
      // An alias further in, in any letter case and quotes.
      ("SELECT id FROM demo.t WHERE EXISTS (SELECT 1 FROM demo.u AS t WHERE t.id = demo.t.id)", "SELECT id FROM a WHERE EXISTS (FROM c WHERE c.id = a.id)"),
      (
        "SELECT id FROM demo.T WHERE EXISTS (SELECT 1 FROM demo.u \"T\" WHERE t.id = main.Demo.t.id)",
        "SELECT id FROM a WHERE EXISTS (FROM c WHERE c.id = a.id)"
      ),
      (
        "SELECT id FROM demo.t WHERE EXISTS (SELECT 1 FROM (SELECT * FROM `demo`.`u`) AS t WHERE t.id = `demo`.`t`.`id`)",
        "SELECT id FROM a WHERE id IN (FROM (SELECT id FROM c))"
      ),
      // More levels.
      (
        """
        SELECT demo.t.id FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id AND EXISTS (
          SELECT 1 FROM lab.demo.t WHERE lab.demo.t.id = main.demo.t.id AND t.id = other.t.id AND t.name <> other.t.name))
        """,
        "SELECT a.id FROM a WHERE EXISTS (FROM b WHERE b.id = a.id AND EXISTS (FROM d WHERE d.id = a.id AND d.id = b.id AND d.name <> b.name))"
      ),
      (
        "SELECT name FROM demo.t WHERE id IN (SELECT x.id FROM (SELECT other.t.id FROM other.t WHERE other.t.id < demo.t.id + 1) AS x WHERE x.id >= demo.t.id)",
        "SELECT name FROM a WHERE id IN (SELECT b.id FROM b WHERE b.id = a.id)"
      ),
      (
        "SELECT name FROM demo.t WHERE id IN (SELECT other.t.id FROM other.t WHERE other.t.id = demo.t.id UNION ALL SELECT demo.u.id + 1 FROM demo.u WHERE demo.u.id < demo.t.id)",
        "SELECT name FROM a WHERE id IN (SELECT b.id FROM b WHERE b.id = a.id UNION ALL SELECT c.id + 1 FROM c WHERE c.id < a.id)"
      ),
      // Common tables.
      (
        "WITH q AS (SELECT demo.t.id FROM demo.t) SELECT other.t.id FROM other.t WHERE EXISTS (SELECT 1 FROM q AS t WHERE t.id = other.t.id)",
        "SELECT b.id FROM b WHERE b.id IN (SELECT id FROM a)"
      ),
      (
        "WITH t AS (SELECT * FROM demo.u) SELECT name FROM other.t WHERE EXISTS (SELECT 1 FROM t WHERE t.id = other.t.id)",
        "SELECT name FROM b WHERE b.id IN (SELECT id FROM c)"
      ),
      (
        "SELECT id FROM demo.t WHERE EXISTS (WITH t AS (SELECT * FROM other.t WHERE other.t.id = demo.t.id) SELECT 1 FROM t WHERE t.id = demo.t.id)",
        "SELECT id FROM a WHERE id IN (SELECT id FROM b)"
      ),
      // Lateral.
      (
        "SELECT demo.t.id, l.n FROM demo.t, LATERAL (SELECT other.t.name AS n FROM other.t WHERE other.t.id = demo.t.id) AS l",
        "SELECT a.id, b.name FROM a JOIN b ON a.id = b.id"
      ),
      (
        "SELECT t.id, l.n FROM demo.t LEFT JOIN LATERAL (SELECT t.name AS n FROM other.t WHERE t.id = demo.t.id) AS l ON true",
        "SELECT a.id, b.name FROM a LEFT JOIN b ON a.id = b.id"
      ),
      // What names the table without schema.
      (
        "SELECT t.name, t.*, demo.t.* FROM demo.t WHERE t.id > 1 AND EXISTS (SELECT t.name FROM other.t WHERE t.id = demo.t.id) GROUP BY ALL HAVING max(t.id) > 2 ORDER BY t.id",
        "SELECT name, *, * FROM a WHERE id > 2 AND id IN (SELECT id FROM b)"
      ),
      (
        "SELECT list_transform([{'id': 5}], lambda t: t.id)[1] + t.id FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)",
        "SELECT 5 + a.id FROM a WHERE id IN (SELECT id FROM b)"
      ),
      (
        "SELECT demo.t.id FROM demo.t JOIN demo.u USING (id) WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id AND other.t.id = demo.u.id)",
        "SELECT id FROM a JOIN c USING (id) WHERE id IN (SELECT id FROM b)"
      ),
      (
        "SELECT id FROM demo.t VERSION AS OF 1 WHERE EXISTS (SELECT 1 FROM other.t VERSION AS OF 2 WHERE other.t.id = demo.t.id)",
        "SELECT id FROM a WHERE id IN (SELECT id FROM b)"
      ),
      (
        "SELECT id FROM demo.t@v1 WHERE EXISTS (SELECT 1 FROM other.t FOR SYSTEM_TIME AS OF '2026-01-01' WHERE other.t.id = demo.t.id AND (SELECT other.t.id = t.id))",
        "SELECT id FROM a WHERE id IN (SELECT id FROM b)"
      ),
      // Both in one clause, and one of them further in again.
      (
        "SELECT demo.t.id FROM demo.t JOIN other.t ON demo.t.id = other.t.id WHERE demo.t.id IN (SELECT lab.demo.t.id FROM lab.demo.t WHERE other.t.name <> lab.demo.t.name)",
        "SELECT a.id FROM a JOIN b ON a.id = b.id WHERE a.id IN (SELECT d.id FROM d WHERE b.name <> d.name)"
      ),
      // A struct that is called like the table.
      ("SELECT id FROM demo.t WHERE EXISTS (SELECT 1 FROM demo.p WHERE demo.p.t.id = demo.t.id)", "SELECT id FROM a WHERE id IN (SELECT p.t.id FROM p)"),
      ("SELECT id FROM demo.t WHERE EXISTS (SELECT 1 FROM demo.p WHERE t.id = demo.t.id)", "SELECT id FROM a WHERE id IN (SELECT p.t.id FROM p)"),
    ])
  func queriesWithinSeeTheTableThatIsNamed(_ text: String, _ reference: String) throws {
    let expected = try engine.rows("SELECT to_json(r)::VARCHAR FROM (\(reference)) AS r").compactMap { try JSONValue(parsing: $0[0].stringValue ?? "") }
    let columns = try engine.rows("DESCRIBE \(reference)").compactMap { $0[0].stringValue }
    // `*, *` has the same columns twice.
    let wanted = expected.map { row in JSONValue.array(columns.map { row[$0] ?? row[String($0.split(separator: "_")[0])] ?? .null }).sortedText }.sorted()
    #expect(try run(text) == wanted && !wanted.isEmpty, "\(text)")
  }

  @Test(arguments: [
    // The inner table lacks the column.
    "SELECT name FROM demo.t WHERE EXISTS (SELECT 1 FROM lab.other.t WHERE lab.other.t.name = 'one')",
    "SELECT name FROM demo.t WHERE EXISTS (SELECT 1 FROM lab.other.t WHERE lab.other.t.key = demo.t.id AND lab.other.t.name = 'one')",
    // Of two that are called so, and a third one around.
    "SELECT t.id FROM demo.u AS t WHERE EXISTS (SELECT 1 FROM demo.t, other.t WHERE t.id = 2)",
    "SELECT 1 FROM demo.u AS t WHERE EXISTS (SELECT 1 FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t AS o WHERE o.id = demo.t.id AND t.name = 'deux'))",
    // Common tables and what stands further right are not seen.
    "WITH q AS (SELECT demo.t.name FROM other.t) SELECT q.name FROM demo.t, q", "SELECT x.id FROM (SELECT demo.t.id FROM other.t) AS x, demo.t",
  ])
  func whatIsNotThereIsNotTakenFromElsewhere(_ text: String) { #expect(throws: PlatformError.self, "\(text)") { try run(text) } }

  @Test func viewsAreReadAsQueries() throws {
    let text = "SELECT id FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)"
    let view = try StatementPlan(query: text, catalog: "main", schema: "demo", first: (0, 0))
    let query = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    #expect(view.sql == query.sql && view.sql.contains("\"main.other.t\".id = \"main.demo.t\".id"), "\(view.sql)")
  }

  // MARK: changes

  @Test(
    arguments: [
      ("DELETE FROM demo.t WHERE EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)", "DELETE FROM a WHERE id IN (SELECT id FROM b)"),
      ("DELETE FROM demo.t WHERE NOT EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id)", "DELETE FROM a WHERE id NOT IN (SELECT id FROM b)"),
      ("DELETE FROM demo.t WHERE EXISTS (SELECT 1 FROM demo.u AS T WHERE t.id = main.demo.t.id)", "DELETE FROM a WHERE id IN (SELECT id FROM c)"),
      (
        "DELETE FROM demo.t WHERE t.id > 1 AND t.id IN (SELECT t.id FROM other.t WHERE t.name <> demo.t.name AND t.id = demo.t.id)",
        "DELETE FROM a WHERE id > 1 AND id IN (SELECT id FROM b)"
      ),
      (
        "INSERT INTO demo.t SELECT other.t.id, other.t.name FROM other.t WHERE NOT EXISTS (SELECT 1 FROM demo.t WHERE demo.t.id = other.t.id)",
        "INSERT INTO a SELECT * FROM b WHERE id NOT IN (SELECT id FROM a)"
      ),
      (
        "UPDATE demo.t SET name = (SELECT max(other.t.name) FROM other.t WHERE other.t.id = demo.t.id) WHERE demo.t.id < 3",
        "UPDATE a SET name = (SELECT max(b.name) FROM b WHERE b.id = a.id) WHERE id < 3"
      ),
      (
        """
        MERGE INTO demo.t USING demo.u AS s ON s.id = demo.t.id
        WHEN MATCHED THEN UPDATE SET name = s.name || (SELECT max(other.t.name) FROM other.t WHERE other.t.id = demo.t.id)
        WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, (SELECT count(*) FROM other.t WHERE other.t.id < s.id))
        WHEN NOT MATCHED BY SOURCE THEN UPDATE SET name = (SELECT t.name FROM other.t WHERE t.id = demo.t.id)
        """, "UPDATE a SET name = CASE id WHEN 2 THEN 'deuxzwei' WHEN 3 THEN 'drei' END; INSERT INTO a VALUES (9, '3')"
      ),
      (
        """
        MERGE INTO demo.t USING demo.u AS s ON s.id = demo.t.id
        WHEN MATCHED AND t.name <> '' AND EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id) THEN UPDATE SET name = t.name || s.name
        WHEN NOT MATCHED BY SOURCE AND NOT EXISTS (SELECT 1 FROM other.t WHERE other.t.id = demo.t.id) AND t.id > 0 THEN DELETE
        """, "UPDATE a SET name = 'twodeux' WHERE id = 2; DELETE FROM a WHERE id = 1"
      ),
      (
        """
        MERGE INTO demo.t USING other.t ON demo.t.id = other.t.id
        WHEN MATCHED AND EXISTS (SELECT 1 FROM lab.demo.t WHERE lab.demo.t.id = main.demo.t.id AND lab.demo.t.id = other.t.id) THEN DELETE
        """, "DELETE FROM a WHERE id = 3"
      ),
      (
        """
        MERGE INTO demo.t USING other.t ON demo.t.id = other.t.id WHEN MATCHED THEN UPDATE
        SET name = (SELECT max(lab.demo.t.name) FROM lab.demo.t WHERE lab.demo.t.id = main.demo.t.id AND lab.demo.t.id = other.t.id)
        """, "UPDATE a SET name = CASE id WHEN 3 THEN 'drie' END WHERE id > 1"
      ),
    ])
  func changesHitTheRowsThatAreMeant(_ statement: String, _ reference: String) throws {
    var sources: [String: (files: [String], columns: [Column])] = [:]
    for name in ["main.demo.t", "main.other.t", "lab.demo.t", "main.demo.u"] { sources[name] = ([folder.file("\(name).parquet")], Self.two) }
    let schema = StructType(fields: [StructField(name: "id", type: .primitive("long")), StructField(name: "name", type: .primitive("string"))])
    let table = try ChangedTable(TableMetadata(schema: schema), sources: sources)
    try table.run("INSERT INTO demo.t VALUES \(Self.tables["main.demo.t"]?.rows ?? "")")
    try table.run(statement)
    try engine.execute(reference)
    #expect(try table.scanned() == ChangedTable.texts("SELECT * FROM a", engine), "\(statement)")
  }

  @Test func commentsEndWithEitherEndOfALine() throws {
    let schema = StructType(fields: [StructField(name: "id", type: .primitive("long"))])
    let table = try ChangedTable(TableMetadata(schema: schema))
    try table.run("INSERT INTO demo.t VALUES (1), (2), (3)")
    try table.run("DELETE FROM main.demo.t -- old rows\rWHERE id = 1")
    try table.run("DELETE FROM main.demo.t -- old rows\r\nWHERE id = 2")
    #expect(try table.scanned() == [#"{"id":3}"#])
    #expect(try run("SELECT 1 -- a\r+ 1 -- b\n+ 1") == ["[3]"])
  }
}
