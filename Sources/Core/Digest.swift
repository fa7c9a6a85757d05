// SPDX-License-Identifier: Apache-2.0

import CLibCrypto
public import Foundation

/// SHA-256 by OpenSSL's libcrypto. Feed in parts with `update`, or use the static functions.
public final class SHA256Digest {
  private let context: OpaquePointer

  public init() {
    guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
      preconditionFailure("libcrypto offers no SHA-256")
    }
    self.context = context
  }

  deinit { EVP_MD_CTX_free(context) }

  public func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress, bytes.count > 0 else { return }
    precondition(EVP_DigestUpdate(context, base, bytes.count) == 1, "SHA-256 update failed")
  }

  /// The 32 digest bytes. The object cannot be used afterwards.
  public func finish() -> [UInt8] {
    var out = [UInt8](repeating: 0, count: 32)
    precondition(EVP_DigestFinal_ex(context, &out, nil) == 1, "SHA-256 finish failed")
    return out
  }

  public static func digest(_ data: some DataProtocol) -> [UInt8] {
    let digest = SHA256Digest()
    for region in data.regions { region.withUnsafeBytes { digest.update($0) } }
    return digest.finish()
  }

  /// Lower-case hexadecimal SHA-256, 64 characters.
  public static func hex(_ data: some DataProtocol) -> String { digest(data).hexadecimal }
  public static func hex(_ text: String) -> String { hex(Data(text.utf8)) }

  /// Streams a file through SHA-256 in 1 MiB pieces.
  public static func hex(contentsOf path: String) throws -> String {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw PlatformError(.notFound, "cannot open file", path: path)
    }
    defer { try? file.close() }  // nothing was written, so a failing close loses nothing
    let digest = SHA256Digest()
    while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty { piece.withUnsafeBytes { digest.update($0) } }
    return digest.finish().hexadecimal
  }
}

extension Sequence<UInt8> {
  public var hexadecimal: String {
    let digits = Array("0123456789abcdef".utf8)
    var out: [UInt8] = []
    for byte in self {
      out.append(digits[Int(byte >> 4)])
      out.append(digits[Int(byte & 15)])
    }
    return String(decoding: out, as: UTF8.self)
  }
}

/// Bytes from libcrypto's generator, for keys and tokens.
public enum SecureRandom {
  public static func bytes(_ count: Int) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: count)
    precondition(RAND_bytes(&out, Int32(count)) == 1, "no entropy")
    return out
  }

  /// A printable secret: `prefix` + 43 characters carrying 256 bits.
  public static func token(prefix: String) -> String {
    prefix
      + Data(bytes(32)).base64EncodedString().replacingOccurrences(of: "+", with: "-")
      .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
  }
}
