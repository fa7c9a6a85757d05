// SPDX-License-Identifier: Apache-2.0

import Client
import Core

/// The forms in which `platform sql` shows rows.
enum SQLResultFormat: String, CaseIterable {
  case table, wide, csv, json, markdown
}

/// Rows as text for people.
struct SQLResultText {
  var format = SQLResultFormat.table
  /// One line a column instead of one line a row.
  var isExpanded = false
  /// Marks NULL by dimming it.
  var usesColour = false
  var unicode = true
  /// Cells of a table are cut at this many characters.
  static let cellLimit = 80

  func render(_ answer: StatementResponse) -> String {
    switch format {
    case .json: json(answer)
    case .csv: StructuredText.csv(tree(answer))
    case .markdown: markdown(answer)
    case .table, .wide: isExpanded ? expanded(answer) : table(answer)
    }
  }

  private func tree(_ answer: StatementResponse) -> JSONValue {
    ["columns": .array(answer.columns.map { ["name": .string($0.name)] }), "rows": .array(answer.rows.map { .array($0) })]
  }

  /// One object a line.
  private func json(_ answer: StatementResponse) -> String {
    answer.rows.map { row in
      JSONValue.object(Dictionary(zip(answer.columns.map(\.name), row)) { $1 }).sortedText + "\n"
    }.joined()
  }

  private func markdown(_ answer: StatementResponse) -> String {
    func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
    let marks = answer.columns.map { Self.isNumber($0.type) ? "---:" : "---" }
    let rows = answer.rows.map { row in
      line(row.map { text($0, limit: nil).replacing("|", with: "\\|") })
    }
    return line(answer.columns.map { $0.name.replacing("|", with: "\\|") }) + line(marks) + rows.joined()
  }

  static func isNumber(_ type: String) -> Bool {
    ["tinyint", "smallint", "integer", "bigint", "hugeint", "float", "double", "int", "utinyint", "usmallint", "uinteger", "ubigint"].contains(type)
      || type.hasPrefix("decimal")
  }

  private func text(_ value: JSONValue, limit: Int?) -> String {
    let whole =
      switch value {
      case .null: "NULL"
      case .string(let text): text
      default: value.sortedText
      }
    var flat = ""
    for character in whole {
      switch character {
      case "\n", "\r", "\r\n": flat += "↵"
      case "\t": flat += " "
      default:
        // Other control characters would reach the terminal.
        flat.append(character.unicodeScalars.contains { $0.value < 32 || (127..<160).contains($0.value) } ? "?" : character)
      }
      if let limit, flat.count > limit { return flat.prefix(limit - 1) + (unicode ? "…" : "~") }
    }
    return flat
  }

  private func dimmed(_ text: String, _ value: JSONValue) -> String { usesColour && value == .null ? "\u{1B}[2m\(text)\u{1B}[22m" : text }

  private func table(_ answer: StatementResponse) -> String {
    let limit = format == .wide ? nil : Self.cellLimit
    let names = answer.columns.map { text(.string($0.name), limit: limit) }
    let cells = answer.rows.map { row in row.map { text($0, limit: limit) } }
    let widths = names.indices.map { column in
      max(TextWidth.of(names[column]), cells.map { TextWidth.of($0[column]) }.max() ?? 0)
    }
    let right = answer.columns.map { Self.isNumber($0.type) }
    func pad(_ shown: String, _ plain: String, _ column: Int) -> String {
      let space = String(repeating: " ", count: widths[column] - TextWidth.of(plain))
      return right[column] ? space + shown : column == names.count - 1 ? shown : shown + space
    }
    var out = names.indices.map { pad(names[$0], names[$0], $0) }.joined(separator: "  ") + "\n"
    for (row, values) in zip(cells, answer.rows) {
      out += row.indices.map { pad(dimmed(row[$0], values[$0]), row[$0], $0) }.joined(separator: "  ") + "\n"
    }
    return out
  }

  private func expanded(_ answer: StatementResponse) -> String {
    let width = answer.columns.map { TextWidth.of($0.name) }.max() ?? 0
    var out = ""
    for (index, row) in answer.rows.enumerated() {
      out += "-- row \(index + 1)\n"
      for (column, value) in zip(answer.columns, row) {
        let name = column.name + String(repeating: " ", count: width - TextWidth.of(column.name))
        out += "\(name)  \(dimmed(text(value, limit: nil), value))\n"
      }
    }
    return out
  }
}

/// How many columns of a terminal a text takes: East Asian wide characters and emoji take two.
enum TextWidth {
  static func of(_ text: String) -> Int {
    if text.utf8.count == text.unicodeScalars.count { return text.utf8.count }
    return text.reduce(0) { $0 + of($1) }
  }

  static func of(_ character: Character) -> Int {
    guard let scalar = character.unicodeScalars.first else { return 0 }
    switch scalar.value {
    case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
      0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
      return 2
    default: return scalar.properties.generalCategory == .nonspacingMark ? 0 : 1
    }
  }
}
