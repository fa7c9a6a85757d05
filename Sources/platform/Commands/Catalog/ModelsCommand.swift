// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models", abstract: "Registered models, their versions and aliases.",
    discussion: """
      EXAMPLES
        platform models list
        platform models get main.demo.doc_lm
        platform models import main.demo.smol ./SmolLM2-135M
        platform models alias main.demo.doc_lm champion 3
        platform models alias main.demo.doc_lm champion --remove
      """, subcommands: [List.self, Get.self, Import.self, Create.self, Update.self, Delete.self, Undrop.self, Alias.self], aliases: ["registered-models"])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All models, or those of a schema.")
    @Argument(help: "catalog.schema") var schema: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(
        options.client(), "models", schema.map { try CatalogCalls.inSchema($0) } ?? [], as: RegisteredModelInfo.self)
      try CatalogCalls.show(list, options.output, ["MODEL", "NEWEST", "OWNER", "UPDATED", "COMMENT"], none: "No models.") {
        [
          $0.facts.fullName, $0.own.newestVersion.map { "\($0)" } ?? "", $0.facts.owner, CatalogCalls.time($0.facts.updatedAt),
          CatalogCalls.short($0.facts.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One model with its versions.")
    @Argument(help: "catalog.schema.model") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let one: RegisteredModelInfo = try await CatalogCalls.get(client, "models", name)
      if options.output == .name { return Report.data(one.facts.fullName) }
      if options.output.isStructured { return try Report.structured(one, options.output) }
      let aliases = (one.own.aliases ?? []).map { "\($0.aliasName)=\($0.versionNum)" }.joined(separator: " ")
      CatalogCalls.show(CatalogCalls.facts(one) + [("aliases", aliases)])
      let versions = try await CatalogCalls.all(client, "models/\(segment(name))/versions", as: ModelVersionInfo.self)
      guard !versions.entries.isEmpty else { return }
      Report.data("")
      Report.table(
        ["VERSION", "STATUS", "CREATED", "RUN", "ALIASES", "LOCATION"],
        versions.entries.map {
          [
            "\($0.version)", $0.status, CatalogCalls.time($0.createdAt), $0.runID ?? "", $0.aliases.map(\.aliasName).joined(separator: " "),
            CatalogCalls.path($0.storageLocation),
          ]
        })
    }
  }

  struct Undrop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring back what was dropped in the last seven days, with its versions and aliases.")
    @Argument(help: "catalog.schema.model") var name: String
    @Option(help: "Which one, when several of the name were dropped.") var id: String?
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.undrop(options.client(), "models", name, id: id) }
  }

  struct Alias: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Show what an alias means, move it to a version, or remove it.")
    @Argument(help: "catalog.schema.model") var name: String
    @Argument(help: "The alias.") var alias: String
    @Argument(help: "The version it shall mean.") var version: Int?
    @Flag(help: "Remove the alias.") var remove = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      guard !(remove && version != nil) else { throw PlatformError(.invalidArgument, "give a version or --remove, not both") }
      let client = try options.client()
      let path = "\(CatalogCalls.base)/models/\(segment(name))/aliases/\(segment(alias))"
      if remove {
        _ = try await client.send("DELETE", path, body: nil)
        return Report.note("\(Report.check) \(name)@\(alias) removed")
      }
      guard let version else {
        let meant: ModelVersionInfo = try await client.get(path)
        if options.output.isStructured { return try Report.structured(meant, options.output) }
        return Report.data("\(meant.version)")
      }
      let made: ModelAliasInfo = try await client.put(path, ModelAliasRequest(versionNum: version))
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.note("\(Report.check) \(name)@\(made.aliasName) is version \(made.versionNum)")
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a model without versions.")
    @Argument(help: "catalog.schema.model") var name: String
    @Option(help: "What it is for.") var comment: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let parts = try CatalogCalls.split(name, 3, "catalog.schema.model")
      let made: RegisteredModelInfo = try await options.client().post(
        CatalogCalls.base + "/models", CreateObjectRequest(name: parts[2], catalogName: parts[0], schemaName: parts[1], comment: comment))
      try CatalogCalls.report(made, "model \(made.facts.fullName) created", options.output)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename it.")
    @Argument(help: "catalog.schema.model") var name: String
    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let request = try change.request()
      let one: RegisteredModelInfo = try await options.client().patch("\(CatalogCalls.base)/models/\(segment(name))", request)
      try CatalogCalls.report(one, "\(one.facts.fullName) changed", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a model without versions.")
    @Argument(help: "catalog.schema.model") var name: String
    @Option(help: "Only this version.") var version: Int?
    @Flag(help: "Also one that has versions: they go with it.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if let version {
        try Confirmation.require(name, toDelete: "version \(version) of \(name)", yes: yes)
        return try await CatalogCalls.delete(options.client(), "models/\(segment(name))/versions", "\(version)")
      }
      if force { try Confirmation.require(name, toDelete: "the model \(name) with all its versions", yes: yes) }
      try await CatalogCalls.delete(options.client(), "models", name, force: force)
    }
  }
}
