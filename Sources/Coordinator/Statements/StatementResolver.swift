// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Query

/// Finds what a statement names: tables become files at one version, views and functions become definitions for the executor, what is
/// needed before what needs it. Every table is looked at once, so that all parts of a statement see the same version of it.
struct StatementResolver {
  private let catalog: CatalogStore
  private var lake: LakeTables
  private let system: SystemRelations
  private let session: SQLContext
  private(set) var tables: [StatementSpec.Table] = []
  private(set) var definitions: [StatementDefinition] = []
  /// Folders of the tables.
  private(set) var locations: Set<String> = []
  private(set) var sources = StatementSources()
  /// What the engine's names stand for.
  private(set) var relations: [String: Relation] = [:]

  struct Relation: Sendable {
    /// `table` or `view`.
    var kind: String
    var label: String
    var version: Int64?
    var columns: [Column]
    /// Of what has no place in the catalog, a temporary view: what is behind it, as a whole and by column (in small letters).
    var objects: [StatementSources.Object] = []
    var origins: [String: [Origin]] = [:]
  }

  /// A column of a table or view of the catalog.
  struct Origin: Sendable, Hashable {
    var label: String
    var column: String
  }

  /// The table that the statement changes: it is read at the version that the change is based on.
  var pinned: (name: ThreePartName, version: Int64)?

  /// Values that conditions on files may name.
  var variables: [StatementVariable] = []

  private struct SnapshotKey: Hashable {
    var name: ThreePartName
    var version: Int64?
    var timestamp: Int64?
  }

  private var snapshots: [SnapshotKey: LakeTables.Found] = [:]
  /// Views that are defined already: their engine names.
  private var views: [String: String] = [:]
  private var extensions: Set<String> = []
  private var viewColumns: [StatementSources.Column] = []
  private var next = (reference: 0, function: 0)

  static let depthLimit = 32
  static let definitionLimit = 400

  init(services: PlanningServices, session: SQLContext, system: SystemRelations) {
    self.init(lake: services.tables, session: session, system: system)
  }

  init(lake: LakeTables, session: SQLContext, system: SystemRelations) {
    catalog = lake.catalog
    self.lake = lake
    self.session = session
    self.system = system
  }

  /// Resolves everything that `plan` names.
  /// - Parameter owner: the view or function that is being made from it: one that it must not read.
  /// - Throws: `notFound` PLT-3002; `invalidArgument` PLT-3221 for a view or function that reads itself.
  mutating func resolve(_ plan: StatementPlan, owner: String? = nil, allowsTemporary: Bool = true) async throws {
    next.reference = max(next.reference, plan.references.count)
    next.function = max(next.function, plan.functions.count)
    if lake.moment == nil, lake.block == nil, plan.references.count > 1 || !plan.functions.isEmpty { lake.moment = try await TableMoment(catalog) }
    sources.objects = try await add(plan, path: owner.map { [$0] } ?? [], allowsTemporary: allowsTemporary)
    definitions.insert(contentsOf: SQLExtensions.definitions(extensions), at: 0)
  }

  /// Columns of a query over what has been resolved.
  func columns(of sql: String, variables: [StatementVariable]) async throws -> [Column] {
    let (tables, definitions) = (try tables.map { (view: $0.view, columns: try $0.scan.columns()) }, definitions)
    return try await BlockingPool.shared.run {
      try StatementBinder.columns(of: sql, tables: tables, definitions: definitions, variables: variables)
    }
  }

  /// Adds a definition of the caller's, behind all that it may need.
  mutating func append(_ definition: StatementDefinition) { definitions.append(definition) }

  /// Where the columns of a query that has been resolved come from: of the statement's own, and of the views behind it.
  /// - Parameter targetColumns: what the target calls the query's columns, in their order; empty: the same.
  func columnLineage(_ plan: StatementPlan, targetColumns: [String]) -> [StatementSources.Column] {
    edges(ColumnLineage.outputs(of: plan, columns: plan.references.map { relations[$0.view]?.columns.map(\.name) ?? [] }), plan, targetColumns, nil)
      + viewColumns
  }

  /// Where the values come from that UPDATE or MERGE gives to columns of its target.
  /// - Parameters:
  ///   - plan: what has been resolved.
  ///   - target: what the catalog calls the table that changes.
  func columnLineage(
    _ values: (query: StatementPlan, columns: [String]), of plan: StatementPlan, target: (label: String, columns: [Column])
  ) -> [StatementSources.Column] {
    var own = self
    own.relations = [:]
    for reference in values.query.references {
      let isTarget = reference.name == plan.target && reference.version == nil && reference.timestampMilliseconds == nil
      let known = plan.references.first {
        $0.name == reference.name && $0.version == reference.version && $0.timestampMilliseconds == reference.timestampMilliseconds
          && $0.isPlain == reference.isPlain
      }
      own.relations[reference.view] =
        isTarget ? Relation(kind: "table", label: target.label, version: nil, columns: target.columns) : known.flatMap { relations[$0.view] }
    }
    var found: [StatementSources.Column] = []
    for column in own.columnLineage(values.query, targetColumns: values.columns) where !found.contains(column) { found.append(column) }
    return found
  }

  private func edges(_ outputs: [ColumnLineage.Output], _ plan: StatementPlan, _ names: [String], _ target: String?) -> [StatementSources.Column] {
    guard names.isEmpty || names.count == outputs.count else { return [] }
    var found: [StatementSources.Column] = []
    for (index, output) in outputs.enumerated() {
      for origin in origins(output, plan) {
        found.append(
          .init(source: origin.label, sourceColumn: origin.column, target: target, targetColumn: names.isEmpty ? output.name : names[index]))
      }
    }
    return found
  }

  /// Where a column comes from, in the catalog; temporary views are looked through.
  private func origins(_ output: ColumnLineage.Output, _ plan: StatementPlan) -> [Origin] {
    var found: [Origin] = []
    for origin in output.origins.sorted(by: { ($0.reference, $0.column) < ($1.reference, $1.column) }) {
      guard let relation = relations[plan.references[origin.reference].view] else { continue }
      let behind =
        relation.kind.isEmpty ? relation.origins[origin.column.lowercased()] ?? [] : [Origin(label: relation.label, column: origin.column)]
      for one in behind where !found.contains(one) { found.append(one) }
    }
    return found
  }

  private mutating func add(_ plan: StatementPlan, path: [String], allowsTemporary: Bool) async throws -> [StatementSources.Object] {
    extensions.formUnion(plan.extensions)
    var found: [StatementSources.Object] = []
    for reference in plan.references {
      let relation = try await add(reference, plan.filters[reference.view], path: path, allowsTemporary: allowsTemporary)
      relations[reference.view] = relation
      let objects =
        relation.kind.isEmpty ? relation.objects : [.init(kind: relation.kind, name: relation.label, version: relation.version)]
      for object in objects where !found.contains(object) { found.append(object) }
    }
    for call in plan.functions { try await add(call, path: path) }
    guard definitions.count <= Self.definitionLimit, tables.count <= Self.definitionLimit else {
      throw PlatformError(.invalidArgument, "the statement reads more than \(Self.definitionLimit) tables, views and functions")
    }
    return found
  }

  private mutating func add(
    _ reference: StatementPlan.Reference, _ filters: [TableFilter]?, path: [String], allowsTemporary: Bool
  ) async throws -> Relation {
    if let range = reference.changes { return try await add(changes: range, reference) }
    if reference.isPlain, let temporary = session.temporaryViews[reference.name.name.lowercased()] {
      guard allowsTemporary else {
        throw PlatformError(.invalidArgument, "what is stored in the catalog cannot read the temporary view '\(reference.name.name)'")
      }
      return try await add(
        temporary.view, temporary.columns, kind: "", label: reference.name.name, as: reference, path: path, allowsTemporary: true)
    }
    if let rows = try await system.relation(reference.name, session: session) {
      guard reference.version == nil, reference.timestampMilliseconds == nil else {
        throw PlatformError(.invalidArgument, "'\(reference.name)' has no versions")
      }
      tables.append(.init(view: reference.view, files: rows.files, columns: rows.columns))
      return Relation(kind: "", label: "\(reference.name)", version: nil, columns: rows.columns)
    }
    let name = try await storedName(reference.name)
    let entry = try await catalog.table(name)
    // More tables may come: all are seen at one moment.
    if lake.moment == nil, lake.block == nil, entry.view != nil { lake.moment = try await TableMoment(catalog) }
    if let view = entry.view {
      guard reference.version == nil, reference.timestampMilliseconds == nil else {
        throw PlatformError(.invalidArgument, "view '\(name)' has no versions", hint: "Read the tables behind it.")
      }
      return try await add(view, entry.columns, kind: "view", label: "\(name)", as: reference, path: path, allowsTemporary: false)
    }
    let key = SnapshotKey(name: name, version: reference.version, timestamp: reference.timestampMilliseconds)
    let found: LakeTables.Found
    if let known = snapshots[key] {
      found = known
    } else {
      let base = reference.timestampMilliseconds == nil && pinned?.name == name ? pinned?.version : nil
      found = try await lake.find(name, version: reference.version ?? base, timestampMilliseconds: reference.timestampMilliseconds)
      snapshots[key] = found
    }
    let variables = variables
    let table = try await BlockingPool.shared.run { try found.resolved(matching: filters, variables: variables) }
    tables.append(.init(view: reference.view, scan: table.scan, name: "\(name)"))
    locations.insert(found.entry.location)
    return Relation(kind: "table", label: "\(name)", version: table.version, columns: table.columns)
  }

  /// What happened to a table's rows.
  private mutating func add(changes range: ChangeRange, _ reference: StatementPlan.Reference) async throws -> Relation {
    let name = try await storedName(reference.name)
    let scan = try await lake.changes(name, range)
    tables.append(.init(view: reference.view, scan: scan, name: "changes of \(name)"))
    locations.insert(try await catalog.table(name).location)
    return Relation(kind: "table", label: "\(name)", version: scan.version, columns: try scan.columns())
  }

  /// The name as the catalog has it, in whatever case it was written.
  private func storedName(_ name: QualifiedName) async throws -> ThreePartName {
    let name = ThreePartName(catalog: name.catalog, schema: name.schema, name: name.name)
    return try await catalog.findStored(.table, name) ?? name
  }

  private mutating func add(
    _ view: ViewDefinition, _ columns: [ColumnEntry], kind: String, label: String, as reference: StatementPlan.Reference, path: [String],
    allowsTemporary: Bool
  ) async throws -> Relation {
    let key = kind + ":" + label
    guard !path.contains(label) else { throw Self.circle(path, label) }
    guard path.count < Self.depthLimit else {
      throw PlatformError(.invalidArgument, "views and functions are nested more than \(Self.depthLimit) deep at '\(label)'", number: "PLT-3221")
    }
    let shown = try columns.map { Column($0.name, try SQLType(sql: $0.type)) }
    var relation = Relation(kind: kind, label: label, version: nil, columns: shown)
    if let known = views[key] {
      definitions.append(
        StatementDefinition(
          view: reference.view, label: label, sql: "SELECT * FROM \(SQLText.identifier(known))",
          columns: shown.map { .init(source: $0.name, name: $0.name, type: $0.type) }))
      return relations[known] ?? relation
    }
    guard view.sources.count == shown.count else { throw PlatformError(.internalError, "view '\(label)' has lost its columns") }
    let first = next
    let plan = try await BlockingPool.shared.run {
      try StatementPlan(query: view.query, catalog: view.catalog, schema: view.schema, first: first)
    }
    next.reference += plan.references.count
    next.function += plan.functions.count
    let objects: [StatementSources.Object]
    do {
      objects = try await add(plan, path: path + [label], allowsTemporary: allowsTemporary)
    } catch let error as PlatformError {
      throw Self.within("view '\(label)'", error)
    }
    let outputs = ColumnLineage.outputs(of: plan, columns: plan.references.map { relations[$0.view]?.columns.map(\.name) ?? [] })
    // By name, as the definition takes them.
    let kept = zip(view.sources, shown).compactMap { source, column in
      outputs.first { $0.name.lowercased() == source.lowercased() }.map { ColumnLineage.Output(name: column.name, origins: $0.origins) }
    }
    if kind == "view" {
      sources.throughViews[label] = objects
      viewColumns += edges(kept, plan, [], label)
    } else {
      relation.objects = objects
      for output in kept { relation.origins[output.name.lowercased()] = origins(output, plan) }
    }
    definitions.append(
      StatementDefinition(
        view: reference.view, label: label, sql: plan.sql,
        columns: zip(view.sources, shown).map { .init(source: $0, name: $1.name, type: $1.type) }))
    views[key] = reference.view
    return relation
  }

  private mutating func add(_ call: StatementPlan.FunctionCall, path: [String]) async throws {
    let given = ThreePartName(catalog: call.name.catalog, schema: call.name.schema, name: call.name.name)
    guard let name = try await catalog.findStored(.function, given) else {
      // Without the schema's own functions the hint is shorter.
      let others = (try? await catalog.functions(catalog: given.catalog, schema: given.schema, limit: 1000).entries.map(\.name.name)) ?? []
      throw PlatformError(
        .notFound, "function '\(call.name)' does not exist", hint: UnknownFunction.hint(call.name.name, others: others), number: "PLT-3002")
    }
    let entry = try await catalog.function(name)
    let label = "\(name)"
    try Self.check(call, entry)
    if definitions.contains(where: { $0.name == call.macro }) { return }
    guard !path.contains(label) else { throw Self.circle(path, label) }
    guard path.count < Self.depthLimit else {
      throw PlatformError(.invalidArgument, "views and functions are nested more than \(Self.depthLimit) deep at '\(label)'", number: "PLT-3221")
    }
    let first = next
    do {
      let (definition, plan) = try await BlockingPool.shared.run {
        try FunctionMacro.plan(entry.definition, label: label, macro: call.macro, first: first)
      }
      next.reference += plan.references.count
      next.function += plan.functions.count
      let objects = try await add(plan, path: path + [label], allowsTemporary: false)
      for object in objects where !sources.readByFunctions.contains(object) { sources.readByFunctions.append(object) }
      definitions.append(definition)
    } catch let error as PlatformError {
      throw Self.within("function '\(label)'", error)
    }
  }

  private static func check(_ call: StatementPlan.FunctionCall, _ entry: FunctionEntry) throws {
    let parameters = entry.definition.parameters
    let shown = "function '\(entry.name)\(entry.definition.signature)'"
    guard call.isTable == (entry.definition.returns == nil) else {
      throw PlatformError(.invalidArgument, call.isTable ? "\(shown) gives a value: call it where a value stands" : "\(shown) gives a table: call it in FROM")
    }
    for name in call.named where !parameters.contains(where: { $0.name.lowercased() == name }) {
      throw PlatformError(.invalidArgument, "\(shown) has no parameter '\(name)'")
    }
    guard call.positional <= parameters.count else {
      throw PlatformError(.invalidArgument, "\(shown) takes \(parameters.count) arguments, \(call.positional + call.named.count) are given")
    }
    for (index, parameter) in parameters.enumerated() {
      let isNamed = call.named.contains(parameter.name.lowercased())
      guard !(isNamed && index < call.positional) else {
        throw PlatformError(.invalidArgument, "\(shown): parameter '\(parameter.name)' is given twice")
      }
      guard isNamed || index < call.positional || parameter.defaultValue != nil else {
        throw PlatformError(.invalidArgument, "\(shown): parameter '\(parameter.name)' is not given")
      }
    }
  }

  private static func circle(_ path: [String], _ label: String) -> PlatformError {
    PlatformError(
      .invalidArgument, "'\(label)' would read itself: \((path.drop { $0 != label } + [label]).joined(separator: " -> "))", number: "PLT-3221")
  }

  private static func within(_ what: String, _ error: PlatformError) -> PlatformError {
    guard error.number != "PLT-3221" else { return error }
    var copy = error
    copy.message = "\(what): \(error.message)"
    return copy
  }
}
