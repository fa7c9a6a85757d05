// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension TablesCommand {
  struct Append: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Add records to a table; each piece is durable before the next is sent.",
      discussion: """
        The file holds one JSON object a line (.ndjson, .jsonl, .json), or is an Arrow stream (.arrow, .arrows); with .gz it is packed.
        Lines are sent in pieces of 8 MB with the batch ids ID/1, ID/2, ..; the same file under the same --batch-id adds nothing twice.

        EXAMPLES
          platform tables append main.demo.events events.ndjson
          platform tables append main.demo.events events.ndjson --batch-id day-17
          generate | platform tables append main.demo.events -
        """)
    @Argument(help: "catalog.schema.table") var name: String
    @Argument(help: "The file; - is standard input.") var file: String
    @Option(help: "Under which identifier the batches are sent; otherwise a new one.") var batchID: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let id = batchID ?? UUID().uuidString.lowercased()
      let client = try options.client()
      var input = try RecordInput(file)
      var pieces = 0
      var rows: Int64 = 0
      var replayed = 0
      var last: RecordAnswer?
      var lines = 0
      while let piece = try input.next() {
        pieces += 1
        let answer: RecordAnswer
        do {
          answer = try await RecordInput.push(piece, type: input.type, isPacked: input.isPacked, to: name, batchID: "\(id)/\(pieces)", client)
        } catch var error as PlatformError where error.line != nil && lines > 0 {
          error.message = "from record \(lines + 1) on, " + error.message
          error.line = error.line.map { $0 + lines }
          throw error
        }
        lines += piece.reduce(0) { $0 + ($1 == UInt8(ascii: "\n") ? 1 : 0) }
        rows += answer.rows
        if answer.replayed { replayed += 1 }
        last = answer
      }
      guard let last else { throw PlatformError(.invalidArgument, "\(file) holds no records", number: "PLT-3122") }
      if options.output.isStructured {
        return try Report.structured(
          [
            "table": .string(last.table), "batch_id": .string(id), "batches": .integer(Int64(pieces)), "rows": .integer(rows),
            "version": .integer(last.version),
            "replayed": .integer(Int64(replayed)),
          ] as JSONValue, options.output)
      }
      let known = replayed == 0 ? "" : ", \(replayed) of them there already"
      Report.note("\(Report.check) \(last.table): \(rows) rows in \(pieces) batch\(pieces == 1 ? "" : "es")\(known), version \(last.version)")
    }
  }
}

/// Records in a file or on standard input, in pieces that end with a line.
struct RecordInput {
  static let pieceBytes = 8 << 20
  private static let limit = 64 << 20

  let type: String
  let isPacked: Bool
  /// An Arrow stream and packed lines go as they are.
  private let isWhole: Bool
  private let handle: FileHandle
  private var rest = Data()
  private var isDone = false

  init(_ file: String) throws {
    var name = file.lowercased()
    isPacked = name.hasSuffix(".gz")
    if isPacked { name.removeLast(3) }
    let isArrow = name.hasSuffix(".arrow") || name.hasSuffix(".arrows")
    type = isArrow ? "application/vnd.apache.arrow.stream" : "application/x-ndjson"
    isWhole = isArrow || isPacked
    guard file != "-" else {
      handle = .standardInput
      return
    }
    guard let opened = FileHandle(forReadingAtPath: file) else { throw PlatformError(.notFound, "there is no file '\(file)'", path: file) }
    handle = opened
  }

  /// - Throws: `invalidArgument` for what does not fit one batch and cannot be cut.
  mutating func next() throws -> Data? {
    while !isDone, rest.count <= (isWhole ? Self.limit : Self.pieceBytes) {
      guard let more = try handle.read(upToCount: 1 << 20), !more.isEmpty else {
        isDone = true
        break
      }
      rest.append(more)
    }
    guard !rest.isEmpty else { return nil }
    if isWhole {
      defer { rest = Data() }
      guard rest.count <= Self.limit else {
        throw PlatformError(
          .invalidArgument, "the file is larger than 64 MB and cannot be cut", hint: "Send lines of JSON that are not packed.", number: "PLT-3122")
      }
      return rest
    }
    // Where a piece ends hangs on the text alone and not on how it comes: sent again, the same identifiers stand for the same lines.
    let newline = UInt8(ascii: "\n")
    var end = rest.count
    if rest.count > Self.pieceBytes {
      if let last = rest[..<Self.pieceBytes].lastIndex(of: newline) {
        end = last + 1
      } else {
        // One long line.
        var seen = Self.pieceBytes
        while true {
          if let first = rest[seen...].firstIndex(of: newline) {
            end = first + 1
            break
          }
          seen = rest.count
          guard rest.count <= Self.limit, let more = try handle.read(upToCount: 1 << 20), !more.isEmpty else {
            end = rest.count
            break
          }
          rest.append(more)
        }
      }
    }
    let piece = Data(rest[..<end])
    rest = Data(rest[end...])
    return piece
  }

  /// Sends a piece, again under the same identifier while the coordinator is busy or away.
  static func push(_ piece: Data, type: String, isPacked: Bool, to table: String, batchID: String, _ client: PlatformClient) async throws -> RecordAnswer {
    let deadline = ContinuousClock.now + .seconds(120)
    while true {
      do {
        return try await client.push(piece, type: type, isPacked: isPacked, to: table, batchID: batchID)
      } catch let error as PlatformError where error.isRetryable && ContinuousClock.now < deadline {
        try await Task.sleep(for: .milliseconds(500))
      }
    }
  }
}
