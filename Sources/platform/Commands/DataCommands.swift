// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

struct IndexCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "index", abstract: "Search vector indexes.", subcommands: [Query.self],
    aliases: ["vector-search-indexes"])

  struct Query: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The nearest texts to a question, with scores and sources.",
      discussion: """
        EXAMPLES
          platform index query main.demo.docs_index "how do I list open files" -k 3
        """)
    @Argument(help: "Index name: catalog.schema.index.") var name: String
    @Argument(help: "What to look for.") var text: String
    @Option(name: [.customShort("k"), .customLong("count")], help: "How many.") var count: Int = 5
    @OptionGroup var options: ClientOptions

    func run() async throws {
      guard (1...100).contains(count) else { throw PlatformError(.invalidArgument, "-k must be 1 to 100") }
      let answer: IndexQueryResponse = try await options.client().post(
        "/api/2.0/vector-search/indexes/\(segment(name))/query", IndexQueryRequest(queryText: text, numResults: count))
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      for hit in answer.hits {
        let flat = hit.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        Report.data("\(String(format: "%.3f", hit.score))  \(hit.path)")
        Report.data("       \(flat.count > 200 ? flat.prefix(199) + "…" : flat)")
      }
      if answer.hits.isEmpty { Report.note("the index is empty") }
    }
  }
}

struct ScaleCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "scale", abstract: "Change how many replicas an endpoint has.",
    discussion: """
      EXAMPLES
        platform scale endpoint demo-lm --replicas 3
      """)
  @Argument(help: "What to scale: endpoint.") var kind: String
  @Argument(help: "Its name.") var name: String
  @Option(help: "How many replicas.") var replicas: Int
  @Option(help: "Wait this many seconds for the replicas to be ready; 0: do not wait.") var wait: Int = 120
  @OptionGroup var options: ClientOptions

  func run() async throws {
    guard kind == "endpoint" else {
      throw PlatformError(.invalidArgument, "cannot scale '\(kind)'", hint: "Write: platform scale endpoint NAME --replicas N")
    }
    guard (0...64).contains(replicas) else { throw PlatformError(.invalidArgument, "--replicas must be 0 to 64") }
    let client = try options.client()
    var endpoint: EndpointInfo = try await client.put(
      "/api/2.0/serving-endpoints/\(segment(name))/scale", ScaleRequest(replicas: replicas))
    let deadline = Date().addingTimeInterval(Double(wait))
    while wait > 0 && (endpoint.ready != replicas || endpoint.replicas.count != replicas) {
      if Date() > deadline {
        throw PlatformError(
          .timeout, "\(name) has \(endpoint.ready) of \(replicas) replicas after \(wait) s", hint: "See 'platform nodes list'.")
      }
      try await Task.sleep(for: .milliseconds(300))
      endpoint = try await client.get("/api/2.0/serving-endpoints/\(segment(name))")
    }
    if options.output.isStructured { return try Report.structured(endpoint, options.output) }
    Report.note("\(Report.check) \(name): \(endpoint.ready)/\(endpoint.desiredReplicas) replicas ready")
  }
}

struct TokenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "Tokens with which other machines join.", subcommands: [Create.self])

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a join token and print the line to paste on the other machine.")
    @Option(help: "Seconds it is valid.") var ttl: Int = 86_400
    @Option(help: "How many nodes may join with it.") var uses: Int = 1
    @OptionGroup var options: ClientOptions
    func run() async throws {
      let answer: JoinTokenResponse = try await options.client().post(
        "/api/2.0/join-tokens", JoinTokenRequest(ttlSeconds: ttl, uses: uses))
      if options.output.isStructured { return try Report.structured(answer, options.output) }
      Report.data("platform join \(answer.address) --token \(answer.token)")
    }
  }
}
