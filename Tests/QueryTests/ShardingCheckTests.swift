// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Testing

@testable import Query

/// Which statements may run in shards, and why others may not.
@Suite(.enabled(if: isInstalled, "DuckDB is not installed")) struct ShardingCheckTests {
  private static let columns = [
    "t": ["id", "x", "y", "k", "day", "list"], "s": ["tid", "v"], "u": ["id", "w"], "d": ["k", "v", "name"], "e": ["id", "v"],
  ]
  private static let byKey = [ShardingCheck.SplitTable(view: "t", keys: ["id"]), .init(view: "s", keys: ["tid"]), .init(view: "u", keys: ["id"])]
  private static let byFiles = [ShardingCheck.SplitTable(view: "t", keys: [])]

  private func check(_ query: String, _ tables: [ShardingCheck.SplitTable]) throws {
    let connection = try Database(settings: .init(threads: 1)).connect()
    let text = try #require(
      connection.rows("SELECT CAST(json_serialize_sql(CAST(? AS VARCHAR)) AS VARCHAR)", [.string(query)]).first?[0].stringValue)
    let tree = try #require(try JSONValue(parsing: text)["statements"]?.arrayValue?.first, "\(text)")
    try ShardingCheck.check(tree, tables: tables, columns: Self.columns, functions: FunctionFacts(connection))
  }

  private func refused(_ query: String, _ tables: [ShardingCheck.SplitTable]) {
    let error = #expect(throws: PlatformError.self) { try check(query, tables) }
    #expect(error?.number == "PLT-3220" && error?.hint.isEmpty == false, "\(String(describing: error))")
  }

  @Test(arguments: [
    "SELECT * FROM t WHERE x > 1", "SELECT upper(x) AS y FROM t JOIN d ON t.k = d.k", "SELECT * FROM t LEFT JOIN d USING (k)",
    "SELECT * FROM d RIGHT JOIN t USING (k)", "SELECT x FROM t WHERE k IN (SELECT k FROM d ORDER BY k LIMIT 3)",
    "WITH c AS (SELECT x + 1 AS y FROM t) SELECT y * 2 FROM c", "SELECT * FROM t UNION ALL SELECT * FROM t",
    "SELECT t.x, u FROM t, unnest([1, 2]) AS q(u)", "SELECT * FROM t SEMI JOIN d ON t.k = d.k", "SELECT x, (SELECT max(d.v) FROM d) FROM t",
    "SELECT x, (SELECT max(v) FROM d WHERE d.k = t.k) FROM t", "SELECT * FROM t ASOF JOIN d ON t.k = d.k AND t.x >= d.v",
    "SELECT x, unnest(list) FROM t", "SELECT q.m FROM t JOIN (SELECT k, max(v) AS m FROM d GROUP BY k) q ON q.k = t.k",
    "SELECT x FROM t, LATERAL (SELECT v FROM d WHERE d.k = t.k) q", "SELECT x FROM t WHERE EXISTS (SELECT 1 FROM d WHERE d.k = t.k)",
    "SELECT x, getvariable('__parameter_a') FROM t", "SELECT * FROM t ANTI JOIN d USING (k)", "SELECT x FROM t, (SELECT DISTINCT v FROM d) q",
  ])
  func rowsAloneNeedNoKeys(_ query: String) throws { try check(query, Self.byFiles) }

  @Test(arguments: [
    "SELECT count(*) FROM t", "SELECT x, sum(y) FROM t GROUP BY x", "SELECT DISTINCT x FROM t", "SELECT * FROM t LIMIT 3",
    "SELECT row_number() OVER () FROM t", "SELECT * FROM d LEFT JOIN t USING (k)", "SELECT * FROM t FULL JOIN d USING (k)",
    "SELECT * FROM d WHERE k IN (SELECT k FROM t)", "SELECT * FROM d SEMI JOIN t USING (k)", "SELECT * FROM t a JOIN t b USING (k)",
    "SELECT * FROM t UNION SELECT * FROM t", "SELECT * FROM t UNION ALL SELECT * FROM d", "SELECT * FROM t EXCEPT SELECT * FROM t",
    "SELECT * FROM d", "SELECT * FROM t USING SAMPLE 10%", "SELECT * FROM t TABLESAMPLE 5", "SELECT * FROM (SELECT max(x) FROM t)",
    "FROM t SELECT x GROUP BY ALL", "SELECT * FROM t POSITIONAL JOIN d", "SELECT * FROM t ORDER BY x", "SELECT 1 FROM t HAVING true",
    "SELECT 1 FROM t GROUP BY GROUPING SETS (())", "SELECT x FROM t QUALIFY rank() OVER (ORDER BY x) = 1",
    "WITH RECURSIVE r AS (SELECT x FROM t UNION ALL SELECT x + 1 FROM r WHERE x < 5) SELECT * FROM r", "SELECT (SELECT sum(t.x)) FROM t",
    "SELECT (SELECT sum(t.x) FROM d) FROM t", "SELECT (SELECT sum(x) FROM d) FROM t", "SELECT (SELECT s FROM (SELECT sum(t.x) AS s) q) FROM t",
    "SELECT (SELECT max(x) FROM t)", "SELECT x FROM t WHERE y > (SELECT avg(y) FROM t)", "SELECT * FROM t PIVOT (sum(y) FOR x IN (1, 2))",
    // Another value in each shard.
    "SELECT x, random() FROM t", "SELECT x, uuid() FROM t", "SELECT x, now() FROM t", "SELECT current_timestamp, x FROM t", "SELECT x, current_date FROM t",
    "SELECT x, age(day) FROM t", "SELECT x FROM t, d USING SAMPLE 3 ROWS", "SELECT x FROM t WHERE k IN (SELECT k FROM d WHERE random() < 0.5)",
    // What every shard reads may come out differently.
    "SELECT x FROM t WHERE k IN (SELECT k FROM d LIMIT 3)", "SELECT x FROM t JOIN (SELECT * FROM d ORDER BY k LIMIT 3) q USING (k)",
    "SELECT x, (SELECT first(name) FROM d) FROM t", "SELECT x FROM t JOIN (SELECT DISTINCT ON (k) * FROM d) q USING (k)",
    "SELECT x FROM t JOIN (SELECT k, row_number() OVER (ORDER BY v) AS n FROM d) q USING (k)",
    "SELECT x FROM t JOIN (SELECT string_agg(name) AS v FROM d) q ON true",
  ])
  func whatLooksAtAllRowsIsRefused(_ query: String) { refused(query, Self.byFiles) }

  @Test(arguments: [
    "SELECT id, count(*) FROM t GROUP BY id", "SELECT id AS i, day, sum(x) FROM t GROUP BY 1, 2",
    "SELECT t.id, max(s.v) FROM t JOIN s ON t.id = s.tid GROUP BY t.id", "SELECT s.tid, count(*) FROM t JOIN s ON s.tid = t.id AND t.x > s.v GROUP BY s.tid",
    "SELECT *, row_number() OVER (PARTITION BY id ORDER BY x) AS n FROM t QUALIFY n = 1", "SELECT DISTINCT id, x FROM t", "SELECT DISTINCT * FROM t",
    "SELECT i, count(*) FROM (SELECT id AS i, x FROM t) q GROUP BY q.i", "WITH c AS (SELECT * EXCLUDE (x) FROM t) SELECT id, sum(y) FROM c GROUP BY ALL",
    "SELECT t.id, count(*) FROM t LEFT JOIN s ON t.id = s.tid GROUP BY t.id", "SELECT d.name, t.id, count(*) FROM t JOIN d ON d.k = t.k GROUP BY d.name, t.id",
    "SELECT DISTINCT ON (id) * FROM t ORDER BY id, x DESC", "SELECT id, count(*) FROM t JOIN u USING (id) GROUP BY id",
    "SELECT id, first(x ORDER BY y) FROM t GROUP BY id", "SELECT t.id FROM t ANTI JOIN s ON t.id = s.tid",
    "SELECT id, sum(x) FROM t GROUP BY id HAVING sum(x) > 3",
    "SELECT id, sum(x) FROM (SELECT t.*, d.name FROM t JOIN d ON t.k = d.k) q GROUP BY id", "SELECT * FROM t JOIN s ON t.id IS NOT DISTINCT FROM s.tid",
    "SELECT id, sum(n) FROM (SELECT id, x, count(*) AS n FROM t GROUP BY id, x) q GROUP BY id",
  ])
  func keysMakeGroupsAndJoinsPossible(_ query: String) throws { try check(query, Self.byKey) }

  @Test(arguments: [
    "SELECT x, count(*) FROM t GROUP BY x", "SELECT upper(x) AS id, count(*) FROM t GROUP BY id", "SELECT * FROM t JOIN s ON t.x = s.v",
    "SELECT id, count(*) FROM (SELECT x AS id FROM t) GROUP BY id", "SELECT id, count(*) FROM t GROUP BY ROLLUP (id)",
    "SELECT e.id, count(*) FROM t JOIN e ON e.v = t.k GROUP BY e.id", "SELECT sum(x) OVER (PARTITION BY y) FROM t",
    "SELECT id, sum(x) OVER (PARTITION BY 1) FROM t", "SELECT id, sum(x) OVER (ORDER BY id) FROM t",
    "SELECT id, count(*) FROM t GROUP BY id LIMIT 5", "SELECT t.id FROM t, s WHERE t.id = s.tid", "SELECT id, x FROM t AS t(a, id) GROUP BY id, x",
    "SELECT id, sum(x) FROM (SELECT * REPLACE (1 AS id) FROM t) GROUP BY id", "SELECT DISTINCT x FROM t", "SELECT * FROM t NATURAL JOIN u",
    "SELECT tid, count(*) FROM t LEFT JOIN s ON t.id = s.tid GROUP BY tid", "SELECT * FROM t FULL JOIN s ON t.id = s.tid GROUP BY ALL",
    "SELECT id, sum(x) FROM t GROUP BY GROUPING SETS ((id), (x))", "SELECT id % 3, count(*) FROM t GROUP BY id % 3",
    // A key's name that belongs to another column.
    "WITH c(x, id) AS (SELECT id, x FROM t) SELECT id, count(*) FROM c GROUP BY id",
    "SELECT id, count(*) FROM (SELECT * FROM e JOIN t ON e.v = t.k) q GROUP BY id",
    "SELECT id, count(*) FROM (SELECT e.id, t.id FROM e JOIN t ON e.v = t.k) q GROUP BY id",
    "SELECT id, count(*) FROM (SELECT e.*, t.id FROM e JOIN t ON e.v = t.k) q GROUP BY id",
    "WITH c AS (SELECT id, v FROM e) SELECT id, count(*) FROM (SELECT * FROM c JOIN t ON c.v = t.k) q GROUP BY id",
    "SELECT id, count(*) FROM (SELECT * EXCLUDE (id) RENAME (x AS id) FROM t) q GROUP BY id", "SELECT id, count(*) FROM t UNION SELECT 1, 2",
    "SELECT id, x FROM t GROUP BY ALL HAVING count(*) > 1 ORDER BY 1",
  ])
  func otherGroupsAndJoinsAreRefused(_ query: String) { refused(query, Self.byKey) }

  // MARK: of whole statements

  private func sharding(_ text: String, _ change: (inout StatementSpec) -> Void = { _ in }) throws -> (StatementSharding, StatementPlan) {
    let plan = try StatementPlan(parsing: text, catalog: "main", schema: "demo")
    var spec = StatementSpec(
      kind: plan.kind, sql: plan.sql,
      tables: plan.references.map { reference in
        let types: [String: SQLType] = ["id": .bigint, "tid": .integer, "day": .date, "list": .list(.integer), "w": .double]
        let columns = (Self.columns[reference.name.name] ?? []).map { Column($0, types[$0] ?? .varchar) }
        var scan = TableScan(files: [], columns: columns)
        scan.files = [.init(path: "/\(reference.name.name)", size: reference.name.name == "s" ? 9 : 5)]
        return .init(view: reference.view, scan: scan, name: "\(reference.name)")
      })
    spec.insertColumns = plan.insertColumns
    change(&spec)
    return (try StatementSharding(plan, spec), plan)
  }

  private func splits(_ text: String, keys: [String] = [], _ change: (inout StatementSpec) -> Void = { _ in }) throws -> [String: [String]] {
    let (sharding, plan) = try sharding(text, change)
    let found = try sharding.splits(keys: keys, direct: plan.references.map(\.view))
    return Dictionary(
      uniqueKeysWithValues: found.map { split in (plan.references.first { $0.view == split.view }?.name.name ?? "", split.keys) })
  }

  @Test func tablesThatAreSplitAreChosen() throws {
    // One table by files: the largest that leaves the rows as they are, or all.
    #expect(try splits("INSERT INTO o SELECT t.x FROM t JOIN s ON t.k = s.v") == ["s": []])
    #expect(try splits("INSERT INTO o SELECT t.x FROM t LEFT JOIN s ON t.k = s.v") == ["t": []])
    #expect(try splits("CREATE TABLE o AS SELECT x FROM t UNION ALL SELECT v FROM s") == ["t": [], "s": []])
    // By keys: all tables that have them.
    #expect(try splits("INSERT OVERWRITE o SELECT id, count(*) FROM t JOIN u USING (id) GROUP BY id", keys: ["ID"]) == ["t": ["id"], "u": ["id"]])
    #expect(try splits("INSERT INTO o SELECT a.id, count(*) FROM t a JOIN t b USING (id) JOIN d ON a.k = d.k GROUP BY a.id", keys: ["id"]) == ["t": ["id"]])
    for (text, keys, says) in [
      ("DELETE FROM t WHERE id = 1", [], "it is no INSERT"), ("SELECT * FROM t", [], "it is no INSERT"), ("INSERT INTO o VALUES (1)", [], "no table by name"),
      ("INSERT INTO o SELECT id, count(*) FROM t GROUP BY id", ["nothing"], "no table that it reads has the columns nothing"),
      ("INSERT INTO o SELECT list, count(*) FROM t GROUP BY list", ["list"], "'list' of partition_by is"),
      ("INSERT INTO o SELECT x, count(*) FROM t GROUP BY x", ["id"], "an aggregate needs rows"), ("INSERT INTO o SELECT id FROM t", ["id", "ID"], "twice"),
    ] {
      let error = #expect(throws: PlatformError.self) { try splits(text, keys: keys) }
      #expect(error?.number == "PLT-3220" && error?.message.contains(says) == true, "\(text): \(String(describing: error))")
    }
  }

  @Test func whatTheCatalogAddsIsLookedAt() throws {
    let statement = "INSERT INTO o (a) SELECT x FROM t"
    func refusal(_ text: String, _ change: (inout StatementSpec) -> Void) -> String? {
      do {
        _ = try splits(text, change)
        return nil
      } catch {
        return PlatformError.from(error).number == "PLT-3220" ? PlatformError.from(error).message : "\(error)"
      }
    }
    func target(_ metadata: [String: JSONValue]) -> WriteTarget {
      WriteTarget(
        name: "o",
        schema: StructType(fields: [StructField(name: "a", type: .primitive("string")), StructField(name: "b", type: .primitive("long"), metadata: metadata)])
          .schemaString)
    }
    #expect(refusal(statement) { $0.target = target(["CURRENT_DEFAULT": "7"]) } == nil)
    #expect(refusal(statement) { $0.target = target(["CURRENT_DEFAULT": "epoch_ms(now())"]) }?.contains("the default of column 'b'") == true)
    #expect(refusal("INSERT INTO o (a, b) SELECT x, 1 FROM t") { $0.target = target(["CURRENT_DEFAULT": "epoch_ms(now())"]) } == nil)
    let identity: [String: JSONValue] = ["delta.identity.start": 1, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": false]
    #expect(refusal(statement) { $0.target = target(identity) }?.contains("numbers its rows") == true)
    func view(_ sql: String) -> StatementDefinition { StatementDefinition(view: "v", label: "main.demo.v", sql: sql, columns: []) }
    #expect(refusal(statement) { $0.definitions = [view("SELECT k, max(v) FROM d GROUP BY k")] } == nil)
    #expect(refusal(statement) { $0.definitions = [view("SELECT k FROM d LIMIT 3")] }?.contains("view 'main.demo.v' uses 'limit'") == true)
    func function(_ name: String, _ body: String) -> StatementDefinition {
      StatementDefinition(function: name, label: "main.demo.f", sql: "CREATE MACRO \(name)(a) AS (\(body))")
    }
    // As the parser names functions of the catalog.
    func called(_ definitions: [StatementDefinition]) -> String? {
      do {
        let plan = try StatementPlan(parsing: "INSERT INTO o (a) SELECT main.demo.g(x) FROM t", catalog: "main", schema: "demo")
        var spec = StatementSpec(kind: .insert, sql: plan.sql, tables: [.init(view: "__table_0", files: ["/t"], columns: [Column("x", .varchar)])])
        spec.definitions = definitions
        _ = try StatementSharding(plan, spec).splits(keys: [], direct: ["__table_0"])
        return nil
      } catch { return PlatformError.from(error).message }
    }
    #expect(called([function("__function_7", "a + 1"), function("__function_0", "__function_7(a)")]) == nil)
    #expect(called([function("__function_0", "sum(a)")])?.contains("uses 'sum'") == true)
    #expect(called([function("__function_7", "a + random()"), function("__function_0", "__function_7(a)")])?.contains("uses 'a function that does'") == true)
  }

  @Test func onlyColumnsThatAreReadAreDealtOut() throws {
    func used(_ text: String) throws -> [String] {
      let (sharding, plan) = try sharding(text)
      let view = try #require(plan.references.first?.view)
      return try sharding.used(.init(view: view, keys: ["id"])).map(\.name)
    }
    #expect(try used("INSERT INTO o SELECT sum(x) FROM t GROUP BY id") == ["id", "x"])
    #expect(try used("INSERT INTO o SELECT count(*) FROM t GROUP BY ID") == ["id"])
    #expect(try used("INSERT INTO o SELECT * FROM t") == ["id", "x", "y", "k", "day", "list"])
    #expect(try used("INSERT INTO o SELECT q FROM t AS q") == ["id", "x", "y", "k", "day", "list"])
    #expect(try used("INSERT INTO o SELECT t.day FROM t JOIN d USING (K)") == ["id", "k", "day"])
  }

  @Test func filesAreDealtOutEvenly() {
    var random = SplitMix64(seed: 5)
    for _ in 0..<200 {
      let files = (0..<Int.random(in: 0..<40, using: &random)).map { TableScan.File(path: "/\($0)", size: Int64.random(in: 0..<1000, using: &random)) }
      let count = Int.random(in: 1..<12, using: &random)
      let groups = StatementSharding.groups(files, count: count)
      #expect(groups.count == min(count, files.count) && groups.allSatisfy { !$0.isEmpty })
      #expect(groups.flatMap { $0 }.map(\.path).sorted() == files.map(\.path).sorted())
      let sizes = groups.map { $0.reduce(0) { $0 + max(1, $1.size) } }
      // No group is larger than the smallest by more than one file.
      #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= (files.map(\.size).max() ?? 0) + 1)
    }
    #expect(StatementSharding.automatic(bytes: 0, workers: 8) == 1 && StatementSharding.automatic(bytes: 10 << 20, workers: 8) == 2)
    #expect(StatementSharding.automatic(bytes: 1 << 30, workers: 3) == 4 && StatementSharding.automatic(bytes: 1 << 30, workers: 8) == 8)
    #expect(StatementSharding.automatic(bytes: 1 << 50, workers: 0) == 1024)
  }
}
