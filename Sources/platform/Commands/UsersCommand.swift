// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct UsersCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "users", abstract: "Who may use the cluster, and their tokens.",
    discussion: """
      EXAMPLES
        platform users create ann@example.org
        platform users token ann@example.org --ttl 2592000
        platform users list
      """, subcommands: [List.self, Create.self, Token.self, Delete.self])

  private static let path = "/api/2.0/preview/scim/v2/Users"

  private static func all(_ client: PlatformClient) async throws -> [JSONValue] {
    let page: JSONValue = try await client.get(path)
    return page["Resources"]?.arrayValue ?? []
  }

  private static func isAdministrator(_ user: JSONValue) -> Bool {
    user["groups"]?.arrayValue?.contains { $0["display"]?.stringValue == "admins" } ?? false
  }

  /// Prints the secret, which nobody can read again.
  private static func token(_ name: String, _ ttl: Int?, _ comment: String, _ client: PlatformClient, _ options: ClientOptions) async throws {
    var body: [String: JSONValue] = ["user_name": .string(name), "comment": .string(comment)]
    if let ttl { body["lifetime_seconds"] = .integer(Int64(ttl)) }
    let made: JSONValue = try await client.post("/api/2.0/token/create", JSONValue.object(body))
    if options.output.isStructured { return try Report.structured(made, options.output) }
    Report.data(made["token_value"]?.stringValue ?? "")
    Report.note("\(Report.check) this token of \(name) is not shown again; clients take it from PLATFORM_TOKEN or DATABRICKS_TOKEN")
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All users.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let found = try await all(options.client())
      if options.output.isStructured { return try Report.structured(JSONValue.array(found), options.output) }
      Report.table(["NAME", "ADMINISTRATOR"], found.map { [$0["userName"]?.stringValue ?? "", isAdministrator($0) ? "yes" : "no"] })
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a user, and print a token for them.")
    @Argument(help: "Letters, digits, '.', '_', '-', '+' and '@'.") var name: String
    @Flag(help: "May do everything.") var administrator = false
    @Option(help: "Seconds that the token is valid; for ever when not said.") var ttl: Int?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      var body: [String: JSONValue] = ["userName": .string(name)]
      if administrator { body["groups"] = [["display": "admins"]] }
      let _: JSONValue = try await client.post(path, JSONValue.object(body))
      try await token(name, ttl, "made with the user", client, options)
    }
  }

  struct Token: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print another token for a user.")
    @Argument var name: String
    @Option(help: "Seconds that it is valid; for ever when not said.") var ttl: Int?
    @Option(help: "What it is for.") var comment: String = ""
    @OptionGroup var options: ClientOptions
    func run() async throws { try await token(name, ttl, comment, options.client(), options) }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Delete a user: their tokens are good for nothing, what they own stays.")
    @Argument var name: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let known = try await all(client)
      guard let id = known.first(where: { $0["userName"]?.stringValue == name })?["id"]?.stringValue else {
        let close = Spelling.suggestion(for: name, among: known.compactMap { $0["userName"]?.stringValue })
        throw PlatformError(
          .notFound, "there is no user '\(name)'", hint: close.map { "Did you mean '\($0)'?" } ?? "List them with 'platform users list'.", number: "PLT-4462")
      }
      try Confirmation.require(name, toDelete: "the user \(name)", yes: yes)
      _ = try await client.send("DELETE", "\(path)/\(segment(id))", body: nil)
      Report.note("\(Report.check) \(name) deleted; jobs of that owner go on: 'platform jobs permissions JOB --give NAME=IS_OWNER'")
    }
  }
}
