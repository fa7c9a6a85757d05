// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Links that let their bearer fetch one thing for a while. The key lives in memory only: a restarted coordinator honours none.
struct SignedLinks: Sendable {
  static let lifetimeSeconds: Int64 = 900
  private let key = SecureRandom.bytes(32)

  /// - Returns: when the link ends (seconds since 1970), and its signature.
  func sign(_ path: String, now: Date = Date()) -> (expires: Int64, signature: String) {
    let expires = Int64(now.timeIntervalSince1970) + Self.lifetimeSeconds
    return (expires, signature(path, expires))
  }

  /// - Throws: `permissionDenied` PLT-3235.
  func check(_ path: String, expires: String?, signature given: String?, now: Date = Date()) throws {
    let refused = PlatformError(
      .permissionDenied, "the link is too old, or was changed", hint: "Ask for the statement again: it gives new links.", number: "PLT-3235")
    guard let expires = expires.flatMap({ Int64($0) }), let given, Double(expires) > now.timeIntervalSince1970 else { throw refused }
    let right = Array(signature(path, expires).utf8)
    let claimed = Array(given.utf8)
    // All bytes are compared, so that time tells nothing.
    guard claimed.count == right.count, zip(claimed, right).reduce(0, { $0 | ($1.0 ^ $1.1) }) == 0 else { throw refused }
  }

  /// HMAC-SHA-256 of path and end, in hexadecimal digits.
  private func signature(_ path: String, _ expires: Int64) -> String {
    HMACSHA256.code(key: key, message: "\(path)\n\(expires)".utf8).map { String(format: "%02x", $0) }.joined()
  }
}
