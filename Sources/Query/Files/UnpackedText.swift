// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// The bytes of a text file from its beginning to its end, unpacked where it is packed.
final class UnpackedText {
  let path: String
  private let compression: String
  private let descriptor: Int32

  private static let pieceBytes = 1 << 18

  /// - Parameter compression: `none`, `gzip` or `zstd`.
  init(_ path: String, compression: String) throws {
    self.path = path
    self.compression = compression
    descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw PlatformError.system("open", path) }
  }

  deinit { close(descriptor) }

  /// Whether everything has to be seen before anything can be relied on: checksums come last.
  var isPacked: Bool { compression != "none" }

  /// Calls `body` with one piece after the other, and the position of its first byte in the text.
  /// - Parameters:
  ///   - start: a position before which nothing is needed. Of packed files the pieces begin at their beginning nevertheless.
  ///   - body: false: that is enough.
  /// - Throws: `PackedDamage`; what keeps the file from being read.
  func forEach(from start: Int64 = 0, _ body: (UnsafeBufferPointer<UInt8>, Int64) throws -> Bool) throws {
    var position = isPacked ? 0 : start
    func take(_ piece: UnsafeBufferPointer<UInt8>) throws -> Bool {
      defer { position += Int64(piece.count) }
      return try body(piece, position)
    }
    switch compression {
    case "gzip": try GzipReader.pieces(descriptor, take)
    case "zstd": try ZstdReader.pieces(descriptor, take)
    default:
      var bytes = [UInt8](repeating: 0, count: Self.pieceBytes)
      while true {
        let got = pread(descriptor, &bytes, bytes.count, off_t(position))
        guard got >= 0 else { throw PlatformError.system("read", path) }
        guard got > 0, try bytes.withUnsafeBufferPointer({ try take(UnsafeBufferPointer(rebasing: $0[..<got])) }) else { return }
      }
    }
  }

  /// The first bytes.
  func prefix(_ count: Int) throws -> [UInt8] {
    var head: [UInt8] = []
    try forEach { piece, _ in
      head += piece.prefix(count - head.count)
      return head.count < count
    }
    return head
  }

  /// All bytes; nil for more than `limit`.
  func whole(limit: Int) throws -> [UInt8]? {
    var all: [UInt8] = []
    try forEach { piece, _ in
      all += piece
      return all.count <= limit
    }
    return all.count <= limit ? all : nil
  }
}

/// A packed file that cannot be unpacked.
struct PackedDamage: Error {
  /// How it is packed.
  var packing: String
  /// The byte of the file at which unpacking came to its end.
  var offset: Int64
  /// What is wrong there, when more is known.
  var detail = ""

  var reason: String { "damaged \(packing) at byte \(offset)" + (detail.isEmpty ? "" : ": \(detail)") }
}
