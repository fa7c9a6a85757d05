// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query
import Scheduling

/// CREATE TABLE in all its forms.
extension StatementPlanner {
  static func alreadyExists(_ name: ThreePartName) -> PlatformError {
    PlatformError(
      .alreadyExists, "table '\(name)' exists already", hint: "Use CREATE OR REPLACE TABLE, or CREATE TABLE IF NOT EXISTS.", number: "PLT-3003")
  }

  func create(
    _ name: ThreePartName, _ definition: TableDefinition, _ plan: StatementPlan, _ call: StageCall, _ response: inout StatementResponse
  ) async throws {
    if definition.fields.isEmpty {
      response.version = try await register(name, definition, plan, call)
      return
    }
    try await check(definition)
    try await check(definition.keys, fields: definition.fields, of: name)
    response.version = try await make(name, plan, call, location: definition.location, operation: plan.replaces ? "CREATE OR REPLACE TABLE" : "CREATE TABLE") {
      try Self.newTable(definition, name: name, columnIds: $0?.columnIds ?? 0)
    }
    guard response.version != nil else { return }
    if plan.replaces {
      for key in try await keys(services.tables.entry(name)) where key.kind != .named {
        try await services.catalog.removeConstraint(key.name, from: name, cascade: true, by: actor(call))
      }
    }
    try await add(definition.keys, to: name, by: actor(call))
  }

  func createLike(
    _ name: ThreePartName, _ source: QualifiedName, _ definition: TableDefinition, _ plan: StatementPlan, _ call: StageCall,
    _ response: inout StatementResponse
  ) async throws {
    guard definition.partitionColumns.isEmpty, definition.clusteringColumns == nil else {
      throw PlatformError(.invalidArgument, "CREATE TABLE .. LIKE takes partitioning and clustering from its source")
    }
    let model = try await services.tables.look(self.name(source)).snapshot
    var full = definition
    full.fields = model.schema.fields.map { $0.withoutIdentity }
    full.partitionColumns = model.metadata.partitionColumns
    full.clusteringColumns = try model.clusteringNames
    full.properties = model.metadata.configuration.filter { !$0.key.isInternalProperty }
      .merging(definition.properties) { $1 }
    full.checks = model.metadata.checkConstraints.map { .init(name: $0.name, expression: $0.expression) }
    full.comment = definition.comment ?? model.metadata.description
    let complete = full
    response.version = try await make(name, plan, call, location: definition.location, operation: "CREATE TABLE") {
      try Self.newTable(complete, name: name, columnIds: $0?.columnIds ?? 0)
    }
  }

  /// The table of CREATE TABLE .. AS, with the files that an executor wrote for it.
  func createAs(_ name: ThreePartName, _ plan: StatementPlan, _ result: StatementResult, _ call: StageCall) async throws -> Int64? {
    guard let made = result.target, let schema = made.schema else { throw PlatformError(.internalError, "the statement made no table") }
    let given = plan.definition ?? TableDefinition()
    let prefix = try await newLocation(name, call) + "/"
    let files = try result.files.map { file in
      guard file.path.hasPrefix(prefix) else { throw PlatformError(.internalError, "a data file lies outside of its table: \(file.path)") }
      return AddFile(
        relativePath: String(file.path.dropFirst(prefix.count)), size: file.sizeBytes, statistics: file.statistics,
        partitionValues: file.partitionValues)
    }
    return try await make(
      name, plan, call, location: nil, operation: plan.replaces ? "CREATE OR REPLACE TABLE AS SELECT" : "CREATE TABLE AS SELECT", files: files
    ) { base in
      // The schema as the files were written: mapped names stay.
      let table = try NewTable(
        schema: StructType(parsing: schema), partitionColumns: made.partitionColumns, clusteringColumns: given.clusteringColumns ?? [],
        properties: given.properties, name: "\(name)", description: given.comment, columnIds: base?.columnIds ?? 0)
      return NewVersion(metadata: table.metadata, features: table.features, domains: table.domains)
    }
  }

  /// What the executor of CREATE TABLE .. AS writes for.
  /// - Throws: `invalidArgument` for options that cannot be meant, before the query runs.
  func target(of definition: TableDefinition?, name: ThreePartName) throws -> WriteTarget {
    guard let definition else { return WriteTarget(name: "\(name)", schema: nil) }
    guard definition.location == nil else {
      throw PlatformError(.invalidArgument, "CREATE TABLE .. AS with LOCATION is not supported", hint: "CREATE TABLE .. LOCATION first, then INSERT INTO.")
    }
    try TablePropertyNames.check(definition.properties.keys)
    try TableProperties(definition.properties).validate()
    return WriteTarget(
      name: "\(name)", schema: nil, partitionColumns: definition.partitionColumns,
      properties: definition.properties.filter { !$0.key.hasPrefix("delta.feature.") })
  }

  /// Makes the catalog's entry and the table's first version; or, with OR REPLACE, the next version of a table that is there.
  /// - Parameter build: the table; is given the table that is replaced.
  /// - Returns: the version; nil when IF NOT EXISTS found a table.
  func make(
    _ name: ThreePartName, _ plan: StatementPlan, _ call: StageCall, location: String?, operation: String,
    _ build: @escaping @Sendable (Snapshot?) throws -> NewTable
  ) async throws -> Int64? {
    try await make(name, plan, call, location: location, operation: operation, files: []) { base in
      let table = try build(base)
      return NewVersion(metadata: table.metadata, features: table.features, domains: table.domains)
    }
  }

  /// What a table starts with.
  struct NewVersion: Sendable {
    var metadata: TableMetadata
    var features: Set<TableFeature>
    /// Domains; files are given apart.
    var domains: [Action]
  }

  func make(
    _ name: ThreePartName, _ plan: StatementPlan, _ call: StageCall, location: String?, operation: String, files: [AddFile],
    _ build: @escaping @Sendable (Snapshot?) throws -> NewVersion
  ) async throws -> Int64? {
    let key = call.commitKey
    let actor = self.actor(call)
    if let entry = try await services.catalog.findTable(name) {
      let present = try await BlockingPool.shared.run {
        let table = try services.tables.log(entry)
        return try table.exists() ? table.snapshot() : nil
      }
      if let present {
        if LakeTables.isDone(present, key) { return try await services.tables.change(entry, key: key) { _, _ in nil }.version }
        if plan.isConditional { return nil }
        guard plan.replaces else { throw Self.alreadyExists(name) }
        if let location, location != entry.location {
          throw PlatformError(.invalidArgument, "table '\(name)' lies elsewhere, and OR REPLACE does not move it", path: location)
        }
        return try await services.tables.change(entry, key: key) { base, _ in
          let new = try build(base)
          return try .replace(base, by: new.metadata, features: new.features, domains: new.domains, files: files, operation: operation)
        }.version
      }
    }
    let new = try build(nil)
    let columns = try TypeMapping.columns(StructType(parsing: new.metadata.schemaString))
      .map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }
    let user = LakeTables.committer
    let begin: @Sendable (String) throws -> Snapshot = { place in
      if !S3Location.isS3(place) { try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true) }
      let table = try LakeTables.log(place)
      _ = try table.create(
        new.metadata, features: new.features, actions: new.domains + files.map { .add($0) }, transaction: LakeTables.transaction(key),
        operation: operation, userName: user)
      return try table.snapshot()
    }
    let after: Snapshot
    let entry: TableEntry
    if let location {
      // Before the catalog knows of the table.
      try await BlockingPool.shared.run {
        try ReadOnlyPlaces.shared.requireWritable(location)
        try DeltaTable.checkNew(new.metadata, features: new.features, actions: new.domains)
      }
      entry = try await external(name, location, columns, comment: new.metadata.description ?? "", by: actor)
      after = try await BlockingPool.shared.run { try begin(entry.location) }
    } else {
      // The folder that executors were given, when they have written files for this table. Its log comes first: what the catalog names is there.
      let place = try await newLocation(name, call)
      do { after = try await BlockingPool.shared.run { try begin(place) } } catch let error as PlatformError {
        if plan.isConditional && error.code == .alreadyExists { return nil }
        // What no table can be made of: its files are of no use.
        let isNamed = try await services.catalog.findTable(name) != nil
        if error.code == .invalidArgument && !isNamed {
          try await BlockingPool.shared.run { try FileManager.default.removeItem(atPath: place) }
        }
        throw error
      }
      entry = try await services.catalog.table(name, creatingIn: services.layout.lake, columns: columns, by: actor, location: place)
      guard entry.location == place else {
        try await BlockingPool.shared.run { try FileManager.default.removeItem(atPath: place) }
        if plan.isConditional { return nil }
        throw Self.alreadyExists(name)
      }
    }
    try await services.tables.show(after, of: entry)
    return after.version
  }

  static func newTable(_ definition: TableDefinition, name: ThreePartName, columnIds: Int64 = 0) throws -> NewTable {
    try TablePropertyNames.check(definition.properties.keys)
    var checks: [(name: String, expression: String)] = []
    for (index, check) in definition.checks.enumerated() { checks.append((check.name ?? "check_\(index + 1)", check.expression)) }
    // A primary key is never null.
    let keyed = Set(definition.keys.filter { $0.kind == .primary }.flatMap(\.columns).map { $0.lowercased() })
    let fields = definition.fields.map { field in
      var field = field
      if keyed.contains(field.name.lowercased()) { field.nullable = false }
      return field
    }
    return try NewTable(
      schema: StructType(fields: fields), partitionColumns: definition.partitionColumns,
      clusteringColumns: definition.clusteringColumns ?? [], properties: definition.properties, checks: checks, name: "\(name)",
      description: definition.comment, columnIds: columnIds)
  }

  /// Expressions are bound once here, so that what is wrong with them is said now and not at the first insert.
  func check(_ definition: TableDefinition) async throws {
    try await BlockingPool.shared.run {
      let columns = try TypeMapping.columns(StructType(fields: definition.fields))
      for check in definition.checks {
        try TableExpression.check(check.expression, columns: columns, what: "the constraint '\(check.name ?? check.expression)'")
      }
      let generated = Set(definition.fields.filter { $0.metadata["delta.generationExpression"] != nil }.map(\.name))
      for field in definition.fields {
        if let text = field.metadata["CURRENT_DEFAULT"]?.stringValue {
          try TableExpression.check(text, columns: [], castTo: TypeMapping.sql(field.type), what: "the default of '\(field.name)'")
        }
        if let text = field.metadata["delta.generationExpression"]?.stringValue {
          try TableExpression.check(
            text, columns: columns.filter { !generated.contains($0.name) }, castTo: TypeMapping.sql(field.type),
            what: "the generated column '\(field.name)'")
        }
      }
    }
  }

  // MARK: Locations

  /// Gives a table that lies in an allowed folder a name.
  private func register(_ name: ThreePartName, _ definition: TableDefinition, _ plan: StatementPlan, _ call: StageCall) async throws -> Int64? {
    guard let location = definition.location else { throw PlatformError(.invalidArgument, "a table needs columns") }
    if let entry = try await services.catalog.findTable(name) {
      if plan.isConditional || entry.location == location { return nil }
      throw Self.alreadyExists(name)
    }
    guard definition.properties.isEmpty, definition.partitionColumns.isEmpty, definition.clusteringColumns == nil else {
      throw PlatformError(.invalidArgument, "a table that is there already keeps its properties and partitioning", hint: "Change them with ALTER TABLE.")
    }
    let roots = try await services.catalog.externalFolders()
    let own = services.layout.ownFolders
    let bucket = S3Location.isS3(location) ? try await services.catalog.bucketPlace(location, of: "table '\(name)'") : nil
    let (folder, columns, comment) = try await BlockingPool.shared.run {
      let folder = try bucket ?? CatalogStore.externalFolder(location.withoutFileScheme, of: "table '\(name)'", allowedIn: roots, apartFrom: own)
      let table = try LakeTables.log(folder)
      guard try table.exists() else {
        throw PlatformError(
          .invalidArgument, "there is no Delta table in the folder, and the statement names no columns",
          hint: "Name the columns of a new table.", path: location)
      }
      let snapshot = try table.snapshot()
      return (folder, try TypeMapping.columns(snapshot.schema), definition.comment ?? snapshot.metadata.description ?? "")
    }
    let entry = try await services.catalog.registerTable(
      name, at: folder, allowedIn: roots, apartFrom: own,
      columns: columns.map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }, comment: comment, properties: [:],
      by: actor(call))
    return try await services.tables.look(entry.name).snapshot.version
  }

  /// The entry of a new table in an allowed folder, which is made when its parent is there.
  private func external(
    _ name: ThreePartName, _ location: String, _ columns: [ColumnEntry], comment: String, by actor: String
  ) async throws -> TableEntry {
    if S3Location.isS3(location) {
      return try await externalInBucket(name, location, columns, comment: comment, by: actor)
    }
    let path = location.withoutFileScheme
    let roots = try await services.catalog.externalFolders()
    let own = services.layout.ownFolders
    try await BlockingPool.shared.run {
      let parent = (path as NSString).deletingLastPathComponent
      // The parent is judged first, so that nothing is made outside of what is allowed.
      if !FileManager.default.fileExists(atPath: path) {
        _ = try CatalogStore.externalFolder(parent, of: "table '\(name)'", allowedIn: roots, apartFrom: own)
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw PlatformError.system("make the folder", path) }
      }
      let folder = try CatalogStore.externalFolder(path, of: "table '\(name)'", allowedIn: roots, apartFrom: own)
      let present = try FileManager.default.contentsOfDirectory(atPath: folder).filter { !$0.hasPrefix(".") }
      guard present.isEmpty else {
        throw PlatformError(
          .conflict, "the folder for the new table is not empty",
          hint: present.contains("_delta_log")
            ? "It holds a Delta table: leave the columns out to give that one a name." : "Use an empty one.",
          path: path)
      }
    }
    return try await services.catalog.registerTable(
      name, at: path, allowedIn: roots, apartFrom: own, columns: columns, comment: comment, properties: [:], by: actor)
  }
}

extension StatementPlanner {
  /// The entry of a new table in a bucket, where nothing is yet.
  private func externalInBucket(
    _ name: ThreePartName, _ location: String, _ columns: [ColumnEntry], comment: String, by actor: String
  ) async throws -> TableEntry {
    let place = try await services.catalog.bucketPlace(location, of: "table '\(name)'")
    try await BlockingPool.shared.run {
      let table = try LakeTables.log(place)
      guard try !table.exists() else {
        throw PlatformError(
          .conflict, "there is a Delta table at the place of the new table", hint: "Leave the columns out to give that one a name.", path: place)
      }
    }
    return try await services.catalog.registerTable(
      name, at: place, allowedIn: [], apartFrom: services.layout.ownFolders, columns: columns, comment: comment, properties: [:], by: actor)
  }
}

extension String {
  /// `file:///data/t` as `/data/t`.
  var withoutFileScheme: String {
    var path = hasPrefix("file://") ? String(dropFirst(7)) : hasPrefix("file:/") ? String(dropFirst(5)) : self
    while path.count > 1 && path.hasSuffix("/") { path.removeLast() }
    return path
  }

  /// Properties that the protocol keeps for itself.
  var isInternalProperty: Bool {
    hasPrefix("delta.constraints.") || hasPrefix("delta.columnMapping.maxColumnId") || hasPrefix("delta.rowTracking.materialized")
      || hasPrefix("delta.inCommitTimestampEnablement")
  }
}

extension StructField {
  /// This field with an identity that starts anew, and without mapping.
  var withoutIdentity: StructField {
    var field = self
    for key in [
      "delta.identity.highWaterMark", "delta.columnMapping.id", "delta.columnMapping.physicalName", "delta.columnMapping.nested.ids", "delta.typeChanges",
    ] {
      field.metadata[key] = nil
    }
    field.type = field.type.withoutMapping
    return field
  }
}

extension DeltaType {
  fileprivate var withoutMapping: DeltaType {
    switch self {
    case .primitive: self
    case .array(let item, let containsNull): .array(item.withoutMapping, containsNull: containsNull)
    case .map(let key, let value, let containsNull): .map(key.withoutMapping, value.withoutMapping, valueContainsNull: containsNull)
    case .structure(let type): .structure(StructType(fields: type.fields.map(\.withoutIdentity)))
    }
  }
}

extension Snapshot {
  /// The highest id that column mapping has given.
  var columnIds: Int64 { metadata.configuration["delta.columnMapping.maxColumnId"].flatMap { Int64($0) } ?? 0 }

  /// Clustering columns by display name; empty: the table is not clustered.
  var clusteringNames: [[String]] {
    get throws {
      try ClusteringColumns.read(domains).map { physical in
        var fields = schema.fields
        return physical.map { name in
          let found = fields.first { $0.physicalName == name }
          if case .structure(let inner)? = found?.type { fields = inner.fields }
          return found?.name ?? name
        }
      }
    }
  }
}
