// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// What to read: directories, how much of them, and the limits for a single file.
public struct IngestConfiguration: Codable, Sendable, Equatable {
  /// Absolute directories. By default the documentation that every Debian system has.
  public var directories = ["/usr/share/doc", "/usr/share/common-licenses", "/usr/share/man"]
  /// About how much text is taken; the file that reaches it is the last one. 0 takes everything.
  public var textBytes: Int64 = 5_000_000
  /// Which files a sample takes depends on this and on their paths alone.
  public var seed: UInt64 = 1
  /// A shard ends with the file that reaches it, so that shards do not depend on the number of workers.
  public var shardBytes: Int64 = 1_000_000
  /// Larger files are quarantined, as are packed files whose content is larger.
  public var maximumFileBytes: Int64 = 64 << 20
  /// Files looked at in all; a larger tree is refused.
  public var maximumFiles = 2_000_000

  public init() {}
}

/// A file that was chosen.
public struct IngestFile: Codable, Sendable, Equatable {
  /// Absolute, with the resolved root.
  public var path: String
  /// Size on disk.
  public var sizeBytes: Int64
  public var kind: DocumentKind
  public var packed: Bool
}

/// The chosen files in shards. Making it reads directories and the last bytes of packed files, nothing else.
public struct IngestPlan: Codable, Sendable, Equatable {
  /// In the order of the sample within a shard list; each shard is sorted by path.
  public var shards: [[IngestFile]]
  public var files: Int
  /// Bytes of text that are expected, by file sizes and the sizes that gzip files state.
  public var estimatedBytes: Int64
  /// Directory entries that were not taken, by reason.
  public var skipped: [String: Int]

  /// Walks the directories and picks the sample.
  /// - Throws: `invalidArgument` (PLT-3101) when a directory does not exist or no file can be used, naming what was skipped;
  ///   `CancellationError`.
  public static func make(_ configuration: IngestConfiguration, isCancelled: () -> Bool = { false }) throws -> IngestPlan {
    guard !configuration.directories.isEmpty, configuration.shardBytes > 0, configuration.textBytes >= 0,
      configuration.maximumFileBytes > 0
    else { throw PlatformError(.invalidArgument, "ingestion needs a directory and positive sizes", number: "PLT-3101") }
    var walk = TreeWalk(limit: configuration.maximumFiles)
    for directory in configuration.directories { try walk.visit(root: directory, isCancelled: isCancelled) }
    // One file a set of hard links, the one with the smallest path, whatever the order of the directory.
    walk.found.sort { $0.file.path.utf8.lexicographicallyPrecedes($1.file.path.utf8) }
    var inodes: Set<TreeWalk.Inode> = []
    var candidates: [(hash: UInt64, file: IngestFile)] = []
    for (inode, file) in walk.found {
      if inodes.insert(inode).inserted {
        candidates.append((StableHash.hash(file.path, seed: configuration.seed), file))
      } else {
        walk.skipped["hard link of another file", default: 0] += 1
      }
    }
    let names = configuration.directories.joined(separator: ", ")
    guard !candidates.isEmpty else {
      let reasons = walk.skipped.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ")
      throw PlatformError(
        .invalidArgument, "no readable document in \(names)\(reasons.isEmpty ? ": it is empty" : ": skipped \(reasons)")",
        hint: "Give a directory with text, Markdown, HTML or manual pages.", number: "PLT-3101",
        path: configuration.directories[0])
    }
    candidates.sort {
      $0.hash != $1.hash ? $0.hash < $1.hash : $0.file.path.utf8.lexicographicallyPrecedes($1.file.path.utf8)
    }
    var plan = IngestPlan(shards: [], files: 0, estimatedBytes: 0, skipped: walk.skipped)
    var shard: [IngestFile] = []
    var shardBytes: Int64 = 0
    for (_, file) in candidates {
      if configuration.textBytes > 0, plan.estimatedBytes >= configuration.textBytes { break }
      let size = min(textSize(file), configuration.maximumFileBytes)
      plan.files += 1
      plan.estimatedBytes += size
      shardBytes += size
      shard.append(file)
      if shardBytes >= configuration.shardBytes {
        plan.shards.append(shard)
        (shard, shardBytes) = ([], 0)
      }
    }
    if !shard.isEmpty { plan.shards.append(shard) }
    plan.shards = plan.shards.map { $0.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) } }
    return plan
  }

  /// The size of the text: what the trailer of a gzip file states (RFC 1952, ISIZE), within reason.
  private static func textSize(_ file: IngestFile) -> Int64 {
    guard file.packed, file.sizeBytes >= 18, let handle = FileHandle(forReadingAtPath: file.path) else {
      return file.sizeBytes
    }
    defer { try? handle.close() }  // only read
    // A file that cannot be read any more counts by its size; the shard finds out why.
    guard (try? handle.seek(toOffset: UInt64(file.sizeBytes - 4))) != nil, let tail = try? handle.read(upToCount: 4),
      tail.count == 4
    else { return file.sizeBytes }
    let stated = tail.reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
    return max(file.sizeBytes, min(stated, file.sizeBytes * 1032))  // deflate packs at most 1032 to 1
  }
}

/// Finds regular files below a directory, without following symbolic links.
private struct TreeWalk {
  struct Inode: Hashable {
    var device: UInt64
    var number: UInt64
  }

  let limit: Int
  var found: [(inode: Inode, file: IngestFile)] = []
  var skipped: [String: Int] = [:]
  private var visited = 0

  init(limit: Int) { self.limit = limit }

  mutating func visit(root: String, isCancelled: () -> Bool) throws {
    guard root.hasPrefix("/"), let resolved = realpath(root, nil) else {
      throw PlatformError(
        .invalidArgument, "input directory \(root) does not exist or is not absolute",
        hint: "Give the full path of a directory.",
        number: "PLT-3101", path: root)
    }
    defer { free(resolved) }
    let path = String(cString: resolved)
    var info = stat()
    guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFDIR, let probe = opendir(path) else {
      throw PlatformError(
        .invalidArgument, "input \(root) is not a directory that can be read",
        hint: "Give a directory that the platform's user can read.",
        number: "PLT-3101", path: root)
    }
    closedir(probe)
    try descend(path, depth: 0, isCancelled: isCancelled)
  }

  private mutating func skip(_ reason: String) { skipped[reason, default: 0] += 1 }

  private mutating func descend(_ directory: String, depth: Int, isCancelled: () -> Bool) throws {
    guard depth < 64 else { return skip("directories nested too deeply") }
    guard let stream = opendir(directory) else { return skip("unreadable directories") }
    defer { closedir(stream) }
    var children: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: UInt8.self, capacity: 256) { bytes in
          String(
            validating: UnsafeBufferPointer(
              start: bytes, count: strnlen(UnsafeRawPointer(bytes).assumingMemoryBound(to: CChar.self), 256)), as: UTF8.self)
        }
      }
      guard let name else {
        skip("names that are not UTF-8")
        continue
      }
      if name == "." || name == ".." { continue }
      visited += 1
      if visited & 1023 == 0, isCancelled() { throw CancellationError() }
      guard visited <= limit else {
        throw PlatformError(
          .invalidArgument, "the input directories have more than \(limit) entries",
          hint: "Ingest subdirectories one at a time.",
          number: "PLT-3101", path: directory)
      }
      let path = directory == "/" ? "/" + name : directory + "/" + name
      var info = stat()
      guard lstat(path, &info) == 0 else {
        skip("unreadable files")
        continue
      }
      switch info.st_mode & S_IFMT {
      case S_IFDIR: children.append(path)
      case S_IFLNK: skip("symbolic links")
      case S_IFREG:
        guard let (kind, packed) = DocumentKind.of(fileName: name) else {
          skip("files of other types")
          continue
        }
        guard info.st_size > 0 else {
          skip("empty files")
          continue
        }
        guard access(path, R_OK) == 0 else {
          skip("unreadable files")
          continue
        }
        let file = IngestFile(path: path, sizeBytes: Int64(info.st_size), kind: kind, packed: packed)
        found.append((Inode(device: UInt64(info.st_dev), number: UInt64(info.st_ino)), file))
      default: skip("devices, sockets and pipes")
      }
    }
    for child in children { try descend(child, depth: depth + 1, isCancelled: isCancelled) }
  }
}
