// SPDX-License-Identifier: Apache-2.0

/// Texts in columns.
public enum SideBySide {
  /// The fewest places that a column is read well in.
  public static let leastWidth = 36

  /// Whether `count` columns fit on a terminal.
  public static func fits(_ count: Int, width: Int) -> Bool { count > 1 && (width - 3 * (count - 1)) / count >= leastWidth }

  /// Lines of all columns: a heading each, then its text, broken between words.
  public static func lines(_ columns: [(heading: String, text: String)], width: Int) -> [String] {
    guard !columns.isEmpty else { return [] }
    let each = max(1, (width - 3 * (columns.count - 1)) / columns.count)
    let wrapped = columns.map { [clipped($0.heading, each), String(repeating: "─", count: each)] + wrap($0.text, width: each) }
    let height = wrapped.map(\.count).max() ?? 0
    return (0..<height).map { row in
      var line = ""
      for (index, column) in wrapped.enumerated() {
        let text = row < column.count ? column[row] : ""
        if index > 0 { line += row == 1 ? "─┼─" : " │ " }
        line += text + String(repeating: " ", count: max(0, each - text.count))
      }
      while line.last == " " { line.removeLast() }
      return line
    }
  }

  /// Lines of at most `width` characters; words that are longer are cut.
  static func wrap(_ text: String, width: Int) -> [String] {
    var lines: [String] = []
    for paragraph in text.split(separator: "\n", omittingEmptySubsequences: false) {
      var line = ""
      for word in paragraph.split(separator: " ", omittingEmptySubsequences: false) {
        var word = word
        if !line.isEmpty, line.count + 1 + word.count > width {
          lines.append(line)
          line = ""
        }
        while word.count > width {
          lines.append(String(word.prefix(width)))
          word = word.dropFirst(width)
        }
        line += line.isEmpty ? String(word) : " " + word
      }
      lines.append(line)
    }
    return lines
  }

  private static func clipped(_ text: String, _ width: Int) -> String { text.count <= width ? text : text.prefix(max(0, width - 1)) + "…" }
}
