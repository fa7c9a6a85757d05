// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import Foundation

/// Where rows and columns come from and go to, one step in each direction.
extension CoordinatorService {
  /// More neighbours of one object than this are left out: the newest are shown.
  private static let neighbourLimit = 1000

  func lineage(_ request: LineageRequest) async throws -> TableLineageInfo {
    let (name, isThere) = try await lineageName(request.tableName)
    let up = try await catalog.latestLineage(of: name, as: .target, limit: Self.neighbourLimit)
    let down = try await catalog.latestLineage(of: name, as: .source, limit: Self.neighbourLimit)
    guard isThere || !up.isEmpty || !down.isEmpty else { throw Self.unknown(name) }
    return TableLineageInfo(
      upstreams: up.map { Self.neighbour($0.sourceKind, $0.source, $0) }, downstreams: down.map { Self.neighbour($0.targetKind, $0.target, $0) })
  }

  func columnLineage(_ request: LineageRequest) async throws -> ColumnLineageInfo {
    guard let column = request.columnName, !column.isEmpty else { throw Self.missing("column_name") }
    let (name, isThere) = try await lineageName(request.tableName)
    let up = try await catalog.latestColumnLineage(of: name, column: column, as: .target, limit: Self.neighbourLimit)
    let down = try await catalog.latestColumnLineage(of: name, column: column, as: .source, limit: Self.neighbourLimit)
    guard isThere || !up.isEmpty || !down.isEmpty else { throw Self.unknown(name) }
    if up.isEmpty, down.isEmpty, let entry = try await catalog.findTable(try Self.threePart(name)), !entry.columns.isEmpty,
      !entry.columns.contains(where: { $0.name.lowercased() == column.lowercased() })
    {
      throw PlatformError(
        .notFound, "table '\(name)' has no column '\(column.prefix(200))'",
        hint: "It has: \(entry.columns.map(\.name).prefix(50).joined(separator: ", ")).", number: "PLT-3002")
    }
    return ColumnLineageInfo(
      upstreamColumns: up.map { Self.column($0.source, $0.sourceColumn, $0) }, downstreamColumns: down.map { Self.column($0.target, $0.targetColumn, $0) })
  }

  private static func unknown(_ name: String) -> PlatformError { PlatformError(.notFound, "table '\(name)' does not exist", number: "PLT-3002") }

  /// The name that lineage was recorded under, whatever case it is written in; also of what is gone since.
  private func lineageName(_ name: String) async throws -> (name: String, isThere: Bool) {
    guard name.split(separator: ".").count == 3 else { return (name, false) }
    let given = try Self.threePart(name)
    for kind in [CatalogStore.ObjectKind.table, .model] {
      if let found = try await catalog.findStored(kind, given) { return ("\(found)", true) }
    }
    return ("\(given)", false)
  }

  private static func neighbour(_ kind: String, _ name: String, _ edge: LineageEdge) -> LineageNeighbour {
    let parts = name.split(separator: ".", maxSplits: 2).map(String.init)
    let isTable = (kind == "table" || kind == "view") && parts.count == 3
    return LineageNeighbour(
      tableInfo: isTable ? .init(name: parts[2], catalogName: parts[0], schemaName: parts[1], tableType: kind.uppercased()) : nil,
      objectInfo: isTable ? nil : .init(kind: kind, name: name),
      event: LineageEvent(
        sourceVersion: edge.sourceVersion, targetVersion: edge.targetVersion, runID: edge.runID, taskKey: edge.taskKey, createdBy: edge.actor,
        eventTime: edge.recordedAt?.catalogMilliseconds ?? 0))
  }

  private static func column(_ table: String, _ column: String, _ edge: ColumnLineageEdge) -> LineageColumn {
    let parts = table.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    return LineageColumn(
      name: column, catalogName: parts.first ?? "", schemaName: parts.count > 1 ? parts[1] : "", tableName: parts.count > 2 ? parts[2] : "",
      event: LineageEvent(
        sourceVersion: edge.sourceVersion, targetVersion: edge.targetVersion, runID: edge.runID, taskKey: edge.taskKey, createdBy: edge.actor,
        eventTime: edge.recordedAt?.catalogMilliseconds ?? 0))
  }
}
