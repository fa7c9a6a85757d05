// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// Where the hub is, who asks, and where its files are kept: as `huggingface_hub` reads its environment.
public struct HubSettings: Sendable {
  /// `HF_ENDPOINT`.
  public var endpoint: EgressURL
  /// `HF_TOKEN`, or what `hf auth login` has stored.
  public var token: String?
  /// `HF_HUB_CACHE`, or `hub` in `HF_HOME`.
  public var cache: String
  /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
  public var isOffline: Bool

  /// - Throws: `invalidArgument` PLT-4307 for a bad endpoint.
  public init(environment: [String: String]) throws(PlatformError) {
    func value(_ names: String...) -> String? { names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty } }
    func expanded(_ path: String) -> String { path.hasPrefix("~/") ? (environment["HOME"] ?? "") + path.dropFirst(1) : path }
    let caches = expanded(value("XDG_CACHE_HOME") ?? "~/.cache")
    let home = expanded(value("HF_HOME") ?? caches + "/huggingface")
    cache = expanded(value("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") ?? home + "/hub")
    var address = value("HF_ENDPOINT") ?? "https://huggingface.co"
    while address.hasSuffix("/") { address.removeLast() }
    endpoint = try EgressURL(address)
    let stored = FileManager.default.contents(atPath: expanded(value("HF_TOKEN_PATH") ?? home + "/token")).map { String(decoding: $0, as: UTF8.self) }
    let found = (value("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") ?? stored ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
    // What cannot stand in a header is no token.
    token = found.isEmpty || !found.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) ? nil : found
    isOffline = ["1", "on", "yes", "true"].contains((value("HF_HUB_OFFLINE") ?? value("TRANSFORMERS_OFFLINE") ?? "").lowercased())
  }
}
