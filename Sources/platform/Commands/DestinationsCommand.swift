// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct DestinationsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "destinations", abstract: "Where notifications of jobs go, and what became of them.",
    discussion: """
      EXAMPLES
        platform destinations create operations --url HOOK_URL
        platform destinations list
        platform destinations sent --run 17
      """, subcommands: [List.self, Create.self, Delete.self, Sent.self])

  static let path = "/api/2.0/notification-destinations"

  /// A value that nobody else on this machine can see: it comes from the environment.
  private static func value(of variable: String) throws -> String {
    guard let value = ProcessInfo.processInfo.environment[variable], !value.isEmpty else {
      throw PlatformError(.invalidArgument, "the environment variable \(variable) is not set")
    }
    return value
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All destinations.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      var all: [JSONValue] = []
      var token = ""
      repeat {
        let page: JSONValue = try await client.get("\(path)?page_size=1000&page_token=\(token)")
        all += page["results"]?.arrayValue ?? []
        token = page["next_page_token"]?.stringValue ?? ""
      } while !token.isEmpty
      if options.output.isStructured { return try Report.structured(JSONValue.array(all), options.output) }
      guard !all.isEmpty else { return Report.note("No destinations.  Next: platform destinations create NAME --url VARIABLE") }
      Report.table(["ID", "NAME", "TYPE"], all.map { one in ["id", "display_name", "destination_type"].map { one[$0]?.stringValue ?? "" } })
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a destination that is called by HTTP.")
    @Argument(help: "What people call it.") var name: String
    @Option(help: "Environment variable with the receiver's URL.") var url: String
    @Option(help: "User name, when the receiver wants one.") var username: String?
    @Option(help: "Environment variable with its password.") var password: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      var webhook: [String: JSONValue] = ["url": .string(try DestinationsCommand.value(of: url))]
      if let username { webhook["username"] = .string(username) }
      if let password { webhook["password"] = .string(try DestinationsCommand.value(of: password)) }
      let made: JSONValue = try await options.client().post(
        path, JSONValue.object(["display_name": .string(name), "config": ["generic_webhook": .object(webhook)]]))
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.data(made["id"]?.stringValue ?? "")
      Report.note("\(Report.check) destination \(name) made; its signatures are checked with this secret, which is not shown again:")
      Report.note("  \(made["config"]?["generic_webhook"]?["signing_secret"]?.stringValue ?? "")")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a destination; what waits for it is given up.")
    @Argument var id: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(id, toDelete: "the destination \(id)", yes: yes)
      _ = try await options.client().send("DELETE", "\(path)/\(segment(id))", body: nil)
      Report.note("\(Report.check) \(id) deleted")
    }
  }

  struct Sent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Notifications, newest first: which arrived, which wait, which were given up and why.")
    @Option(help: "Of this run only.") var run: String?
    @Option(help: "WAITING, SENT or FAILED.") var state: String?
    @Option(help: "How many.") var limit: Int = 50
    @OptionGroup var options: ClientOptions
    func run() async throws {
      guard (1...1000).contains(limit) else { throw PlatformError(.invalidArgument, "--limit must be 1 to 1000") }
      var query = "limit=\(limit)"
      if let run { query += "&run_id=\(segment(run))" }
      if let state { query += "&state=\(segment(state))" }
      let page: JSONValue = try await options.client().get("/api/2.0/notification-deliveries?\(query)")
      if options.output.isStructured { return try Report.structured(page, options.output) }
      let all = page["deliveries"]?.arrayValue ?? []
      guard !all.isEmpty else { return Report.note("No notifications.") }
      Report.table(
        ["RUN", "TASK", "EVENT", "STATE", "ATTEMPTS", "TO", "ERROR"],
        all.map { one in
          [
            one["run_id"]?.stringValue ?? "", one["task_key"]?.stringValue ?? "-", one["event_type"]?.stringValue ?? "", one["state"]?.stringValue ?? "",
            one["attempts"]?.intValue.map { String($0) } ?? "", one["destination_id"]?.stringValue ?? one["address"]?.stringValue ?? "",
            CatalogCalls.short(one["error"]?.stringValue, options.output),
          ]
        })
    }
  }
}
