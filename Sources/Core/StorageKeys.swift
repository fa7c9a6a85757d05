// SPDX-License-Identifier: Apache-2.0

/// What opens a place in a bucket. Travels on encrypted links and pipes only, and is never stored as it is; printing it shows the place.
public struct StorageKeys: Codable, Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  /// `s3://bucket/folder`, without `/` at its end: what is in it opens too.
  public var place: String
  public var accessKey: String
  public var secretKey: String
  /// Of temporary keys.
  public var sessionToken: String?
  /// `https://host:port` of a store that is not Amazon's; nil: as the machine is configured.
  public var endpoint: String?
  public var region: String?

  public init(
    place: String, accessKey: String, secretKey: String, sessionToken: String? = nil, endpoint: String? = nil, region: String? = nil
  ) {
    self.place = place
    self.accessKey = accessKey
    self.secretKey = secretKey
    self.sessionToken = sessionToken
    self.endpoint = endpoint
    self.region = region
  }

  /// Whether `location` is this place or in it.
  public func opens(_ location: String) -> Bool {
    let (outer, inner) = (place.utf8, location.utf8)
    return inner.starts(with: outer) && (inner.count == outer.count || inner.dropFirst(outer.count).first == UInt8(ascii: "/"))
  }

  public var description: String { "StorageKeys(\(place))" }
  public var debugDescription: String { description }
  public var customMirror: Mirror { Mirror(self, children: ["place": place]) }
}
