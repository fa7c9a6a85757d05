// SPDX-License-Identifier: Apache-2.0

import Core

/// A place in a bucket, from a text like `s3://bucket/folder/table`.
public struct S3Location: Sendable, Hashable, CustomStringConvertible {
  public var bucket: String
  /// Below the bucket; nil is the bucket itself.
  public var path: ObjectPath?

  public init(bucket: String, path: ObjectPath? = nil) throws {
    guard Self.isBucket(bucket) else { throw PlatformError(.invalidArgument, "'\(bucket.prefix(100))' is not a name of a bucket") }
    self.bucket = bucket
    self.path = path
  }

  /// - Throws: `invalidArgument` for another scheme, a bucket name that S3 does not allow, or a path that is no object's name.
  public init(parsing text: String) throws {
    guard let scheme = Self.scheme(of: text) else {
      throw PlatformError(.invalidArgument, "'\(text.prefix(200))' is not an S3 location", hint: "Write it like s3://bucket/folder.")
    }
    var rest = String(text.dropFirst(scheme.count))
    while rest.hasSuffix("/") { rest.removeLast() }
    let parts = PathText.components(rest)
    try self.init(bucket: parts[0], path: parts.count > 1 ? ObjectPath(parts.dropFirst().joined(separator: "/")) : nil)
  }

  /// Whether `text` names a place in S3 (as opposed to a folder).
  public static func isS3(_ text: some StringProtocol) -> Bool { scheme(of: String(text)) != nil }

  private static func scheme(of text: String) -> String? {
    ["s3://", "s3a://"].first { text.utf8.count > $0.utf8.count && text.lowercased().utf8.starts(with: $0.utf8) }
  }

  /// 3 to 63 of lower-case letters, digits, dots and dashes, beginning and ending with a letter or digit; no two dots in a row.
  static func isBucket(_ name: String) -> Bool {
    let bytes = Array(name.utf8)
    guard (3...63).contains(bytes.count), let first = bytes.first, let last = bytes.last else { return false }
    func isAlphanumeric(_ byte: UInt8) -> Bool {
      (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    return isAlphanumeric(first) && isAlphanumeric(last) && !name.contains("..")
      && bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
  }

  public var description: String { "s3://\(bucket)\(path.map { "/" + $0.text } ?? "")" }
}
