// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

extension JobsCommand {
  struct Permissions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Who may do what with a job; with options, changes it.",
      discussion: """
        EXAMPLES
          platform jobs permissions nightly
          platform jobs permissions nightly --give ann=CAN_MANAGE_RUN --give group:users=CAN_VIEW
          platform jobs permissions nightly --give ann=IS_OWNER --take bob
        Rights: CAN_VIEW, CAN_MANAGE_RUN, CAN_MANAGE, IS_OWNER. Groups: users (everybody), admins.
        """)
    @Argument(help: "Number or name.") var job: String
    @Option(help: "WHO=RIGHT: a user, or group:NAME. May be repeated.") var give: [String] = []
    @Option(help: "WHO has nothing any more. May be repeated.") var take: [String] = []
    @OptionGroup var options: ClientOptions

    private static func parts(_ who: String) -> (key: String, name: String) {
      who.hasPrefix("group:") ? ("group_name", String(who.dropFirst("group:".count))) : ("user_name", who)
    }

    /// The list as requests have it, without what is inherited.
    private static func list(_ rights: JSONValue) -> [(who: String, right: String, isInherited: Bool)] {
      (rights["access_control_list"]?.arrayValue ?? []).flatMap { one in
        let who = one["user_name"]?.stringValue ?? "group:\(one["group_name"]?.stringValue ?? "")"
        return (one["all_permissions"]?.arrayValue ?? []).map { (who, $0["permission_level"]?.stringValue ?? "", $0["inherited"]?.boolValue ?? false) }
      }
    }

    func run() async throws {
      let client = try options.client()
      let path = "/api/2.0/permissions/jobs/\(try await JobsCommand.number(job, client))"
      var rights: JSONValue = try await client.get(path)
      if !give.isEmpty || !take.isEmpty {
        var wanted = Self.list(rights).filter { !$0.isInherited }.map { (who: $0.who, right: $0.right) }
        for who in take {
          guard wanted.contains(where: { $0.who == who }) else {
            throw PlatformError(.notFound, "\(who) has no right that could be taken", hint: "See 'platform jobs permissions \(job)'.", number: "PLT-4462")
          }
          wanted.removeAll { $0.who == who }
        }
        for pair in give {
          let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
          guard parts.count == 2 else {
            throw PlatformError(.invalidArgument, "--give \(pair): write WHO=RIGHT", hint: "For example --give ann=CAN_VIEW.", number: "PLT-4461")
          }
          wanted.removeAll { $0.who == parts[0] || (parts[1] == "IS_OWNER" && $0.right == "IS_OWNER") }
          wanted.append((parts[0], parts[1]))
        }
        let list = wanted.map { one -> JSONValue in
          let (key, name) = Self.parts(one.who)
          return [key: .string(name), "permission_level": .string(one.right)]
        }
        rights = try await client.put(path, JSONValue.object(["access_control_list": .array(list)]))
      }
      if options.output.isStructured { return try Report.structured(rights, options.output) }
      Report.table(["WHO", "RIGHT"], Self.list(rights).map { [$0.who, $0.right] })
    }
  }
}
