// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Postgres

/// Makes the cluster of a backup on an empty machine.
///
/// A mark is set before the first file and removed behind the last row. A folder with the mark is no cluster, and the same call begins anew there.
struct BackupRestoration: Sendable {
  let layout: DataLayout
  let folder: BackupFolder
  /// An empty database of the operator's own; nil: a private one.
  let postgres: String?
  let report: @Sendable (BackupProgress) -> Void

  private static let threads = BlockingPool(name: "restore", threads: 1)

  func run() async throws -> BackupManifest {
    let (manifest, objects) = try await Self.threads.run { try checked() }
    let steps = try manifest.migrations(among: CoordinatorProcess.migrations)
    try await serverHasEnded()
    let lock = try prepare(manifest)
    defer { close(lock) }
    try await Self.threads.run { try copyFiles(objects, manifest) }
    if let postgres {
      try await fill(postgres, manifest, steps, isPrivate: false)
    } else {
      let server = try await PrivatePostgres.start(directory: layout.postgres, diesWithParent: true)
      let result: Result<Void, any Error>
      do { result = .success(try await fill(server.connectionString, manifest, steps, isPrivate: true)) } catch { result = .failure(error) }
      try await server.stop()
      try result.get()
    }
    Glibc.sync()
    guard unlink(layout.restoringMark) == 0 else { throw PlatformError.system("remove", layout.restoringMark) }
    try FileCopying.sync(layout.root)
    return manifest
  }

  /// Looks at every byte of the backup before anything is made.
  private func checked() throws -> (BackupManifest, [BackupObject]) {
    let verdict = try ClusterBackup.look(folder, report)
    if let first = verdict.damaged.first {
      throw PlatformError(
        .invalidFile, "the backup is damaged: \(first.path) \(first.what)" + (verdict.damaged.count > 1 ? ", and \(verdict.damaged.count - 1) more" : ""),
        hint: "Nothing was restored. 'platform backup verify' lists all of it.", number: "PLT-4402")
    }
    return (verdict.manifest, try folder.open().objects)
  }

  /// The Postgres of a call that was killed ends by itself, and must not meet another one in its folder.
  private func serverHasEnded() async throws {
    guard FileManager.default.fileExists(atPath: layout.restoringMark) else { return }
    for _ in 0..<600 {
      let text = FileManager.default.contents(atPath: layout.postgres + "/data/postmaster.pid").map { String(decoding: $0, as: UTF8.self) } ?? ""
      guard let server = text.split(separator: "\n").first.flatMap({ Int32($0) }), kill(server, 0) == 0 else { return }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw PlatformError(
      .unavailable, "the Postgres of an interrupted restore still runs in \(layout.postgres)", hint: "End it, then try again.", number: "PLT-4407")
  }

  /// - Returns: the lock of the data folder.
  private func prepare(_ manifest: BackupManifest) throws -> Int32 {
    let files = FileManager.default
    for path in Set([layout.root, layout.storage]) {
      do {
        try files.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o711])
      } catch {
        throw PlatformError(.badConfiguration, "cannot create the data folder: \(error.localizedDescription)", number: "PLT-1002", path: path)
      }
    }
    let lock = try ClusterBackup.lock(layout)
    do {
      let own = [(layout.lockFile as NSString).lastPathComponent, "lost+found", "restoring", "restoring.postgres"]
      let isBegun = files.fileExists(atPath: layout.restoringMark)
      let found = try files.contentsOfDirectory(atPath: layout.root).filter { !own.contains($0) }
      let shared = BackupScope.storage.filter { name in
        !((try? files.contentsOfDirectory(atPath: layout.storage + "/" + name)) ?? []).isEmpty  // not there: empty
      }
      guard isBegun || (found.isEmpty && shared.isEmpty) else {
        let names = (found.isEmpty ? shared : found).sorted().prefix(5).joined(separator: ", ")
        throw PlatformError(
          .conflict, "\(found.isEmpty ? layout.storage : layout.root) is not empty: it holds \(names)",
          hint: "Restore into an empty folder: another --data-dir, or 'platform down --purge' for a cluster that is not needed any more.",
          number: "PLT-4405")
      }
      let free = ProcessSupport.freeBytes(at: layout.storage) ?? .max
      guard manifest.bytes < free || isBegun else {
        throw PlatformError(
          .resourceExhausted,
          "the backup holds \(BackupCreation.megabytes(manifest.bytes)), and \(BackupCreation.megabytes(free)) are free",
          hint: "Choose a --data-dir on another disk.",
          number: "PLT-4403", path: layout.storage)
      }
      try layout.writePrivate(Data("\(manifest.id)\n".utf8), to: layout.restoringMark)
      // What an interrupted call has left.
      for name in found { try files.removeItem(atPath: layout.root + "/" + name) }
      for name in shared where files.fileExists(atPath: layout.storage + "/" + name) { try files.removeItem(atPath: layout.storage + "/" + name) }
      try layout.makeFolders()
      return lock
    } catch {
      close(lock)
      throw error
    }
  }

  private func copyFiles(_ objects: [BackupObject], _ manifest: BackupManifest) throws {
    var done: Int64 = 0
    var folders: [(path: String, modified: Int64)] = []
    // Folders come before what is in them: their paths end with a slash, and the list is in order.
    for object in objects {
      guard let place = try BackupScope.place(object, in: layout) else { continue }
      if object.isFolder {
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
        guard chmod(place, object.mode | 0o700) == 0 else { throw PlatformError.system("write", place) }
        folders.append((place, object.modified))
        continue
      }
      try FileManager.default.createDirectory(atPath: (place as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
      let copied = try FileCopying.copy(folder.file(object.path), to: place) { count in
        done += Int64(count)
        report(BackupProgress(phase: .restoring, bytes: done, total: manifest.bytes))
      }
      guard copied.sha256 == object.sha256 else {
        throw PlatformError(.invalidFile, "the backup is damaged: \(object.path) has other bytes than it had", hint: "Use another backup.", number: "PLT-4402")
      }
      guard chmod(place, object.mode) == 0 else { throw PlatformError.system("write", place) }
      FileCopying.setTime(object.modified, place)
    }
    for one in folders.reversed() { FileCopying.setTime(one.modified, one.path) }
  }

  /// Makes the schema as the backup's program had it, and fills it. A newer program brings it up to its own when the cluster starts.
  private func fill(_ connection: String, _ manifest: BackupManifest, _ steps: [Migration], isPrivate: Bool) async throws {
    let pool = try PostgresPool(PostgresConfiguration(connectionString: connection, poolSize: 1))
    defer { pool.close() }
    let note = layout.restoringMark + ".postgres"
    if !isPrivate {
      let isThere = try await !pool.query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = 'platform'").isEmpty
      guard !isThere || FileManager.default.fileExists(atPath: note) else {
        throw PlatformError(
          .conflict, "the database holds a schema 'platform' already", hint: "Restore into an empty database.", number: "PLT-4405")
      }
      // An interrupted call has made it.
      if isThere { try await pool.execute("DROP SCHEMA platform CASCADE", within: .seconds(600)) }
      try layout.writePrivate(Data(), to: note)
    }
    try await Migrator(pool: pool, migrations: steps).migrate()
    try await Self.threads.run {
      let target = try SchemaImport(connectionString: connection)
      try target.empty(manifest.database.tables.map(\.table))
      for table in CopiedTable.ordered(manifest.database.tables.map(\.table)) {
        let expected = manifest.database.tables.first { $0.table.name == table.name }?.rows ?? 0
        let rows = try target.copy(table) { put in try pieces(of: folder.file("postgres/\(table.name).copy"), put) }
        guard rows == expected else {
          throw PlatformError(.invalidFile, "table \(table.name) of the database has \(rows) rows instead of \(expected)", number: "PLT-4402")
        }
      }
      for sequence in manifest.database.sequences { try target.set(sequence) }
      let moved = BackupRelocation([(manifest.storage, layout.storage), (manifest.home, layout.root)])
      for statement in moved.statements { try target.execute(statement.sql, statement.parameters) }
      try target.commit()
    }
    unlink(note)
  }

  private func pieces(of path: String, _ put: (UnsafeRawBufferPointer) throws -> Void) throws {
    guard let file = FileHandle(forReadingAtPath: path) else { throw PlatformError(.notFound, "the file is gone", path: path) }
    defer { try? file.close() }  // nothing was written
    while let piece = try file.read(upToCount: FileCopying.piece), !piece.isEmpty { try piece.withUnsafeBytes { try put($0) } }
  }
}
