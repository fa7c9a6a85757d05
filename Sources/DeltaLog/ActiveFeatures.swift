// SPDX-License-Identifier: Apache-2.0

import Core

extension StructType {
  /// Every field, nested ones included, in order.
  func forEachField(_ body: (StructField) -> Void) {
    for field in fields {
      body(field)
      field.type.forEachField(body)
    }
  }
}

extension DeltaType {
  func forEachField(_ body: (StructField) -> Void) {
    switch self {
    case .primitive: break
    case .array(let item, _): item.forEachField(body)
    case .map(let key, let value, _):
      key.forEachField(body)
      value.forEachField(body)
    case .structure(let type): type.forEachField(body)
    }
  }
}

extension Snapshot {
  /// Features that the table supports and its metadata puts to use ("Active Features").
  public var activeFeatures: Set<TableFeature> {
    tableProtocol.features.intersection(TableFeature.used(by: metadata, schema))
  }
}

extension TableFeature {
  /// Features that a table with this metadata has to support.
  static func used(by metadata: TableMetadata, _ schema: StructType) -> Set<TableFeature> {
    var found: Set<TableFeature> = []
    let properties = TableProperties(metadata.configuration)
    if properties.isAppendOnly { found.insert(.appendOnly) }
    if properties.hasChangeDataFeed { found.insert(.changeDataFeed) }
    if properties.hasRowTracking { found.insert(.rowTracking) }
    if properties.hasInCommitTimestamps { found.insert(.inCommitTimestamp) }
    if properties.usesDeletionVectors { found.insert(.deletionVectors) }
    if properties.allowsTypeWidening { found.insert(.typeWidening) }
    if properties.usesV2Checkpoints { found.insert(.v2Checkpoint) }
    if properties.flag("delta.enableIcebergCompatV1") { found.insert(.icebergCompatV1) }
    if properties.flag("delta.enableIcebergCompatV2") { found.insert(.icebergCompatV2) }
    if let mode = properties.values["delta.columnMapping.mode"], mode != "none" { found.insert(.columnMapping) }
    if properties.values.keys.contains(where: { $0.hasPrefix("delta.constraints.") }) { found.insert(.checkConstraints) }
    schema.forEachField { field in
      if field.metadata["delta.invariants"] != nil { found.insert(.invariants) }
      if field.metadata["delta.generationExpression"] != nil { found.insert(.generatedColumns) }
      if field.metadata["delta.identity.start"] != nil { found.insert(.identityColumns) }
      if field.metadata["CURRENT_DEFAULT"] != nil { found.insert(.allowColumnDefaults) }
      if field.metadata["delta.typeChanges"] != nil { found.insert(.typeWidening) }
    }
    if schema.fields.contains(where: { $0.type.mentions("timestamp_ntz") }) { found.insert(.timestampNtz) }
    return found
  }
}
