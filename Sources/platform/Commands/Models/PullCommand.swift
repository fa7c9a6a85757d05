// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Egress
import Foundation
import Models

/// `platform pull`: a model onto this machine.
struct PullCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pull", abstract: "Fetch a model from the hub or a URL onto this machine.",
    discussion: """
      hf:ORG/NAME fetches what a model in safetensors is read from, or with --include the files named, into the cache that huggingface_hub
      keeps; what is there is not fetched again. A URL fetches one file, such as a GGUF file. A folder or file of this machine is only looked at. The last
      line of the standard output is the model's path. Cut connections go on where they were, also after the command was ended; what came
      is held against the hashes that the hub tells.
      Environment: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.

      EXAMPLES
        platform pull hf:HuggingFaceTB/SmolLM2-135M
        platform pull hf:bartowski/SmolLM2-135M-Instruct-GGUF@main --include '*Q8_0.gguf'
        platform models import main.demo.smol "$(platform pull hf:HuggingFaceTB/SmolLM2-135M)"
      """)
  @Argument(help: "hf:ORG/NAME[@REVISION], a URL, or a folder or file of this machine.") var model: String
  @Option(help: "Files of the hub's model to fetch, as in '*Q4_0.gguf'. May be given several times.") var include: [String] = []
  @Option(name: .long, help: "SHA-256 that the file of a URL must have.") var sha256: String?
  @Option(name: [.short, .long], help: "text, wide, json, yaml, csv or name.") var output: OutputFormat = .text

  private struct Answer: Encodable {
    var path: String
    var commit: String?
    var files: [String]?
    var fetchedFiles: Int
    var fetchedBytes: Int64

    enum CodingKeys: String, CodingKey {
      case path, commit, files
      case fetchedFiles = "fetched_files"
      case fetchedBytes = "fetched_bytes"
    }
  }

  func run() async throws {
    let answer =
      if model.hasPrefix(HubReference.prefix) { try await fromHub() } else if model.contains("://") { try await fromURL() } else { try fromHere() }
    if output.isStructured { return try Report.structured(answer, output) }
    let fetched = "\(answer.fetchedFiles == 1 ? "1 file" : "\(answer.fetchedFiles) files"), \(ByteText.of(answer.fetchedBytes))"
    Report.note("\(Report.check) \(model): \(answer.fetchedFiles == 0 ? "already here" : "fetched \(fetched)")")
    Report.data(answer.path)
  }

  private func fromHub() async throws -> Answer {
    guard sha256 == nil else { throw refuse("--sha256 is for URLs; the hub tells the hashes of its files") }
    let environment = ProcessInfo.processInfo.environment
    let settings = try HubSettings(environment: environment)
    let client = try await client(settings.isOffline ? nil : settings.endpoint, environment)
    let progress = PullProgress()
    let result = try await HubPull(settings: settings, client: client).run(HubReference(model), include: include, progress: progress.show)
    progress.end()
    // One file is the model; several are a folder.
    let only = result.files.count == 1 && result.files[0].hasSuffix(".gguf") ? "/" + result.files[0] : ""
    return Answer(
      path: result.path + only, commit: result.commit, files: result.files, fetchedFiles: result.fetchedFiles, fetchedBytes: result.fetchedBytes)
  }

  private func fromURL() async throws -> Answer {
    guard include.isEmpty else { throw refuse("--include is for models of the hub") }
    if let sha256, sha256.count != 64 || !sha256.allSatisfy(\.isHexDigit) { throw refuse("--sha256 \(sha256.prefix(80)) is no SHA-256 in hexadecimal") }
    let environment = ProcessInfo.processInfo.environment
    let url = try EgressURL(model)
    let progress = PullProgress()
    let name = url.target.split(separator: "/").last.map { String($0) } ?? model
    let result = try await FilePull(client: client(url, environment), cache: PulledModels.urlCache(environment)).run(url, sha256: sha256?.lowercased()) {
      progress.show(name, $0, $1)
    }
    progress.end()
    return Answer(path: result.path, fetchedFiles: result.fetchedBytes == 0 ? 0 : 1, fetchedBytes: result.fetchedBytes)
  }

  private func fromHere() throws -> Answer {
    guard include.isEmpty, sha256 == nil else { throw refuse("--include and --sha256 are for models that are fetched") }
    guard FileManager.default.fileExists(atPath: model) else {
      throw PlatformError(
        .notFound, "there is no folder or file '\(model)'", hint: "A model of the hub is hf:ORG/NAME.", number: "PLT-5223", path: model)
    }
    _ = try ModelArchitectures.isEncoder(directory: model)
    return Answer(path: model, fetchedFiles: 0, fetchedBytes: 0)
  }

  /// Goes into the internet, and to whatever address the host has that the user named.
  private func client(_ url: EgressURL?, _ environment: [String: String]) async throws -> EgressClient {
    var rules = try EgressRules(environment: environment)
    if let url {
      for address in try await HostResolver.addresses(of: url.host) { if let block = AddressBlock(address.description) { rules.allowed.append(block) } }
    }
    return EgressClient(rules: rules)
  }

  private func refuse(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "PLT-5223") }
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
