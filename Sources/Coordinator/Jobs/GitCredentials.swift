// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Egress
import Foundation

/// What git is given to sign in with, and where it is sent.
struct GitSignIn: Sendable {
  /// `https://HOST` or `https://HOST:PORT`.
  var place: String
  var username: String
  var password: String
}

/// Passwords of users for hosts of repositories.
struct GitCredentials: Sendable {
  /// Providers with one host for everybody.
  static let hosts = [
    "gitHub": "github.com", "gitLab": "gitlab.com", "bitbucketCloud": "bitbucket.org", "azureDevOpsServices": "dev.azure.com",
  ]
  /// Providers that run on hosts of their own: a credential is called like its host.
  static let ownHosts = ["gitHubEnterprise", "gitLabEnterpriseEdition", "bitbucketServer", "awsCodeCommit"]

  let catalog: CatalogStore
  /// The file of the key that seals them.
  let keyPath: String

  func sealing() async throws -> SealingKey {
    let path = keyPath
    return try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
  }

  /// Nil for a folder of this machine, and where the user has nothing for the host.
  func signIn(to url: String, user: String) async throws -> GitSignIn? {
    guard url.hasPrefix("https://"), let parsed = try? EgressURL(url) else { return nil }  // what cannot be read is refused where it is fetched
    let host = parsed.host.lowercased() + (parsed.port == 443 ? "" : ":\(parsed.port)")
    guard let found = try await catalog.gitSignIn(at: host, of: user, sealedWith: sealing()) else { return nil }
    // What hosts take for a token that comes without a name.
    let username = found.entry.username.isEmpty ? (found.entry.provider.hasPrefix("gitLab") ? "oauth2" : "x-access-token") : found.entry.username
    return GitSignIn(place: "https://\(host)", username: username, password: found.password)
  }
}
