// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// What of a cluster's folders is in a backup, and under which name. Values only.
enum BackupScope {
  /// Below the storage folder. Results of statements last an hour, and are left out; what stages hand on is needed by runs that are under way.
  static let storage = ["lake", "models", "indexes", "checkpoints", "staging", "notebooks", "artifacts", "pushes"]
  /// Below the data folder. `keys` has the key that unseals the catalog's secrets; workers make keys of their own again.
  static let home = ["keys", "spool", "admin-token"]

  /// Files that somebody is writing under a name that is not yet theirs.
  static func isTemporary(_ name: String, isHome: Bool = false) -> Bool { name.hasPrefix(".~") || (isHome && name.contains(".tmp-")) }

  /// Where an object of a backup belongs; nil for one of the database.
  static func place(_ object: BackupObject, in layout: DataLayout) throws -> String? {
    let parts = try object.parts()
    let rest = parts.dropFirst().joined(separator: "/")
    switch parts[0] {
    case "storage": return layout.storage + "/" + rest
    case "home": return layout.root + "/" + rest
    default: return nil
    }
  }
}

/// Which files of a table's log make a version that is whole, out of a listing that was made while others committed.
struct LogSelection: Equatable {
  var names: [String]
  /// The latest version among them.
  var version: Int64?

  /// - Parameters:
  ///   - names: in `_delta_log`, without its folders.
  ///   - limit: how far the catalog says that the table has come, where it gives out the versions; what is behind it was decided later.
  init(_ names: [String], limit: Int64? = nil) {
    func version(_ name: String) -> Int64? {
      name.utf8.count > 20 ? Int64(name.prefix(20)) : nil
    }
    var commits: Set<Int64> = []
    var start: Int64 = -1
    for name in names {
      guard let number = version(name), number <= limit ?? .max else { continue }
      if name.utf8.count == 25, name.hasSuffix(".json") { commits.insert(number) }
      if name.dropFirst(20).hasPrefix(".checkpoint.") { start = max(start, number) }
    }
    // A listing may have a version and lack the one before, which came while it was made.
    var latest = start
    while commits.contains(latest + 1) { latest += 1 }
    self.version = latest >= 0 ? latest : nil
    self.names = names.filter { name in
      // It would point to a checkpoint that is not there, and only saves time.
      if name == "_last_checkpoint" || BackupScope.isTemporary(name) { return false }
      guard let number = version(name) else { return true }
      return number <= latest
    }.sorted()
  }
}

/// Puts the paths of another machine's folders into a restored database. Values only.
struct BackupRelocation {
  /// Columns that hold the path of a folder or file.
  static let paths = [
    ("tables", "location"), ("volumes", "location"), ("model_versions", "location"), ("model_versions", "source"), ("vector_indexes", "location"),
    ("dropped", "location"), ("staging_tables", "location"),
  ]
  /// Columns with JSON in which such paths are.
  static let documents = [
    ("dropped", "entry"), ("dropped", "parts"), ("job_records", "body"), ("stage_commits", "outcome"), ("model_versions", "facts"),
    ("vector_indexes", "facts"),
  ]

  /// Old folder and new folder, those that differ.
  var moves: [(from: String, to: String)]

  /// - Parameter moves: the first that fits counts, so inner folders come first.
  init(_ moves: [(from: String, to: String)]) {
    var known: Set<String> = []
    self.moves = moves.filter { $0.from != $0.to && known.insert($0.from).inserted }.sorted { $0.from.utf8.count > $1.from.utf8.count }
  }

  var statements: [(sql: String, parameters: [PostgresValue])] {
    moves.flatMap { move in
      Self.paths.flatMap { table, column in
        ["", "file://"].map { scheme in
          (
            "UPDATE \(table) SET \(column) = $2 || substr(\(column), length($1) + 1) WHERE \(column) = $1 OR starts_with(\(column), $1 || '/')",
            [PostgresValue.text(scheme + move.from), .text(scheme + move.to)]
          )
        }
      }
        + Self.documents.map { table, column in
          (
            """
            UPDATE \(table) SET \(column) = replace(replace(\(column)::text, $1, $2), $3, $4)::jsonb
            WHERE strpos(\(column)::text, $1) > 0 OR strpos(\(column)::text, $3) > 0
            """,
            [
              .text(Self.quoted(move.from)), .text(Self.quoted(move.to)), .text("\"file://" + Self.quoted(move.from).dropFirst()),
              .text("\"file://" + Self.quoted(move.to).dropFirst()),
            ]
          )
        }
    }
  }

  /// The folder as a JSON text begins with it: `"/folder/`.
  static func quoted(_ folder: String) -> String { String(JSONValue.string(folder).sortedText.dropLast()) + "/" }
}
