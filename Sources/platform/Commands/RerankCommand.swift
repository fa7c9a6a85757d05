// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Client
import Core
import Foundation

/// `platform rerank`: which texts fit a question best.
struct RerankCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rerank", abstract: "Order texts by how well they fit a question.",
    discussion: """
      FILE has a text a line, or is a JSON list of texts; - is the standard input. The endpoint serves a cross-encoder.

      EXAMPLES
        platform rerank judge --query "how do I list open files" answers.txt --top 3
        platform sql "select text from main.demo.chunks" -o json | jq '[.[].text]' | platform rerank judge --query "pipes" -
      """)
  @Argument(help: "Endpoint.") var model: String
  @Argument(help: "File with the texts.") var file: String
  @Option(help: "The question.") var query: String
  @Option(help: "Only the best N.") var top: Int?
  @OptionGroup var options: ClientOptions

  func run() async throws {
    let texts = try Self.texts(file == "-" ? FileHandle.standardInput.readToEnd() ?? Data() : ModelFiles.bytes(file), file)
    var body: [String: JSONValue] = ["model": .string(model), "query": .string(query), "documents": .array(texts.map { .string($0) })]
    if let top { body["top_n"] = .integer(Int64(top)) }
    let answer: JSONValue = try await options.client().post("/v1/rerank", JSONValue.object(body))
    if options.output.isStructured { return try Report.structured(answer, options.output) }
    Report.table(
      ["SCORE", "NUMBER", "TEXT"],
      (answer["results"]?.arrayValue ?? []).map { result in
        let text = (result["document"]?["text"]?.stringValue ?? "").split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return [
          String(format: "%.4f", result["relevance_score"]?.doubleValue ?? 0), "\((result["index"]?.intValue ?? 0) + 1)",
          text.count > 120 ? text.prefix(119) + "…" : text,
        ]
      })
  }

  /// - Throws: `invalidArgument` (PLT-5202) for a file that is neither lines of text nor a JSON list of texts.
  static func texts(_ data: Data, _ path: String) throws -> [String] {
    guard let whole = String(bytes: data, encoding: .utf8) else { throw ModelFiles.refuse("is not UTF-8 text", path) }
    if whole.first(where: { !$0.isWhitespace }) == "[", let items = try? JSONValue(parsing: whole).arrayValue {  // otherwise lines that begin so
      let texts = items.compactMap(\.stringValue)
      guard texts.count == items.count else { throw ModelFiles.refuse("must hold a JSON list of texts", path) }
      return texts
    }
    return whole.split(whereSeparator: \.isNewline).map(String.init)
  }
}
