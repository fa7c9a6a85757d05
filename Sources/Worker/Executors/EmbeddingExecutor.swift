// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Models
import Query
import Synchronization
import Transport
import VectorSearch

/// Computes the vectors of one data file.
enum EmbeddingExecutor {
  /// The encoder of the last shard stays loaded: the next one usually uses the same.
  private static let loaded = Mutex<(directory: String, encoder: TextEncoder)?>(nil)

  static func encoder(_ directory: String) throws -> TextEncoder {
    if let found = loaded.withLock({ $0 }), found.directory == directory { return found.encoder }
    let encoder = try TextEncoder(directory: directory)
    loaded.withLock { $0 = (directory, encoder) }
    return encoder
  }

  static func run(_ shard: EmbedShard, context: any WorkContext) throws -> WrittenFile {
    let encoder = try encoder(shard.modelDirectory)
    let writer = try ParquetTableWriter(
      path: shard.output,
      columns: [Column("chunk_id", .varchar), Column("path", .varchar), Column("text", .varchar), Column("embedding", .list(.float))])
    let rows = try TextRows.read(shard.files)
    for start in stride(from: 0, to: rows.count, by: 128) {
      try context.checkCancelled()
      let batch = rows[start..<min(rows.count, start + 128)]
      let vectors = try encoder.encode(batch.map(\.text), isCancelled: { context.isCancelled }).vectors
      for (row, vector) in zip(batch, vectors) {
        try writer.appendRow { appender in
          try appender.append(row.id)
          try appender.append(row.path)
          try appender.append(row.text)
          try appender.append(vector)
        }
      }
      context.progress(done: Int64(min(rows.count, start + 128)), total: Int64(rows.count), unit: "rows")
    }
    context.log("embedded \(rows.count) rows")
    return try writer.finish() ?? WrittenFile(path: shard.output, sizeBytes: 0, rows: 0, statistics: [:])
  }
}

/// Builds a vector index from files of vectors.
enum IndexBuildExecutor {
  static func run(_ shard: IndexBuildShard, context: any WorkContext) throws -> JSONValue {
    let scan = try ParquetScan(files: shard.files, columns: ["chunk_id", "path", "text", "embedding"], orderBy: "chunk_id")
    var rows: [(vector: [Float], payload: VectorPayload)] = []
    while let chunk = try scan.next() {
      try context.checkCancelled()
      let (ids, paths, texts) = (chunk.column(0), chunk.column(1), chunk.column(2))
      let vectors = chunk.column(3)
      for row in 0..<chunk.count {
        rows.append(
          (
            vectors.floats(row),
            VectorPayload(
              chunkID: ids.string(row), path: paths.string(row), text: texts.string(row))
          ))
      }
    }
    let builder = try VectorIndexBuilder(folder: shard.folder, dimension: shard.dimension, capacity: max(1, rows.count))
    for start in stride(from: 0, to: rows.count, by: 500) {
      try context.checkCancelled()
      try builder.add(Array(rows[start..<min(rows.count, start + 500)]))
      context.progress(done: Int64(builder.count), total: Int64(rows.count), unit: "vectors")
    }
    let manifest = try builder.finish(
      sourceTable: shard.sourceTable, sourceVersion: shard.sourceVersion, embeddingModel: shard.embeddingModel)
    context.log("index of \(manifest.count) vectors, recall@10 \(manifest.recallAt10)")
    return [
      "folder": .string(shard.folder), "rows": .integer(Int64(manifest.count)), "recallAt10": .number(manifest.recallAt10),
      "sourceVersion": .integer(shard.sourceVersion),
    ]
  }
}

/// Rows of a table of chunks.
enum TextRows {
  struct Row: Sendable {
    var id: String
    var path: String
    var text: String
  }

  static func read(_ files: [String], where filter: String? = nil) throws -> [Row] {
    let scan = try ParquetScan(files: files, columns: ["chunk_id", "path", "text"], where: filter)
    var rows: [Row] = []
    while let chunk = try scan.next() {
      let (ids, paths, texts) = (chunk.column(0), chunk.column(1), chunk.column(2))
      for row in 0..<chunk.count {
        rows.append(Row(id: ids.string(row), path: paths.string(row), text: texts.string(row)))
      }
    }
    return rows
  }
}
