// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import Models

/// A model folder, GGUF file or adapter of this machine that becomes a version of a registered model.
struct ModelRegistration {
  private let kind: String
  private let files: [(source: String, name: String)]
  private let bytes: Int64

  /// - Throws: for what no replica can use.
  init(directory: String) throws {
    kind = try Self.kind(directory)
    files = try Self.files(directory)
    bytes = files.reduce(into: 0) { sum, file in
      let path = URL(fileURLWithPath: file.source).resolvingSymlinksInPath().path
      sum += ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int64) ?? 0  // copying tells what cannot be read
    }
  }

  /// For people.
  var summary: String { "\(kind), \(files.count == 1 ? "1 file" : "\(files.count) files"), \(ByteText.of(bytes))" }

  /// Copies the files into the platform's storage. The model is made when there is none of that name.
  /// - Returns: the version, which is ready.
  /// - Throws: `invalidArgument` PLT-3001 for the name, `unavailable` PLT-5202 when the storage is not of this machine.
  func register(_ name: String, comment: String?, client: PlatformClient) async throws -> ModelVersionInfo {
    let parts = try CatalogCalls.split(name, 3, "catalog.schema.model")
    do {
      let made: RegisteredModelInfo = try await client.post(
        CatalogCalls.base + "/models", CreateObjectRequest(name: parts[2], catalogName: parts[0], schemaName: parts[1], comment: nil))
      Report.note("\(Report.check) model \(made.facts.fullName) created")
    } catch let error as PlatformError where error.code == .alreadyExists {
      // A version more of the one that is there.
    }
    let pending: ModelVersionInfo = try await client.post(
      CatalogCalls.base + "/models/versions", CreateModelVersionRequest(model: parts[2], schema: parts[1], catalog: parts[0], comment: comment))
    let version = "models/\(segment(name))/versions"
    do {
      try Self.copy(files, to: CatalogCalls.path(pending.storageLocation))
      return try await client.patch("\(CatalogCalls.base)/\(version)/\(pending.version)/finalize", JSONValue.object([:]))
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

  private static func copy(_ files: [(source: String, name: String)], to target: String) throws {
    guard FileManager.default.fileExists(atPath: target) else {
      throw PlatformError(
        .unavailable, "the platform's storage cannot be reached from here", hint: "Run the command on the coordinator's machine.",
        number: "PLT-5202", path: target)
    }
    for (path, name) in files {
      // Folders of a hub's cache hold links to the files.
      let source = URL(fileURLWithPath: path).resolvingSymlinksInPath()
      let destination = URL(fileURLWithPath: target + "/" + name)
      do {
        try FileManager.default.createDirectory(at: destination.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(at: source, to: destination)
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: destination.path)
      } catch {
        throw PlatformError(.unavailable, "'\(name)' cannot be copied: \(error.localizedDescription)", number: "PLT-5202", path: destination.path)
      }
    }
  }
}
