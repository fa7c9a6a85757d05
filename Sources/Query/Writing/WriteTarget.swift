// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB

/// The table that a statement writes rows into, as an executor needs it.
public struct WriteTarget: Codable, Sendable, Hashable {
  /// For messages.
  public var name: String
  /// The Delta schema with the metadata of its fields; nil: what the query gives (CREATE TABLE AS).
  public var schema: String?
  /// Display names.
  public var partitionColumns: [String]
  /// Table properties.
  public var properties: [String: String]
  /// The version that the statement was planned on; nil: the table is made by it.
  public var version: Int64?

  public init(
    name: String, schema: String?, partitionColumns: [String] = [], properties: [String: String] = [:], version: Int64? = nil
  ) {
    self.name = name
    self.schema = schema
    self.partitionColumns = partitionColumns
    self.properties = properties
    self.version = version
  }
}

/// `WriteTarget`, read.
struct TargetTable {
  let name: String
  let version: Int64?
  let schema: StructType
  let metadata: TableMetadata
  /// Columns of the SQL engine, in the table's order.
  let columns: [Column]
  let mapping: ColumnMapping.Mode

  var properties: TableProperties { TableProperties(metadata.configuration) }

  /// - Parameter columns: of the query, for a target without schema; types that Delta lacks become wider ones.
  /// - Throws: `invalidFile`; `invalidArgument` for a partition column that is none.
  init(_ target: WriteTarget, columns given: [Column]) throws {
    name = target.name
    version = target.version
    var metadata = TableMetadata(
      name: nil, schema: try target.schema.map { try StructType(parsing: $0) } ?? TypeMapping.schema(given),
      partitionColumns: target.partitionColumns, configuration: target.properties)
    if target.schema == nil, target.properties["delta.columnMapping.mode"] ?? "none" != "none" {
      metadata = try ColumnMapping.newTable(metadata, mode: try ColumnMapping.mode(metadata))
    }
    let schema = try StructType(parsing: metadata.schemaString)
    self.schema = schema
    if let field = schema.fields.first(where: { $0.type.mentions("void") }) {
      throw PlatformError(
        .invalidArgument, "the column '\(field.name)' has the type void, which no data file can hold",
        hint: "Nothing can be written to the table until it is dropped or has a type.")
    }
    columns = try TypeMapping.columns(schema)
    mapping = try ColumnMapping.mode(metadata)
    metadata.partitionColumns = try target.partitionColumns.map { name in
      guard let field = schema.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
        throw PlatformError(
          .invalidArgument, "the partition column '\(name)' is no column of the table",
          hint: "It has: \(schema.fields.map(\.name).joined(separator: ", ")).")
      }
      guard case .primitive = field.type else {
        throw PlatformError(.invalidArgument, "a table cannot be partitioned by '\(field.name)': its type is no plain value")
      }
      return field.name
    }
    guard metadata.partitionColumns.count < schema.fields.count || schema.fields.isEmpty else {
      throw PlatformError(.invalidArgument, "a table cannot be partitioned by all of its columns")
    }
    self.metadata = metadata
  }

  /// As the commit needs it.
  var described: WriteTarget {
    WriteTarget(
      name: name, schema: metadata.schemaString, partitionColumns: metadata.partitionColumns, properties: metadata.configuration,
      version: version)
  }

  func isPartition(_ name: String) -> Bool { metadata.partitionColumns.contains(name) }
}
