// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct ModelsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "models", abstract: "Registered models, their versions and aliases, and models that were pulled.",
    discussion: """
      Registered models are named catalog.schema.model and are the cluster's. What 'platform pull' has fetched lies on this machine and is named as it was
      pulled: hf:ORG/NAME, a URL, or its file's name. list, get and delete take both; for what was pulled no cluster has to run.

      EXAMPLES
        platform models list
        platform models list --pulled -o json
        platform models get main.demo.doc_lm
        platform models get hf:HuggingFaceTB/SmolLM2-135M --verify
        platform models delete hf:HuggingFaceTB/SmolLM2-135M
        platform models import main.demo.smol ./SmolLM2-135M
        platform models alias main.demo.doc_lm champion 3
        platform models alias main.demo.doc_lm champion --remove
      """, subcommands: [List.self, Get.self, Import.self, Create.self, Update.self, Delete.self, Undrop.self, Alias.self], aliases: ["registered-models"])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "All models, or those of a schema.",
      discussion: """
        As text: first the registered models, then what was pulled onto this machine. Other forms of output (-o) hold the registered models, and with --pulled
        what was pulled. Without a cluster what was pulled is shown alone.
        """)
    @Argument(help: "catalog.schema") var schema: String?
    @Flag(help: "Only what was pulled onto this machine; asks no cluster.") var pulled = false
    @Flag(help: "Only registered models.") var registered = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard !pulled || (!registered && schema == nil) else {
        throw PlatformError(.invalidArgument, "--pulled goes with neither --registered nor a schema", number: "PLT-4543")
      }
      if pulled {
        if try !PulledModelsCommands.list(options.output) { Report.note("Nothing was pulled onto this machine. Fetch a model: platform pull hf:ORG/NAME") }
        return
      }
      guard schema == nil, !registered, !options.output.isStructured else {
        try await showRegistered()
        return
      }
      do {
        let isAny = try await showRegistered(isQuiet: true)
        let rest = try PulledModelsCommands.rows()
        if isAny, !rest.isEmpty { Report.data("") }
        PulledModelsCommands.show(rest, options.output)
        if !isAny, rest.isEmpty { Report.note("No models. Fetch one: platform pull hf:ORG/NAME") }
      } catch let error as PlatformError where error.number == "PLT-1501" {
        // Without a cluster there still is what was pulled, and the command says what it could not look at.
        let rest = try PulledModelsCommands.rows()
        guard !rest.isEmpty else { throw error }
        PulledModelsCommands.show(rest, options.output)
        Report.note("Registered models are not shown: \(error.message)")
      }
    }

    /// - Returns: whether there are any.
    @discardableResult
    private func showRegistered(isQuiet: Bool = false) async throws -> Bool {
      let list = try await CatalogCalls.all(
        options.client(), "models", schema.map { try CatalogCalls.inSchema($0) } ?? [], as: RegisteredModelInfo.self)
      if isQuiet, list.entries.isEmpty { return false }
      try CatalogCalls.show(list, options.output, ["MODEL", "NEWEST", "OWNER", "UPDATED", "COMMENT"], none: "No models.") {
        [
          $0.facts.fullName, $0.own.newestVersion.map { "\($0)" } ?? "", $0.facts.owner, CatalogCalls.time($0.facts.updatedAt),
          CatalogCalls.short($0.facts.comment, options.output),
        ]
      }
      return !list.entries.isEmpty
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One model with its versions, or what was pulled.")
    @Argument(help: "catalog.schema.model, or of what was pulled hf:ORG/NAME[@REVISION], its URL or file.") var name: String
    @Flag(help: "Read what was pulled, and hold it against the hashes that the hub told.") var verify = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      if PulledModelsCommands.isPulled(name) { return try PulledModelsCommands.get(name, verify: verify, options.output) }
      guard !verify else { throw PlatformError(.invalidArgument, "--verify is for what was pulled", number: "PLT-4543") }
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
    static let configuration = CommandConfiguration(
      abstract: "Remove a model without versions, or what was pulled.",
      discussion: """
        What was pulled is removed from this machine's disk, after the question that --yes answers. Without @REVISION it has to be there in one revision only,
        or --all-revisions says that all are meant. Files that other revisions use stay; files that another user of this machine has put there
        go with --force only. What was imported from it into the catalog is a copy, and stays.
        """)
    @Argument(help: "catalog.schema.model, or of what was pulled hf:ORG/NAME[@REVISION], its URL or file.") var name: String
    @Option(help: "Only this version.") var version: Int?
    @Flag(help: "Also one that has versions: they go with it. Of what was pulled: also another user's files.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @Flag(help: "Of what was pulled: all revisions.") var allRevisions = false
    @Flag(help: "Of what was pulled: only what has come in part.") var partial = false
    @OptionGroup var options: ClientOptions

    func run() async throws {
      if PulledModelsCommands.isPulled(name) {
        guard version == nil else { throw PlatformError(.invalidArgument, "--version is for registered models", number: "PLT-4543") }
        return try PulledModelsCommands.delete(name, .init(allRevisions: allRevisions, partial: partial, force: force, yes: yes))
      }
      guard !allRevisions, !partial else {
        throw PlatformError(.invalidArgument, "--all-revisions and --partial are for what was pulled", number: "PLT-4543")
      }
      if let version {
        try Confirmation.require(name, toDelete: "version \(version) of \(name)", yes: yes)
        return try await CatalogCalls.delete(options.client(), "models/\(segment(name))/versions", "\(version)")
      }
      if force { try Confirmation.require(name, toDelete: "the model \(name) with all its versions", yes: yes) }
      try await CatalogCalls.delete(options.client(), "models", name, force: force)
    }
  }
}
