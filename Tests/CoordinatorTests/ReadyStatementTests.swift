// SPDX-License-Identifier: Apache-2.0

import API
import Client
import Core
import Foundation
import Query
import Testing

@testable import Coordinator

@Suite struct ReadyStatementTests {
  private func work(_ text: String) throws -> StatementWork { try StatementWork(.init(statement: text), carry: .null) }

  private func takes(_ text: String) throws -> Bool {
    let work = try work(text)
    return ReadyStatements.takes(work, StatementSpec(kind: work.plan.kind, sql: work.plan.sql, tables: []))
  }

  @Test func onlyQueriesThatReadNothingAreKept() throws {
    for text in ["select 1", "values (1), (2)", "select now(), current_user", "with t as (select 1 x) select x from t;"] { #expect(try takes(text), "\(text)") }
    for text in ["select * from t", "select f(1)", "select 1; select 2", "explain select 1", "show tables", "insert into t values (1)"] {
      #expect(try !takes(text), "\(text)")
    }
    let work = try work("select nvl(1, 2)")
    var spec = StatementSpec(kind: .select, sql: work.plan.sql, tables: [])
    spec.definitions = SQLExtensions.definitions(["nvl"])
    #expect(!ReadyStatements.takes(work, spec))
  }

  @Test func anOrderIsFoundByEverythingThatIsPartOfIt() throws {
    let ready = ReadyStatements()
    let submission = StatementSubmission(statement: "select 1")
    let key = try #require(ReadyStatements.Key(submission, user: "alice"))
    ready.keep(StatementMessage(head: Data("order".utf8), directory: ""), key)
    #expect(ready.find(key) == Data("order".utf8))
    #expect(ready.find(try #require(ReadyStatements.Key(submission, user: "bob"))) == nil)
    let changes: [(inout StatementSubmission) -> Void] = [
      { $0.statement += " " }, { $0.catalog = "other" }, { $0.schema = "other" }, { $0.rowLimit = 3 }, { $0.byteLimit = 3 }, { $0.format = "CSV" },
      { $0.isInline = false },
    ]
    for change in changes {
      var other = submission
      change(&other)
      #expect(ready.find(try #require(ReadyStatements.Key(other, user: "alice"))) == nil)
    }
    var given = submission
    given.parameters = [.init(name: "x", value: .string("secret"), type: nil)]
    #expect(ReadyStatements.Key(given, user: "alice") == nil)
    given = StatementSubmission(statement: String(repeating: "x", count: 5000))
    #expect(ReadyStatements.Key(given, user: "alice") == nil)
    // Old ones go, those that are used stay.
    for number in 0..<2000 {
      ready.keep(StatementMessage(head: Data(), directory: ""), try #require(ReadyStatements.Key(.init(statement: "select \(number)"), user: "x")))
      if number % 100 == 0 { #expect(ready.find(key) != nil) }
    }
    #expect(ready.find(try #require(ReadyStatements.Key(.init(statement: "select 0"), user: "x"))) == nil)
  }
}
