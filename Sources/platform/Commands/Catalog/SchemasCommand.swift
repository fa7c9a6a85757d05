// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct SchemasCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schemas", abstract: "Schemas: the second part of every name.",
    discussion: """
      EXAMPLES
        platform schemas list main
        platform schemas create main.sales
        platform schemas delete main.sales --force
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self, Undrop.self])

  static func show(_ one: SchemaInfo, _ output: OutputFormat) throws {
    if output == .name { return Report.data(one.facts.fullName) }
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show(CatalogCalls.facts(one))
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The schemas of a catalog.")
    @Argument var catalog: String = "main"
    @Flag(help: "Those that were dropped and can be brought back.") var dropped = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if dropped { return try await CatalogCalls.showDropped(options, [("catalog_name", catalog)], kind: "schema") }
      let list = try await CatalogCalls.all(options.client(), "schemas", [("catalog_name", catalog)], as: SchemaInfo.self)
      try CatalogCalls.show(list, options.output, ["SCHEMA", "OWNER", "CREATED", "COMMENT"], none: "No schemas in \(catalog).") {
        [$0.facts.fullName, $0.facts.owner, CatalogCalls.time($0.facts.createdAt), CatalogCalls.short($0.facts.comment, options.output)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One schema.")
    @Argument(help: "catalog.schema") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try SchemasCommand.show(await CatalogCalls.get(options.client(), "schemas", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a schema.")
    @Argument(help: "catalog.schema") var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(name: .customLong("property"), help: "KEY=VALUE; may be repeated.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let parts = try CatalogCalls.split(name, 2, "catalog.schema")
      let made: SchemaInfo = try await options.client().post(
        CatalogCalls.base + "/schemas",
        CreateSchemaRequest(name: parts[1], catalogName: parts[0], comment: comment, properties: CatalogCalls.properties(properties)))
      try CatalogCalls.report(made, "schema \(made.facts.fullName) created", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Drop an empty schema; for seven days it can be brought back.")
    @Argument(help: "catalog.schema") var name: String
    @Flag(help: "Also drop all that is in it but vector indexes.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if force { try Confirmation.require(name, toDelete: "the schema \(name) with everything in it", yes: yes) }
      try await CatalogCalls.delete(options.client(), "schemas", name, force: force)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename it.")
    @Argument(help: "catalog.schema") var name: String
    @OptionGroup var change: ChangeOptions
    @Option(name: .customLong("property"), help: "KEY=VALUE; together they take the place of all that are there.") var properties: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let request = try change.request(properties: properties)
      let one: SchemaInfo = try await options.client().patch("\(CatalogCalls.base)/schemas/\(segment(name))", request)
      try CatalogCalls.report(one, "\(one.facts.fullName) changed", options.output)
    }
  }

  struct Undrop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring back what was dropped in the last seven days.")
    @Argument(help: "catalog.schema") var name: String
    @Option(help: "Which one, when several of the name were dropped.") var id: String?
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.undrop(options.client(), "schemas", name, id: id) }
  }
}
