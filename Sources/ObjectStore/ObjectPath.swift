// SPDX-License-Identifier: Apache-2.0

import Core

/// The name of an object: components joined by `/`, relative to the store's root. It cannot leave the root.
public struct ObjectPath: Hashable, Sendable, Comparable, CustomStringConvertible {
  public let text: String

  /// - Throws: `invalidArgument` for empty names, empty components, `.` and `..`, a leading slash, backslashes, control
  ///   characters, components above 255 bytes and names above 1024 bytes.
  public init(_ text: String) throws {
    let isSafe =
      text.utf8.count <= 1024 && PathText.isInside(text) && !text.utf8.contains(UInt8(ascii: "\\"))
      && PathText.components(text).allSatisfy { $0.utf8.count <= 255 }
    guard isSafe else { throw PlatformError(.invalidArgument, "'\(text.prefix(200))' is not a name of an object") }
    self.text = text
  }

  /// This path with `relative` below it; the same rules.
  public func appending(_ relative: String) throws -> ObjectPath { try ObjectPath(text + "/" + relative) }

  public var description: String { text }
  /// The last component.
  public var name: String { PathText.components(text).last ?? text }

  /// Bytes decide: names that only look the same are different objects, as they are on disk.
  public static func == (left: ObjectPath, right: ObjectPath) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }
  public func hash(into hasher: inout Hasher) {
    for byte in text.utf8 { hasher.combine(byte) }
  }
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
  /// Changes when the object is replaced, also by one of the same size in the same moment: S3's ETag, a file's inode and time.
  public var tag: String?
  public init(path: ObjectPath, size: Int, modifiedMilliseconds: Int64, tag: String? = nil) {
    self.path = path
    self.size = size
    self.modifiedMilliseconds = modifiedMilliseconds
    self.tag = tag
  }
}
