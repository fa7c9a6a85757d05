// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// Objects in memory, for tests and simulations.
public final class InMemoryObjectStore: ObjectStorage {
  private struct Entry {
    var data: Data
    var modified: Int64
  }

  private let entries = Mutex<[ObjectPath: Entry]>([:])

  public init() {}

  private func entry(_ path: ObjectPath) throws -> Entry {
    guard let found = entries.withLock({ $0[path] }) else {
      throw PlatformError(.notFound, "object not found", path: path.text)
    }
    return found
  }

  public func get(_ path: ObjectPath) throws -> Data { try entry(path).data }

  public func get(_ path: ObjectPath, range: Range<Int>) throws -> Data {
    let data = try entry(path).data
    guard range.lowerBound >= 0, range.lowerBound <= data.count else {
      throw PlatformError(.invalidArgument, "the range starts behind the end of the object", path: path.text)
    }
    return data.subdata(in: range.lowerBound..<min(range.upperBound, data.count))
  }

  public func put(_ path: ObjectPath, _ data: Data) throws {
    entries.withLock { $0[path] = Entry(data: data, modified: ProcessSupport.wallMilliseconds) }
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try entries.withLock {
      guard $0[path] == nil else { throw PlatformError(.alreadyExists, "object exists already", path: path.text) }
      $0[path] = Entry(data: data, modified: ProcessSupport.wallMilliseconds)
    }
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] {
    let all = entries.withLock { $0 }
    return all.filter { item in prefix.map { item.key.text.utf8.starts(with: ($0.text + "/").utf8) } ?? true }
      .map { ObjectInfo(path: $0.key, size: $0.value.data.count, modifiedMilliseconds: $0.value.modified) }
      .sorted { $0.path < $1.path }
  }

  public func delete(_ path: ObjectPath) throws { entries.withLock { $0[path] = nil } }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? {
    entries.withLock { $0[path] }
      .map { ObjectInfo(path: path, size: $0.data.count, modifiedMilliseconds: $0.modified) }
  }
}
