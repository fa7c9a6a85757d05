// SPDX-License-Identifier: Apache-2.0

import Core

/// Versions and features that a reader or writer has to know ("Protocol Evolution").
public struct TableProtocol: Sendable, Hashable {
  public var minReaderVersion: Int
  public var minWriterVersion: Int
  public var readerFeatures: [String]?
  public var writerFeatures: [String]?

  public init(
    minReaderVersion: Int = 1, minWriterVersion: Int = 2, readerFeatures: [String]? = nil, writerFeatures: [String]? = nil
  ) {
    self.minReaderVersion = minReaderVersion
    self.minWriterVersion = minWriterVersion
    self.readerFeatures = readerFeatures
    self.writerFeatures = writerFeatures
  }

  /// Every feature that the table supports, from the lists and from plain versions.
  public var features: Set<TableFeature> {
    TableFeature.implied(reader: minReaderVersion, writer: minWriterVersion)
      .union((minWriterVersion >= 7 ? writerFeatures ?? [] : []).map(TableFeature.init(rawValue:)))
      .union((minReaderVersion >= 3 ? readerFeatures ?? [] : []).map(TableFeature.init(rawValue:)))
  }

  public func supports(_ feature: TableFeature) -> Bool { features.contains(feature) }

  /// - Throws: `invalidFile` for an action that the protocol forbids.
  func validate() throws {
    guard minReaderVersion >= 1, minWriterVersion >= 1 else {
      throw PlatformError(.invalidFile, "the table's protocol has a version below 1")
    }
    guard minReaderVersion < 3 || minWriterVersion >= 7 else {
      throw PlatformError(.invalidFile, "the table's protocol has reader version \(minReaderVersion) with writer version \(minWriterVersion)")
    }
  }

  /// - Parameter data: what the reader of the data files can do.
  /// - Throws: `invalidFile` naming what this reader does not know.
  func checkReadable(_ metadata: TableMetadata?, data: Set<TableFeature>) throws {
    try validate()
    guard minReaderVersion <= 3 else { throw Self.refusal("reader version \(minReaderVersion)", "reader") }
    var known = TableFeature.readHere.union(data.intersection(TableFeature.readByData))
    if data.contains(.typeWidening) { known.insert(.typeWideningPreview) }
    var unknown = Set(minReaderVersion == 3 ? (readerFeatures ?? []).map(TableFeature.init(rawValue:)) : []).subtracting(known)
    // Version 2 and old writers: the mode tells whether names are mapped.
    if let mode = metadata?.configuration["delta.columnMapping.mode"], mode != "none", !known.contains(.columnMapping) {
      unknown.insert(.columnMapping)
    }
    guard unknown.isEmpty else { throw Self.refusal(Self.list(unknown, "reader"), "reader") }
  }

  /// - Parameters:
  ///   - active: the features that the table's metadata puts to use.
  ///   - data: what the writer of the data files can do.
  /// - Throws: `invalidFile` naming what this writer does not know.
  func checkWritable(active: Set<TableFeature>, data: Set<TableFeature>) throws {
    guard minWriterVersion <= 7 else { throw Self.refusal("writer version \(minWriterVersion)", "writer") }
    let known = TableFeature.writtenHere.union(TableFeature.writtenByData).union(data.intersection([.coordinatedCommits]))
    var unknown = features.subtracting(known).subtracting([.icebergCompatV1, .icebergCompatV2])
    unknown.formUnion(active.subtracting(TableFeature.writtenHere).subtracting(data))
    guard unknown.isEmpty else { throw Self.refusal(Self.list(unknown, "writer"), "writer") }
  }

  private static func list(_ features: Set<TableFeature>, _ who: String) -> String {
    "the \(who) features " + features.sorted().map(\.rawValue).joined(separator: ", ")
  }

  private static func refusal(_ what: String, _ who: String) -> PlatformError {
    PlatformError(.invalidFile, "the table needs \(what), which this \(who) does not know")
  }

  /// The smallest protocol for a new table that supports `wanted`: plain versions where they suffice, lists otherwise.
  public static func supporting(_ wanted: Set<TableFeature>) -> TableProtocol {
    TableProtocol(minReaderVersion: 1, minWriterVersion: 2).adding(wanted.subtracting([.appendOnly, .invariants]))
  }

  /// This protocol with `wanted` and what they require. Features never go away. A table on plain versions that comes to use
  /// lists keeps every feature that its versions stood for ("Table Features for New and Existing Tables").
  public func adding(_ wanted: Set<TableFeature>) -> TableProtocol {
    let needed = wanted.reduce(into: wanted) { $0.formUnion($1.requirements) }
    let present = features
    guard !needed.isSubset(of: present) else { return self }
    var listed = present.union(needed)
    let readers = listed.filter(\.concernsReaders)
    if minReaderVersion >= 3 { listed.formUnion((readerFeatures ?? []).map(TableFeature.init(rawValue:))) }
    var result = self
    result.minWriterVersion = 7
    result.writerFeatures = listed.map(\.rawValue).sorted()
    // Column mapping alone is reader version 2; anything else that concerns readers takes the list.
    if readers.isEmpty {
      result.readerFeatures = minReaderVersion >= 3 ? readerFeatures : nil
    } else {
      let own = minReaderVersion >= 3 ? Set((readerFeatures ?? []).map(TableFeature.init(rawValue:))) : []
      result.minReaderVersion = 3
      result.readerFeatures = readers.union(own).map(\.rawValue).sorted()
    }
    return result
  }
}
