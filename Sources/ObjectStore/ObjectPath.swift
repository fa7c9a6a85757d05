// SPDX-License-Identifier: Apache-2.0

import Core

/// The name of an object: components joined by `/`, relative to the store's root. It cannot leave the root.
public struct ObjectPath: Hashable, Sendable, Comparable, CustomStringConvertible {
  public let text: String

  /// - Throws: `invalidArgument` for empty names, empty components, `.` and `..`, a leading slash, backslashes, control
  ///   characters, components above 255 bytes and names above 1024 bytes.
  public init(_ text: String) throws {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    let isSafe =
      text.utf8.count <= 1024
      && parts.allSatisfy { part in
        !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255
          && part.utf8.allSatisfy { $0 >= 32 && $0 != 127 && $0 != UInt8(ascii: "\\") }
      }
    guard isSafe else { throw PlatformError(.invalidArgument, "'\(text.prefix(200))' is not a name of an object") }
    self.text = text
  }

  /// This path with `relative` below it; the same rules.
  public func appending(_ relative: String) throws -> ObjectPath { try ObjectPath(text + "/" + relative) }

  public var description: String { text }
  public var name: String { text.split(separator: "/").last.map(String.init) ?? text }
  public static func < (left: ObjectPath, right: ObjectPath) -> Bool {
    left.text.utf8.lexicographicallyPrecedes(right.text.utf8)
  }
}

/// What a store tells about an object.
public struct ObjectInfo: Sendable, Hashable {
  public var path: ObjectPath
  public var size: Int
  /// Milliseconds since 1970.
  public var modifiedMilliseconds: Int64
  public init(path: ObjectPath, size: Int, modifiedMilliseconds: Int64) {
    self.path = path
    self.size = size
    self.modifiedMilliseconds = modifiedMilliseconds
  }
}
