// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// Where a query's rows go, and in which form.
public struct StatementOutput: Codable, Sendable, Hashable {
  /// The forms in which rows are handed out.
  public enum Format: String, Codable, Sendable, CaseIterable {
    case jsonArray = "JSON_ARRAY"
    case arrowStream = "ARROW_STREAM"
    case csv = "CSV"
  }

  public var format: Format
  /// Absolute folder that takes the chunks of a result that is not answered inline; made when needed.
  public var directory: String
  /// Results up to this size travel inside the answer; larger ones, and all when it is 0, are written as files.
  public var inlineBytes: Int
  /// A chunk is closed when it has reached this size.
  public var chunkBytes: Int

  public init(format: Format = .jsonArray, directory: String, inlineBytes: Int = 256 << 10, chunkBytes: Int = 4 << 20) {
    self.format = format
    self.directory = directory
    self.inlineBytes = inlineBytes
    self.chunkBytes = chunkBytes
  }
}

/// What a statement executor is asked to do.
public struct StatementOrder: Codable, Sendable {
  public var spec: StatementSpec
  /// nil: a query's rows are in the answer's `result`.
  public var output: StatementOutput?
  /// What opens the places in buckets that the statement reads or writes; only in memory and on encrypted links.
  public var keys: [StorageKeys]?
  /// How to reach the Postgres that the statement reads, with the password; as secret as `keys`.
  public var connectionString: String?
  public init(spec: StatementSpec, output: StatementOutput?) {
    self.spec = spec
    self.output = output
  }
}

/// What a statement executor answers: a head, and the rows of a small result as they go to the client.
///
/// On the wire: the head's length (u32, little-endian), the head, the rows. The head is JSON, or for what a query gives, which is most
/// of the answers, an `AnswerHead`.
public struct StatementAnswer: Sendable {
  public struct Chunk: Codable, Sendable, Hashable {
    public var rows: Int64
    public var bytes: Int64
    public init(rows: Int64, bytes: Int64) {
      self.rows = rows
      self.bytes = bytes
    }
  }

  private struct Head: Codable {
    var result: StatementResult
    var chunks: [Chunk]
    var isStored: Bool
  }

  /// Without rows, unless the order had no output.
  public var result: StatementResult
  public var chunks: [Chunk]
  /// Whether the chunks lie as `0`, `1`, .. in the order's folder; otherwise `rows` is the only one.
  public var isStored: Bool
  public var rows: Data

  public init(result: StatementResult, chunks: [Chunk] = [], isStored: Bool = false, rows: Data = Data()) {
    self.result = result
    self.chunks = chunks
    self.isStored = isStored
    self.rows = rows
  }

  public func encoded() throws -> Data {
    let head = try AnswerHead(self)?.encoded ?? JSONEncoder.platform.encode(Head(result: result, chunks: chunks, isStored: isStored))
    var out = Data(capacity: 4 + head.count + rows.count)
    withUnsafeBytes(of: UInt32(head.count).littleEndian) { out.append(contentsOf: $0) }
    out.append(head)
    out.append(rows)
    return out
  }

  /// - Throws: `internalError` for what is no answer.
  public init(decoding data: Data) throws {
    let data = data.startIndex == 0 ? data : Data(data)
    guard data.count >= 4 else { throw PlatformError(.internalError, "a statement's answer is cut off") }
    let length = data.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= data.count - 4 else { throw PlatformError(.internalError, "a statement's answer is cut off") }
    if let head = try AnswerHead(decoding: data[4..<4 + length]) {
      self.init(result: head.result, chunks: head.chunks, isStored: head.isStored, rows: data[(4 + length)...])
      return
    }
    do {
      let head = try JSONDecoder.platform.decode(Head.self, from: data[4..<4 + length])
      self.init(result: head.result, chunks: head.chunks, isStored: head.isStored, rows: data[(4 + length)...])
    } catch {
      throw PlatformError(.internalError, "a statement's answer cannot be read: \(JSONValue.reason(error))")
    }
  }
}
