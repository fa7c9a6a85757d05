// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// What an answer says of a query's rows, in few bytes. Everything little-endian:
///
///     1                                    (u8; JSON begins otherwise)
///     flags                                (u8: 1 truncated, 2 stored)
///     rows                                 (i64)
///     number of chunks                     (u32), of each: rows, bytes (i64 each)
///     number of columns                    (u32), of each: name, type (a text each: u32 length, UTF-8)
struct AnswerHead {
  static let mark: UInt8 = 1

  let result: StatementResult
  let chunks: [StatementAnswer.Chunk]
  let isStored: Bool

  /// Nil for answers that hold more than that.
  init?(_ answer: StatementAnswer) {
    let result = answer.result
    let plain = StatementResult(columns: result.columns, rows: [], isTruncated: result.isTruncated, files: [], rowCount: result.rowCount)
    guard result == plain else { return nil }
    self.result = result
    chunks = answer.chunks
    isStored = answer.isStored
  }

  var encoded: Data {
    var out: [UInt8] = []
    out.reserveCapacity(64 + 16 * chunks.count + 32 * result.columns.count)
    func add(_ value: some FixedWidthInteger) { withUnsafeBytes(of: value.littleEndian) { out.append(contentsOf: $0) } }
    func add(_ text: String) {
      add(UInt32(text.utf8.count))
      out.append(contentsOf: text.utf8)
    }
    add(Self.mark)
    add(UInt8(result.isTruncated ? 1 : 0) | UInt8(isStored ? 2 : 0))
    add(result.rowCount)
    add(UInt32(chunks.count))
    for chunk in chunks {
      add(chunk.rows)
      add(chunk.bytes)
    }
    add(UInt32(result.columns.count))
    for column in result.columns {
      add(column.name)
      add(column.type.sql)
    }
    return Data(out)
  }

  /// Nil for a head of the other form.
  /// - Throws: `internalError` for a damaged one.
  init?(decoding data: Data) throws {
    guard data.first == Self.mark else { return nil }
    var reader = Reader(bytes: [UInt8](data))
    let flags: UInt8 = try reader.number(after: 1)
    let rowCount: Int64 = try reader.number()
    let chunkCount: UInt32 = try reader.number()
    guard Int(chunkCount) * 16 <= reader.rest else { throw Reader.damaged }
    chunks = try (0..<chunkCount).map { _ in .init(rows: try reader.number(), bytes: try reader.number()) }
    let columnCount: UInt32 = try reader.number()
    guard Int(columnCount) * 8 <= reader.rest else { throw Reader.damaged }
    let columns = try (0..<columnCount).map { _ in Column(try reader.text(), try SQLType(sql: reader.text())) }
    guard reader.rest == 0 else { throw Reader.damaged }
    result = StatementResult(columns: columns, rows: [], isTruncated: flags & 1 != 0, files: [], rowCount: rowCount)
    isStored = flags & 2 != 0
  }

  private struct Reader {
    static let damaged = PlatformError(.internalError, "a statement's answer cannot be read")
    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    var rest: Int { bytes.count - at }

    mutating func number<T: FixedWidthInteger>(after skipped: Int = 0) throws -> T {
      at += skipped
      let size = MemoryLayout<T>.size
      guard rest >= size else { throw Self.damaged }
      defer { at += size }
      return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: T.self)) }
    }

    mutating func text() throws -> String {
      let length = Int(try number() as UInt32)
      guard length <= rest else { throw Self.damaged }
      defer { at += length }
      return String(decoding: bytes[at..<at + length], as: UTF8.self)
    }
  }
}
