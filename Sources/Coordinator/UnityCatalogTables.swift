// SPDX-License-Identifier: Apache-2.0

import API
import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import ObjectStore
import Query

/// Tables, their constraints and tags, for Unity Catalog's clients.
extension CoordinatorService {
  func tables(catalog parent: String, schema: String, details: Bool, _ page: PageRequest) async throws -> CatalogList<TableInfo> {
    let found = try await catalog.storedSchema(parent, schema)
    let entries = try await catalog.tables(catalog: found.catalog, schema: found.name, limit: page.limit, pageToken: page.token)
    let constraints = details ? try await catalog.constraints(entries.entries.map(\.id)) : [:]
    return entries.list("tables") { entry in
      var info = TableInfo(entry)
      if !details { info.own.columns = nil }
      info.own.tableConstraints = constraints[entry.id]?.map(TableConstraint.init)
      return info
    }
  }

  func tableSummaries(
    catalog parent: String, schemaPattern: String?, tablePattern: String?, _ page: PageRequest
  ) async throws -> CatalogList<TableSummary> {
    try await catalog.tableNames(
      catalog: catalog.storedCatalog(parent), schemaLike: schemaPattern, nameLike: tablePattern, limit: page.limit, pageToken: page.token
    ).list("tables") { TableSummary(fullName: "\($0.name)", tableType: $0.kind.uppercased()) }
  }

  /// Columns come from the table's own log, which knows nullability and partitions; from the catalog when the log cannot be read.
  func table(_ name: String) async throws -> TableInfo {
    let entry = try await catalog.table(Self.threePart(name))
    if entry.kind == .view { return TableInfo(entry) }
    let facts = try await BlockingPool.shared.run { () -> DeltaFacts? in
      do { return try DeltaFacts(reading: entry.location) } catch is PlatformError { return nil }
    }
    var info = TableInfo(entry)
    if let facts {
      info.own.columns = facts.columns
      info.facts.properties = facts.properties.merging(entry.properties) { $1 }
    }
    info.own.tableConstraints = try await catalog.constraints([entry.id])[entry.id]?.map(TableConstraint.init)
    return info
  }

  func tableExists(_ name: String) async throws -> Bool { try await catalog.findTable(Self.threePart(name)) != nil }

  func createTable(_ request: CreateTableRequest, by principal: Principal) async throws -> TableInfo {
    guard (request.dataSourceFormat ?? .delta) == .delta else {
      throw PlatformError(
        .invalidArgument, "data_source_format: '\(request.dataSourceFormat?.rawValue ?? "")' is not supported; DELTA is", number: "PLT-1702",
        path: "data_source_format")
    }
    let name = try await newName(.table, request.catalogName, request.schemaName, request.name)
    let fields = try (request.columns ?? []).enumerated().map { try Self.field($1, at: $0) }
    let columns = try zip(fields, TypeMapping.columns(StructType(fields: fields))).map { field, column in
      ColumnEntry(name: field.name, type: column.type.sql.lowercased(), comment: field.metadata["comment"]?.stringValue, isNullable: field.nullable)
    }
    switch (request.tableType, request.storageLocation) {
    case (.external, let given?): return try await register(name, at: given, request, columns: columns, by: principal)
    case (.external, nil): throw Self.missing("storage_location")
    case (.managed, let given?):
      let location = try Self.path(given)
      let facts = try await BlockingPool.shared.run { () -> DeltaFacts? in
        do { return try DeltaFacts(reading: location) } catch is PlatformError { return nil }
      }
      let entry = try await catalog.promoteStagingTable(
        name, at: location, columns: facts?.entries ?? columns, comment: request.comment ?? "", properties: request.properties ?? [:],
        by: principal.name)
      return try await table("\(entry.name)")
    case (.managed, nil): return try await makeEmpty(name, request, fields: fields, columns: columns, by: principal)
    case (.view, _), (.materializedView, _), (.streamingTable, _), (.metricView, _):
      throw PlatformError(
        .invalidArgument, "table_type: '\(request.tableType.rawValue)' is not made here", hint: "Use the SQL statement that makes it.",
        number: "PLT-1702", path: "table_type")
    }
  }

  private func register(
    _ name: ThreePartName, at given: String, _ request: CreateTableRequest, columns: [ColumnEntry], by principal: Principal
  ) async throws -> TableInfo {
    let location = try Self.path(given)
    let (roots, own) = (try await catalog.externalFolders(), configuration.layout.ownFolders)
    // Refused before it is looked at, so that nobody learns what is in a bucket that is not theirs.
    let bucket = S3Location.isS3(location) ? try await catalog.bucketPlace(location, of: "table '\(name)'") : nil
    // With columns, the log may be written later.
    let known = try await BlockingPool.shared.run {
      let folder =
        try bucket
        ?? CatalogStore.externalFolder(
          location, of: "table '\(name)'", allowedIn: roots, apartFrom: own, mayBeMissing: !columns.isEmpty)
      do { return try DeltaFacts(reading: folder).entries } catch let error as PlatformError where error.code == .notFound && !columns.isEmpty {
        return columns
      }
    }
    let entry = try await catalog.registerTable(
      name, at: location, allowedIn: roots, apartFrom: own, columns: known, comment: request.comment ?? "",
      properties: request.properties ?? [:], mayBeMissing: !columns.isEmpty, by: principal.name)
    return try await table("\(entry.name)")
  }

  /// A managed table without rows.
  private func makeEmpty(
    _ name: ThreePartName, _ request: CreateTableRequest, fields: [StructField], columns: [ColumnEntry], by principal: Principal
  ) async throws -> TableInfo {
    guard !fields.isEmpty else { throw Self.missing("columns") }
    let staged = try await catalog.createStagingTable(name, creatingIn: lake, by: principal.name)
    let partitions = (request.columns ?? []).filter { $0.partitionIndex != nil }.sorted { ($0.partitionIndex ?? 0) < ($1.partitionIndex ?? 0) }
    try await BlockingPool.shared.run {
      _ = try DeltaFacts.open(staged.location).create(
        schema: StructType(fields: fields), partitionColumns: partitions.map(\.name), name: "\(name)")
    }
    let entry = try await catalog.promoteStagingTable(
      name, at: staged.location, columns: columns, comment: request.comment ?? "", properties: request.properties ?? [:], by: principal.name)
    return try await table("\(entry.name)")
  }

  /// A column of a request as a field of a Delta schema.
  private static func field(_ column: ColumnRequest, at index: Int) throws -> StructField {
    func refuse(_ member: String, _ why: String) -> PlatformError {
      PlatformError(.invalidArgument, "columns[\(index)].\(member): \(why)", number: "PLT-1405", path: "columns[\(index)].\(member)")
    }
    var metadata: [String: JSONValue] = [:]
    if let comment = column.comment { metadata["comment"] = .string(comment) }
    func make(_ type: JSONValue) throws -> StructField {
      let field: JSONValue = [
        "type": "struct",
        "fields": [["name": .string(column.name), "type": type, "nullable": .bool(column.nullable ?? true), "metadata": .object(metadata)]],
      ]
      return try StructType(json: field).fields[0]
    }
    if let text = column.typeJSON {
      // Spark writes the whole field; others the type alone, quoted or not.
      let parsed: JSONValue
      do { parsed = try JSONValue(parsing: text) } catch { parsed = .string(text) }
      let type = parsed["type"]?.stringValue == "struct" && parsed["name"] == nil ? parsed : parsed["name"] == nil ? parsed : parsed["type"] ?? .null
      do { return try make(type) } catch { throw refuse("type_json", "is not a type of a Delta schema") }
    }
    guard let text = column.typeText ?? column.typeName?.rawValue.lowercased() else { throw refuse("type_text", "is missing") }
    do { return try make(CatalogTypeText.delta(text: text)) } catch { throw refuse("type_text", "'\(text.prefix(100))' is not a type") }
  }

  func changeTable(_ name: String, _ request: CatalogChangeRequest, by principal: Principal) async throws -> TableInfo {
    let name = try await renamed(.table, name, request.newName, by: principal)
    try await catalog.change(.table, name, request.change, by: principal.name)
    return try await table("\(name)")
  }

  func deleteTable(_ name: String, by principal: Principal) async throws { try await catalog.dropTable(Self.threePart(name), by: principal.name) }

  // MARK: constraints

  func addConstraint(_ request: CreateConstraintRequest, by principal: Principal) async throws -> TableConstraint {
    let given = request.constraint
    let entry: ConstraintEntry
    switch (given.primaryKey, given.foreignKey, given.named) {
    case (let key?, nil, nil):
      entry = ConstraintEntry(
        name: key.name, kind: .primaryKey, columns: key.childColumns, timeseries: key.timeseriesColumns ?? [], isRelied: key.rely ?? false)
    case (nil, let key?, nil):
      entry = ConstraintEntry(
        name: key.name, kind: .foreignKey, columns: key.childColumns, parent: try Self.threePart(key.parentTable),
        parentColumns: key.parentColumns ?? [], isRelied: key.rely ?? false)
    case (nil, nil, let key?): entry = ConstraintEntry(name: key.name, kind: .named)
    default:
      throw PlatformError(
        .invalidArgument, "constraint: must have one of primary_key_constraint, foreign_key_constraint, named_table_constraint", number: "PLT-1405",
        path: "constraint")
    }
    return TableConstraint(try await catalog.addConstraint(entry, to: Self.threePart(request.fullNameArg), by: principal.name))
  }

  func removeConstraint(_ constraint: String, from table: String, cascade: Bool, by principal: Principal) async throws {
    try await catalog.removeConstraint(constraint, from: Self.threePart(table), cascade: cascade, by: principal.name)
  }

  // MARK: tags

  private static func tagged(_ kind: String, _ name: String) throws -> CatalogStore.Tagged {
    switch kind.lowercased() {
    case "catalogs", "catalog": return .catalog(name)
    case "schemas", "schema":
      let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2 else { throw PlatformError(.invalidArgument, "'\(name.prefix(300))' is not catalog.schema", number: "PLT-3001") }
      return .schema(catalog: parts[0], name: parts[1])
    case "tables", "table": return .object(.table, try threePart(name))
    case "volumes", "volume": return .object(.volume, try threePart(name))
    case "models", "model", "registered_models": return .object(.model, try threePart(name))
    case "columns", "column":
      guard let dot = name.lastIndex(of: ".") else { throw PlatformError(.invalidArgument, "'\(name.prefix(300))' is not a column", number: "PLT-3001") }
      return .column(try threePart(String(name[..<dot])), String(name[name.index(after: dot)...]))
    case "connections": return .connection(name)
    case "external_locations", "external-locations": return .location(name)
    case "credentials", "storage_credentials": return .credential(name)
    default: throw PlatformError(.invalidArgument, "entity_type: '\(kind.prefix(60))' cannot have tags", number: "PLT-1405", path: "entity_type")
    }
  }

  private static func assignment(_ kind: String, _ name: String, _ entry: TagEntry) -> TagAssignment {
    TagAssignment(
      entityType: kind, entityName: name, tagKey: entry.key, tagValue: entry.value, updateTime: entry.updatedAt.formatted(.iso8601),
      updatedBy: entry.updatedBy)
  }

  func tags(_ entityType: String, _ name: String, _ page: PageRequest) async throws -> CatalogList<TagAssignment> {
    try await catalog.tags(Self.tagged(entityType, name), limit: page.limit, pageToken: page.token).list("tag_assignments") {
      Self.assignment(entityType, name, $0)
    }
  }

  func tag(_ entityType: String, _ name: String, key: String) async throws -> TagAssignment {
    Self.assignment(entityType, name, try await catalog.tag(Self.tagged(entityType, name), key: key))
  }

  func setTag(_ given: TagAssignment, replacing: Bool, by principal: Principal) async throws -> TagAssignment {
    let entry = try await catalog.setTag(
      Self.tagged(given.entityType, given.entityName), key: given.tagKey, value: given.tagValue ?? "", replacing: replacing, by: principal.name)
    return Self.assignment(given.entityType, given.entityName, entry)
  }

  func removeTag(_ entityType: String, _ name: String, key: String, by principal: Principal) async throws {
    try await catalog.removeTag(Self.tagged(entityType, name), key: key, by: principal.name)
  }
}

extension TableConstraint {
  init(_ entry: ConstraintEntry) {
    switch entry.kind {
    case .primaryKey:
      self.init(
        primaryKey: PrimaryKey(
          name: entry.name, childColumns: entry.columns, timeseriesColumns: entry.timeseries.isEmpty ? nil : entry.timeseries, rely: entry.isRelied))
    case .foreignKey:
      self.init(
        foreignKey: ForeignKey(
          name: entry.name, childColumns: entry.columns, parentTable: entry.parent.map { "\($0)" } ?? "", parentColumns: entry.parentColumns,
          rely: entry.isRelied))
    case .named: self.init(named: Named(name: entry.name))
    }
  }
}

/// What a table's log says that the catalog does not keep.
struct DeltaFacts: Sendable {
  var columns: [ColumnInfo]
  var properties: [String: String]
  /// Columns as the catalog keeps them.
  var entries: [ColumnEntry]

  static func open(_ location: String) throws -> DeltaTable {
    let (store, path) = try ObjectStores.open(location)
    return DeltaTable(store: store, path: path, parquet: DuckDBParquetHandler())
  }

  /// Reads the newest version. Blocks.
  /// - Throws: `notFound` when there is no Delta table; what keeps the log from being read.
  init(reading location: String) throws {
    let snapshot = try Self.open(location).snapshot()
    let partitions = snapshot.metadata.partitionColumns
    columns = snapshot.schema.fields.enumerated().map { index, field in
      ColumnInfo(
        name: field.name, type: field.type.json, position: index, nullable: field.nullable,
        partitionIndex: partitions.firstIndex(of: field.name), metadata: field.metadata)
    }
    properties = snapshot.metadata.configuration
    entries = try TypeMapping.columns(snapshot.schema).map { ColumnEntry(name: $0.name, type: $0.type.sql.lowercased()) }
  }
}
