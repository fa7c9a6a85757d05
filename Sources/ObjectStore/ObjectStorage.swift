// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Objects by name: whole values that appear at once or not at all. All calls block; call them on a `BlockingPool`.
///
/// Errors: `notFound`, `alreadyExists` (`putIfAbsent`), `resourceExhausted` (disk full), `permissionDenied`, `unavailable`.
/// After any other error of a write its outcome is unknown; read to find out.
public protocol ObjectStorage: Sendable {
  func get(_ path: ObjectPath) throws -> Data
  /// The bytes of `range`, cut at the object's end.
  /// - Throws: `invalidArgument` when the range starts behind the end.
  func get(_ path: ObjectPath, range: Range<Int>) throws -> Data
  /// As above, of the object with this tag; nil when it was replaced. Without a tag: whatever is there.
  func get(_ path: ObjectPath, range: Range<Int>, tag: String?) throws -> Data?
  /// Writes or replaces. Durable when it returns.
  func put(_ path: ObjectPath, _ data: Data) throws
  /// Writes only if no object has that name: exactly one of many concurrent callers succeeds.
  func putIfAbsent(_ path: ObjectPath, _ data: Data) throws
  /// As above, after `files` are on the disk: nobody sees the object before them. A store that has to wait for a disk itself waits for all at once.
  func putIfAbsent(_ path: ObjectPath, _ data: Data, behind files: [UnsyncedFile]) throws
  /// All objects below folder `prefix` (nil: all), at any depth, in order of their names. An absent folder is empty.
  func list(_ prefix: ObjectPath?) throws -> [ObjectInfo]
  /// As `list`, but only objects whose names come behind `last`.
  func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo]
  /// Deletes; an absent object is no error.
  func delete(_ path: ObjectPath) throws
  /// nil when absent.
  func head(_ path: ObjectPath) throws -> ObjectInfo?
  /// Writes the contents of a local file: whatever its size, memory holds a few pieces of it at most.
  /// - Returns: its size in bytes.
  func upload(file: String, to path: ObjectPath) throws -> Int
  /// Writes the object to a new local file, which appears when it is complete.
  /// - Returns: its size in bytes.
  func download(_ path: ObjectPath, to file: String) throws -> Int
  /// Writes the object to a local file that only the caller knows of and soon removes: it is not durable, and after an error a part of it may
  /// be there.
  /// - Returns: what was read, as it was in one moment.
  func fetch(_ path: ObjectPath, to file: String) throws -> ObjectInfo
  /// How many reads at a time pay: as many as there are cores where the bytes are near, more where each waits for a network.
  var concurrentReads: Int { get }
}

extension ObjectStorage {
  public func get(_ path: ObjectPath, range: Range<Int>, tag: String?) throws -> Data? {
    if let tag, try head(path)?.tag != tag { return nil }
    return try get(path, range: range)
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data, behind files: [UnsyncedFile]) throws {
    for file in files { file.start() }
    for file in files { try file.sync() }
    try putIfAbsent(path, data)
  }

  public func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo] { try list(prefix).filter { $0.path > last } }

  public func upload(file: String, to path: ObjectPath) throws -> Int {
    let data: Data
    do { data = try Data(contentsOf: URL(fileURLWithPath: file), options: .mappedIfSafe) } catch {
      throw PlatformError(.notFound, "cannot read the file", path: file)
    }
    try put(path, data)
    return data.count
  }

  public func download(_ path: ObjectPath, to file: String) throws -> Int {
    let data = try get(path)
    try LocalFile.write(data, to: file)
    return data.count
  }

  public func fetch(_ path: ObjectPath, to file: String) throws -> ObjectInfo {
    for _ in 0..<3 {
      guard let info = try head(path) else { throw PlatformError(.notFound, "object not found", path: path.text) }
      if try download(path, to: file) == info.size, try head(path) == info { return info }
    }
    throw PlatformError(.conflict, "the object was replaced again and again while it was read", path: path.text)
  }

  public var concurrentReads: Int { ProcessInfo.processInfo.activeProcessorCount }
}
