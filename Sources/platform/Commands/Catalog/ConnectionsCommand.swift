// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct ConnectionsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "connections", abstract: "Connections: how other systems are reached.",
    discussion: """
      EXAMPLES
        platform connections create orders_db --type POSTGRESQL --option host=db.lan --option user=reader --secret password=PGPASSWORD
        platform connections list
        platform connections update orders_db --comment "read only"
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All connections.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "connections", as: ConnectionInfo.self)
      try CatalogCalls.show(list, options.output, ["CONNECTION", "TYPE", "OWNER", "CREATED", "COMMENT"], none: "No connections.") {
        [
          $0.facts.name, $0.own.connectionType, $0.facts.owner, CatalogCalls.time($0.facts.createdAt),
          CatalogCalls.short($0.facts.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One connection, without its secrets.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: ConnectionInfo = try await CatalogCalls.get(options.client(), "connections", name)
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show(CatalogCalls.facts(one) + [("type", one.own.connectionType), ("options", CatalogCalls.pairs(one.own.options))])
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a connection.")
    @Argument var name: String
    @Option(help: "As in POSTGRESQL, MYSQL, HTTP.") var type: String
    @Option(name: .customLong("option"), help: "KEY=VALUE; may be repeated.") var settings: [String] = []
    @Option(name: .customLong("secret"), help: "KEY=VARIABLE: the value is read from that environment variable. May be repeated.") var secrets: [String] = []
    @Option(help: "What it is for.") var comment: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let made: ConnectionInfo = try await options.client().post(
        CatalogCalls.base + "/connections",
        CreateConnectionRequest(name: name, connectionType: type, options: CatalogCalls.settings(settings, secrets: secrets), comment: comment))
      try CatalogCalls.report(made, "connection \(made.facts.name) created", options.output)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename a connection.")
    @Argument var name: String
    @OptionGroup var change: ChangeOptions
    @Option(name: .customLong("option"), help: "KEY=VALUE; together with secrets they take the place of all that are there.") var settings: [String] = []
    @Option(name: .customLong("secret"), help: "KEY=VARIABLE.") var secrets: [String] = []
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let replaced = settings.isEmpty && secrets.isEmpty ? nil : try CatalogCalls.settings(settings, secrets: secrets)
      if replaced == nil { _ = try change.request() }
      let one: ConnectionInfo = try await options.client().patch(
        "\(CatalogCalls.base)/connections/\(segment(name))",
        ChangeConnectionRequest(options: replaced, newName: change.newName, owner: change.owner, comment: change.comment))
      try CatalogCalls.report(one, "\(one.facts.name) changed", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a connection.")
    @Argument var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the connection \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "connections", name)
    }
  }
}

extension CatalogCalls {
  /// Options in the clear, and secret ones from the environment: never from the command line, which others can see.
  static func settings(_ words: [String], secrets: [String]) throws -> [String: String] {
    var all = try properties(words) ?? [:]
    for (key, variable) in try properties(secrets) ?? [:] {
      guard let value = ProcessInfo.processInfo.environment[variable], !value.isEmpty else {
        throw PlatformError(.invalidArgument, "the environment variable \(variable) is not set")
      }
      all[key] = value
    }
    return all
  }
}
