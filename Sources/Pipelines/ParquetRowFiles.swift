// SPDX-License-Identifier: Apache-2.0

public import Core
import DuckDB
public import Query

/// Tables as Parquet files on disk, in the order of their rows. Every call opens an engine of its own, so calls may overlap.
public struct ParquetRowFiles: RowFiles {
  private let scratchDirectory: String
  private let threads: Int

  /// - Parameter scratchDirectory: where reading may spill.
  public init(scratchDirectory: String, threads: Int = 1) {
    self.scratchDirectory = scratchDirectory
    self.threads = threads
  }

  public func write(_ rows: RowSet, to path: String) throws -> WrittenFile {
    let columns = rows.columns.map { column -> Query.Column in
      switch column.values {
      case .text: Query.Column(column.name, .varchar)
      case .integer: Query.Column(column.name, .bigint)
      case .timestamp: Query.Column(column.name, .timestampTZ)
      }
    }
    let writer = try ParquetTableWriter(path: path, columns: columns, threads: threads)
    for row in 0..<rows.count {
      try writer.appendRow { appender in
        for column in rows.columns {
          switch column.values {
          case .text(let values): try appender.append(values[row])
          case .integer(let values), .timestamp(let values): try appender.append(values[row])
          }
        }
      }
    }
    guard let file = try writer.finish() else {
      throw PlatformError(.internalError, "a table without rows cannot be written", path: path)
    }
    return file
  }

  public func read(_ path: String, columns: [String]) throws -> RowSet {
    let scan: ParquetScan
    do {
      scan = try ParquetScan(files: [path], columns: columns, threads: threads, temporaryDirectory: scratchDirectory)
    } catch let error as PlatformError {
      throw error.wrapping("reading \(path)")
    }
    var values = scan.columns.map { column -> ColumnValues in
      switch column.type {
      case .varchar: .text([])
      case .timestamp, .timestampTZ: .timestamp([])
      default: .integer([])
      }
    }
    while let chunk = try scan.next() {
      for index in values.indices {
        let column = chunk.column(index)
        for row in 0..<chunk.count where column.isNull(row) {
          throw PlatformError(.invalidFile, "column '\(columns[index])' has a null", number: "PLT-3103", path: path)
        }
        let taken = values[index]
        values[index] = .integer([])  // so that appending does not copy the list
        switch taken {
        case .text(var list):
          for row in 0..<chunk.count { list.append(column.string(row)) }
          values[index] = .text(list)
        case .integer(var list):
          for row in 0..<chunk.count { list.append(column.int64(row)) }
          values[index] = .integer(list)
        case .timestamp(var list):
          for row in 0..<chunk.count { list.append(column.int64(row)) }
          values[index] = .timestamp(list)
        }
      }
    }
    return RowSet(zip(columns, values).map { RowSet.Column($0, $1) })
  }
}

extension IngestShard {
  /// As `run(context:files:)`, with Parquet files.
  public func run(context: any WorkContext) throws -> IngestResult {
    try run(context: context, files: ParquetRowFiles(scratchDirectory: context.scratchDirectory))
  }
}

extension PrepareCleanShard {
  /// As `run(context:files:)`, with Parquet files.
  public func run(context: any WorkContext) throws -> PrepareCleanResult {
    try run(context: context, files: ParquetRowFiles(scratchDirectory: context.scratchDirectory))
  }
}

extension PrepareDedupeShard {
  /// As `run(context:files:)`, with Parquet files.
  public func run(context: any WorkContext) throws -> PrepareDedupeResult {
    try run(context: context, files: ParquetRowFiles(scratchDirectory: context.scratchDirectory))
  }
}

extension PrepareFinishShard {
  /// As `run(context:files:)`, with Parquet files.
  public func run(context: any WorkContext) throws -> PrepareFinishResult {
    try run(context: context, files: ParquetRowFiles(scratchDirectory: context.scratchDirectory))
  }
}
