// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Foundation
import Jobs

/// Git folders, as Databricks' Repos API has them.
extension CoordinatorService {
  private static let providers = [
    "gitHub", "gitHubEnterprise", "gitLab", "gitLabEnterpriseEdition", "bitbucketCloud", "bitbucketServer", "azureDevOpsServices", "awsCodeCommit",
  ]
  /// Whose provider need not be said.
  private static let hosts = [
    "github.com": "gitHub", "gitlab.com": "gitLab", "bitbucket.org": "bitbucketCloud", "dev.azure.com": "azureDevOpsServices",
  ]

  private static func bad(_ text: String, hint: String = "") -> PlatformError {
    PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4420")
  }

  private static func shown(_ folder: GitFolder) -> JSONValue {
    var members: [String: JSONValue] = [
      "id": .integer(folder.id), "path": .string(folder.path), "url": .string(folder.url), "head_commit_id": .string(folder.commit),
    ]
    if !folder.provider.isEmpty { members["provider"] = .string(folder.provider) }
    if let branch = folder.branch { members["branch"] = .string(branch) }
    // Ours: Databricks says nothing of it.
    if let tag = folder.tag { members["tag"] = .string(tag) }
    return .object(members)
  }

  /// A text of a request; nil when it is not given.
  private static func text(_ request: JSONValue, _ key: String) throws -> String? {
    guard let value = request[key], value != .null else { return nil }
    guard let text = value.stringValue, !text.isEmpty, !text.contains("\0") else { throw bad("'\(key)' must be a text") }
    return text
  }

  private static func refuse(_ request: JSONValue, known: [String]) throws {
    let missing = [
      "git_credential_id": "the caller's credential for the host is used",
      "sparse_checkout": "nothing is checked out, so there is nothing to leave out",
    ]
    for (key, value) in (request.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null {
      if let reason = missing[key] { throw bad("'\(key)' is not supported: \(reason)") }
      guard known.contains(key) else {
        throw bad("unknown field '\(key.prefix(80))'", hint: Spelling.suggestion(for: key, among: known).map { "Did you mean '\($0)'?" } ?? "")
      }
    }
  }

  private static func provider(_ given: String?, url: String) throws -> String {
    if let given {
      if let known = providers.first(where: { $0.lowercased() == given.lowercased() }) { return known }
      throw bad("provider '\(given.prefix(80))' is not known", hint: "Providers: \(providers.joined(separator: ", ")).")
    }
    if url.hasPrefix("/") { return "" }
    let host = url.split(separator: "/").dropFirst().first.map { $0.lowercased() } ?? ""
    guard let known = hosts[host] else { throw bad("'provider' is missing", hint: "Providers: \(providers.joined(separator: ", ")).") }
    return known
  }

  func createGitFolder(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    try Self.refuse(request, known: ["url", "provider", "path"])
    guard let url = try Self.text(request, "url") else { throw Self.bad("'url' is missing") }
    let provider = try Self.provider(Self.text(request, "provider"), url: url)
    let folder = try await launcher.gitFolders.create(url: url, provider: provider, path: Self.text(request, "path"), by: principal.name)
    try await catalog.audit(actor: principal.name, action: "create git folder", object: folder.path, outcome: "ok")
    return Self.shown(folder)
  }

  func gitFolder(_ id: Int64) async throws -> JSONValue { Self.shown(try await launcher.gitFolders.store.folder(id)) }

  func gitFolders(prefix: String?, pageSize: Int, pageToken: String?) async throws -> JSONValue {
    let token = pageToken ?? ""
    guard token.isEmpty || token.hasPrefix("/") else { throw Self.bad("next_page_token is none of ours") }
    let short = prefix.map(WorkspacePath.short) ?? "/"
    let isEmpty = prefix != nil && ["", "/"].contains(short)
    let found = try await launcher.gitFolders.store.folders(prefix: isEmpty ? "/Repos/" : short, after: token, limit: pageSize + 1)
    var answer: [String: JSONValue] = ["repos": .array(found.prefix(pageSize).map(Self.shown))]
    if found.count > pageSize { answer["next_page_token"] = .string(found[pageSize - 1].path) }
    return .object(answer)
  }

  func updateGitFolder(_ id: Int64, _ request: JSONValue, by principal: Principal) async throws {
    // Nobody can change files of a git folder, so that there is nothing to discard.
    try Self.refuse(request, known: ["branch", "tag", "dangerously_force_discard_all"])
    let reference: GitSource.Reference
    switch (try Self.text(request, "branch"), try Self.text(request, "tag")) {
    case (let name?, nil): reference = .branch(name)
    case (nil, let name?): reference = .tag(name)
    default: throw Self.bad("give one of 'branch' and 'tag'", hint: "The branch that it is at gives its newest commit.")
    }
    if case .branch(let name) = reference, !GitSource.isName(name) { throw Self.bad("'\(name.prefix(80))' is no name of a branch") }
    if case .tag(let name) = reference, !GitSource.isName(name) { throw Self.bad("'\(name.prefix(80))' is no name of a tag") }
    let folder = try await launcher.gitFolders.update(id, to: reference, by: principal.name)
    try await catalog.audit(actor: principal.name, action: "update git folder", object: folder.path, outcome: "ok")
  }

  func deleteGitFolder(_ id: Int64, by principal: Principal) async throws {
    let folder = try await launcher.gitFolders.delete(id)
    try await catalog.audit(actor: principal.name, action: "delete git folder", object: folder.path, outcome: "ok")
  }
}
