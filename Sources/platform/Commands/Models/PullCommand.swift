// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Core
import Foundation

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
    let pulled = try await ModelSource(model).pull(include: include, sha256: sha256)
    if output.isStructured {
      return try Report.structured(
        Answer(
          path: pulled.path, commit: pulled.commit, files: pulled.files, fetchedFiles: pulled.fetchedFiles, fetchedBytes: pulled.fetchedBytes), output)
    }
    Report.note("\(Report.check) \(model): \(pulled.summary)")
    Report.data(pulled.path)
  }
}
