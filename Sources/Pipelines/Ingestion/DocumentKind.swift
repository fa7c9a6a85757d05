// SPDX-License-Identifier: Apache-2.0

/// How the text of a file is found.
public enum DocumentKind: String, Codable, Sendable, CaseIterable {
  case plain, html, manual

  /// The kind by name, and whether the file is packed with gzip; nil for files that are no documents.
  public static func of(fileName: String) -> (kind: DocumentKind, packed: Bool)? {
    var name = fileName.lowercased()
    let packed = name.hasSuffix(".gz")
    if packed { name = String(name.dropLast(3)) }
    guard !name.isEmpty, !name.hasPrefix(".") else { return nil }
    guard let dot = name.lastIndex(of: ".") else { return (.plain, packed) }
    switch name[name.index(after: dot)...] {
    case "txt", "md", "markdown", "text", "rst": return (.plain, packed)
    case "html", "htm", "xhtml": return (.html, packed)
    // Debian's own files have the vendor's name as a suffix: README.Debian, changelog.Debian.gz.
    case "debian", "upstream", "dist": return (.plain, packed)
    case "1", "2", "3", "4", "5", "6", "7", "8", "1p", "3p", "1m", "3perl", "3pm", "1ssl", "3ssl", "5ssl", "7ssl":
      return (.manual, packed)
    default: return nil
    }
  }
}
