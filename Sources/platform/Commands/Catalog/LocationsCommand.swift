// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct LocationsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "locations", abstract: "External locations: where external tables and volumes may be.",
    discussion: """
      EXAMPLES
        platform locations create raw file:///srv/raw
        platform locations create lake s3://bucket/prefix --credential lake_keys
        platform locations list
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self], aliases: ["external-locations"])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All external locations.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "external-locations", as: ExternalLocationInfo.self)
      try CatalogCalls.show(list, options.output, ["LOCATION", "URL", "CREDENTIAL", "OWNER", "COMMENT"], none: "No external locations.") {
        [$0.facts.name, $0.own.url, $0.own.credentialName ?? "", $0.facts.owner, CatalogCalls.short($0.facts.comment, options.output)]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One external location.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: ExternalLocationInfo = try await CatalogCalls.get(options.client(), "external-locations", name)
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show(
        CatalogCalls.facts(one) + [
          ("url", one.own.url), ("credential", one.own.credentialName ?? ""), ("read only", one.own.readOnly ? "yes" : "no"),
        ])
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make an external location.")
    @Argument var name: String
    @Argument(help: "file:///folder or s3://bucket/prefix") var url: String
    @Option(help: "The credential that opens it; not needed for folders.") var credential: String?
    @Option(help: "What it is for.") var comment: String?
    @Flag(help: "Nothing is written there: tables and volumes in it can only be read.") var readOnly = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let made: ExternalLocationInfo = try await options.client().post(
        CatalogCalls.base + "/external-locations",
        CreateLocationRequest(name: name, url: url, credentialName: credential, comment: comment, readOnly: readOnly))
      try CatalogCalls.report(made, "external location \(made.facts.name) created", options.output)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename an external location.")
    @Argument var name: String
    @OptionGroup var change: ChangeOptions
    @Option(help: "Another place.") var url: String?
    @Option(help: "Another credential.") var credential: String?
    @Option(help: "true: nothing is written there from now on; false: it is again.") var readOnly: Bool?
    @Flag(help: "Also while tables and volumes are in it.") var force = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      if url == nil && credential == nil && readOnly == nil { _ = try change.request() }
      let one: ExternalLocationInfo = try await options.client().patch(
        "\(CatalogCalls.base)/external-locations/\(segment(name))",
        ChangeLocationRequest(
          newName: change.newName, url: url, credentialName: credential, comment: change.comment, owner: change.owner, readOnly: readOnly, force: force))
      try CatalogCalls.report(one, "\(one.facts.name) changed", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove an external location; its files stay.")
    @Argument var name: String
    @Flag(help: "Also while tables and volumes are in it.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the external location \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "external-locations", name, force: force)
    }
  }
}
