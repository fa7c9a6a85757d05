// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
public import Postgres

/// What a backup holds: written last, so that a folder without it is no backup.
public struct BackupManifest: Codable, Sendable, Equatable {
  /// What this program writes, and the newest that it reads.
  public static let currentFormat = 1

  /// One step of the database's schema.
  public struct Step: Codable, Sendable, Hashable {
    public var component: String
    public var number: Int
    public var checksum: String
  }

  /// A table of the database with the number of its rows; they are in `postgres/<name>.copy`.
  public struct Rows: Codable, Sendable, Equatable {
    public var table: CopiedTable
    public var rows: Int
  }

  public struct Database: Codable, Sendable, Equatable {
    public var steps: [Step]
    public var tables: [Rows]
    public var sequences: [CopiedSequence]
  }

  /// A table of the lake.
  public struct Table: Codable, Sendable, Equatable {
    public var id: String
    public var name: String
    /// As the cluster had it.
    public var location: String
    /// The latest version in the backup; nil for a table without any.
    public var version: Int64?
    /// Data files of that version, and their bytes.
    public var files: Int
    public var bytes: Int64
    /// Its log names files of other tables by their absolute paths: it can be read only where the storage folder has the same path.
    public var isShared: Bool

    enum CodingKeys: String, CodingKey {
      case id, name, location, version, files, bytes
      case isShared = "is_shared"
    }
  }

  /// What the catalog names and the backup does not hold.
  public struct LeftOut: Codable, Sendable, Equatable {
    public var name: String
    public var location: String
    public var reason: String
  }

  public var format = currentFormat
  public var id: String
  public var createdAt: Date
  /// The program that made it.
  public var platform: String
  /// The cluster's folders.
  public var home: String
  public var storage: String
  public var database: Database
  public var tables: [Table]
  public var leftOut: [LeftOut]
  /// How many files, without the manifest's own, and their bytes.
  public var objects: Int
  public var bytes: Int64
  /// SHA-256 of the list of objects.
  public var objectsDigest: String

  enum CodingKeys: String, CodingKey {
    case format, id, platform, home, storage, database, tables, objects, bytes
    case createdAt = "created_at"
    case leftOut = "left_out"
    case objectsDigest = "objects_sha256"
  }

  /// - Throws: `invalidFile` PLT-4402 for no manifest; `badConfiguration` PLT-4406 for one of a later format.
  public static func parse(_ data: Data) throws -> BackupManifest {
    struct Format: Decodable { var format: Int }
    guard let format = try? JSONDecoder.platform.decode(Format.self, from: data).format else {
      throw PlatformError(.invalidFile, "the manifest of the backup cannot be read", number: "PLT-4402")
    }
    guard format <= currentFormat else {
      throw PlatformError(
        .badConfiguration, "the backup has format \(format), and this program reads formats up to \(currentFormat)",
        hint: "Use the platform version that made it, or a later one.", number: "PLT-4406")
    }
    do { return try JSONDecoder.platform.decode(BackupManifest.self, from: data) } catch {
      throw PlatformError(.invalidFile, "the manifest of the backup cannot be read: \(error)", number: "PLT-4402")
    }
  }

  /// The steps of the schema that the backup's tables have, of those that this program knows.
  /// - Throws: `badConfiguration` PLT-4406 when the backup has a step that is unknown here, or another text of one.
  public func migrations(among known: [Migration]) throws -> [Migration] {
    try database.steps.map { step in
      guard let migration = known.first(where: { $0.component == step.component && $0.number == step.number && $0.checksum == step.checksum }) else {
        throw PlatformError(
          .badConfiguration, "the backup's database has step \(step.number) of '\(step.component)', which this program does not know as it is there",
          hint: "Use the platform version that made it (\(platform)), or a later one.", number: "PLT-4406")
      }
      return migration
    }
  }
}

/// A file or folder of a backup.
public struct BackupObject: Codable, Sendable, Equatable {
  /// Below the backup's folder: `storage/..`, `home/..` or `postgres/..`. A folder's ends with a slash.
  public var path: String
  public var bytes: Int64
  /// Empty for a folder.
  public var sha256: String
  public var mode: UInt32
  /// Nanoseconds since 1970: versions of tables are found by the times of their files.
  public var modified: Int64

  var isFolder: Bool { path.hasSuffix("/") }

  /// The parts of the path.
  /// - Throws: `invalidFile` PLT-4402 for one that leaves the folder that it is to be in.
  func parts() throws -> [String] {
    let parts = PathText.components(isFolder ? String(path.dropLast()) : path)
    guard parts.count >= 2, parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && !$0.utf8.contains(0) }),
      ["storage", "home", "postgres"].contains(parts[0])
    else {
      throw PlatformError(.invalidFile, "the backup names an object with an impossible path", number: "PLT-4402", path: String(path.prefix(500)))
    }
    return parts
  }

  /// One line of the list of objects.
  var line: Data { get throws { try JSONEncoder.platform.encode(self) + Data([10]) } }

  /// - Throws: `invalidFile` PLT-4402.
  static func list(_ data: Data) throws -> [BackupObject] {
    let decoder = JSONDecoder.platform
    return try data.split(separator: 10).map { line in
      do { return try decoder.decode(BackupObject.self, from: Data(line)) } catch {
        throw PlatformError(.invalidFile, "the list of the backup's objects cannot be read", number: "PLT-4402")
      }
    }
  }
}

/// How far a backup or a restore has come.
public struct BackupProgress: Sendable {
  public enum Phase: String, Sendable {
    case database, objects, checking, verifying, restoring
  }
  public var phase: Phase
  public var bytes: Int64
  public var total: Int64
}
