// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Synchronization

/// Places where a process writes nothing: external locations that are marked read-only. `ObjectStores` refuses every write below one, and
/// whoever is about to let others write asks first.
public final class ReadOnlyPlaces: Sendable {
  /// The process's own: what `ObjectStores` looks at.
  public static let shared = ReadOnlyPlaces()

  public struct Place: Sendable, Hashable {
    /// `s3://bucket/folder`, `file:///folder` or `/folder`.
    public var url: String
    /// The external location's name.
    public var location: String
    public init(url: String, location: String) {
      self.url = url
      self.location = location
    }
  }

  private struct Held {
    /// One spelling of the place; without `/` at its end.
    var path: String
    var location: String
  }
  private let held = Mutex<[Held]>([])

  public init(_ places: [Place] = []) { replace(places) }

  /// Puts `places` in the place of all that are held. Looks folders up: links to them count as well.
  public func replace(_ places: [Place]) {
    let all = places.flatMap { place -> [Held] in
      let path = Self.plain(place.url)
      return Set([path, Self.reached(path)]).map { Held(path: $0, location: place.location) }
    }
    held.withLock { $0 = all }
  }

  /// Why nothing is written to `place`, a folder or file of this machine or of a bucket, which need not exist. Nil: it may be.
  public func refusal(of place: String) -> PlatformError? {
    let known = held.withLock { $0 }
    guard !known.isEmpty else { return nil }
    let path = Self.plain(place)
    let spellings = Set([path, Self.reached(path)])
    guard let found = known.first(where: { one in spellings.contains { $0.utf8.elementsEqual(one.path.utf8) || $0.utf8.starts(with: (one.path + "/").utf8) } })
    else { return nil }
    return PlatformError(
      .permissionDenied, "external location '\(found.location)' is read-only: nothing is written there",
      hint: "Write elsewhere, or allow it: platform locations update \(found.location) --read-only false.", number: "PLT-3261", path: place)
  }

  /// - Throws: `permissionDenied` PLT-3261 below a read-only place.
  public func requireWritable(_ place: String) throws {
    if let refusal = refusal(of: place) { throw refusal }
  }

  private static func plain(_ place: String) -> String {
    var path = place
    if S3Location.isS3(path), let scheme = path.range(of: "://") {
      path = "s3://" + path[scheme.upperBound...]
    } else if path.hasPrefix("file:/") {
      path = String(path.dropFirst(5))
      while path.hasPrefix("//") { path.removeFirst() }
    }
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// A folder's path with the links of its existing part followed.
  private static func reached(_ path: String) -> String {
    guard path.hasPrefix("/") else { return path }
    var parts = PathText.components(path).dropFirst()
    var rest: [String] = []
    while !parts.isEmpty {
      if let real = realpath("/" + parts.joined(separator: "/"), nil) {
        defer { free(real) }
        return ([String(cString: real)] + rest.reversed()).joined(separator: "/")
      }
      rest.append(parts.removeLast())
    }
    return path
  }
}
