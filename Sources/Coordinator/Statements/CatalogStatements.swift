// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DuckDB
import Foundation
import Query
import Scheduling

/// Statements about catalogs, schemas, volumes, views and functions. Names are found in any case of letters; new ones are made in small
/// letters.
extension StatementPlanner {
  /// - Returns: whether the statement was one about the catalog's objects, and is done.
  func catalogStatement(
    _ work: StatementWork, _ call: StageCall, _ session: inout SQLContext, _ response: inout StatementResponse
  ) async throws -> Bool {
    if work.plan.kind == .dropTable, let target = work.plan.target, try await isView(target) {
      throw PlatformError(.invalidArgument, "'\(target)' is a view", hint: "Use DROP VIEW.", number: "PLT-3002")
    }
    guard let command = work.plan.catalogCommand else { return false }
    let user = try await self.user(call)
    let catalog = services.catalog
    switch command {
    case .createCatalog(let name, let options):
      try Self.requireNoLocation(options)
      if try await unlessMissing({ try await catalog.storedCatalog(name.catalog) }) != nil {
        if options.isConditional { return true }
        throw Self.taken(name)
      }
      try await catalog.createCatalog(name.catalog.lowercased(), comment: options.comment, properties: options.properties, by: user)
    case .createSchema(let name, let options):
      try Self.requireNoLocation(options)
      let parent = try await catalog.storedCatalog(name.catalog)
      if try await unlessMissing({ try await catalog.storedSchema(parent, name.schema) }) != nil {
        if options.isConditional { return true }
        throw Self.taken(name)
      }
      _ = try await catalog.createSchema(
        catalog: parent, name: name.schema.lowercased(), comment: options.comment, properties: options.properties, by: user)
    case .createVolume(let name, let options, _):
      let new = try await newName(name)
      if try await catalog.findStored(.volume, new) != nil {
        if options.isConditional { return true }
        throw Self.taken(name)
      }
      if let location = options.location {
        _ = try await catalog.createVolume(
          new, at: CoordinatorService.path(location), allowedIn: catalog.externalFolders(), apartFrom: services.layout.ownFolders,
          comment: options.comment, by: user)
      } else {
        _ = try await catalog.createVolume(new, creatingIn: services.layout.lake, comment: options.comment, by: user)
      }
    case .createView(let view): try await createView(view, work, call, user, &session)
    case .createFunction(let function): try await createFunction(function, work, call, user)
    case .drop(let name, let ifExists, let cascade):
      do {
        try await drop(name, cascade: cascade, user, &session)
      } catch let error as PlatformError where error.code == .notFound && ifExists { return true }
    case .comment(let name, let text): try await change(name, CatalogStore.Change(comment: text ?? ""), user)
    case .alter(let name, let change): try await alter(name, change, work, call, user, session)
    case .show(let kind, let place, let pattern): try await show(kind, place, pattern, session, &response)
    case .describe(let name, let extended): try await describe(name, extended: extended, &response)
    case .showCreate(let name): try await showCreate(name, &response)
    case .undrop(let name, let id): try await undrop(name, id: id, user)
    case .undropModel(let name, let id):
      let schema = try await catalog.storedSchema(name.catalog, name.schema)
      try await catalog.undrop(
        .model, [schema.catalog, schema.name, name.name], id: id.map { try CoordinatorService.identifier($0, "WITH ID") }, by: user)
    case .showDropped(let place): try await showDropped(place, session, &response)
    case .use(let newCatalog, let newSchema):
      let parent = try await catalog.storedCatalog(newCatalog ?? session.catalog)
      if let newSchema {
        (session.catalog, session.schema) = try await catalog.storedSchema(parent, newSchema)
      } else {
        // A catalog's own default schema, as in Unity Catalog; it need not exist until it is used.
        (session.catalog, session.schema) = (parent, "default")
      }
    }
    return true
  }

  // MARK: names

  static func taken(_ name: CatalogCommand.ObjectName) -> PlatformError {
    PlatformError(
      .alreadyExists, "\(name.kind.rawValue) '\(name)' exists already", hint: "Use IF NOT EXISTS to leave it as it is.", number: "PLT-3003")
  }

  static func threePart(_ name: CatalogCommand.ObjectName) -> ThreePartName {
    ThreePartName(catalog: name.catalog, schema: name.schema, name: name.name)
  }

  /// The name of an object to be made: its schema as stored, itself in small letters.
  func newName(_ name: CatalogCommand.ObjectName) async throws -> ThreePartName {
    let found = try await services.catalog.storedSchema(name.catalog, name.schema)
    return ThreePartName(catalog: found.catalog, schema: found.name, name: name.name.lowercased())
  }

  private func unlessMissing<T>(_ body: () async throws -> T) async throws -> T? {
    do { return try await body() } catch let error as PlatformError where error.code == .notFound { return nil }
  }

  private static func requireNoLocation(_ options: CatalogCommand.Options) throws {
    guard options.location == nil else {
      throw PlatformError(
        .invalidArgument, "catalogs and schemas have no location of their own",
        hint: "Give the location to a table or an external volume.", number: "PLT-1702")
    }
  }

  /// What a statement calls the object, as the catalog has it.
  /// - Throws: `notFound` PLT-3002.
  func stored(_ name: CatalogCommand.ObjectName) async throws -> ThreePartName {
    let given = Self.threePart(name)
    let kind: CatalogStore.ObjectKind =
      switch name.kind {
      case .volume: .volume
      case .function: .function
      default: .table
      }
    guard let found = try await services.catalog.findStored(kind, given) else {
      throw PlatformError(.notFound, "\(name.kind.rawValue) '\(name)' does not exist", number: "PLT-3002")
    }
    if name.kind == .view { _ = try await services.catalog.view(found) }
    return found
  }

  // MARK: changes

  private func drop(_ name: CatalogCommand.ObjectName, cascade: Bool, _ user: String, _ session: inout SQLContext) async throws {
    let catalog = services.catalog
    switch name.kind {
    case .catalog: try await catalog.dropCatalog(catalog.storedCatalog(name.catalog), force: cascade, by: user)
    case .schema:
      let found = try await catalog.storedSchema(name.catalog, name.schema)
      try await catalog.dropSchema(catalog: found.catalog, name: found.name, force: cascade, by: user)
    case .volume: try await catalog.dropVolume(stored(name), by: user)
    case .function: try await catalog.dropFunction(stored(name), by: user)
    case .view, .table:
      if name.isPlain, session.temporaryViews.removeValue(forKey: name.name.lowercased()) != nil { return }
      try await catalog.dropView(stored(name), by: user)
    }
  }

  private func change(_ name: CatalogCommand.ObjectName, _ change: CatalogStore.Change, _ user: String) async throws {
    let catalog = services.catalog
    switch name.kind {
    case .catalog: try await catalog.changeCatalog(catalog.storedCatalog(name.catalog), change, by: user)
    case .schema:
      let found = try await catalog.storedSchema(name.catalog, name.schema)
      try await catalog.changeSchema(catalog: found.catalog, name: found.name, change, by: user)
    case .volume: try await catalog.change(.volume, stored(name), change, by: user)
    case .function: try await catalog.change(.function, stored(name), change, by: user)
    case .view, .table: try await catalog.change(.table, stored(name), change, by: user)
    }
  }

  private func undrop(_ name: CatalogCommand.ObjectName, id: String?, _ user: String) async throws {
    let identifier = try id.map { try CoordinatorService.identifier($0, "WITH ID") }
    let catalog = services.catalog
    switch name.kind {
    case .catalog: try await catalog.undrop(.catalog, [name.catalog.lowercased()], id: identifier, by: user)
    case .schema:
      try await catalog.undrop(.schema, [catalog.storedCatalog(name.catalog), name.schema.lowercased()], id: identifier, by: user)
    case .table, .view, .volume, .function:
      let schema = try await catalog.storedSchema(name.catalog, name.schema)
      try await catalog.undrop(
        name.kind == .volume ? .volume : name.kind == .function ? .function : .table, [schema.catalog, schema.name, name.name.lowercased()], id: identifier,
        by: user)
    }
  }

  private func showDropped(_ place: CatalogCommand.ObjectName?, _ session: SQLContext, _ response: inout StatementResponse) async throws {
    let found = try await services.catalog.storedSchema(place?.catalog ?? session.catalog, place?.schema ?? session.schema)
    let entries = try await everything {
      try await services.catalog.dropped(catalog: found.catalog, schema: found.name, limit: 1000, pageToken: $0)
    }.filter { $0.kind == .table }
    response.columns = ["tableName", "tableId", "deletedAt", "deletedBy"].map { .init(name: $0, type: $0 == "deletedAt" ? "timestamp" : "varchar") }
    response.rows = entries.map {
      [.string($0.name), .string($0.id.uuidString.lowercased()), .string($0.droppedAt.formatted(.iso8601)), .string($0.droppedBy)]
    }
  }

  private func properties(_ name: CatalogCommand.ObjectName) async throws -> [String: String] {
    switch name.kind {
    case .catalog: return try await services.catalog.catalog(services.catalog.storedCatalog(name.catalog)).properties
    case .schema:
      let found = try await services.catalog.storedSchema(name.catalog, name.schema)
      return try await services.catalog.schema(catalog: found.catalog, name: found.name).properties
    case .volume: throw PlatformError(.invalidArgument, "a volume has no properties")
    case .function: return try await services.catalog.function(stored(name)).properties
    case .view, .table: return try await services.catalog.view(stored(name)).properties
    }
  }

  private func alter(
    _ name: CatalogCommand.ObjectName, _ change: CatalogCommand.Change, _ work: StatementWork, _ call: StageCall, _ user: String,
    _ session: SQLContext
  ) async throws {
    switch change {
    case .owner(let owner): try await self.change(name, CatalogStore.Change(owner: owner), user)
    case .setProperties(let new):
      let merged = try await properties(name).merging(new) { $1 }
      try await self.change(name, CatalogStore.Change(properties: merged), user)
    case .unsetProperties(let keys, let ifExists):
      var left = try await properties(name)
      for key in keys where left.removeValue(forKey: key) == nil && !ifExists {
        throw PlatformError(.notFound, "\(name.kind.rawValue) '\(name)' has no property '\(key)'", hint: "Use IF EXISTS.", number: "PLT-3002")
      }
      try await self.change(name, CatalogStore.Change(properties: left), user)
    case .query(let query): try await alterView(name, query, work, call, user, session)
    case .rename(let new): try await rename(name, new, user)
    case .setTags(let tags):
      try await setTags(tags, of: tagged(name), by: user)
    case .unsetTags(let keys):
      let tagged = try await tagged(name)
      for key in keys { try await services.catalog.removeTag(tagged, key: key, by: user) }
    }
  }

  /// Gives tags, in place of those of the same keys.
  func setTags(_ tags: [String: String], of tagged: CatalogStore.Tagged, by user: String) async throws {
    for (key, value) in tags.sorted(by: { $0.key < $1.key }) {
      do { _ = try await services.catalog.setTag(tagged, key: key, value: value, replacing: true, by: user) } catch let error as PlatformError
        where error.code == .notFound
      { _ = try await services.catalog.setTag(tagged, key: key, value: value, replacing: false, by: user) }
    }
  }

  private func rename(_ name: CatalogCommand.ObjectName, _ new: CatalogCommand.ObjectName, _ user: String) async throws {
    let catalog = services.catalog
    switch name.kind {
    case .catalog: _ = try await catalog.renameCatalog(catalog.storedCatalog(name.catalog), to: new.catalog.lowercased(), by: user)
    case .schema:
      let found = try await catalog.storedSchema(name.catalog, name.schema)
      guard new.isPlain || new.catalog.lowercased() == found.catalog.lowercased() else {
        throw PlatformError(.invalidArgument, "a schema stays in its catalog", number: "PLT-1702")
      }
      _ = try await catalog.renameSchema(catalog: found.catalog, name: found.name, to: new.schema.lowercased(), by: user)
    case .volume, .function, .view, .table:
      let old = try await stored(name)
      // A new name of one part stays beside the old one, wherever the statement is.
      let target = new.isPlain ? ThreePartName(catalog: old.catalog, schema: old.schema, name: new.name.lowercased()) : try await newName(new)
      let kind: CatalogStore.ObjectKind = name.kind == .volume ? .volume : name.kind == .function ? .function : .table
      _ = try await catalog.rename(kind, old, to: target, by: user)
    }
  }

  private func tagged(_ name: CatalogCommand.ObjectName) async throws -> CatalogStore.Tagged {
    switch name.kind {
    case .catalog: .catalog(name.catalog)
    case .schema: .schema(catalog: name.catalog, name: name.schema)
    case .volume: .object(.volume, try await stored(name))
    case .function: .object(.function, try await stored(name))
    case .view, .table: .object(.table, try await stored(name))
    }
  }

  // MARK: SHOW, DESCRIBE

  private func show(
    _ kind: CatalogCommand.Kind, _ place: CatalogCommand.ObjectName?, _ pattern: String?, _ session: SQLContext,
    _ response: inout StatementResponse
  ) async throws {
    let catalog = services.catalog
    func answer(_ columns: [String], _ rows: [[JSONValue]]) {
      response.columns = columns.map { .init(name: $0, type: $0 == "isTemporary" ? "boolean" : "varchar") }
      response.rows = rows
    }
    func schema() async throws -> (catalog: String, name: String) {
      try await catalog.storedSchema(place?.catalog ?? session.catalog, place?.schema ?? session.schema)
    }
    switch kind {
    case .catalog:
      let names = try await everything { try await catalog.catalogs(limit: 1000, pageToken: $0) }.map(\.name)
      answer(["catalog"], names.filter { CatalogCommand.matches($0, pattern) }.map { [.string($0)] })
    case .schema:
      let parent = try await catalog.storedCatalog(place?.catalog ?? session.catalog)
      let names = try await everything { try await catalog.schemas(catalog: parent, limit: 1000, pageToken: $0) }.map(\.name)
      answer(["databaseName"], names.filter { CatalogCommand.matches($0, pattern) }.map { [.string($0)] })
    case .table:
      let found = try await schema()
      let entries = try await catalog.tables(catalog: found.catalog, schema: found.name).filter { CatalogCommand.matches($0.name.name, pattern) }
      let temporary = place == nil ? session.temporaryViews.keys.sorted().filter { CatalogCommand.matches($0, pattern) } : []
      answer(
        ["database", "tableName", "isTemporary"],
        entries.map { [.string($0.name.schema), .string($0.name.name), .bool(false)] } + temporary.map { [.string(""), .string($0), .bool(true)] })
    case .view:
      let found = try await schema()
      let entries = try await catalog.tables(catalog: found.catalog, schema: found.name).filter { $0.kind == .view }
      let temporary = place == nil ? session.temporaryViews.keys.sorted().map { ("", $0, true) } : []
      let all = entries.map { ($0.name.schema, $0.name.name, false) } + temporary
      answer(
        ["namespace", "viewName", "isTemporary"],
        all.filter { CatalogCommand.matches($0.1, pattern) }.map { [.string($0.0), .string($0.1), .bool($0.2)] })
    case .volume:
      let found = try await schema()
      let names = try await everything { try await catalog.volumes(catalog: found.catalog, schema: found.name, limit: 1000, pageToken: $0) }
      answer(
        ["database", "volume_name"],
        names.filter { CatalogCommand.matches($0.name.name, pattern) }.map { [.string($0.name.schema), .string($0.name.name)] })
    case .function:
      let found = try await schema()
      let names = try await everything { try await catalog.functions(catalog: found.catalog, schema: found.name, limit: 1000, pageToken: $0) }
      answer(["function"], names.filter { CatalogCommand.matches($0.name.name, pattern) }.map { [.string("\($0.name)")] })
    }
  }

  /// A whole listing.
  func everything<Entry>(_ page: (String?) async throws -> CatalogPage<Entry>) async throws -> [Entry] {
    var entries: [Entry] = []
    var token: String?
    repeat {
      let next = try await page(token)
      entries += next.entries
      token = next.nextPageToken
    } while token != nil
    return entries
  }

  private func describe(_ name: CatalogCommand.ObjectName, extended: Bool, _ response: inout StatementResponse) async throws {
    let catalog = services.catalog
    var facts: [(String, String)] = []
    switch name.kind {
    case .catalog:
      let entry = try await catalog.catalog(catalog.storedCatalog(name.catalog))
      facts = [("Catalog Name", entry.name), ("Comment", entry.comment), ("Owner", entry.owner)]
      if extended { facts += Self.facts(entry.createdAt, entry.updatedAt, entry.properties) }
    case .schema:
      let found = try await catalog.storedSchema(name.catalog, name.schema)
      let entry = try await catalog.schema(catalog: found.catalog, name: found.name)
      facts = [("Catalog Name", entry.catalog), ("Namespace Name", entry.name), ("Comment", entry.comment), ("Owner", entry.owner)]
      if extended { facts += Self.facts(entry.createdAt, entry.updatedAt, entry.properties) }
    case .volume:
      let entry = try await catalog.volume(stored(name))
      facts = [
        ("name", entry.name.name), ("catalog", entry.name.catalog), ("database", entry.name.schema), ("owner", entry.owner),
        ("storage_location", "file://" + entry.location), ("volume_type", entry.kind.rawValue.uppercased()), ("comment", entry.comment),
      ]
    case .function:
      let entry = try await catalog.function(stored(name))
      let definition = entry.definition
      facts = [("Function", "\(entry.name)"), ("Type", definition.returns == nil ? "TABLE" : "SCALAR")]
      facts += definition.parameters.map { parameter in
        (
          "Input",
          ["\(parameter.name) \(parameter.type)", parameter.defaultValue.map { "DEFAULT \($0)" }, parameter.comment.map { "'\($0)'" }]
            .compactMap { $0 }.joined(separator: " ")
        )
      }
      facts.append(("Returns", definition.returns ?? definition.columns.map { "\($0.name) \($0.type)" }.joined(separator: ", ")))
      facts += [("Comment", entry.comment), ("Owner", entry.owner)]
      if let known = definition.isDeterministic { facts.append(("Deterministic", String(known))) }
      if extended { facts += Self.facts(entry.createdAt, entry.updatedAt, entry.properties) }
      facts.append(("Body", definition.body))
    case .view, .table: break
    }
    response.columns = [.init(name: "info_name", type: "varchar"), .init(name: "info_value", type: "varchar")]
    response.rows = facts.map { [.string($0.0), .string($0.1)] }
  }

  private static func facts(_ created: Date, _ updated: Date, _ properties: [String: String]) -> [(String, String)] {
    let list = properties.sorted { $0.key < $1.key }.map { "(\($0.key),\($0.value))" }.joined(separator: ", ")
    return [("Created", created.formatted(.iso8601)), ("Updated", updated.formatted(.iso8601)), ("Properties", list.isEmpty ? "" : "(\(list))")]
  }
}
