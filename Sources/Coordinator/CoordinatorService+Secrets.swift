// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Core
import Foundation

/// Secrets of people's programs.
extension CoordinatorService {
  private func secretSealing() async throws -> SealingKey {
    let path = configuration.layout.sealingKey
    return try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
  }

  func createSecretScope(_ scope: String, by principal: Principal) async throws { try await catalog.createSecretScope(scope, by: principal.name) }
  func secretScopes() async throws -> [String] { try await catalog.secretScopes() }
  func deleteSecretScope(_ scope: String, by principal: Principal) async throws { try await catalog.deleteSecretScope(scope, by: principal.name) }

  func putSecret(_ scope: String, _ key: String, _ value: [UInt8], by principal: Principal) async throws {
    try await catalog.putSecret(scope, key, Data(value), sealedWith: secretSealing(), by: principal.name)
  }

  func deleteSecret(_ scope: String, _ key: String, by principal: Principal) async throws {
    try await catalog.deleteSecret(scope, key, by: principal.name)
  }

  func secrets(_ scope: String) async throws -> [(key: String, updated: Int64)] {
    try await catalog.secrets(scope).map { ($0.key, Int64($0.updatedAt.timeIntervalSince1970 * 1000)) }
  }

  func secret(_ scope: String, _ key: String, by principal: Principal) async throws -> [UInt8] {
    let value = try await catalog.secret(scope, key, sealedWith: secretSealing())
    try await catalog.audit(actor: principal.name, action: "read secret", object: "\(scope)/\(key)", outcome: "ok")
    return [UInt8](value)
  }
}

/// Values of secrets for the workers that run the programs which ask for them. They are read when the work is handed over, and are in no record.
struct SecretReader: Sendable {
  let catalog: CatalogStore
  /// The file of the key that seals them.
  let keyPath: String

  /// - Parameter names: `scope/key`.
  /// - Returns: without those that are not there, or that are no text.
  func values(_ names: Set<String>) async throws -> [String: String] {
    let path = keyPath
    let key = try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
    var found: [String: String] = [:]
    for name in names {
      let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
      guard parts.count == 2 else { continue }
      do {
        found[name] = String(data: try await catalog.secret(parts[0], parts[1], sealedWith: key), encoding: .utf8)
      } catch let error as PlatformError where error.code == .notFound || error.code == .badConfiguration {
        continue  // the program is told
      }
    }
    return found
  }
}
