// SPDX-License-Identifier: Apache-2.0

/// Paths as the kernel sees them: bytes between slashes.
///
/// `String.split` works on characters, and a slash followed by a combining mark is one character: `..` in front of it would
/// not be seen as a component, but the kernel does see it. Whatever decides about safety splits with this.
public enum PathText {
  /// The components of `path`, empty ones included.
  public static func components(_ path: some StringProtocol) -> [String] {
    path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
  }

  /// Whether `path` is relative and names nothing outside of its folder: no empty component, `.` or `..`, no control characters.
  public static func isInside(_ path: some StringProtocol) -> Bool {
    components(path).allSatisfy { part in
      !part.isEmpty && !isDots(part) && part.utf8.allSatisfy { $0 >= 32 && $0 != 127 }
    }
  }

  /// `.` or `..`, byte for byte.
  public static func isDots(_ part: some StringProtocol) -> Bool {
    part.utf8.elementsEqual(".".utf8) || part.utf8.elementsEqual("..".utf8)
  }
}
