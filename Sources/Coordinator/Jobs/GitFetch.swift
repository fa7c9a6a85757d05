// SPDX-License-Identifier: Apache-2.0

import Core
import Egress
import Foundation
import Jobs
import Pipelines

/// One commit of a repository that is elsewhere.
struct GitFetch: Sendable {
  let source: GitSource
  /// Where https may lead.
  let egress: EgressRules
  /// With what it signs in.
  var signIn: GitSignIn?

  /// Files of the commit, which are not kept here.
  /// - Parameters:
  ///   - paths: of the files that are wanted.
  ///   - folders: that are wanted with all their files.
  /// - Returns: the commit, the files' texts, and those of `ProgramFiles`.
  /// - Throws: `failed` PLT-4346 when it cannot be fetched, `notFound` PLT-4347 for a file that is not there or no text of at most 1 MB.
  func files(_ paths: [String], folders: [String] = []) async throws -> (commit: String, texts: [String: String], folders: [String: String]) {
    try await GitCommand.use(below: NSTemporaryDirectory(), isLocal: source.isLocal, for: "the job's files", signIn: signIn) { git in
      let (repository, commit) = try await fetch(git)
      let tree = GitTree(git: git, repository: repository, commit: commit, origin: source.url)
      var texts: [String: String] = [:]
      for path in paths { texts[path] = try await tree.text(path) }
      var found: [String: String] = [:]
      for folder in folders { found[folder] = try await tree.files(below: folder).text }
      return (commit, texts, found)
    }
  }

  /// Makes a bare repository with the one commit in the command's home.
  /// - Throws: `failed` PLT-4346.
  func fetch(_ git: GitCommand) async throws -> (repository: String, commit: String) {
    let repository = git.folder + "/repository"
    _ = try await git.run(["init", "-q", "--bare", "--template=", repository])
    let (address, options) = try await place(git)
    let fetch = ["fetch", "-q", "--depth", "1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--", address, source.reference.name]
    _ = try await git.run(options + ["-C", repository] + fetch)
    let commit = try await git.text(["-C", repository, "rev-parse", "--verify", "FETCH_HEAD^{commit}"])
    if case .commit(let wanted) = source.reference, wanted != commit { throw git.failed("the repository answered with another commit") }
    return (repository, commit)
  }

  /// The branch that the other side is at; nil when it is at none.
  /// - Throws: `failed` PLT-4346, `invalidArgument` PLT-4424 when it has no commit.
  func defaultBranch(_ git: GitCommand) async throws -> String? {
    let (address, options) = try await place(git)
    // `ref: refs/heads/main\tHEAD` and `<hash>\tHEAD`.
    let lines = try await git.text(options + ["ls-remote", "--symref", "--", address, "HEAD"]).split(separator: "\n")
    guard lines.contains(where: { !$0.hasPrefix("ref: ") && $0.hasSuffix("\tHEAD") }) else {
      throw PlatformError(
        .invalidArgument, "the default branch of \(source.url) has no commit", hint: "Push one first.", number: "PLT-4424")
    }
    let prefix = "ref: refs/heads/"
    guard let line = lines.first(where: { $0.hasPrefix(prefix) && $0.hasSuffix("\tHEAD") }) else { return nil }
    let name = String(line.dropFirst(prefix.count).dropLast("\tHEAD".count))
    guard GitSource.isName(name) else { throw git.failed("its default branch has no usable name") }
    return name
  }

  /// Names of branches or tags, for who has misspelt one.
  func names(_ kind: String, _ git: GitCommand) async throws -> [String] {
    let (address, options) = try await place(git)
    let prefix = "refs/\(kind)/"
    return try await git.text(options + ["ls-remote", "--refs", "--\(kind)", "--", address]).split(separator: "\n").compactMap { line in
      line.split(separator: "\t").last.flatMap { $0.hasPrefix(prefix) ? String($0.dropFirst(prefix.count)) : nil }
    }
  }

  /// What git is given. A name is resolved here, held against the rules, and git goes where it led.
  private func place(_ git: GitCommand) async throws -> (address: String, options: [String]) {
    guard !source.isLocal else { return (source.url, []) }
    let url = try EgressURL(source.url)
    guard let address = try await EgressClient(rules: egress).addresses(of: url.host).first else { throw git.failed("'\(url.host)' has no address") }
    guard url.address == nil else { return (url.text, []) }
    let shown = address.description
    return (url.text, ["-c", "http.curloptResolve=\(url.host):\(url.port):\(shown.contains(":") ? "[\(shown)]" : shown)"])
  }
}
