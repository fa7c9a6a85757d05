// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB

extension TableScan {
  /// What happened to a table's rows, as rows: the columns of `snapshot`, and `_change_type`, `_commit_version` and `_commit_timestamp`.
  /// - Parameters:
  ///   - changes: of `DeltaTable.changesAndSchemas`, as the schemas are.
  ///   - vector: reads a deletion vector that a change's own file is compared by.
  /// - Throws: `invalidArgument` for a table with columns of those names, or PLT-3241 when a column was of another kind; otherwise as `init(_:folder:sharedFolders:matching:)`.
  public init(
    changes: [ChangeDataFeed.Change], schemas: [StructType] = [], of snapshot: Snapshot, folder: String, sharedFolders: [String] = [],
    vector: (DeletionVectorDescriptor) throws -> DeletionVector
  ) throws {
    var empty = snapshot
    empty.filesByPath = [:]
    self = try TableScan(empty, folder: folder, sharedFolders: sharedFolders)
    let names = [ChangeDataFeed.changeTypeColumn, ChangeDataFeed.versionColumn, ChangeDataFeed.timestampColumn]
    if let taken = snapshot.schema.fields.first(where: { names.contains($0.name.lowercased()) }) {
      throw PlatformError(.invalidArgument, "the table has a column '\(taken.name)', which its change feed needs for itself", path: folder)
    }
    let own: [DeltaType] = [.primitive("string"), .primitive("long"), .primitive("timestamp")]
    // Types that were widened and taken back are the wider ones in between.
    var schema = try schemas.reduce(snapshot.schema) { schema, other in
      let (common, clash) = TypeWidening.common(schema, other)
      guard let common else {
        func type(_ schema: StructType) -> String {
          schema.fields.first { $0.name == clash }.flatMap { try? TypeMapping.sql($0.type).sql } ?? "another type"  // for people
        }
        throw PlatformError(
          .invalidArgument, "the column '\(clash ?? "")' is \(type(snapshot.schema)) at version \(snapshot.version) and was \(type(other)) before",
          hint: "Ask for the versions before and after that change apart: the columns are those of the last version.", number: "PLT-3241")
      }
      return common
    }
    schema.fields += zip(names, own).map { StructField(name: $0, type: $1) }
    schemaText = schema.schemaString
    let physical = partitionColumns.map { name in schema.fields.first { $0.name.lowercased() == name.lowercased() }?.physicalName ?? name }
    partitionColumns += names
    files = try changes.map { change in
      var file = File(
        path: try Self.path(change.location(), folder, sharedFolders), size: change.size,
        partitionValues: physical.map { change.partitionValues[$0] ?? nil } + [
          change.kind == .recorded ? nil : change.kind.rawValue, String(change.version),
          Literal.timestamp(change.timestampMilliseconds.multipliedReportingOverflow(by: 1000).partialValue).partitionText(type: .primitive("timestamp")),
        ])
      file.isRecorded = change.kind == .recorded ? true : nil
      guard let lost = change.deletionVector else { return file }
      guard let difference = change.difference else {
        file.deletions = try Self.deletions(lost, folder, sharedFolders)
        return file
      }
      guard let rows = change.physicalRows else {
        throw PlatformError(.invalidFile, "the log does not say how many rows a file with a deletion vector has", path: change.path)
      }
      let others = try difference.vector.map(vector) ?? DeletionVector()
      let kept = DeletionVectorDescriptor.inline(try vector(lost).allBut(without: others, below: rows))
      file.deletions = try Self.deletions(kept, folder, sharedFolders)
      return file
    }
  }
}
