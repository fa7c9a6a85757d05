// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct GitCredentialsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "git-credentials", abstract: "What you sign in with at hosts of repositories.",
    discussion: """
      EXAMPLES
        platform git-credentials create gitHub --token GITHUB_TOKEN
        platform git-credentials create gitLabEnterpriseEdition --at git.example.org --username jane --token GIT_PASSWORD
        platform git-credentials list
      """, subcommands: [List.self, Create.self, Delete.self])

  private static let path = "/api/2.0/git-credentials"

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Yours, without their passwords.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let answer: JSONValue = try await options.client().get(path)
      let found = answer["credentials"]?.arrayValue ?? []
      if options.output.isStructured { return try Report.structured(JSONValue.array(found), options.output) }
      guard !found.isEmpty else { return Report.note("No git credentials.  Next: platform git-credentials create PROVIDER --token VARIABLE") }
      Report.table(
        ["ID", "PROVIDER", "NAME", "USER", "DEFAULT"],
        found.map { one in
          [
            one["credential_id"]?.intValue.map { String($0) } ?? "", one["git_provider"]?.stringValue ?? "", one["name"]?.stringValue ?? "-",
            one["git_username"]?.stringValue ?? "-", one["is_default_for_provider"]?.boolValue == true ? "yes" : "no",
          ]
        })
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Keep a password for a host, which it is sent to, and nowhere else.")
    @Argument(help: "gitHub, gitLab, bitbucketCloud, azureDevOpsServices; gitHubEnterprise, gitLabEnterpriseEdition, bitbucketServer, awsCodeCommit.")
    var provider: String
    @Option(help: "Environment variable with the token or password.") var token: String
    @Option(help: "User name, when the host wants one.") var username: String?
    @Option(help: "HOST or HOST:PORT, of a provider that runs on hosts of its own.") var at: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      guard let value = ProcessInfo.processInfo.environment[token], !value.isEmpty else {
        throw PlatformError(.invalidArgument, "the environment variable \(token) is not set")
      }
      var body: [String: JSONValue] = ["git_provider": .string(provider), "personal_access_token": .string(value)]
      if let username { body["git_username"] = .string(username) }
      if let at { body["name"] = .string(at) }
      let made: JSONValue = try await options.client().post(path, JSONValue.object(body))
      if options.output.isStructured { return try Report.structured(made, options.output) }
      Report.data(made["credential_id"]?.intValue.map { String($0) } ?? "")
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Forget a password.")
    @Argument(help: "Its number.") var id: Int
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let client = try options.client()
      try Confirmation.require("\(id)", toDelete: "the git credential \(id)", yes: yes)
      _ = try await client.send("DELETE", "\(path)/\(id)", body: nil)
      Report.note("\(Report.check) git credential \(id) deleted")
    }
  }
}
