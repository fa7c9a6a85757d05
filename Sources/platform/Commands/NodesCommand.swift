// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct NodesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "nodes", abstract: "The machines of the cluster.", subcommands: [List.self, Cordon.self, Uncordon.self, Drain.self])

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Nodes with their state and what runs on them.")
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let list: NodeList = try await options.client().get("/api/2.0/nodes")
      if options.output.isStructured { return try Report.structured(list, options.output) }
      Report.table(
        ["NODE", "STATE", "SLOTS", "CPUS", "MEMORY", "LABELS", "USED", "SEEN", "RUNNING"],
        list.nodes.map {
          [
            $0.name, $0.state, "\($0.slots)", $0.cpus.map { String(format: "%g", $0) } ?? "", $0.memoryBytes.map(Report.bytes) ?? "",
            ($0.labels ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " "), Report.bytes($0.residentBytes),
            $0.lastSeen.map(Report.ago) ?? "never",
            $0.running.joined(separator: " "),
          ]
        })
    }
  }

  /// - Throws: `notFound` with the closest name.
  fileprivate static func change(_ change: String, _ node: String, _ options: ClientOptions) async throws -> NodeInfo {
    try await options.client().post("/api/2.0/nodes/\(segment(node))/\(change)", [String: String]())
  }

  struct Cordon: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give a node nothing new; what it has stays.")
    @Argument(help: "Name of the node.") var node: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let info = try await NodesCommand.change("cordon", node, options)
      if options.output.isStructured { return try Report.structured(info, options.output) }
      Report.note("\(info.name) is \(info.state.lowercased()).  Next: platform nodes uncordon \(info.name)")
    }
  }

  struct Uncordon: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Give a node everything again.")
    @Argument(help: "Name of the node.") var node: String
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let info = try await NodesCommand.change("uncordon", node, options)
      if options.output.isStructured { return try Report.structured(info, options.output) }
      Report.note("\(info.name) is \(info.state.lowercased())")
    }
  }

  struct Drain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Empty a node: nothing new, replicas move elsewhere, what runs may finish.",
      discussion: """
        EXAMPLES
          platform nodes drain w1                 wait until nothing runs there
          platform nodes drain w1 --no-wait       only say so
        """)
    @Argument(help: "Name of the node.") var node: String
    @Flag(inversion: .prefixedNo, help: "Wait until nothing runs there, for as long as --timeout says.") var wait = true
    @OptionGroup var options: ClientOptions
    func run() async throws {
      var info = try await NodesCommand.change("drain", node, options)
      let deadline = Date().addingTimeInterval(Double(options.timeout))
      var shown = -1
      while wait, info.state == "DRAINING" {
        if info.running.count != shown, !options.output.isStructured { Report.note("  \(info.running.count) units still run on \(info.name)") }
        shown = info.running.count
        guard Date() < deadline else {
          throw PlatformError(
            .timeout, "\(info.running.count) units still run on \(info.name) after \(options.timeout) s",
            hint: "It stays draining. See 'platform nodes list', or wait longer with --timeout.", number: "PLT-4212")
        }
        try await Task.sleep(for: .milliseconds(300))
        let list: NodeList = try await options.client().get("/api/2.0/nodes")
        guard let found = list.nodes.first(where: { $0.name == node }) else { break }
        info = found
      }
      if options.output.isStructured { return try Report.structured(info, options.output) }
      Report.note("\(info.name) is \(info.state.lowercased()).  Next: platform nodes uncordon \(info.name)")
    }
  }
}
