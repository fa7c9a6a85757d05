// SPDX-License-Identifier: Apache-2.0

import Catalog
import Core
import Foundation
import ObjectStore
import Query

/// Sources in buckets: objects below a prefix that lies in an external location.
extension SourceListing {
  /// - Throws: `invalidArgument` PLT-3001, `permissionDenied` PLT-3260 outside of the external locations.
  func bucketPlace(_ text: String) async throws -> Place {
    let wrong = PlatformError(
      .invalidArgument, "'\(text.prefix(200))' is not a path to read from", hint: "For example s3://bucket/in/*.csv.", number: "PLT-3001")
    guard let scheme = text.range(of: "://") else { throw wrong }
    var rest = text[scheme.upperBound...]
    while rest.hasSuffix("/") { rest.removeLast() }
    let parts = PathText.components(String(rest))
    guard let bucket = parts.first, parts.count < 200 else { throw wrong }
    let fixed = parts.dropFirst().prefix { !Self.isGlob($0) }
    let folder: S3Location
    do {
      folder = try S3Location(bucket: bucket, path: fixed.isEmpty ? nil : ObjectPath(fixed.joined(separator: "/")))
    } catch { throw wrong }
    let patterns = Array(parts.dropFirst(1 + fixed.count))
    guard patterns.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else { throw wrong }
    guard try await catalog.location(of: folder.description) != nil else {
      throw PlatformError(
        .permissionDenied, "'\(folder)' is in no external location", hint: "Make one that holds it: platform locations create.", number: "PLT-3260",
        path: folder.description)
    }
    return Place(folder: folder.description, shown: folder.description, patterns: patterns)
  }

  /// The objects, in order of name. Pages are asked for one after the other; with `last` those before it are not asked for.
  static func listBucket(_ place: Place, _ options: FileOptions, after last: String?, limit: Int, isCancelled: () -> Bool) throws -> [Found] {
    let folder = try S3Location(parsing: place.folder)
    let store = try ObjectStores.bucket(folder.bucket, keys: KeyRing.shared.keys(of: folder.description))
    let listed = try last.flatMap { try S3Location(parsing: $0).path }.map { try store.list(folder.path, after: $0) } ?? store.list(folder.path)
    if isCancelled() { throw CancellationError() }
    let skipped = folder.path.map { $0.text.utf8.count + 1 } ?? 0
    var found: [Found] = []
    for object in listed {
      let name = String(decoding: object.path.text.utf8.dropFirst(skipped), as: UTF8.self)
      guard accepts(PathText.components(name), place.patterns[...], isRecursive: options.recursive), isWanted(object, options) else { continue }
      guard found.count < limit else { throw tooMany(limit, place.shown) }
      found.append(Self.found(object, folder.bucket))
    }
    // Not a folder: the object itself.
    if found.isEmpty, last == nil, place.patterns.isEmpty, let path = folder.path, let object = try store.head(path), isWanted(object, options) {
      found.append(Self.found(object, folder.bucket))
    }
    return found
  }

  private static func isWanted(_ object: ObjectInfo, _ options: FileOptions) -> Bool {
    (options.fileNamePattern.isEmpty || matches(object.path.name, options.fileNamePattern)) && object.modifiedMilliseconds >= options.modifiedAfter ?? .min
      && object.modifiedMilliseconds < options.modifiedBefore ?? .max
  }

  private static func found(_ object: ObjectInfo, _ bucket: String) -> Found {
    let name = "s3://\(bucket)/\(object.path.text)"
    return Found(
      file: .init(path: name, name: name, sizeBytes: Int64(object.size), modifiedMilliseconds: object.modifiedMilliseconds, tag: object.tag),
      changed: object.modifiedMilliseconds * 1_000_000)
  }

  /// Whether a name below the prefix is wanted; the rules are those of walking through folders.
  static func accepts(_ parts: [String], _ wanted: ArraySlice<String>, isRecursive: Bool) -> Bool {
    guard let file = parts.last, parts.count <= depthLimit else { return false }
    func isHidden(_ name: String) -> Bool { name.utf8.first == UInt8(ascii: ".") || name.utf8.first == UInt8(ascii: "_") }
    func fits(_ name: String, _ pattern: String?) -> Bool { !isHidden(name) && (pattern.map { $0 == "**" || matches(name, $0) } ?? true) }
    var patterns = wanted
    for folder in parts.dropLast() {
      guard fits(folder, patterns.first), patterns.count > 1 || patterns.first == "**" || isRecursive else { return false }
      if patterns.first != "**" { patterns = patterns.dropFirst() }
    }
    guard fits(file, patterns.first) else { return false }
    return patterns.count <= 1 || (patterns.first == "**" && patterns.count == 2 && matches(file, patterns.last ?? ""))
  }
}
