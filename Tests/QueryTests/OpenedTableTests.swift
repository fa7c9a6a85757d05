// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import TestSupport
import Testing

@testable import Query

/// Queries over the tables of the query before them go on with its database, and see nothing else.
@Suite struct OpenedTableTests {
  private struct Executor {
    let folder = TemporaryDirectory("opened")
    let session: StatementSession

    init() throws {
      session = StatementSession(.init(memoryLimit: "256MB", threads: 1, scratch: folder.path))
      let engine = try Database(settings: .init(threads: 1)).connect()
      for name in ["a", "b"] {
        let rows = "SELECT range AS x, '\(name)' || hash(range) AS name FROM range(50000)"
        try engine.execute("COPY (\(rows)) TO \(SQLText.literal(folder.file(name))) (FORMAT parquet)")
      }
      try session.prepare()
    }

    func spec(_ sql: String, table: String = "a", user: String = "alice") -> StatementSpec {
      let columns = [Column("x", .bigint), Column("name", .varchar)]
      var spec = StatementSpec(kind: .select, sql: sql, tables: [.init(view: "t", files: [folder.file(table)], columns: columns)])
      spec.variables = SQLExtensions.session(user: user, catalog: "main", schema: "default")
      return spec
    }

    @discardableResult
    func run(_ spec: StatementSpec) throws -> String {
      let answer = try session.run(StatementOrder(spec: spec, output: StatementOutput(directory: folder.file("result"))))
      try session.prepare()
      return String(decoding: answer.rows, as: UTF8.self)
    }
  }

  /// Grows with every query on a database.
  private let age = "SELECT txid_current()"
  private let sum = "SELECT sum(x), left(min(name), 1) FROM t"

  @Test func theSameTablesStayOpen() throws {
    let executor = try Executor()
    let new = try executor.run(executor.spec(age))
    let second = try executor.run(executor.spec(age))
    #expect(second != new && executor.session.hasOpenTables)
    for _ in 0..<3 { #expect(try executor.run(executor.spec(sum)) == #"[["1249975000","a"]]"#) }
    #expect(try ![new, second].contains(executor.run(executor.spec(age))))
    executor.session.close()
    #expect(!executor.session.hasOpenTables)
    #expect(try executor.run(executor.spec(age)) == new)
  }

  @Test func nobodyElseAndNothingElseGoesOn() throws {
    let executor = try Executor()
    let new = try executor.run(executor.spec(age))
    var insert = executor.spec("SELECT x, name FROM t")
    insert.kind = .insert
    insert.targetColumns = [Column("x", .bigint), Column("name", .varchar)]
    insert.outputDirectory = executor.folder.file("written")
    let view = StatementDefinition(view: "v", label: "v", sql: "SELECT 1 AS one", columns: [.init(source: "one", name: "one", type: .integer)])
    var defined = executor.spec(age)
    defined.definitions = [view]
    for other in [executor.spec(age, table: "b"), executor.spec(age, user: "bob"), defined] {
      executor.session.close()
      let alone = try executor.run(other)
      try executor.run(executor.spec(sum))
      #expect(try executor.run(other) == alone)
    }
    try executor.run(executor.spec(sum))
    try executor.run(insert)
    #expect(!executor.session.hasOpenTables)
    try executor.run(executor.spec(sum))
    #expect(throws: PlatformError.self) { try executor.run(executor.spec("SELECT error('no')")) }
    #expect(!executor.session.hasOpenTables)
    // Not read to its end: at first, and on tables that were open.
    var cut = executor.spec("SELECT x FROM t")
    cut.limits.rows = 5
    for isOpen in [false, true] {
      if isOpen { try executor.run(executor.spec(sum)) }
      #expect(executor.session.hasOpenTables == isOpen)
      try executor.run(cut)
      #expect(!executor.session.hasOpenTables)
    }
    #expect(try executor.run(executor.spec(sum, table: "b")) == #"[["1249975000","b"]]"#)
    #expect(try executor.run(executor.spec(age)) == new)
  }

  @Test func theBoxStaysClosed() throws {
    let executor = try Executor()
    try executor.run(executor.spec(sum))
    for sql in ["SELECT * FROM read_parquet('\(executor.folder.file("b"))')", "SELECT * FROM read_csv('/etc/passwd')"] {
      #expect(throws: PlatformError.self) { try executor.run(executor.spec(sql)) }
      try executor.run(executor.spec(sum))
    }
    // A file that is not there any more is missed, also by what has read it.
    try FileManager.default.removeItem(atPath: executor.folder.file("a"))
    #expect(throws: PlatformError.self) { try executor.run(executor.spec(sum)) }
  }
}
