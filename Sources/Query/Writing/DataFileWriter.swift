// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import DuckDB
import Foundation

/// Writes the rows of a query as data files of a table: one or more a partition, of about the table's target size, with
/// statistics that the engine collects while it writes. Rows stream from the query into the files.
struct DataFileWriter {
  /// Size of a file that is full, where the table does not say. Smaller files cost listing, larger ones cost rewriting.
  static let defaultFileSize: Int64 = 128 << 20

  let layout: PhysicalLayout
  /// The table's folder.
  let folder: String
  /// Below the folder: empty, or the folder of change files.
  var subfolder = ""
  /// Whether the files are on the disk when they are given back.
  var waitsForDisk = true
  /// Whether the rows were the table's before, dates without end included.
  var takesInfinity = false

  private var table: TargetTable { layout.table }
  private var targetSize: Int64 { table.properties.targetFileSizeBytes ?? Self.defaultFileSize }

  /// Files appear under their names when all are complete; on an error none do.
  /// - Parameter query: with the table's columns and those of `layout.extras`.
  /// - Throws: `invalidArgument` with the engine's text, or for a row that breaks a rule; `diskFull`.
  func write(_ connection: Connection, query: String) throws -> [WrittenFile] {
    let staging = folder + "/.write-" + UUID().uuidString.lowercased()
    defer { try? FileManager.default.removeItem(atPath: staging) }  // empty by then, or of no use
    do {
      try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: true)
      let partitions = layout.partitionNames
      let sizing = partitions.isEmpty ? sizeOption : "PARTITION_BY (\(partitions.map(SQLText.identifier).joined(separator: ", ")))"
      let rows = "SELECT \(layout.selectList) FROM (\n\(query)\n) AS __rows"
      var parts: [Part]
      do { parts = try copy(connection, rows, to: staging + "/a", sizing, partitions) } catch let error as PlatformError
        where !partitions.isEmpty && error.message.contains("File name too long")
      {
        // The engine names folders by the values.
        try FileManager.default.removeItem(atPath: staging + "/a")
        parts = try copyByNumber(connection, rows, to: staging + "/n", partitions)
      }
      // The engine splits by partition or by size, not by both: what came out too large is split afterwards.
      if !partitions.isEmpty {
        parts = try parts.enumerated().flatMap { index, part in
          guard part.sizeBytes > targetSize + targetSize / 2 else { return [part] }
          let split = try copy(
            connection, "SELECT * FROM read_parquet(\(SQLText.literal(part.path)), hive_partitioning=false)", to: staging + "/b\(index)", sizeOption, [])
          return split.map { piece in
            var piece = piece
            piece.partition = part.partition
            return piece
          }
        }
      }
      parts = parts.filter { $0.rows > 0 }
      if subfolder.isEmpty { try lookForNaN(connection, &parts) }
      return try publish(parts)
    } catch { throw RowRuleError.translated(error) }
  }

  private var sizeOption: String { "FILE_SIZE_BYTES \(targetSize)" }

  private struct Part {
    var path: String
    var rows: Int64
    var sizeBytes: Int64
    var statistics: [SQLValue]
    /// By physical name; nil is null.
    var partition: [String: String?] = [:]
    /// Columns that hold NaN.
    var nan: Set<[String]> = []
  }

  /// Reads the columns of floating point numbers once more, which costs little beside writing them: a bound that leaves out NaN, which is above all
  /// numbers, would have readers skip rows.
  private func lookForNaN(_ connection: Connection, _ parts: inout [Part]) throws {
    let columns = WrittenStatistics.numbers(table)
    guard !columns.isEmpty else { return }
    let list = columns.map { "coalesce(bool_or(isnan(\($0.map(SQLText.identifier).joined(separator: ".")))), false)" }.joined(separator: ", ")
    for index in parts.indices {
      guard let row = try connection.rows("SELECT \(list) FROM read_parquet(\(SQLText.literal(parts[index].path)), hive_partitioning=false)").first else {
        continue
      }
      for (column, found) in zip(columns, row) where found != .bool(false) { parts[index].nan.insert(column) }
    }
  }

  private func copy(_ connection: Connection, _ query: String, to path: String, _ option: String, _ partitions: [String]) throws -> [Part] {
    // Version 2 would be smaller by its delta encodings, which the Rust implementation of Arrow cannot skip rows in.
    var options = ["FORMAT parquet", "COMPRESSION zstd", "PARQUET_VERSION v1", "RETURN_STATS", option]
    if let ids = layout.fieldIDs { options.append("FIELD_IDS \(ids)") }
    let infinite = takesInfinity ? nil : InfiniteTimes(table)
    return try connection.rows("COPY (\(query)) TO \(SQLText.literal(path)) (\(options.joined(separator: ", ")))").map { row in
      guard row.count >= 6, let path = row[0].stringValue, let rows = Int64(row[1]), let size = Int64(row[2]) else {
        throw PlatformError(.internalError, "the engine does not tell which files it wrote")
      }
      var part = Part(path: path, rows: rows, sizeBytes: size, statistics: row[4].items)
      let values = Dictionary(uniqueKeysWithValues: row[5].entries.map { ($0.key, $0.value.stringValue) })
      for name in partitions { part.partition[name] = .some(values[name] ?? nil) }
      try infinite?.refuse(in: part.statistics)
      try infinite?.refuse(in: part.partition)
      try layout.checkPartitions(part.partition)
      return part
    }
  }

  /// As `copy`, in folders that are named by numbers: the rows are held meanwhile.
  private func copyByNumber(_ connection: Connection, _ query: String, to path: String, _ partitions: [String]) throws -> [Part] {
    let names = partitions.map(SQLText.identifier)
    let list = names.joined(separator: ", ")
    defer {
      // Of no use any more; the connection ends with the statement.
      for table in ["__numbered_rows", "__numbered_keys"] { _ = try? connection.execute("DROP TABLE IF EXISTS \(table)") }
    }
    try connection.execute("CREATE OR REPLACE TEMP TABLE __numbered_rows AS \(query)")
    try connection.execute(
      "CREATE OR REPLACE TEMP TABLE __numbered_keys AS SELECT row_number() OVER () AS __number, * FROM (SELECT DISTINCT \(list) FROM __numbered_rows)")
    var values: [Int64: [String: String?]] = [:]
    for row in try connection.rows("SELECT __number, \(list) FROM __numbered_keys") {
      guard let number = row[0].intValue else { continue }
      values[number] = Dictionary(uniqueKeysWithValues: zip(partitions, row.dropFirst().map(\.stringValue)))
    }
    let condition = names.map { "r.\($0) IS NOT DISTINCT FROM k.\($0)" }.joined(separator: " AND ")
    let numbered =
      "SELECT r.* EXCLUDE (\(list)), k.__number AS __number FROM __numbered_rows AS r JOIN __numbered_keys AS k ON \(condition)"
    return try copy(connection, numbered, to: path, "PARTITION_BY (__number)", ["__number"]).map { part in
      guard let text = part.partition["__number"] ?? nil, let number = Int64(text), let own = values[number] else {
        throw PlatformError(.internalError, "the engine does not tell which partition it wrote")
      }
      try layout.checkPartitions(own)
      var part = part
      part.partition = own
      return part
    }
  }

  /// Moves the files to where they stay, durably unless somebody else sees to that.
  private func publish(_ parts: [Part]) throws -> [WrittenFile] {
    let token = UUID().uuidString.lowercased()
    var folders: Set<String> = []
    var files: [WrittenFile] = []
    var done: [String] = []
    var isComplete = false
    defer { if !isComplete { for path in done { unlink(path) } } }
    for (index, part) in parts.enumerated() {
      var directory = subfolder.isEmpty ? folder : folder + "/" + subfolder
      folders.insert(directory)
      for name in layout.partitionNames {
        directory += "/" + Self.folderName(name, part.partition[name] ?? nil)
        folders.insert(directory)
      }
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      let number = String(index)
      let name = subfolder.isEmpty ? "part" : "cdc"
      let path = "\(directory)/\(name)-\(String(repeating: "0", count: max(0, 5 - number.count)) + number)-\(token).zstd.parquet"
      if waitsForDisk { try DurableFile.sync(part.path, flags: O_RDONLY) }
      guard rename(part.path, path) == 0 else { throw PlatformError.system("rename the written file", path) }
      done.append(path)
      files.append(
        WrittenFile(
          path: path, sizeBytes: part.sizeBytes, rows: part.rows,
          statistics: subfolder.isEmpty ? WrittenStatistics.json(part.statistics, rows: part.rows, table: table, nan: part.nan) : [:],
          partitionValues: part.partition))
    }
    if !files.isEmpty, waitsForDisk { for directory in folders { try DurableFile.sync(directory, flags: O_RDONLY | O_DIRECTORY) } }
    isComplete = true
    return files
  }

  /// A file system's bound for one name.
  private static let nameLimit = 255

  /// `column=value` as Hive names folders. Every byte but the plainest is percent-encoded: other writers encode such names anew in their own
  /// way when they remove a file, and agree on these only. A name that is too long ends in its digest instead: the value is in the log.
  static func folderName(_ column: String, _ value: String?) -> String {
    let name = fullFolderName(column, value)
    guard name.utf8.count > nameLimit else { return name }
    let digest = SHA256Digest.hex(name)
    // No percent sign is left without its digits.
    let head = name.prefix(nameLimit - 1 - digest.utf8.count)
    let cut = head.suffix(2).firstIndex(of: "%").map { head[..<$0] } ?? head
    return cut + "-" + digest
  }

  private static func fullFolderName(_ column: String, _ value: String?) -> String {
    func escaped(_ text: String) -> String {
      var out: [UInt8] = []
      for byte in text.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
          UInt8(ascii: "_"), UInt8(ascii: "."):
          out.append(byte)
        default: out += Array("%".utf8) + Array([byte].hexadecimal.uppercased().utf8)
        }
      }
      return String(decoding: out, as: UTF8.self)
    }
    guard let value, !value.isEmpty else { return escaped(column) + "=__HIVE_DEFAULT_PARTITION__" }
    return escaped(column) + "=" + escaped(value)
  }
}

enum DurableFile {
  /// Writes all of `bytes`.
  static func write(_ bytes: some ContiguousBytes, to descriptor: Int32, _ path: String) throws {
    try bytes.withUnsafeBytes { bytes in
      var done = 0
      while done < bytes.count {
        let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { throw PlatformError.system("write the file", path) }
        done += count
      }
    }
  }

  /// Waits until a file, or a folder's list of names, is on the disk.
  static func sync(_ path: String, flags: Int32) throws {
    let descriptor = open(path, flags | O_CLOEXEC)
    guard descriptor >= 0 else { throw PlatformError.system("open the written file", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw PlatformError.system("make the written file durable", path) }
  }
}

extension Int64 {
  /// A whole number of any width; what the engine has no fast access to is text.
  init?(_ value: SQLValue) {
    switch value {
    case .int(let number): self = number
    case .decimal(let text), .string(let text):
      guard let number = Int64(text) else { return nil }
      self = number
    default: return nil
    }
  }
}

extension SQLValue {
  /// Items of a list or map; none for anything else.
  var items: [SQLValue] { if case .list(let items) = self { items } else { [] } }

  /// Entries of a map with text keys.
  var entries: [(key: String, value: SQLValue)] {
    items.compactMap { item in
      guard case .structure(let members) = item, let key = members["key"]?.stringValue else { return nil }
      return (key, members["value"] ?? .null)
    }
  }
}
