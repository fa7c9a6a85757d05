// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Grammar
import Hummingbird
import Serving
import Transport

/// Token ids of texts and conversations, and back: `/tokenize` and `/detokenize` as vLLM has them, the same under `/v1`.
struct TokenRoutes {
  let gateway: ServingGateway

  func add(to router: Router<PlatformRequestContext>) {
    for prefix in ["", "/v1"] {
      router.post("\(prefix)/tokenize") { request, context in try await tokenize(request, context) }
      router.post("\(prefix)/detokenize") { request, context in try await detokenize(request, context) }
    }
  }

  private func tokenize(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let data = try await request.data()
    let wanted = try TokenizeRequest(Request.decode(data), text: String(decoding: data, as: UTF8.self))
    let frame = try await gateway.tokenize(endpoint: model(wanted.model), wanted.call, origin: Self.origin(context, "tokenize"))
    return try Response.json(
      JSONValue.object([
        "count": .integer(Int64(frame.tokens.count)), "max_model_len": .integer(Int64(frame.contextLength)),
        "tokens": .array(frame.tokens.map { .integer(Int64($0)) }), "token_strs": frame.texts.map { .array($0.map { .string($0) }) } ?? .null,
      ]))
  }

  private func detokenize(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let body: JSONValue = try await request.json()
    try TokenizeRequest.checkNames(body, ["model", "tokens"])
    let ids = body["tokens"]?.arrayValue?.map { $0.intValue.flatMap { Int32(exactly: $0) } } ?? [nil]
    guard ids.count <= 1_000_000, let tokens = ids.reduce(into: [Int32]?.some([]), { all, id in if let id { all?.append(id) } else { all = nil } }) else {
      throw PlatformError(.invalidArgument, "'tokens' must be a list of at most 1000000 token ids", number: "invalid_type")
    }
    let frame = try await gateway.detokenize(
      endpoint: model(TokenizeRequest.model(body)), DetokenizeCall(tokens: tokens), origin: Self.origin(context, "detokenize"))
    return try Response.json(JSONValue.object(["prompt": .string(frame.text)]))
  }

  /// Which may be left out where one model is served.
  private func model(_ name: String?) throws -> String {
    if let name { return name }
    let served = gateway.endpoints().filter { $0.kind != "search" && !$0.isStopped }
    guard served.count == 1, let only = served.first else {
      throw PlatformError(
        .invalidArgument, "you must provide a model parameter: \(served.count) models are served", number: "missing_model")
    }
    return only.name
  }

  private static func origin(_ context: PlatformRequestContext, _ operation: String) -> RequestOrigin {
    RequestOrigin(requestID: context.requestID, principal: context.principal.name, operation: operation, stream: false)
  }
}

/// A body of `/tokenize`, checked field by field.
struct TokenizeRequest {
  var model: String?
  var call = TokenizeCall()

  private static let both: Set<String> = ["model", "add_special_tokens", "return_token_strs"]
  private static let conversation: Set<String> = ["messages", "tools", "add_generation_prompt", "chat_template_kwargs"]

  /// - Parameter text: the body as it came, whose members' order is that of tools.
  /// - Throws: `invalidArgument` naming the parameter.
  init(_ body: JSONValue, text: String) throws {
    let fields = OpenAIFields(body)
    model = Self.model(body)
    let isConversation = (body["messages"] ?? .null) != .null
    try Self.checkNames(body, isConversation ? Self.both.union(Self.conversation) : Self.both.union(["prompt"]))
    call.addsSpecialTokens = try fields.bool("add_special_tokens")
    call.wantsTexts = try fields.bool("return_token_strs") ?? false
    guard isConversation else {
      guard let prompt = body["prompt"]?.stringValue else {
        throw PlatformError(.invalidArgument, "'prompt' must be a string, or 'messages' a conversation", number: "invalid_type")
      }
      call.text = prompt
      return
    }
    let ordered = try OrderedJSON(parsing: text)
    call.opensAnswer = try fields.bool("add_generation_prompt") ?? true
    call.messages = try OpenAIRequest.messages(body["messages"])
    call.tools = try OpenAITools(ordered).listed
    call.templateValues = try OpenAITools.templateValues(ordered)
    for (index, message) in (ordered["messages"]?.arrayValue ?? []).enumerated() {
      call.messages?[index].members = try OpenAITools.members(message, "messages[\(index)]")
    }
  }

  static func model(_ body: JSONValue) -> String? { body["model"]?.stringValue.flatMap { $0.isEmpty ? nil : $0 } }

  static func checkNames(_ body: JSONValue, _ known: Set<String>) throws {
    for (name, value) in (body.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null && !known.contains(name) {
      throw PlatformError(.invalidArgument, "'\(name)' is no parameter of this route", number: "unknown_parameter")
    }
  }
}
