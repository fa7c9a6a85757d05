// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Query
import Synchronization

@testable import Pipelines

/// Tables by path, in memory.
final class MemoryFiles: RowFiles {
  private let tables = Mutex<[String: RowSet]>([:])

  func write(_ rows: RowSet, to path: String) throws -> WrittenFile {
    tables.withLock { $0[path] = rows }
    return WrittenFile(path: path, sizeBytes: 0, rows: Int64(rows.count), statistics: .null)
  }

  func read(_ path: String, columns: [String]) throws -> RowSet {
    guard let table = tables.withLock({ $0[path] }) else { throw PlatformError(.notFound, "no table", path: path) }
    return RowSet(columns.compactMap { name in table.columns.first { $0.name == name } })
  }

  func all(_ path: String) -> RowSet? { tables.withLock { $0[path] } }
}
