// SPDX-License-Identifier: Apache-2.0

import Core

/// Keeps the values of secrets out of what a program leaves behind: they become `[REDACTED]`. A program that writes them in another form is not
/// held back.
struct Redaction: Sendable {
  static let mark = "[REDACTED]"
  /// Shorter ones are in every text.
  static let shortest = 4

  private let hidden: [String]

  init(_ values: some Sequence<String>) {
    // Output is looked at line by line; what holds another one comes first.
    let lines = values.flatMap { [$0] + $0.split(whereSeparator: \.isNewline).map(String.init) }
    hidden = Set(lines.filter { $0.utf8.count >= Self.shortest }).sorted { ($1.utf8.count, $0) < ($0.utf8.count, $1) }
  }

  var isEmpty: Bool { hidden.isEmpty }

  func text(_ text: String) -> String {
    hidden.reduce(text) { $0.contains($1) ? $0.replacing($1, with: Self.mark) : $0 }
  }

  func value(_ value: JSONValue) -> JSONValue {
    switch value {
    case .string(let text): .string(self.text(text))
    case .array(let items): .array(items.map(self.value))
    case .object(let members): .object(Dictionary(members.map { (text($0.key), self.value($0.value)) }, uniquingKeysWith: { $1 }))
    default: value
    }
  }
}
