// SPDX-License-Identifier: Apache-2.0

import Core
import Egress
import Foundation
import Models

/// What `models list`, `get` and `delete` do with models that were pulled onto this machine. No cluster is asked.
enum PulledModelsCommands {
  /// Whether a name is that of something pulled: registered models are `catalog.schema.model`.
  static func isPulled(_ name: String) -> Bool {
    name.hasPrefix(HubReference.prefix) || name.contains("/") || name.lowercased().hasSuffix(".gguf") || name.split(separator: ".").count != 3
  }

  /// One revision or file, for programs.
  struct Info: Encodable {
    var name: String
    var source: PulledModel.Source
    var path: String?
    var revision: String?
    var refs: [String]
    var kind: String?
    var architecture: String?
    var parameters: Int?
    var dtype: String?
    var contextLength: Int?
    var sizeBytes: Int64
    var files: [String]
    var missingFiles: [String]
    var partialBytes: Int64
    var changedAt: Date?
    var problem: String?
    /// Only after `--verify`.
    var verifiedFiles: Int?
    var brokenFiles: [String]?

    enum CodingKeys: String, CodingKey {
      case name, source, path, revision, refs, kind, architecture, parameters, dtype, files, problem
      case contextLength = "context_length"
      case sizeBytes = "size_bytes"
      case missingFiles = "missing_files"
      case partialBytes = "partial_bytes"
      case changedAt = "changed_at"
      case verifiedFiles = "verified_files"
      case brokenFiles = "broken_files"
    }

    init(_ model: PulledModel) {
      let summary = model.path.map { ModelSummary(path: $0) } ?? ModelSummary()
      name = model.reference
      (shortName, shortRevision) = (model.shortReference, model.shortRevision ?? "-")
      source = model.source
      path = model.path
      revision = model.commit
      refs = model.refs
      (kind, architecture, parameters) = (summary.kind, summary.architecture, summary.parameters)
      (dtype, contextLength) = (summary.dtype, summary.contextLength)
      sizeBytes = model.sizeBytes
      files = model.files.map(\.name)
      missingFiles = model.missing
      partialBytes = model.partialBytes
      changedAt = model.changedAt
      problem = model.path == nil ? "only a part has come; 'platform pull \(model.name)' goes on" : summary.problem
    }

    var size: String {
      let whole = path == nil ? nil : ByteText.of(sizeBytes)
      return [whole, partialBytes > 0 ? "\(ByteText.of(partialBytes)) in part" : nil].compactMap { $0 }.joined(separator: " + ")
    }
    /// For people.
    var shortName: String
    var shortRevision: String
  }

  private struct List: Encodable {
    var pulledModels: [Info]
    enum CodingKeys: String, CodingKey { case pulledModels = "pulled_models" }
  }

  private static func models() throws -> PulledModels { try PulledModels(environment: ProcessInfo.processInfo.environment) }

  // MARK: list

  static let header = ["PULLED", "KIND", "ARCHITECTURE", "PARAMETERS", "DTYPE", "SIZE", "REVISION", "FETCHED"]

  /// - Returns: whether there was anything to show.
  @discardableResult
  static func list(_ output: OutputFormat) throws -> Bool {
    let all = try models().all()
    if output == .name {
      for one in all { Report.data(one.reference) }
      return !all.isEmpty
    }
    if output.isStructured {
      try Report.structured(List(pulledModels: all.map { Info($0) }), output)
      return true
    }
    let rows = try rows()
    show(rows, output)
    return !rows.isEmpty
  }

  /// For people: what has come in part is told once a model.
  static func rows() throws -> [Info] {
    var seen: Set<String> = []
    return try models().all().map { model in
      var info = Info(model)
      if model.source == .hub, !seen.insert(model.root).inserted { info.partialBytes = 0 }
      return info
    }
  }

  static func show(_ infos: [Info], _ output: OutputFormat) {
    guard !infos.isEmpty else { return }
    Report.table(
      header + (output == .wide ? ["PATH"] : []),
      infos.map { one in
        [
          one.shortName, one.kind ?? "-", one.architecture ?? "-", one.parameters.map { ModelSummary.short($0) } ?? "-", one.dtype ?? "-", one.size,
          one.shortRevision, one.changedAt.map { Report.ago($0) } ?? "-",
        ] + (output == .wide ? [one.path ?? "-"] : [])
      })
  }

  // MARK: get

  static func get(_ name: String, verify: Bool, _ output: OutputFormat) throws {
    let found = try find(name)
    var infos = found.map { Info($0) }
    if verify {
      for (index, model) in found.enumerated() {
        let result = try model.verify { if !output.isStructured { Report.note("reading \($0)") } }
        (infos[index].verifiedFiles, infos[index].brokenFiles) = (result.checked, result.broken)
      }
    }
    if output == .name {
      for one in infos { Report.data(one.name) }
    } else if output.isStructured {
      try Report.structured(List(pulledModels: infos), output)
    } else {
      for (index, one) in infos.enumerated() {
        if index > 0 { Report.data("") }
        show(one)
      }
      if infos.count == 1, let path = infos[0].path, infos[0].kind != nil, infos[0].missingFiles.isEmpty {
        Report.note("Serve it: platform models import CATALOG.SCHEMA.MODEL \(path)   and a deploy_task")
      }
    }
    let broken = infos.flatMap { $0.brokenFiles ?? [] }
    guard broken.isEmpty else {
      throw PlatformError(
        .invalidFile, "\(broken.joined(separator: ", ")) of '\(name)' \(broken.count == 1 ? "is" : "are") not what the hub has under that hash",
        hint: "Remove it and pull it again: platform models delete \(name)", number: "PLT-4544")
    }
  }

  private static func show(_ one: Info) {
    let verified = one.verifiedFiles.map { count in
      let broken = one.brokenFiles ?? []
      let unknown = one.files.count - count
      return "\(count - broken.count) of \(one.files.count) have the hash that the hub told"
        + (broken.isEmpty ? "" : "; not so: \(broken.joined(separator: ", "))") + (unknown > 0 ? "; of \(unknown) no hash is known" : "")
    }
    CatalogCalls.show([
      ("name", one.name), ("kind", one.kind ?? ""), ("architecture", one.architecture ?? ""),
      ("parameters", one.parameters.map { "\(ModelSummary.short($0)) (\($0))" } ?? ""), ("dtype", one.dtype ?? ""),
      ("context", one.contextLength.map { "\($0) tokens" } ?? ""), ("size", one.size), ("revision", one.revision ?? ""),
      ("branches", one.refs.joined(separator: " ")), ("files", one.files.joined(separator: " ")),
      ("missing", one.missingFiles.joined(separator: " ")), ("verified", verified ?? ""), ("fetched", one.changedAt?.formatted(.iso8601) ?? ""),
      ("path", one.path ?? ""), ("problem", one.problem ?? ""),
    ])
  }

  // MARK: delete

  struct DeleteOptions {
    var allRevisions = false
    var partial = false
    var force = false
    var yes = false
  }

  static func delete(_ name: String, _ options: DeleteOptions) throws {
    let models = try models()
    let found = try find(name)
    if options.partial {
      let removal = models.removalOfPartials(found)
      guard !removal.paths.isEmpty else { return Report.note("Nothing of \(name) has come in part.") }
      return try remove(removal, "\(ByteText.of(removal.bytes)) of \(name) that have come in part", name, "what had come of \(name) in part", models, options)
    }
    let isSeveral = found.count > 1
    guard !isSeveral || options.allRevisions, Set(found.map(\.root)).count == 1 else {
      throw PlatformError(
        .conflict, "'\(name)' is several: \(found.map { $0.source == .hub ? $0.shortReference : $0.path ?? $0.name }.joined(separator: ", "))",
        hint: found[0].source == .hub ? "Name one of them, or add --all-revisions." : "Name one by its path or URL.", number: "PLT-4543")
    }
    let removal = models.removal(of: found)
    let what = isSeveral ? "all \(found.count) revisions of \(name)" : found[0].shortReference
    try remove(removal, "\(what) from this machine (\(ByteText.of(removal.bytes)))", name, name, models, options)
  }

  private static func remove(
    _ removal: PulledModels.Removal, _ what: String, _ name: String, _ gone: String, _ models: PulledModels, _ options: DeleteOptions
  ) throws {
    guard removal.foreign.isEmpty || options.force else {
      throw PlatformError(
        .permissionDenied, "files of '\(name)' are another user's", hint: "Leave them, or add --force where the system allows it.", number: "PLT-4542",
        path: removal.foreign[0])
    }
    try Confirmation.require(name, toDelete: what, yes: options.yes)
    try models.remove(removal)
    let shared = removal.sharedBlobs
    Report.note(
      "\(Report.check) \(gone) deleted, \(ByteText.of(removal.bytes)) freed"
        + (shared == 0 ? "" : "; \(shared == 1 ? "1 file stays" : "\(shared) files stay"), which other revisions use"))
  }

  // MARK: names

  /// - Throws: `notFound` PLT-4543; PLT-5223 for what cannot be a name.
  private static func find(_ name: String) throws -> [PulledModel] {
    let models = try models()
    let found = try models.named(name)
    guard found.isEmpty else { return found }
    let known = Array(Set(models.all().map(\.name))).sorted()
    let close = Spelling.suggestion(for: name, among: known + known.map { String($0.dropFirst(HubReference.prefix.count)) })
    throw PlatformError(
      .notFound, "nothing named '\(name)' was pulled onto this machine",
      hint: (close.map { "Did you mean '\($0)'? " } ?? (known.isEmpty ? "" : "There are: \(known.prefix(8).joined(separator: ", ")). "))
        + "Registered models are named catalog.schema.model.", number: "PLT-4543")
  }
}
