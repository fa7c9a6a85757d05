// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Which rows of a source are new since the last copy, decided in one snapshot of it.
///
/// Everything above the last mark is new, up to the highest value that is there. Rows that share the highest value may get company later: those
/// that were copied are known by their hashes, so that the others come next time, and none comes twice.
struct Watermark {
  struct Range {
    /// Conditions on the row `q`; each gives rows of its own.
    var filters: [String]
    var mark: PostgresRead.Mark?
    var hasMore: Bool
    /// Which rows are at the last mark, how they are hashed, and the hashes of those that were copied.
    var tie: (value: String, hash: String, known: [String: Int])?

    /// The queries that read the range: an empty first column, so that no line is empty, then the expressions.
    func selects(_ source: String, _ expressions: [String]) -> [String] {
      let list = (["'k'"] + expressions).joined(separator: ", ")
      var queries = filters.map { "SELECT \(list) FROM (\(source)\n) AS q WHERE \($0)" }
      if let tie {
        // Equal rows are told apart by their number only.
        let known = tie.known.sorted { $0.key < $1.key }.map { "('\($0.key)', \($0.value))" }.joined(separator: ", ")
        let join = known.isEmpty ? "" : "LEFT JOIN (VALUES \(known)) AS s(h, c) ON s.h = q.__platform_h"
        queries.append(
          """
          SELECT \(list) FROM (SELECT q.*, \(tie.hash) AS __platform_h, row_number() OVER (PARTITION BY \(tie.hash)) AS __platform_k
            FROM (\(source)\n) AS q WHERE \(tie.value)) AS q \(join) WHERE q.__platform_k > \(known.isEmpty ? "0" : "coalesce(s.c, 0)")
          """)
      }
      return queries
    }
  }

  private let read: PostgresRead
  private let source: String
  private let export: PostgresExport
  private let field: PostgresExport.Field
  /// The column of the row `q`.
  private let place: String
  private let names: [String]
  private static let ordered: Set<String> = ["int2", "int4", "int8", "numeric", "date", "timestamp", "timestamptz", "text", "varchar"]

  init(_ read: PostgresRead, _ name: String, _ columns: [PostgresColumn], _ source: String, _ export: PostgresExport) throws {
    self.read = read
    self.source = source
    self.export = export
    guard let column = columns.first(where: { $0.name == name }) ?? columns.first(where: { $0.name.lowercased() == name.lowercased() }) else {
      throw PlatformError(
        .invalidArgument, "the source has no column '\(name.prefix(100))' for the watermark",
        hint: "It has: \(columns.map(\.name).prefix(50).joined(separator: ", ")).",
        number: "PLT-3126")
    }
    field = column.field
    guard !field.isArray, Self.ordered.contains(field.type) else {
      throw PlatformError(
        .invalidArgument, "'\(name)' is of the type \(field.type)\(field.isArray ? "[]" : ""), which is no watermark",
        hint: "Whole numbers, numeric, date, timestamps and text are.", number: "PLT-3126")
    }
    place = "q." + (try PostgresIdentifier.quote(column.name))
    names = columns.map(\.name)
  }

  private func literal(_ value: String) throws -> String { "\(try PostgresExport.literal(value))::pg_catalog.\(field.type)" }

  func range() throws -> Range {
    if try export.row("SELECT 1 AS a FROM (\(source)\n) AS q WHERE \(place) IS NULL LIMIT 1") != nil {
      throw PlatformError(
        .invalidArgument, "rows of the source have no value in the watermark column '\(field.name)'",
        hint: "Give a query that leaves them out or fills them: coalesce(updated_at, created_at).", number: "PLT-3127")
    }
    // Nothing would ever be above an infinite one.
    let finite: String? =
      switch field.type {
      case "date", "timestamp", "timestamptz": "isfinite(\(place))"
      case "numeric": "\(place)::text NOT IN ('NaN', 'Infinity', '-Infinity')"
      default: nil
      }
    if let finite, try export.row("SELECT 1 AS a FROM (\(source)\n) AS q WHERE NOT (\(finite)) LIMIT 1") != nil {
      throw PlatformError(
        .invalidArgument, "rows of the source are infinite, or no number, in the watermark column '\(field.name)': nothing could come after them",
        hint: "Give a query that leaves them out: WHERE isfinite(updated_at).", number: "PLT-3127")
    }
    var bounds: [String] = []
    if let last = read.last { bounds.append("\(place) > \(try literal(last.value))") }
    if read.lagMilliseconds > 0 {
      guard field.type.hasPrefix("timestamp") else {
        throw PlatformError(.invalidArgument, "a lag needs a watermark that is a timestamp, '\(field.name)' is \(field.type)", number: "PLT-3126")
      }
      // In UTC, which is this session's time zone.
      bounds.append("\(place) <= (now() - interval '\(read.lagMilliseconds) milliseconds')::pg_catalog.\(field.type)")
    }
    let fresh = bounds.isEmpty ? "true" : bounds.joined(separator: " AND ")
    // The value of the row that would be one too many, or the highest.
    let next =
      try export.row(
        "SELECT \(place)::text AS a FROM (\(source)\n) AS q WHERE \(fresh) ORDER BY \(place) OFFSET \(max(1, read.rowLimit)) LIMIT 1")?.first ?? nil
    var high = next
    if high == nil { high = try export.row("SELECT max(\(place))::text AS a FROM (\(source)\n) AS q WHERE \(fresh)")?.first ?? nil }
    var range = Range(filters: [], mark: read.last, hasMore: next != nil)
    if let last = read.last { range.tie = try ties(last) }
    if let high {
      range.filters.append("\(fresh) AND \(place) <= \(try literal(high))")
      range.mark = try mark(high, names)
    } else if let last = read.last, range.tie != nil {
      range.mark = try mark(last.value, names)
    }
    return range
  }

  /// Rows at the last mark that were not there; nil when they are known to be the same.
  private func ties(_ last: PostgresRead.Mark) throws -> (value: String, hash: String, known: [String: Int])? {
    if let gone = last.columns.first(where: { !names.contains($0) }) {
      throw PlatformError(
        .conflict, "the source has lost its column '\(gone)', so rows that were copied cannot be told from new ones",
        hint: "Give a query that has the column, for example as NULL.", number: "PLT-3128")
    }
    if try mark(last.value, last.columns) == last { return nil }
    let condition = "\(place) = \(try literal(last.value))"
    if let known = last.hashes { return (condition, try hash(last.columns), known) }
    // Rows that are gone now change the checksum too: only a lower count is harmless, and cannot be told from a change.
    throw PlatformError(
      .conflict, "more than \(PostgresRead.hashLimit) rows share the watermark \(last.value), and they have changed since they were copied",
      hint: "Choose a finer watermark, or copy the table as a snapshot.", number: "PLT-3128")
  }

  /// Of the row `q`.
  private func hash(_ columns: [String]) throws -> String {
    "md5(ROW(\(try columns.map { "q." + (try PostgresIdentifier.quote($0)) }.joined(separator: ", ")))::text)"
  }

  /// What is there at a value.
  private func mark(_ value: String, _ columns: [String]) throws -> PostgresRead.Mark {
    let hash = try hash(columns)
    let condition = "\(place) = \(try literal(value))"
    let found = try export.rows(
      "SELECT \(hash) AS a, count(*)::text AS b FROM (\(source)\n) AS q WHERE \(condition) GROUP BY 1 LIMIT \(PostgresRead.hashLimit + 1)")
    guard found.count > PostgresRead.hashLimit else {
      return .init(
        value: value, columns: columns,
        hashes: Dictionary(found.compactMap { row in row[0].map { ($0, row[1].flatMap { Int($0) } ?? 1) } }, uniquingKeysWith: +))
    }
    let all = try export.row(
      """
      SELECT count(*)::text || '/' || md5(string_agg(h, '' ORDER BY h)) AS a FROM (SELECT \(hash) AS h FROM (\(source)\n) AS q WHERE \(condition)) AS t
      """)
    return .init(value: value, columns: columns, checksum: all?.first ?? "")
  }
}
