// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// What a new node needs to introduce itself: a secret that the coordinator gave out, and the coordinator's public key,
/// so that the node sends the secret to nobody else.
///
/// Text form: `pt1.` and base64url of 1 version byte, 32 secret bytes, 32 key bytes and 4 check bytes (SHA-256 prefix).
public struct JoinToken: Sendable, Equatable {
  /// 32 bytes. The coordinator stores only `secretDigest`.
  public let secret: Data
  public let coordinatorKey: CurvePublicKey

  /// A token with a fresh secret.
  public init(coordinatorKey: CurvePublicKey) {
    secret = Data(SecureRandom.bytes(32))
    self.coordinatorKey = coordinatorKey
  }

  /// SHA-256 of the secret in hexadecimal: what is stored and looked up.
  public var secretDigest: String { SHA256Digest.hex(secret) }

  /// Parses the text form.
  /// - Throws: `invalidArgument` PLT-2101 when a character is missing, changed or added.
  public init(_ text: String) throws {
    func malformed(_ why: String) -> PlatformError {
      PlatformError(
        .invalidArgument, "join token is malformed: \(why)", hint: "Copy the whole token, or make a new one.",
        number: "PLT-2101")
    }
    let trimmed = text.trimmingCharacters(in: .whitespacesAndNewlines)
    guard trimmed.hasPrefix("pt1.") else { throw malformed("it does not begin with 'pt1.'") }
    guard trimmed.utf8.count == 96 else { throw malformed("it has \(trimmed.utf8.count) characters, not 96") }
    let base = String(trimmed.dropFirst(4)).replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
    guard let bytes = Data(base64Encoded: base).map(Array.init), bytes.count == 69 else {
      throw malformed("it is not base64url")
    }
    guard bytes[0] == 1 else { throw malformed("its version \(bytes[0]) is unknown") }
    guard Array(SHA256Digest.digest(Data(bytes[0..<65])).prefix(4)) == Array(bytes[65...]) else {
      throw malformed("its check digits do not match")
    }
    secret = Data(bytes[1..<33])
    coordinatorKey = try CurvePublicKey(bytes: Array(bytes[33..<65]))
  }

  /// The text form, 96 characters.
  public var text: String {
    var bytes: [UInt8] = [1] + secret + coordinatorKey.bytes
    bytes += SHA256Digest.digest(Data(bytes)).prefix(4)
    return "pt1."
      + Data(bytes).base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
  }

  /// Checks the coordinator that somebody named against the one that made this token.
  /// - Throws: `permissionDenied` PLT-2102 with both fingerprints.
  public func verify(coordinator key: CurvePublicKey) throws {
    guard key == coordinatorKey else {
      throw PlatformError(
        .permissionDenied,
        "the coordinator has the fingerprint \(key.fingerprint), the join token is for \(coordinatorKey.fingerprint)",
        hint: "Make the token on the coordinator that this node shall join.", number: "PLT-2102")
    }
  }
}

extension JoinToken: CustomStringConvertible, CustomReflectable {
  /// Without the secret.
  public var description: String { "join token for \(coordinatorKey.fingerprint)" }
  public var customMirror: Mirror { Mirror(self, children: ["coordinator": coordinatorKey.fingerprint]) }
}
