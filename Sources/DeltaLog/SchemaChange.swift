// SPDX-License-Identifier: Apache-2.0

import Core

/// Changes of a table's columns as pure functions: from a snapshot to the actions that make the change.
public struct SchemaChange: Sendable {
  public enum Position: Sendable, Hashable {
    case first
    case last
    /// Behind the column of that name.
    case after(String)
  }

  public let base: Snapshot
  public private(set) var schema: StructType
  public private(set) var metadata: TableMetadata
  public private(set) var tableProtocol: TableProtocol

  public init(_ base: Snapshot) {
    self.base = base
    schema = base.schema
    metadata = base.metadata
    tableProtocol = base.tableProtocol
  }

  /// Protocol (when it grew) and metadata; empty when nothing changed.
  /// - Throws: `invalidArgument`, `resourceExhausted`.
  public func actions() throws -> [Action] {
    var metadata = metadata
    var schema = schema
    if try ColumnMapping.mode(metadata) != .none {
      let known = metadata.configuration[ColumnMapping.maximumProperty].flatMap { Int64($0) } ?? 0
      let (assigned, maximum) = try ColumnMapping.assign(schema, maximum: known, keepsNames: false)
      schema = assigned
      metadata.configuration[ColumnMapping.maximumProperty] = String(maximum)
    }
    metadata.schemaString = schema.schemaString == base.schema.schemaString ? base.metadata.schemaString : schema.schemaString
    let needed = tableProtocol.adding(TableFeature.used(by: metadata, schema))
    var actions: [Action] = needed == base.tableProtocol ? [] : [.protocol(needed)]
    if metadata != base.metadata { actions.append(.metadata(metadata)) }
    return actions
  }

  /// Protocol and metadata that give `base` this schema and these properties, where they are others than its own.
  public static func actions(_ base: Snapshot, schema: String, configuration: [String: String], partitionColumns: [String]) throws -> [Action] {
    var metadata = base.metadata
    // The same columns may be written in another order of keys.
    let columns = try StructType(parsing: schema)
    if columns != base.schema { metadata.schemaString = schema }
    metadata.configuration = configuration
    metadata.partitionColumns = partitionColumns
    guard metadata != base.metadata else { return [] }
    let needed = base.tableProtocol.adding(TableFeature.used(by: metadata, columns))
    return (needed == base.tableProtocol ? [] : [.protocol(needed)]) + [.metadata(metadata)]
  }

  /// The plan that commits the change.
  public func plan(operation: String) throws -> CommitPlan { CommitPlan(try actions(), operation: operation) }

  private var isMapped: Bool { (metadata.configuration[ColumnMapping.modeProperty] ?? "none") != "none" }

  // MARK: Columns

  /// Adds a column below `parent` (empty: at the top). Rows that are there have null in it.
  /// - Throws: `alreadyExists`; `invalidArgument` for NOT NULL, a default, or a parent that is no struct.
  public mutating func addColumn(_ field: StructField, below parent: [String] = [], at position: Position = .last) throws {
    guard field.nullable else {
      throw PlatformError(.invalidArgument, "the new column '\(field.name)' must allow null: rows that are there have no value for it")
    }
    guard field.metadata["CURRENT_DEFAULT"] == nil else {
      throw PlatformError(
        .invalidArgument, "a default cannot be given with the new column '\(field.name)'", hint: "Set it after the column was added.")
    }
    try edit(parent) { fields in
      guard !fields.contains(where: { $0.name.lowercased() == field.name.lowercased() }) else {
        throw PlatformError(.alreadyExists, "a column '\(field.name)' exists already")
      }
      fields.insert(field, at: try Self.index(position, fields))
    }
  }

  private static func index(_ position: Position, _ fields: [StructField]) throws -> Int {
    switch position {
    case .first: return 0
    case .last: return fields.count
    case .after(let name):
      guard let index = fields.firstIndex(where: { $0.name.lowercased() == name.lowercased() }) else {
        throw unknown(name, fields)
      }
      return index + 1
    }
  }

  /// - Throws: `invalidArgument` without column mapping, or when a constraint or generated column names it.
  public mutating func renameColumn(_ path: [String], to name: String) throws {
    let old = try field(path)
    guard isMapped else {
      throw PlatformError(
        .invalidArgument, "renaming a column needs column mapping", hint: "Set delta.columnMapping.mode to 'name' first.")
    }
    try refuseDependents(path)
    try edit(Array(path.dropLast())) { fields in
      guard !fields.contains(where: { $0.name.lowercased() == name.lowercased() && $0.name != old.name }) else {
        throw PlatformError(.alreadyExists, "a column '\(name)' exists already")
      }
      for index in fields.indices where fields[index].name == old.name { fields[index].name = name }
    }
    if path.count == 1 {
      metadata.partitionColumns = metadata.partitionColumns.map { $0 == old.name ? name : $0 }
      renameInStatisticsProperty(old.name, name)
    }
  }

  private mutating func renameInStatisticsProperty(_ old: String, _ new: String) {
    let property = "delta.dataSkippingStatsColumns"
    guard let names = TableProperties(metadata.configuration).statisticsColumns else { return }
    metadata.configuration[property] = names.map { $0.lowercased() == old.lowercased() ? new : $0 }.joined(separator: ",")
  }

  /// - Throws: `invalidArgument` without column mapping, for a partition or clustering column, the last column, or one that is used.
  public mutating func dropColumn(_ path: [String]) throws {
    let old = try field(path)
    guard isMapped else {
      throw PlatformError(
        .invalidArgument, "dropping a column needs column mapping", hint: "Set delta.columnMapping.mode to 'name' first.")
    }
    guard path.count > 1 || !metadata.partitionColumns.contains(old.name) else {
      throw PlatformError(.invalidArgument, "the partition column '\(old.name)' cannot be dropped")
    }
    if let physical = schema.field(at: path)?.physicalPath,
      try ClusteringColumns.read(base.domains).contains(where: { $0.starts(with: physical) })
    {
      throw PlatformError(.invalidArgument, "the table is clustered by '\(old.name)', so it cannot be dropped")
    }
    try refuseDependents(path)
    try edit(Array(path.dropLast())) { fields in
      guard fields.count > 1 else { throw PlatformError(.invalidArgument, "the last column cannot be dropped") }
      fields.removeAll { $0.name == old.name }
    }
  }

  /// Changes a column's type to a wider one and records that.
  /// - Throws: `invalidArgument` for a change that is not allowed, or while the table does not allow changes.
  public mutating func changeType(_ path: [String], to type: DeltaType) throws {
    let old = try field(path)
    guard let changes = TypeWidening.changes(old.type, type) else {
      throw PlatformError(.invalidArgument, "the column '\(old.name)' cannot change from \(old.type.label) to \(type.label)")
    }
    guard !changes.isEmpty else { return }
    let properties = TableProperties(metadata.configuration)
    guard properties.allowsTypeWidening else {
      throw PlatformError(
        .invalidArgument, "the table does not allow its column types to change", hint: "Set delta.enableTypeWidening to 'true' first.")
    }
    if tableProtocol.supports(.icebergCompatV1) || tableProtocol.supports(.icebergCompatV2) {
      for change in changes where !Self.icebergAllows(change) {
        throw PlatformError(.invalidArgument, "Iceberg readers could not follow the change of '\(old.name)' to \(type.label)")
      }
    }
    try refuseDependents(path)
    try edit(Array(path.dropLast())) { fields in
      for index in fields.indices where fields[index].name == old.name {
        fields[index].type = type
        let recorded = fields[index].metadata[TypeWidening.changesKey]?.arrayValue ?? []
        fields[index].metadata[TypeWidening.changesKey] = .array(recorded + changes.map(\.json))
      }
    }
  }

  private static func icebergAllows(_ change: TypeWidening.Change) -> Bool {
    switch (change.from, change.to) {
    case (.primitive("float"), .primitive("double")), (.primitive("integer"), .primitive("long")): return true
    case (.primitive(let from), .primitive(let to)):
      guard let old = DecimalShape(from), let new = DecimalShape(to) else { return ["short", "integer", "long"].contains(to) && from != "date" }
      return old.scale == new.scale
    default: return false
    }
  }

  /// Allows null, or forbids it again. Forbidding is for the caller to check: every row has to have a value.
  public mutating func setNullable(_ path: [String], _ nullable: Bool) throws { try editField(path) { $0.nullable = nullable } }

  /// Puts a column elsewhere among those beside it. Data files stay as they are: columns are found by name.
  public mutating func moveColumn(_ path: [String], to position: Position) throws {
    let old = try field(path)
    try edit(Array(path.dropLast())) { fields in
      guard let from = fields.firstIndex(where: { $0.name == old.name }) else { return }
      if case .after(let name) = position, name.lowercased() == old.name.lowercased() {
        throw PlatformError(.invalidArgument, "the column '\(old.name)' cannot stand behind itself")
      }
      let moved = fields.remove(at: from)
      fields.insert(moved, at: try Self.index(position, fields))
    }
  }

  /// Sets the last value that an identity column has given.
  /// - Throws: `invalidArgument` for a column without identity.
  public mutating func setIdentityMark(_ name: String, _ mark: Int64) throws {
    let old = try field([name])
    guard try IdentityColumn(old) != nil else { throw PlatformError(.invalidArgument, "'\(old.name)' is no identity column") }
    try edit([]) { fields in
      for index in fields.indices where fields[index].name == old.name {
        fields[index].metadata["delta.identity.highWaterMark"] = .integer(mark)
      }
    }
  }

  public mutating func setComment(_ path: [String], _ comment: String?) throws {
    try editField(path) { $0.setMetadata("comment", comment) }
  }

  /// Sets the length of a text column: rows that are there must fit, so it only grows.
  /// - Parameter limit: `varchar(20)`; nil: any length.
  /// - Throws: `invalidArgument` for a shorter length, another type than text, or a column of any length.
  public mutating func setCharacterLimit(_ path: [String], _ limit: String?) throws {
    let old = try field(path)
    guard old.type == .primitive("string"), path.count == 1 || limit == nil else {
      throw PlatformError(.invalidArgument, "the column '\(old.name)' cannot change from \(old.type.label) to \(limit ?? "string")")
    }
    guard let limit, limit != old.characterLimit else {
      if limit == nil { try editField(path) { $0.characterLimit = nil } }
      return
    }
    func length(_ text: String) -> Int { Int(text.filter(\.isNumber)) ?? 0 }
    guard let present = old.characterLimit, limit.hasPrefix("varchar"), length(limit) >= length(present) else {
      throw PlatformError(
        .invalidArgument, "the column '\(old.name)' cannot change from \(old.characterLimit ?? "string") to \(limit)",
        hint: "A length can only grow, to VARCHAR or STRING.")
    }
    try editField(path) { $0.characterLimit = limit }
  }

  /// Sets or drops the expression that stands in for values that an insert does not give.
  public mutating func setDefault(_ path: [String], _ expression: String?) throws {
    guard path.count == 1 else { throw PlatformError(.invalidArgument, "only columns at the top have defaults") }
    try editField(path) { $0.setMetadata("CURRENT_DEFAULT", expression) }
  }

  // MARK: Table

  /// Adds a CHECK constraint. That the rows there satisfy it is for the caller to check.
  /// - Throws: `alreadyExists`; `invalidArgument` for a name that is none.
  public mutating func addConstraint(_ name: String, _ expression: String) throws {
    let key = "delta.constraints." + name.lowercased()
    guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 32 && $0 != UInt8(ascii: ".") }), !expression.trimmedSpaces.isEmpty else {
      throw PlatformError(.invalidArgument, "'\(name.prefix(100))' is no name of a constraint, or its condition is empty")
    }
    guard !metadata.configuration.keys.contains(where: { $0.lowercased() == key }) else {
      throw PlatformError(.alreadyExists, "a constraint '\(name)' exists already")
    }
    metadata.configuration[key] = expression
  }

  /// - Throws: `notFound`.
  public mutating func dropConstraint(_ name: String) throws {
    let key = "delta.constraints." + name.lowercased()
    guard let found = metadata.configuration.keys.first(where: { $0.lowercased() == key }) else {
      throw PlatformError(.notFound, "no constraint '\(name)'")
    }
    metadata.configuration[found] = nil
  }

  /// Sets table properties; nil unsets. What a property needs of the protocol is added.
  /// - Throws: `invalidArgument` for values that cannot be meant and for properties that are not the user's to set.
  public mutating func setProperties(_ changes: [String: String?]) throws {
    try Self.refuseInternalProperties(changes.keys)
    for (name, value) in changes {
      if let value, let feature = try NewTable.feature(name, value) {
        tableProtocol = tableProtocol.adding([feature])
        continue
      }
      if name == ColumnMapping.modeProperty, value != metadata.configuration[name] {
        guard value == "name", try ColumnMapping.mode(metadata) == .none else {
          throw PlatformError(.invalidArgument, "the column mapping mode can only change from none to name")
        }
        let (mapped, maximum) = try ColumnMapping.assign(schema, maximum: 0, keepsNames: true)
        schema = mapped
        metadata.configuration[ColumnMapping.maximumProperty] = String(maximum)
      }
      metadata.configuration[name] = value
    }
    try TableProperties(metadata.configuration).validate()
    if TableProperties(metadata.configuration).hasRowTracking {
      guard base.filesByPath.values.allSatisfy({ $0.baseRowId != nil }) else {
        throw PlatformError(
          .invalidArgument, "rows cannot be tracked while files have no row ids",
          hint: "Commit the actions of RowTracking.backfill first.")
      }
      for property in [RowTracking.rowIdColumnProperty, RowTracking.rowCommitVersionColumnProperty] {
        if metadata.configuration[property] == nil { metadata.configuration[property] = RowTracking.newColumnName(property) }
      }
    }
  }

  /// - Throws: `invalidArgument` for properties that are not the user's to set.
  static func refuseInternalProperties(_ names: some Sequence<String>) throws {
    let kept: Set<String> = [
      ColumnMapping.maximumProperty, RowTracking.rowIdColumnProperty, RowTracking.rowCommitVersionColumnProperty,
      "delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp",
    ]
    for name in names where kept.contains(name) || name.lowercased().hasPrefix("delta.constraints.") {
      throw PlatformError(
        .invalidArgument, "the table property \(name) is not set by hand",
        hint: name.lowercased().hasPrefix("delta.constraints.") ? "Use ALTER TABLE .. ADD CONSTRAINT." : "")
    }
  }

  public mutating func setName(_ name: String?, description: String?) {
    metadata.name = name
    metadata.description = description
  }

  /// Takes in the columns of data to be written (`mergeSchema`): new ones are added at the end, types widen where the table allows.
  /// Names match in any case; the table's spelling stays.
  /// - Throws: `invalidArgument` naming the column whose type does not fit.
  public mutating func merge(_ incoming: StructType) throws {
    let allowsWidening = TableProperties(metadata.configuration).allowsTypeWidening
    schema = try Self.merged(schema, incoming, path: [], allowsWidening: allowsWidening)
  }

  private static func merged(_ present: StructType, _ incoming: StructType, path: [String], allowsWidening: Bool) throws -> StructType {
    var result = present
    var seen: Set<String> = []
    for field in incoming.fields {
      guard seen.insert(field.name.lowercased()).inserted else {
        throw PlatformError(.invalidArgument, "the column '\(field.name)' is there twice")
      }
      guard let index = result.fields.firstIndex(where: { $0.name.lowercased() == field.name.lowercased() }) else {
        var added = field
        added.nullable = true
        result.fields.append(added)
        continue
      }
      let place = path + [field.name]
      result.fields[index] = try mergedField(result.fields[index], field.type, path: place, allowsWidening: allowsWidening)
    }
    return result
  }

  private static func mergedField(_ present: StructField, _ incoming: DeltaType, path: [String], allowsWidening: Bool) throws -> StructField {
    var field = present
    var changes: [TypeWidening.Change] = []
    field.type = try mergedType(present.type, incoming, path: path, inside: [], allowsWidening: allowsWidening, &changes)
    if !changes.isEmpty {
      let recorded = field.metadata[TypeWidening.changesKey]?.arrayValue ?? []
      field.metadata[TypeWidening.changesKey] = .array(recorded + changes.map(\.json))
    }
    return field
  }

  private static func mergedType(
    _ present: DeltaType, _ incoming: DeltaType, path: [String], inside: [String], allowsWidening: Bool, _ changes: inout [TypeWidening.Change]
  ) throws -> DeltaType {
    switch (present, incoming) {
    case (.structure(let old), .structure(let new)):
      return .structure(try merged(old, new, path: path, allowsWidening: allowsWidening))
    case (.array(let old, let containsNull), .array(let new, let newNull)):
      return .array(
        try mergedType(old, new, path: path, inside: inside + ["element"], allowsWidening: allowsWidening, &changes),
        containsNull: containsNull || newNull)
    case (.map(let oldKey, let oldValue, let containsNull), .map(let newKey, let newValue, let newNull)):
      return .map(
        try mergedType(oldKey, newKey, path: path, inside: inside + ["key"], allowsWidening: allowsWidening, &changes),
        try mergedType(oldValue, newValue, path: path, inside: inside + ["value"], allowsWidening: allowsWidening, &changes),
        valueContainsNull: containsNull || newNull)
    default:
      // Narrower data is cast to the table's type when it is written.
      if present == incoming || TypeWidening.allows(incoming, present) { return present }
      guard allowsWidening, TypeWidening.allows(present, incoming) else {
        throw PlatformError(
          .invalidArgument, "the column '\(path.joined(separator: "."))' is \(present.label), and \(incoming.label) does not fit into it")
      }
      changes.append(TypeWidening.Change(from: present, to: incoming, fieldPath: inside.joined(separator: ".")))
      return incoming
    }
  }

  // MARK: Helpers

  private static func unknown(_ name: String, _ fields: [StructField]) -> PlatformError {
    let names = fields.prefix(50).map(\.name).joined(separator: ", ") + (fields.count > 50 ? ", .." : "")
    return PlatformError(.notFound, "the table has no column '\(name)'", hint: "It has: \(names).")
  }

  private func field(_ path: [String]) throws -> StructField {
    guard let found = schema.field(at: path) else { throw Self.unknown(path.joined(separator: "."), schema.fields) }
    return found.field
  }

  private mutating func editField(_ path: [String], _ body: (inout StructField) -> Void) throws {
    let old = try field(path)
    try edit(Array(path.dropLast())) { fields in
      for index in fields.indices where fields[index].name == old.name { body(&fields[index]) }
    }
  }

  /// Runs `body` on the fields of the struct that `parent` leads to; `element`, `key` and `value` step into arrays and maps.
  private mutating func edit(_ parent: [String], _ body: (inout [StructField]) throws -> Void) throws {
    schema = try Self.edited(schema, parent[...], body)
  }

  private static func edited(_ type: StructType, _ path: ArraySlice<String>, _ body: (inout [StructField]) throws -> Void) throws -> StructType {
    var type = type
    guard let name = path.first else {
      try body(&type.fields)
      return type
    }
    guard let index = type.fields.firstIndex(where: { $0.name.lowercased() == name.lowercased() }) else {
      throw unknown(name, type.fields)
    }
    type.fields[index].type = try edited(type.fields[index].type, path.dropFirst(), name, body)
    return type
  }

  private static func edited(
    _ type: DeltaType, _ path: ArraySlice<String>, _ name: String, _ body: (inout [StructField]) throws -> Void
  ) throws -> DeltaType {
    switch (type, path.first) {
    case (.structure(let inner), _): return .structure(try edited(inner, path, body))
    case (.array(let item, let containsNull), "element"):
      return .array(try edited(item, path.dropFirst(), name, body), containsNull: containsNull)
    case (.map(let key, let value, let containsNull), "key"):
      return .map(try edited(key, path.dropFirst(), name, body), value, valueContainsNull: containsNull)
    case (.map(let key, let value, let containsNull), "value"):
      return .map(key, try edited(value, path.dropFirst(), name, body), valueContainsNull: containsNull)
    default: throw PlatformError(.invalidArgument, "'\(name)' is no struct")
    }
  }

  /// Expressions that name the column would no longer mean what they meant.
  private func refuseDependents(_ path: [String]) throws {
    guard let name = path.first else { return }
    for (constraint, expression) in metadata.checkConstraints where SQLNames.mentions(expression, name) {
      throw PlatformError(
        .invalidArgument, "the constraint '\(constraint)' names the column '\(name)'", hint: "Drop the constraint first.")
    }
    for column in schema.generatedColumns where SQLNames.mentions(column.expression, name) {
      throw PlatformError(
        .invalidArgument, "the generated column '\(column.path.joined(separator: "."))' is computed from '\(name)'")
    }
  }
}

extension StructField {
  fileprivate mutating func setMetadata(_ key: String, _ text: String?) {
    if let text { metadata[key] = .string(text) } else { metadata.removeValue(forKey: key) }
  }
}

/// Names in SQL text, found without parsing it.
enum SQLNames {
  /// Whether `expression` holds `name` as an identifier, plain or quoted, in any case. Text in quotes does not count.
  static func mentions(_ expression: String, _ name: String) -> Bool {
    let wanted = name.lowercased()
    var word = ""
    var quote: Character?
    for character in expression + " " {
      if let open = quote {
        if character == open {
          if open != "'" && word.lowercased() == wanted { return true }
          quote = nil
          word = ""
        } else {
          word.append(character)
        }
      } else if character == "'" || character == "\"" || character == "`" {
        if word.lowercased() == wanted { return true }
        quote = character
        word = ""
      } else if character.isLetter || character.isNumber || character == "_" {
        word.append(character)
      } else {
        if word.lowercased() == wanted { return true }
        word = ""
      }
    }
    return false
  }
}
