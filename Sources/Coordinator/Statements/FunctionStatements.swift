// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DuckDB
import Query
import Scheduling

/// Statements about functions. A function is kept as text; before that it is called once in thought, so that what cannot work is refused.
extension StatementPlanner {
  func createFunction(_ function: CatalogCommand.Function, _ work: StatementWork, _ call: StageCall, _ user: String) async throws {
    let name = try await newName(function.name)
    let definition = FunctionDefinition(
      parameters: function.parameters.map { .init(name: $0.name, type: $0.type, defaultValue: $0.defaultValue, comment: $0.comment) },
      returns: { if case .scalar(let type) = function.returns { type } else { nil } }(),
      columns: {
        if case .table(let fields) = function.returns { fields.map { ColumnEntry(name: $0.name, type: $0.type, comment: $0.comment) } } else { [] }
      }(),
      body: function.body, isDeterministic: function.isDeterministic, catalog: work.session.catalog, schema: work.session.schema)
    if try await services.catalog.findStored(.function, name) != nil, !function.options.replaces {
      if function.options.isConditional { return }
      throw Self.taken(function.name)
    }
    let checked = try await services.tables.checked(definition, name: name, session: work.session, user: user)
    _ = try await services.catalog.setFunction(
      name, checked, comment: function.options.comment, replaces: function.options.replaces, by: user)
  }
}

extension LakeTables {
  /// Binds a call of the function with values of its parameters' types.
  /// - Returns: the definition, with what was found out.
  /// - Throws: `invalidArgument` for a body that does not fit; `notFound` for what it reads.
  func checked(_ definition: FunctionDefinition, name: ThreePartName, session: SQLContext, user: String) async throws -> FunctionDefinition {
    for (what, names) in [("parameters", definition.parameters.map(\.name)), ("columns", definition.columns.map(\.name))] {
      var seen: Set<String> = []
      guard let wrong = names.first(where: { $0.isEmpty || $0.utf8.count > 255 || !seen.insert($0.lowercased()).inserted }) else { continue }
      throw PlatformError(.invalidArgument, "the \(what) of a function need different names; '\(wrong.prefix(100))' is empty, too long or given twice")
    }
    guard !SQLExtensions.isTaken(name.name) else {
      throw PlatformError(.invalidArgument, "'\(name.name)' is the name of a built-in function", hint: "Choose another name.", number: "PLT-3001")
    }
    guard definition.parameters.count <= 64 else { throw PlatformError(.invalidArgument, "a function has at most 64 parameters") }
    if let first = definition.parameters.firstIndex(where: { $0.defaultValue != nil }),
      let bare = definition.parameters[first...].first(where: { $0.defaultValue == nil })
    {
      throw PlatformError(.invalidArgument, "parameter '\(bare.name)' needs a default value: one before it has one")
    }
    let (macro, plan) = try await BlockingPool.shared.run {
      try FunctionMacro.plan(definition, label: "\(name)", macro: "__checked", first: (0, 0))
    }
    var resolver = StatementResolver(lake: self, session: session, system: SystemRelations(catalog: catalog))
    try await resolver.resolve(plan, owner: "\(name)", allowsTemporary: false)
    resolver.append(macro)
    let variables = SQLExtensions.session(user: user, catalog: session.catalog, schema: session.schema)
    let values = definition.parameters.map { "CAST(NULL AS \($0.type))" }.joined(separator: ", ")
    if definition.returns != nil {
      _ = try await resolver.columns(of: "SELECT __checked(\(values))", variables: variables)
    } else {
      let body = try await BlockingPool.shared.run {
        try FunctionMacro.body(definition, label: "\(name)")
      }
      let found = try await resolver.columns(of: body, variables: variables)
      guard found.count == definition.columns.count else {
        throw PlatformError(.invalidArgument, "the function's query gives \(found.count) columns, RETURNS TABLE names \(definition.columns.count)")
      }
      _ = try await resolver.columns(of: "SELECT * FROM __checked(\(values))", variables: variables)
    }
    for parameter in definition.parameters {
      guard let value = parameter.defaultValue else { continue }
      _ = try await resolver.columns(of: "SELECT CAST((\(value)\n) AS \(parameter.type))", variables: [])
    }
    var checked = definition
    checked.readsData = !plan.references.isEmpty
    return checked
  }
}
