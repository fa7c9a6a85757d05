// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation
import Models

extension ModelsCommand {
  struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Register a model folder of this machine as a new version.",
      discussion: """
        DIR is a folder in Hugging Face layout with config.json, safetensors and tokenizer.json, a GGUF file, or a LoRA adapter in PEFT's layout. Its files are copied into the platform's storage,
        which has to be reachable from here: run the command on the coordinator's machine. The model is made when there is none of that name.
        Serve it with a task 'deploy_task: { endpoint: NAME, model: catalog.schema.model }' of a workflow; adapters are its 'adapters'.
        """)
    @Argument(help: "catalog.schema.model") var name: String
    @Argument(help: ArgumentHelp("Folder of the model, or a GGUF file.", valueName: "dir")) var directory: String
    @Option(help: "What the version is.") var comment: String?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let parts = try CatalogCalls.split(name, 3, "catalog.schema.model")
      let what = try Self.kind(directory)
      let files = try Self.files(directory)
      let client = try options.client()
      do {
        let made: RegisteredModelInfo = try await client.post(
          CatalogCalls.base + "/models", CreateObjectRequest(name: parts[2], catalogName: parts[0], schemaName: parts[1], comment: nil))
        Report.note("\(Report.check) model \(made.facts.fullName) created")
      } catch let error as PlatformError where error.code == .alreadyExists {
        // A version more of the one that is there.
      }
      let pending: ModelVersionInfo = try await client.post(
        CatalogCalls.base + "/models/versions",
        CreateModelVersionRequest(model: parts[2], schema: parts[1], catalog: parts[0], comment: comment))
      let version = "models/\(segment(name))/versions"
      do {
        let bytes = try Self.copy(files, to: CatalogCalls.path(pending.storageLocation))
        let ready: ModelVersionInfo = try await client.patch("\(CatalogCalls.base)/\(version)/\(pending.version)/finalize", JSONValue.object([:]))
        if options.output.isStructured { return try Report.structured(ready, options.output) }
        Report.note(
          "\(Report.check) \(name) version \(ready.version): \(what), \(files.count == 1 ? "1 file" : "\(files.count) files"), \(ByteText.of(bytes))"
        )
      } catch {
        _ = try? await CatalogCalls.delete(client, version, "\(pending.version)")  // else it ends as failed by itself after a day
        throw error
      }
    }

    /// What the folder holds, for people.
    /// - Throws: for what no replica can use.
    private static func kind(_ directory: String) throws -> String {
      if LoRAAdapter.isAdapter(directory: directory) {
        try LoRAAdapter.check(directory: directory)
        return "a LoRA adapter"
      }
      guard try ModelArchitectures.isEncoder(directory: directory) else { return "a language model" }
      return try ModelArchitectures.isCrossEncoder(directory: directory) ? "a cross-encoder" : "an encoder"
    }

    /// What a replica reads: configurations, weights, tokenizer, template, pooling. Paths inside the folder, sorted.
    private static func files(_ directory: String) throws -> [(source: String, name: String)] {
      if let file = ModelFile.gguf(directory) { return [(file, "model.gguf")] }
      let kinds: Set = ["json", "safetensors", "txt", "jinja", "model"]
      func names(_ folder: String) throws -> [String] {
        do {
          return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        } catch {
          throw PlatformError(.notFound, "the folder cannot be read: \(error.localizedDescription)", number: "PLT-5202", path: folder)
        }
      }
      var found: [String] = []
      for name in try names(directory) {
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: directory + "/" + name, isDirectory: &isDirectory) else { continue }
        if !isDirectory.boolValue {
          if kinds.contains((name as NSString).pathExtension) { found.append(name) }
        } else if name.first?.isNumber == true, FileManager.default.fileExists(atPath: "\(directory)/\(name)/config.json") {
          found.append(name + "/config.json")  // modules of sentence-transformers
        }
      }
      guard found.contains(where: { $0.hasSuffix(".safetensors") }) else {
        throw PlatformError(
          .notFound, "the folder has no safetensors", hint: "Convert other weight formats to safetensors first.", number: "PLT-4101", path: directory)
      }
      return found.map { (directory + "/" + $0, $0) }
    }

    private static func copy(_ files: [(source: String, name: String)], to target: String) throws -> Int64 {
      guard FileManager.default.fileExists(atPath: target) else {
        throw PlatformError(
          .unavailable, "the platform's storage cannot be reached from here", hint: "Run the command on the coordinator's machine.",
          number: "PLT-5202", path: target)
      }
      var bytes: Int64 = 0
      for (path, name) in files {
        // Folders of a hub's cache hold links to the files.
        let source = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        let destination = URL(fileURLWithPath: target + "/" + name)
        do {
          try FileManager.default.createDirectory(at: destination.deletingLastPathComponent(), withIntermediateDirectories: true)
          try FileManager.default.copyItem(at: source, to: destination)
          try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: destination.path)
          bytes += (try FileManager.default.attributesOfItem(atPath: destination.path)[.size] as? Int64) ?? 0
        } catch {
          throw PlatformError(.unavailable, "'\(name)' cannot be copied: \(error.localizedDescription)", number: "PLT-5202", path: destination.path)
        }
      }
      return bytes
    }
  }
}
