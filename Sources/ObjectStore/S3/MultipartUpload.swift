// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import NIOHTTP1
import Synchronization

/// Writes one large object in parts, several at a time. What fails is aborted, so that no parts stay behind that cost money.
struct MultipartUpload {
  /// The protocol's limit.
  static let partLimit = 10_000

  private let client: S3Client
  private let path: ObjectPath
  private let size: Int
  private let partSize: Int

  init(store: S3ObjectStore, path: ObjectPath, size: Int) {
    client = store.client
    self.path = path
    self.size = size
    partSize = max(client.configuration.partSize, (size + Self.partLimit - 1) / Self.partLimit)
  }

  private func damaged(_ what: String) -> PlatformError {
    PlatformError(.unavailable, "cannot write: the store's answer \(what)", number: "PLT-3403", path: client.name(path))
  }

  /// - Parameter piece: the bytes of a range; called from several threads.
  func run(_ piece: @escaping @Sendable (Range<Int>) throws -> Data) throws {
    let start = try client.send(S3Client.Call(method: .POST, path: path, query: [("uploads", "")], verb: "write"))
    guard let root = try? S3XML.parse(start.body), let upload = root["UploadId"]?.text, !upload.isEmpty, upload.utf8.count <= 4096 else {
      throw damaged("names no upload")
    }
    do {
      let ranges = stride(from: 0, to: size, by: partSize).map { $0..<min($0 + partSize, size) }
      let tags = Mutex<[Int: String]>([:])
      try S3Threads.forEach(ranges.count, atOnce: client.configuration.parallelParts) { index in
        let answer = try client.send(
          S3Client.Call(
            method: .PUT, path: path, query: [("partNumber", String(index + 1)), ("uploadId", upload)], body: piece(ranges[index]), verb: "write"))
        guard let tag = answer.tag, tag.utf8.count <= 200 else { throw damaged("names no part") }
        tags.withLock { $0[index] = tag }
      }
      let parts = tags.withLock { $0 }.sorted { $0.key < $1.key }
      guard parts.count == ranges.count else { throw damaged("names no part") }
      let list = parts.map { "<Part><PartNumber>\($0.key + 1)</PartNumber><ETag>\(S3XML.escape($0.value))</ETag></Part>" }.joined()
      try complete(upload, Data("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\(list)</CompleteMultipartUpload>".utf8))
    } catch {
      // What failed is what matters; a part that stays is removed by the bucket's own rules.
      _ = try? client.send(S3Client.Call(method: .DELETE, path: path, query: [("uploadId", upload)], accepted: [404], verb: "abort the write"))
      throw error
    }
  }

  private func complete(_ upload: String, _ list: Data) throws {
    let call = S3Client.Call(
      method: .POST, path: path, query: [("uploadId", upload)], headers: [("content-type", "application/xml")], body: list, accepted: [404], verb: "write")
    let answer = try client.send(call)
    if answer.status == 404 {
      // Gone: completed by a request whose answer was lost, or aborted by somebody.
      let there = try client.send(S3Client.Call(method: .HEAD, path: path, accepted: [404], verb: "look at"))
      guard answer.mayHaveHappenedBefore, there.status != 404, there.length == size else {
        throw PlatformError(.conflict, "the write was aborted by somebody else", path: client.name(path))
      }
      return
    }
    // Success may turn into an error after the status was sent.
    guard let root = try? S3XML.parse(answer.body) else { throw damaged("to the last part cannot be read") }
    guard root.name == "CompleteMultipartUploadResult" else {
      throw PlatformError(
        .unavailable, "cannot write: \(root["Code"]?.text.prefix(60) ?? "?"): \(root["Message"]?.text.prefix(200) ?? "")", number: "PLT-3403",
        path: client.name(path))
    }
  }
}

/// Threads for the parts of large transfers. Their jobs never wait for one another.
enum S3Threads {
  private static let pool = BlockingPool(name: "s3", threads: 16)

  private struct State {
    var next = 0
    var failure: (any Error)?
  }

  private final class Work: Sendable {
    let state = Mutex(State())
    let group = DispatchGroup()
  }

  /// Runs `body` for 0..<count on at most `atOnce` threads; blocks. After the first error nothing new begins, and it is thrown.
  static func forEach(_ count: Int, atOnce: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
    guard count > 1 else { return try (0..<count).forEach(body) }
    let work = Work()
    let loop: @Sendable () -> Void = {
      while true {
        let index = work.state.withLock { state -> Int? in
          guard state.failure == nil, state.next < count else { return nil }
          state.next += 1
          return state.next - 1
        }
        guard let index else { break }
        do { try body(index) } catch { work.state.withLock { if $0.failure == nil { $0.failure = error } } }
      }
    }
    for _ in 0..<min(atOnce, count) - 1 {
      work.group.enter()
      do {
        try pool.submit {
          loop()
          work.group.leave()
        }
      } catch { work.group.leave() }  // the pool is full: this thread does more
    }
    loop()
    work.group.wait()
    if let failure = work.state.withLock({ $0.failure }) { throw failure }
  }
}
