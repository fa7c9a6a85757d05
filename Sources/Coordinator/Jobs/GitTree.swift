// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Jobs
import Pipelines

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

  /// All ordinary files of a folder; links and submodules are left out.
  /// - Parameter path: `.` is the repository's root.
  /// - Throws: `notFound` PLT-4347 for a folder that is not there, `invalidArgument` PLT-4472 when it is too large.
  func files(below path: String) async throws -> ProgramFiles {
    func missing(_ text: String) -> PlatformError {
      PlatformError(.notFound, "'\(path.prefix(300))' \(text)", hint: "Paths are relative to the repository's root.", number: "PLT-4347")
    }
    var tree = commit
    if path != ".", !path.isEmpty {
      guard let plain = GitSource.path(path.hasSuffix("/") ? String(path.dropLast()) : path) else { throw missing("is no path inside of a repository") }
      let entry = try await git.text(["-C", repository, "--literal-pathspecs", "ls-tree", commit, "--", plain])
      let words = entry.split(separator: "\t").first?.split(separator: " ") ?? []
      guard words.count == 3, words[1] == "tree" else { throw missing("is no folder in commit \(commit.prefix(12)) of \(origin)") }
      tree = String(words[2])
    }
    // `<mode> <type> <hash> <size>\t<path>`
    let list = try await git.text(["-C", repository, "ls-tree", "-r", "-z", "-l", "--full-tree", tree])
    var wanted: [(path: String, hash: String)] = []
    for line in list.split(separator: "\0") {
      let parts = line.split(separator: "\t", maxSplits: 1)
      let words = parts[0].split(separator: " ")
      guard parts.count == 2, words.count == 4 else { throw missing("has more files than can be listed") }
      if words[0].hasPrefix("100"), words[1] == "blob" { wanted.append((String(parts[1]), String(words[2]))) }
      guard wanted.count <= ProgramFiles.limit.files, words[0].hasPrefix("100") == false || (Int(words[3]) ?? 0) <= Self.fileLimit else {
        throw PlatformError(
          .invalidArgument, "'\(path.prefix(300))' has more than \(ProgramFiles.limit.files) files, or one of more than 1 MB",
          hint: "Leave out what the task does not need.", number: "PLT-4472")
      }
    }
    var files = ProgramFiles()
    for start in stride(from: 0, to: wanted.count, by: 8) {
      let part = wanted[start..<min(start + 8, wanted.count)]
      let read = try await withThrowingTaskGroup(of: (String, Data).self) { group in
        for one in part { group.addTask { (one.path, try await git.run(["-C", repository, "cat-file", "blob", one.hash])) } }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      for (path, data) in read.sorted(by: { $0.0 < $1.0 }) { try files.add(path, data) }
    }
    return files
  }

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
