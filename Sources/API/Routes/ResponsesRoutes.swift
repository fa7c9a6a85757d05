// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Serving
import Transport

/// `/v1/responses`: answers to lists of items, whole or as named events. Nothing is stored.
struct ResponsesRoutes {
  let gateway: ServingGateway

  func add(to router: Router<PlatformRequestContext>) {
    router.post("/v1/responses") { request, context in try await create(request, context) }
    let unknown: @Sendable (Request, PlatformRequestContext) async throws -> Response = { _, context in
      throw PlatformError(
        .notFound, "there is no response '\(try context.parameters.require("id"))': this server stores none", number: "response_not_found")
    }
    router.get("/v1/responses/{id}", use: unknown)
    router.delete("/v1/responses/{id}", use: unknown)
    router.get("/v1/responses/{id}/input_items", use: unknown)
    router.post("/v1/responses/{id}/cancel", use: unknown)
  }

  private func create(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let id = "resp_" + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    var origin = RequestOrigin(requestID: id, principal: context.principal.name, operation: "responses", stream: false)
    let wanted: ResponsesRequest
    var model = ""
    do {
      let data = try await request.data()
      let body: JSONValue = try Request.decode(data)
      model = body["model"]?.stringValue ?? ""
      wanted = try ResponsesRequest(body, text: String(decoding: data, as: UTF8.self), requestID: id)
    } catch {
      gateway.logRefused(endpoint: model, origin: origin, error: error)
      throw error
    }
    origin.stream = wanted.stream
    let answer = ResponsesAnswer(id: id, model: wanted.model, echoed: wanted.echoed)
    let output = ResponsesOutput(ChoiceReader(wanted.call, tools: wanted.tools), wantsLogprobs: wanted.wantsLogprobs)
    let source = FrameSource(gateway.generate(endpoint: wanted.model, wanted.call, origin: origin))
    guard wanted.stream else {
      var output = output
      while let frame = try await source.next() { _ = output.read(frame) }
      return try Response.json(answer.response(output))
    }
    // The first frame decides whether the answer is a stream or an error status.
    guard let first = try await source.next() else { throw PlatformError(.internalError, "the generation ended without a frame") }
    return Response(
      status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"],
      body: ResponseBody { writer in
        var (answer, output) = (answer, output)
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
          // The status line has left already.
          text += answer.closing(output, failure: error)
        } catch {
          // The client has gone, which `write` told: the replica need not go on.
          await source.end()
          throw error
        }
        try await writer.write(ByteBuffer(string: text))
        try await writer.finish(nil)
      })
  }
}
