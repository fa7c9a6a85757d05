// SPDX-License-Identifier: Apache-2.0

import Core

/// A pattern of `include`: `*` and `?` within a name, `[a-z]`, and `**` for any number of folders.
struct IncludePattern {
  private let parts: [[Character]]
  let hasWildcards: Bool

  /// Nil for a path that leads out of the project.
  init?(_ text: String) {
    guard let path = ProjectFiles.inside(text, from: ""), !text.hasPrefix("/") else { return nil }
    parts = PathText.components(path).map(Array.init)
    hasWildcards = text.contains { "*?[".contains($0) }
  }

  /// Paths of files, sorted.
  func matches(in files: ProjectFiles) -> [String] {
    var found: Set<String> = []
    walk(files, folder: "", from: 0, into: &found)
    return found.sorted()
  }

  private func walk(_ files: ProjectFiles, folder: String, from index: Int, into found: inout Set<String>) {
    guard parts.indices.contains(index) else { return }
    let isLast = index == parts.count - 1
    let isAnyDepth = parts[index] == ["*", "*"]
    if isAnyDepth && !isLast { walk(files, folder: folder, from: index + 1, into: &found) }
    for entry in files.entries(folder) where !entry.name.hasPrefix(".") || parts[index].first == "." {
      let path = folder.isEmpty ? entry.name : "\(folder)/\(entry.name)"
      if isAnyDepth {
        if entry.isFolder { walk(files, folder: path, from: index, into: &found) } else if isLast { found.insert(path) }
      } else if Self.fits(Array(entry.name)[...], parts[index][...]) {
        if isLast { if !entry.isFolder { found.insert(path) } } else if entry.isFolder { walk(files, folder: path, from: index + 1, into: &found) }
      }
    }
  }

  static func fits(_ name: ArraySlice<Character>, _ pattern: ArraySlice<Character>) -> Bool {
    // The last star that may still take one more character, so that no pattern takes more than the product of both lengths.
    var (n, p) = (name.startIndex, pattern.startIndex)
    var star: (pattern: Int, name: Int)?
    while n < name.endIndex {
      if p < pattern.endIndex, pattern[p] == "*" {
        star = (p, n)
        p += 1
        continue
      }
      if p < pattern.endIndex, let next = one(name[n], pattern, p) {
        n += 1
        p = next
        continue
      }
      guard let last = star else { return false }
      star = (last.pattern, last.name + 1)
      (n, p) = (last.name + 1, last.pattern + 1)
    }
    return pattern[p...].allSatisfy { $0 == "*" }
  }

  /// Where the pattern goes on when its part at `p` stands for the character; nil when it does not.
  private static func one(_ character: Character, _ pattern: ArraySlice<Character>, _ p: Int) -> Int? {
    switch pattern[p] {
    case "?": return p + 1
    case "[":
      guard let end = pattern[(p + 1)...].firstIndex(of: "]"), end > p + 1 else { return character == "[" ? p + 1 : nil }
      var inside = pattern[(p + 1)..<end]
      let isNegated = inside.first == "^" || inside.first == "!"
      if isNegated { inside = inside.dropFirst() }
      var isIn = false
      var index = inside.startIndex
      while index < inside.endIndex {
        if index + 2 < inside.endIndex, inside[index + 1] == "-" {
          isIn = isIn || (inside[index] <= character && character <= inside[index + 2])
          index += 3
        } else {
          isIn = isIn || inside[index] == character
          index += 1
        }
      }
      return isIn != isNegated ? end + 1 : nil
    default: return pattern[p] == character ? p + 1 : nil
    }
  }
}
