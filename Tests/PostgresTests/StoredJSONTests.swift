// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Postgres

/// Texts that `jsonb` does not take come back as they were.
@Suite struct StoredJSONTests {
  static let texts = ["a\u{0}b", "\u{0}", "\u{F8F0}", "\u{F8F0}\u{F8F1}\u{F8F2}", "\u{F8F0}\u{0}", #"\u0000"#, #"\\u0000"#, "plain \"é\" \\ \n", ""]

  @Test func everyTextComesBack() throws {
    for text in Self.texts {
      let value: JSONValue = ["k": .string(text), .init(text): [.string(text)]]
      let stored = StoredJSON.escaped(value.sortedText)
      #expect(!stored.replacing(#"\\"#, with: "").contains(#"\u0000"#), "\(text.debugDescription)")
      #expect(try JSONValue(parsing: StoredJSON.restored(stored)) == value, "\(text.debugDescription)")
    }
    #expect(StoredJSON.restored("\u{F8F0}x\u{F8F0}") == "\u{F8F0}x\u{F8F0}")
  }

  @Test func theDatabaseTakesThem() async throws {
    let pool = try await makePool()
    for text in Self.texts {
      let value: JSONValue = ["k": .string(text)]
      let rows = try await pool.query("SELECT $1::jsonb AS v", [.encoding(value)])
      #expect(try rows[0].json("v") == value, "\(text.debugDescription)")
    }
  }
}
