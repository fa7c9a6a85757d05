// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Serving
import Transport

/// `/v1/messages`: what Anthropic's clients send and expect, whole or as named events, and the counting of a prompt's tokens.
struct MessagesRoutes {
  static let prefix = "/v1/messages"
  let gateway: ServingGateway

  func add(to router: Router<PlatformRequestContext>) {
    router.post("/v1/messages") { request, context in try await create(request, context) }
    router.post("/v1/messages/count_tokens") { request, context in try await count(request, context) }
  }

  private func read(_ request: Request, _ origin: RequestOrigin, counts: Bool) async throws -> MessagesRequest {
    var model = ""
    do {
      let data = try await request.data()
      let body: JSONValue = try Request.decode(data)
      model = body["model"]?.stringValue ?? ""
      return try MessagesRequest(body, text: String(decoding: data, as: UTF8.self), requestID: origin.requestID, counts: counts)
    } catch {
      gateway.logRefused(endpoint: model, origin: origin, error: error)
      throw error
    }
  }

  private func create(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let id = "msg_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    var origin = RequestOrigin(requestID: id, principal: context.principal.name, operation: "messages", stream: false)
    let wanted = try await read(request, origin, counts: false)
    origin.stream = wanted.stream
    let answer = MessagesAnswer(id: id, model: wanted.model)
    let output = MessagesOutput(wanted.call, tools: wanted.tools)
    let source = FrameSource(gateway.generate(endpoint: wanted.model, wanted.call, origin: origin))
    guard wanted.stream else {
      var output = output
      while let frame = try await source.next() { _ = output.read(frame) }
      return try Response.json(answer.message(output))
    }
    // The first frame decides whether the answer is a stream or an error status.
    guard let first = try await source.next() else { throw PlatformError(.internalError, "the generation ended without a frame") }
    return Response(
      status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"],
      body: ResponseBody { writer in
        var output = output
        var text = answer.opening()
        do {
          var next: GenerateFrame? = first
          while let frame = next {
            text += answer.events(output.read(frame))
            if !text.isEmpty { try await writer.write(ByteBuffer(string: text)) }
            text = ""
            next = try await source.next()
          }
          text = answer.closing(output)
        } catch let error as PlatformError {
          text += MessagesAnswer.failure(error)
        } catch {
          // The client has gone, which `write` told: the replica need not go on.
          await source.end()
          throw error
        }
        try await writer.write(ByteBuffer(string: text))
        try await writer.finish(nil)
      })
  }

  private func count(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let origin = RequestOrigin(requestID: context.requestID, principal: context.principal.name, operation: "count_tokens", stream: false)
    let wanted = try await read(request, origin, counts: true)
    var call = TokenizeCall()
    call.messages = wanted.call.messages
    call.tools = wanted.call.tools
    call.templateValues = wanted.call.templateValues
    call.opensAnswer = true
    let frame = try await gateway.tokenize(endpoint: wanted.model, call, origin: origin)
    return try Response.json(JSONValue.object(["input_tokens": .integer(Int64(frame.tokens.count))]))
  }
}
