// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import ObjectStore
import Query
import Scheduling

/// The stage that loads one batch: files into units, results into one commit. Shared by `COPY INTO` and `ingest_task`.
struct LoadStage {
  let services: PlanningServices
  let call: StageCall
  let target: ThreePartName

  private static let unitBytes: Int64 = 128 << 20
  private static let unitFiles = 500

  var actor: String { "run \(call.id.run)" }
  private var quarantineName: ThreePartName { ThreePartName(catalog: target.catalog, schema: target.schema, name: target.name + "_quarantine") }

  /// - Parameter quarantine: nil takes the target's name with `_quarantine`.
  func quarantine(_ name: String?) async throws -> TableEntry {
    try await services.tables.prepare(
      try name.map { try ThreePartName($0) } ?? quarantineName, columns: FileLoad.quarantineColumns, by: actor, isAnywhere: true)
  }

  /// Units of about equal size; the number depends on the files alone.
  func units(
    _ batch: IngestLedger.Batch, _ format: FileRead.Format, _ options: FileOptions, schema: [Column], columns: [Column], into entry: TableEntry,
    quarantine: TableEntry, quarantinesRows: Bool
  ) async throws -> StagePlan {
    try await BlockingPool.shared.run { try ReadOnlyPlaces.shared.requireWritable(entry.location) }
    let target = try await services.tables.ruled(entry)
    // Units that count on their own would give the same numbers.
    let isOne = try target?.schema.map { try !StructType(parsing: $0).identityColumns().isEmpty } ?? false
    var groups: [[FileRead.File]] = []
    var current: [FileRead.File] = []
    var bytes: Int64 = 0
    for file in batch.files {
      current.append(file)
      bytes += file.sizeBytes
      if !isOne && bytes >= Self.unitBytes || !isOne && current.count >= Self.unitFiles {
        groups.append(current)
        (current, bytes) = ([], 0)
      }
    }
    if !current.isEmpty { groups.append(current) }
    let readAt = ProcessSupport.wallMilliseconds * 1000
    return .shards(
      try groups.enumerated().map { index, files in
        let read = FileRead(view: "__load", format: format, options: options, files: files, schema: schema)
        var load = FileLoad(
          read: read, columns: columns, dataPath: services.part(entry, call, index), quarantinePath: services.part(quarantine, call, index),
          readAt: readAt)
        load.batch = batch.number
        load.target = target
        load.quarantinesRows = quarantinesRows
        return UnitSpec(index: index, kind: FileLoad.kind, payload: try JSONValue(encoding: load))
      })
  }

  /// One unit that only finds out the columns, from at most sixteen of the files.
  func probe(_ batch: IngestLedger.Batch, _ format: FileRead.Format, _ options: FileOptions, quarantinesRows: Bool) throws -> StagePlan {
    let step = max(1, batch.files.count / 16)
    let some = stride(from: 0, to: batch.files.count, by: step).prefix(16).map { batch.files[$0] }
    let read = FileRead(view: "__load", format: format, options: options, files: some)
    var load = FileLoad(read: read, columns: [], dataPath: "", quarantinePath: "", readAt: 0)
    load.batch = batch.number
    load.quarantinesRows = quarantinesRows
    return .shards([UnitSpec(index: 0, kind: FileLoad.kind, payload: try JSONValue(encoding: load))])
  }

  /// What the files may bring: without what the platform adds itself.
  static func readable(_ columns: [Column], _ options: FileOptions) -> [Column] {
    columns.filter { $0.name != options.rescuedColumn && $0.name != FileRead.metadataColumn }
  }

  struct Committed: Sendable {
    var version: Int64
    var rows: Int64
    var bad: Int64
    /// Of which nothing could be read.
    var badFiles: Int
  }

  /// Makes the batch visible: rows first in the quarantine, then in the table, each under the batch's number.
  func commit(
    _ results: [FileLoadResult], _ source: IngestLedger.Source, into entry: TableEntry, quarantine: TableEntry, operation: String
  ) async throws -> Committed {
    let rows = results.reduce(Int64(0)) { $0 + $1.rows }
    let badFiles = results.reduce(0) { $0 + $1.badFiles }
    let bad = results.reduce(Int64(badFiles)) { $0 + $1.badRecords }
    guard let columns = results.first?.written, let number = results.first?.batch else { throw PlatformError(.internalError, "a load returned nothing") }
    let (application, files, badRows) = (source.application, results.compactMap(\.data), results.compactMap(\.quarantine))
    let replaced = results.flatMap { $0.replaced ?? [] }
    let marks = IngestLedger.Marks(unreadable: results.flatMap { $0.unreadable ?? [] }, gone: results.flatMap { $0.gone ?? [] })
    let version = try await services.ledger.commit(source.id, number, rows: rows, bad: bad, replaced: replaced, marks) {
      if !badRows.isEmpty {
        _ = try services.tables.append(
          quarantine, columns: FileLoad.quarantineColumns, files: badRows, application: application, number: number, operation: operation)
      } else {
        try LakeTables.make(quarantine, columns: FileLoad.quarantineColumns)
      }
      if results.contains(where: { $0.target != nil }) {
        return try services.tables.append(entry, results, application: application, number: number, operation: operation)
      }
      return try services.tables.append(entry, columns: columns, files: files, application: application, number: number, operation: operation)
    }
    return Committed(version: version, rows: rows, bad: bad, badFiles: badFiles - marks.gone.count)
  }
}

extension LakeTables {
  /// Makes an empty table in the log when there is none.
  static func make(_ entry: TableEntry, columns: [Column]) throws {
    let table = try open(entry.location)
    guard try !table.exists() else { return }
    do {
      _ = try table.create(schema: TypeMapping.schema(columns), name: "\(entry.name)")
    } catch let error as PlatformError where error.code == .alreadyExists {
      // Somebody was faster.
    }
  }
}
