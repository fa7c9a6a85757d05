// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

/// What a process asks before each write through `ObjectStores`: a coordinator that does not lead any more writes nothing.
public final class WriteGate: Sendable {
  /// The process's own.
  public static let shared = WriteGate()

  private let check = Mutex<(@Sendable () throws -> Void)?>(nil)

  public init() {}

  /// - Parameter check: may block; what it throws, the write throws. Nil lets everything pass.
  public func set(_ check: (@Sendable () throws -> Void)?) { self.check.withLock { $0 = check } }

  var isSet: Bool { check.withLock { $0 != nil } }
  func pass() throws { try check.withLock { $0 }?() }
}

/// A store behind the gate.
struct GatedStorage: ObjectStorage {
  let inner: any ObjectStorage
  let gate: WriteGate

  func get(_ path: ObjectPath) throws -> Data { try inner.get(path) }
  func get(_ path: ObjectPath, range: Range<Int>) throws -> Data { try inner.get(path, range: range) }
  func get(_ path: ObjectPath, range: Range<Int>, tag: String?) throws -> Data? { try inner.get(path, range: range, tag: tag) }
  func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] { try inner.list(prefix) }
  func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo] { try inner.list(prefix, after: last) }
  func head(_ path: ObjectPath) throws -> ObjectInfo? { try inner.head(path) }
  func download(_ path: ObjectPath, to file: String) throws -> Int { try inner.download(path, to: file) }
  func fetch(_ path: ObjectPath, to file: String) throws -> ObjectInfo { try inner.fetch(path, to: file) }
  var concurrentReads: Int { inner.concurrentReads }

  func put(_ path: ObjectPath, _ data: Data) throws {
    try gate.pass()
    try inner.put(path, data)
  }

  func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try gate.pass()
    try inner.putIfAbsent(path, data)
  }

  func putIfAbsent(_ path: ObjectPath, _ data: Data, behind files: [UnsyncedFile]) throws {
    try gate.pass()
    try inner.putIfAbsent(path, data, behind: files)
  }

  func delete(_ path: ObjectPath) throws {
    try gate.pass()
    try inner.delete(path)
  }

  func upload(file: String, to path: ObjectPath) throws -> Int {
    try gate.pass()
    return try inner.upload(file: file, to: path)
  }
}
