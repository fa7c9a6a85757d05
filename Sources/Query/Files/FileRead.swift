// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import ObjectStore

/// Files that are read as one table: what `read_files`, `COPY INTO` and ingestion hand to an executor.
public struct FileRead: Codable, Sendable, Hashable {
  public enum Format: String, Codable, Sendable, CaseIterable {
    case csv, json, parquet, avro, text, binaryFile

    /// - Throws: `invalidArgument` PLT-3110 naming the formats.
    public init(named text: String) throws {
      let known: [String: Format] = [
        "csv": .csv, "tsv": .csv, "json": .json, "ndjson": .json, "jsonl": .json, "parquet": .parquet, "avro": .avro, "text": .text,
        "binaryfile": .binaryFile, "binary": .binaryFile,
      ]
      guard let found = known[text.lowercased()] else {
        throw PlatformError(
          .invalidArgument, "the file format '\(text.prefix(40))' is not known", hint: "Formats: csv, tsv, json, parquet, avro, text, binaryFile.",
          number: "PLT-3110")
      }
      self = found
    }

    /// The format that a file's name tells, or nil.
    public init?(fileName: String) {
      var parts = fileName.lowercased().split(separator: ".")
      if let last = parts.last, ["gz", "zst", "zstd", "zip"].contains(last) { parts.removeLast() }
      guard parts.count > 1, let found = try? Format(named: String(parts[parts.count - 1])) else { return nil }  // nil: the name tells nothing
      self = found
    }
  }

  public struct File: Codable, Sendable, Hashable {
    /// Absolute, links followed; or `s3://bucket/key`.
    public var path: String
    /// As people know it, for example `/Volumes/main/demo/in/a.csv`; an object's is its `path`.
    public var name: String
    public var sizeBytes: Int64
    /// Since 1970.
    public var modifiedMilliseconds: Int64
    /// An object's ETag: another one is another content, whatever size and time say.
    public var tag: String?
    public init(path: String, name: String, sizeBytes: Int64, modifiedMilliseconds: Int64, tag: String? = nil) {
      self.path = path
      self.name = name
      self.sizeBytes = sizeBytes
      self.modifiedMilliseconds = modifiedMilliseconds
      self.tag = tag
    }

    /// The object as it was read; nil when it is the one that was listed. Answers to reads tell whole seconds.
    func asRead(_ object: ObjectInfo) -> File? {
      let isSame =
        Int64(object.size) == sizeBytes
        && (tag != nil && object.tag != nil ? tag == object.tag : modifiedMilliseconds / 1000 == object.modifiedMilliseconds / 1000)
      return isSame
        ? nil : File(path: path, name: name, sizeBytes: Int64(object.size), modifiedMilliseconds: object.modifiedMilliseconds, tag: object.tag ?? tag)
    }

    /// The file as it was opened; nil when it is the one that was listed.
    func asRead(_ found: (sizeBytes: Int64, modifiedMilliseconds: Int64)) -> File? {
      guard found.sizeBytes != sizeBytes || found.modifiedMilliseconds != modifiedMilliseconds else { return nil }
      return File(path: path, name: name, sizeBytes: found.sizeBytes, modifiedMilliseconds: found.modifiedMilliseconds, tag: tag)
    }
  }

  /// The table's name in the statement.
  public var view: String
  public var format: Format
  public var options: FileOptions
  public var files: [File]
  /// The columns to read; nil: found out from the files.
  public var schema: [Column]?
  /// Whether the table has a `_metadata` column.
  public var hasMetadata: Bool

  public init(view: String, format: Format, options: FileOptions, files: [File], schema: [Column]? = nil, hasMetadata: Bool = false) {
    self.view = view
    self.format = format
    self.options = options
    self.files = files
    self.schema = schema
    self.hasMetadata = hasMetadata
  }

  /// `read_files(..)` as a statement has it: names that are not resolved to files yet.
  public struct Request: Sendable, Hashable {
    public var view: String
    /// A path or glob below `/Volumes`, or in a folder that the operator allows.
    public var path: String
    /// Named arguments with lower-case names.
    public var arguments: [String: String]
    public var hasMetadata: Bool
  }

  public static let rescuedColumn = "_rescued_data"
  public static let metadataColumn = "_metadata"
  /// The type of `_metadata`.
  public static let metadataType =
    "STRUCT(file_path VARCHAR, file_name VARCHAR, file_size BIGINT, file_block_start BIGINT, file_block_length BIGINT, "
    + "file_modification_time TIMESTAMP WITH TIME ZONE)"
}
