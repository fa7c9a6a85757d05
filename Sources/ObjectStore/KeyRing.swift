// SPDX-License-Identifier: Apache-2.0

public import Core
import Synchronization

/// The keys of places in buckets that a process was given. A place without keys here is opened with those of the environment.
public final class KeyRing: Sendable {
  /// The process's own: what `ObjectStores` looks at.
  public static let shared = KeyRing()

  private let held = Mutex<[StorageKeys]>([])

  public init(_ keys: [StorageKeys] = []) { replace(keys) }

  /// Puts `keys` in the place of all that are held.
  public func replace(_ keys: [StorageKeys]) {
    // The innermost place counts.
    let sorted = keys.sorted { $0.place.utf8.count > $1.place.utf8.count }
    held.withLock { $0 = sorted }
  }

  public var isEmpty: Bool { held.withLock { $0.isEmpty } }

  /// The keys of the innermost place that holds `location`, in the spelling `s3://bucket/path`.
  public func keys(of location: String) -> StorageKeys? { held.withLock { $0.first { $0.opens(location) } } }

  private static let members: Set<String> = ["path", "outputDirectory", "dataPath", "quarantinePath"]

  /// The keys of the places that work reads or writes: those in members of these names, wherever they are. Texts and parameters of
  /// statements are not looked at.
  public func keys(neededBy payload: JSONValue) -> [StorageKeys] {
    guard !isEmpty else { return [] }
    var found: Set<StorageKeys> = []
    func look(_ value: JSONValue) {
      switch value {
      case .array(let items): for item in items { look(item) }
      case .object(let members):
        for (name, member) in members {
          guard case .string(let text) = member else {
            look(member)
            continue
          }
          if Self.members.contains(name), S3Location.isS3(text), let keys = keys(of: text) { found.insert(keys) }
        }
      default: break
      }
    }
    look(payload)
    return found.sorted { $0.place < $1.place }
  }
}
