// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// Copies of remote objects on this machine's disk, shared by its processes. Named by what they hold (place, size and the store's
/// tag), so that a replaced object is another copy and nothing is ever out of date.
///
/// Bounded: what was not used for the longest time goes first. Whoever uses a copy holds a second name of it (a hard link), so
/// that it can be removed at any moment. Calls block.
public struct ObjectCache: Sendable {
  public let folder: String
  public let limitBytes: Int

  /// - Parameter folder: made when it is needed; only this user can read it.
  public init(folder: String, limitBytes: Int) {
    self.folder = folder
    self.limitBytes = limitBytes
  }

  /// Gives `destination`, which does not exist, the bytes of an object. It must not be written to.
  /// - Parameter identity: names the store and the object for all processes, as in `s3://bucket/key`.
  /// - Returns: whether the copy was there.
  /// - Throws: what the store throws; `unavailable` when the object is replaced again and again.
  @discardableResult
  public func provide(_ path: ObjectPath, of store: any ObjectStorage, identity: String, at destination: String) throws -> Bool {
    try provide(path, of: store, identity: identity, at: destination, known: nil)
  }

  private func provide(_ path: ObjectPath, of store: any ObjectStorage, identity: String, at destination: String, known: ObjectInfo?) throws -> Bool {
    var known = known
    for _ in 0..<3 {
      guard let info = try known ?? store.head(path) else { throw Self.missing(identity) }
      known = nil
      guard info.size <= limitBytes else {
        if try store.download(path, to: destination) == info.size { return false }
        unlink(destination)
        continue
      }
      let copy = place(info, identity, "")
      if try take(copy, size: info.size, at: destination) { return true }
      try makeFolder((copy as NSString).deletingLastPathComponent)
      // Another process may do the same at the same time: the later one replaces the copy by an equal one.
      guard try store.download(path, to: copy) == info.size, try store.head(path)?.tag == info.tag else {
        unlink(copy)  // replaced meanwhile: it is not what its name says
        continue
      }
      guard try take(copy, size: info.size, at: destination) else { continue }
      grown(by: info.size)
      return false
    }
    throw PlatformError(.unavailable, "the object was replaced again and again while it was read", path: identity)
  }

  private static func missing(_ identity: String) -> PlatformError { PlatformError(.notFound, "object not found", path: identity) }

  private func place(_ info: ObjectInfo, _ identity: String, _ kind: String) -> String {
    let name = SHA256Digest.hex("\(identity)\n\(info.size)\n\(info.tag ?? "\(info.modifiedMilliseconds)")" + kind)
    return "\(folder)/\(name.prefix(2))/\(name)"
  }

  /// A second name for a copy, and a mark that it was used.
  private func take(_ copy: String, size: Int, at destination: String) throws -> Bool {
    var info = stat()
    guard lstat(copy, &info) == 0, info.st_mode & S_IFMT == S_IFREG, Int(info.st_size) == size else { return false }
    if link(copy, destination) != 0 {
      switch errno {
      case ENOENT: return false
      case EXDEV, EMLINK, EPERM:
        do { try FileManager.default.copyItem(atPath: copy, toPath: destination) } catch {
          throw PlatformError(.unavailable, "cannot copy a cached object: \(error.localizedDescription)", path: destination)
        }
      default: throw LocalFile.failure("use a cached object", destination)
      }
    }
    // Without the mark it only looks older than it is.
    utimensat(AT_FDCWD, copy, nil, 0)
    return true
  }

  private func makeFolder(_ path: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch { throw PlatformError(.permissionDenied, "cannot create the folder of the object cache", path: path) }
  }

  /// What the copies take on the disk, in bytes.
  public var sizeInBytes: Int { copies().reduce(0) { $0 + $1.size } }

  private static func look(_ path: String) -> stat? {
    var info = stat()
    return lstat(path, &info) == 0 ? info : nil
  }

  private func copies() -> [(path: String, size: Int, used: Double)] {
    var found: [(path: String, size: Int, used: Double)] = []
    let manager = FileManager.default
    for part in (try? manager.contentsOfDirectory(atPath: folder)) ?? [] where part.utf8.count == 2 {  // no folder: no copies
      for name in (try? manager.contentsOfDirectory(atPath: "\(folder)/\(part)")) ?? [] {
        let path = "\(folder)/\(part)/\(name)"
        guard let info = Self.look(path) else { continue }
        let used = Double(info.st_mtim.tv_sec) + Double(info.st_mtim.tv_nsec) * 1e-9
        switch info.st_mode & S_IFMT {
        case S_IFREG: found.append((path, Int(info.st_size), used))
        // Of a copy in pieces only what was fetched takes room.
        case S_IFDIR: found.append((path, Self.partFiles.reduce(0) { $0 + Int(Self.look("\(path)/\($1)")?.st_blocks ?? 0) * 512 }, used))
        default: break
        }
      }
    }
    return found
  }

  /// Bytes that were added by this process since it last looked whether there are too many, by folder: to look costs time by the copy. A
  /// process that adds its first copy looks at once: many that add a little each fill a disk, too.
  private static let added = Mutex<[String: Int]>([:])

  private func grown(by bytes: Int) {
    let isDue = Self.added.withLock { added in
      if let known = added[folder], known + bytes <= limitBytes / 20 {
        added[folder] = known + bytes
        return false
      }
      added[folder] = 0
      return true
    }
    if isDue { trim() }
  }

  /// Removes the copies that were not used for the longest time until the rest takes nine tenths of the limit.
  private func trim() {
    var all = copies()
    var total = all.reduce(0) { $0 + $1.size }
    guard total > limitBytes else { return }
    all.sort { $0.used < $1.used }
    for copy in all where total > limitBytes / 10 * 9 {
      // Another process may have been faster.
      if unlink(copy.path) != 0 { removeParts(copy.path) }
      total -= copy.size
    }
  }
}

// MARK: copies in pieces

extension ObjectCache {
  /// Of objects up to this size all is fetched at once: a request costs more than the bytes that are not needed.
  static let wholeBytes = 1 << 20
  /// Names in the folder of a copy in pieces: the object's bytes, and which of them are there.
  private static let partFiles = ["data", "pieces"]
  /// What was written before the machine last stopped may be lost while its note is there: such copies are not used.
  private static let session =
    (try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)) ?? ProcessInfo.processInfo.globallyUniqueString

  /// As `provide`, but the bytes of a large object come when they are asked for.
  /// - Returns: whom to ask for them; nil: all are there.
  public func provideInPieces(
    _ path: ObjectPath, of store: any ObjectStorage, identity: String, at destination: String, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) throws -> PartialCopy? {
    guard let info = try store.head(path) else { throw Self.missing(identity) }
    guard info.size > Self.wholeBytes else {
      _ = try provide(path, of: store, identity: identity, at: destination, known: info)
      return nil
    }
    let (file, map) = try parts(info, identity, at: destination)
    let cache = self
    return PartialCopy(
      path, of: store, tag: info.tag, size: info.size, identity: identity, file: file, map: map, isCancelled: isCancelled,
      grown: { cache.grown(by: $0) })
  }

  private func parts(_ info: ObjectInfo, _ identity: String, at destination: String) throws -> (file: Int32, map: PieceMap) {
    if info.size <= limitBytes {
      let copy = place(info, identity, "\npieces \(PartialCopy.pieceBytes) \(Self.session)")
      for _ in 0..<3 {
        if let found = takeParts(copy, size: info.size, at: destination) { return found }
        try makeFolder((copy as NSString).deletingLastPathComponent)
        let new = (copy as NSString).deletingLastPathComponent + "/new-" + UUID().uuidString
        try makeFolder(new)
        let made = try Self.partFiles.map { try Self.make("\(new)/\($0)", size: $0 == "data" ? info.size : PartialCopy.pieces(info.size)) }
        made.forEach { close($0) }
        // Another process may have been faster; a folder that cannot get its name is of no use.
        if rename(new, copy) != 0 { removeParts(new) }
      }
    }
    // Too large to be kept, or names on another disk: this one's own.
    let file = try Self.make(destination, size: info.size)
    let note = destination + ".pieces"
    defer { unlink(note) }
    let pieces = try Self.make(note, size: PartialCopy.pieces(info.size))
    defer { close(pieces) }
    guard let map = PieceMap(pieces, count: PartialCopy.pieces(info.size)) else {
      close(file)
      throw LocalFile.failure("map", note)
    }
    return (file, map)
  }

  private static func make(_ path: String, size: Int) throws -> Int32 {
    let file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard file >= 0 else { throw LocalFile.failure("make", path) }
    guard ftruncate(file, off_t(size)) == 0 else {
      close(file)
      throw LocalFile.failure("make", path)
    }
    return file
  }

  /// Both files are of one folder, which gets its name when they are there: they belong together.
  private func takeParts(_ copy: String, size: Int, at destination: String) -> (file: Int32, map: PieceMap)? {
    let folder = open(copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else { return nil }
    defer { close(folder) }
    let pieces = openat(folder, "pieces", O_RDWR | O_CLOEXEC)
    guard pieces >= 0 else { return nil }
    defer { close(pieces) }
    let file = openat(folder, "data", O_RDWR | O_CLOEXEC)
    guard file >= 0 else { return nil }
    var (info, note) = (stat(), stat())
    guard fstat(file, &info) == 0, Int(info.st_size) == size, fstat(pieces, &note) == 0, Int(note.st_size) == PartialCopy.pieces(size),
      let map = PieceMap(pieces, count: PartialCopy.pieces(size)), linkat(folder, "data", AT_FDCWD, destination, 0) == 0
    else {
      close(file)
      return nil
    }
    // Without the mark it only looks older than it is.
    utimensat(AT_FDCWD, copy, nil, 0)
    return (file, map)
  }

  /// Removes a copy in pieces; whoever uses it keeps it.
  private func removeParts(_ path: String) {
    let gone = (path as NSString).deletingLastPathComponent + "/gone-" + UUID().uuidString
    // Nobody finds one of two files.
    guard rename(path, gone) == 0 else { return }
    for name in Self.partFiles { unlink("\(gone)/\(name)") }
    rmdir(gone)
  }
}
