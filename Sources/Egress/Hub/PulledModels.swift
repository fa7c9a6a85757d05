// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation
import Glibc

/// What was pulled onto this machine: read from the two caches, whoever filled them. Asks nobody.
public struct PulledModels: Sendable {
  /// Behind a file's name: the URL that it came from.
  static let urlSuffix = ".url"
  static let partialSuffix = ".incomplete"
  private static let etagSuffix = ".etag"

  /// The cache that `huggingface_hub` keeps.
  public let hub: String
  /// Folder of files that came from URLs.
  public let urls: String

  public init(hub: String, urls: String) {
    self.hub = hub
    self.urls = urls
  }

  /// Where `HubPull` and `FilePull` put what they fetch.
  public init(environment: [String: String]) throws(PlatformError) {
    hub = try HubSettings(environment: environment).cache
    urls = Self.urlCache(environment)
  }

  /// Folder of files that come from URLs.
  public static func urlCache(_ environment: [String: String]) -> String {
    let caches = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 } ?? (environment["HOME"] ?? "") + "/.cache"
    return caches + "/platform/models"
  }

  // MARK: What is there

  /// Everything, by name: each revision of the hub's models, models of which only parts have come, and files of URLs.
  public func all() -> [PulledModel] {
    let models = Self.entries(hub).flatMap { folder in
      Self.hubName(folder).map { Self.revisions($0, hub + "/" + folder) } ?? []
    }
    return (models + Self.entries(urls).flatMap { Self.files(urls + "/" + $0) }).sorted { ($0.name, $0.commit ?? "") < ($1.name, $1.commit ?? "") }
  }

  /// Those that a name can mean: `hf:ORG/NAME` (also without `hf:`), with `@REVISION` one revision, a commit also by its first letters; a file's URL, path or name.
  /// - Throws: PLT-5223 for a name that is none of the hub's.
  public func named(_ text: String) throws(PlatformError) -> [PulledModel] {
    let all = all()
    let byURL = text.prefix { $0 != "?" }
    let files = all.filter { model in
      model.source == .url && (model.name == byURL || model.path == text || (model.name as NSString).lastPathComponent == text)
    }
    if !files.isEmpty || text.contains("://") { return files }
    // A path is one of what is listed, nothing else.
    if text.hasPrefix("/") { return all.filter { $0.path == text } }
    let reference = try HubReference(text)
    let revisions = all.filter { $0.source == .hub && $0.name == HubReference.prefix + reference.repository }
    guard text.contains("@") else { return revisions }
    let exact = revisions.filter { $0.commit == reference.revision || $0.refs.contains(reference.revision) }
    guard exact.isEmpty, reference.revision.utf8.count >= PulledModel.shortCommit else { return exact }
    return revisions.filter { $0.commit?.hasPrefix(reference.revision) == true }
  }

  /// `hf:ORG/NAME` of a cache's folder `models--ORG--NAME`; nil for what the hub would not name so.
  private static func hubName(_ folder: String) -> String? {
    let name = folder.dropFirst("models--".count).replacing("--", with: "/")
    guard folder.hasPrefix("models--"), let reference = try? HubReference(String(name)), reference.folder == folder else { return nil }  // somebody's folder
    return HubReference.prefix + reference.repository
  }

  private static func revisions(_ name: String, _ root: String) -> [PulledModel] {
    let partials = entries(root + "/blobs").filter { $0.hasSuffix(partialSuffix) }.map { root + "/blobs/" + $0 }
    let partialBytes = partials.reduce(Int64(0)) { $0 + (size($1) ?? 0) }
    let refs = walk(root + "/refs").compactMap { ref -> (name: String, commit: String)? in
      guard let data = FileManager.default.contents(atPath: root + "/refs/" + ref), data.count < 200 else { return nil }
      return (ref, String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
    }
    var found: [PulledModel] = []
    for commit in entries(root + "/snapshots") where isDirectory(root + "/snapshots/" + commit) {
      let snapshot = root + "/snapshots/" + commit
      let files = walk(snapshot).filter { !$0.contains(".tmp-") }.map { file in
        let path = snapshot + "/" + file
        return PulledModel.File(name: file, size: size(path), blob: blob(of: path, root))
      }
      found.append(
        PulledModel(
          source: .hub, name: name, root: root, path: snapshot, commit: commit, refs: refs.filter { $0.commit == commit }.map(\.name).sorted(), files: files,
          partials: [], partialBytes: 0, changedAt: changed(snapshot)))
    }
    guard !partials.isEmpty else { return found }
    // Parts belong to the model; nothing tells to which revision.
    if found.isEmpty {
      found = [
        PulledModel(
          source: .hub, name: name, root: root, path: nil, commit: nil, refs: [], files: [], partials: [], partialBytes: 0, changedAt: changed(partials[0]))
      ]
    }
    for index in found.indices { (found[index].partials, found[index].partialBytes) = (partials, partialBytes) }
    return found
  }

  /// Files of one URL's folder.
  private static func files(_ root: String) -> [PulledModel] {
    guard isDirectory(root) else { return [] }
    let names = entries(root)
    let models = names.compactMap { name -> String? in
      if name.hasSuffix(partialSuffix) {
        let whole = String(name.dropLast(partialSuffix.count))
        return whole.hasSuffix(etagSuffix) || names.contains(whole) ? nil : whole
      }
      return [etagSuffix, urlSuffix].contains { name.hasSuffix($0) && names.contains(String(name.dropLast($0.count))) } || name.hasSuffix(etagSuffix)
        || name.hasSuffix(urlSuffix) ? nil : name
    }
    return models.map { file in
      let path = root + "/" + file
      let url = FileManager.default.contents(atPath: path + urlSuffix).map { String(decoding: $0, as: UTF8.self) }
      let whole = size(path)
      let partial = size(path + partialSuffix)
      return PulledModel(
        source: .url, name: url.flatMap { $0.isEmpty ? nil : $0 } ?? file, root: root, path: whole == nil ? nil : path, commit: nil, refs: [],
        files: whole == nil ? [] : [.init(name: file, size: whole, blob: nil)], partials: partial == nil ? [] : [path + partialSuffix],
        partialBytes: partial ?? 0, changedAt: changed(whole == nil ? path + partialSuffix : path))
    }
  }

  // MARK: Files

  /// Names in a folder, sorted; none when there is no such folder.
  static func entries(_ folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()  // no folder: nothing in it
  }

  /// Paths of all files and links below a folder, from there. Links to folders are not followed.
  static func walk(_ folder: String) -> [String] {
    entries(folder).flatMap { name -> [String] in
      isDirectory(folder + "/" + name) ? walk(folder + "/" + name).map { name + "/" + $0 } : [name]
    }
  }

  /// A folder itself, not a link to one.
  static func isDirectory(_ path: String) -> Bool {
    var facts = stat()
    return lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
  }

  /// Bytes of the file that a path leads to; nil when there is none.
  private static func size(_ path: String) -> Int64? {
    var facts = stat()
    return stat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFREG ? Int64(facts.st_size) : nil
  }

  private static func changed(_ path: String) -> Date? {
    var facts = stat()
    guard lstat(path, &facts) == 0 else { return nil }
    return Date(timeIntervalSince1970: Double(facts.st_mtim.tv_sec) + Double(facts.st_mtim.tv_nsec) * 1e-9)
  }

  /// The path of the blob that a link of a snapshot leads to; nil for whatever lies elsewhere.
  private static func blob(of link: String, _ root: String) -> String? {
    guard let target = try? FileManager.default.destinationOfSymbolicLink(atPath: link) else { return nil }  // a plain file
    let parts = PathText.components(target)
    guard parts.count >= 2, parts[parts.count - 2] == "blobs", let name = parts.last, PathText.isInside(name) else { return nil }
    let blob = root + "/blobs/" + name
    var (there, meant) = (stat(), stat())
    // A link that leads nowhere has no blob to remove.
    guard stat(link, &there) == 0, lstat(blob, &meant) == 0, there.st_ino == meant.st_ino, there.st_dev == meant.st_dev else { return nil }
    return blob
  }
}
