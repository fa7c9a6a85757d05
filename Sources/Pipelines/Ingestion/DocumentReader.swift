// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Query

/// Reads one file as text, or says why it is no text.
enum DocumentReader {
  /// Why a file goes to quarantine. The raw value is stored in the table.
  enum Problem: String, Error, CaseIterable {
    case unreadable = "unreadable"
    case notRegular = "not a regular file"
    case tooLarge = "too large"
    case damagedArchive = "damaged gzip"
    case binary = "binary"
    case notUTF8 = "not UTF-8"
    case noText = "no text"
  }

  struct Document {
    var content: String
    /// Of the bytes on disk.
    var sha256: String
    var sizeBytes: Int64
  }

  /// Bytes that are no UTF-8, of all bytes, that are still repaired (to U+FFFD) rather than refused.
  static let repairableShare = 0.01

  static func read(_ file: IngestFile, maximumBytes: Int64) throws -> Document {
    var data = try bytes(file.path, maximumBytes: maximumBytes)
    let size = Int64(data.count)
    let digest = SHA256Digest.hex(data)
    if file.packed {
      do {
        data = try GzipReader.unpack(data, limit: Int(maximumBytes))
      } catch GzipReader.Failure.damaged {
        throw Problem.damagedArchive
      } catch GzipReader.Failure.tooLarge {
        throw Problem.tooLarge
      }
    }
    let text = try decode(data)
    let content: String
    switch file.kind {
    case .plain: content = text
    case .html: content = HTMLText.extract(Array(text.utf8))
    case .manual: content = ManualPageText.extract(text)
    }
    guard content.utf8.contains(where: { $0 > 0x20 }) else { throw Problem.noText }
    return Document(content: content, sha256: digest, sizeBytes: size)
  }

  /// The file's bytes; a file that is replaced by a pipe or device between planning and reading is not opened for long.
  private static func bytes(_ path: String, maximumBytes: Int64) throws -> Data {
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { throw Problem.unreadable }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw Problem.unreadable }
    guard info.st_mode & S_IFMT == S_IFREG else { throw Problem.notRegular }
    guard Int64(info.st_size) <= maximumBytes else { throw Problem.tooLarge }
    var out = Data(capacity: Int(info.st_size))
    var piece = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let got = Glibc.read(descriptor, &piece, piece.count)
      if got < 0 && errno == EINTR { continue }
      guard got >= 0 else { throw Problem.unreadable }
      if got == 0 { return out }
      out.append(contentsOf: piece[..<got])
      guard Int64(out.count) <= maximumBytes else { throw Problem.tooLarge }
    }
  }

  /// UTF-8 without its byte order mark. A few bad bytes are repaired; NUL bytes mean a binary file.
  static func decode(_ data: Data) throws -> String {
    var data = data
    if data.starts(with: [0xEF, 0xBB, 0xBF]) { data = Data(data.dropFirst(3)) }
    let hasNull = data.withUnsafeBytes { raw in raw.baseAddress.map { memchr($0, 0, raw.count) != nil } ?? false }
    guard !hasNull else { throw Problem.binary }
    if let text = String(validating: data, as: UTF8.self) { return text }
    let text = String(decoding: data, as: UTF8.self)
    var bad = 0
    let bytes = Array(text.utf8)
    var index = 0
    while index + 2 < bytes.count {
      if bytes[index] == 0xEF, bytes[index + 1] == 0xBF, bytes[index + 2] == 0xBD { bad += 1 }
      index += 1
    }
    guard Double(bad) <= repairableShare * Double(data.count) else { throw Problem.notUTF8 }
    return text
  }
}
