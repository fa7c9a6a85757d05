// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Hummingbird
import Serving
import Transport

/// Cross-encoders: `/v1/rerank`, which Cohere's and Jina's clients and vLLM's call under other paths too, and vLLM's `/v1/score`.
struct RerankRoutes {
  /// Beside those that begin with `/v1/`.
  static let aliases: Set<String> = ["/rerank", "/v2/rerank", "/score"]
  let gateway: ServingGateway

  func add(to router: Router<PlatformRequestContext>) {
    for path in ["/v1/rerank", "/rerank", "/v2/rerank"] {
      router.post(RouterPath(path)) { request, context in try await rerank(request, context) }
    }
    for path in ["/v1/score", "/score"] {
      router.post(RouterPath(path)) { request, context in try await score(request, context) }
    }
  }

  private func rerank(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let (id, wanted, frame) = try await answer(request, context, "rerank", RerankRequest.init(rerank:))
    let results = RerankRequest.order(frame.scores, top: wanted.top).map { index -> JSONValue in
      var fields: [String: JSONValue] = ["index": .integer(Int64(index)), "relevance_score": .number(Double(frame.scores[index]))]
      if wanted.returnsDocuments { fields["document"] = ["text": .string(wanted.call.documents[index])] }
      return .object(fields)
    }
    return try Response.json(
      JSONValue.object(["id": .string(id), "model": .string(wanted.model), "usage": Self.usage(frame), "results": .array(results)]))
  }

  private func score(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let (id, wanted, frame) = try await answer(request, context, "score", RerankRequest.init(score:))
    let data = frame.scores.enumerated().map { index, score -> JSONValue in
      ["index": .integer(Int64(index)), "object": "score", "score": .number(Double(score))]
    }
    return try Response.json(
      JSONValue.object([
        "id": .string(id), "object": "list", "created": .integer(Int64(Date().timeIntervalSince1970)), "model": .string(wanted.model),
        "data": .array(data), "usage": Self.usage(frame),
      ]))
  }

  private static func usage(_ frame: RerankFrame) -> JSONValue {
    ["prompt_tokens": .integer(Int64(frame.tokens)), "total_tokens": .integer(Int64(frame.tokens))]
  }

  private func answer(
    _ request: Request, _ context: PlatformRequestContext, _ operation: String, _ read: (JSONValue) throws -> RerankRequest
  ) async throws -> (id: String, wanted: RerankRequest, frame: RerankFrame) {
    let id = "\(operation)-" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    let origin = RequestOrigin(requestID: id, principal: context.principal.name, operation: operation, stream: false)
    var model = ""
    let wanted: RerankRequest
    do {
      let body: JSONValue = try await request.json()
      model = body["model"]?.stringValue ?? ""
      wanted = try read(body)
    } catch {
      gateway.logRefused(endpoint: model, origin: origin, error: error)
      throw error
    }
    return (id, wanted, try await gateway.rerank(endpoint: model, wanted.call, origin: origin))
  }
}
