// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Glibc

/// Fetches models from the hub into the cache that `huggingface_hub` keeps, in its layout: `blobs` named by what they hold, `snapshots`
/// of links to them, `refs` from branches to commits. What either has fetched, the other finds.
public struct HubPull: Sendable {
  public struct Result: Sendable, Equatable {
    /// The snapshot's folder.
    public var path: String
    public var commit: String
    public var files: [String]
    /// Files and bytes that came over the network; the others were there.
    public var fetchedFiles = 0
    public var fetchedBytes: Int64 = 0
  }

  /// What the hub says about one file.
  private struct Facts {
    var etag: String
    var size: Int64?
  }

  private static let listLimit = 32 << 20
  private static let filesMax = 10_000

  private let settings: HubSettings
  private let client: EgressClient

  /// - Parameter client: its rules have to allow the endpoint.
  public init(settings: HubSettings, client: EgressClient) {
    self.settings = settings
    self.client = client
  }

  /// - Parameters:
  ///   - include: patterns of file names (`*.gguf`); empty: what models in safetensors are read from.
  ///   - progress: the file, its bytes that are there, and all of them if that is known.
  /// - Throws: PLT-5222 when the hub does not give it, PLT-5224 when something came otherwise than promised, PLT-5225 when it is not in
  ///   the cache and the hub is not asked, PLT-4309 when the hub does not answer.
  public func run(
    _ reference: HubReference, include: [String] = [], progress: (String, Int64, Int64?) -> Void = { _, _, _ in }
  ) async throws -> Result {
    let root = settings.cache + "/" + reference.folder
    guard !settings.isOffline else { return try cached(reference, root, include) }
    let (commit, names) = try await list(reference)
    let chosen = try Self.choose(names, include, reference)
    let snapshot = root + "/snapshots/" + commit
    var result = Result(path: snapshot, commit: commit, files: chosen)
    for name in chosen {
      let pointer = snapshot + "/" + name
      guard !FileManager.default.fileExists(atPath: pointer) else { continue }  // a link to what is not there does not exist
      let url = try address("/\(reference.repository)/resolve/\(commit)/\(Self.escaped(name))")
      let facts = try await facts(url, name)
      let blob = root + "/blobs/" + facts.etag
      try Self.makeFolder(root + "/blobs")
      if !FileManager.default.fileExists(atPath: blob) {
        let promise: FileDownload.Promise =
          Self.isHexadecimal(facts.etag, 64) ? .sha256(facts.etag) : Self.isHexadecimal(facts.etag, 40) ? .gitBlob(facts.etag) : .none
        let download = FileDownload(name: name, url: url, token: settings.token, size: facts.size, promise: promise)
        result.fetchedBytes += try await download.run(client, to: blob) { progress(name, $0, facts.size) }
        result.fetchedFiles += 1
      }
      try Self.link(pointer, to: String(repeating: "../", count: 2 + name.count { $0 == "/" }) + "blobs/" + facts.etag)
    }
    if !reference.isCommit { try Self.write(commit, to: root + "/refs/" + reference.revision) }
    return result
  }

  /// The snapshot in the cache, without a word to the hub.
  private func cached(_ reference: HubReference, _ root: String, _ include: [String]) throws -> Result {
    func missing(_ what: String) -> PlatformError {
      PlatformError(
        .notFound, "\(what), and HF_HUB_OFFLINE keeps from asking the hub", hint: "Unset it, or bring the cache.", number: "PLT-5225", path: root)
    }
    let stored =
      reference.isCommit
      ? reference.revision
      : FileManager.default.contents(atPath: root + "/refs/" + reference.revision).map {
        String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
      }
    guard let commit = stored, Self.isHexadecimal(commit, 40) else { throw missing("'\(reference.repository)' is not in the cache") }
    let snapshot = root + "/snapshots/" + commit
    guard let found = FileManager.default.enumerator(atPath: snapshot) else { throw missing("'\(reference.repository)' is not in the cache") }
    var names: [String] = []
    for case let name as String in found {
      var isDirectory: ObjCBool = false
      guard FileManager.default.fileExists(atPath: snapshot + "/" + name, isDirectory: &isDirectory) else { throw missing("'\(name)' is not in the cache") }
      if !isDirectory.boolValue { names.append(name) }
    }
    return Result(path: snapshot, commit: commit, files: try Self.choose(names.sorted(), include, reference))
  }

  // MARK: What the hub says

  private func list(_ reference: HubReference) async throws -> (commit: String, names: [String]) {
    var call = EgressClient.Call(try address("/api/models/\(reference.repository)/revision/\(reference.revision.replacing("/", with: "%2F"))"))
    call.method = "GET"
    call.headers = authorization
    call.patience = .seconds(30)
    call.answerLimit = Self.listLimit
    let answer = try await client.send(call)
    guard answer.status == 200 else { throw HubError.refused("\(reference.repository)@\(reference.revision)", answer.status) }
    func bad(_ what: String) -> PlatformError { PlatformError(.invalidFile, "the hub's list of files \(what)", number: "PLT-5224") }
    let json: JSONValue
    do {
      json = try JSONValue(parsing: answer.body)
    } catch {
      throw bad("is no JSON")
    }
    guard let commit = json["sha"]?.stringValue, Self.isHexadecimal(commit, 40) else { throw bad("names no commit") }
    guard let siblings = json["siblings"]?.arrayValue, siblings.count <= Self.filesMax else { throw bad("is missing or too long") }
    let names = try siblings.map { sibling -> String in
      guard let name = sibling["rfilename"]?.stringValue, PathText.isInside(name), !name.utf8.contains(0) else {
        throw bad("holds '\(sibling["rfilename"]?.sortedText.prefix(100) ?? "")', which leaves its folder")
      }
      return name
    }
    return (commit, names)
  }

  private func facts(_ url: EgressURL, _ name: String) async throws -> Facts {
    var here = url
    for _ in 0..<5 {
      var call = EgressClient.Call(here)
      call.method = "HEAD"
      call.headers = authorization + [("accept-encoding", "identity")]
      call.patience = .seconds(30)
      var seen: EgressClient.Head?
      try await client.download(call) { head in
        seen = head
        return false
      } body: { _ in
      }
      guard let head = seen else { continue }
      let isRedirect = (300..<400).contains(head.status)
      // Models that were renamed are elsewhere on the same host; what another host has is told before it is asked.
      if isRedirect, head.first("x-linked-etag") == nil, let location = head.first("location"), location.hasPrefix("/"), !location.hasPrefix("//") {
        here = try here.redirected(to: location)
        continue
      }
      guard head.status == 200 || isRedirect else { throw HubError.refused(name, head.status) }
      let etag = (head.first("x-linked-etag") ?? head.first("etag") ?? "").replacing("W/", with: "").trimmingCharacters(in: ["\""])
      guard (1...128).contains(etag.utf8.count), etag.utf8.allSatisfy({ (48...57).contains($0) || (97...122).contains($0 | 32) || $0 == 45 }) else {
        throw PlatformError(.invalidFile, "the hub does not say which content '\(name)' has", number: "PLT-5224")
      }
      let size = (head.first("x-linked-size") ?? (isRedirect ? nil : head.first("content-length"))).flatMap { Int64($0) }
      return Facts(etag: etag, size: size.flatMap { $0 >= 0 ? $0 : nil })
    }
    throw HubError.refused(name, 310)
  }

  private var authorization: [(name: String, value: String)] { settings.token.map { [("authorization", "Bearer \($0)")] } ?? [] }

  private func address(_ path: String) throws -> EgressURL { try EgressURL(settings.endpoint.text.trimmingSuffix("/") + path, limit: 4096) }

  private static func escaped(_ name: String) -> String {
    name.split(separator: "/").map { part in
      part.utf8.map { byte in
        (48...57).contains(byte) || (97...122).contains(byte | 32) || [45, 46, 95, 126].contains(byte)
          ? String(UnicodeScalar(byte)) : "%" + [byte].hexadecimal.uppercased()
      }.joined()
    }.joined(separator: "/")
  }

  // MARK: Which files

  /// What a model in safetensors is read from: files of the top folder, and the modules of sentence-transformers in numbered folders.
  private static func choose(_ names: [String], _ include: [String], _ reference: HubReference) throws -> [String] {
    let chosen = names.filter { name in
      guard include.isEmpty else { return include.contains { fnmatch($0, name, 0) == 0 } }
      let parts = name.split(separator: "/")
      guard parts.count == 1 || parts.count == 2 && parts[0].first?.isNumber == true, let file = parts.last else { return false }
      return ["json", "safetensors", "txt", "jinja", "model"].contains { file.hasSuffix("." + $0) } && !file.hasPrefix("consolidated")
    }
    if include.isEmpty, !chosen.contains(where: { $0.hasSuffix(".safetensors") }) {
      let files = names.filter { $0.hasSuffix(".gguf") }
      throw PlatformError(
        .notFound, "'\(reference.repository)' has no safetensors",
        hint: files.isEmpty ? "" : "Take one of its GGUF files with --include: \(files.prefix(8).joined(separator: ", ")).", number: "PLT-5222")
    }
    guard !chosen.isEmpty else {
      throw PlatformError(.notFound, "'\(reference.repository)' has no file like \(include.joined(separator: ", "))", number: "PLT-5222")
    }
    return chosen
  }

  // MARK: The cache

  private static func isHexadecimal(_ text: String, _ count: Int) -> Bool {
    text.utf8.count == count && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }

  private static func makeFolder(_ path: String) throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  private static func link(_ path: String, to target: String) throws {
    try makeFolder((path as NSString).deletingLastPathComponent)
    let temporary = path + ".tmp-\(getpid())"
    unlink(temporary)
    guard symlink(target, temporary) == 0, rename(temporary, path) == 0 else { throw PlatformError.system("write", path) }
  }

  private static func write(_ text: String, to path: String) throws {
    try makeFolder((path as NSString).deletingLastPathComponent)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}

extension String {
  fileprivate func trimmingSuffix(_ suffix: Character) -> String { last == suffix ? String(dropLast()) : self }
}
