// SPDX-License-Identifier: Apache-2.0

import CZeroMQ
import Core
import Foundation

/// The public half of a node's CURVE25519 key pair. Its text form is 64 hexadecimal characters.
public struct CurvePublicKey: Sendable, Hashable, CustomStringConvertible {
  /// Exactly 32.
  public let bytes: [UInt8]

  /// - Throws: `invalidArgument` unless there are 32 bytes.
  public init(bytes: [UInt8]) throws {
    guard bytes.count == 32 else {
      throw PlatformError(.invalidArgument, "a public key has 32 bytes, this one has \(bytes.count)", number: "PLT-2103")
    }
    self.bytes = bytes
  }

  /// Parses 64 hexadecimal characters.
  public init(_ text: String) throws {
    guard let bytes = [UInt8](hexadecimal: text), bytes.count == 32 else {
      throw PlatformError(.invalidArgument, "a public key is 64 hexadecimal characters", number: "PLT-2103")
    }
    self.bytes = bytes
  }

  /// 64 lower-case hexadecimal characters.
  public var description: String { bytes.hexadecimal }

  /// First 16 hexadecimal characters of the key's SHA-256: what people compare.
  public var fingerprint: String { String(SHA256Digest.hex(Data(bytes)).prefix(16)) }
}

/// A node's identity on the bus.
public struct CurveKeyPair: Sendable {
  public let publicKey: CurvePublicKey
  /// 32 bytes; never printed, never sent.
  let secretKey: [UInt8]

  init(publicKey: CurvePublicKey, secretKey: [UInt8]) {
    self.publicKey = publicKey
    self.secretKey = secretKey
  }

  /// A fresh pair from libzmq's generator (libsodium).
  /// - Throws: `badConfiguration` when this libzmq was built without CURVE.
  public static func generate() throws -> CurveKeyPair {
    var publicText = [CChar](repeating: 0, count: 41)
    var secretText = [CChar](repeating: 0, count: 41)
    guard zmq_curve_keypair(&publicText, &secretText) == 0 else {
      throw MessageContext.failure("libzmq cannot make CURVE keys", code: .badConfiguration)
    }
    var publicBytes = [UInt8](repeating: 0, count: 32)
    var secretBytes = publicBytes
    guard zmq_z85_decode(&publicBytes, publicText) != nil, zmq_z85_decode(&secretBytes, secretText) != nil else {
      throw MessageContext.failure("libzmq made keys that it cannot read", code: .internalError)
    }
    return CurveKeyPair(publicKey: try CurvePublicKey(bytes: publicBytes), secretKey: secretBytes)
  }
}

extension CurveKeyPair: CustomStringConvertible, CustomReflectable {
  public var description: String { "key pair \(publicKey.fingerprint)" }
  public var customMirror: Mirror { Mirror(self, children: ["fingerprint": publicKey.fingerprint]) }
}

/// Keeps a key pair in a file that only its owner can read.
public struct KeyPairStore: Sendable {
  private static let header = "platform-curve-key-1"
  public let path: String

  public init(path: String) { self.path = path }

  /// Reads the pair.
  /// - Throws: `notFound`, `badConfiguration` when others may read the file, `invalidFile` when it is no key file.
  public func load() throws -> CurveKeyPair {
    var facts = stat()
    guard stat(path, &facts) == 0 else { throw PlatformError(.notFound, "no key file", path: path) }
    guard facts.st_mode & 0o077 == 0 else {
      throw PlatformError(
        .badConfiguration, "the key file can be read by others", hint: "Run: chmod 600 \(path)", number: "PLT-2104",
        path: path)
    }
    guard facts.st_size < 4096, let data = FileManager.default.contents(atPath: path) else {
      throw PlatformError(.invalidFile, "cannot read the key file", number: "PLT-2105", path: path)
    }
    let lines = String(decoding: data, as: UTF8.self).split(separator: "\n").map(String.init)
    guard lines.count == 3, lines[0] == Self.header, let publicBytes = [UInt8](hexadecimal: lines[1]),
      publicBytes.count == 32,
      let secret = [UInt8](hexadecimal: lines[2]), secret.count == 32
    else { throw PlatformError(.invalidFile, "this is not a key file of the platform", number: "PLT-2105", path: path) }
    var text = [CChar](repeating: 0, count: 41)
    var derived = [CChar](repeating: 0, count: 41)
    var check = [UInt8](repeating: 0, count: 32)
    guard zmq_z85_encode(&text, secret, 32) != nil, zmq_curve_public(&derived, text) == 0,
      zmq_z85_decode(&check, derived) != nil, check == publicBytes
    else {
      throw PlatformError(.invalidFile, "the two halves of the key do not belong together", number: "PLT-2105", path: path)
    }
    return CurveKeyPair(publicKey: try CurvePublicKey(bytes: publicBytes), secretKey: secret)
  }

  /// Reads the pair, or makes one when there is no file yet. Two processes that start together end with the same pair.
  public func loadOrCreate() throws -> CurveKeyPair {
    if FileManager.default.fileExists(atPath: path) { return try load() }
    let keys = try CurveKeyPair.generate()
    let folder = (path as NSString).deletingLastPathComponent
    if !folder.isEmpty {
      try FileManager.default.createDirectory(
        atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }
    let text = "\(Self.header)\n\(keys.publicKey)\n\(keys.secretKey.hexadecimal)\n"
    let temporary = "\(path).\(SecureRandom.bytes(8).hexadecimal)"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw PlatformError(.badConfiguration, "cannot write a key file: \(String(cString: strerror(errno)))", path: path)
    }
    let bytes = Array(text.utf8)
    let written = write(descriptor, bytes, bytes.count)
    let synced = fsync(descriptor)
    Foundation.close(descriptor)
    defer { unlink(temporary) }
    guard written == bytes.count, synced == 0 else {
      throw PlatformError(.resourceExhausted, "cannot write the key file", path: path)
    }
    // A hard link fails when somebody was first; theirs is then the pair.
    guard link(temporary, path) == 0 else { return try load() }
    return keys
  }
}

extension [UInt8] {
  /// Bytes from hexadecimal text, or nil when it is not.
  init?(hexadecimal text: String) {
    let digits = Array(text.utf8)
    guard digits.count % 2 == 0 else { return nil }
    func value(_ digit: UInt8) -> UInt8? {
      switch digit {
      case 48...57: digit - 48
      case 97...102: digit - 87
      case 65...70: digit - 55
      default: nil
      }
    }
    self = []
    reserveCapacity(digits.count / 2)
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let high = value(digits[index]), let low = value(digits[index + 1]) else { return nil }
      append(high << 4 | low)
    }
  }
}
