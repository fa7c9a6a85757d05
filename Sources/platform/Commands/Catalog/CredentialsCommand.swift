// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct CredentialsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "credentials", abstract: "Credentials: how stores outside are opened.",
    discussion: """
      EXAMPLES
        platform credentials create lake_keys --access-key AKIA... --secret-variable S3_SECRET --endpoint http://minio.lan:9000
        platform credentials list
      """, subcommands: [List.self, Get.self, Create.self, Update.self, Delete.self], aliases: ["storage-credentials"])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "All credentials.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list = try await CatalogCalls.all(options.client(), "credentials", as: StorageCredentialInfo.self)
      try CatalogCalls.show(list, options.output, ["CREDENTIAL", "OPENS WITH", "OWNER", "CREATED", "COMMENT"], none: "No credentials.") {
        [
          $0.facts.name, CatalogCalls.opens($0.own), $0.facts.owner, CatalogCalls.time($0.facts.createdAt),
          CatalogCalls.short($0.facts.comment, options.output),
        ]
      }
    }
  }

  struct Get: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One credential, without its secret.")
    @Argument var name: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let one: StorageCredentialInfo = try await CatalogCalls.get(options.client(), "credentials", name)
      if options.output.isStructured { return try Report.structured(one, options.output) }
      CatalogCalls.show(CatalogCalls.facts(one) + [("opens with", CatalogCalls.opens(one.own))])
    }
  }

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a credential; its secret is stored sealed and never shown.")
    @Argument var name: String
    @Option(help: "The identifier of an access key.") var accessKey: String?
    @Option(help: "The environment variable that holds the secret key.") var secretVariable: String = "AWS_SECRET_ACCESS_KEY"
    @Option(help: "URL of an S3-compatible store.") var endpoint: String?
    @Option(help: "The region of the store.") var region: String?
    @Option(help: "A role to take instead of an access key.") var roleARN: String?
    @Option(help: "What it is for.") var comment: String?
    @OptionGroup var options: ClientOptions
    func run() async throws {
      var request = CredentialRequest(name: name, comment: comment)
      switch (accessKey, roleARN) {
      case (let key?, nil):
        guard let secret = ProcessInfo.processInfo.environment[secretVariable], !secret.isEmpty else {
          throw PlatformError(.invalidArgument, "the environment variable \(secretVariable) is not set")
        }
        request.s3AccessKey = AccessKeys(accessKeyID: key, secretAccessKey: secret, endpoint: endpoint, region: region)
      case (nil, let role?): request.awsIAMRole = AWSRole(roleARN: role)
      default: throw PlatformError(.invalidArgument, "give --access-key or --role-arn")
      }
      let made: StorageCredentialInfo = try await options.client().post(CatalogCalls.base + "/credentials", request)
      try CatalogCalls.report(made, "credential \(made.facts.name) created", options.output)
    }
  }

  struct Update: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Change or rename a credential.")
    @Argument var name: String
    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClientOptions
    func run() async throws {
      _ = try change.request()
      let one: StorageCredentialInfo = try await options.client().patch(
        "\(CatalogCalls.base)/credentials/\(segment(name))",
        CredentialRequest(newName: change.newName, comment: change.comment, owner: change.owner))
      try CatalogCalls.report(one, "\(one.facts.name) changed", options.output)
    }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Remove a credential.")
    @Argument var name: String
    @Flag(help: "Also while external locations use it.") var force = false
    @Flag(help: "Do not ask.") var yes = false
    @OptionGroup var options: ClientOptions
    func run() async throws {
      try Confirmation.require(name, toDelete: "the credential \(name)", yes: yes)
      try await CatalogCalls.delete(options.client(), "credentials", name, force: force)
    }
  }
}

extension CatalogCalls {
  static func opens(_ facts: StorageCredentialFacts) -> String {
    if let role = facts.awsIAMRole { return role.roleARN }
    return facts.s3AccessKey.map { "key \($0.accessKeyID)" } ?? facts.cloudflareAPIToken.map { "key \($0.accessKeyID)" } ?? ""
  }
}
