// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation

extension StatementSpec {
  /// All files of tables that the statement reads.
  var scans: [TableScan] {
    var found = tables.map(\.scan)
    if let change { found.append(TableScan(targetFiles: change.files)) }
    return found
  }
}

extension TableScan {
  fileprivate init(targetFiles: [TargetFile]) {
    self.init(files: targetFiles.map(\.path), columns: [])
  }
}

/// Which file a failed statement failed on. The engine names it in most of its errors; where it does not, the files are looked at one by one.
enum DamagedFiles {
  /// How the engine begins what it says of damaged files without naming them.
  private static let signs = [
    "Out of buffer", "TProtocolException", "TTransportException", "Payload value", "don't know what type", "Invalid Input Error: Invalid unicode",
    "Mismatch in parquet", "Parquet", "parquet", "Snappy", "ZSTD", "GZIP", "LZ4", "Brotli", "Dictionary", "RLE", "bit pack", "Invalid string encoding",
    "decompress", "IO Error", "Failed to read", "Corrupt", "corrupt", "Invalid Error",
  ]
  private static let fileLimit = 1000
  private static let patience: Duration = .seconds(20)

  /// `error` with the file that it is about, when it is about one.
  static func explained(_ error: any Error, _ scans: [TableScan]) -> any Error {
    guard let error = error as? PlatformError, [.invalidArgument, .internalError].contains(error.code), error.path == nil, error.number.isEmpty
    else { return error }
    let files = scans.flatMap(\.files)
    if let named = files.first(where: { error.message.contains($0.path) }) {
      let isPast = scans.contains { $0.isPast == true && $0.files.contains(named) }
      return damaged(named, error.message.replacing(named.path, with: (named.path as NSString).lastPathComponent), isPast: isPast)
    }
    guard error.code == .internalError || signs.contains(where: error.message.contains) else { return error }
    let end = ContinuousClock.now + patience
    for file in files.prefix(fileLimit) where ContinuousClock.now < end {
      if let reason = fault(file) { return damaged(file, reason, isPast: scans.contains { $0.isPast == true && $0.files.contains(file) }) }
    }
    return error
  }

  /// A file that is not as long as the log says was cut off, or is another: what it would give cannot be trusted. Costs one look at each.
  /// - Throws: `invalidFile` PLT-3243.
  static func checkSizes(_ files: [TableScan.File], isPast: Bool?) throws {
    for file in files where file.size > 0 {
      var info = stat()
      guard stat(file.path, &info) == 0 else {
        guard errno == ENOENT else { continue }  // the engine says what is wrong
        throw damaged(file, "", isPast: isPast == true)
      }
      if Int64(info.st_size) != file.size { throw damaged(file, "it has \(info.st_size) bytes, the table's log says \(file.size)", isPast: isPast == true) }
    }
  }

  private static func damaged(_ file: TableScan.File, _ reason: String, isPast: Bool) -> PlatformError {
    let isGone = access(file.path, F_OK) != 0
    return PlatformError(
      .invalidFile, isGone ? "a data file of the table is missing" : "a data file cannot be read: \(reason)",
      hint: isGone
        ? isPast
          ? "VACUUM removes files that only older versions of the table need: DESCRIBE HISTORY lists the versions, the newest has its files."
          : "FSCK REPAIR TABLE takes missing files out of a table; RESTORE goes back to an older version."
        : "RESTORE goes back to a version without it.",
      number: "PLT-3243", path: file.path)
  }

  /// What is wrong with a file; nil: all of it can be read.
  private static func fault(_ file: TableScan.File) -> String? {
    var info = stat()
    guard stat(file.path, &info) == 0 else { return "it is missing" }
    if file.size > 0, Int64(info.st_size) != file.size { return "it has \(info.st_size) bytes, the table's log says \(file.size)" }
    do {
      let connection = try Database(settings: .init(memoryLimit: "512MB", threads: 1)).connect()
      try connection.execute("SET TimeZone='UTC'")
      let rows = try connection.query("SELECT * FROM read_parquet(\(SQLText.literal(file.path)), hive_partitioning=false)")
      while try rows.next() != nil {}
      return nil
    } catch {
      return PlatformError.from(error).message
    }
  }
}
