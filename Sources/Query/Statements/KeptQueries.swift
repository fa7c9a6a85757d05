// SPDX-License-Identifier: Apache-2.0

import DuckDB
import Foundation

/// Queries without tables that are likely to be asked again, bound, each on a connection of its own.
///
/// A kept connection runs one order and no other, down to the last byte: the user, the names, the values and the limits are part of it. So what
/// a statement leaves on its connection is found by nobody but a repetition of itself by the same principal, and only queries are kept: they leave
/// nothing that can be asked for. One that failed, was interrupted or was not read to its end is not kept.
struct KeptQueries {
  /// Two generations of so many.
  static let limit = 24
  /// Longer orders are not kept.
  static let orderLimit = 8192

  /// Used by the thread that runs statements.
  final class Query: @unchecked Sendable {  // never by two threads at once: it is taken out to be run
    let order: StatementOrder
    let connection: Connection
    let statement: PreparedStatement
    init(order: StatementOrder, connection: Connection, statement: PreparedStatement) {
      self.order = order
      self.connection = connection
      self.statement = statement
    }
  }

  /// All bytes count: `Data` itself takes a short part of them as its hash.
  private struct Key: Hashable {
    let bytes: Data
    func hash(into hasher: inout Hasher) { bytes.withUnsafeBytes { hasher.combine(bytes: $0) } }
  }

  private var recent: [Key: Query] = [:]
  private var older: [Key: Query] = [:]

  var count: Int { recent.count + older.count }

  /// The query of an order, which is not kept any more unless it is put back.
  mutating func take(_ head: Data) -> Query? {
    let key = Key(bytes: head)
    return recent.removeValue(forKey: key) ?? older.removeValue(forKey: key)
  }

  mutating func keep(_ query: Query, for head: Data) {
    guard head.count <= Self.orderLimit else { return }
    if recent.count >= Self.limit {
      older = recent
      recent = [:]
    }
    recent[Key(bytes: head)] = query
  }
}
