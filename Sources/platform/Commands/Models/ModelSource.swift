// SPDX-License-Identifier: Apache-2.0

import Core
import Egress
import Foundation
import Models

/// Where a model of this machine comes from: the hub, a URL, or a folder or file that is here.
enum ModelSource {
  case hub(HubReference)
  case url(String)
  case here(String)

  struct Pulled {
    /// Folder, or file.
    var path: String
    /// Of the hub.
    var commit: String?
    var files: [String]?
    var fetchedFiles = 0
    var fetchedBytes: Int64 = 0

    /// For people.
    var summary: String {
      fetchedFiles == 0 ? "already here" : "fetched \(fetchedFiles == 1 ? "1 file" : "\(fetchedFiles) files"), \(ByteText.of(fetchedBytes))"
    }
  }

  /// - Throws: `invalidArgument` for a name of the hub that is none.
  init(_ text: String) throws {
    if text.hasPrefix(HubReference.prefix) {
      self = .hub(try HubReference(text))
    } else {
      self = text.contains("://") ? .url(text) : .here(text)
    }
  }

  /// Brings the model onto this machine, unless it is there.
  /// - Parameters:
  ///   - include: which files of the hub's model; none: what a model in safetensors is read from.
  ///   - sha256: of the file of a URL.
  /// - Throws: `invalidArgument` PLT-5223 for what does not go with the source, `notFound`, and what fetching throws.
  func pull(include: [String], sha256: String? = nil) async throws -> Pulled {
    switch self {
    case .hub(let reference):
      guard sha256 == nil else { throw Self.refuse("--sha256 is for URLs; the hub tells the hashes of its files") }
      return try await Self.pull(reference, include)
    case .url(let text):
      guard include.isEmpty else { throw Self.refuse("--include is for models of the hub") }
      if let sha256, sha256.count != 64 || !sha256.allSatisfy(\.isHexDigit) {
        throw Self.refuse("--sha256 \(sha256.prefix(80)) is no SHA-256 in hexadecimal")
      }
      return try await Self.pull(text, sha256)
    case .here(let path):
      guard include.isEmpty, sha256 == nil else { throw Self.refuse("--include and --sha256 are for models that are fetched") }
      guard FileManager.default.fileExists(atPath: path) else {
        throw PlatformError(
          .notFound, "there is no folder or file '\(path)'", hint: "A model of the hub is hf:ORG/NAME.", number: "PLT-5223", path: path)
      }
      _ = try ModelArchitectures.isEncoder(directory: path)
      return Pulled(path: path)
    }
  }

  private static func pull(_ reference: HubReference, _ include: [String]) async throws -> Pulled {
    let environment = ProcessInfo.processInfo.environment
    let settings = try HubSettings(environment: environment)
    let client = try await client(settings.isOffline ? nil : settings.endpoint, environment)
    let progress = PullProgress()
    defer { progress.end() }
    let result = try await HubPull(settings: settings, client: client).run(reference, include: include, progress: progress.show)
    // One file is the model; several are a folder.
    let only = result.files.count == 1 && result.files[0].hasSuffix(".gguf") ? "/" + result.files[0] : ""
    return Pulled(
      path: result.path + only, commit: result.commit, files: result.files, fetchedFiles: result.fetchedFiles, fetchedBytes: result.fetchedBytes)
  }

  private static func pull(_ text: String, _ sha256: String?) async throws -> Pulled {
    let environment = ProcessInfo.processInfo.environment
    let url = try EgressURL(text)
    let progress = PullProgress()
    defer { progress.end() }
    let name = url.target.split(separator: "/").last.map { String($0) } ?? text
    let result = try await FilePull(client: client(url, environment), cache: PulledModels.urlCache(environment)).run(url, sha256: sha256?.lowercased()) {
      progress.show(name, $0, $1)
    }
    return Pulled(path: result.path, fetchedFiles: result.fetchedBytes == 0 ? 0 : 1, fetchedBytes: result.fetchedBytes)
  }

  /// Goes into the internet, and to whatever address the host has that the user named.
  private static func client(_ url: EgressURL?, _ environment: [String: String]) async throws -> EgressClient {
    var rules = try EgressRules(environment: environment)
    if let url {
      for address in try await HostResolver.addresses(of: url.host) { if let block = AddressBlock(address.description) { rules.allowed.append(block) } }
    }
    return EgressClient(rules: rules)
  }

  private static func refuse(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "PLT-5223") }
}

/// One line that is written over, on terminals only.
private final class PullProgress {
  private let isShown = isatty(2) == 1
  private var last = ContinuousClock.now
  private var width = 0

  func show(_ name: String, _ have: Int64, _ size: Int64?) {
    guard isShown, ContinuousClock.now - last > .milliseconds(500) else { return }
    last = .now
    let line = "\(name) \(ByteText.of(have))\(size.map { " of \(ByteText.of($0))" } ?? "")"
    StandardStreams.error("\r" + line + String(repeating: " ", count: max(0, width - line.count)))
    width = line.count
  }

  func end() { if width > 0 { StandardStreams.error("\r" + String(repeating: " ", count: width) + "\r") } }
}
