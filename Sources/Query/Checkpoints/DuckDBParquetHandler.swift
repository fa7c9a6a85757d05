// SPDX-License-Identifier: Apache-2.0

import Core
public import DeltaLog
import DuckDB
public import Foundation

/// Delta checkpoints: read from their columns, and through the SQL engine where those have what is not known here.
public struct DuckDBParquetHandler: ParquetHandler {
  public init() {}

  private static let vector = """
    STRUCT(storageType VARCHAR, pathOrInlineDv VARCHAR, "offset" INTEGER, sizeInBytes INTEGER, cardinality BIGINT)
    """

  /// The protocol's checkpoint schema.
  static let columns: [(name: String, type: String)] = [
    ("txn", "STRUCT(appId VARCHAR, version BIGINT, lastUpdated BIGINT)"),
    (
      "add",
      """
      STRUCT(path VARCHAR, partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, modificationTime BIGINT, dataChange BOOLEAN,
        stats VARCHAR, tags MAP(VARCHAR, VARCHAR), deletionVector \(vector), baseRowId BIGINT, defaultRowCommitVersion BIGINT,
        clusteringProvider VARCHAR)
      """
    ),
    (
      "remove",
      """
      STRUCT(path VARCHAR, deletionTimestamp BIGINT, dataChange BOOLEAN, extendedFileMetadata BOOLEAN,
        partitionValues MAP(VARCHAR, VARCHAR), size BIGINT, deletionVector \(vector), baseRowId BIGINT, defaultRowCommitVersion BIGINT)
      """
    ),
    (
      "metaData",
      """
      STRUCT(id VARCHAR, name VARCHAR, description VARCHAR, format STRUCT(provider VARCHAR, options MAP(VARCHAR, VARCHAR)),
        schemaString VARCHAR, partitionColumns VARCHAR[], configuration MAP(VARCHAR, VARCHAR), createdTime BIGINT)
      """
    ),
    (
      "protocol",
      "STRUCT(minReaderVersion INTEGER, minWriterVersion INTEGER, readerFeatures VARCHAR[], writerFeatures VARCHAR[])"
    ),
    ("domainMetadata", "STRUCT(domain VARCHAR, configuration VARCHAR, removed BOOLEAN)"),
    ("checkpointMetadata", "STRUCT(version BIGINT, tags MAP(VARCHAR, VARCHAR))"),
    ("sidecar", "STRUCT(path VARCHAR, sizeInBytes BIGINT, modificationTime BIGINT, tags MAP(VARCHAR, VARCHAR))"),
  ]
  /// Columns that only some checkpoints have.
  static let optionalColumns: Set<String> = ["domainMetadata", "checkpointMetadata", "sidecar"]

  /// Files for the engine, which reads and writes nothing else. They need not outlive a crash, so nothing waits for the disk.
  private func withFiles<T>(_ data: Data, _ body: (_ given: String, _ made: String) throws -> T) throws -> T {
    let path = NSTemporaryDirectory() + "platform-checkpoint-" + UUID().uuidString
    let (given, made) = (path + "-in", path + "-out")
    let descriptor = open(given, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw PlatformError.system("create a temporary file", given) }
    defer {
      unlink(given)
      unlink(made)
    }
    do {
      defer { close(descriptor) }
      try DurableFile.write(data, to: descriptor, given)
    }
    return try body(given, made)
  }

  public func readCheckpointActions(_ parquet: Data, name: String) throws -> [Action] {
    do { return try CheckpointColumns.actions(parquet, name: name) } catch is ParquetFault {
      return try readWithEngine(parquet, name: name)
    }
  }

  func readWithEngine(_ parquet: Data, name: String) throws -> [Action] {
    try withFiles(parquet) { file, _ in try CheckpointReader(connection: CheckpointReader.connect(), name: name).actions(file: file) }
  }

  public func readCheckpoint(_ parquet: Data) throws -> [Data] {
    try withFiles(parquet) { file, _ in
      let connection = try CheckpointReader.connect()
      let source = "read_parquet(\(SQLText.literal(file)))"
      let present = Set(try connection.query("SELECT * FROM \(source) LIMIT 0").columns.map(\.name))
      let list = Self.columns.map(\.name).filter(present.contains).map(SQLText.identifier).joined(separator: ", ")
      guard !list.isEmpty else { throw PlatformError(.invalidFile, "the checkpoint holds no actions") }
      return try connection.rows("SELECT CAST(to_json(a) AS VARCHAR) FROM (SELECT \(list) FROM \(source)) a").compactMap {
        $0[0].stringValue.map { Data($0.utf8) }
      }
    }
  }

  public func writeCheckpoint(_ actions: [Data]) throws -> Data { try writeCheckpoint(actions, fileColumns: []) }

  public func writeCheckpoint(_ actions: [Data], fileColumns: [StructField]) throws -> Data {
    let more = try fileColumns.map { ", \(SQLText.identifier($0.name)) \(try TypeMapping.sql($0.type).sql)" }.joined()
    return try withFiles(Data(actions.joined(separator: [10]))) { lines, file in
      let present = Self.columns.filter { column in
        !Self.optionalColumns.contains(column.name) || actions.contains { $0.starts(with: Data("{\"\(column.name)\"".utf8)) }
      }
      let types = present.map { column in
        "\(column.name): \(SQLText.literal(column.name == "add" ? column.type.dropLast() + more + ")" : column.type))"
      }.joined(separator: ", ")
      let connection = try CheckpointReader.connect()
      // Times of partitions may come without a zone: they are UTC.
      try connection.execute("SET TimeZone='UTC'")
      try connection.execute(
        """
        COPY (SELECT * FROM read_json(\(SQLText.literal(lines)), format='newline_delimited', maximum_object_size=268435456,
          columns={\(types)})) TO \(SQLText.literal(file)) (FORMAT parquet, COMPRESSION zstd)
        """)
      return try Data(contentsOf: URL(fileURLWithPath: file))
    }
  }
}
