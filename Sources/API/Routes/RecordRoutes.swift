// SPDX-License-Identifier: Apache-2.0

public import Client
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// One request with records for a table.
public struct RecordPush: Sendable, Equatable {
  /// Of a body, as it comes over the wire.
  public static let byteLimit = 64 << 20

  public var table: String
  public var batchID: String
  /// An Arrow stream; otherwise lines of JSON.
  public var isArrow: Bool
  public var isPacked: Bool
  public var declaredBytes: Int64?
}

/// What the record routes ask of the coordinator.
public protocol RecordServing: Sendable {
  /// - Parameter body: writes the request's body to a path that is given to it, at most so many bytes, and returns how many.
  /// - Returns: when the records are durable.
  func receiveRecords(_ push: RecordPush, by principal: Principal, _ body: @escaping @Sendable (String, Int64) async throws -> Int64) async throws
    -> RecordAnswer
}

extension UnityCatalogRoutes {
  func addRecords(to routes: DescribedRoutes) {
    routes.add(
      .post, "/tables/{name}/records", "Add records to a table; answered when they are durable", query: [.text("batch_id")],
      stream: ["application/x-ndjson", "application/vnd.apache.arrow.stream"]
    ) {
      [service] request, context -> RecordAnswer in
      let push = try RecordPush(request, table: context.name())
      let body = request.body
      return try await service.receiveRecords(push, by: context.principal) { path, limit in
        let file = try await BlockingPool.shared.run { try SpoolFile(path) }
        var count: Int64 = 0
        for try await buffer in body {
          count += Int64(buffer.readableBytes)
          guard count <= limit else { throw RecordPush.tooLarge }
          try await BlockingPool.shared.run { try file.append(Array(buffer.readableBytesView)) }
        }
        return count
      }
    }
  }
}

extension RecordPush {
  static let tooLarge = PlatformError(
    .invalidArgument, "a batch of records takes at most \(byteLimit >> 20) MB", hint: "Send it in several batches, or packed with gzip.", number: "PLT-3122")

  /// - Throws: `invalidArgument` PLT-3122.
  init(_ request: Request, table: String) throws {
    func wrong(_ message: String, _ hint: String) -> PlatformError { PlatformError(.invalidArgument, message, hint: hint, number: "PLT-3122") }
    let type = (request.headers[.contentType] ?? "").split(separator: ";").first.map { $0.trimmingCharacters(in: .whitespaces).lowercased() } ?? ""
    switch type {
    case "application/x-ndjson", "application/ndjson", "application/jsonl": isArrow = false
    case "application/vnd.apache.arrow.stream": isArrow = true
    default:
      throw wrong("records of the type '\(type.prefix(80))' are not taken", "Send Content-Type application/x-ndjson or application/vnd.apache.arrow.stream.")
    }
    switch (request.headers[.contentEncoding] ?? "identity").lowercased() {
    case "identity", "": isPacked = false
    case "gzip": isPacked = true
    case let other: throw wrong("the content encoding '\(other.prefix(40))' is not taken", "Send gzip, or none.")
    }
    let given = request.headers[HTTPField.Name("Idempotency-Key")!] ?? request.query("batch_id")
    if let given {
      guard (1...128).contains(given.utf8.count), given.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
        throw wrong("a batch id has 1 to 128 visible ASCII characters", "For example a UUID, or the name and position of what is sent.")
      }
    }
    batchID = given ?? UUID().uuidString.lowercased()
    declaredBytes = request.headers[.contentLength].flatMap { Int64($0) }
    if let declaredBytes {
      guard declaredBytes <= Int64(Self.byteLimit) else { throw Self.tooLarge }
      guard declaredBytes > 0 else { throw wrong("there are no records in the request", "Send at least one record.") }
    }
    self.table = table
  }
}

/// A new file that takes a body. Not durable: whoever waits for the answer sends the body again.
final class SpoolFile: Sendable {
  private let descriptor: Int32
  private let path: String

  init(_ path: String) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw PlatformError.system("write", path) }
  }

  deinit { close(descriptor) }

  func append(_ bytes: [UInt8]) throws { try WholeWrite.write(bytes, to: descriptor, path) }
}
