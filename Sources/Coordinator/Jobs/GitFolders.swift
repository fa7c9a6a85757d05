// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Egress
import Foundation
import Jobs
import Pipelines

/// Git folders: each is a bare repository with one commit below `root`, which is never changed. Another commit is another repository, so that whoever reads
/// goes on with what it has begun with. What no row names is removed some time later.
struct GitFolders: Sendable {
  /// Seconds after which nobody reads, or makes, what no row names.
  private static let lingers: TimeInterval = 900
  private static let subject = "the repository"

  let store: GitFolderStore
  let catalog: CatalogStore
  let egress: EgressRules
  let credentials: GitCredentials
  /// Where the repositories are.
  let root: String
  /// The cluster's own folders, where no repository is that can be asked for.
  let own: [String]

  /// The source as it may be read: a folder of this machine has to be one of an external location.
  func allowed(_ source: GitSource, of what: String) async throws -> GitSource {
    guard source.isLocal else { return source }
    var source = source
    let (url, allowed, own) = (source.url, try await catalog.externalFolders(), own)
    source.url = try await BlockingPool.shared.run { try CatalogStore.externalFolder(url, of: what, allowedIn: allowed, apartFrom: own) }
    return source
  }

  // MARK: changes

  /// - Parameter path: where it shall be; `/Repos/USER/NAME` when nothing is said.
  /// - Throws: `alreadyExists` or `invalidArgument` PLT-4421, `failed` PLT-4346, `invalidArgument` PLT-4420, PLT-4424, PLT-4345 and PLT-4308.
  func create(url: String, provider: String, path: String?, by user: String) async throws -> GitFolder {
    var source = try GitSource(["git_url": .string(url), "git_branch": "main"])
    source.reference = .head
    let path = try WorkspacePath(forFolder: path ?? "/Repos/\(user)/\(Self.name(of: url))")
    try await store.requireFree(path)
    let (branch, commit, place) = try await fetch(source, asksBranch: true, user: user)
    let folder = GitFolder(
      id: 0, path: path.description, url: url, provider: provider, branch: branch, tag: nil, commit: commit, place: place)
    return try await store.create(folder, by: user)
  }

  private static func name(of url: String) -> String {
    let last = PathText.components(url).last { !$0.isEmpty } ?? ""
    return last.hasSuffix(".git") ? String(last.dropLast(4)) : last
  }

  /// The newest commit of a branch, or what a tag names.
  /// - Throws: `notFound` PLT-4422 and PLT-4424, `failed` PLT-4346, `conflict` PLT-4425.
  func update(_ id: Int64, to reference: GitSource.Reference, by user: String) async throws -> GitFolder {
    let old = try await store.folder(id)
    var folder = old
    let source = GitSource(url: old.url, reference: reference)
    (_, folder.commit, folder.place) = try await fetch(source, asksBranch: false, user: user)
    (folder.branch, folder.tag) = (nil, nil)
    switch reference {
    case .branch(let name): folder.branch = name
    case .tag(let name): folder.tag = name
    case .commit, .head: break
    }
    try await store.change(folder, from: old.place)
    await sweep(leaving: old.place)
    return folder
  }

  func delete(_ id: Int64) async throws -> GitFolder {
    let folder = try await store.delete(id)
    await sweep(leaving: folder.place)
    return folder
  }

  /// A repository with the commit that the source names.
  /// - Parameter user: whose credentials are used.
  private func fetch(_ source: GitSource, asksBranch: Bool, user: String) async throws -> (branch: String?, commit: String, place: String) {
    let source = try await allowed(source, of: Self.subject)
    let signIn = try await credentials.signIn(to: source.url, user: user)
    let root = root
    try await BlockingPool.shared.run {
      try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
    return try await GitCommand.use(below: root, isLocal: source.isLocal, for: Self.subject, signIn: signIn) { git in
      var fetch = GitFetch(source: source, egress: egress)
      var branch: String?
      if asksBranch {
        branch = try await fetch.defaultBranch(git)
        if let branch { fetch = GitFetch(source: GitSource(url: source.url, reference: .branch(branch)), egress: egress) }
      }
      let fetched: (repository: String, commit: String)
      do { fetched = try await fetch.fetch(git) } catch let error as PlatformError {
        throw try await Self.missing(fetch, git) ?? error
      }
      let place = RandomIdentifier.text()
      guard rename(fetched.repository, "\(root)/\(place)") == 0 else { throw PlatformError.system("rename", fetched.repository) }
      return (branch, fetched.commit, place)
    }
  }

  /// What to say when the other side has no such branch or tag; nil when it has.
  private static func missing(_ fetch: GitFetch, _ git: GitCommand) async throws -> PlatformError? {
    let (kind, word, wanted): (String, String, String)
    switch fetch.source.reference {
    case .branch(let name): (kind, word, wanted) = ("heads", "branch", name)
    case .tag(let name): (kind, word, wanted) = ("tags", "tag", name)
    case .commit, .head: return nil
    }
    // When it cannot be asked, the first error says why.
    guard let names = try? await fetch.names(kind, git), !names.contains(wanted) else { return nil }
    let close = Spelling.suggestion(for: wanted, among: names)
    return PlatformError(
      .notFound, "\(fetch.source.url) has no \(word) '\(wanted)'",
      hint: close.map { "Did you mean '\($0)'?" } ?? (names.isEmpty ? "" : "There are \(names.sorted().prefix(10).joined(separator: ", "))."),
      number: "PLT-4424")
  }

  /// Removes what no row names for a while; `place` is named no longer from now on.
  private func sweep(leaving place: String) async {
    let (root, lingers) = (root, Self.lingers)
    // Whatever fails here: what stays is found by the next sweep.
    guard let used = try? await store.places() else { return }
    try? await BlockingPool.shared.run {
      let manager = FileManager.default
      try? manager.setAttributes([.modificationDate: Date()], ofItemAtPath: "\(root)/\(place)")
      for name in (try? manager.contentsOfDirectory(atPath: root)) ?? [] where !used.contains(name) {
        let changed = (try? manager.attributesOfItem(atPath: "\(root)/\(name)"))?[.modificationDate] as? Date
        if let changed, changed.timeIntervalSinceNow < -lingers { try? manager.removeItem(atPath: "\(root)/\(name)") }
      }
    }
  }

  // MARK: files

  /// Texts of files in git folders. All of one folder are of one commit.
  /// - Parameter user: whose credentials are used when a repository has to be fetched again.
  /// - Throws: `notFound` PLT-4423 for a path that is in no git folder, PLT-4347 for a file that is not there or no text of at most 1 MB.
  func texts(_ paths: [String], user: String) async throws -> [String: String] {
    var groups: [(folder: GitFolder, wanted: [(path: String, inside: String)])] = []
    for path in paths {
      let place = try WorkspacePath(path)
      var index = groups.firstIndex { Self.rest(place, of: $0.folder) != nil }
      if index == nil, let folder = try await store.folder(holding: place) {
        groups.append((folder, []))
        index = groups.count - 1
      }
      guard let index, let inside = Self.rest(place, of: groups[index].folder), !inside.isEmpty else {
        throw PlatformError(
          .notFound, "'\(path.prefix(300))' is \(index == nil ? "in no git folder" : "a git folder, no file")",
          hint: "List git folders with 'platform repos list'; paths of files in volumes begin with /Volumes/.", number: "PLT-4423")
      }
      groups[index].wanted.append((path, inside))
    }
    var texts: [String: String] = [:]
    for (folder, wanted) in groups {
      let present = try await present(folder, user: user)
      let found = try await GitCommand.use(below: NSTemporaryDirectory(), isLocal: true, for: folder.path) { git in
        let tree = GitTree(git: git, repository: "\(root)/\(present.place)", commit: folder.commit, origin: "the git folder \(folder.path)")
        var texts: [String: String] = [:]
        for (path, inside) in wanted { texts[path] = try await tree.text(inside) }
        return texts
      }
      texts.merge(found) { $1 }
    }
    return texts
  }

  /// All files of a folder that is in a git folder, or is one.
  /// - Throws: `notFound` PLT-4423, PLT-4347.
  func files(below path: String, user: String) async throws -> ProgramFiles {
    let place = try WorkspacePath(path)
    guard let folder = try await store.folder(holding: place), let inside = Self.rest(place, of: folder) else {
      throw PlatformError(
        .notFound, "'\(path.prefix(300))' is in no git folder",
        hint: "List git folders with 'platform repos list'; paths of files in volumes begin with /Volumes/.", number: "PLT-4423")
    }
    let present = try await present(folder, user: user)
    return try await GitCommand.use(below: NSTemporaryDirectory(), isLocal: true, for: folder.path) { git in
      let tree = GitTree(git: git, repository: "\(root)/\(present.place)", commit: folder.commit, origin: "the git folder \(folder.path)")
      return try await tree.files(below: inside.isEmpty ? "." : inside)
    }
  }

  private static func rest(_ path: WorkspacePath, of folder: GitFolder) -> String? { (try? WorkspacePath(folder.path))?.rest(of: path) }

  /// The folder with its repository, which is fetched again when it is not there: after a restore from a backup.
  private func present(_ folder: GitFolder, user: String) async throws -> GitFolder {
    let path = "\(root)/\(folder.place)/HEAD"
    if try await BlockingPool.shared.run({ FileManager.default.fileExists(atPath: path) }) { return folder }
    var changed = folder
    (_, _, changed.place) = try await fetch(GitSource(url: folder.url, reference: .commit(folder.commit)), asksBranch: false, user: user)
    try await store.change(changed, from: folder.place)
    return changed
  }
}
