// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import Foundation
import Query
import Scheduling

/// `COPY INTO`: each file once, whatever dies in between.
struct CopyPlanner {
  let services: PlanningServices

  private static let sourceName = "copy"

  func plan(_ copy: CopyStatement, _ target: ThreePartName, _ call: StageCall) async throws -> StagePlan {
    let table = try await services.tables.resolve(target)
    let source = try await services.ledger.source(table: table.entry.id, tableName: "\(target)", name: Self.sourceName)
    guard let batch = try await batch(copy, table.entry, source, call) else { return .none }
    var options = copy.options
    if !table.columns.contains(where: { $0.name == options.rescuedColumn }) { options.rescuedColumn = nil }
    options.evolution = copy.mergesSchema ? .addNewColumns : options.evolution ?? (options.rescuedColumn == nil ? .failOnNewColumns : .rescue)
    let stage = LoadStage(services: services, call: call, target: target)
    return try await stage.units(
      batch, copy.format, options, schema: LoadStage.readable(table.columns, options), columns: table.columns, into: table.entry,
      quarantine: stage.quarantine(nil), quarantinesRows: copy.quarantinesRows)
  }

  /// The files to load: those of this run's own batch, or a new one. Nil: none is left.
  private func batch(_ copy: CopyStatement, _ entry: TableEntry, _ source: IngestLedger.Source, _ call: StageCall) async throws -> IngestLedger.Batch? {
    let ledger = services.ledger
    let deadline = ContinuousClock.now + .seconds(300)
    while let open = try await ledger.openBatch(source.id) {
      if open.run == call.id.run { return open }
      if try await ledger.hasEnded(run: open.run) {
        try await ledger.settle(source.id, open.number) { try services.tables.recorded(entry, application: source.application) }
        continue
      }
      guard ContinuousClock.now < deadline else {
        throw PlatformError(.unavailable, "run \(open.run) is still loading files into the table", hint: "Try again when it has ended.", number: "PLT-3118")
      }
      try await Task.sleep(for: .milliseconds(200))
    }
    let files = try await files(copy)
    return try await ledger.batch(source.id, run: call.id.run, of: files, force: copy.force)
  }

  private func files(_ copy: CopyStatement) async throws -> [FileRead.File] {
    var paths = [copy.path]
    let base = copy.path.hasSuffix("/") ? String(copy.path.dropLast()) : copy.path
    if !copy.files.isEmpty { paths = copy.files.map { base + "/" + $0 } }
    if let pattern = copy.pattern { paths = [base + "/" + pattern] }
    var found: [FileRead.File] = []
    for path in paths {
      let place = try await services.listing.place(path)
      let list = try await BlockingPool.shared.run { try SourceListing.list(place, copy.options).map(\.file) }
      guard !list.isEmpty || copy.files.isEmpty else { throw SourceListing.missing(path) }
      found += list
    }
    guard !found.isEmpty else { throw SourceListing.missing(paths[0]) }
    return found
  }

  /// - Returns: nil when the batch has to run again, because the table got columns.
  func commit(
    _ copy: CopyStatement, _ target: ThreePartName, _ call: StageCall, attempt: Int, _ results: [FileLoadResult]
  ) async throws -> StatementResponse? {
    var response = StatementResponse(statementID: call.id.run, columns: [], rows: [], truncated: false)
    let names = ["num_affected_rows", "num_inserted_rows", "num_skipped_corrupt_files", "num_quarantined"]
    response.columns = names.map { .init(name: $0, type: "bigint") }
    response.affectedRows = 0
    response.rows = [names.map { _ in 0 }]
    guard !results.isEmpty else { return response }
    let table = try await services.tables.resolve(target)
    if copy.mergesSchema, results.contains(where: { !$0.newColumns.isEmpty }) {
      guard attempt < 20 else { throw PlatformError(.conflict, "the files' columns do not settle", number: "PLT-3116") }
      _ = try await services.tables.addColumns(table.entry, Self.merged(results.map(\.newColumns)))
      return nil
    }
    let source = try await services.ledger.source(table: table.entry.id, tableName: "\(target)", name: Self.sourceName)
    let stage = LoadStage(services: services, call: call, target: target)
    let done = try await stage.commit(results, source, into: table.entry, quarantine: stage.quarantine(nil), operation: "COPY INTO")
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "path", source: copy.path, targetKind: "table", target: "\(target)", targetVersion: done.version, runID: call.id.run,
        taskKey: call.id.task)
    ])
    response.version = done.version
    response.affectedRows = done.rows
    response.rows = [[.integer(done.rows), .integer(done.rows), .integer(Int64(done.badFiles)), .integer(done.bad)]]
    return response
  }

  /// Columns of several lists, by name; text where their types differ.
  static func merged(_ lists: [[Column]]) -> [Column] {
    var merged: [Column] = []
    for column in lists.joined() {
      if let index = merged.firstIndex(where: { $0.name.lowercased() == column.name.lowercased() }) {
        if merged[index].type != column.type { merged[index].type = FileLoad.common(merged[index].type, column.type) }
      } else {
        merged.append(column)
      }
    }
    return merged
  }
}
