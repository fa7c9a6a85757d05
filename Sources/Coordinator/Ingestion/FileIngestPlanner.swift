// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Foundation
import Query
import Scheduling

/// `ingest_task` with a source: files that come into a folder are loaded batch by batch, each file once. One stage is one
/// batch; the batch is in the ledger before it runs, so that whoever takes over goes on with the same files.
struct FileIngestPlanner: TaskPlanner {
  let services: PlanningServices

  private struct Body: Decodable {
    struct Source: Decodable {
      var path: String
      var format: String?
      var options: [String: String]?
    }
    var source: Source
    var target: String
    var quarantine: String?
    var trigger: String?
    var order: IngestLedger.Order?
    var max_files_per_batch: Int?
    var max_bytes_per_batch: Int64?
    var schema_evolution: FileOptions.Evolution?
    var reload_changed: Bool?
    var bad_rows: BadRows?

    /// What becomes of rows that break a rule of the table, and of files of which nothing can be read.
    enum BadRows: String, Decodable { case fail, quarantine }

    var isContinuous: Bool { trigger == "continuous" }
  }

  /// What goes from stage to stage.
  private struct Carry: Codable {
    var batches = 0
    var files = 0
    var rows: Int64 = 0
    var bad: Int64 = 0
    /// Files of which nothing could be read.
    var unreadable: Int?
    var version: Int64?
    var format: FileRead.Format?
    /// The source was listed by this task; for `available_now` once is enough.
    var isListed = false
  }

  /// How long a continuous task waits in one stage, and how often it looks.
  private static let patience = Duration.seconds(60)
  private static let pause = Duration.seconds(1)
  /// How long an object whose name is not behind all others may stay unseen by a continuous task.
  private static let wholeListingSeconds = 60.0

  private func carry(_ call: StageCall) throws -> Carry { call.carry == .null ? Carry() : try call.carry.decode(Carry.self) }

  private func source(_ body: Body, _ call: StageCall) async throws -> (entry: TableEntry, source: IngestLedger.Source) {
    let name = try ThreePartName(body.target)
    let entry = try await services.tables.prepare(name, columns: [], by: "run \(call.id.run)", isAnywhere: true)
    return (entry, try await services.ledger.source(table: entry.id, tableName: "\(name)", name: body.source.path))
  }

  private func options(_ body: Body, _ format: FileRead.Format) throws -> FileOptions {
    var options = try FileOptions(body.source.options ?? [:], format: format, isTabs: body.source.format?.lowercased() == "tsv")
    options.evolution =
      body.schema_evolution ?? options.evolution
      ?? (options.schema == nil ? .addNewColumns : options.rescuedColumn == nil ? FileOptions.Evolution.none : .rescue)
    return options
  }

  func plan(_ call: StageCall) async throws -> StagePlan {
    let body: Body = try call.body()
    let carry = try carry(call)
    let (entry, source) = try await source(body, call)
    let place = try await services.listing.place(body.source.path)
    let given = try body.source.format.map { try FileRead.Format(named: $0) } ?? carry.format
    let filter = try options(body, given ?? .csv)
    let deadline = ContinuousClock.now + Self.patience
    // Also when files wait, or a batch is left of another run: what has come since belongs to this one.
    if !carry.isListed { try await look(place, filter, source, body) }
    var found: IngestLedger.Batch?
    var isFirst = true
    while true {
      found = try await services.ledger.nextBatch(
        source.id, run: call.id.run, order: body.order ?? .name, files: max(1, min(body.max_files_per_batch ?? 1000, 10_000)),
        bytes: max(1, body.max_bytes_per_batch ?? 1 << 30))
      if found != nil { break }
      if !body.isContinuous { return .none }
      if !isFirst {
        guard ContinuousClock.now < deadline else { return .none }
        try await Task.sleep(for: Self.pause)
      }
      isFirst = false
      // Read anew each time: the high-water mark moved.
      let fresh = try await services.ledger.source(table: entry.id, tableName: body.target, name: body.source.path)
      try await look(place, filter, fresh, body)
    }
    guard let batch = found, let first = batch.files.first else { return .none }
    guard let format = given ?? FileRead.Format(fileName: first.name) else {
      throw PlatformError(.invalidArgument, "the name '\(first.name)' does not tell the format of the file", hint: "Give source.format.", number: "PLT-3110")
    }
    var options = try options(body, format)
    let stage = LoadStage(services: services, call: call, target: entry.name)
    let positional = try await positionalColumns(entry, source, options, format)
    guard let schema = source.schema ?? options.schema ?? positional else {
      return try stage.probe(batch, format, options, quarantinesRows: body.bad_rows == .quarantine)
    }
    let columns = try await columns(entry, schema, options)
    // What has no column by its place gets none by a made-up name, unless that is asked for.
    if positional != nil, !Self.namesEvolution(body) { options.evolution = .rescue }
    // The table's own types, where it has the columns already.
    let reading = LoadStage.readable(schema, options).map { column in columns.first { $0.name.lowercased() == column.name.lowercased() } ?? column }
    return try await stage.units(
      batch, format, options, schema: reading, columns: columns, into: entry, quarantine: stage.quarantine(body.quarantine),
      quarantinesRows: body.bad_rows == .quarantine)
  }

  /// Lists the source and notes what is new. A continuous task asks a bucket only for names behind the last one, and for all of them
  /// once in a while: names need not come in order.
  private func look(_ place: SourceListing.Place, _ filter: FileOptions, _ source: IngestLedger.Source, _ body: Body) async throws {
    let isWhole = !place.isInBucket || !body.isContinuous || source.lastName == nil || (source.secondsSinceWhole ?? .infinity) > Self.wholeListingSeconds
    let last = isWhole ? nil : source.lastName
    let listed = try await BlockingPool.shared.run { try SourceListing.list(place, filter, after: last) }
    try await services.ledger.discover(source, listed, isInBucket: place.isInBucket, reloads: body.reload_changed ?? false)
    guard place.isInBucket, isWhole || !listed.isEmpty else { return }
    try await services.ledger.noteListing(source.id, last: listed.last?.file.name, isWhole: isWhole)
  }

  private static func namesEvolution(_ body: Body) -> Bool {
    body.schema_evolution != nil || body.source.options?.keys.contains { ["schemaevolutionmode", "mergeschema"].contains($0.lowercased()) } ?? false
  }

  /// The columns of a table that is there, which the fields of files without a header fill in their order; nil where names tell.
  private func positionalColumns(
    _ entry: TableEntry, _ source: IngestLedger.Source, _ options: FileOptions, _ format: FileRead.Format
  ) async throws -> [Column]? {
    guard format == .csv, !options.header, source.schema == nil, options.schema == nil else { return nil }
    let tables = services.tables
    let found = try await BlockingPool.shared.run { try tables.columns(entry) }
    let columns = LoadStage.readable(found ?? [], options)
    return columns.isEmpty ? nil : columns
  }

  /// The table's columns, which are those of the source when the table is new.
  private func columns(_ entry: TableEntry, _ schema: [Column], _ options: FileOptions) async throws -> [Column] {
    let wanted = schema + (options.rescuedColumn.map { [Column($0, .varchar)] } ?? [])
    try await BlockingPool.shared.run { try LakeTables.make(entry, columns: wanted) }
    return try await services.tables.addColumns(entry, wanted)
  }

  func commit(_ call: StageCall, results: [JSONValue]) async throws -> StageOutcome {
    let body: Body = try call.body()
    var carry = try carry(call)
    carry.isListed = true
    let parts: [FileLoadResult] = try results.decoded()
    let (entry, source) = try await source(body, call)
    guard !parts.isEmpty else {
      if body.isContinuous { return .nextStage(carry: try JSONValue(encoding: carry)) }
      return .taskDone(values: values(body, carry))
    }
    if parts[0].isProbe {
      if let gone = parts[0].gone, !gone.isEmpty { try await services.ledger.drop(source.id, parts[0].batch, gone) }
      // All of them were gone.
      guard !parts[0].columns.isEmpty else { return .nextStage(carry: try JSONValue(encoding: carry)) }
      try await services.ledger.setSchema(source.id, parts[0].columns)
      return .nextStage(carry: try JSONValue(encoding: carry))
    }
    let added = CopyPlanner.merged(parts.map(\.newColumns))
    let options = try options(body, carry.format ?? .csv)
    let isPositional = source.schema == nil && options.schema == nil
    if !added.isEmpty, options.evolution == .addNewColumns, !isPositional || Self.namesEvolution(body) {
      guard let known = source.schema else {
        throw PlatformError(
          .conflict,
          isPositional
            ? "the files have \(added.count) more columns than the table, and no header that names them"
            : "the files have columns that the given schema has not",
          hint: isPositional ? "Add columns to the table, or give source.options.schema." : "", number: "PLT-3116")
      }
      try await services.ledger.setSchema(source.id, CopyPlanner.merged([known, added]))
      return .nextStage(carry: try JSONValue(encoding: carry))
    }
    let stage = LoadStage(services: services, call: call, target: entry.name)
    let done = try await stage.commit(
      parts, source, into: entry, quarantine: stage.quarantine(body.quarantine), operation: "STREAMING UPDATE")
    carry.batches += 1
    carry.files += parts.reduce(0) { $0 + $1.filesRead }
    carry.rows += done.rows
    carry.bad += done.bad
    carry.unreadable = (carry.unreadable ?? 0) + done.badFiles
    carry.version = done.version
    try await services.catalog.addLineage([
      LineageEdge(
        sourceKind: "path", source: body.source.path, targetKind: "table", target: "\(entry.name)", targetVersion: done.version, runID: call.id.run,
        taskKey: call.id.task)
    ])
    return .nextStage(carry: try JSONValue(encoding: carry))
  }

  private func values(_ body: Body, _ carry: Carry) -> JSONValue {
    let unreadable = carry.unreadable ?? 0
    return [
      "table": .string(body.target), "version": carry.version.map { .integer($0) } ?? .null, "batches": .integer(Int64(carry.batches)),
      "files": .integer(Int64(carry.files)), "rows_out": .integer(carry.rows), "quarantined": .integer(carry.bad),
      "unreadable_files": .integer(Int64(unreadable)),
      "summary": .string(
        "\(body.target)  \(grouped(carry.rows)) rows of \(grouped(carry.files)) files, \(grouped(carry.bad)) quarantined"
          + (unreadable > 0 ? ", \(grouped(unreadable)) file\(unreadable == 1 ? "" : "s") unreadable" : "")),
    ]
  }
}
