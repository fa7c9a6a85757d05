// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// Objects as files below one folder, local or NFS.
///
/// Writes go to a temporary file that is fsynced, then renamed (`put`) or linked (`putIfAbsent`: link(2) fails if the name
/// exists, on NFS too), then the folder is fsynced. Temporary names start with `.~` and are never listed. Symbolic links
/// below the root are refused.
public final class LocalObjectStore: ObjectStorage {
  /// Absolute path of the root folder, links resolved.
  public let root: String
  /// Folders whose entries this process has synced, all the way from the root.
  private let durableFolders = Mutex<Set<String>>([])
  /// Bounds the set above; forgetting costs some syncs.
  private static let knownFolderLimit = 10_000

  /// Creates the folder if it is absent.
  public init(root: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    } catch {
      throw PlatformError(.permissionDenied, "cannot create the folder of the object store", path: root)
    }
    guard let resolved = realpath(root, nil) else { throw LocalFile.failure("open the object store", root) }
    defer { free(resolved) }
    self.root = String(cString: resolved)
    // The root's own entry; a parent that this user may not open was made by somebody else.
    let parent = open(Self.parent(of: self.root) + "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard parent >= 0 else { return }
    defer { close(parent) }
    guard fsync(parent) == 0 else { throw LocalFile.failure("sync", root) }
  }

  /// The absolute file path of an object.
  public func filePath(_ path: ObjectPath) -> String { root + "/" + path.text }

  public func get(_ path: ObjectPath) throws -> Data { try read(path, range: nil) }
  public func get(_ path: ObjectPath, range: Range<Int>) throws -> Data { try read(path, range: range) }

  private func read(_ path: ObjectPath, range: Range<Int>?) throws -> Data {
    try refuseLinks(path)
    let file = filePath(path)
    let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw LocalFile.failure("read", file) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw LocalFile.failure("read", file) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw PlatformError(.notFound, "object not found", path: file) }
    let size = Int(info.st_size)
    let start = range?.lowerBound ?? 0
    guard start >= 0, start <= size else {
      throw PlatformError(.invalidArgument, "the range starts behind the end of the object", path: file)
    }
    let wanted = start..<max(start, min(range?.upperBound ?? size, size))
    return try LocalFile.read(descriptor, offset: wanted.lowerBound, count: wanted.count, name: file)
  }

  public func put(_ path: ObjectPath, _ data: Data) throws {
    try write(path, publish: replace) { try LocalFile.append(data, to: $0, name: filePath(path)) }
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws { try putIfAbsent(path, data, behind: []) }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data, behind files: [UnsyncedFile]) throws {
    if try head(path) != nil { throw PlatformError(.alreadyExists, "object exists already", path: filePath(path)) }
    for file in files { file.start() }
    try write(path, publish: Self.linkOnce) { descriptor in
      try LocalFile.append(data, to: descriptor, name: filePath(path))
      guard !files.isEmpty else { return }
      // All are on their way to the disk before the first is waited for.
      LocalFile.startWriting(descriptor)
      for file in files { try file.sync() }
    }
  }

  public func upload(file: String, to path: ObjectPath) throws -> Int {
    let source = open(file, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw LocalFile.failure("read", file) }
    defer { close(source) }
    var size = 0
    try write(path, publish: replace) { target in
      while case let piece = try LocalFile.read(source, offset: size, count: 4 << 20, name: file), !piece.isEmpty {
        try LocalFile.append(piece, to: target, name: filePath(path))
        size += piece.count
      }
    }
    return size
  }

  public func download(_ path: ObjectPath, to file: String) throws -> Int {
    try refuseLinks(path)
    let source = open(filePath(path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard source >= 0 else { throw LocalFile.failure("read", filePath(path)) }
    defer { close(source) }
    var size = 0
    try LocalFile.write(to: file) { target in
      while case let piece = try LocalFile.read(source, offset: size, count: 4 << 20, name: filePath(path)), !piece.isEmpty {
        try LocalFile.append(piece, to: target, name: file)
        size += piece.count
      }
    }
    return size
  }

  /// rename(2). Over a network the answer may have been lost and the call repeated: then the temporary name is gone, and the
  /// object is the file that we hold open.
  private func replace(_ temporary: String, _ file: String, _ descriptor: Int32) -> Int32 {
    if rename(temporary, file) == 0 { return 0 }
    let reason = errno
    var ours = stat()
    var there = stat()
    if reason == ENOENT, fstat(descriptor, &ours) == 0, lstat(file, &there) == 0, ours.st_ino == there.st_ino, ours.st_dev == there.st_dev {
      return 0
    }
    errno = reason
    return -1
  }

  /// link(2), which fails when the name is taken. A lost and repeated call fails too: a second name of our own file means that we won.
  private static func linkOnce(_ temporary: String, _ file: String, _: Int32) -> Int32 {
    if link(temporary, file) == 0 { return 0 }
    let reason = errno
    var info = stat()
    if reason == EEXIST, lstat(temporary, &info) == 0, info.st_nlink == 2 { return 0 }
    errno = reason
    return -1
  }

  private func write(_ path: ObjectPath, publish: (String, String, Int32) -> Int32, _ body: (Int32) throws -> Void) throws {
    try refuseLinks(path)
    let file = filePath(path)
    let folder = Self.parent(of: file)
    try makeFolder(folder)
    var temporary = ""
    var descriptor: Int32 = -1
    for _ in 0..<4 {
      temporary = folder + "/.~" + UUID().uuidString
      descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
      if descriptor >= 0 { break }
      switch errno {
      case EEXIST: continue  // a repeated call over a network; the file that it made is left to clean-ups
      case ENOENT:
        // Somebody has removed the folder since it was made.
        durableFolders.withLock { _ = $0.remove(folder) }
        try makeFolder(folder)
      default: throw LocalFile.failure("write", file)
      }
    }
    guard descriptor >= 0 else { throw LocalFile.failure("write", file) }
    defer {
      close(descriptor)
      unlink(temporary)
    }
    try body(descriptor)
    guard fsync(descriptor) == 0 else { throw LocalFile.failure("write", file) }
    guard publish(temporary, file, descriptor) == 0 else { throw LocalFile.failure("write", file) }
    try LocalFile.syncFolder(folder)
  }

  /// Makes `folder` and the entries that lead to it durable. A folder that is there may have been made by a process that
  /// died before it could sync it, so that its being there proves nothing: the first use in a process syncs the whole way.
  private func makeFolder(_ folder: String) throws {
    if durableFolders.withLock({ $0.contains(folder) }) { return }
    var parent = root
    var made: [String] = []
    for part in PathText.components(String(decoding: folder.utf8.dropFirst(root.utf8.count), as: UTF8.self)) where !part.isEmpty {
      let child = parent + "/" + part
      if mkdir(child, 0o755) != 0 && errno != EEXIST { throw LocalFile.failure("create the folder", child) }
      try LocalFile.syncFolder(parent)
      parent = child
      made.append(child)
    }
    durableFolders.withLock { known in
      if known.count + made.count > Self.knownFolderLimit { known.removeAll() }
      known.formUnion(made)
    }
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] { try list(prefix, behind: nil) }
  public func list(_ prefix: ObjectPath?, after last: ObjectPath) throws -> [ObjectInfo] { try list(prefix, behind: last) }

  private func list(_ prefix: ObjectPath?, behind last: ObjectPath?) throws -> [ObjectInfo] {
    var found: [ObjectInfo] = []
    if let prefix { try refuseLinks(prefix) }
    try collect(prefix, behind: last, into: &found)
    return found.sorted { $0.path < $1.path }
  }

  private func collect(_ folder: ObjectPath?, behind last: ObjectPath?, into found: inout [ObjectInfo]) throws {
    let path = folder.map(filePath) ?? root
    guard let handle = opendir(path) else {
      if errno == ENOENT || errno == ENOTDIR { return }
      throw LocalFile.failure("list", path)
    }
    defer { closedir(handle) }
    // Below `folder`, the names that end a listing's start: what comes before them needs no closer look.
    let prefix = folder.map { $0.text + "/" } ?? ""
    let least = last.flatMap { $0.text.utf8.starts(with: prefix.utf8) ? Array($0.text.utf8.dropFirst(prefix.utf8.count)) : nil }
    let fileNumber = dirfd(handle)
    while true {
      // Only what `readdir` itself says counts: a file that is gone before it is looked at is no error.
      errno = 0
      guard let entry = readdir(handle) else { break }
      let kind = Int32(entry.pointee.d_type)
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: UInt8.self, capacity: 256) { bytes -> String? in
          let bytes = UnsafeBufferPointer(start: bytes, count: strlen(UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self)))
          if let first = bytes.first, first == UInt8(ascii: ".") {
            if bytes.count == 1 || bytes[1] == UInt8(ascii: "~") || (bytes.count == 2 && bytes[1] == UInt8(ascii: ".")) { return nil }
          }
          // A folder may hold names behind `least` although its own comes before.
          if let least, kind == DT_REG, !least.lexicographicallyPrecedes(bytes) { return nil }
          return String(decoding: bytes, as: UTF8.self)
        }
      }
      guard let name else { continue }
      // A file whose name is no object name was not written by a store: it is left out.
      guard let child = try? folder?.appending(name) ?? ObjectPath(name) else { continue }
      var info = stat()
      guard fstatat(fileNumber, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      if info.st_mode & S_IFMT == S_IFDIR {
        try collect(child, behind: last, into: &found)
      } else if info.st_mode & S_IFMT == S_IFREG, last.map({ $0 < child }) ?? true {
        found.append(Self.info(child, info))
      }
    }
    guard errno == 0 else { throw LocalFile.failure("list", path) }
  }

  private static func info(_ path: ObjectPath, _ info: stat) -> ObjectInfo {
    let milliseconds = Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000
    return ObjectInfo(
      path: path, size: Int(info.st_size), modifiedMilliseconds: milliseconds,
      tag: "\(info.st_ino)-\(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)")
  }

  public func delete(_ path: ObjectPath) throws {
    try refuseLinks(path)
    let file = filePath(path)
    guard unlink(file) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return }
      throw LocalFile.failure("delete", file)
    }
    try LocalFile.syncFolder(Self.parent(of: file))
  }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? {
    try refuseLinks(path)
    var info = stat()
    guard lstat(filePath(path), &info) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw LocalFile.failure("look at", filePath(path))
    }
    return info.st_mode & S_IFMT == S_IFREG ? Self.info(path, info) : nil
  }

  private static func parent(of file: String) -> String { PathText.components(file).dropLast().joined(separator: "/") }

  /// A symbolic link in the path could lead out of the root.
  private func refuseLinks(_ path: ObjectPath) throws {
    var current = root
    for part in PathText.components(path.text) {
      current += "/" + part
      var info = stat()
      guard lstat(current, &info) == 0 else { return }
      if info.st_mode & S_IFMT == S_IFLNK {
        throw PlatformError(.permissionDenied, "symbolic links are not followed in an object store", path: current)
      }
    }
  }
}
