// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Part of a listing.
///
///     var token: String?
///     repeat {
///       let page = try await store.tables(catalog: "main", limit: 100, pageToken: token)
///       show(page.entries)
///       token = page.nextPageToken
///     } while token != nil
public struct CatalogPage<Entry: Sendable>: Sendable {
  public var entries: [Entry]
  /// Give it to the same call with the same filters; nil after the last page. Opaque: it may change with the version.
  public var nextPageToken: String?
}

/// One kind of listing: a table, what its rows are filtered by, and the unique key that orders them.
///
/// A page begins after the last key of the one before it, so an entry that stays is seen exactly once, whatever is added or removed
/// meanwhile. Names of tables and columns are constants of this target; values travel as parameters.
struct Listing {
  var table: String
  var columns = "*"
  var filters: [(column: String, value: String?)]
  /// Patterns of SQL's LIKE, in any case of letters.
  var patterns: [(column: String, value: String?)] = []
  var key: [(column: String, type: String)]
  var isDescending: Bool

  init(
    _ table: String, filters: [(String, String?)] = [], key: [(String, String)], isDescending: Bool = false
  ) {
    self.table = table
    self.filters = filters.map { (column: $0.0, value: $0.1) }
    self.key = key.map { (column: $0.0, type: $0.1) }
    self.isDescending = isDescending
  }

  /// Objects with a three-part name.
  static func objects(_ table: String, _ catalog: String?, _ schema: String?) -> Listing {
    Listing(
      table, filters: [("catalog", catalog), ("schema", schema)], key: [("catalog", "text"), ("schema", "text"), ("name", "text")])
  }

  /// Names the listing and its filters: a token is good for no other.
  private var identity: String {
    SHA256Digest.hex(([table] + (filters + patterns).map { "\($0.column)=\($0.value.map { "'\($0)" } ?? "")" }).joined(separator: "\n")).prefix(16).lowercased()
  }

  func token(after row: PostgresRow) throws -> String {
    let last = try key.map { column -> String in
      switch try row.value(column.column) {
      case .text(let text): text
      case .int(let number): String(number)
      default: throw PlatformError(.internalError, "column '\(column.column)' cannot order a listing")
      }
    }
    return try JSONEncoder.platform.encode([identity] + last).base64EncodedString()
      .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
  }

  /// - Throws: `invalidArgument` for a token that this listing did not give.
  func position(_ token: String) throws -> [String] {
    var text = token.replacing("-", with: "+").replacing("_", with: "/")
    text += String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
    let refused = PlatformError(
      .invalidArgument, "the page token does not belong to this listing", hint: "Begin without a page token, and keep the filters as they are.")
    guard token.utf8.count <= 4096, let data = Data(base64Encoded: text) else { throw refused }
    let parts: [String]
    do { parts = try JSONDecoder.platform.decode([String].self, from: data) } catch { throw refused }
    guard parts.count == key.count + 1, parts[0] == identity,
      zip(key, parts.dropFirst()).allSatisfy({ $0.type == "text" || Int($1) != nil }), parts.allSatisfy({ !$0.utf8.contains(0) })
    else { throw refused }
    return Array(parts.dropFirst())
  }
}

extension CatalogStore {
  /// Pages hold at most this many entries.
  public static let pageLimit = 1000

  func page<Entry: Sendable>(
    _ listing: Listing, _ limit: Int, _ token: String?, _ entry: (PostgresRow) throws -> Entry
  ) async throws -> CatalogPage<Entry> {
    guard (1...Self.pageLimit).contains(limit) else {
      throw PlatformError(.invalidArgument, "a page has 1 to \(Self.pageLimit) entries, not \(limit)")
    }
    var parameters: [PostgresValue] = []
    func parameter(_ value: String, _ type: String) -> String {
      parameters.append(.text(value))
      return "$\(parameters.count)::\(type)"
    }
    var conditions = listing.filters.compactMap { filter in filter.value.map { "\(filter.column) = \(parameter($0, "text"))" } }
    conditions += listing.patterns.compactMap { pattern in pattern.value.map { "lower(\(pattern.column)) LIKE lower(\(parameter($0, "text")))" } }
    let columns = listing.key.map(\.column)
    if let token {
      let values = zip(listing.key, try listing.position(token)).map { parameter($1, $0.type) }
      conditions.append(
        "(\(columns.joined(separator: ", "))) \(listing.isDescending ? "<" : ">") (\(values.joined(separator: ", ")))")
    }
    let direction = listing.isDescending ? " DESC" : ""
    // One more than asked for tells whether there is a next page.
    let rows = try await pool.query(
      "SELECT \(listing.columns) FROM \(listing.table)" + (conditions.isEmpty ? "" : " WHERE " + conditions.joined(separator: " AND "))
        + " ORDER BY " + columns.map { $0 + direction }.joined(separator: ", ") + " LIMIT \(limit + 1)", parameters)
    return CatalogPage(
      entries: try rows.prefix(limit).map(entry), nextPageToken: rows.count > limit ? try listing.token(after: rows[limit - 1]) : nil)
  }
}
