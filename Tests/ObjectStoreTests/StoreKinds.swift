// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import NIOHTTP1
import ObjectStore
import TestSupport
import Testing

@testable import ObjectStore

/// The implementations that the conformance suite runs against.
enum StoreKind: String, CaseIterable, Sendable {
  case memory, local, s3

  static let present: [StoreKind] = allCases.filter { $0 != .s3 || MotoServer.isThere }

  func with(_ body: (any ObjectStorage) throws -> Void) throws {
    let folder = TemporaryDirectory("store")
    switch self {
    case .memory: try body(InMemoryObjectStore())
    case .local: try body(LocalObjectStore(root: folder.path))
    case .s3: try body(S3Fixture.store())
    }
    withExtendedLifetime(folder) {}
  }
}

enum S3Fixture {
  /// A configuration for a fresh bucket of the test server; requests go to `endpoint`, or straight to the server.
  static func configuration(bucket prefix: String = "test", endpoint: String? = nil) throws -> S3Configuration {
    let server = try MotoServer.shared()
    var configuration = S3Configuration(
      bucket: "\(prefix)-\(UUID().uuidString.lowercased().prefix(13))", endpoint: server.endpoint,
      credentials: S3Credentials(accessKey: MotoServer.accessKey, secretKey: MotoServer.secretKey))
    _ = try S3Client(configuration).send(S3Client.Call(method: .PUT, path: nil, verb: "make the bucket"))
    configuration.endpoint = endpoint ?? server.endpoint
    configuration.backoff = Backoff(firstMilliseconds: 5, limitMilliseconds: 50)
    return configuration
  }

  static func store() throws -> S3ObjectStore { try S3ObjectStore(configuration()) }
}

func code(_ body: () throws -> Void) -> PlatformError.Code? {
  do {
    try body()
    return nil
  } catch { return PlatformError.from(error).code }
}

func failure(_ body: () throws -> Void) -> PlatformError? {
  do {
    try body()
    return nil
  } catch { return PlatformError.from(error) }
}
