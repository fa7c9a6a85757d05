// SPDX-License-Identifier: Apache-2.0

import Catalog
import Client
import Core
import DeltaLog
import DuckDB
import Foundation
import Query
import Scheduling

/// What tables say of themselves: DESCRIBE and SHOW.
extension StatementPlanner {
  func describe(_ name: ThreePartName, isExtended: Bool, column: [String], _ response: inout StatementResponse) async throws {
    let (entry, snapshot) = try await services.tables.look(name)
    if !column.isEmpty {
      guard let field = snapshot.schema.field(at: column)?.field else { throw TableAlterations.noColumn(column, snapshot) }
      response.columns = [.init(name: "info_name", type: "string"), .init(name: "info_value", type: "string")]
      var facts: [(String, String)] = [
        ("col_name", field.name), ("data_type", SparkType.simple(field)), ("comment", field.metadata["comment"]?.stringValue ?? "NULL"),
      ]
      if isExtended {
        facts.append(("nullable", field.nullable ? "true" : "false"))
        facts += Self.expressions(field)
      }
      response.rows = facts.map { [.string($0.0), .string($0.1)] }
      return
    }
    response.columns = ["col_name", "data_type", "comment"].map { .init(name: $0, type: "string") }
    func row(_ name: String, _ type: String, _ comment: String?) -> [JSONValue] { [.string(name), .string(type), comment.map { .string($0) } ?? .null] }
    var rows = snapshot.schema.fields.map { row($0.name, SparkType.simple($0), $0.metadata["comment"]?.stringValue) }
    let partitions = snapshot.metadata.partitionColumns
    if !partitions.isEmpty {
      rows.append(row("# Partition Information", "", ""))
      rows.append(row("# col_name", "data_type", "comment"))
      rows += partitions.compactMap { name in
        snapshot.schema.fields.first { $0.name == name }.map { row($0.name, SparkType.simple($0), $0.metadata["comment"]?.stringValue) }
      }
    }
    let clustering = try snapshot.clusteringNames
    if !clustering.isEmpty {
      rows.append(row("# Clustering Information", "", ""))
      rows.append(row("# col_name", "data_type", "comment"))
      rows += clustering.map { path in
        row(path.joined(separator: "."), snapshot.schema.field(at: path).map { SparkType.simple($0.field) } ?? "", nil)
      }
    }
    guard isExtended else { return response.rows = rows }
    rows.append(row("", "", ""))
    rows.append(row("# Detailed Table Information", "", ""))
    var facts: [(String, String)] = [
      ("Catalog", name.catalog), ("Database", name.schema), ("Table", name.name), ("Owner", entry.owner),
      ("Created Time", entry.createdAt.formatted(.iso8601)), ("Last Access", "UNKNOWN"), ("Type", entry.kind == .managed ? "MANAGED" : "EXTERNAL"),
      ("Comment", snapshot.metadata.description ?? ""), ("Location", entry.url), ("Provider", "delta"),
      ("Version", String(snapshot.version)), ("Statistics", "\(snapshot.sizeInBytes) bytes" + (snapshot.rowCount.map { ", \($0) rows" } ?? "")),
      ("Table Properties", "[" + Self.properties(snapshot).map { "\($0.name)=\($0.value)" }.joined(separator: ",") + "]"),
    ]
    for field in snapshot.schema.fields { facts += Self.expressions(field).map { ("Column \(field.name) \($0.0)", $0.1) } }
    for constraint in snapshot.metadata.checkConstraints { facts.append(("Constraint \(constraint.name)", "CHECK (\(constraint.expression))")) }
    for key in try await keys(entry) { if let sql = key.sql { facts.append(("Constraint \(key.name)", sql)) } }
    rows += facts.map { row($0.0, $0.1, "") }
    response.rows = rows
  }

  private static func expressions(_ field: StructField) -> [(String, String)] {
    var found: [(String, String)] = []
    if let text = field.metadata["CURRENT_DEFAULT"]?.stringValue { found.append(("default", text)) }
    if let text = field.metadata["delta.generationExpression"]?.stringValue { found.append(("generated", text)) }
    if case .integer(let start)? = field.metadata["delta.identity.start"], case .integer(let step)? = field.metadata["delta.identity.step"] {
      found.append(("identity", "START WITH \(start) INCREMENT BY \(step)"))
    }
    return found
  }

  /// What the user may set, and the protocol; constraints and keys are shown apart.
  static func properties(_ snapshot: Snapshot) -> [(name: String, value: String)] {
    var found = snapshot.metadata.configuration.filter { !$0.key.hasPrefix("delta.constraints.") }
    found["delta.minReaderVersion"] = String(snapshot.tableProtocol.minReaderVersion)
    found["delta.minWriterVersion"] = String(snapshot.tableProtocol.minWriterVersion)
    if snapshot.tableProtocol.minWriterVersion >= 7 {
      for feature in snapshot.tableProtocol.features { found["delta.feature.\(feature.rawValue)"] = "supported" }
    }
    return found.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  func showCreate(_ name: ThreePartName, _ response: inout StatementResponse) async throws {
    let (entry, snapshot) = try await services.tables.look(name)
    response.columns = [.init(name: "createtab_stmt", type: "string")]
    response.rows = [
      [.string(try await Self.createStatement(snapshot, name: name, keys: keys(entry), location: entry.kind == .external ? entry.location : nil))]
    ]
  }

  /// The statement that makes this table once more, without its rows.
  static func createStatement(_ snapshot: Snapshot, name: ThreePartName, keys: [ConstraintEntry], location: String?) throws -> String {
    var lines = snapshot.schema.fields.map { field in
      var line = "\(SparkType.name(field.name)) \(SparkType.sql(field))"
      if case .integer(let start)? = field.metadata["delta.identity.start"], case .integer(let step)? = field.metadata["delta.identity.step"] {
        let isLoose = field.metadata["delta.identity.allowExplicitInsert"]?.boolValue == true
        line += " GENERATED \(isLoose ? "BY DEFAULT" : "ALWAYS") AS IDENTITY (START WITH \(start) INCREMENT BY \(step))"
        if !field.nullable && isLoose { line += " NOT NULL" }
      } else if !field.nullable {
        line += " NOT NULL"
      }
      if let text = field.metadata["delta.generationExpression"]?.stringValue { line += " GENERATED ALWAYS AS (\(text))" }
      if let text = field.metadata["CURRENT_DEFAULT"]?.stringValue { line += " DEFAULT \(text)" }
      if let text = field.metadata["comment"]?.stringValue { line += " COMMENT \(SQLText.literal(text))" }
      return line
    }
    lines += snapshot.metadata.checkConstraints.map { "CONSTRAINT \(SparkType.name($0.name)) CHECK (\($0.expression))" }
    lines += keys.compactMap { key in key.sql.map { "CONSTRAINT \(SparkType.name(key.name)) \($0)" } }
    let full = [name.catalog, name.schema, name.name].map(SparkType.name).joined(separator: ".")
    var text = "CREATE TABLE \(full) (\n  " + lines.joined(separator: ",\n  ") + ")\nUSING DELTA"
    if !snapshot.metadata.partitionColumns.isEmpty {
      text += "\nPARTITIONED BY (" + snapshot.metadata.partitionColumns.map(SparkType.name).joined(separator: ", ") + ")"
    }
    let clustering = try snapshot.clusteringNames
    if !clustering.isEmpty {
      text += "\nCLUSTER BY (" + clustering.map { $0.map(SparkType.name).joined(separator: ".") }.joined(separator: ", ") + ")"
    }
    if let comment = snapshot.metadata.description { text += "\nCOMMENT \(SQLText.literal(comment))" }
    if let location { text += "\nLOCATION \(SQLText.literal(location))" }
    var properties = snapshot.metadata.configuration.filter { !$0.key.isInternalProperty }
    // Features that nothing else in the statement asks for.
    let asked = TableProtocol.supporting(snapshot.activeFeatures).features
    for feature in snapshot.tableProtocol.features.subtracting(asked) where snapshot.tableProtocol.minWriterVersion >= 7 {
      if clustering.isEmpty || ![.clustering, .domainMetadata].contains(feature) { properties["delta.feature.\(feature.rawValue)"] = "supported" }
    }
    if !properties.isEmpty {
      let list = properties.sorted { $0.key < $1.key }.map { "  \(SQLText.literal($0.key)) = \(SQLText.literal($0.value))" }
      text += "\nTBLPROPERTIES (\n" + list.joined(separator: ",\n") + ")"
    }
    return text
  }

  func showColumns(_ name: ThreePartName, _ response: inout StatementResponse) async throws {
    response.columns = [.init(name: "col_name", type: "string")]
    response.rows = try await services.tables.look(name).snapshot.schema.fields.map { [.string($0.name)] }
  }

  func showProperties(_ name: ThreePartName, _ property: String?, _ response: inout StatementResponse) async throws {
    let all = Self.properties(try await services.tables.look(name).snapshot)
    response.columns = [.init(name: "key", type: "string"), .init(name: "value", type: "string")]
    guard let property else { return response.rows = all.map { [.string($0.name), .string($0.value)] } }
    let value = all.first { $0.name == property }?.value ?? "table '\(name)' does not have the property '\(property)'"
    response.rows = [[.string(property), .string(value)]]
  }

  /// One row a partition: its values, in the order of the partition columns.
  func showPartitions(_ name: ThreePartName, _ response: inout StatementResponse) async throws {
    let snapshot = try await services.tables.look(name).snapshot
    let fields = snapshot.metadata.partitionColumns.compactMap { name in snapshot.schema.fields.first { $0.name == name } }
    guard !fields.isEmpty else { throw PlatformError(.invalidArgument, "table '\(name)' is not partitioned") }
    response.columns = fields.map { .init(name: $0.name, type: SparkType.simple($0)) }
    let partitions = Set(snapshot.filesByPath.values.map { file in fields.map { (file.partitionValues[$0.physicalName] ?? nil) ?? "" } })
    let rows = partitions.sorted { $0.lexicographicallyPrecedes($1) }
    response.truncated = rows.count > 10_000
    response.rows = rows.prefix(10_000).map { values in values.map { $0.isEmpty ? .null : .string($0) } }
  }

  func describeHistory(_ name: ThreePartName, limit: Int, _ response: inout StatementResponse) async throws {
    response.columns = [
      ("version", "bigint"), ("timestamp", "timestamp"), ("userName", "string"), ("operation", "string"), ("operationParameters", "string"),
      ("readVersion", "bigint"), ("isolationLevel", "string"), ("isBlindAppend", "boolean"), ("operationMetrics", "string"),
      ("userMetadata", "string"), ("engineInfo", "string"),
    ].map { .init(name: $0.0, type: $0.1) }
    response.rows = try await services.tables.history(name, limit: limit).map { entry in
      func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
      return [
        .integer(entry.version), .string(SQLTime.timestamp(micros: entry.timestampMilliseconds * 1000)), text(entry.info?.userName),
        text(entry.info?.operation), text(entry.info?.operationParameters?.sortedText), entry.info?.readVersion.map { .integer($0) } ?? .null,
        text(entry.info?.isolationLevel), entry.info?.isBlindAppend.map { .bool($0) } ?? .null, text(entry.info?.operationMetrics?.sortedText),
        text(entry.info?.userMetadata), text(entry.info?.engineInfo),
      ]
    }
  }
}
