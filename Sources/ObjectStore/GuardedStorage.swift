// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A store that asks before each write; what the question throws, the write throws.
struct GuardedStorage: ObjectStorage {
  let inner: any ObjectStorage
  let beforeWriting: @Sendable () throws -> Void

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
    try beforeWriting()
    try inner.put(path, data)
  }

  func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try beforeWriting()
    try inner.putIfAbsent(path, data)
  }

  func putIfAbsent(_ path: ObjectPath, _ data: Data, behind files: [UnsyncedFile]) throws {
    try beforeWriting()
    try inner.putIfAbsent(path, data, behind: files)
  }

  func delete(_ path: ObjectPath) throws {
    try beforeWriting()
    try inner.delete(path)
  }

  func upload(file: String, to path: ObjectPath) throws -> Int {
    try beforeWriting()
    return try inner.upload(file: file, to: path)
  }
}
