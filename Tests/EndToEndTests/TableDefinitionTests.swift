// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

extension EndToEnd {
  /// Definitions of tables through SQL: the page about them holds, and what is made is what others read.
  @Suite(.serialized) struct TableDefinitionTests {
    struct Example {
      var statement: String
      /// How the error begins; nil: the statement succeeds.
      var error: String?
    }

    /// Statements in the `sql` blocks of a page; `-- error: ..` on the line behind one says how it fails.
    static func examples(_ page: String) -> [Example] {
      var found: [Example] = []
      var isInside = false
      var statement = ""
      for line in page.split(separator: "\n", omittingEmptySubsequences: false) {
        if line.hasPrefix("```") {
          isInside = line == "```sql"
        } else if isInside, line.hasPrefix("-- error: "), !found.isEmpty {
          found[found.count - 1].error = String(line.dropFirst(10))
        } else if isInside {
          statement += line + "\n"
          if line.hasSuffix(";") {
            found.append(Example(statement: statement))
            statement = ""
          }
        }
      }
      return found
    }

    @Test func examplesOfThePageDoWhatItSays() throws {
      let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../docs/sql.md")
      let examples = Self.examples(String(decoding: try Data(contentsOf: page), as: UTF8.self))
      try #require(examples.count > 40)
      let cluster = try LocalCluster("sql-page")
      #expect(try cluster.start(workers: 1).status == 0)
      for example in examples {
        let answer = try cluster.cli(["sql", example.statement])
        if let error = example.error {
          #expect(answer.status != 0 && answer.all.contains(error), "\(example.statement)\(answer.all)")
        } else {
          #expect(answer.status == 0, "\(example.statement)\(answer.all)")
        }
      }
      // What SHOW CREATE TABLE gives makes the same table again.
      let statement = try #require(try cluster.scalar("show create table main.shop.orders").stringValue)
      #expect(
        try cluster.cli(["sql", statement.replacing("main.shop.orders (", with: "main.shop.again (").replacing("buyer_fk", with: "again_fk")]).status == 0)
      let again = try #require(try cluster.scalar("show create table main.shop.again").stringValue)
      #expect(again.replacing("main.shop.again (", with: "main.shop.orders (").replacing("again_fk", with: "buyer_fk") == statement, "\(again)")

      // The restored version, read through a shallow clone and by another program.
      #expect(try cluster.scalar("select count(*) from main.shop.days2") == 31)
      let history = try cluster.cli(["sql", "describe history main.shop.days", "-o", "csv"]).out
      for operation in ["RESTORE", "CREATE OR REPLACE TABLE AS SELECT", "ADD CONSTRAINT", "SET TBLPROPERTIES"] {
        #expect(history.contains(",\(operation),"), "\(history)")
      }
      if Peers.python != nil {
        let seen = try Peers.run(
          """
          import sys, deltalake
          t = deltalake.DeltaTable(sys.argv[1])
          print(t.to_pyarrow_table().num_rows, [f.name for f in t.schema().fields])
          t = deltalake.DeltaTable(sys.argv[2])
          m = t.metadata()
          print(m.description, [(f.name, f.nullable) for f in t.schema().fields][:2], m.configuration["delta.checkpointInterval"])
          __import__("os")._exit(sys.stdout.flush() or 0)
          """, [try cluster.tableFolder("days", schema: "shop"), try cluster.tableFolder("orders", schema: "shop")])
        #expect(seen == "31 ['day', 'n']\nwhat was bought [('id', False), ('buyer', True)] 20\n", "\(seen)")
        // Four small files of two partitions are two, and no row has changed.
        let visits = try Peers.run(
          """
          import sys, deltalake
          t = deltalake.DeltaTable(sys.argv[1])
          rows = t.to_pyarrow_table().to_pylist()
          print(len(rows), len(t.file_uris()), sorted({(str(r["day"]), r["note"]) for r in rows}), sum(r["id"] for r in rows))
          print([h["operation"] for h in t.history(2)])
          __import__("os")._exit(sys.stdout.flush() or 0)
          """, [try cluster.tableFolder("visits", schema: "shop")])
        #expect(
          visits
            == "400 2 [('2026-01-01', 'a'), ('2026-01-01', 'b'), ('2026-01-02', 'c'), ('2026-01-02', 'd')] 19800\n['OPTIMIZE', 'OPTIMIZE']\n", "\(visits)")
      }
    }
  }
}
