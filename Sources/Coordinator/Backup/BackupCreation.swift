// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import DeltaLog
import Foundation
import Glibc
import Jobs
import ObjectStore
import Postgres
import Query

/// Makes a backup of a cluster that may go on working.
///
/// First the database is read as it is at one moment, then the logs of tables, then everything else. Files come before what names them, so each
/// step finds what the one before has named: what is newer in the lake than in the database is what a coordinator finds after a crash, and it
/// takes that up. Only what was deleted meanwhile can be missing; that is looked for at the end, and then all is done again.
struct BackupCreation {
  let layout: DataLayout
  let connectionString: String
  let writer: BackupWriter
  let report: (BackupProgress) -> Void
  /// After each step; for tests, which change things there.
  var behind: (BackupProgress.Phase) throws -> Void = { _ in }

  /// How often all is done again when something was deleted meanwhile.
  static let rounds = 3

  /// What the database said of the lake.
  private struct Catalog {
    struct Place {
      var id: String
      var name: String
      var location: String
      var isManaged: Bool
    }
    var tables: [Place] = []
    var folders: [(name: String, location: String)] = []
    var outside: [BackupManifest.LeftOut] = []
    /// How far the tables have come whose versions the catalog gives out, by location.
    var limits: [String: Int64] = [:]
  }

  /// Blocks until the backup is complete.
  /// - Throws: `resourceExhausted` PLT-4403 without enough space; `conflict` PLT-4404 when things are deleted faster than they are copied.
  func run() throws -> BackupManifest {
    do {
      var round = 1
      while true {
        let (database, catalog) = try copyDatabase(isFirst: round == 1)
        try behind(.database)
        try copyLogs(catalog)
        try behind(.objects)
        try copyFolders()
        report(BackupProgress(phase: .checking, bytes: writer.bytes, total: writer.bytes))
        try behind(.checking)
        let (tables, lost) = try check(catalog)
        if lost.isEmpty {
          return try writer.finish(
            BackupManifest(
              id: UUID().uuidString.lowercased(), createdAt: Date(), platform: PlatformVersion.current, home: layout.root, storage: layout.storage,
              database: database, tables: tables, leftOut: catalog.outside, objects: 0, bytes: 0, objectsDigest: ""))
        }
        guard round < Self.rounds else {
          let more = lost.count > 5 ? ", and \(lost.count - 5) more" : ""
          throw PlatformError(
            .conflict, "\(lost.prefix(5).joined(separator: ", "))\(more): deleted while it was copied, \(round) times over",
            hint: "Something like VACUUM without a retention runs. Try again when it does not.", number: "PLT-4404")
        }
        round += 1
      }
    } catch {
      writer.discard()
      throw error
    }
  }

  // MARK: database

  private func copyDatabase(isFirst: Bool) throws -> (BackupManifest.Database, Catalog) {
    let export = try SchemaExport(connectionString: connectionString)
    if isFirst { try requireSpace(export.databaseBytes()) } else { try writer.drop("postgres/") }
    let known = try export.tables()
    let tables = known.filter { $0.name != "schema_migrations" }
    guard tables.count < known.count else {
      throw PlatformError(.badConfiguration, "the database holds no cluster", hint: "Start it once with 'platform up'.", number: "PLT-4405")
    }
    var database = BackupManifest.Database(
      steps: try export.query("SELECT component, number, checksum FROM schema_migrations ORDER BY component, number").map { row in
        BackupManifest.Step(component: try row.string("component"), number: try row.int("number"), checksum: try row.string("checksum"))
      }, tables: [], sequences: [])
    for table in tables {
      let rows = try writer.add("postgres/\(table.name).copy") { put in try export.copy(table) { try put(UnsafeRawBufferPointer($0)) } }
      database.tables.append(BackupManifest.Rows(table: table, rows: rows))
    }
    let catalog = try read(export)
    database.sequences = try export.sequences()
    return (database, catalog)
  }

  private func read(_ export: SchemaExport) throws -> Catalog {
    var found = Catalog()
    let isOwn = { (location: String) in layout.ownFolders.contains { location.hasPrefix($0 + "/") } }
    for row in try export.query("SELECT id::text AS id, catalog, schema, name, location, kind FROM tables WHERE kind <> 'view' ORDER BY 2, 3, 4") {
      let name = "\(try row.string("catalog")).\(try row.string("schema")).\(try row.string("name"))"
      let location = try row.string("location")
      if isOwn(location) {
        found.tables.append(.init(id: try row.string("id"), name: name, location: location, isManaged: try row.string("kind") == "managed"))
      } else {
        found.outside.append(.init(name: name, location: location, reason: "the table lies outside of the cluster's folders"))
      }
    }
    for row in try export.query("SELECT catalog, schema, name, location FROM volumes WHERE kind = 'external' ORDER BY 1, 2, 3") {
      let name = "\(try row.string("catalog")).\(try row.string("schema")).\(try row.string("name"))"
      let location = try row.string("location")
      if !isOwn(location) { found.outside.append(.init(name: name, location: location, reason: "the volume lies outside of the cluster's folders")) }
    }
    for row in try export.query(
      """
      SELECT 'version ' || version || ' of the model ' || concat_ws('.', catalog, schema, model) AS name, location FROM model_versions
      WHERE status = 'READY' AND catalog <> 'system'
      UNION ALL SELECT 'index ' || concat_ws('.', catalog, schema, name), location FROM vector_indexes ORDER BY 1
      """)
    {
      let (name, location) = (try row.string("name"), try row.string("location"))
      if isOwn(location) {
        found.folders.append((name, location))
      } else if !location.isEmpty {
        found.outside.append(.init(name: name, location: location, reason: "it lies outside of the cluster's folders"))
      }
    }
    let limits = try export.query(
      """
      SELECT t.location, max(d.version) AS version FROM delta_commits d JOIN tables t ON t.id = d.table_id
      GROUP BY t.location HAVING NOT (array_agg(d.is_last ORDER BY d.version DESC))[1]
      """)
    for row in limits { found.limits[try row.string("location")] = try row.get("version") }
    return found
  }

  /// - Throws: `resourceExhausted` PLT-4403.
  private func requireSpace(_ database: Int64) throws {
    var total = database
    for (folder, name) in roots { try walk(folder, name) { _, _, info in if info.st_mode & S_IFMT == S_IFREG { total += Int64(info.st_size) } } }
    let free = ProcessSupport.freeBytes(at: writer.folder) ?? .max
    guard total < free else {
      throw PlatformError(
        .resourceExhausted, "the backup needs about \(Self.megabytes(total)), and \(Self.megabytes(free)) are free",
        hint: "Choose a folder on another disk.", number: "PLT-4403", path: writer.target)
    }
    var done: Int64 = 0
    let report = report
    let limit = total
    writer.passed = { count in
      done += Int64(count)
      report(BackupProgress(phase: .objects, bytes: done, total: max(limit, done)))
    }
  }

  static func megabytes(_ bytes: Int64) -> String { "\((bytes + 999_999) / 1_000_000) MB" }

  // MARK: files

  private var roots: [(folder: String, name: String)] {
    BackupScope.storage.map { (layout.storage + "/" + $0, "storage/" + $0) } + BackupScope.home.map { (layout.root + "/" + $0, "home/" + $0) }
  }

  /// Everything below `folder`, it first. What goes away meanwhile is passed over.
  private func walk(_ folder: String, _ name: String, into: (String) -> Bool = { _ in true }, _ visit: (String, String, stat) throws -> Void) throws {
    var info = stat()
    guard lstat(folder, &info) == 0 else { return }
    try visit(folder, name, info)
    guard info.st_mode & S_IFMT == S_IFDIR else { return }
    let isHome = name.hasPrefix("home/")
    for entry in try entries(folder) where !BackupScope.isTemporary(entry, isHome: isHome) && into(entry) {
      try walk(folder + "/" + entry, name + "/" + entry, into: into, visit)
    }
  }

  private func entries(_ folder: String) throws -> [String] {
    do { return try FileManager.default.contentsOfDirectory(atPath: folder).sorted() } catch {
      guard FileManager.default.fileExists(atPath: folder) else { return [] }
      throw PlatformError(.permissionDenied, "a folder cannot be read: \(error.localizedDescription)", path: folder)
    }
  }

  private func copyLogs(_ catalog: Catalog) throws {
    for (folder, name) in roots where name.hasPrefix("storage/") { try copyLogs(below: folder, name, catalog) }
  }

  private func copyLogs(below folder: String, _ name: String, _ catalog: Catalog) throws {
    var info = stat()
    guard lstat(folder, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else { return }
    let inside = try entries(folder).filter { !BackupScope.isTemporary($0) }
    guard inside.contains("_delta_log") else {
      for entry in inside { try copyLogs(below: folder + "/" + entry, name + "/" + entry, catalog) }
      return
    }
    let log = folder + "/_delta_log"
    let logName = name + "/_delta_log"
    // Folders first: a commit goes from its folder to the log, never back.
    var files: [String] = []
    for entry in try entries(log) {
      guard lstat(log + "/" + entry, &info) == 0 else { continue }
      if info.st_mode & S_IFMT == S_IFDIR {
        try walk(log + "/" + entry, logName + "/" + entry) { _ = try writer.add($0, as: $1, info: $2) }
      }
    }
    for entry in try entries(log) {
      guard lstat(log + "/" + entry, &info) == 0 else { continue }
      if info.st_mode & S_IFMT == S_IFREG { files.append(entry) }
    }
    for entry in LogSelection(files, limit: catalog.limits[folder]).names {
      guard lstat(log + "/" + entry, &info) == 0 else { continue }
      _ = try writer.add(log + "/" + entry, as: logName + "/" + entry, info: info)
    }
  }

  private func copyFolders() throws {
    for (folder, name) in roots {
      try walk(folder, name, into: { $0 != "_delta_log" }) { path, name, info in
        if !(try writer.add(path, as: name, info: info)) { return }  // gone, or a link: what is needed of it is looked for below
      }
    }
  }

  // MARK: what is there

  /// Looks into the backup for what the catalog of that moment names.
  private func check(_ catalog: Catalog) throws -> (tables: [BackupManifest.Table], lost: [String]) {
    var tables: [BackupManifest.Table] = []
    var lost: [String] = []
    for table in catalog.tables {
      let place = archived(table.location)
      var entry = BackupManifest.Table(id: table.id, name: table.name, location: table.location, version: nil, files: 0, bytes: 0, isShared: false)
      defer { tables.append(entry) }
      guard FileManager.default.fileExists(atPath: writer.folder + "/" + place + "/_delta_log") else {
        // A table without any version yet has no log either.
        if FileManager.default.fileExists(atPath: table.location + "/_delta_log") || catalog.limits[table.location] != nil {
          lost.append("the log of \(table.name)")
        }
        continue
      }
      do {
        let snapshot = try LakeTables.log(writer.folder + "/" + place).snapshot()
        entry.version = snapshot.version
        entry.files = snapshot.filesByPath.count
        entry.bytes = snapshot.sizeInBytes
        for file in snapshot.filesByPath.values {
          let needed = [try file.location()] + (try file.deletionVector?.relativePath().map { [.relative($0)] } ?? [])
          for location in needed {
            switch location {
            case .relative(let path):
              if writer.objects[place + "/" + path] == nil { lost.append("file \(path) of \(table.name)") }
            case .absolute(let text):
              entry.isShared = true
              let path = (text.hasPrefix("file://") ? String(text.dropFirst(7)) : text).removingPercentEncoding ?? text
              if layout.ownFolders.contains(where: { path.hasPrefix($0 + "/") }), writer.objects[archived(path)] == nil {
                lost.append("file \(path) of \(table.name)")
              }
            }
          }
        }
        if let limit = catalog.limits[table.location], snapshot.version < limit {
          for version in (snapshot.version + 1)...limit where !isStaged(place, version) { lost.append("version \(version) of \(table.name)") }
        }
      } catch let error as PlatformError where [.invalidFile, .notFound].contains(error.code) {
        // A log that is damaged in the cluster itself is copied as it is.
        guard (try? LakeTables.log(table.location).snapshot()) != nil else { continue }
        lost.append("the log of \(table.name) (\(error.message))")
      }
    }
    for (name, location) in catalog.folders {
      let place = archived(location)
      if writer.objects[place + "/"] == nil, writer.objects[place] == nil { lost.append(name) }
    }
    return (tables, lost)
  }

  /// Whether a decided version lies beside the log, from where readers take it.
  private func isStaged(_ place: String, _ version: Int64) -> Bool {
    let digits = String(version)
    let prefix = place + "/_delta_log/_staged_commits/" + String(repeating: "0", count: max(0, 20 - digits.count)) + digits + "."
    return writer.objects.keys.contains { $0.hasPrefix(prefix) }
  }

  private func archived(_ path: String) -> String {
    path.hasPrefix(layout.storage + "/") ? "storage" + path.dropFirst(layout.storage.count) : "home" + path.dropFirst(layout.root.count)
  }
}
