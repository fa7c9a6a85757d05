// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import ObjectStore

/// Zip archives among the files of a read, with their members in their place: each is a file of its own, called `archive.zip/member`.
final class ZipExpansion {
  /// What is to be read.
  private(set) var read: FileRead
  /// Why archives cannot be read, by position in `read.files`.
  private(set) var refused: [Int: FileProblem] = [:]
  /// Which files are members of archives, by position in `read.files`.
  private(set) var members: Set<Int> = []
  /// Archives that are others now than those that were listed, as they were read.
  private(set) var replaced: [FileRead.File] = []
  private var copies: [String] = []

  /// Of all members of all archives of one read, unpacked.
  static let sizeLimit: Int64 = 16 << 30

  deinit { for copy in copies { unlink(copy) } }

  /// - Throws: `cancelled`; what keeps members from being written.
  init(_ given: FileRead, scratch: String, keys: KeyRing = .shared, isCancelled: @escaping @Sendable () -> Bool) throws {
    read = given
    guard [.csv, .json, .text].contains(given.format), given.files.contains(where: { Self.isArchive($0, given.options) }) else { return }
    let fetched = FetchedFiles(folder: scratch, keepsCopies: false, keys: keys, isCancelled: isCancelled)
    // What is inside of an archive tells by its own name how it is packed.
    if given.options.compression == "zip" { read.options.compression = "" }
    read.files = []
    do { try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true) } catch {
      throw PlatformError.from(error, context: "making a folder for members of archives")
    }
    var room = Self.sizeLimit
    for index in given.files.indices {
      let file = given.files[index]
      guard Self.isArchive(file, given.options) else {
        read.files.append(file)
        continue
      }
      if isCancelled() { throw CancellationError() }
      let places = try fetched.provide(given.files[index...index])
      defer { fetched.release(places) }
      let start = (files: read.files.count, copies: copies.count)
      do {
        try expand(file, places[index] ?? .local(file.path), scratch, &room, isCancelled)
        members.formUnion(start.files..<read.files.count)
        if let object = fetched.found[index], let other = file.asRead(object) { replaced.append(other) }
      } catch let failure as ZipArchive.Failure {
        // All of an archive, or nothing.
        read.files.removeSubrange(start.files...)
        for copy in copies[start.copies...] { unlink(copy) }
        copies.removeSubrange(start.copies...)
        refused[read.files.count] = FileProblem(index: read.files.count, reason: failure.reason)
        read.files.append(file)
      }
    }
  }

  static func isArchive(_ file: FileRead.File, _ options: FileOptions) -> Bool {
    options.compression == "zip" || (options.compression.isEmpty && file.name.lowercased().hasSuffix(".zip"))
  }

  private func expand(
    _ file: FileRead.File, _ place: FetchedFiles.Place, _ scratch: String, _ room: inout Int64, _ isCancelled: () -> Bool
  ) throws {
    guard case .local(let path) = place else { throw ZipArchive.Failure(reason: FileProblem.gone) }
    let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
    guard descriptor >= 0 else { throw ZipArchive.Failure(reason: errno == ENOENT ? FileProblem.gone : "the file cannot be opened") }
    defer { close(descriptor) }
    var info = stat()
    if path == file.path, fstat(descriptor, &info) == 0 {
      let modified = Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000
      if let other = file.asRead((Int64(info.st_size), modified)) { replaced.append(other) }
    }
    let archive = try ZipArchive(descriptor)
    for member in archive.members.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
      let parts = PathText.components(member.name)
      // Folders, and what other names that begin so are in folders.
      guard let last = parts.last, !last.isEmpty, !parts.contains(where: { $0.hasPrefix(".") || $0.hasPrefix("_") }) else { continue }
      guard !last.lowercased().hasSuffix(".zip") else { throw ZipArchive.Failure(reason: "there is an archive inside of the zip archive") }
      if isCancelled() { throw CancellationError() }
      let copy = "\(scratch)/member-\(UUID().uuidString.lowercased())"
      try archive.extract(member, to: copy, limit: room)
      copies.append(copy)
      room -= member.bytes
      read.files.append(
        .init(path: copy, name: file.name + "/" + member.name, sizeBytes: member.bytes, modifiedMilliseconds: file.modifiedMilliseconds))
    }
  }
}
