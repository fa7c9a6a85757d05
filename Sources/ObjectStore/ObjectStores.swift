// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation
import Synchronization

/// Chooses the store of a location: `s3://bucket/folder`, or an absolute folder of this machine.
public enum ObjectStores {
  /// One store for a bucket: whether its conditional writes work is tried once.
  private static let buckets = Mutex<[String: S3ObjectStore]>([:])
  private static let bucketLimit = 256

  /// The store that holds `location`, and the location's name in it.
  /// - Parameters:
  ///   - keys: of the places that are known; for others those of the environment (`S3Credentials.resolve`).
  ///   - readOnly: places below which the store refuses to write.
  ///   - environment: also the region and endpoint, where the keys name none.
  /// - Throws: `invalidArgument` for a location that is neither; `badConfiguration` PLT-3401, PLT-3402.
  public static func open(
    _ location: String, keys: KeyRing = .shared, readOnly: ReadOnlyPlaces = .shared,
    environment: [String: String] = ProcessInfo.processInfo.environment, home: String = NSHomeDirectory()
  ) throws -> (store: any ObjectStorage, path: ObjectPath) {
    var (store, path) = try writable(location, keys: keys, environment: environment, home: home)
    if WriteGate.shared.isSet { store = GuardedStorage(inner: store) { try WriteGate.shared.pass() } }
    return (readOnly.refusal(of: location).map { refusal in GuardedStorage(inner: store) { throw refusal } } ?? store, path)
  }

  private static func writable(_ location: String, keys: KeyRing, environment: [String: String], home: String) throws
    -> (store: any ObjectStorage, path: ObjectPath)
  {
    if S3Location.isS3(location) {
      let place = try S3Location(parsing: location)
      guard let path = place.path else {
        throw PlatformError(.invalidArgument, "'\(location.prefix(200))' is a bucket, not a place in one", hint: "Write it like s3://bucket/folder.")
      }
      return (try bucket(place.bucket, keys: keys.keys(of: place.description), environment: environment, home: home), path)
    }
    let parts = PathText.components(location)
    guard location.hasPrefix("/"), let name = parts.last, !name.isEmpty else {
      throw PlatformError(.invalidArgument, "'\(location.prefix(200))' is neither an absolute folder nor s3://bucket/folder")
    }
    let parent = parts.dropLast().joined(separator: "/")
    return (try LocalObjectStore(root: parent.isEmpty ? "/" : parent), try ObjectPath(name))
  }

  /// The store of a bucket, with settings of the environment.
  /// - Parameter keys: nil: those of the environment.
  public static func bucket(
    _ name: String, keys: StorageKeys? = nil, environment: [String: String] = ProcessInfo.processInfo.environment, home: String = NSHomeDirectory()
  ) throws -> S3ObjectStore {
    var configuration = try S3Configuration(
      bucket: name, environment: environment, home: home,
      credentials: keys.map { S3Credentials(accessKey: $0.accessKey, secretKey: $0.secretKey, sessionToken: $0.sessionToken) })
    if let endpoint = keys?.endpoint, !endpoint.isEmpty {
      configuration.endpoint = endpoint
      if (environment["PLATFORM_S3_PATH_STYLE"] ?? "").isEmpty { configuration.usesPathStyle = true }
    }
    if let region = keys?.region, !region.isEmpty { configuration.region = region }
    // Other keys may see other things: they are another store.
    let key = SHA256Digest.hex(
      [
        name, configuration.endpoint ?? "", configuration.region, "\(configuration.usesPathStyle)", configuration.credentials.accessKey,
        configuration.credentials.secretKey, configuration.credentials.sessionToken ?? "",
      ].joined(separator: "\n"))
    return try buckets.withLock { known in
      if let store = known[key] { return store }
      let store = try S3ObjectStore(configuration)
      if known.count >= bucketLimit { known.removeAll() }
      known[key] = store
      return store
    }
  }
}
