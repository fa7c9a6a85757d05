// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// Objects in memory, for tests and simulations.
public final class InMemoryObjectStore: ObjectStorage {
  private struct Entry {
    var data: Data
    var modified: Int64
    /// Counts the writes.
    var tag: Int
    func info(_ path: ObjectPath) -> ObjectInfo { ObjectInfo(path: path, size: data.count, modifiedMilliseconds: modified, tag: String(tag)) }
  }

  private let entries = Mutex<[ObjectPath: Entry]>([:])
  private let writes = Atomic<Int>(0)

  public init() {}

  private func entry(_ path: ObjectPath) throws -> Entry {
    guard let found = entries.withLock({ $0[path] }) else {
      throw PlatformError(.notFound, "object not found", path: path.text)
    }
    return found
  }

  private func entry(_ data: Data) -> Entry {
    Entry(data: data, modified: ProcessSupport.wallMilliseconds, tag: writes.add(1, ordering: .relaxed).newValue)
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
    entries.withLock { $0[path] = entry(data) }
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    try entries.withLock {
      guard $0[path] == nil else { throw PlatformError(.alreadyExists, "object exists already", path: path.text) }
      $0[path] = entry(data)
    }
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] {
    let all = entries.withLock { $0 }
    return all.filter { item in prefix.map { item.key.text.utf8.starts(with: ($0.text + "/").utf8) } ?? true }
      .map { $0.value.info($0.key) }
      .sorted { $0.path < $1.path }
  }

  public func delete(_ path: ObjectPath) throws { entries.withLock { $0[path] = nil } }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? {
    entries.withLock { $0[path] }?.info(path)
  }
}
