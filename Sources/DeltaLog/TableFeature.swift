// SPDX-License-Identifier: Apache-2.0

/// A table feature of the protocol ("Valid Feature Names in Table Features"). Names that are not listed here can occur.
public struct TableFeature: RawRepresentable, Hashable, Sendable, Comparable, CustomStringConvertible {
  public let rawValue: String
  public init(rawValue: String) { self.rawValue = rawValue }
  private init(_ name: String) { rawValue = name }

  public static let appendOnly = TableFeature("appendOnly")
  public static let invariants = TableFeature("invariants")
  public static let checkConstraints = TableFeature("checkConstraints")
  public static let generatedColumns = TableFeature("generatedColumns")
  public static let allowColumnDefaults = TableFeature("allowColumnDefaults")
  public static let changeDataFeed = TableFeature("changeDataFeed")
  public static let columnMapping = TableFeature("columnMapping")
  public static let identityColumns = TableFeature("identityColumns")
  public static let deletionVectors = TableFeature("deletionVectors")
  public static let rowTracking = TableFeature("rowTracking")
  public static let timestampNtz = TableFeature("timestampNtz")
  public static let typeWidening = TableFeature("typeWidening")
  public static let domainMetadata = TableFeature("domainMetadata")
  public static let v2Checkpoint = TableFeature("v2Checkpoint")
  public static let catalogManaged = TableFeature("catalogManaged")
  public static let icebergCompatV1 = TableFeature("icebergCompatV1")
  public static let icebergCompatV2 = TableFeature("icebergCompatV2")
  public static let clustering = TableFeature("clustering")
  public static let vacuumProtocolCheck = TableFeature("vacuumProtocolCheck")
  public static let inCommitTimestamp = TableFeature("inCommitTimestamp")
  public static let variantType = TableFeature("variantType")
  public static let variantShredding = TableFeature("variantShredding")
  // Names under which features went before they were part of the protocol.
  static let variantTypePreview = TableFeature("variantType-preview")
  static let variantShreddingPreview = TableFeature("variantShredding-preview")
  static let typeWideningPreview = TableFeature("typeWidening-preview")

  public static func < (left: TableFeature, right: TableFeature) -> Bool { left.rawValue < right.rawValue }
  public var description: String { rawValue }

  /// Features that readers have to know too; they are listed in both lists of the protocol action.
  static let readerAndWriter: Set<TableFeature> = [
    .columnMapping, .deletionVectors, .timestampNtz, .typeWidening, .v2Checkpoint, .catalogManaged, .vacuumProtocolCheck, .variantType,
    .variantShredding, .variantTypePreview, .variantShreddingPreview, .typeWideningPreview,
  ]
  public var concernsReaders: Bool { Self.readerAndWriter.contains(self) }

  /// Features that a feature needs beside itself.
  var requirements: Set<TableFeature> {
    switch self {
    case .rowTracking, .clustering: [.domainMetadata]
    case .variantShredding: [.variantType]
    case .icebergCompatV1, .icebergCompatV2: [.columnMapping]
    case .catalogManaged: [.inCommitTimestamp]
    default: []
    }
  }

  /// What a plain writer version stands for ("Writer Version Requirements"), the reader's part included.
  static func implied(reader: Int, writer: Int) -> Set<TableFeature> {
    var found: Set<TableFeature> = []
    guard writer < 7 else { return reader == 2 ? [.columnMapping] : [] }
    if writer >= 2 { found.formUnion([.appendOnly, .invariants]) }
    if writer >= 3 { found.insert(.checkConstraints) }
    if writer >= 4 { found.formUnion([.changeDataFeed, .generatedColumns]) }
    if writer >= 5 { found.insert(.columnMapping) }
    if writer >= 6 { found.insert(.identityColumns) }
    if reader == 2 { found.insert(.columnMapping) }
    return found
  }

  /// Writers list these for tables without such a column, too: a schema that has one is refused by the column's type.
  static let variants: Set<TableFeature> = [.variantType, .variantShredding, .variantTypePreview, .variantShreddingPreview]
  /// What this library does by itself when it reads a log.
  static let readHere: Set<TableFeature> = variants.union([.timestampNtz, .v2Checkpoint, .vacuumProtocolCheck])
  /// What the reader of the data files has to do: refused unless `DeltaTable.dataFeatures` names it.
  static let readByData: Set<TableFeature> = [.columnMapping, .deletionVectors, .typeWidening, .typeWideningPreview]
  /// What this library does by itself when it commits.
  static let writtenHere: Set<TableFeature> = readHere.union([
    .appendOnly, .domainMetadata, .inCommitTimestamp, .rowTracking, .clustering, .changeDataFeed,
  ])
  /// What the writer of the data files has to do once it is in use: refused then unless `DeltaTable.dataFeatures` names it.
  static let writtenByData: Set<TableFeature> = readByData.union([
    .invariants, .checkConstraints, .generatedColumns, .allowColumnDefaults, .identityColumns,
  ])
}
