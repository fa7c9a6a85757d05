// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct CatalogsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catalogs", abstract: "Catalogs: the first part of every name.",
    discussion: """
      EXAMPLES
        platform catalogs create sales --comment "what we sold"
        platform catalogs list -o name
        platform catalogs delete sales --force
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self, Undrop.self])

  static func show(_ one: CatalogInfo, _ output: OutputFormat) throws {
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show(CatalogCalls.facts(one))
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All catalogs.")
    @Flag(help: "Those that were dropped and can be brought back.") var dropped = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if dropped { return try await CatalogCalls.showDropped(options, [], kind: "catalog") }
      let list = try await CatalogCalls.all(options.client(), "catalogs", as: CatalogInfo.self)
      try CatalogCalls.show(list, options.output, ["CATALOG", "OWNER", "CREATED", "COMMENT"], none: "No catalogs.") {
        [$0.facts.name, $0.facts.owner, CatalogCalls.time($0.facts.createdAt), CatalogCalls.short($0.facts.comment, options.output)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One catalog.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try CatalogsCommand.show(await CatalogCalls.get(options.client(), "catalogs", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a catalog.")
    @Argument var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(name: .customLong("property"), help: "KEY=VALUE; may be repeated.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let made: CatalogInfo = try await options.client().post(
        CatalogCalls.base + "/catalogs",
        CreateCatalogRequest(name: name, comment: comment, properties: CatalogCalls.properties(properties)))
      try CatalogCalls.report(made, "catalog \(made.facts.name) created", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Drop an empty catalog; for seven days it can be brought back.")
    @Argument var name: String
    @Flag(help: "Also drop its schemas with all that is in them but vector indexes.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if force { try Confirmation.require(name, toDelete: "the catalog \(name) with everything in it", yes: yes) }
      try await CatalogCalls.delete(options.client(), "catalogs", name, force: force)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename it.")
    @Argument(help: "The catalog.") var name: String
    @OptionGroup var change: ChangeOptions
    @Option(name: .customLong("property"), help: "KEY=VALUE; together they take the place of all that are there.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let request = try change.request(properties: properties)
      let one: CatalogInfo = try await options.client().patch("\(CatalogCalls.base)/catalogs/\(segment(name))", request)
      try CatalogCalls.report(one, "\(one.facts.fullName) changed", options.output)
    }
  }

  struct Undrop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring back what was dropped in the last seven days.")
    @Argument(help: "The catalog.") var name: String
    @Option(help: "Which one, when several of the name were dropped.") var id: String?
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.undrop(options.client(), "catalogs", name, id: id) }
  }
}
