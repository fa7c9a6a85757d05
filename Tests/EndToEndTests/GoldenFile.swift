// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Statements with the answers that they have to give: a file of `Tests/Golden`.
///
/// A statement ends with a semicolon at the end of a line. The comment lines behind it are its answer: `-- ok` when it gives no columns, else the names of
/// the columns and then the rows, parts joined by ` | `; or `-- error: CODE: message`. A star stands for any text within a line.
struct GoldenFile {
  struct Entry {
    /// What precedes the statement: blank lines and comments at the head of the file.
    var lead: String
    var statement: String
    var answer: [String]
  }

  var entries: [Entry] = []

  init(parsing text: String) {
    var lead = ""
    var statement = ""
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("--") || line.isEmpty, statement.isEmpty {
        if line.hasPrefix("-- "), lead.isEmpty, !entries.isEmpty {
          entries[entries.count - 1].answer.append(String(line.dropFirst(3)))
        } else {
          lead += line + "\n"
        }
      } else {
        statement += line + "\n"
        if line.hasSuffix(";") {
          entries.append(Entry(lead: lead, statement: statement, answer: []))
          (lead, statement) = ("", "")
        }
      }
    }
  }

  /// The file with these answers.
  var text: String { entries.map { $0.lead + $0.statement + $0.answer.map { "-- \($0)\n" }.joined() }.joined() }

  /// The answer of the statement interface as lines.
  static func lines(_ answer: JSONValue) -> [String] {
    if let error = answer["status"]?["error"] {
      return ["error: \(error["error_code"]?.stringValue ?? ""): \(shown(error["message"]))"]
    }
    let columns = answer["manifest"]?["schema"]?["columns"]?.arrayValue ?? []
    guard !columns.isEmpty else { return ["ok"] }
    let rows = answer["result"]?["data_array"]?.arrayValue ?? []
    return [columns.map { shown($0["name"]) }.joined(separator: " | ")]
      + rows.map { ($0.arrayValue ?? []).map(shown).joined(separator: " | ") }
  }

  private static func shown(_ value: JSONValue?) -> String {
    guard let text = value?.stringValue else { return "NULL" }
    return text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n").replacing("\r", with: "\\r")
  }

  /// Whether `lines` are what `expected` says, stars standing for any text.
  static func fits(_ lines: [String], _ expected: [String]) -> Bool {
    lines.count == expected.count && zip(lines, expected).allSatisfy(fits)
  }

  static func fits(_ line: String, _ pattern: String) -> Bool {
    let parts = pattern.components(separatedBy: "*")
    guard parts.count > 1 else { return line == pattern }
    guard line.hasPrefix(parts[0]) else { return false }
    var rest = line.dropFirst(parts[0].count)
    for part in parts.dropFirst().dropLast() where !part.isEmpty {
      guard let found = rest.range(of: part) else { return false }
      rest = rest[found.upperBound...]
    }
    return rest.hasSuffix(parts[parts.count - 1])
  }
}
