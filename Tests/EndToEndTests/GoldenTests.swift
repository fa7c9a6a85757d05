// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import TestSupport
import Testing

extension EndToEnd {
  /// Results and errors of every kind of statement, word for word. `GOLDEN_RECORD=1` writes what a statement says now into the files, where it is another
  /// answer than the one expected: to be read before it is kept.
  @Suite(.serialized) struct GoldenTests {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Golden").standardizedFileURL
    static let files = ["queries", "tables", "rows", "upkeep", "objects", "atomic"]

    static func read(_ name: String) throws -> GoldenFile {
      GoldenFile(parsing: String(decoding: try Data(contentsOf: folder.appendingPathComponent("\(name).sql")), as: UTF8.self))
    }

    @Test func everyStatementAnswersAsWritten() throws {
      let cluster = try LocalCluster("golden")
      #expect(try cluster.start(workers: 1).status == 0)
      let token = cluster.token
      func run(_ statement: String) throws -> JSONValue {
        let body: JSONValue = ["statement": .string(statement), "wait_timeout": "50s"]
        let file = try cluster.write("statement.json", body.sortedText)
        let answer = try cluster.http("POST", "/api/2.0/sql/statements", token: token, body: "@\(file)")
        return try JSONValue(parsing: answer.body)
      }
      for statement in ["CREATE SCHEMA main.gold", "CREATE VOLUME main.gold.raw"] {
        #expect(GoldenFile.lines(try run(statement)).first?.hasPrefix("error") == false)
      }
      for (name, text) in [("people.csv", "id,name\n1,Ann\n2,Bob\n"), ("people.ndjson", "{\"id\":1,\"name\":\"Ann\"}\n{\"id\":\"x\"}\n")] {
        let file = try cluster.write(name, text)
        #expect(try cluster.http("PUT", "/api/2.0/fs/files/Volumes/main/gold/raw/\(name)", token: token, body: "@\(file)").status < 300)
      }
      for name in Self.files {
        var golden = try Self.read(name)
        for index in golden.entries.indices {
          let entry = golden.entries[index]
          let lines = GoldenFile.lines(try run(entry.statement))
          if GoldenFile.fits(lines, entry.answer) { continue }
          if ProcessInfo.processInfo.environment["GOLDEN_RECORD"] == nil {
            Issue.record("\(name): \(entry.statement)\(lines.map { "-- \($0)\n" }.joined())")
          }
          golden.entries[index].answer = lines
        }
        if ProcessInfo.processInfo.environment["GOLDEN_RECORD"] != nil {
          try Data(golden.text.utf8).write(to: Self.folder.appendingPathComponent("\(name).sql"))
        }
      }
    }

    /// No kind of statement is without an answer and an error here.
    @Test func everyKindOfStatementIsThere() throws {
      var answers: Set<String> = []
      var errors: Set<String> = []
      for name in Self.files {
        for entry in try Self.read(name).entries {
          #expect(!entry.answer.isEmpty, "\(name): no answer is written down for \(entry.statement)")
          let isError = entry.answer.first?.hasPrefix("error: ") == true
          for part in (try? StatementScript(entry.statement).items.map(\.text)) ?? [] {  // an error of syntax has no kind
            guard let plan = try? StatementPlan(parsing: part, catalog: "main", schema: "default") else { continue }  // the same
            let label = StatementLabel.of(plan)
            #expect(StatementLabel.all.contains(label), "StatementLabel.all lacks \(label)")
            if isError { errors.insert(label) } else { answers.insert(label) }
          }
        }
      }
      #expect(StatementLabel.all.subtracting(answers).isEmpty, "kinds without an answer")
      #expect(StatementLabel.all.subtracting(errors).subtracting(StatementLabel.withoutError).isEmpty, "kinds without an error")
    }
  }
}
