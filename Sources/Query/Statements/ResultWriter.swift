// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

/// Turns the engine's rows into chunks of the form that was asked for. Small results stay in memory, others become files.
struct ResultWriter {
  private let output: StatementOutput
  private let limits: StatementSpec.Limits
  private let columns: [Column]
  private var buffer: [UInt8] = []
  private var rowsInChunk: Int64 = 0
  private var rowCount: Int64 = 0
  private var byteCount = 0
  private var chunks: [StatementAnswer.Chunk] = []
  private var isTruncated = false
  private let arrow: ArrowStreamEncoder?

  /// - Parameter columns: with the types that the stream has, so that values of other types are texts.
  init(_ output: StatementOutput, limits: StatementSpec.Limits, columns: [Column]) {
    self.output = output
    self.limits = limits
    self.columns = columns
    arrow = output.format == .arrowStream ? ArrowStreamEncoder(columns) : nil
  }

  /// Reads the stream to its end, or to a limit.
  mutating func write(_ stream: ResultStream) throws {
    while !isTruncated, let chunk = try stream.next() {
      let vectors = (0..<chunk.columnCount).map { chunk.column($0) }
      if let arrow {
        try append(chunk, vectors, arrow)
      } else {
        for row in 0..<chunk.count {
          guard fits() else { break }
          begin()
          output.format == .csv ? appendCSV(vectors, row) : appendJSON(vectors, row)
          rowsInChunk += 1
          rowCount += 1
          if buffer.count >= output.chunkBytes { try close() }
        }
      }
    }
  }

  private mutating func append(_ chunk: DataChunk, _ vectors: [ColumnVector], _ arrow: ArrowStreamEncoder) throws {
    guard fits() else { return }
    let count = min(chunk.count, limits.rows - Int(rowCount))
    if rowsInChunk == 0 { arrow.appendSchema(to: &buffer) }
    try arrow.appendBatch(vectors, rows: count, to: &buffer)
    rowsInChunk += Int64(count)
    rowCount += Int64(count)
    if count < chunk.count { isTruncated = true }
    if buffer.count >= output.chunkBytes { try close() }
  }

  private mutating func fits() -> Bool {
    if rowCount >= limits.rows || byteCount + buffer.count >= limits.bytes { isTruncated = true }
    return !isTruncated
  }

  private mutating func begin() {
    switch output.format {
    case .jsonArray: buffer.append(rowsInChunk == 0 ? UInt8(ascii: "[") : UInt8(ascii: ","))
    case .csv where rowCount == 0:
      // Only the first chunk names the columns.
      for (index, column) in columns.enumerated() {
        if index > 0 { buffer.append(UInt8(ascii: ",")) }
        ResultText.appendCSV(column.name, to: &buffer)
      }
      buffer += [13, 10]
    default: break
    }
  }

  private mutating func appendJSON(_ vectors: [ColumnVector], _ row: Int) {
    buffer.append(UInt8(ascii: "["))
    for index in vectors.indices {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      ResultText.appendJSON(vectors[index], row, to: &buffer)
    }
    buffer.append(UInt8(ascii: "]"))
  }

  private mutating func appendCSV(_ vectors: [ColumnVector], _ row: Int) {
    for index in vectors.indices {
      if index > 0 { buffer.append(UInt8(ascii: ",")) }
      ResultText.appendCSV(vectors[index].isNull(row) ? "null" : ResultText.text(vectors[index], row), to: &buffer)
    }
    buffer += [13, 10]
  }

  /// Ends the chunk that is being filled and writes it to its file.
  private mutating func close() throws {
    finishChunk()
    if chunks.isEmpty {
      do {
        try FileManager.default.createDirectory(
          atPath: output.directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
      } catch { throw PlatformError(.permissionDenied, "cannot create the folder for a result", path: output.directory) }
    }
    let path = output.directory + "/\(chunks.count)"
    do {
      try Data(buffer).write(to: URL(fileURLWithPath: path))
    } catch let error as CocoaError where error.code == .fileWriteOutOfSpace {
      throw PlatformError.diskFull("the result does not fit the disk")
    } catch { throw PlatformError(.permissionDenied, "cannot write a part of the result: \(error.localizedDescription)", path: path) }
    chunks.append(.init(rows: rowsInChunk, bytes: Int64(buffer.count)))
    byteCount += buffer.count
    buffer.removeAll(keepingCapacity: true)
    rowsInChunk = 0
  }

  private mutating func finishChunk() {
    switch output.format {
    case .jsonArray: buffer.append(UInt8(ascii: "]"))
    case .arrowStream: arrow?.appendEnd(to: &buffer)
    case .csv: break
    }
  }

  /// The whole answer; the last chunk is written, or travels along.
  /// - Parameter shown: columns of the statement.
  mutating func finish(_ shown: [Column]) throws -> StatementAnswer {
    var answer = StatementAnswer(
      result: StatementResult(columns: shown, rows: [], isTruncated: isTruncated, files: [], rowCount: rowCount))
    if chunks.isEmpty && (rowsInChunk == 0 || buffer.count <= output.inlineBytes) {
      guard rowsInChunk > 0 else { return answer }
      finishChunk()
      answer.chunks = [.init(rows: rowsInChunk, bytes: Int64(buffer.count))]
      answer.rows = Data(buffer)
      return answer
    }
    if rowsInChunk > 0 { try close() }
    answer.chunks = chunks
    answer.isStored = true
    return answer
  }
}

/// Values as the text that JSON and CSV results hold: every cell is a string or NULL.
enum ResultText {
  private static let hexadecimal = Array("0123456789abcdef".utf8)

  /// A string or `null`.
  static func appendJSON(_ vector: ColumnVector, _ row: Int, to out: inout [UInt8]) {
    if vector.isNull(row) { return out += Array("null".utf8) }
    switch vector.type {
    case .varchar: vector.withBytes(row) { appendString($0, to: &out) }
    case .tinyint, .smallint, .integer, .bigint:
      out.append(UInt8(ascii: "\""))
      appendInteger(vector.int64(row), to: &out)
      out.append(UInt8(ascii: "\""))
    default:
      var text = text(vector, row)
      text.withUTF8 { appendString($0, to: &out) }
    }
  }

  private static func appendInteger(_ value: Int64, to out: inout [UInt8]) {
    var rest = value.magnitude
    let start = out.count
    repeat {
      out.append(UInt8(48 + rest % 10))
      rest /= 10
    } while rest > 0
    if value < 0 { out.append(UInt8(ascii: "-")) }
    out[start...].reverse()
  }

  /// Quotes and escapes (RFC 8259). The engine's texts are UTF-8.
  static func appendString(_ bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    var start = 0
    for index in bytes.indices {
      let byte = bytes[index]
      guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
      out.append(contentsOf: bytes[start..<index])
      start = index + 1
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
      case 10: out += Array("\\n".utf8)
      case 13: out += Array("\\r".utf8)
      case 9: out += Array("\\t".utf8)
      default: out += Array("\\u00".utf8) + [hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
      }
    }
    out.append(contentsOf: bytes[start...])
    out.append(UInt8(ascii: "\""))
  }

  /// RFC 4180: quoted when it holds a comma, a quote or a line break.
  static func appendCSV(_ text: String, to out: inout [UInt8]) {
    guard text.utf8.contains(where: { [34, 44, 10, 13].contains($0) }) else { return out += Array(text.utf8) }
    out.append(34)
    for byte in text.utf8 {
      if byte == 34 { out.append(34) }
      out.append(byte)
    }
    out.append(34)
  }

  /// A value that is not NULL.
  static func text(_ vector: ColumnVector, _ row: Int) -> String { text(vector.value(row), vector.type) }

  private static func text(_ value: SQLValue, _ type: SQLType) -> String {
    switch value {
    case .null: "null"
    case .bool(let flag): flag ? "true" : "false"
    case .int(let number): String(number)
    case .double(let number): number.isNaN ? "NaN" : number.isInfinite ? (number > 0 ? "Infinity" : "-Infinity") : number.description
    case .string(let text), .decimal(let text): text
    case .blob(let bytes): Data(bytes).base64EncodedString()
    case .date(let days): SQLTime.date(days: days)
    // Without a zone: no instant.
    case .timestamp(let micros): SQLTime.timestamp(micros: micros, hasZone: type != .timestamp)
    case .floats, .list, .structure: json(value, type)
    }
  }

  /// Nested values are JSON, their members in the type's order.
  private static func json(_ value: SQLValue, _ type: SQLType) -> String {
    switch (value, type) {
    case (.list(let items), .map(let key, let item)):
      let members = items.map { entry in
        guard case .structure(let pair) = entry else { return "" }
        return quoted(text(pair["key"] ?? .null, key)) + ":" + json(pair["value"] ?? .null, item)
      }
      return "{" + members.joined(separator: ",") + "}"
    case (.list(let items), .list(let item)), (.list(let items), .array(let item, _)):
      return "[" + items.map { json($0, item) }.joined(separator: ",") + "]"
    case (.structure(let members), .structure(let fields)):
      return "{" + fields.map { quoted($0.name) + ":" + json(members[$0.name] ?? .null, $0.type) }.joined(separator: ",") + "}"
    case (.string, _), (.blob, _), (.date, _), (.timestamp, _): return quoted(text(value, type))
    case (.decimal(let text), _): return text
    default: return value.json.sortedText
    }
  }

  private static func quoted(_ text: String) -> String {
    var out: [UInt8] = []
    var text = text
    text.withUTF8 { appendString($0, to: &out) }
    return String(decoding: out, as: UTF8.self)
  }
}
