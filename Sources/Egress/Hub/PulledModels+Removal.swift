// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

extension PulledModels {
  /// What goes when a pulled model is removed.
  public struct Removal: Sendable, Equatable {
    /// Files, links and folders, in the order in which they go: what names a model before what it is made of.
    public var paths: [String] = []
    public var bytes: Int64 = 0
    /// Blobs that other revisions use as well, which stay.
    public var sharedBlobs = 0
    /// Paths of other users of this machine.
    public var foreign: [String] = []
    fileprivate var locks: [String] = []
    fileprivate var root = ""
  }

  /// What would go. Blobs that another revision links to stay; with the last revision the model's folder goes as a whole.
  /// - Parameter models: revisions of one model of the hub, or one file.
  public func removal(of models: [PulledModel]) -> Removal {
    var removal = Removal()
    guard let first = models.first else { return removal }
    removal.root = first.root
    let others = first.source == .hub ? all().filter { $0.root == first.root && $0.commit != nil && !models.contains($0) } : []
    if first.source == .url {
      for model in models {
        let path = model.path ?? String((model.partials.first ?? "").dropLast(Self.partialSuffix.count))
        removal.paths += [path, path + ".incomplete", path + ".etag", path + ".etag.incomplete", path + ".url"].filter { Self.isThere($0) }
      }
    } else if others.isEmpty {
      removal.paths = ["/refs", "/snapshots", "/blobs"].map { first.root + $0 }.filter { Self.isThere($0) } + [first.root]
      removal.locks = first.partials
    } else {
      let kept = Set(others.flatMap { $0.files.compactMap(\.blob) })
      let blobs = Set(models.flatMap { $0.files.compactMap(\.blob) })
      removal.sharedBlobs = blobs.intersection(kept).count
      removal.paths = models.flatMap { model in model.refs.map { first.root + "/refs/" + $0 } } + models.compactMap(\.path) + blobs.subtracting(kept).sorted()
    }
    let everything = others.isEmpty && first.source == .hub ? Self.below(first.root) : removal.paths.flatMap { Self.below($0) }
    removal.bytes = everything.reduce(0) { $0 + Self.ownSize($1) }
    removal.locks += removal.paths.filter { $0.hasSuffix(Self.partialSuffix) }
    removal.foreign = everything.filter { Self.isForeign($0) }
    return removal
  }

  /// A path with everything below it.
  private static func below(_ path: String) -> [String] { [path] + walk(path).map { path + "/" + $0 } }

  /// Only what has come in part.
  public func removalOfPartials(_ models: [PulledModel]) -> Removal {
    var removal = Removal()
    removal.root = models.first?.root ?? ""
    removal.paths = Array(Set(models.flatMap(\.partials))).sorted()
    removal.bytes = removal.paths.reduce(0) { $0 + Self.ownSize($1) }
    removal.locks = removal.paths
    removal.foreign = removal.paths.filter { Self.isForeign($0) }
    return removal
  }

  /// Removes it.
  /// - Throws: PLT-5226 when a part of it is being fetched; PLT-4542 when the model's folder is a link, or nothing can be removed there.
  public func remove(_ removal: Removal) throws {
    guard Self.isDirectory(removal.root) else {
      throw PlatformError(
        .invalidArgument, "the model's folder is a link to another place, which is left alone", hint: "Remove the link, or what it leads to.",
        number: "PLT-4542", path: removal.root)
    }
    var held: [Int32] = []
    defer { for descriptor in held { close(descriptor) } }
    for path in removal.locks {
      let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
      guard descriptor >= 0 else { continue }  // it has come meanwhile
      held.append(descriptor)
      guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
        throw PlatformError(.conflict, "another process is fetching it", hint: "Wait for it, or end it, then try again.", number: "PLT-5226", path: path)
      }
    }
    for path in removal.paths where Self.isThere(path) {
      do {
        try FileManager.default.removeItem(atPath: path)  // a link itself, not what it leads to
      } catch {
        throw PlatformError(
          .permissionDenied, "it cannot be removed: \(JSONValue.reason(error))", hint: "Ask its owner.", number: "PLT-4542", path: path)
      }
    }
    // Folders of branches like `v2/x`, and that of a URL, when they are empty now.
    for folder in Set(removal.paths.map { ($0 as NSString).deletingLastPathComponent }) where folder.hasPrefix(removal.root + "/refs/") { rmdir(folder) }
    rmdir(removal.root)
  }

  private static func isThere(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) == 0
  }

  private static func ownSize(_ path: String) -> Int64 {
    var facts = stat()
    return lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG ? Int64(facts.st_size) : 0
  }

  private static func isForeign(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) == 0 && facts.st_uid != geteuid()
  }
}

extension PulledModel {
  /// Files whose bytes are no longer what the hub named them by, and how many could be held against a name at all.
  /// - Parameter progress: each file, before it is read.
  public func verify(progress: (String) -> Void = { _ in }) throws -> (checked: Int, broken: [String]) {
    var checked = 0
    var broken: [String] = []
    for file in files {
      guard let blob = file.blob, let name = PathText.components(blob).last, file.size != nil else { continue }
      progress(file.name)
      let found: String
      switch name.utf8.count {
      case 64: found = try SHA256Digest.hex(contentsOf: blob)
      case 40:
        let content = try Data(contentsOf: URL(fileURLWithPath: blob), options: .alwaysMapped)
        var digest = GitBlobDigest(size: Int64(content.count))
        content.withUnsafeBytes { digest.update($0) }
        found = digest.finish().hexadecimal
      default: continue
      }
      checked += 1
      if found != name { broken.append(file.name) }
    }
    return (checked, broken)
  }
}
