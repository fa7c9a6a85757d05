// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Checks of paths that people give. A path is taken as it is written: nothing is decoded, expanded or guessed.
enum VolumePath {
  static func refuse(_ path: String, _ why: String) -> PlatformError {
    PlatformError(.invalidArgument, "'\(path.prefix(200))' is not a usable path: \(why)", number: "PLT-3001")
  }

  /// The parts of a path below a volume. The empty path is the volume itself; one `/` may end it.
  /// - Throws: `invalidArgument` PLT-3001 for a path that begins with `/`, has an empty part, `.` or `..`, a control character, or
  ///   more than 4096 bytes.
  static func parts(_ path: String) throws -> [String] {
    guard path.utf8.count <= 4096 else { throw refuse(path, "it has more than 4096 bytes") }
    guard !path.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else { throw refuse(path, "it holds a control character") }
    if path.isEmpty { return [] }
    // By bytes: a combining character behind the slash would make both one Character.
    var parts = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    if parts.count > 1 && parts.last == "" { parts.removeLast() }
    for part in parts {
      guard !part.isEmpty else { throw refuse(path, "it begins with '/' or has an empty part") }
      // Also what is encoded: whoever decodes once more would leave the folder.
      let decoded = part.removingPercentEncoding ?? part
      guard ![".", ".."].contains(decoded) else { throw refuse(path, "it has a part '\(part)'") }
      guard part.utf8.count <= 255 else { throw refuse(path, "a part has more than 255 bytes") }
    }
    return parts
  }

  /// An absolute path without trailing `/`, checked as `parts`.
  static func absolute(_ path: String) throws -> String {
    guard path.utf8.first == UInt8(ascii: "/") else { throw refuse(path, "it does not begin with '/'") }
    let parts = try parts(String(decoding: path.utf8.dropFirst(), as: UTF8.self))
    guard !parts.isEmpty else { throw refuse(path, "it is the whole file system") }
    return "/" + parts.joined(separator: "/")
  }

  /// Whether `path` is `folder` or below it. Both absolute and without links, `.` and `..`.
  static func isInside(_ path: String, _ folder: String) -> Bool {
    path.utf8.elementsEqual(folder.utf8) || path.utf8.starts(with: (folder == "/" ? "/" : folder + "/").utf8)
  }

  /// The path with all links followed, or nil when something on it does not exist. Touches the file system.
  static func real(_ path: String) -> String? {
    guard let found = realpath(path, nil) else { return nil }
    defer { free(found) }
    return String(cString: found)
  }

  /// `path` with the links of its existing part followed: what would be reached, or made, there. Touches the file system.
  static func reached(_ path: String) throws -> String {
    var existing = path
    var rest: [String] = []
    while true {
      if let real = real(existing) { return ([real == "/" ? "" : real] + rest.reversed()).joined(separator: "/") }
      var info = stat()
      // A link that leads nowhere now may lead anywhere later.
      guard lstat(existing, &info) != 0, errno == ENOENT else {
        throw PlatformError(.permissionDenied, "the path cannot be followed", path: existing)
      }
      rest.append((existing as NSString).lastPathComponent)
      existing = (existing as NSString).deletingLastPathComponent
    }
  }
}
