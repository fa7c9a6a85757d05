// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs

/// Files of one commit of a bare repository. Nothing is checked out: no hooks, filters, links or submodules are followed.
struct GitTree: Sendable {
  static let fileLimit = 1 << 20
  /// Endings that the path of a notebook may leave out.
  private static let endings = [".ipynb", ".py"]

  let git: GitCommand
  let repository: String
  let commit: String
  /// What people call the repository.
  let origin: String

  /// - Throws: `notFound` PLT-4347 for a file that is not there, or is no text of at most 1 MB.
  func text(_ path: String) async throws -> String {
    func missing(_ text: String) -> PlatformError {
      PlatformError(.notFound, "'\(path.prefix(300))' \(text)", hint: "Paths are relative to the repository's root.", number: "PLT-4347")
    }
    guard let plain = GitSource.path(path) else { throw missing("is no path inside of a repository") }
    let hasEnding = plain.split(separator: "/").last?.contains(".") ?? false
    var words: [Substring] = []
    for candidate in [plain] + (hasEnding ? [] : Self.endings.map { plain + $0 }) {
      // `<mode> <type> <hash> <size>\t<path>`
      let entry = try await git.text(["-C", repository, "--literal-pathspecs", "ls-tree", "-l", commit, "--", candidate])
      words = entry.split(separator: "\t").first?.split(separator: " ") ?? []
      if !words.isEmpty, words.count != 4 || words[1] == "blob" { break }
    }
    guard words.count == 4 else { throw missing("is not in commit \(commit.prefix(12)) of \(origin)") }
    guard words[0].hasPrefix("100"), words[1] == "blob" else { throw missing("is no ordinary file in commit \(commit.prefix(12)) of \(origin)") }
    guard let size = Int(words[3]), size <= Self.fileLimit else { throw missing("is larger than 1 MB") }
    let bytes = try await git.run(["-C", repository, "cat-file", "blob", String(words[2])])
    guard let text = String(data: bytes, encoding: .utf8), !text.contains("\0") else { throw missing("is no UTF-8 text") }
    return text
  }
}
