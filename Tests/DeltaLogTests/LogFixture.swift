// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore
import Testing

@testable import DeltaLog

/// A log written line by line, in memory.
struct LogFixture {
  let store = InMemoryObjectStore()
  let schema = StructType(fields: [StructField(name: "id", type: .primitive("long"))])
  var features: Set<TableFeature> = TableFeature.readByData.union(TableFeature.writtenByData)

  var table: DeltaTable { try! DeltaTable(store: store, path: ObjectPath("t"), parquet: LineHandler(), dataFeatures: features) }

  func put(_ name: String, _ lines: [String]) throws {
    try store.put(ObjectPath("t/_delta_log/" + name), Data((lines.joined(separator: "\n") + "\n").utf8))
  }

  func put(_ name: String, _ actions: [Action]) throws { try put(name, actions.map { String(decoding: $0.line, as: UTF8.self) }) }

  static func name(_ version: Int) -> String { DeltaTable.digits(Int64(version)) }

  func commit(_ version: Int, _ lines: [String]) throws { try put(Self.name(version) + ".json", lines) }
  func commit(_ version: Int, _ actions: [Action]) throws { try put(Self.name(version) + ".json", actions) }

  func start(_ tableProtocol: TableProtocol = TableProtocol(), configuration: [String: String] = [:]) throws {
    try commit(0, [.protocol(tableProtocol), .metadata(TableMetadata(schema: schema, configuration: configuration))])
  }

  static func file(_ path: String, rows: Int64 = 10, vector: String? = nil) -> AddFile {
    var file = AddFile(path: path, partitionValues: [:], size: 100, modificationTime: 5)
    file.stats = "{\"numRecords\":\(rows)}"
    if let vector {
      file.deletionVector = DeletionVectorDescriptor(storage: .inline, pathOrInlineDv: vector, offset: nil, sizeInBytes: 4, cardinality: 1)
    }
    return file
  }
}

func errorCode(_ body: () throws -> Void) -> PlatformError.Code? {
  do {
    try body()
    return nil
  } catch { return PlatformError.from(error).code }
}

func errorText(_ body: () throws -> Void) -> String? {
  do {
    try body()
    return nil
  } catch { return PlatformError.from(error).description }
}
