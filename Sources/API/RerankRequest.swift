// SPDX-License-Identifier: Apache-2.0

import Core
import Transport

/// A body of `/v1/rerank` (the form of Cohere, Jina and vLLM) or `/v1/score` (vLLM's), checked field by field.
struct RerankRequest {
  var model: String
  var call: RerankCall
  /// The most results; nil: all.
  var top: Int?
  var returnsDocuments = true

  /// - Throws: `invalidArgument` naming the parameter.
  init(rerank body: JSONValue) throws {
    model = try Self.model(body)
    try Self.checkNames(body, ["model", "query", "documents", "top_n", "return_documents", "user"])
    let fields = OpenAIFields(body)
    guard let query = body["query"]?.stringValue, !query.isEmpty else { throw Self.refusal("'query' must be a text") }
    guard let items = body["documents"]?.arrayValue, (1...2048).contains(items.count) else {
      throw Self.refusal("'documents' must be a list of 1 to 2048 documents")
    }
    let documents = items.compactMap { $0.stringValue ?? $0["text"]?.stringValue }
    guard documents.count == items.count else { throw Self.refusal("'documents' must be texts, or objects with a 'text'") }
    top = try fields.int("top_n", in: 1...1_000_000)
    returnsDocuments = try fields.bool("return_documents") ?? true
    call = RerankCall(queries: [query], documents: documents)
  }

  /// - Throws: `invalidArgument` naming the parameter.
  init(score body: JSONValue) throws {
    model = try Self.model(body)
    try Self.checkNames(body, ["model", "text_1", "text_2", "user"])
    func texts(_ name: String) throws -> [String] {
      if let text = body[name]?.stringValue { return [text] }
      let items = body[name]?.arrayValue
      guard let items, (1...2048).contains(items.count), items.allSatisfy({ $0.stringValue != nil }) else {
        throw Self.refusal("'\(name)' must be a text or a list of 1 to 2048 texts")
      }
      return items.compactMap(\.stringValue)
    }
    let (queries, documents) = (try texts("text_1"), try texts("text_2"))
    guard queries.count == 1 || queries.count == documents.count else {
      throw Self.refusal("'text_1' must be one text, or as many as 'text_2'")
    }
    call = RerankCall(queries: queries, documents: documents)
  }

  private static func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }

  private static func model(_ body: JSONValue) throws -> String {
    guard let model = body["model"]?.stringValue, !model.isEmpty else {
      throw PlatformError(.invalidArgument, "you must provide a model parameter", number: "missing_model")
    }
    return model
  }

  private static func checkNames(_ body: JSONValue, _ known: Set<String>) throws {
    for (name, value) in (body.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null && !known.contains(name) {
      throw PlatformError(.invalidArgument, "'\(name)' is no parameter of this route", number: "unknown_parameter")
    }
  }

  /// Places of the documents by falling score; of equal ones the first comes first.
  static func order(_ scores: [Float], top: Int?) -> [Int] {
    let sorted = scores.indices.sorted { (scores[$1], $0) < (scores[$0], $1) }
    return Array(sorted.prefix(top ?? sorted.count))
  }
}
