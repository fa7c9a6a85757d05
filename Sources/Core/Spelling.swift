// SPDX-License-Identifier: Apache-2.0

/// "Did you mean": Damerau-Levenshtein distance in its restricted form (optimal string alignment).
public enum Spelling {
  /// The closest of `known` within two edits; the first one of equals.
  public static func suggestion(for word: String, among known: [String]) -> String? {
    guard word.utf8.count <= 64 else { return nil }
    let ranked = known.map { ($0, distance(word, $0)) }.filter { $0.1 <= 2 && $0.1 < $0.0.count }
    return ranked.min { $0.1 < $1.1 }?.0
  }

  /// Edits between two words, transpositions counted once.
  public static func distance(_ a: String, _ b: String) -> Int {
    let a = Array(a.unicodeScalars)
    let b = Array(b.unicodeScalars)
    if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
    var rows = [[Int]](repeating: Array(repeating: 0, count: b.count + 1), count: a.count + 1)
    for i in 0...a.count { rows[i][0] = i }
    for j in 0...b.count { rows[0][j] = j }
    for i in 1...a.count {
      for j in 1...b.count {
        let change = a[i - 1] == b[j - 1] ? 0 : 1
        rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + change)
        if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
          rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
        }
      }
    }
    return rows[a.count][b.count]
  }
}
