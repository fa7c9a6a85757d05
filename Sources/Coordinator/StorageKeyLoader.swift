// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Foundation
import ObjectStore

/// Puts the keys of the catalog's storage credentials where this process opens stores, and what the catalog calls read-only where it
/// writes. External locations in buckets open with these keys.
struct StorageKeyLoader: Sendable {
  let catalog: CatalogStore
  /// The file of the key that seals credentials.
  let keyPath: String

  /// - Returns: what cannot be opened, and why; everything else can.
  func load(into ring: KeyRing = .shared, protecting places: ReadOnlyPlaces = .shared) async throws -> [String] {
    var locations: [LocationEntry] = []
    var closed: [ReadOnlyPlaces.Place] = []
    let guarded = try await readOnlyCredentials()
    var token: String?
    repeat {
      let page = try await catalog.locations(limit: CatalogStore.pageLimit, pageToken: token)
      locations += page.entries.filter { $0.url.hasPrefix("s3://") && $0.credential != nil }
      closed += page.entries.filter { $0.isReadOnly || $0.credential.map(guarded.contains) ?? false }.map { .init(url: $0.url, location: $0.name) }
      token = page.nextPageToken
    } while token != nil
    let protected = closed
    try await BlockingPool.shared.run { places.replace(protected) }
    guard !locations.isEmpty else {
      ring.replace([])
      return []
    }
    let path = keyPath
    let key = try await BlockingPool.shared.run { try SealingKey(loadingOrCreating: path) }
    var found: [StorageKeys] = []
    var problems: [String] = []
    for location in locations {
      guard let name = location.credential else { continue }
      do {
        // A role has no secret: the machine's own keys open the place.
        guard let secret = try await catalog.credentialSecret(name, sealedWith: key) else { continue }
        let keys = try JSONDecoder.platform.decode(AccessKeys.self, from: secret)
        found.append(
          StorageKeys(
            place: location.url, accessKey: keys.accessKeyID, secretKey: keys.secretAccessKey ?? "", sessionToken: keys.sessionToken,
            endpoint: keys.endpoint ?? keys.accountID.map { "https://\($0).r2.cloudflarestorage.com" }, region: keys.region))
      } catch {
        problems.append("external location '\(location.name)': \(PlatformError.from(error).message)")
      }
    }
    ring.replace(found)
    return problems
  }

  /// Names of credentials that open nothing for writing.
  private func readOnlyCredentials() async throws -> Set<String> {
    var found: Set<String> = []
    var token: String?
    repeat {
      let page = try await catalog.credentials(purpose: nil, limit: CatalogStore.pageLimit, pageToken: token)
      found.formUnion(page.entries.filter(\.isReadOnly).map(\.name))
      token = page.nextPageToken
    } while token != nil
    return found
  }
}
