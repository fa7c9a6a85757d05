// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// A backup on a disk: `manifest.json` with its SHA-256 beside it, the list of objects, and the objects.
struct BackupFolder {
  static let manifestName = "manifest.json"
  static let manifestDigestName = "manifest.sha256"
  static let objectsName = "objects.jsonl"

  let path: String

  /// Reads what the backup says of itself.
  /// - Throws: `notFound` PLT-4401 when there is no backup; `invalidFile` PLT-4402 when one was not finished or its manifest is damaged;
  ///   `badConfiguration` PLT-4406 for a later format.
  func open() throws -> (manifest: BackupManifest, objects: [BackupObject]) {
    let files = FileManager.default
    guard files.fileExists(atPath: path) else {
      throw PlatformError(
        .notFound, "there is no backup at \(path)",
        hint: files.fileExists(atPath: path + ".partial")
          ? "One was begun and not finished: make it again." : "Give the folder that 'platform backup create' made.",
        number: "PLT-4401")
    }
    guard let data = files.contents(atPath: file(Self.manifestName)), let digest = files.contents(atPath: file(Self.manifestDigestName)) else {
      throw PlatformError(
        .invalidFile, "\(path) is no finished backup: it has no manifest", hint: "Make it again; what was begun cannot be restored.", number: "PLT-4402")
    }
    guard String(decoding: digest, as: UTF8.self).hasPrefix(SHA256Digest.hex(data)) else {
      throw PlatformError(.invalidFile, "the manifest of the backup is damaged", hint: "Use another backup.", number: "PLT-4402", path: file(Self.manifestName))
    }
    let manifest = try BackupManifest.parse(data)
    guard let list = files.contents(atPath: file(Self.objectsName)), SHA256Digest.hex(list) == manifest.objectsDigest else {
      throw PlatformError(
        .invalidFile, "the list of the backup's objects is damaged or missing", hint: "Use another backup.", number: "PLT-4402", path: file(Self.objectsName))
    }
    let objects = try BackupObject.list(list)
    for object in objects { _ = try object.parts() }
    return (manifest, objects)
  }

  func file(_ name: String) -> String { path + "/" + name }

  /// What is wrong with one object; nil: nothing.
  func damage(_ object: BackupObject, _ passed: (Int) -> Void) -> String? {
    var info = stat()
    let place = file(object.path)
    guard lstat(object.isFolder ? String(place.dropLast()) : place, &info) == 0 else { return "is missing" }
    if object.isFolder { return info.st_mode & S_IFMT == S_IFDIR ? nil : "is no folder" }
    guard info.st_mode & S_IFMT == S_IFREG else { return "is no file" }
    guard Int64(info.st_size) == object.bytes else { return "has \(info.st_size) bytes instead of \(object.bytes)" }
    do {
      let found = try FileCopying.copy(place, to: nil, passed).sha256
      return found == object.sha256 ? nil : "has other bytes than it had"
    } catch { return "cannot be read: \(PlatformError.from(error).message)" }
  }
}

/// Files, piece by piece through SHA-256.
enum FileCopying {
  static let piece = 1 << 20

  /// - Parameters:
  ///   - target: nil only reads.
  ///   - passed: told of each piece's bytes.
  /// - Throws: `notFound` when `source` is not there; what the system says.
  @discardableResult
  static func copy(_ source: String, to target: String?, _ passed: (Int) -> Void = { _ in }) throws -> (bytes: Int64, sha256: String) {
    let input = open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard input >= 0 else {
      if errno == ENOENT { throw PlatformError(.notFound, "the file is gone", path: source) }
      throw PlatformError.system("read", source)
    }
    defer { close(input) }
    var output: Int32 = -1
    if let target {
      output = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard output >= 0 else { throw PlatformError.system("write", target) }
    }
    defer { if output >= 0 { close(output) } }
    let digest = SHA256Digest()
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 16)
    defer { buffer.deallocate() }
    var total: Int64 = 0
    while true {
      let count = read(input, buffer.baseAddress, buffer.count)
      if count < 0 {
        if errno == EINTR { continue }
        throw PlatformError.system("read", source)
      }
      if count == 0 { break }
      let bytes = UnsafeRawBufferPointer(rebasing: buffer[..<count])
      digest.update(bytes)
      if let target { try write(bytes, to: output, name: target) }
      total += Int64(count)
      passed(count)
    }
    return (total, digest.finish().hexadecimal)
  }

  static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, name: String) throws {
    var sent = 0
    while sent < bytes.count {
      let count = Glibc.write(descriptor, bytes.baseAddress! + sent, bytes.count - sent)
      if count < 0 {
        if errno == EINTR { continue }
        throw PlatformError.system("write", name)
      }
      sent += count
    }
  }

  /// Makes a folder's entries survive a power cut.
  static func sync(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw PlatformError.system("open", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw PlatformError.system("write", folder) }
  }

  static func setTime(_ nanoseconds: Int64, _ path: String) {
    let (seconds, rest) = nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
    let time = timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
    // A file system without times of its own is no reason to fail: only versions by time depend on them.
    _ = utimensat(AT_FDCWD, path, [time, time], AT_SYMLINK_NOFOLLOW)
  }
}

/// Fills a backup's folder under a name that nobody takes for a backup, and renames it at the end.
final class BackupWriter {
  /// How a file was when it was copied: one that is still so need not be copied again.
  private struct Seen: Equatable {
    var size: Int64
    var modified: Int64
    var inode: UInt64
  }

  let target: String
  let folder: String
  private let lock: Int32
  private(set) var objects: [String: BackupObject] = [:]
  private var seen: [String: Seen] = [:]
  private var madeFolders: Set<String> = []
  var passed: (Int) -> Void = { _ in }

  /// Makes `target.partial`. What an earlier call left there is removed.
  /// - Throws: `alreadyExists` PLT-4400 when the target is there; `conflict` PLT-4400 when another process makes it.
  init(_ target: String) throws {
    self.target = target
    folder = target + ".partial"
    let files = FileManager.default
    if let names = try? files.contentsOfDirectory(atPath: target) {  // not there, or no folder: decided below
      guard names.isEmpty else {
        throw PlatformError(
          .alreadyExists, "\(target) is not empty", hint: "Give a folder that does not exist yet, one for each backup.", number: "PLT-4400")
      }
    } else if files.fileExists(atPath: target) {
      throw PlatformError(.alreadyExists, "\(target) is a file", hint: "Give a folder that does not exist yet.", number: "PLT-4400")
    }
    do {
      try files.createDirectory(atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw PlatformError(.permissionDenied, "cannot make the backup's folder: \(error.localizedDescription)", number: "PLT-4400", path: folder)
    }
    lock = open(folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      if lock >= 0 { close(lock) }
      throw PlatformError(.conflict, "another process is making a backup in \(target)", number: "PLT-4400")
    }
    for name in try files.contentsOfDirectory(atPath: folder) where name != "lock" { try files.removeItem(atPath: folder + "/" + name) }
  }

  deinit { close(lock) }

  var bytes: Int64 { objects.values.reduce(0) { $0 + $1.bytes } }

  /// Forgets what was copied under a prefix, which is about to be made again.
  func drop(_ prefix: String) throws {
    for name in objects.keys where name.hasPrefix(prefix) {
      objects[name] = nil
      seen[name] = nil
      unlink(folder + "/" + name)
    }
  }

  /// - Returns: false when the file is gone, or is no file or folder.
  func add(_ source: String, as name: String, info: stat) throws -> Bool {
    let isFolder = info.st_mode & S_IFMT == S_IFDIR
    let modified = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
    if isFolder {
      try makeFolder(name)
      objects[name + "/"] = BackupObject(path: name + "/", bytes: 0, sha256: "", mode: info.st_mode & 0o7777, modified: modified)
      return true
    }
    guard info.st_mode & S_IFMT == S_IFREG else { return false }
    let now = Seen(size: Int64(info.st_size), modified: modified, inode: UInt64(info.st_ino))
    if objects[name] != nil {
      if seen[name] == now { return true }
      unlink(folder + "/" + name)
    }
    try makeFolder((name as NSString).deletingLastPathComponent)
    let copied: (bytes: Int64, sha256: String)
    do { copied = try FileCopying.copy(source, to: folder + "/" + name, passed) } catch let error as PlatformError where error.code == .notFound {
      objects[name] = nil
      return false
    }
    objects[name] = BackupObject(path: name, bytes: copied.bytes, sha256: copied.sha256, mode: info.st_mode & 0o7777, modified: modified)
    seen[name] = now
    return true
  }

  /// An object that is made here, written by `produce`.
  func add<T>(_ name: String, _ produce: (_ put: (UnsafeRawBufferPointer) throws -> Void) throws -> T) throws -> T {
    try makeFolder((name as NSString).deletingLastPathComponent)
    let place = folder + "/" + name
    let output = open(place, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("write", place) }
    defer { close(output) }
    let digest = SHA256Digest()
    var bytes: Int64 = 0
    var buffer: [UInt8] = []
    func flush() throws {
      try buffer.withUnsafeBytes {
        digest.update($0)
        try FileCopying.write($0, to: output, name: place)
      }
      bytes += Int64(buffer.count)
      passed(buffer.count)
      buffer.removeAll(keepingCapacity: true)
    }
    let result = try produce { piece in
      buffer.append(contentsOf: piece)
      if buffer.count >= FileCopying.piece { try flush() }
    }
    try flush()
    objects[name] = BackupObject(
      path: name, bytes: bytes, sha256: digest.finish().hexadecimal, mode: 0o600, modified: Int64(Date().timeIntervalSince1970) * 1_000_000_000)
    return result
  }

  private func makeFolder(_ name: String) throws {
    guard madeFolders.insert(name).inserted else { return }
    try FileManager.default.createDirectory(
      atPath: folder + "/" + name, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
  }

  /// Writes the manifest and gives the backup its name.
  func finish(_ manifest: BackupManifest) throws -> BackupManifest {
    var list = Data()
    let ordered = objects.values.sorted { $0.path < $1.path }
    for object in ordered { list += try object.line }
    var manifest = manifest
    manifest.objects = ordered.filter { !$0.isFolder }.count
    manifest.bytes = bytes
    manifest.objectsDigest = SHA256Digest.hex(list)
    let text = try JSONEncoder.platform.encode(manifest)
    // What it names is on the disk before the manifest is.
    try save(list, BackupFolder.objectsName)
    // One call for all of them: waiting for each of many small files would take longer than copying it.
    Glibc.sync()
    try save(text, BackupFolder.manifestName)
    try save(Data("\(SHA256Digest.hex(text))  \(BackupFolder.manifestName)\n".utf8), BackupFolder.manifestDigestName)
    unlink(folder + "/lock")
    try FileCopying.sync(folder)
    rmdir(target)  // an empty one may be there
    guard rename(folder, target) == 0 else { throw PlatformError.system("rename", target) }
    try FileCopying.sync((target as NSString).deletingLastPathComponent)
    return manifest
  }

  private func save(_ data: Data, _ name: String) throws {
    let output = open(folder + "/" + name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw PlatformError.system("write", name) }
    defer { close(output) }
    try data.withUnsafeBytes { try FileCopying.write($0, to: output, name: name) }
    guard fsync(output) == 0 else { throw PlatformError.system("write", name) }
  }

  /// Removes what was begun.
  func discard() { try? FileManager.default.removeItem(atPath: folder) }  // left behind, the next call removes it
}
