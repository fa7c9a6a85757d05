// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation

/// Objects as files below one folder, local or NFS.
///
/// Writes go to a temporary file that is fsynced, then renamed (`put`) or linked (`putIfAbsent`: link(2) fails if the name
/// exists, on NFS too), then the folder is fsynced. Temporary names start with `.~` and are never listed. Symbolic links
/// below the root are refused.
public final class LocalObjectStore: ObjectStorage {
  /// Absolute path of the root folder, links resolved.
  public let root: String

  /// Creates the folder if it is absent.
  public init(root: String) throws {
    do {
      try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
    } catch {
      throw PlatformError(.permissionDenied, "cannot create the folder of the object store", path: root)
    }
    guard let resolved = realpath(root, nil) else { throw Self.failure("open the object store", root) }
    defer { free(resolved) }
    self.root = String(cString: resolved)
  }

  /// The absolute file path of an object.
  public func filePath(_ path: ObjectPath) -> String { root + "/" + path.text }

  public func get(_ path: ObjectPath) throws -> Data { try read(path, range: nil) }
  public func get(_ path: ObjectPath, range: Range<Int>) throws -> Data { try read(path, range: range) }

  private func read(_ path: ObjectPath, range: Range<Int>?) throws -> Data {
    try refuseLinks(path)
    let file = filePath(path)
    let descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw Self.failure("read", file) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw Self.failure("read", file) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw PlatformError(.notFound, "object not found", path: file) }
    let size = Int(info.st_size)
    let start = range?.lowerBound ?? 0
    guard start >= 0, start <= size else {
      throw PlatformError(.invalidArgument, "the range starts behind the end of the object", path: file)
    }
    let wanted = start..<max(start, min(range?.upperBound ?? size, size))
    var data = Data(count: wanted.count)
    var done = 0
    try data.withUnsafeMutableBytes { buffer in
      while done < buffer.count {
        let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(wanted.lowerBound + done))
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw Self.failure("read", file) }
        if count == 0 { break }
        done += count
      }
    }
    return data.prefix(done)
  }

  public func put(_ path: ObjectPath, _ data: Data) throws {
    try write(path, data) { temporary, file in rename(temporary, file) }
  }

  public func putIfAbsent(_ path: ObjectPath, _ data: Data) throws {
    if try head(path) != nil { throw PlatformError(.alreadyExists, "object exists already", path: filePath(path)) }
    try write(path, data) { temporary, file in
      if link(temporary, file) == 0 { return 0 }
      // Over a network the answer may have been lost and the call repeated: a second name of our own file means that we won.
      let reason = errno
      var info = stat()
      if reason == EEXIST, lstat(temporary, &info) == 0, info.st_nlink == 2 { return 0 }
      errno = reason
      return -1
    }
  }

  private func write(_ path: ObjectPath, _ data: Data, publish: (String, String) -> Int32) throws {
    try refuseLinks(path)
    let file = filePath(path)
    let folder = Self.parent(of: file)
    try makeFolder(folder)
    let temporary = folder + "/.~" + UUID().uuidString
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard descriptor >= 0 else { throw Self.failure("write", file) }
    defer { unlink(temporary) }
    do {
      defer { close(descriptor) }
      var done = 0
      try data.withUnsafeBytes { bytes in
        while done < bytes.count {
          let count = Foundation.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
          if count < 0 && errno == EINTR { continue }
          guard count > 0 else { throw Self.failure("write", file) }
          done += count
        }
      }
      guard fsync(descriptor) == 0 else { throw Self.failure("write", file) }
    }
    guard publish(temporary, file) == 0 else { throw Self.failure("write", file) }
    try Self.syncFolder(folder)
  }

  private func makeFolder(_ folder: String) throws {
    if FileManager.default.fileExists(atPath: folder) { return }
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      if ProcessSupport.freeBytes(at: root) == 0 { throw PlatformError(.resourceExhausted, "disk is full", path: folder) }
      throw PlatformError(.permissionDenied, "cannot create the folder", path: folder)
    }
    var parent = folder
    while parent.count > root.count, let slash = parent.lastIndex(of: "/") {
      parent = String(parent[..<slash])
      try Self.syncFolder(parent)
    }
  }

  public func list(_ prefix: ObjectPath?) throws -> [ObjectInfo] {
    var found: [ObjectInfo] = []
    if let prefix { try refuseLinks(prefix) }
    try collect(prefix, into: &found)
    return found.sorted { $0.path < $1.path }
  }

  private func collect(_ folder: ObjectPath?, into found: inout [ObjectInfo]) throws {
    let path = folder.map(filePath) ?? root
    guard let handle = opendir(path) else {
      if errno == ENOENT || errno == ENOTDIR { return }
      throw Self.failure("list", path)
    }
    var names: [String] = []
    while let entry = readdir(handle) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." && !name.hasPrefix(".~") { names.append(name) }
    }
    closedir(handle)
    for name in names {
      // A file whose name is no object name was not written by a store: it is left out.
      guard let child = try? folder?.appending(name) ?? ObjectPath(name) else { continue }
      var info = stat()
      guard lstat(filePath(child), &info) == 0 else { continue }
      if info.st_mode & S_IFMT == S_IFDIR {
        try collect(child, into: &found)
      } else if info.st_mode & S_IFMT == S_IFREG {
        found.append(Self.info(child, info))
      }
    }
  }

  private static func info(_ path: ObjectPath, _ info: stat) -> ObjectInfo {
    let milliseconds = Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000
    return ObjectInfo(path: path, size: Int(info.st_size), modifiedMilliseconds: milliseconds)
  }

  public func delete(_ path: ObjectPath) throws {
    try refuseLinks(path)
    let file = filePath(path)
    guard unlink(file) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return }
      throw Self.failure("delete", file)
    }
    try Self.syncFolder(Self.parent(of: file))
  }

  public func head(_ path: ObjectPath) throws -> ObjectInfo? {
    try refuseLinks(path)
    var info = stat()
    guard lstat(filePath(path), &info) == 0 else {
      if errno == ENOENT || errno == ENOTDIR { return nil }
      throw Self.failure("look at", filePath(path))
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

  static func syncFolder(_ folder: String) throws {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("sync", folder) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("sync", folder) }
  }

  /// The error for `errno`.
  private static func failure(_ verb: String, _ path: String) -> PlatformError {
    let number = errno
    switch number {
    case ENOENT, ENOTDIR: return PlatformError(.notFound, "object not found", path: path)
    case EEXIST: return PlatformError(.alreadyExists, "object exists already", path: path)
    case ENOSPC, EDQUOT: return .system(verb, path, errno: number)
    case EACCES, EPERM, EROFS, ELOOP:
      return PlatformError(.permissionDenied, "cannot \(verb): \(String(cString: strerror(number)))", path: path)
    default: return PlatformError(.unavailable, "cannot \(verb): \(String(cString: strerror(number)))", path: path)
    }
  }
}
