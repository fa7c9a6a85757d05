// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DuckDB
import Query
import Scheduling

/// Statements about views. A view keeps its query as text, what short names in it meant, and the columns that it had when it was made.
extension StatementPlanner {
  func createView(
    _ view: CatalogCommand.View, _ work: StatementWork, _ call: StageCall, _ user: String, _ session: inout SQLContext
  ) async throws {
    if view.isTemporary {
      let key = view.name.name.lowercased()
      if session.temporaryViews[key] != nil, !view.options.replaces {
        if view.options.isConditional { return }
        throw Self.taken(view.name)
      }
      // A view may take the place of one that it reads: what it read stays what it was.
      let (definition, columns, _) = try await bind(view.query, view.columns, session, call, user, work, owner: view.name.name, isTemporary: true)
      session.temporaryViews[key] = .init(view: definition, columns: columns, comment: view.options.comment)
      return
    }
    let name = try await newName(view.name)
    if let taken = try await services.catalog.findStored(.table, name), !view.options.replaces {
      if view.options.isConditional, try await services.catalog.table(taken).kind == .view { return }
      throw Self.taken(view.name)
    }
    let (definition, columns, sources) = try await bind(view.query, view.columns, session, call, user, work, owner: "\(name)", isTemporary: false)
    _ = try await services.catalog.setView(
      name, definition, columns: columns, comment: view.options.comment, properties: view.options.properties, replaces: view.options.replaces,
      by: user)
    try await addLineage(sources, target: ("view", "\(name)", nil), call, user)
  }

  func alterView(
    _ view: CatalogCommand.ObjectName, _ query: String, _ work: StatementWork, _ call: StageCall, _ user: String, _ session: SQLContext
  ) async throws {
    let name = try await stored(view)
    let (definition, columns, sources) = try await bind(query, [], session, call, user, work, owner: "\(name)", isTemporary: false)
    _ = try await services.catalog.setView(name, definition, columns: columns, comment: nil, properties: nil, replaces: true, by: user)
    try await addLineage(sources, target: ("view", "\(name)", nil), call, user)
  }

  /// Finds a query's columns without running it.
  private func bind(
    _ query: String, _ given: [(name: String, comment: String?)], _ session: SQLContext, _ call: StageCall, _ user: String,
    _ work: StatementWork, owner: String, isTemporary: Bool
  ) async throws -> (ViewDefinition, [ColumnEntry], StatementSources) {
    let plan = try await BlockingPool.shared.run {
      try StatementPlan(query: query, catalog: session.catalog, schema: session.schema, first: (0, 0))
    }
    var resolver = StatementResolver(services: services, session: session, system: SystemRelations(services: services, call: call))
    try await resolver.resolve(plan, owner: owner, allowsTemporary: isTemporary)
    let found = try await resolver.columns(of: plan.sql, variables: work.variables(user: user))
    guard !found.isEmpty else { throw PlatformError(.invalidArgument, "a view needs at least one column") }
    guard given.isEmpty || given.count == found.count else {
      throw PlatformError(.invalidArgument, "the view names \(given.count) columns, its query gives \(found.count)")
    }
    var seen: Set<String> = []
    if let double = given.first(where: { !seen.insert($0.name.lowercased()).inserted }) {
      throw PlatformError(.invalidArgument, "the view names the column '\(double.name)' twice")
    }
    let columns = found.enumerated().map { index, column in
      ColumnEntry(
        name: given.isEmpty ? column.name : given[index].name, type: Self.typeText(column.type), comment: given.isEmpty ? nil : given[index].comment)
    }
    var sources = resolver.sources
    sources.columns = resolver.columnLineage(plan, targetColumns: columns.map(\.name))
    let definition = ViewDefinition(query: query, catalog: session.catalog, schema: session.schema, sources: found.map(\.name))
    return (definition, columns, sources)
  }

  /// In small letters, but for names of fields.
  static func typeText(_ type: SQLType) -> String { type.sql.contains("\"") ? type.sql : type.sql.lowercased() }

  func isView(_ name: QualifiedName) async throws -> Bool {
    let given = ThreePartName(catalog: name.catalog, schema: name.schema, name: name.name)
    guard let found = try await services.catalog.findStored(.table, given) else { return false }
    return try await services.catalog.table(found).kind == .view
  }

  /// DESCRIBE of a view; false when the name is not one's.
  func describeView(_ target: QualifiedName, _ session: SQLContext, _ response: inout StatementResponse) async throws -> Bool {
    let columns: [ColumnEntry]
    if target.catalog == session.catalog, target.schema == session.schema, let temporary = session.temporaryViews[target.name.lowercased()] {
      columns = temporary.columns
    } else {
      let given = ThreePartName(catalog: target.catalog, schema: target.schema, name: target.name)
      guard let name = try await services.catalog.findStored(.table, given) else { return false }
      let entry = try await services.catalog.table(name)
      guard entry.kind == .view else { return false }
      columns = entry.columns
    }
    response.columns = ["column", "type", "comment"].map { .init(name: $0, type: "varchar") }
    response.rows = columns.map { [.string($0.name), .string($0.type.lowercased()), $0.comment.map { .string($0) } ?? .null] }
    return true
  }

  func showCreate(_ name: CatalogCommand.ObjectName, _ response: inout StatementResponse) async throws {
    let text: String
    if name.kind == .function {
      text = Self.text(try await services.catalog.function(stored(name)))
    } else {
      text = Self.text(try await services.catalog.view(stored(name)))
    }
    response.columns = [.init(name: "createtab_stmt", type: "varchar")]
    response.rows = [[.string(text)]]
  }

  private static func quoted(_ name: ThreePartName) -> String { [name.catalog, name.schema, name.name].map(SQLText.identifier).joined(separator: ".") }

  /// The statement that makes the view again, from anywhere: a USE before it when short names need one.
  static func text(_ entry: TableEntry) -> String {
    guard let view = entry.view else { return "" }
    let columns = entry.columns.map { SQLText.identifier($0.name) + ($0.comment.map { " COMMENT " + SQLText.literal($0) } ?? "") }
    var text = "CREATE VIEW \(quoted(entry.name)) (\n  \(columns.joined(separator: ",\n  "))\n)"
    if !entry.comment.isEmpty { text += "\nCOMMENT \(SQLText.literal(entry.comment))" }
    if !entry.properties.isEmpty {
      let list = entry.properties.sorted { $0.key < $1.key }.map { "\(SQLText.literal($0.key)) = \(SQLText.literal($0.value))" }
      text += "\nTBLPROPERTIES (\(list.joined(separator: ", ")))"
    }
    return "USE \(SQLText.identifier(view.catalog)).\(SQLText.identifier(view.schema));\n" + text + "\nAS \(view.query)"
  }

  static func text(_ entry: FunctionEntry) -> String {
    let definition = entry.definition
    let parameters = definition.parameters.map { parameter in
      SQLText.identifier(parameter.name) + " " + parameter.type + (parameter.defaultValue.map { " DEFAULT \($0)" } ?? "")
        + (parameter.comment.map { " COMMENT " + SQLText.literal($0) } ?? "")
    }
    var text = "CREATE FUNCTION \(quoted(entry.name))(\(parameters.joined(separator: ", ")))\n"
    if let type = definition.returns {
      text += "RETURNS \(type)"
    } else {
      text +=
        "RETURNS TABLE (\(definition.columns.map { "\(SQLText.identifier($0.name)) \($0.type)" + ($0.comment.map { " COMMENT " + SQLText.literal($0) } ?? "") }.joined(separator: ", ")))"
    }
    if let known = definition.isDeterministic { text += known ? "\nDETERMINISTIC" : "\nNOT DETERMINISTIC" }
    if !entry.comment.isEmpty { text += "\nCOMMENT \(SQLText.literal(entry.comment))" }
    return "USE \(SQLText.identifier(definition.catalog)).\(SQLText.identifier(definition.schema));\n" + text + "\nRETURN \(definition.body)"
  }
}
