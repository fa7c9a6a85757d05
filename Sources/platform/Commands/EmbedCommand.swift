// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// `platform embed`: vectors of texts.
struct EmbedCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Vectors of texts.",
    discussion: """
      A line of JSON numbers for each text, in their order. The texts are arguments, or those of FILE: a text a line, empty lines left out, or a JSON list of
      texts; - is the standard input. With -o json one list of objects with 'text' and 'embedding'.

      EXAMPLES
        platform embed vectors "how do I list open files" "what is a pipe"
        platform embed vectors --file texts.txt > vectors.jsonl
        platform sql "select text from main.demo.chunks" -o json | jq '[.[].text]' | platform embed vectors --file - --dimensions 128
      """)
  @Argument(help: "Endpoint.") var model: String
  @Argument(help: "Texts.") var texts: [String] = []
  @Option(help: "File with the texts.") var file: String?
  @Option(help: "Only the first N numbers, at length one again.") var dimensions: Int?
  @OptionGroup var options: ClientOptions

  private struct Answer: Encodable {
    var text: String
    var embedding: [Float]
  }

  /// Texts of one request.
  private static let batch = 256

  func run() async throws {
    guard (file == nil) != texts.isEmpty else {
      throw PlatformError(
        .invalidArgument, file == nil ? "there are no texts" : "give texts or --file, not both", hint: "platform embed \(model) \"a text\", or --file FILE.",
        number: "PLT-4547")
    }
    let all = try file.map { try RerankCommand.texts($0 == "-" ? FileHandle.standardInput.readToEnd() ?? Data() : ModelFiles.bytes($0), $0) } ?? texts
    let client = try options.client()
    var answers: [Answer] = []
    var tokens = 0
    for start in stride(from: 0, to: all.count, by: Self.batch) {
      let part = Array(all[start..<min(start + Self.batch, all.count)])
      var body: [String: JSONValue] = ["model": .string(model), "input": .array(part.map { .string($0) })]
      if let dimensions { body["dimensions"] = .integer(Int64(dimensions)) }
      let answer: JSONValue = try await client.post("/v1/embeddings", JSONValue.object(body))
      let vectors = (answer["data"]?.arrayValue ?? []).map { ($0["embedding"]?.arrayValue ?? []).compactMap(\.doubleValue) }
      guard vectors.count == part.count, !vectors.contains(where: \.isEmpty) else {
        throw PlatformError(.internalError, "\(part.count) texts were sent, and \(vectors.count) vectors came", number: "PLT-4547")
      }
      tokens += answer["usage"]?["total_tokens"]?.intValue ?? 0
      // Lines at once: what has come stays when the next request fails.
      if options.output.isStructured {
        answers += zip(part, vectors).map { Answer(text: $0, embedding: $1.map { Float($0) }) }
      } else {
        for vector in vectors { Report.data("[" + vector.map { "\(Float($0))" }.joined(separator: ",") + "]") }
      }
    }
    if options.output.isStructured { return try Report.structured(answers, options.output) }
    Report.note("\(all.count == 1 ? "1 text" : "\(all.count) texts"), \(tokens) tokens")
  }
}
