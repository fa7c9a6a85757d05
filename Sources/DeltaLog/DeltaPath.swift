// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Where a data file lies, from the `path` of an action (a URI reference, RFC 2396).
public enum FileLocation: Sendable, Hashable {
  /// Below the table's folder, as it lies in the file system.
  case relative(String)
  /// Somewhere else (a shallow clone's source): a URI with a scheme, or an absolute path; percent-encoding kept.
  case absolute(String)
}

enum DeltaPath {
  private static let kept: [Bool] = {
    var table = [Bool](repeating: false, count: 256)
    for byte in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()/=+".utf8 { table[Int(byte)] = true }
    return table
  }()

  /// RFC 2396: unreserved characters and `/` stay.
  static func encode(_ path: String) -> String {
    if path.utf8.allSatisfy({ kept[Int($0)] }) { return path }
    var out: [UInt8] = []
    for byte in path.utf8 {
      if kept[Int(byte)] {
        out.append(byte)
      } else {
        out.append(UInt8(ascii: "%"))
        out.append(contentsOf: [byte].hexadecimal.uppercased().utf8)
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// Whether nothing in `path` needs decoding or a closer look: the common case, decided in one pass.
  private static func isPlain(_ path: String) -> Bool {
    var previous = UInt8(ascii: "/")
    for byte in path.utf8 {
      if byte == UInt8(ascii: "%") || byte == UInt8(ascii: ":") || byte < 32 { return false }
      if previous == UInt8(ascii: "/") && (byte == UInt8(ascii: "/") || byte == UInt8(ascii: ".")) { return false }
      previous = byte
    }
    return previous != UInt8(ascii: "/")
  }

  /// - Throws: `invalidFile` for a relative path that leaves the table or cannot be decoded.
  static func location(_ path: String) throws -> FileLocation {
    if isPlain(path) { return .relative(path) }
    if path.hasPrefix("/") || hasScheme(path) {
      let leaves = PathText.components(path).contains { part in
        guard let decoded = part.removingPercentEncoding else { return true }
        return PathText.components(decoded).contains { $0.utf8.elementsEqual("..".utf8) }
      }
      guard !leaves, path.utf8.allSatisfy({ $0 >= 32 }) else {
        throw PlatformError(.invalidFile, "an absolute file path of the table is not plain", path: path)
      }
      return .absolute(path)
    }
    guard let text = path.removingPercentEncoding, PathText.isInside(text)
    else { throw PlatformError(.invalidFile, "a file path of the table leaves the table", path: path) }
    return .relative(text)
  }

  private static func hasScheme(_ path: String) -> Bool {
    guard let colon = path.utf8.firstIndex(of: UInt8(ascii: ":")), colon > path.startIndex else { return false }
    let scheme = path[..<colon].utf8
    let isLetter = { (byte: UInt8) in byte | 32 >= UInt8(ascii: "a") && byte | 32 <= UInt8(ascii: "z") }
    return isLetter(scheme.first!)
      && scheme.allSatisfy { isLetter($0) || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) || "+-.".utf8.contains($0) }
  }

  static func decode(_ path: String) throws -> String {
    guard case .relative(let text) = try location(path) else {
      throw PlatformError(.invalidFile, "a file path of the table leaves the table", path: path)
    }
    return text
  }
}
