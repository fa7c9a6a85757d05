// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Foundation
import ObjectStore
import TestSupport
import Testing

@testable import Query

/// The 22 queries of TPC-H over Delta tables give what DuckDB gives over the same files.
///
/// Tables, queries and expected rows come from DuckDB's own generator. `PLATFORM_TPCH_SCALE=1` takes another size and prints times.
@Suite(.enabled(if: Peers.python != nil, "no peer environment")) struct TPCHTests {
  private struct Expected: Decodable {
    var query: String
    var rows: [[String?]]
    var seconds: Double
  }

  private static let script = """
    import sys, json, os, time, duckdb, deltalake
    import duckdb_extension_tpch as extension
    folder, scale = sys.argv[1], float(sys.argv[2])
    c = duckdb.connect(config={"threads": 2})
    c.execute("LOAD '%s'" % os.path.join(os.path.dirname(extension.__file__), "extensions", "v" + duckdb.__version__, "tpch.duckdb_extension"))
    c.execute("CALL dbgen(sf=%s)" % scale)
    queries = [r[0] for r in c.execute("SELECT query FROM tpch_queries() ORDER BY query_nr").fetchall()]
    for (name,) in c.execute("SHOW TABLES").fetchall():
        deltalake.write_deltalake(f"{folder}/{name}", c.execute(f"SELECT * FROM {name}").to_arrow_table())
        c.execute(f"DROP TABLE {name}")
        files = deltalake.DeltaTable(f"{folder}/{name}").file_uris()
        c.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet({files})")
    out = []
    for q in queries:
        q = q.strip().rstrip(";")
        best = 1e9
        for _ in range(3 if scale >= 1 else 1):
            start = time.perf_counter()
            rows = c.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({q})").fetchall()
            best = min(best, time.perf_counter() - start)
        out.append({"query": q, "rows": [list(r) for r in rows], "seconds": best})
    json.dump(out, open(folder + "/expected.json", "w"))
    sys.stdout.flush(); os._exit(0)
    """

  @Test func allQueriesGiveDuckDBsRows() throws {
    let scale = ProcessInfo.processInfo.environment["PLATFORM_TPCH_SCALE"].flatMap { Double($0) } ?? 0.01
    let folder = TemporaryDirectory("tpch")
    _ = try Peers.run(Self.script, [folder.path, "\(scale)"])
    let data = try #require(FileManager.default.contents(atPath: folder.file("expected.json")))
    let expected = try JSONDecoder().decode([Expected].self, from: data)
    #expect(expected.count == 22)
    let store = try LocalObjectStore(root: folder.path)
    let session = StatementSession(.init(memoryLimit: "4GB", threads: 2, scratch: folder.path))
    var tables: [String: StatementSpec.Table] = [:]
    for name in ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"] {
      let snapshot = try DeltaTable(store: store, path: try ObjectPath(name), parquet: DuckDBParquetHandler()).snapshot()
      tables[name] = StatementSpec.Table(
        view: "", scan: try TableScan(snapshot, folder: folder.file(name)))
    }
    var ratios: [Double] = []
    for (index, one) in expected.enumerated() {
      let plan = try StatementPlan(parsing: one.query, catalog: "main", schema: "tpch")
      var spec = StatementSpec(
        kind: plan.kind, sql: plan.sql,
        tables: try plan.references.map { reference in
          var table = try #require(tables[reference.name.name], "query \(index + 1) reads \(reference.name)")
          table.view = reference.view
          return table
        })
      spec.limits.rows = 1_000_000
      spec.limits.bytes = 1 << 30
      let order = StatementOrder(spec: spec, output: StatementOutput(directory: folder.file("result-\(index)"), inlineBytes: 1 << 30, chunkBytes: 1 << 30))
      var best = Duration.seconds(3600)
      var answer: StatementAnswer?
      for _ in 0..<(scale >= 1 ? 3 : 1) {
        try session.prepare()
        let start = ContinuousClock.now
        answer = try session.run(order)
        best = min(best, ContinuousClock.now - start)
      }
      ratios.append(one.seconds / (best / .seconds(1)))
      let text = try #require(answer).rows
      let rows = text.isEmpty ? [] : try JSONDecoder().decode([[String?]].self, from: text)
      #expect(rows.count == one.rows.count, "query \(index + 1)")
      for (ours, theirs) in zip(Self.sorted(rows), Self.sorted(one.rows)) where !Self.same(ours, theirs) {
        Issue.record("query \(index + 1): \(ours) and not \(theirs)")
        break
      }
    }
    if scale >= 1 {
      let mean = exp(ratios.reduce(0) { $0 + log($1) } / Double(ratios.count))
      let list = ratios.enumerated().map { "q\($0 + 1) \(String(format: "%.2f", $1))" }.joined(separator: "  ")
      FileHandle.standardError.write(Data("TPC-H scale \(scale): geometric mean \(String(format: "%.2f", mean))  \(list)\n".utf8))
    }
  }

  /// Rows that an ORDER BY leaves equal may come in any order.
  private static func sorted(_ rows: [[String?]]) -> [[String?]] { rows.sorted { key($0) < key($1) } }
  private static func key(_ row: [String?]) -> String {
    // Sums of floating point numbers differ in their last digits.
    row.map { cell in cell.map { $0.contains(".") ? String($0.prefix(10)) : $0 } ?? "\0" }.joined(separator: "\u{1}")
  }

  private static func same(_ left: [String?], _ right: [String?]) -> Bool {
    left.count == right.count
      && zip(left, right).allSatisfy { a, b in
        if a == b { return true }
        guard let a, let b, let x = Double(a), let y = Double(b) else { return false }
        return abs(x - y) <= 1e-9 * max(abs(x), abs(y))
      }
  }
}
