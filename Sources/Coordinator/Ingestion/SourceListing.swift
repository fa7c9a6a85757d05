// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import Glibc
import ObjectStore
import Query

/// Finds the files of a path or glob below a volume, below a folder that the operator allows, or in a bucket. Links are never followed.
struct SourceListing: Sendable {
  let catalog: CatalogStore
  /// The platform's own folders, which are never a source.
  let own: [String]

  struct Found: Sendable {
    var file: FileRead.File
    /// When the entry last changed in any way, nanoseconds since 1970: later than all that was known when it is new.
    var changed: Int64
  }

  /// A path taken apart: the folder that is walked, as the system and as people name it, and what below it is wanted.
  struct Place: Sendable {
    var folder: String
    var shown: String
    /// Parts of the path below `folder`; empty: everything.
    var patterns: [String]

    var isInBucket: Bool { S3Location.isS3(folder) }
  }

  static let fileLimit = 5_000_000
  static let depthLimit = 64

  static func isGlob(_ part: String) -> Bool { part.contains { "*?[{".contains($0) } }

  static func missing(_ path: String) -> PlatformError {
    PlatformError(.notFound, "there is no file or folder '\(path.prefix(300))'", number: "PLT-3117", path: path)
  }

  static func tooMany(_ limit: Int, _ shown: String) -> PlatformError {
    PlatformError(
      .resourceExhausted, "the source has more than \(limit) files", hint: "Give a folder or pattern with fewer.", number: "PLT-3117", path: shown)
  }

  /// - Throws: `permissionDenied` outside of volumes and allowed folders, `notFound`, `invalidArgument` PLT-3001.
  func place(_ text: String) async throws -> Place {
    if S3Location.isS3(text) { return try await bucketPlace(text) }
    var path = text
    for scheme in ["dbfs:", "file://", "file:"] where path.hasPrefix(scheme) {
      path = String(path.dropFirst(scheme.count))
      break
    }
    while path.count > 1, path.hasSuffix("/") { path.removeLast() }
    let parts = path.utf8.split(separator: UInt8(ascii: "/")).map { String(decoding: $0, as: UTF8.self) }
    guard path.hasPrefix("/"), !parts.isEmpty, parts.allSatisfy({ $0 != "." && $0 != ".." }), parts.count < 200 else {
      throw PlatformError(
        .invalidArgument, "'\(text.prefix(200))' is not a path to read from", hint: "For example /Volumes/main/demo/in/*.csv.", number: "PLT-3001")
    }
    let fixed = parts.prefix { !Self.isGlob($0) }
    let isVolume = parts[0] == "Volumes"
    guard !isVolume || fixed.count >= 4 else {
      throw PlatformError(
        .invalidArgument, "'\(text.prefix(200))' does not name a volume", hint: "For example /Volumes/main/demo/in/*.csv.", number: "PLT-3001")
    }
    let shown = "/" + fixed.joined(separator: "/")
    if isVolume {
      return try await split(catalog.volumePath(shown), shown, Array(parts.dropFirst(fixed.count)), text)
    }
    let rest = Array(parts.dropFirst(fixed.count))
    let allowed = try await catalog.externalFolders()
    return try await BlockingPool.shared.run { [own] in
      // A file's folder is judged.
      var isFolder: ObjCBool = false
      let found = FileManager.default.fileExists(atPath: shown, isDirectory: &isFolder)
      let folder = found && !isFolder.boolValue ? (shown as NSString).deletingLastPathComponent : shown
      let real = try CatalogStore.externalFolder(folder, of: "the source", allowedIn: allowed, apartFrom: own)
      let tail = folder == shown ? rest : [(shown as NSString).lastPathComponent]
      return Place(folder: real, shown: folder, patterns: tail)
    }
  }

  private func split(_ real: String, _ shown: String, _ patterns: [String], _ text: String) async throws -> Place {
    try await BlockingPool.shared.run {
      var info = stat()
      guard lstat(real, &info) == 0 else { throw Self.missing(text) }
      if info.st_mode & S_IFMT == S_IFDIR { return Place(folder: real, shown: shown, patterns: patterns) }
      return Place(
        folder: (real as NSString).deletingLastPathComponent, shown: (shown as NSString).deletingLastPathComponent,
        patterns: [(shown as NSString).lastPathComponent])
    }
  }

  /// The files, in order of name. Blocks for as long as reading the folders takes.
  /// - Parameter last: of a bucket only names behind this one; folders are always read whole.
  /// - Throws: `resourceExhausted` above `limit` files.
  static func list(
    _ place: Place, _ options: FileOptions, after last: String? = nil, limit: Int = fileLimit, isCancelled: () -> Bool = { false }
  ) throws -> [Found] {
    if place.isInBucket { return try listBucket(place, options, after: last, limit: limit, isCancelled: isCancelled) }
    var found: [Found] = []
    try walk(place.folder, place.shown, place.patterns[...], isRecursive: options.recursive, depth: 0, options, limit, &found, isCancelled)
    found.sort { $0.file.name.utf8.lexicographicallyPrecedes($1.file.name.utf8) }
    return found
  }

  /// Alternatives in braces, written out: at most 64.
  static func alternatives(_ pattern: String) -> [String] {
    guard let open = pattern.firstIndex(of: "{"), let close = pattern[open...].firstIndex(of: "}") else { return [pattern] }
    let (head, tail) = (String(pattern[..<open]), String(pattern[pattern.index(after: close)...]))
    let inside = pattern[pattern.index(after: open)..<close].split(separator: ",", omittingEmptySubsequences: false)
    var all: [String] = []
    for choice in inside where all.count < 64 { all += alternatives(head + String(choice) + tail) }
    return all
  }

  static func matches(_ name: String, _ pattern: String) -> Bool { alternatives(pattern).contains { fnmatch($0, name, 0) == 0 } }

  private static func walk(
    _ folder: String, _ shown: String, _ patterns: ArraySlice<String>, isRecursive: Bool, depth: Int, _ options: FileOptions, _ limit: Int,
    _ found: inout [Found], _ isCancelled: () -> Bool
  ) throws {
    guard depth < depthLimit, let stream = opendir(folder) else { return }
    defer { closedir(stream) }
    let descriptor = dirfd(stream)
    var folders: [String] = []
    var count = 0
    while let entry = readdir(stream) {
      count += 1
      if count & 4095 == 0, isCancelled() { throw CancellationError() }
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
      }
      // Hidden names are unfinished or somebody's own, as in Spark.
      guard let name, let first = name.utf8.first, first != UInt8(ascii: "."), first != UInt8(ascii: "_") else { continue }
      let wanted = patterns.first
      if let wanted, wanted != "**", !matches(name, wanted) { continue }
      var info = stat()
      guard fstatat(descriptor, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { continue }
      if info.st_mode & S_IFMT == S_IFDIR {
        if patterns.count > 1 || wanted == "**" || isRecursive { folders.append(name) }
        continue
      }
      guard info.st_mode & S_IFMT == S_IFREG, patterns.count <= 1 || (wanted == "**" && patterns.count == 2 && matches(name, patterns.last ?? "")) else {
        continue
      }
      let modified = Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000
      guard options.fileNamePattern.isEmpty || matches(name, options.fileNamePattern), modified >= options.modifiedAfter ?? .min,
        modified < options.modifiedBefore ?? .max
      else { continue }
      guard found.count < limit else { throw tooMany(limit, shown) }
      found.append(
        Found(
          file: .init(path: folder + "/" + name, name: shown + "/" + name, sizeBytes: Int64(info.st_size), modifiedMilliseconds: modified),
          changed: Int64(info.st_ctim.tv_sec) * 1_000_000_000 + Int64(info.st_ctim.tv_nsec)))
    }
    for name in folders {
      let rest = patterns.first == "**" ? patterns : patterns.dropFirst()
      try walk(folder + "/" + name, shown + "/" + name, rest, isRecursive: isRecursive, depth: depth + 1, options, limit, &found, isCancelled)
    }
  }

  /// What a `read_files` call names, as an executor reads it.
  func resolve(_ request: FileRead.Request) async throws -> FileRead {
    var arguments = request.arguments
    let named = arguments.removeValue(forKey: "format")
    let place = try await place(request.path)
    let format = try named.map { try FileRead.Format(named: $0) }
    // The pattern of names does not depend on the format.
    let first = try FileOptions(arguments, format: format ?? .csv)
    let found = try await BlockingPool.shared.run { try Self.list(place, first, limit: 20_000) }
    guard let one = found.first else { throw Self.missing(request.path) }
    guard let known = format ?? FileRead.Format(fileName: one.file.name) else {
      throw PlatformError(
        .invalidArgument, "the name '\((one.file.name as NSString).lastPathComponent)' does not tell the format of the file", hint: "Add format => 'csv'.",
        number: "PLT-3110")
    }
    let isTabs = (named ?? (one.file.name as NSString).pathExtension).lowercased() == "tsv"
    return FileRead(
      view: request.view, format: known, options: try FileOptions(arguments, format: known, isTabs: isTabs), files: found.map(\.file),
      hasMetadata: request.hasMetadata)
  }
}

extension PlanningServices {
  var listing: SourceListing { SourceListing(catalog: catalog, own: layout.ownFolders) }
}
