// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// What a found row means to people.
public struct VectorPayload: Sendable, Equatable, Codable {
  public var chunkID: String
  /// The document that the chunk was cut from.
  public var path: String
  public var text: String

  public init(chunkID: String, path: String, text: String) {
    self.chunkID = chunkID
    self.path = path
    self.text = text
  }
}

/// The file format of payloads, all integers little-endian:
/// "PLTPAY01"; the rows, each three strings of u32 byte count and UTF-8; u64 offsets of the rows and of their end
/// (count + 1); u64 offset of the offsets; u64 count; "PLTPAY01".
enum PayloadFormat {
  static let magic = Array("PLTPAY01".utf8)
  static let footerCount = 24
}

/// Writes payloads row after row. Memory holds 8 bytes a row and a megabyte.
final class PayloadWriter {
  private let path: String
  private let descriptor: Int32
  private var buffer: [UInt8] = PayloadFormat.magic
  private var position = UInt64(PayloadFormat.magic.count)
  private var offsets: [UInt64] = []
  private var isOpen = true

  init(path: String) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.failure("creating", path) }
  }

  deinit { if isOpen { close(descriptor) } }

  func add(_ payload: VectorPayload) throws {
    offsets.append(position)
    for text in [payload.chunkID, payload.path, payload.text] {
      let bytes = text.utf8
      guard let count = UInt32(exactly: bytes.count) else {
        throw PlatformError(.invalidArgument, "a text of \(bytes.count) bytes is too long for the index")
      }
      withUnsafeBytes(of: count.littleEndian) { buffer.append(contentsOf: $0) }
      buffer.append(contentsOf: bytes)
      position += 4 + UInt64(count)
    }
    if buffer.count >= 1 << 20 { try flush() }
  }

  func finish() throws {
    for value in offsets + [position, position, UInt64(offsets.count)] {
      withUnsafeBytes(of: value.littleEndian) { buffer.append(contentsOf: $0) }
    }
    buffer.append(contentsOf: PayloadFormat.magic)
    try flush()
    guard fsync(descriptor) == 0 else { throw Self.failure("syncing", path) }
    isOpen = false
    close(descriptor)
  }

  private func flush() throws {
    var done = 0
    while done < buffer.count {
      let count = buffer.withUnsafeBytes { bytes in
        bytes.baseAddress.map { write(descriptor, $0 + done, bytes.count - done) } ?? 0
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.failure("writing", path)
      }
      done += count
    }
    buffer.removeAll(keepingCapacity: true)
  }

  static func failure(_ action: String, _ path: String) -> PlatformError {
    PlatformError.system("go on \(action)", path)
  }
}

/// Payloads by row, read from a mapped file. Usable from any number of threads.
public final class PayloadStore: @unchecked Sendable {  // a read-only mapping, immutable after init
  public let count: Int
  private let path: String
  private let bytes: Data
  private let tableStart: Int

  /// - Throws: `notFound`, or `invalidFile` (PLT-4602) when the file is truncated or not a payload file.
  public init(path: String) throws {
    guard FileManager.default.fileExists(atPath: path) else {
      throw PlatformError(.notFound, "no such file", number: "PLT-4602", path: path)
    }
    let bytes: Data
    do {
      bytes = try Data(contentsOf: URL(fileURLWithPath: path), options: .alwaysMapped)
    } catch {
      throw PlatformError(.invalidFile, "cannot be mapped: \(error.localizedDescription)", number: "PLT-4602", path: path)
    }
    self.path = path
    self.bytes = bytes
    let magic = PayloadFormat.magic
    let smallest = magic.count + 8 + PayloadFormat.footerCount
    guard bytes.count >= smallest, bytes.prefix(magic.count).elementsEqual(magic),
      bytes.suffix(magic.count).elementsEqual(magic)
    else { throw Self.bad("not a complete payload file", path) }
    let footer = bytes.count - PayloadFormat.footerCount
    guard let table = Int(exactly: Self.word(bytes, footer)), let rows = Int(exactly: Self.word(bytes, footer + 8)),
      table >= magic.count, table <= footer, (footer - table) % 8 == 0, (footer - table) / 8 - 1 == rows
    else { throw Self.bad("payload table does not fit the file", path) }
    tableStart = table
    count = rows
  }

  /// - Throws: `invalidArgument` for a row that is not there, `invalidFile` when the row's bytes are damaged.
  public func payload(_ row: Int) throws -> VectorPayload {
    guard row >= 0, row < count else { throw PlatformError(.invalidArgument, "row \(row) of \(count) does not exist") }
    guard var position = Int(exactly: Self.word(bytes, tableStart + 8 * row)),
      let end = Int(exactly: Self.word(bytes, tableStart + 8 * row + 8)), position >= 8, position <= end, end <= tableStart
    else { throw Self.bad("row \(row) lies outside the file", path) }
    func text() throws -> String {
      guard end - position >= 4 else { throw Self.bad("row \(row) is damaged", path) }
      let length = bytes.withUnsafeBytes {
        Int(UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: position, as: UInt32.self)))
      }
      position += 4
      guard length <= end - position else { throw Self.bad("row \(row) is damaged", path) }
      defer { position += length }
      return bytes.withUnsafeBytes { String(decoding: $0[position..<position + length], as: UTF8.self) }
    }
    return VectorPayload(chunkID: try text(), path: try text(), text: try text())
  }

  private static func word(_ bytes: Data, _ offset: Int) -> UInt64 {
    bytes.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self)) }
  }

  private static func bad(_ message: String, _ path: String) -> PlatformError {
    PlatformError(.invalidFile, message, hint: "Build the index again.", number: "PLT-4602", path: path)
  }
}
