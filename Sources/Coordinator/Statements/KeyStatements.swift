// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import Query

/// Primary and foreign keys: the catalog knows them, nothing enforces them.
extension StatementPlanner {
  func keys(_ entry: TableEntry) async throws -> [ConstraintEntry] { try await services.catalog.constraints([entry.id])[entry.id] ?? [] }

  /// The key as the catalog keeps it, with a name where none was given.
  func constraint(_ key: TableDefinition.Key, of table: ThreePartName, beside present: [String]) throws -> ConstraintEntry {
    let suffix = key.kind == .primary ? "pk" : "fk"
    var name = key.name ?? "\(table.name)_\(suffix)"
    var number = 1
    while key.name == nil, present.contains(where: { $0.lowercased() == name.lowercased() }) {
      number += 1
      name = "\(table.name)_\(suffix)\(number)"
    }
    return ConstraintEntry(
      name: name, kind: key.kind == .primary ? .primaryKey : .foreignKey, columns: key.columns, parent: try key.references.map { try self.name($0) },
      parentColumns: key.referenced)
  }

  /// What the catalog would refuse later, when the table is there already.
  func check(_ keys: [TableDefinition.Key], fields: [StructField], of table: ThreePartName) async throws {
    guard keys.filter({ $0.kind == .primary }).count <= 1 else { throw PlatformError(.invalidArgument, "a table has one primary key at most") }
    for key in keys {
      for column in key.columns where !fields.contains(where: { $0.name.lowercased() == column.lowercased() }) {
        throw PlatformError(.invalidArgument, "the key names the column '\(column)', which the table does not have")
      }
      guard let parent = key.references, try name(parent) != table else { continue }
      let entry = try await services.tables.entry(name(parent))
      guard let own = try await self.keys(entry).first(where: { $0.kind == .primaryKey }) else {
        throw PlatformError(.invalidArgument, "table '\(entry.name)' has no primary key to refer to")
      }
      guard own.columns.count == key.columns.count else {
        throw PlatformError(.invalidArgument, "the foreign key has \(key.columns.count) columns, the primary key of '\(entry.name)' has \(own.columns.count)")
      }
    }
  }

  /// Gives a table that was just made its keys. Repeated, it finds those that are there.
  func add(_ keys: [TableDefinition.Key], to table: ThreePartName, by actor: String) async throws {
    guard !keys.isEmpty else { return }
    var present = try await self.keys(services.tables.entry(table))
    // The primary key first: another key of the same table may refer to it.
    for key in keys.filter({ $0.kind == .primary }) + keys.filter({ $0.kind == .foreign }) {
      let entry = try constraint(key, of: table, beside: [])
      if present.contains(where: {
        $0.name.lowercased() == entry.name.lowercased() && $0.columns.map { $0.lowercased() } == key.columns.map { $0.lowercased() }
      }) {
        continue
      }
      present.append(try await services.catalog.addConstraint(constraint(key, of: table, beside: present.map(\.name)), to: table, by: actor))
    }
  }

  /// - Throws: `invalidArgument` when a key has the column.
  func refuse(_ path: [String], of entry: TableEntry, verb: String) async throws {
    guard path.count == 1 else { return }
    for key in try await keys(entry) where key.columns.contains(where: { $0.lowercased() == path[0].lowercased() }) {
      throw PlatformError(
        .invalidArgument, "the column '\(path[0])' is part of the key '\(key.name)', so it cannot be \(verb)",
        hint: "ALTER TABLE .. DROP CONSTRAINT \(key.name) first.")
    }
  }
}

extension ConstraintEntry {
  /// As SQL writes it behind the constraint's name; nil for what is no key.
  var sql: String? {
    func list(_ names: [String]) -> String { "(" + names.map(SparkType.name).joined(separator: ", ") + ")" }
    switch kind {
    case .primaryKey: return "PRIMARY KEY \(list(columns))"
    case .foreignKey:
      guard let parent else { return nil }
      return "FOREIGN KEY \(list(columns)) REFERENCES \([parent.catalog, parent.schema, parent.name].map(SparkType.name).joined(separator: "."))"
        + (parentColumns.isEmpty ? "" : " " + list(parentColumns))
    case .named: return nil
    }
  }
}
