// SPDX-License-Identifier: Apache-2.0

import CLibCrypto
public import Foundation

/// Encrypts secrets for storing, with AES-256-GCM: 12 random bytes, the cipher text, 16 bytes that prove that nothing was changed.
public struct SealingKey: Sendable {
  private let bytes: [UInt8]

  /// - Throws: `badConfiguration` when it is not 32 bytes long.
  public init(_ bytes: [UInt8]) throws {
    guard bytes.count == 32 else { throw PlatformError(.badConfiguration, "a sealing key has 32 bytes, not \(bytes.count)") }
    self.bytes = bytes
  }

  /// The key in a file that only its owner can read; made at the first call. Blocks.
  public init(loadingOrCreating path: String) throws {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    if descriptor >= 0 {
      let fresh = SecureRandom.bytes(32)
      let wrote = fresh.withUnsafeBytes { write(descriptor, $0.baseAddress, 32) }
      let stored = wrote == 32 && fsync(descriptor) == 0
      close(descriptor)
      guard stored else {
        unlink(path)
        throw PlatformError.system("write the sealing key", path)
      }
      try self.init(fresh)
      return
    }
    guard errno == EEXIST, let data = FileManager.default.contents(atPath: path) else { throw PlatformError.system("read the sealing key", path) }
    try self.init([UInt8](data))
  }

  /// - Parameter purpose: what the secret belongs to; unsealing it for anything else fails.
  public func seal(_ secret: Data, for purpose: String) throws -> Data {
    let nonce = SecureRandom.bytes(12)
    return try cipher { context in
      guard EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), nil, bytes, nonce) == 1 else { throw Self.failed }
      var length: Int32 = 0
      let about = [UInt8](purpose.utf8)
      var out = [UInt8](repeating: 0, count: secret.count + 16)
      guard EVP_EncryptUpdate(context, nil, &length, about, Int32(about.count)) == 1,
        EVP_EncryptUpdate(context, &out, &length, [UInt8](secret), Int32(secret.count)) == 1
      else { throw Self.failed }
      var rest: Int32 = 0
      var tag = [UInt8](repeating: 0, count: 16)
      guard out.withUnsafeMutableBufferPointer({ EVP_EncryptFinal_ex(context, $0.baseAddress! + Int(length), &rest) }) == 1,
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, &tag) == 1
      else { throw Self.failed }
      return Data(nonce + out.prefix(Int(length + rest)) + tag)
    }
  }

  /// - Throws: `badConfiguration` when it was sealed with another key or for another purpose, or was changed.
  public func unseal(_ sealed: Data, for purpose: String) throws -> Data {
    let all = [UInt8](sealed)
    guard all.count >= 28 else { throw Self.refused }
    let (nonce, text) = (Array(all[..<12]), Array(all[12..<(all.count - 16)]))
    var tag = Array(all[(all.count - 16)...])
    return try cipher { context in
      guard EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), nil, bytes, nonce) == 1 else { throw Self.failed }
      var length: Int32 = 0
      let about = [UInt8](purpose.utf8)
      var out = [UInt8](repeating: 0, count: text.count + 16)
      guard EVP_DecryptUpdate(context, nil, &length, about, Int32(about.count)) == 1,
        EVP_DecryptUpdate(context, &out, &length, text, Int32(text.count)) == 1,
        EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, &tag) == 1
      else { throw Self.refused }
      var rest: Int32 = 0
      guard out.withUnsafeMutableBufferPointer({ EVP_DecryptFinal_ex(context, $0.baseAddress! + Int(length), &rest) }) == 1 else {
        throw Self.refused
      }
      return Data(out.prefix(Int(length + rest)))
    }
  }

  private func cipher<T>(_ body: (OpaquePointer) throws -> T) throws -> T {
    guard let context = EVP_CIPHER_CTX_new() else { throw Self.failed }
    defer { EVP_CIPHER_CTX_free(context) }
    return try body(context)
  }

  private static let failed = PlatformError(.internalError, "libcrypto cannot encrypt")
  private static let refused = PlatformError(
    .badConfiguration, "a stored secret cannot be opened", hint: "The key file was replaced. Restore it, or enter the secret again.")
}
