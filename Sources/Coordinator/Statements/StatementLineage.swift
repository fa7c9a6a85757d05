// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Logging
import Query
import Scheduling

/// What a statement read and wrote, as edges of the lineage graph.
extension StatementPlanner {
  /// Records where `target` comes from: what the statement names, what views and functions among it read, and columns.
  ///
  /// It comes behind a commit, which stands whatever happens here: a person's statement has succeeded, and is not to be sent again. A run's
  /// task is, and finds its commit.
  func addLineage(
    _ sources: StatementSources?, target: (kind: String, name: String, version: Int64?), _ call: StageCall, _ user: String
  ) async throws {
    do { try await storeLineage(sources, target: target, call, user) } catch {
      guard submitter != nil else { throw error }
      Logger(label: "lineage").warning("the lineage of a statement was not stored", metadata: ["target": "\(target.name)", "error": "\(error)"])
    }
  }

  private func storeLineage(
    _ sources: StatementSources?, target: (kind: String, name: String, version: Int64?), _ call: StageCall, _ user: String
  ) async throws {
    guard let sources else { return }
    func edge(_ source: StatementSources.Object, _ target: (kind: String, name: String, version: Int64?)) -> LineageEdge {
      LineageEdge(
        sourceKind: source.kind, source: source.name, sourceVersion: source.version, targetKind: target.kind, target: target.name,
        targetVersion: target.version, runID: call.id.run, taskKey: call.id.task, actor: user)
    }
    var edges = (sources.objects + sources.readByFunctions).map { edge($0, target) }
    for (view, objects) in sources.throughViews.sorted(by: { $0.key < $1.key }) { edges += objects.map { edge($0, ("view", view, nil)) } }
    try await services.catalog.addLineage(edges)
    let versions = Dictionary(
      (sources.objects + sources.readByFunctions + sources.throughViews.values.flatMap { $0 }).map { ($0.name, $0.version) }, uniquingKeysWith: { $1 })
    try await services.catalog.addColumnLineage(
      sources.columns.map { column in
        ColumnLineageEdge(
          source: column.source, sourceColumn: column.sourceColumn, sourceVersion: versions[column.source] ?? nil,
          target: column.target ?? target.name, targetColumn: column.targetColumn, targetVersion: column.target == nil ? target.version : nil,
          runID: call.id.run, taskKey: call.id.task, actor: user)
      })
  }
}
