// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct ReposCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repos", abstract: "Git folders: repositories in the workspace, whose files jobs can name.",
    discussion: """
      EXAMPLES
        platform repos create https://github.com/team/jobs.git --path /Repos/team/jobs
        platform repos update /Repos/team/jobs --branch main
        platform repos list
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self])

  static let path = "/api/2.0/repos"

  private static func all(_ client: PlatformClient, _ query: String) async throws -> [JSONValue] {
    var found: [JSONValue] = []
    var token = ""
    repeat {
      let page: JSONValue = try await client.get("\(path)?page_size=100&\(query)&next_page_token=\(segment(token))")
      found += page["repos"]?.arrayValue ?? []
      token = page["next_page_token"]?.stringValue ?? ""
    } while !token.isEmpty
    return found
  }

  /// The number of a git folder that is named by its number or its path.
  private static func number(_ folder: String, _ client: PlatformClient) async throws -> Int64 {
    if let number = Int64(folder) { return number }
    let short = folder.hasPrefix("/Workspace/") ? String(folder.dropFirst("/Workspace".count)) : folder
    let known = try await all(client, "all=true")
    if let id = known.first(where: { $0["path"]?.stringValue == short })?["id"]?.intValue { return Int64(id) }
    let close = Spelling.suggestion(for: short, among: known.compactMap { $0["path"]?.stringValue })
    throw PlatformError(
      .notFound, "there is no git folder '\(folder)'", hint: close.map { "Did you mean '\($0)'?" } ?? "List them with 'platform repos list'.",
      number: "PLT-4422")
  }

  private static func row(_ one: JSONValue) -> [String] {
    [
      one["id"]?.intValue.map { String($0) } ?? "", one["path"]?.stringValue ?? "", one["branch"]?.stringValue ?? one["tag"]?.stringValue ?? "-",
      String(one["head_commit_id"]?.stringValue?.prefix(12) ?? ""), one["url"]?.stringValue ?? "",
    ]
  }

  private static func show(_ folder: JSONValue, _ options: ClientOptions) throws {
    if options.output.isStructured { return try Report.structured(folder, options.output) }
    Report.table(["ID", "PATH", "AT", "COMMIT", "URL"], [row(folder)])
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All git folders.")
    @Option(help: "Only those whose path begins with this.") var prefix: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let found = try await all(options.client(), prefix.map { "path_prefix=\(segment($0))" } ?? "all=true")
      if options.output.isStructured { return try Report.structured(JSONValue.array(found), options.output) }
      guard !found.isEmpty else { return Report.note("No git folders.  Next: platform repos create URL --path /Repos/FOLDER/NAME") }
      Report.table(["ID", "PATH", "AT", "COMMIT", "URL"], found.map(row))
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One git folder.")
    @Argument(help: "Its number or path.") var folder: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      try show(await client.get("\(path)/\(number(folder, client))"), options)
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Clone a repository's default branch.")
    @Argument(help: "https://HOST/PATH, or a folder of an external location on the coordinator's machine.") var url: String
    @Option(help: "Where it shall be: /Repos/FOLDER/NAME, or another path of the workspace.") var path: String?
    @Option(help: "gitHub, gitLab, ..: for hosts that are not known.") var provider: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      var body: [String: JSONValue] = ["url": .string(url)]
      if let path { body["path"] = .string(path) }
      if let provider { body["provider"] = .string(provider) }
      let made: JSONValue = try await options.client().post(ReposCommand.path, JSONValue.object(body))
      try show(made, options)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Go to the newest commit of a branch, or to a tag.")
    @Argument(help: "Its number or path.") var folder: String
    @Option(help: "The one that it is at, or another.") var branch: String?
    @Option var tag: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let id = try await number(folder, client)
      var body: [String: JSONValue] = [:]
      if let branch { body["branch"] = .string(branch) }
      if let tag { body["tag"] = .string(tag) }
      let _: JSONValue = try await client.patch("\(path)/\(id)", JSONValue.object(body))
      try show(await client.get("\(path)/\(id)"), options)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a git folder; the repository itself stays.")
    @Argument(help: "Its number or path.") var folder: String
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      let id = try await number(folder, client)
      try Confirmation.require(folder, toDelete: "the git folder \(folder)", yes: yes)
      _ = try await client.send("DELETE", "\(path)/\(id)", body: nil)
      Report.note("\(Report.check) \(folder) deleted")
    }
  }
}
