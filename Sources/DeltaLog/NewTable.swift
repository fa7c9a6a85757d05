// SPDX-License-Identifier: Apache-2.0

public import Core

/// The first version of a table from what its maker asks for: columns, properties, partitioning or clustering, constraints.
public struct NewTable: Sendable {
  public private(set) var metadata: TableMetadata
  /// Features that the table supports beside those that its metadata uses.
  public private(set) var features: Set<TableFeature> = []
  /// The clustering of a clustered table.
  public private(set) var domains: [Action] = []

  /// - Parameters:
  ///   - partitionColumns: in any case; the schema's spelling is kept.
  ///   - properties: `delta.feature.x = supported` asks for a feature and is not kept.
  ///   - checks: CHECK constraints by name.
  ///   - columnIds: the highest id that column mapping has given so far, when a table is replaced.
  /// - Throws: `invalidArgument` for what cannot be meant, or features that no writer here knows.
  public init(
    schema: StructType, partitionColumns: [String] = [], clusteringColumns: [[String]] = [], properties: [String: String] = [:],
    checks: [(name: String, expression: String)] = [], name: String? = nil, description: String? = nil, columnIds: Int64 = 0
  ) throws {
    var configuration = properties
    for (key, value) in properties {
      guard let feature = try Self.feature(key, value) else { continue }
      features.insert(feature)
      configuration[key] = nil
    }
    try SchemaChange.refuseInternalProperties(configuration.keys)
    for (name, expression) in checks {
      let key = "delta.constraints." + name.lowercased()
      guard configuration.updateValue(expression, forKey: key) == nil else {
        throw PlatformError(.alreadyExists, "a constraint '\(name)' exists already")
      }
    }
    try TableProperties(configuration).validate()
    let spelled = try partitionColumns.map { name in
      guard let field = schema.fields.first(where: { $0.name.lowercased() == name.lowercased() }) else {
        throw PlatformError(.invalidArgument, "the partition column '\(name)' is no column of the table")
      }
      return field.name
    }
    var metadata = TableMetadata(name: name, schema: schema, partitionColumns: spelled, configuration: configuration)
    metadata.description = description
    let mode = try ColumnMapping.mode(metadata)
    var mapped = schema
    if mode != .none {
      let (assigned, maximum) = try ColumnMapping.assign(schema, maximum: columnIds, keepsNames: false)
      mapped = assigned
      metadata.schemaString = assigned.schemaString
      metadata.configuration[ColumnMapping.maximumProperty] = String(maximum)
    }
    if TableProperties(metadata.configuration).hasRowTracking {
      for property in [RowTracking.rowIdColumnProperty, RowTracking.rowCommitVersionColumnProperty] {
        metadata.configuration[property] = RowTracking.newColumnName(property)
      }
    }
    if !clusteringColumns.isEmpty {
      features.formUnion([.clustering, .domainMetadata])
      domains.append(try ClusteringColumns.action(clusteringColumns, schema: mapped))
    }
    self.metadata = metadata
  }

  /// The feature that `delta.feature.x` names; nil for other properties.
  /// - Throws: `invalidArgument` for another value than `supported`, or a feature that is unknown here.
  static func feature(_ key: String, _ value: String) throws -> TableFeature? {
    guard key.hasPrefix("delta.feature.") else { return nil }
    let feature = TableFeature(rawValue: String(key.dropFirst(14)))
    guard ["supported", "enabled"].contains(value.lowercased()) else {
      throw PlatformError(.invalidArgument, "the table property \(key) can only be 'supported'")
    }
    guard TableFeature.writtenHere.union(TableFeature.writtenByData).contains(feature) else {
      throw PlatformError(.invalidArgument, "the table feature '\(feature.rawValue.prefix(60))' is not supported")
    }
    return feature
  }
}

extension CommitPlan {
  /// Makes another table of `base`: its files go, `table` and `files` take their place. The table's id and history stay.
  public static func replace(
    _ base: Snapshot, by table: NewTable, files: [AddFile] = [], now: Int64 = ProcessSupport.wallMilliseconds,
    operation: String = "CREATE OR REPLACE TABLE"
  ) throws -> CommitPlan {
    try replace(base, by: table.metadata, features: table.features, domains: table.domains, files: files, now: now, operation: operation)
  }

  /// As above, from metadata that is complete.
  public static func replace(
    _ base: Snapshot, by new: TableMetadata, features: Set<TableFeature>, domains: [Action], files: [AddFile],
    now: Int64 = ProcessSupport.wallMilliseconds, operation: String
  ) throws -> CommitPlan {
    var metadata = new
    metadata.id = base.metadata.id
    metadata.createdTime = base.metadata.createdTime
    // What counts upwards must not fall back: ids would be given twice.
    if let old = base.metadata.configuration[ColumnMapping.maximumProperty].flatMap({ Int64($0) }),
      let own = metadata.configuration[ColumnMapping.maximumProperty].flatMap({ Int64($0) }), own < old
    {
      metadata.configuration[ColumnMapping.maximumProperty] = String(old)
    }
    // Times that commits carry go on, as readers of older versions expect.
    for key in ["delta.enableInCommitTimestamps", "delta.inCommitTimestampEnablementVersion", "delta.inCommitTimestampEnablementTimestamp"] {
      if let value = base.metadata.configuration[key] { metadata.configuration[key] = value }
    }
    let schema = try StructType(parsing: metadata.schemaString)
    let lost = base.tableProtocol.clusteringLost(by: metadata)
    let tableProtocol = (lost.isEmpty ? base.tableProtocol : base.tableProtocol.removing(lost))
      .adding(TableFeature.used(by: metadata, schema).union(features))
    var actions: [Action] = tableProtocol == base.tableProtocol ? [] : [.protocol(tableProtocol)]
    actions.append(.metadata(metadata))
    var set: Set<String> = []
    for case .domain(let domain) in domains {
      set.insert(domain.domain)
      actions.append(.domain(domain))
    }
    for (name, domain) in base.domains.sorted(by: { $0.key < $1.key }) where name != RowTracking.domain && !set.contains(name) {
      actions.append(.domain(DomainMetadata(domain: name, configuration: domain.configuration, removed: true)))
    }
    actions += replacement(of: base.files, by: files, now: now)
    var plan = CommitPlan(actions, reads: .everything, operation: operation)
    plan.droppedFeatures = lost
    return plan
  }
}

extension TableProtocol {
  /// Clustering, where the table is to be partitioned: it cannot support both.
  func clusteringLost(by metadata: TableMetadata) -> Set<TableFeature> {
    metadata.partitionColumns.isEmpty || !supports(.clustering) ? [] : [.clustering]
  }
}
