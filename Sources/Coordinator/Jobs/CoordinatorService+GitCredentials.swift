// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Foundation

/// Git credentials, as Databricks' API has them: each is its maker's.
extension CoordinatorService {
  private var gitCredentials: GitCredentials { launcher.gitFolders.credentials }

  private static func bad(_ text: String, hint: String = "") -> PlatformError { PlatformError(.invalidArgument, text, hint: hint, number: "PLT-4467") }

  private static func shown(_ entry: GitCredentialEntry) -> JSONValue {
    var members: [String: JSONValue] = [
      "credential_id": .integer(entry.id), "git_provider": .string(entry.provider), "is_default_for_provider": .bool(entry.isDefault),
    ]
    for (key, text) in [("name", entry.name), ("git_username", entry.username), ("git_email", entry.email)] where !text.isEmpty {
      members[key] = .string(text)
    }
    return .object(members)
  }

  /// A text of a request: one line, because git reads lines.
  private static func line(_ request: JSONValue, _ key: String) throws -> String? {
    guard let value = request[key], value != .null else { return nil }
    guard let text = value.stringValue, text.utf8.count <= 4_000, text.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }) else {
      throw bad("'\(key)' must be a text of one line, at most 4000 bytes")
    }
    return text
  }

  /// Where a credential is sent.
  private static func host(_ provider: String, _ name: String) throws -> String {
    if let host = GitCredentials.hosts[provider] { return host }
    let host = name.lowercased()
    let parts = host.split(separator: ":", omittingEmptySubsequences: false)
    let isHost = !parts[0].isEmpty && parts[0].utf8.allSatisfy { (48...57).contains($0) || (97...122).contains($0) || $0 == 45 || $0 == 46 }
    let hasPort = parts.count == 1 || (parts.count == 2 && (Int(parts[1]).map { (1...65_535).contains($0) } ?? false))
    guard isHost, hasPort else {
      throw bad(
        "a credential for \(provider) needs its host as 'name'", hint: "For example name: git.example.org, or git.example.org:8443. It is sent there only.")
    }
    return parts.count == 2 && parts[1] == "443" ? String(parts[0]) : host
  }

  private func changed(_ entry: GitCredentialEntry, _ request: JSONValue) throws -> GitCredentialEntry {
    let known = ["git_provider", "git_username", "git_email", "personal_access_token", "name", "is_default_for_provider", "principal_id"]
    for (key, value) in (request.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null && !known.contains(key) {
      throw Self.bad("unknown field '\(key.prefix(80))'", hint: Spelling.suggestion(for: key, among: known).map { "Did you mean '\($0)'?" } ?? "")
    }
    guard (request["principal_id"] ?? .null) == .null else { throw Self.bad("'principal_id' is not supported: a credential is its maker's") }
    var entry = entry
    if let given = try Self.line(request, "git_provider") {
      let providers = GitCredentials.hosts.keys.sorted() + GitCredentials.ownHosts
      guard let provider = providers.first(where: { $0.lowercased() == given.lowercased() }) else {
        throw Self.bad("git_provider '\(given.prefix(80))' is not known", hint: "Providers: \(providers.joined(separator: ", ")).")
      }
      entry.provider = provider
    }
    entry.name = try Self.line(request, "name") ?? entry.name
    entry.username = try Self.line(request, "git_username") ?? entry.username
    entry.email = try Self.line(request, "git_email") ?? entry.email
    if let flag = request["is_default_for_provider"]?.boolValue { entry.isDefault = flag }
    guard !entry.provider.isEmpty else { throw Self.bad("'git_provider' is missing") }
    entry.host = try Self.host(entry.provider, entry.name)
    return entry
  }

  func createGitCredential(_ request: JSONValue, by principal: Principal) async throws -> JSONValue {
    let empty = GitCredentialEntry(owner: principal.name, provider: "", name: "", host: "", username: "", email: "", isDefault: false)
    let entry = try changed(empty, request)
    guard let password = try Self.line(request, "personal_access_token"), !password.isEmpty else { throw Self.bad("'personal_access_token' is missing") }
    return Self.shown(try await catalog.putGitCredential(entry, password: password, sealedWith: gitCredentials.sealing()))
  }

  func changeGitCredential(_ id: Int64, _ request: JSONValue, by principal: Principal) async throws {
    let old = try await catalog.gitCredential(id, of: principal.name)
    let entry = try changed(old, request)
    let password = try Self.line(request, "personal_access_token")
    guard password != "" else { throw Self.bad("'personal_access_token' is empty") }
    guard entry.host == old.host || password != nil else {
      throw Self.bad("another host needs another 'personal_access_token'", hint: "A password is sent to the host that it was given for.")
    }
    _ = try await catalog.putGitCredential(entry, password: password, sealedWith: gitCredentials.sealing())
  }

  func gitCredential(_ id: Int64, by principal: Principal) async throws -> JSONValue {
    Self.shown(try await catalog.gitCredential(id, of: principal.name))
  }

  func gitCredentials(by principal: Principal) async throws -> JSONValue {
    ["credentials": .array(try await catalog.gitCredentials(of: principal.name).map(Self.shown))]
  }

  func deleteGitCredential(_ id: Int64, by principal: Principal) async throws { try await catalog.deleteGitCredential(id, of: principal.name) }
}
