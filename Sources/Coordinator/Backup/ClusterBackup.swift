// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Postgres
import Synchronization

/// Backups of the cluster of this machine, made beside its processes: from its files and its Postgres, with the rights of whoever calls.
public struct ClusterBackup: Sendable {
  public let layout: DataLayout
  /// Told of progress, from a thread of its own.
  private let report: @Sendable (BackupProgress) -> Void

  /// - Parameter layout: with the storage folder that the cluster uses; the one that a running cluster has noted counts more.
  public init(layout: DataLayout, report: @escaping @Sendable (BackupProgress) -> Void = { _ in }) {
    self.layout = layout
    self.report = report
  }

  private static let threads = BlockingPool(name: "backup", threads: 1)

  /// Makes a backup in the folder `target`, which must not be there yet. The cluster may run; when it does not, its private Postgres is started meanwhile.
  /// - Throws: `notFound` PLT-4405 when there is no cluster; what `BackupCreation` and `BackupWriter` throw.
  public func create(_ target: String, postgres: String? = nil) async throws -> BackupManifest {
    let target = Self.absolute(target)
    var layout = layout
    let state = layout.loadState().flatMap { kill($0.supervisorPID, 0) == 0 || errno == EPERM ? $0 : nil }
    if let storage = state?.storage { layout = DataLayout(root: layout.root, storage: storage) }
    for own in layout.ownFolders where (target + "/").hasPrefix(own + "/") {
      throw PlatformError(
        .invalidArgument, "a backup inside of the cluster's own folder would be lost with it", hint: "Choose a folder outside of \(own).", number: "PLT-4400")
    }
    let server = PrivatePostgres.connectionString(of: layout.postgres)
    if let connection = postgres ?? state.map({ $0.postgresURL ?? server }) {
      return try await create(target, layout, connection)
    }
    guard FileManager.default.fileExists(atPath: layout.postgres + "/data") else {
      throw PlatformError(
        .notFound, "there is no cluster in \(layout.root)",
        hint: "Give its folder with --data-dir. One with a Postgres of its own has to run, or: --postgres URL",
        number: "PLT-4405")
    }
    // Nobody may start the cluster while its Postgres runs for us.
    let lock = try Self.lock(layout)
    defer { close(lock) }
    let started = try await PrivatePostgres.start(directory: layout.postgres, diesWithParent: true)
    let result: Result<BackupManifest, any Error>
    do { result = .success(try await create(target, layout, started.connectionString)) } catch { result = .failure(error) }
    try await started.stop()
    return try result.get()
  }

  private func create(_ target: String, _ layout: DataLayout, _ connection: String) async throws -> BackupManifest {
    let report = report
    return try await Self.threads.run {
      try BackupCreation(layout: layout, connectionString: connection, writer: BackupWriter(target), report: report).run()
    }
  }

  /// What a look at every byte has shown.
  public struct Verdict: Sendable {
    public var manifest: BackupManifest
    /// Path and what is wrong with it.
    public var damaged: [(path: String, what: String)]
  }

  /// Reads all of a backup.
  /// - Throws: what `BackupFolder.open` throws: without its manifest nothing can be said.
  public static func verify(_ path: String, report: @escaping @Sendable (BackupProgress) -> Void = { _ in }) async throws -> Verdict {
    let folder = BackupFolder(path: absolute(path))
    return try await threads.run { try look(folder, report) }
  }

  static func look(_ folder: BackupFolder, _ report: (BackupProgress) -> Void) throws -> Verdict {
    let (manifest, objects) = try folder.open()
    var verdict = Verdict(manifest: manifest, damaged: [])
    var done: Int64 = 0
    for object in objects {
      let what = folder.damage(object) { count in
        done += Int64(count)
        report(BackupProgress(phase: .verifying, bytes: done, total: manifest.bytes))
      }
      if let what { verdict.damaged.append((object.path, what)) }
    }
    return verdict
  }

  /// Makes the cluster of a backup in this machine's folders, which have to be empty. It does not run then: `platform up` starts it.
  /// - Parameter postgres: the connection string of an empty database; nil makes a private Postgres.
  /// - Throws: what `verify` finds; `conflict` PLT-4405 when there is a cluster; `resourceExhausted` PLT-4403.
  public func restore(_ path: String, postgres: String? = nil) async throws -> BackupManifest {
    try await BackupRestoration(layout: layout, folder: BackupFolder(path: Self.absolute(path)), postgres: postgres, report: report).run()
  }

  /// Keeps other processes from running a cluster here. The caller closes it.
  static func lock(_ layout: DataLayout) throws -> Int32 {
    let lock = open(layout.lockFile, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      if lock >= 0 { close(lock) }
      throw PlatformError(.conflict, "a cluster is running from \(layout.root)", hint: "See 'platform status'.", number: "PLT-4405")
    }
    return lock
  }

  static func absolute(_ path: String) -> String {
    var path = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
    while path.hasSuffix("/") && path.count > 1 { path.removeLast() }
    return (path as NSString).standardizingPath
  }
}
