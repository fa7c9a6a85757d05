// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Postgres

/// Volumes: folders of files with a name in the catalog.
extension CatalogStore {
  private static let managedFolder = "_volumes"
  /// Keeps two that choose locations apart until the first has committed.
  private static let locationLock = 7_304_401_890

  /// Makes a volume and its empty folder, `lake/_volumes/catalog/schema/name-xxxxxxxx`.
  /// - Throws: `invalidArgument` PLT-3001 for a name that cannot be used, `notFound` PLT-3002 when there is no such schema,
  ///   `alreadyExists` PLT-3003.
  public func createVolume(
    _ name: ThreePartName, creatingIn lake: String, comment: String = "", by actor: String
  ) async throws -> VolumeEntry {
    try Self.requirePlain(name.name)
    // The schema first: its parts are in the path.
    try await pool.transaction { try Self.requireSchema($0, name) }
    let folder = UUID().uuidString.prefix(8).lowercased()
    let location = "\(try VolumePath.absolute(lake))/\(Self.managedFolder)/\(name.catalog)/\(name.schema)/\(name.name)-\(folder)"
    // The folder comes before the row: a volume that is listed is there. What a crash in between leaves is empty.
    try await BlockingPool.shared.run {
      do {
        try FileManager.default.createDirectory(
          atPath: location, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
      } catch {
        throw PlatformError(.unavailable, "cannot make the folder of volume '\(name)': \(error.localizedDescription)", path: location)
      }
    }
    do {
      return try await insert(VolumeEntry(name: name, kind: .managed, location: location, comment: comment, owner: actor), apartFrom: [])
    } catch {
      try await BlockingPool.shared.run { _ = rmdir(location) }
      throw error
    }
  }

  /// Gives a folder that exists a name in the catalog. Links are followed once, here: the volume is where they lead now.
  /// - Parameters:
  ///   - roots: folders that an operator allows; the location has to be in one of them. None: nothing is allowed.
  ///   - lake: the platform's own data, which no external volume may contain or be part of.
  /// - Throws: `invalidArgument` PLT-3001 for a name or path that cannot be used, `notFound` when the folder or (PLT-3002) the schema
  ///   does not exist, `permissionDenied` outside of `roots`, `conflict` when it overlaps the lake, a table or another volume,
  ///   `alreadyExists` PLT-3003.
  public func createVolume(
    _ name: ThreePartName, at location: String, allowedIn roots: [String], apartFrom own: [String], comment: String = "", by actor: String
  ) async throws -> VolumeEntry {
    try Self.requirePlain(name.name)
    let given = try VolumePath.absolute(location)
    let (found, ownFolders) = try await BlockingPool.shared.run { () -> (String, [String]) in
      var info = stat()
      guard let found = VolumePath.real(given), stat(found, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
        throw PlatformError(.notFound, "there is no folder for volume '\(name)'", path: given)
      }
      guard roots.contains(where: { root in VolumePath.real(root).map { VolumePath.isInside(found, $0) } ?? false }) else {
        throw PlatformError(
          .permissionDenied, "volume '\(name)' would be outside of the folders that are allowed for external volumes",
          hint: roots.isEmpty ? "None is allowed." : "Allowed: \(roots.joined(separator: ", ")).", path: found)
      }
      return (found, try own.map { try VolumePath.reached(VolumePath.absolute($0)) })
    }
    return try await insert(VolumeEntry(name: name, kind: .external, location: found, comment: comment, owner: actor), apartFrom: ownFolders)
  }

  private func insert(_ volume: VolumeEntry, apartFrom own: [String]) async throws -> VolumeEntry {
    try await pool.transaction { transaction in
      try Self.requireSchema(transaction, volume.name)
      guard
        try transaction.query("SELECT 1 FROM volumes WHERE catalog = $1 AND schema = $2 AND lower(name) = lower($3)", Self.key(volume.name)).isEmpty
      else { throw Self.volumeExists(volume.name) }
      for folder in own where VolumePath.isInside(volume.location, folder) || VolumePath.isInside(folder, volume.location) {
        throw PlatformError(.conflict, "volume '\(volume.name)' would overlap the platform's own data in \(folder)", path: volume.location)
      }
      try Self.requireApart(transaction, volume.location, from: ["volumes", "tables"])
      let made = try transaction.execute(
        """
        INSERT INTO volumes (catalog, schema, name, kind, location, comment, owner, created_by, updated_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)
        ON CONFLICT DO NOTHING
        """,
        Self.key(volume.name) + [.text(volume.kind.rawValue), .text(volume.location), .text(volume.comment), .text(volume.owner)])
      if made == 0 { throw Self.volumeExists(volume.name) }
      try Self.audit(transaction, volume.owner, "create volume", "\(volume.name)")
    }
    return try await self.volume(volume.name)
  }

  private static func volumeExists(_ name: ThreePartName) -> PlatformError {
    PlatformError(.alreadyExists, "volume '\(name)' exists already", number: "PLT-3003")
  }

  /// - Throws: `conflict` naming the object whose location is in `location` or around it. Views have none.
  static func requireApart(_ transaction: PostgresTransaction, _ location: String, from kinds: [String]) throws {
    try transaction.execute("SELECT pg_advisory_xact_lock($1::bigint)", [.int(locationLock)])
    for kind in kinds {
      let found = try transaction.query(
        """
        SELECT catalog, schema, name FROM \(kind)
        WHERE location <> '' AND (starts_with(location || '/', $1::text || '/') OR starts_with($1::text || '/', location || '/')) LIMIT 1
        """, [.text(location)])
      if let row = found.first {
        throw PlatformError(
          .conflict, "the location overlaps that of \(kind.dropLast()) '\(try name(row))'", hint: "Choose a folder of its own.", path: location)
      }
    }
  }

  /// - Throws: `notFound` PLT-3002.
  public func volume(_ name: ThreePartName) async throws -> VolumeEntry {
    guard let found = try await findVolume(name) else { throw Self.missing("volume", "\(name)") }
    return found
  }

  public func findVolume(_ name: ThreePartName) async throws -> VolumeEntry? {
    try await pool.query("SELECT * FROM volumes WHERE catalog = $1 AND schema = $2 AND name = $3", Self.key(name))
      .first.map(Self.volumeEntry)
  }

  /// Volumes by catalog, schema and name.
  public func volumes(
    catalog: String? = nil, schema: String? = nil, limit: Int, pageToken: String? = nil
  ) async throws -> CatalogPage<VolumeEntry> {
    try await page(.objects("volumes", catalog, schema), limit, pageToken, Self.volumeEntry)
  }

  /// The path of a file or folder named as `/Volumes/catalog/schema/volume/path/below`. It need not exist.
  /// - Throws: `invalidArgument` PLT-3001 for another form, `notFound` PLT-3002 when there is no such volume, `permissionDenied` when a
  ///   link leads out of the volume.
  public func volumePath(_ text: String) async throws -> String {
    let prefix = "/Volumes/"
    let parts = text.hasPrefix(prefix) ? try VolumePath.parts(String(text.dropFirst(prefix.count))) : []
    guard parts.count >= 3, parts[..<3].allSatisfy(ThreePartName.isPlain) else {
      throw PlatformError(
        .invalidArgument, "'\(text.prefix(200))' is not a path of the form /Volumes/catalog/schema/volume/...", number: "PLT-3001")
    }
    let volume = try await volume(ThreePartName(catalog: parts[0], schema: parts[1], name: parts[2]))
    return try await BlockingPool.shared.run { try volume.path(parts[3...].joined(separator: "/")) }
  }

  static func volumeEntry(_ row: PostgresRow) throws -> VolumeEntry {
    guard let kind = VolumeEntry.Kind(rawValue: try row.string("kind")) else {
      throw PlatformError(.internalError, "volume '\(try name(row))' is of an unknown kind")
    }
    return VolumeEntry(
      id: try row.get("id"), name: try name(row), kind: kind, location: try row.string("location"), comment: try row.string("comment"),
      owner: try row.string("owner"), createdAt: try row.date("created_at"), createdBy: try row.get("created_by"),
      updatedAt: try row.date("updated_at"), updatedBy: try row.get("updated_by"))
  }
}
