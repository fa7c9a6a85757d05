// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Query
import Scheduling

/// Tables that the catalog itself fills: `CATALOG.information_schema.*`, `system.information_schema.*` and `system.access.*`. Their rows are
/// written to a file of the run when a statement names them, so that a query over them is like any other.
struct SystemRelations {
  private let catalog: CatalogStore
  /// Takes the files; nil where nothing runs and only columns are asked for.
  private let folder: (@Sendable () throws -> String)?

  init(services: PlanningServices, call: StageCall?) {
    catalog = services.catalog
    folder = call.map { call in { @Sendable in "\(try services.staging(call))/system-\(call.id.stage)" } }
  }

  /// Knows columns only.
  init(catalog: CatalogStore) {
    self.catalog = catalog
    folder = nil
  }

  struct Rows: Sendable {
    var columns: [Column]
    /// Absolute paths of Parquet files.
    var files: [String]
  }

  /// The rows of a name, or nil when it is no relation of the system's.
  /// - Throws: `notFound` PLT-3002 for a name in one of these schemas that nothing has, or a catalog that does not exist.
  func relation(_ name: QualifiedName, session: SQLContext) async throws -> Rows? {
    let (schema, relation) = (name.schema.lowercased(), name.name.lowercased())
    let isSystem = name.catalog.lowercased() == "system"
    guard schema == "information_schema" || (isSystem && schema == "access") else { return nil }
    guard let found = CatalogStore.information(schema: schema, name: relation) else {
      throw PlatformError(.notFound, "table '\(name)' does not exist", number: "PLT-3002")
    }
    let parent = isSystem ? nil : try await catalog.storedCatalog(name.catalog)
    let columns = found.columns.map { Column($0.name, $0.type == "text" ? .varchar : $0.type == "int" ? .bigint : .timestampTZ) }
    guard let folder else { return Rows(columns: columns, files: []) }
    let rows = try await catalog.rows(of: found, catalog: parent)
    let path = "\(try folder())-\(UUID().uuidString.lowercased()).parquet"
    let file = try await BlockingPool.shared.run {
      let writer = try ParquetTableWriter(path: path, columns: columns, threads: 1)
      for row in rows {
        try writer.append(
          zip(row, found.columns).map { value, column in
            switch value {
            case .string(let text): .string(text)
            case .integer(let number): column.type == "time" ? .timestamp(number) : .int(number)
            default: .null
            }
          })
      }
      return try writer.finish()
    }
    return Rows(columns: columns, files: file.map { [$0.path] } ?? [])
  }
}
