// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// Fetches one file from a URL into a folder of its own.
public struct FilePull: Sendable {
  public struct Result: Sendable, Equatable {
    public var path: String
    /// Over the network; 0 when the file was there.
    public var fetchedBytes: Int64
  }

  private let client: EgressClient
  private let cache: String

  /// - Parameters:
  ///   - client: its rules have to allow the URL's host.
  ///   - cache: folder of all files that come from URLs.
  public init(client: EgressClient, cache: String) {
    self.client = client
    self.cache = cache
  }

  /// - Parameter sha256: what the file must be; nil: its length and the server's mark of its version are all that is known.
  /// - Throws: as `HubPull.run`.
  public func run(_ url: EgressURL, sha256: String? = nil, progress: (Int64, Int64?) -> Void = { _, _ in }) async throws -> Result {
    let path = url.target.prefix { $0 != "?" }
    let last = path.split(separator: "/").last.map { String($0) } ?? ""
    let name = last.removingPercentEncoding ?? last
    guard !name.isEmpty, !PathText.isDots(name), !name.contains("/"), name.utf8.count <= 200, !name.utf8.contains(where: { $0 < 32 }) else {
      throw PlatformError(.invalidArgument, "the URL names no file", hint: "It should end with the file's name.", number: "PLT-5223")
    }
    let folder = "\(cache)/\(SHA256Digest.hex(url.text).prefix(16))"
    let target = folder + "/" + name
    let mark = target + ".etag"
    let (etag, size) = try await facts(url, name)
    if FileManager.default.fileExists(atPath: target) {
      let stored = FileManager.default.contents(atPath: mark).map { String(decoding: $0, as: UTF8.self) }
      let isSame = if let sha256 { try SHA256Digest.hex(contentsOf: target) == sha256 } else { etag != nil && stored == etag }
      if isSame { return Result(path: target, fetchedBytes: 0) }
    }
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    // Without its query, which may sign for somebody.
    try Data(url.text.prefix { $0 != "?" }.utf8).write(to: URL(fileURLWithPath: target + PulledModels.urlSuffix), options: .atomic)
    let partial = mark + ".incomplete"
    // Of another version nothing is gone on with.
    let isKnown = etag != nil || sha256 != nil
    if !isKnown || FileManager.default.contents(atPath: partial).map({ String(decoding: $0, as: UTF8.self) }) != etag ?? "" {
      try? FileManager.default.removeItem(atPath: target + ".incomplete")  // there may be none
      try Data((etag ?? "").utf8).write(to: URL(fileURLWithPath: partial), options: .atomic)
    }
    let download = FileDownload(name: name, url: url, size: size, promise: sha256.map { .sha256($0) } ?? .none, validator: etag)
    let fetched = try await download.run(client, to: target) { progress($0, size) }
    try Data((etag ?? "").utf8).write(to: URL(fileURLWithPath: mark), options: .atomic)
    try? FileManager.default.removeItem(atPath: partial)  // tells nothing any more
    return Result(path: target, fetchedBytes: fetched)
  }

  /// A strong mark of the version, and the length, as far as the server tells.
  private func facts(_ url: EgressURL, _ name: String) async throws -> (etag: String?, size: Int64?) {
    var here = url
    for _ in 0..<5 {
      var call = EgressClient.Call(here)
      call.method = "HEAD"
      call.headers = [("accept-encoding", "identity")]
      call.patience = .seconds(30)
      var seen: EgressClient.Head?
      try await client.download(call) { head in
        seen = head
        return false
      } body: { _ in
      }
      guard let head = seen else { continue }
      if (300..<400).contains(head.status), let location = head.first("location") {
        here = try here.redirected(to: location)
        continue
      }
      // Not every server answers HEAD: then the answer itself has to do.
      guard head.status != 405, head.status != 501 else { return (nil, nil) }
      guard head.status == 200 else { throw HubError.refused(name, head.status) }
      let etag = head.first("etag")
      return (etag.flatMap { $0.hasPrefix("W/") ? nil : $0 }, head.first("content-length").flatMap { Int64($0) })
    }
    throw HubError.refused(name, 310)
  }
}
