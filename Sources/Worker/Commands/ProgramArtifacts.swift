// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// Files that a program leaves in the folder that `PLATFORM_TASK_ARTIFACTS` names: they are kept for every attempt, also for one that failed.
enum ProgramArtifacts {
  static let variable = "PLATFORM_TASK_ARTIFACTS"
  /// What more than this would fill nobody has asked for: whoever has so much has a volume for it.
  static let limit = (files: 1_000, bytes: Int64(1) << 30, depth: 16)

  private struct Count {
    /// Whose files are kept: a hard link to somebody else's is no file that the program has left.
    var owner: uid_t
    var files = 0
    var bytes: Int64 = 0
  }

  /// Copies what is in `folder`, which may still be another user's: every folder is opened from the one above and no link is followed.
  /// - Parameter place: becomes the copy, or stays away when there is nothing; what another worker has left there for the same attempt goes.
  /// - Returns: how many files there are.
  /// - Throws: `resourceExhausted` PLT-4470 when there is more than may be kept.
  static func keep(_ folder: String, at place: String) throws -> Int {
    let root = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard root >= 0 else { throw PlatformError.system("open", folder) }
    defer { close(root) }
    let temporary = "\(place).\(getpid())"
    let files = FileManager.default
    var info = stat()
    guard fstat(root, &info) == 0 else { throw PlatformError.system("read", folder) }
    var count = Count(owner: info.st_uid)
    defer { try? files.removeItem(atPath: temporary) }  // there is none when it has become the place, or nothing was copied
    try copy(root, to: temporary, depth: 1, &count)
    guard count.files > 0 else { return 0 }
    if files.fileExists(atPath: place) { try files.removeItem(atPath: place) }
    guard rename(temporary, place) == 0 else { throw PlatformError.system("write", place) }
    return count.files
  }

  private static func tooMuch(_ what: String) -> PlatformError {
    PlatformError(.resourceExhausted, "there is more than \(what)", hint: "Put large results into a volume.", number: "PLT-4470")
  }

  /// Names of a folder's entries that can be shown and written again.
  private static func names(_ folder: Int32) throws -> [String] {
    let own = dup(folder)
    guard own >= 0, let stream = fdopendir(own) else { throw PlatformError.system("read", "the artifacts") }
    defer { closedir(stream) }
    var found: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: Int(entry.pointee.d_reclen)) { String(validatingCString: $0) }
      }
      guard let name, name != ".", name != "..", name.unicodeScalars.allSatisfy({ $0.value >= 32 && $0.value != 127 }) else { continue }
      found.append(name)
      guard found.count <= limit.files * 2 else { throw tooMuch("\(limit.files) files") }
    }
    return found.sorted()
  }

  private static func copy(_ folder: Int32, to place: String, depth: Int, _ count: inout Count) throws {
    guard depth <= limit.depth else { throw tooMuch("\(limit.depth) folders in each other") }
    for name in try names(folder) {
      let entry = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
      // A link, or gone.
      guard entry >= 0 else { continue }
      defer { close(entry) }
      var info = stat()
      guard fstat(entry, &info) == 0 else { continue }
      switch info.st_mode & S_IFMT {
      case S_IFDIR: try copy(entry, to: "\(place)/\(name)", depth: depth + 1, &count)
      case S_IFREG where info.st_uid == count.owner:
        count.files += 1
        guard count.files <= limit.files else { throw tooMuch("\(limit.files) files") }
        try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        try copy(file: entry, to: "\(place)/\(name)", &count)
      default: continue
      }
    }
  }

  private static func copy(file: Int32, to path: String, _ count: inout Count) throws {
    let target = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard target >= 0 else { throw PlatformError.system("write", path) }
    let (from, to) = (FileHandle(fileDescriptor: file, closeOnDealloc: false), FileHandle(fileDescriptor: target, closeOnDealloc: true))
    while let bytes = try from.read(upToCount: 1 << 20), !bytes.isEmpty {
      count.bytes += Int64(bytes.count)
      guard count.bytes <= limit.bytes else { throw tooMuch("\(limit.bytes >> 30) GiB") }
      try to.write(contentsOf: bytes)
    }
  }
}
