// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Console
import Core
import Foundation

struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo", abstract: "Run the whole lifecycle on this machine's own documentation.",
    discussion: """
      EXAMPLES
        platform demo                      documents, chunks, vectors, a trained model, an endpoint
        platform demo --input ~/notes      the same on your own files
        platform demo chaos                the same again, while a worker and a replica are killed
      """,
    subcommands: [Run.self, Chaos.self], defaultSubcommand: Run.self)

  struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "run", abstract: "Run the lifecycle and show what it made.")
    @Option(help: "Folder of text, markdown or HTML files. Default: this machine's documentation.") var input: String?
    @Option(help: "Bytes of text to take.") var limit: String?
    @Option(help: "Training steps.") var steps: Int?
    @OptionGroup var options: ClientOptions

    func run() async throws {
      let client = try options.client()
      let run = try await DemoSteps.lifecycle(client, input: input, limit: limit, steps: steps, output: options.output)
      try await DemoSteps.show(client, run, output: options.output)
    }
  }

  struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "chaos", abstract: "Kill a worker while it embeds and a replica while it answers; nothing is lost.")
    @OptionGroup var options: ClientOptions

    func run() async throws { try await ChaosDemo(client: options.client(), layout: options.data.layout).run() }
  }
}

/// The parts of the demo.
enum DemoSteps {
  /// Parameters of the workflow that the options change.
  static func parameters(input: String?, limit: String?, steps: Int?) -> [String: String] {
    var result: [String: String] = [:]
    if let input { result["input"] = input.hasPrefix("/") ? input : FileManager.default.currentDirectoryPath + "/" + input }
    if let limit { result["limit"] = limit }
    if let steps { result["steps"] = String(steps) }
    return result
  }

  /// Submits the lifecycle and follows it to its end.
  /// - Throws: `ExitCode` when the run does not succeed.
  static func lifecycle(
    _ client: PlatformClient, input: String?, limit: String?, steps: Int?, output: OutputFormat
  ) async throws -> RunInfo {
    let submitted: SubmitFileResponse = try await client.post(
      "/api/2.2/jobs/runs/submit-file",
      SubmitFileRequest(
        file: "lifecycle.yml", text: ConsoleAssets.lifecycleWorkflow, parameters: parameters(input: input, limit: limit, steps: steps)))
    try await RunWatcher(client: client, output: output).watch(submitted.runID)
    return try await client.get("/api/2.0/runs/get?run_id=\(submitted.runID)")
  }

  /// Asks the things that the run made: SQL, index, model.
  static func show(_ client: PlatformClient, _ run: RunInfo, output: OutputFormat) async throws {
    if output.isStructured { return try Report.structured(run, output) }
    Report.data("")
    Report.data("$ platform sql \"select split, count(*) chunks, sum(tokens) tokens from main.demo.chunks group by 1 order by 1\"")
    let answer = try await client.run(
      StatementRequest(statement: "select split, count(*) chunks, sum(tokens) tokens from main.demo.chunks group by 1 order by 1"))
    Report.table(answer.columns.map(\.name), answer.rows.map { $0.map { $0.stringValue ?? $0.sortedText } })
    let question = "how do I list open files"
    Report.data("\n$ platform index query main.demo.docs_index \"\(question)\" -k 3")
    let hits: IndexQueryResponse = try await client.post(
      "/api/2.0/vector-search/indexes/main.demo.docs_index/query", IndexQueryRequest(queryText: question, numResults: 3))
    for hit in hits.hits {
      let flat = hit.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
      Report.data("\(String(format: "%.3f", hit.score))  \(hit.path)\n       \(flat.prefix(110))")
    }
    Report.data("\n$ curl \(client.host)/v1/completions -d '{\"model\": \"demo-lm\", \"prompt\": \"This program is free\", ...}'")
    let body: JSONValue = [
      "model": "demo-lm", "prompt": "This program is free", "max_tokens": 40, "temperature": 0,
    ]
    let completion: JSONValue = try await client.post("/v1/completions", body)
    Report.data("This program is free" + (completion["choices"]?.arrayValue?.first?["text"]?.stringValue ?? ""))
    let endpoints: EndpointList = try await client.get("/api/2.0/serving-endpoints")
    Report.data("")
    EndpointsCommand.print(endpoints.endpoints)
    Report.note("")
    Report.note("  Console  \(client.host)")
    Report.note("  OpenAI   \(client.host)/v1          eval \"$(platform env)\" sets OPENAI_BASE_URL and OPENAI_API_KEY")
    Report.note("  Next     platform chat demo-lm       platform demo chaos       platform scale endpoint demo-lm --replicas 3")
  }
}
