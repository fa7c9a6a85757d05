// SPDX-License-Identifier: Apache-2.0

public import Core
public import Foundation

/// The folder of one cluster on one machine: who puts what where.
public struct DataLayout: Sendable {
  public let root: String
  /// Where what workers read and write is: `root`, or a folder that the machines of a cluster share.
  public let storage: String

  public init(root: String, storage: String? = nil) {
    func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path }
    self.root = absolute(root)
    self.storage = storage.map(absolute) ?? self.root
  }

  /// `PLATFORM_HOME`; otherwise `/var/lib/platform` as root (the private Postgres runs as another user, who must be able
  /// to reach it), `~/.local/share/platform` as anyone else.
  public static var defaultRoot: String {
    if let home = ProcessInfo.processInfo.environment["PLATFORM_HOME"], !home.isEmpty { return home }
    return geteuid() == 0 ? "/var/lib/platform" : NSHomeDirectory() + "/.local/share/platform"
  }

  public var postgres: String { root + "/pg" }
  public var lake: String { storage + "/lake" }
  public var models: String { storage + "/models" }
  public var indexes: String { storage + "/indexes" }
  public var checkpoints: String { storage + "/checkpoints" }
  public var staging: String { storage + "/staging" }
  /// Notebooks with their outputs, one file an attempt.
  public var notebooks: String { storage + "/notebooks" }
  func notebook(run: String, task: String, attempt: Int) -> String { "\(notebooks)/\(run)/\(task)/\(attempt).ipynb" }
  /// Files that programs of runs have left, one folder an attempt.
  public var artifacts: String { storage + "/artifacts" }
  func artifacts(run: String, task: String, attempt: Int) -> String { "\(artifacts)/\(run)/\(task)/\(attempt)" }
  /// Repositories of git folders.
  var repositories: String { storage + "/repositories" }
  /// Results of statements, for an hour.
  var results: String { storage + "/results" }
  /// Bodies of pushed records until they are in a table.
  var pushes: String { storage + "/pushes" }
  /// What nobody may use as a place of their own.
  var ownFolders: [String] { storage == root ? [root] : [root, storage] }
  public var spool: String { root + "/spool" }
  public var logs: String { root + "/logs" }
  public var keys: String { root + "/keys" }
  /// Public keys of workers that this machine's `platform up` started: `<name>.pub`. Only the owner can write here.
  public var localNodes: String { root + "/nodes.d" }
  public var workers: String { root + "/workers" }
  public var lockFile: String { root + "/supervisor.lock" }
  public var stateFile: String { root + "/cluster.json" }
  /// There while a backup is being restored: what is in the folder is no cluster yet.
  var restoringMark: String { root + "/restoring" }
  public var adminTokenFile: String { root + "/admin-token" }
  public var coordinatorKey: String { keys + "/coordinator.json" }
  /// Seals what the catalog keeps secret.
  var sealingKey: String { keys + "/catalog.key" }

  /// Makes the key before the first secret needs it: whoever copies the keys to another coordinator must find all of them. Two coordinators that start
  /// at once from one folder get the same one, whole.
  func makeSealingKey() throws {
    guard access(sealingKey, F_OK) != 0 else { return }
    let own = "\(sealingKey).\(getpid())"
    unlink(own)
    defer { unlink(own) }
    _ = try SealingKey(loadingOrCreating: own)
    guard link(own, sealingKey) == 0 || errno == EEXIST else { throw PlatformError.system("make", sealingKey) }
  }

  /// What `platform up` decided, read by every other command.
  public struct State: Codable, Sendable {
    public var url: String
    /// Of the further coordinators on this machine.
    public var otherURLs: [String]?
    public var nodeAddress: String
    public var supervisorPID: Int32
    public var workers: Int
    /// Where tables, models and indexes are, when it is not the data folder.
    public var storage: String?
    public var postgresURL: String?
    public var startedAt: Double
    /// Coarse step of the start, for the progress lines of `platform up`.
    public var phase: String
    /// Why a part cannot be kept running; shown by `up` and `status`.
    public var problem: PlatformError?
  }

  public func loadState() -> State? {
    guard let data = FileManager.default.contents(atPath: stateFile) else { return nil }
    return try? JSONDecoder.platform.decode(State.self, from: data)  // a torn file is as good as none: it is written again
  }

  public func saveState(_ state: State) throws { try writePrivate(JSONEncoder.platform.encode(state), to: stateFile) }

  public func loadAdminToken() -> String? {
    FileManager.default.contents(atPath: adminTokenFile)
      .map { String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines) }
  }

  /// Makes the folders. The root may be entered by others (Postgres' own user has to), everything below only by us.
  /// - Throws: `badConfiguration` naming the folder that cannot be made; PLT-4407 where a restore was interrupted.
  public func create() throws {
    guard !FileManager.default.fileExists(atPath: restoringMark) else {
      throw PlatformError(
        .badConfiguration, "a backup was being restored into \(root), and that has not ended",
        hint: "Run 'platform backup restore' again; it begins anew.", number: "PLT-4407")
    }
    try makeFolders()
  }

  /// With their modes.
  var folders: [(path: String, mode: Int)] {
    (storage == root ? [] : [(storage, 0o711)]) + [
      (root, 0o711), (lake, 0o700), (models, 0o700), (indexes, 0o700), (checkpoints, 0o700), (staging, 0o700),
      (spool, 0o700), (logs, 0o700), (keys, 0o700), (localNodes, 0o700), (workers, 0o700),
    ]
  }

  func makeFolders() throws {
    for (path, mode) in folders {
      do {
        try FileManager.default.createDirectory(
          atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: mode])
      } catch {
        throw PlatformError(
          .badConfiguration, "cannot create the data folder: \(error.localizedDescription)",
          hint: "Choose another with --data-dir.", number: "PLT-1002", path: path)
      }
    }
  }

  /// Writes a file that only the owner can read, whole or not at all.
  public func writePrivate(_ data: Data, to path: String) throws {
    let temporary = path + ".tmp-\(getpid())"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else {
      throw PlatformError.system("write", path)
    }
    let written = data.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    let synced = written == data.count && fsync(descriptor) == 0
    let reason = errno
    close(descriptor)
    guard synced, rename(temporary, path) == 0 else {
      let failure = PlatformError.system("write", path, errno: synced ? errno : reason)
      unlink(temporary)
      throw failure
    }
  }
}
