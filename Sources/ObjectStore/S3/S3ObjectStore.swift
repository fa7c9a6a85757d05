// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import NIOHTTP1
import Synchronization

/// Objects in a bucket of Amazon S3, or of a store that speaks its protocol.
///
/// Calls block (see `ObjectStorage`); each has a deadline, and is repeated with growing, jittered pauses when the store is
/// busy or the connection breaks. A conditional write that is answered "exists" after a repetition is compared with a mark
/// that each write carries, so that a lost answer is not taken for a lost race.
public final class S3ObjectStore: ObjectStorage {
  let client: S3Client
  /// Whether `If-None-Match: *` works; nil until it was tried.
  private let hasConditionalWrites = Mutex<Bool?>(nil)
  /// Metadata that tells one write from another.
  static let mark = "x-amz-meta-platform-write"

  /// - Throws: `badConfiguration` for an endpoint that cannot be used.
  public init(_ configuration: S3Configuration) throws {
    guard configuration.partSize > 0, configuration.parallelParts > 0, configuration.attempts > 0 else {
      throw PlatformError(.badConfiguration, "sizes and counts of an S3 store are above 0", number: "PLT-3402")
    }
    client = try S3Client(configuration)
  }

  public var configuration: S3Configuration { client.configuration }
  public var concurrentReads: Int { 16 }

  /// A URL by which anybody can do `method` with the object for `lifetime` seconds (at most seven days).
  /// - Throws: `invalidArgument` for another lifetime.
  public func presignedURL(_ method: String, _ path: ObjectPath, lifetime: Int) throws -> String {
    guard (1...604_800).contains(lifetime) else { throw PlatformError(.invalidArgument, "a URL lives from one second to seven days") }
    return client.presigned(method, path, lifetime: lifetime)
  }

  // MARK: Reading

  public func get(_ path: ObjectPath) throws -> Data {
    try client.send(S3Client.Call(method: .GET, path: path, answerLimit: Int(UInt32.max) - 1, verb: "read")).body
  }

  public func get(_ path: ObjectPath, range: Range<Int>) throws -> Data {
    guard range.lowerBound >= 0 else { throw PlatformError(.invalidArgument, "a range starts at 0 or later", path: client.name(path)) }
    guard !range.isEmpty else {
      guard let info = try head(path) else { throw PlatformError(.notFound, "object not found", path: client.name(path)) }
      guard range.lowerBound <= info.size else { throw behindTheEnd(path) }
      return Data()
    }
    return try read(path, range, tag: nil) ?? Data()
  }

  public func get(_ path: ObjectPath, range: Range<Int>, tag: String?) throws -> Data? {
    guard let tag, range.lowerBound >= 0, !range.isEmpty else { return try get(path, range: range) }
    return try read(path, range, tag: tag)
  }

  private func behindTheEnd(_ path: ObjectPath) -> PlatformError {
    PlatformError(.invalidArgument, "the range starts behind the end of the object", path: client.name(path))
  }

  /// nil when the object is no longer the one that has `tag`.
  private func read(_ path: ObjectPath, _ range: Range<Int>, tag: String?) throws -> Data? {
    var call = S3Client.Call(method: .GET, path: path, answerLimit: Int(UInt32.max) - 1, verb: "read")
    call.headers = [("range", "bytes=\(range.lowerBound)-\(range.upperBound - 1)")]
    call.accepted = [416]
    if let tag {
      call.headers.append(("if-match", tag))
      call.accepted.insert(412)
    }
    let answer = try client.send(call)
    switch answer.status {
    case 412: return nil
    case 416:
      guard let info = try head(path) else { throw PlatformError(.notFound, "object not found", path: client.name(path)) }
      guard range.lowerBound <= info.size else { throw behindTheEnd(path) }
      return Data()
    case 206:
      guard answer.body.count <= range.count, answer.headers.first(name: "content-range")?.hasPrefix("bytes \(range.lowerBound)-") == true else {
        throw PlatformError(.unavailable, "the store answered with another range than was asked for", path: client.name(path))
      }
      return answer.body
    default:
      // The whole object: a store may ignore ranges.
      guard range.lowerBound <= answer.body.count else { throw behindTheEnd(path) }
      return answer.body.subdata(in: range.lowerBound..<min(range.upperBound, answer.body.count))
    }
  }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? {
    let answer = try client.send(S3Client.Call(method: .HEAD, path: path, accepted: [404], verb: "look at"))
    guard answer.status != 404 else { return nil }
    guard let size = answer.length, size >= 0 else {
      throw PlatformError(.unavailable, "the store did not say how large the object is", path: client.name(path))
    }
    let modified = answer.headers.first(name: "last-modified").flatMap(S3Time.milliseconds(http:)) ?? 0
    return ObjectInfo(path: path, size: size, modifiedMilliseconds: modified, tag: answer.tag)
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] { try list(prefix, behind: nil) }
  public func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo] { try list(prefix, behind: last) }

  /// ListObjectsV2, page after page. Keys that are no names of ours (folder marks, control characters) are left out.
  private func list(_ prefix: ObjectPath?, behind last: ObjectPath?) throws -> [ObjectInfo] {
    var found: [ObjectInfo] = []
    var token: String?
    let limit = 20_000_000
    repeat {
      var call = S3Client.Call(method: .GET, path: nil, verb: "list")
      call.query = [("list-type", "2")]
      if let prefix { call.query.append(("prefix", prefix.text + "/")) }
      if let token {
        call.query.append(("continuation-token", token))
      } else if let last {
        call.query.append(("start-after", last.text))
      }
      let answer = try client.send(call)
      let page: S3XML.Element
      do { page = try S3XML.parse(answer.body) } catch {
        throw PlatformError.from(error, context: "the store's listing").with(path: client.name(prefix))
      }
      guard page.name == "ListBucketResult" else {
        throw PlatformError(.unavailable, "the store's listing is a '\(page.name.prefix(50))'", path: client.name(prefix))
      }
      for item in page.all("Contents") {
        guard let key = item["Key"]?.text, let size = item["Size"].flatMap({ Int($0.text) }) else {
          throw PlatformError(.unavailable, "the store's listing has an entry without key or size", path: client.name(prefix))
        }
        // Marks of folders ("a/b/") and other names that no path of ours can have: nothing of ours is there.
        guard let path = try? ObjectPath(key) else { continue }
        guard last.map({ $0 < path }) ?? true else { continue }
        let modified = item["LastModified"].flatMap { S3Time.milliseconds(iso: $0.text) } ?? 0
        found.append(ObjectInfo(path: path, size: size, modifiedMilliseconds: modified, tag: item["ETag"]?.text))
      }
      let next = page["IsTruncated"]?.text == "true" ? page["NextContinuationToken"]?.text : nil
      guard next == nil || next != token, found.count <= limit else {
        throw PlatformError(.unavailable, "the store's listing does not end", path: client.name(prefix))
      }
      token = next
    } while token != nil
    return found.sorted { $0.path < $1.path }
  }

  // MARK: Writing

  public func put(_ path: ObjectPath, _ data: Data) throws {
    guard data.count <= configuration.partSize else {
      return try MultipartUpload(store: self, path: path, size: data.count).run { range in
        data.subdata(in: data.startIndex + range.lowerBound..<data.startIndex + range.upperBound)
      }
    }
    _ = try client.send(S3Client.Call(method: .PUT, path: path, body: data, verb: "write"))
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try requireConditionalWrites()
    try putConditionally(path, data)
  }

  private func putConditionally(_ path: ObjectPath, _ data: Data) throws {
    let mark = UUID().uuidString.lowercased()
    var call = S3Client.Call(method: .PUT, path: path, body: data, accepted: [412], verb: "write")
    call.headers = [("if-none-match", "*"), (Self.mark, mark)]
    let answer = try client.send(call)
    guard answer.status == 412 else { return }
    if answer.mayHaveHappenedBefore {
      let there = try client.send(S3Client.Call(method: .HEAD, path: path, accepted: [404], verb: "look at"))
      if there.headers.first(name: Self.mark) == mark { return }
    }
    throw PlatformError(.alreadyExists, "object exists already", path: client.name(path))
  }

  /// Tries on an object of its own whether a conditional write is one: some stores ignore the condition, and every commit
  /// through them could overwrite another.
  /// - Throws: `badConfiguration` (PLT-3405).
  private func requireConditionalWrites() throws {
    if hasConditionalWrites.withLock({ $0 }) == true { return }
    let probe = try ObjectPath(".platform-probe-\(UUID().uuidString.lowercased())")
    let isSupported: Bool
    do {
      try putConditionally(probe, Data("1".utf8))
      defer { try? delete(probe) }  // a probe left behind is one byte that nothing reads
      do {
        try putConditionally(probe, Data("2".utf8))
        isSupported = false
      } catch let error as PlatformError where error.code == .alreadyExists {
        isSupported = true
      }
    } catch let error as PlatformError where error.number == "PLT-3405" {
      isSupported = false
    }
    guard isSupported else {
      throw PlatformError(
        .badConfiguration, "the store of bucket '\(configuration.bucket)' does not support conditional writes (If-None-Match), which commits need",
        hint: "Use a store that does, or a newer version of it; nothing was committed.", number: "PLT-3405")
    }
    hasConditionalWrites.withLock { $0 = true }
  }

  public func delete(_ path: ObjectPath) throws {
    _ = try client.send(S3Client.Call(method: .DELETE, path: path, accepted: [404], verb: "delete"))
  }

  // MARK: Files

  public func upload(file: String, to path: ObjectPath) throws -> Int {
    let source = open(file, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw LocalFile.failure("read", file) }
    defer { close(source) }
    var info = stat()
    guard fstat(source, &info) == 0 else { throw LocalFile.failure("read", file) }
    let size = Int(info.st_size)
    @Sendable func piece(_ range: Range<Int>) throws -> Data {
      let data = try LocalFile.read(source, offset: range.lowerBound, count: range.count, name: file)
      guard data.count == range.count else { throw PlatformError(.invalidFile, "the file became shorter while it was read", path: file) }
      return data
    }
    if size <= configuration.partSize {
      try put(path, piece(0..<size))
    } else {
      try MultipartUpload(store: self, path: path, size: size).run(piece)
    }
    return size
  }

  /// An object that goes on being replaced while it is read is given up after so many times.
  private static let readings = 3

  public func download(_ path: ObjectPath, to file: String) throws -> Int {
    for _ in 0..<Self.readings {
      var size: Int?
      try LocalFile.write(to: file) { target in
        size = try self.copy(path, to: target, name: file)?.size
        guard size != nil else { throw Replaced() }
      } orElse: { error in
        // Replaced while it was read: once more from its beginning.
        guard error is Replaced else { throw error }
      }
      if let size { return size }
    }
    throw replacedTooOften(path)
  }

  public func fetch(_ path: ObjectPath, to file: String) throws -> ObjectInfo {
    for _ in 0..<Self.readings {
      if let info = try LocalFile.writeUnsynced(to: file, { try copy(path, to: $0, name: file) }) { return info }
    }
    throw replacedTooOften(path)
  }

  private func replacedTooOften(_ path: ObjectPath) -> PlatformError {
    PlatformError(.conflict, "the object was replaced again and again while it was read", path: client.name(path))
  }

  /// Writes the object to an empty file: one request for an object of one piece. Nil when it was replaced meanwhile.
  private func copy(_ path: ObjectPath, to target: Int32, name: String) throws -> ObjectInfo? {
    guard let (info, first) = try begin(path) else { return nil }
    try LocalFile.write(first, at: 0, to: target, name: name)
    let pieces = stride(from: first.count, to: info.size, by: configuration.partSize).map { $0..<min($0 + configuration.partSize, info.size) }
    let isWhole = Atomic<Bool>(true)
    try S3Threads.forEach(pieces.count, atOnce: configuration.parallelParts) { index in
      guard let data = try self.read(path, pieces[index], tag: info.tag), data.count == pieces[index].count else {
        isWhole.store(false, ordering: .relaxed)
        return
      }
      try LocalFile.write(data, at: pieces[index].lowerBound, to: target, name: name)
    }
    return isWhole.load(ordering: .relaxed) ? info : nil
  }

  /// An object's first piece, and what the same answer says about the whole of it.
  private func begin(_ path: ObjectPath) throws -> (info: ObjectInfo, data: Data)? {
    var call = S3Client.Call(method: .GET, path: path, answerLimit: Int(UInt32.max) - 1, verb: "read")
    call.headers = [("range", "bytes=0-\(configuration.partSize - 1)")]
    call.accepted = [416]
    let answer = try client.send(call)
    if answer.status == 416 {
      // An empty object has no first byte.
      guard let info = try head(path) else { throw PlatformError(.notFound, "object not found", path: client.name(path)) }
      return info.size == 0 ? (info, Data()) : nil
    }
    var size = answer.body.count
    if answer.status == 206 {
      guard let range = answer.headers.first(name: "content-range"), range.hasPrefix("bytes 0-"),
        let total = range.split(separator: "/").last.flatMap({ Int($0) }), size == min(total, configuration.partSize)
      else { throw PlatformError(.unavailable, "the store answered with another range than was asked for", path: client.name(path)) }
      size = total
    }
    let modified = answer.headers.first(name: "last-modified").flatMap(S3Time.milliseconds(http:)) ?? 0
    return (ObjectInfo(path: path, size: size, modifiedMilliseconds: modified, tag: answer.tag), answer.body)
  }

  private struct Replaced: Error {}
}

extension PlatformError {
  fileprivate func with(path: String) -> PlatformError {
    var copy = self
    copy.path = path
    return copy
  }
}
