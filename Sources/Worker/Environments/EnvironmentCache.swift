// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc
import Pipelines

/// Python environments of one machine, made once for each content and then used by many programs, also at the same time.
///
/// An environment lies in a folder `<key>-<random>` for ever, because its scripts hold its path. It is there for others when the record
/// `<key>.json` names it, which is put in place by one rename; everything else is left over from somebody who was ended, and is removed. Who makes
/// an environment holds the lock `<key>.lock` alone, who uses it shares it.
struct EnvironmentCache {
  struct Record: Codable, Equatable {
    /// Name of its folder.
    var folder: String
    var lock: PythonLock
    var bytes: Int64
  }

  static let defaultLimit: Int64 = 20 << 30

  let root: String
  /// Bytes of all environments, beyond which those are removed that nobody has used for the longest time.
  let limitBytes: Int64

  /// That of this machine: beside the folders of its workers.
  /// - Parameter environment: `PLATFORM_ENVIRONMENTS` (a folder) and `PLATFORM_ENVIRONMENTS_BYTES`.
  static func ofThisMachine(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> EnvironmentCache {
    let own = FileManager.default.currentDirectoryPath as NSString
    let beside = (own.deletingLastPathComponent as NSString).deletingLastPathComponent + "/environments"
    let limit = environment["PLATFORM_ENVIRONMENTS_BYTES"].flatMap { Int64($0) }.flatMap { $0 > 0 ? $0 : nil } ?? defaultLimit
    return EnvironmentCache(root: environment["PLATFORM_ENVIRONMENTS"].flatMap { $0.isEmpty ? nil : $0 } ?? beside, limitBytes: limit)
  }

  /// Makes the folder: others may walk through it, and not list it.
  func create() throws {
    guard mkdir(root, 0o711) == 0 || errno == EEXIST else { throw PlatformError.system("make the folder of environments", root) }
  }

  func path(_ record: Record) -> String { "\(root)/\(record.folder)" }
  func lockPath(_ key: String) -> String { "\(root)/\(key).lock" }
  private func recordPath(_ key: String) -> String { "\(root)/\(key).json" }

  /// What is there under a key. To be asked by who holds the key's lock.
  func record(_ key: String) -> Record? {
    guard let data = FileManager.default.contents(atPath: recordPath(key)) else { return nil }
    // A record is whole or not there; one of another form is made anew.
    guard let record = try? JSONDecoder.platform.decode(Record.self, from: data), record.folder.hasPrefix(key + "-"), !record.folder.contains("/") else {
      return nil
    }
    var info = stat()
    return lstat(path(record), &info) == 0 && info.st_mode & S_IFMT == S_IFDIR ? record : nil
  }

  /// Says that an environment is used now.
  func touch(_ key: String) { utimes(recordPath(key), nil) }

  /// Makes an environment known. To be called by who holds the key's lock alone.
  func publish(_ key: String, _ record: Record) throws {
    let (final, temporary) = (recordPath(key), "\(root)/\(key).tmp")
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw PlatformError.system("write", temporary) }
    defer { close(descriptor) }
    try WholeWrite.write([UInt8](JSONEncoder.platform.encode(record)), to: descriptor, temporary)
    guard fsync(descriptor) == 0, rename(temporary, final) == 0 else { throw PlatformError.system("write", final) }
  }

  /// A folder for a new environment, when what others left behind under the key is removed. To be called by who holds its lock alone.
  func begin(_ key: String) throws -> String {
    for name in names() where Self.key(ofFolder: name) == key { Self.remove("\(root)/\(name)") }
    let folder = "\(key)-\(RandomIdentifier.text())"
    let path = "\(root)/\(folder)"
    guard mkdir(path, 0o711) == 0, chmod(path, 0o711) == 0 else { throw PlatformError.system("make the folder of an environment", path) }
    return folder
  }

  /// Removes what nobody uses: folders without a record, and while all together are too large, the environments that were used least lately.
  /// - Parameter kept: is left in any case.
  func tidy(keeping kept: String) {
    var known: [(key: String, record: Record, used: time_t)] = []
    let names = names()
    for name in names where name.hasSuffix(".json") {
      let key = String(name.dropLast(5))
      var info = stat()
      guard let record = record(key), stat(recordPath(key), &info) == 0 else { continue }
      known.append((key, record, info.st_mtim.tv_sec))
    }
    let named = Set(known.map(\.record.folder))
    for name in names {
      guard let key = Self.key(ofFolder: name), !named.contains(name), key != kept else { continue }
      // Locked: it is being made.
      guard let lock = try? FileLock.take(lockPath(key), exclusive: true) else { continue }
      if record(key)?.folder != name { Self.remove("\(root)/\(name)") }
      withExtendedLifetime(lock) {}
    }
    var total = known.reduce(0) { $0 + $1.record.bytes }
    for (key, record, _) in known.sorted(by: { $0.used < $1.used }) where total > limitBytes && key != kept {
      // Locked: it is in use.
      guard let lock = try? FileLock.take(lockPath(key), exclusive: true) else { continue }
      unlink(recordPath(key))
      Self.remove(path(record))
      unlink(lockPath(key))
      withExtendedLifetime(lock) {}
      total -= record.bytes
    }
  }

  private func names() -> [String] { (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [] }  // not there: nothing in it

  /// `<key>-<random>`
  private static func key(ofFolder name: String) -> String? {
    guard let dash = name.firstIndex(of: "-"), name[..<dash].utf8.count == 40, name[..<dash].allSatisfy(\.isHexDigit) else { return nil }
    return String(name[..<dash])
  }

  /// `rm` follows no link, also where another user changes the folder meanwhile.
  static func remove(_ path: String) { CommandFolder.remove(path) }
}
