// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Query

/// ALTER TABLE as pure decisions: from a version of the table to the commit that changes it.
enum TableAlterations {
  /// What a change says to the user beside that it was made.
  struct Decision: Sendable {
    var plan: CommitPlan?
    /// For the response, for example that column mapping was switched on.
    var notes: [String] = []
  }

  /// - Throws: what `SchemaChange` throws; `invalidArgument` for a change that the table's state does not allow.
  static func decide(_ alteration: TableAlteration, on base: Snapshot, table: ThreePartName) throws -> Decision {
    var change = SchemaChange(base)
    var decision = Decision()
    var extra: [Action] = []
    let operation: String
    switch alteration {
    case .addColumns(let columns, let isConditional):
      operation = "ADD COLUMNS"
      for column in columns {
        if isConditional, change.schema.field(at: column.parent + [column.field.name]) != nil { continue }
        try change.addColumn(column.field, below: column.parent, at: position(column.position))
      }
    case .renameColumn(let path, let name):
      operation = "RENAME COLUMN"
      try mapNames(&change, &decision)
      try change.renameColumn(path, to: name)
    case .dropColumns(let paths, let isConditional):
      operation = "DROP COLUMNS"
      let present = isConditional ? paths.filter { change.schema.field(at: $0) != nil } : paths
      guard !present.isEmpty else { return decision }
      for path in present where change.schema.field(at: path) == nil { throw noColumn(path, base) }
      try mapNames(&change, &decision)
      for path in present { try change.dropColumn(path) }
    case .changeType(let path, let type):
      operation = "CHANGE COLUMN"
      guard let found = change.schema.field(at: path) else { throw noColumn(path, base) }
      if found.field.type != type, TypeWidening.allows(found.field.type, type), !base.properties.allowsTypeWidening {
        try change.setProperties(["delta.enableTypeWidening": "true"])
        decision.notes.append("the table property delta.enableTypeWidening was set to true")
      }
      try change.changeType(path, to: type)
    case .setComment(let path, let comment):
      operation = "CHANGE COLUMN"
      try change.setComment(path, comment)
    case .setNullable(let path, let isNullable):
      operation = "CHANGE COLUMN"
      try change.setNullable(path, isNullable)
    case .setDefault(let path, let expression):
      operation = "CHANGE COLUMN"
      if expression != nil, let field = change.schema.field(at: path)?.field,
        field.metadata["delta.generationExpression"] != nil || field.metadata["delta.identity.start"] != nil
      {
        throw PlatformError(.invalidArgument, "the column '\(field.name)' is generated, so it has no default")
      }
      try change.setDefault(path, expression)
    case .moveColumn(let path, let place):
      operation = "CHANGE COLUMN"
      try change.moveColumn(path, to: position(place))
    case .changeLength(let path, let limit):
      operation = "CHANGE COLUMN"
      guard change.schema.field(at: path) != nil else { throw noColumn(path, base) }
      try change.setCharacterLimit(path, limit)
    case .dropFeature(let name, _):
      decision.plan = try FeatureRemoval.plan(name, base: base)
      return decision
    case .syncIdentity: throw PlatformError(.internalError, "SYNC IDENTITY needs the column's values")
    case .addCheck(let check):
      operation = "ADD CONSTRAINT"
      guard let name = check.name else { throw PlatformError(.invalidArgument, "a CHECK constraint needs a name") }
      try change.addConstraint(name, check.expression)
    case .dropConstraint(let name, let isConditional):
      operation = "DROP CONSTRAINT"
      if isConditional, !base.metadata.checkConstraints.contains(where: { $0.name.lowercased() == name.lowercased() }) { return decision }
      try change.dropConstraint(name)
    case .setProperties(let properties):
      operation = "SET TBLPROPERTIES"
      try TablePropertyNames.check(properties.keys)
      if properties["delta.enableRowTracking"]?.lowercased() == "true", !base.properties.hasRowTracking,
        base.filesByPath.values.contains(where: { $0.baseRowId == nil })
      {
        throw PlatformError(
          .invalidArgument, "row tracking can be switched on for a table without rows only",
          hint: "CREATE TABLE .. AS SELECT with the property copies the rows.")
      }
      try change.setProperties(properties)
    case .unsetProperties(let names, let isConditional):
      operation = "UNSET TBLPROPERTIES"
      for name in names where base.metadata.configuration[name] == nil && !isConditional {
        throw PlatformError(.notFound, "the table has no property '\(name)'", hint: "UNSET TBLPROPERTIES IF EXISTS leaves it out.")
      }
      try change.setProperties(Dictionary(names.map { ($0, nil) }) { first, _ in first })
    case .clusterBy(let columns):
      operation = "CLUSTER BY"
      guard base.metadata.partitionColumns.isEmpty else {
        throw PlatformError(.invalidArgument, "a partitioned table cannot be clustered", hint: "CREATE TABLE .. CLUSTER BY (..) AS SELECT copies its rows.")
      }
      if columns.isEmpty {
        guard try !base.clusteringNames.isEmpty else { return decision }
      } else if !base.tableProtocol.supports(.clustering) {
        extra.append(.protocol(base.tableProtocol.adding([.clustering, .domainMetadata])))
      }
      extra.append(try ClusteringColumns.action(columns, schema: base.schema))
    case .setTableComment(let comment):
      operation = "COMMENT ON TABLE"
      change.setName(base.metadata.name, description: comment)
    case .rename, .setOwner, .setTags, .unsetTags, .addKey, .dropPrimaryKey: throw PlatformError(.internalError, "the catalog alone is changed")
    }
    let actions = try change.actions() + extra
    guard !actions.isEmpty else { return decision }
    var plan = CommitPlan(actions, operation: operation)
    plan.operationParameters = ["statement": .string("\(operation) on \(table)")]
    decision.plan = plan
    return decision
  }

  static func position(_ position: TableAlteration.Position) -> SchemaChange.Position {
    switch position {
    case .first: .first
    case .last: .last
    case .after(let name): .after(name)
    }
  }

  static func noColumn(_ path: [String], _ base: Snapshot) -> PlatformError {
    let names = base.schema.fields.map(\.name)
    let close = path.last.flatMap { Spelling.suggestion(for: $0, among: names) }
    return PlatformError(
      .notFound, "the table has no column '\(path.joined(separator: "."))'",
      hint: close.map { "Did you mean '\($0)'?" } ?? "It has: \(names.prefix(50).joined(separator: ", ")).")
  }

  /// Names of columns can only change once data files have names of their own.
  private static func mapNames(_ change: inout SchemaChange, _ decision: inout Decision) throws {
    guard try ColumnMapping.mode(change.metadata) == .none else { return }
    try change.setProperties(["delta.columnMapping.mode": "name"])
    decision.notes.append("column mapping was switched on (delta.columnMapping.mode = name); readers without that feature cannot read the table any more")
  }
}
