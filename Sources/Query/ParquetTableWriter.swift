// SPDX-License-Identifier: Apache-2.0

import Core
public import DuckDB
import Foundation
public import ObjectStore

/// Collects rows and writes them as one parquet file with statistics. Belongs to one thread.
///
/// A few rows of plain columns are encoded here, without compression. More are kept by the engine (in memory, spilling next to the
/// file above the limit) until `finish`, and compressed with zstd.
public final class ParquetTableWriter {
  public let path: String
  public let columns: [Column]
  private let memoryLimit: String
  private let threads: Int
  private let shared: Database?
  /// Rows so far, while they are few.
  private var few: FewRows?
  private var engine: Engine?

  /// Where many rows are kept.
  private struct Engine {
    var connection: Connection
    var appender: Appender
    var table: String
  }

  /// - Parameters:
  ///   - path: absolute; the folder is created. The file appears at `finish` by a rename.
  ///   - memoryLimit: above it rows spill to a temporary folder.
  ///   - database: one that several writers share: opening one takes long. Its limits hold then.
  public init(path: String, columns: [Column], memoryLimit: String = "512MB", threads: Int = 2, sharing database: Database? = nil) throws {
    guard !columns.isEmpty, Set(columns.map { $0.name.lowercased() }).count == columns.count else {
      throw PlatformError(.invalidArgument, "a table needs columns with different names")
    }
    self.path = path
    self.columns = columns
    self.memoryLimit = memoryLimit
    self.threads = threads
    shared = database
    few = FewRows(columns)
    let folder = (path as NSString).deletingLastPathComponent
    try Self.makeFolder(folder)
    if few == nil { _ = try startEngine() }
  }

  deinit {
    // In a database of its own the rows go with it; a failing removal from a shared one only costs memory.
    if shared != nil, let engine { _ = try? engine.connection.execute("DROP TABLE IF EXISTS \(engine.table)") }
  }

  /// Hands the rows to the engine, which takes those that come from now on.
  private func startEngine() throws -> Appender {
    if let engine { return engine.appender }
    let database =
      try shared
      ?? Database(
        settings: .init(
          memoryLimit: memoryLimit, threads: threads,
          temporaryDirectory: NSTemporaryDirectory() + "platform-write-" + UUID().uuidString.prefix(8)))
    let connection = try database.connect()
    let table = "written_" + UUID().uuidString.lowercased().filter { $0 != "-" }
    try connection.execute("SET TimeZone='UTC'")
    let list = columns.map { SQLText.identifier($0.name) + " " + $0.type.sql }.joined(separator: ", ")
    try connection.execute("CREATE TABLE \(table) (\(list))")
    let appender = try Appender(connection, table: table)
    engine = Engine(connection: connection, appender: appender, table: table)
    let rows = few?.rows ?? []
    few = nil
    for row in rows { try Self.append(row, to: appender) }
    return appender
  }

  /// Makes a folder, with the entries that lead to it on the disk where it is new.
  private static func makeFolder(_ folder: String) throws {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue { return }
    var parents: [String] = []
    var parent = (folder as NSString).deletingLastPathComponent
    while !parent.isEmpty {
      parents.append(parent)
      guard parent != "/", !FileManager.default.fileExists(atPath: parent) else { break }
      parent = (parent as NSString).deletingLastPathComponent
    }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch { throw PlatformError(.permissionDenied, "cannot create the folder", path: folder) }
    for parent in parents { try DurableFile.sync(parent, flags: O_RDONLY | O_DIRECTORY) }
  }

  public var rowCount: Int { few?.rows.count ?? engine?.appender.rowCount ?? 0 }

  /// Appends one row; values in the columns' order.
  public func append(_ row: [SQLValue]) throws {
    if few?.append(row) == true { return }
    // The engine says what is wrong with a row, too.
    try Self.append(row, to: startEngine())
  }

  private static func append(_ row: [SQLValue], to appender: Appender) throws {
    for value in row { try appender.append(value) }
    try appender.endRow()
  }

  /// Appends one row by typed calls on the appender: `append` for each column. The fastest way for many rows.
  public func appendRow(_ body: (Appender) throws -> Void) throws {
    let appender = try startEngine()
    try body(appender)
    try appender.endRow()
  }

  /// As `finish`, but a file of few rows may not be on the disk yet: `DeltaTable.append` waits for it, together with its own writes.
  public func finishUnsynced() throws -> (file: WrittenFile, unsynced: UnsyncedFile?)? {
    guard let few else { return try finish().map { ($0, nil) } }
    return few.rows.isEmpty ? nil : try few.writeUnsynced(to: path)
  }

  /// Writes the file. Without rows no file is written and the result is nil.
  public func finish() throws -> WrittenFile? {
    if let few { return few.rows.isEmpty ? nil : try few.write(to: path) }
    guard let engine else { return nil }
    try engine.appender.close()
    guard engine.appender.rowCount > 0 else { return nil }
    return try ParquetFile.write(engine.connection, source: engine.table, columns: columns, path: path)
  }
}
