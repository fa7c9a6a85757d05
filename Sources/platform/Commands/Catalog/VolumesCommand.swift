// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct VolumesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "volumes", abstract: "Volumes: folders of files with a name in the catalog.",
    discussion: """
      EXAMPLES
        platform volumes create main.demo.raw
        platform volumes list main.demo
        platform volumes get main.demo.raw
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self, Undrop.self])

  static func show(_ one: VolumeInfo, _ output: OutputFormat) throws {
    if output == .name { return Report.data(one.facts.fullName) }
    if output.isStructured { return try Report.structured(one, output) }
    CatalogCalls.show(CatalogCalls.facts(one) + [("type", one.own.volumeType), ("location", CatalogCalls.path(one.own.storageLocation))])
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The volumes of a schema.")
    @Argument(help: "catalog.schema") var schema: String = "main.default"
    @Flag(help: "Those that were dropped and can be brought back.") var dropped = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if dropped { return try await CatalogCalls.showDropped(options, CatalogCalls.inSchema(schema), kind: "volume") }
      let list = try await CatalogCalls.all(options.client(), "volumes", CatalogCalls.inSchema(schema), as: VolumeInfo.self)
      try CatalogCalls.show(list, options.output, ["VOLUME", "TYPE", "OWNER", "CREATED", "LOCATION"], none: "No volumes in \(schema).") {
        [$0.facts.fullName, $0.own.volumeType, $0.facts.owner, CatalogCalls.time($0.facts.createdAt), CatalogCalls.path($0.own.storageLocation)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One volume.")
    @Argument(help: "catalog.schema.volume") var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws { try VolumesCommand.show(await CatalogCalls.get(options.client(), "volumes", name), options.output) }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a volume.")
    @Argument(help: "catalog.schema.volume") var name: String
    @Option(help: "What it is for.") var comment: String?
    @Option(help: "An existing folder on the coordinator's machine, in an external location ('platform locations list').") var location: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let parts = try CatalogCalls.split(name, 3, "catalog.schema.volume")
      let made: VolumeInfo = try await options.client().post(
        CatalogCalls.base + "/volumes",
        CreateVolumeRequest(
          name: parts[2], catalogName: parts[0], schemaName: parts[1], volumeType: location == nil ? .managed : .external,
          storageLocation: location, comment: comment))
      try CatalogCalls.report(made, "volume \(made.facts.fullName) created", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Drop a volume; for seven days it can be brought back.")
    @Argument(help: "catalog.schema.volume") var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the volume \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "volumes", name)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename it.")
    @Argument(help: "catalog.schema.volume") var name: String
    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let request = try change.request()
      let one: VolumeInfo = try await options.client().patch("\(CatalogCalls.base)/volumes/\(segment(name))", request)
      try CatalogCalls.report(one, "\(one.facts.fullName) changed", options.output)
    }
  }

  struct Undrop: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Bring back what was dropped in the last seven days.")
    @Argument(help: "catalog.schema.volume") var name: String
    @Option(help: "Which one, when several of the name were dropped.") var id: String?
    @OptionGroup var options: ClientOptions
    func run() async throws { try await CatalogCalls.undrop(options.client(), "volumes", name, id: id) }
  }
}
