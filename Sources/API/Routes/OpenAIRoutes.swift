// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore
import Serving
import Transport

/// `/v1`: what OpenAI's clients send and expect.
struct OpenAIRoutes {
  let gateway: ServingGateway
  let service: any PlatformService

  func add(to router: Router<PlatformRequestContext>) {
    let gateway = self.gateway
    router.get("/v1/models") { request, _ in
      let served = gateway.endpoints().filter { $0.kind != "search" && !$0.isStopped }.flatMap { endpoint in
        [ServedModel(endpoint: endpoint)] + endpoint.adapters.map { ServedModel(endpoint: endpoint, adapter: $0) }
      }
      guard request.headers[.anthropicVersion] == nil else { return try Response.json(MessagesAnswer.models(served)) }
      return try Response.json(JSONValue.object(["object": "list", "data": .array(served.map(Self.model))]))
    }
    router.get("/v1/models/{name}") { request, context in
      let name = try context.parameters.require("name")
      guard let served = gateway.served(name) else {
        throw PlatformError(.notFound, "the model '\(name)' does not exist", number: "model_not_found")
      }
      return try Response.json(request.headers[.anthropicVersion] == nil ? Self.model(served) : MessagesAnswer.model(served))
    }
    router.post("/v1/chat/completions") { request, context in try await generate(request, context, chat: true) }
    router.post("/v1/completions") { request, context in try await generate(request, context, chat: false) }
    router.post("/v1/embeddings") { request, context in try await embed(request, context) }
  }

  /// An adapter has the endpoint as its parent, as vLLM tells it.
  private static func model(_ served: ServedModel) -> JSONValue {
    [
      "id": .string(served.adapter?.name ?? served.endpoint.name), "object": "model",
      "created": .integer(Int64(served.endpoint.createdAt.timeIntervalSince1970)), "owned_by": "platform", "root": .string(served.model),
      "parent": served.adapter == nil ? .null : .string(served.endpoint.name),
    ]
  }

  // MARK: generation

  private func generate(_ request: Request, _ context: PlatformRequestContext, chat: Bool) async throws -> Response {
    let id = (chat ? "chatcmpl-" : "cmpl-") + UUID().uuidString.replacingOccurrences(of: "-", with: "").lowercased()
    var origin = RequestOrigin(
      requestID: id, principal: context.principal.name, operation: chat ? "chat.completions" : "completions", stream: false)
    let wanted: OpenAIRequest
    var model = ""
    do {
      let data = try await request.data()
      let body: JSONValue = try Request.decode(data)
      model = body["model"]?.stringValue ?? ""
      wanted = try OpenAIRequest(body, text: String(decoding: data, as: UTF8.self), chat: chat, requestID: id)
    } catch {
      gateway.logRefused(endpoint: model, origin: origin, error: error)
      throw error
    }
    origin.stream = wanted.stream
    let shape = OpenAIAnswer(id: id, model: wanted.model, chat: chat, wantsLogprobs: wanted.wantsLogprobs, announcesUsage: wanted.includeUsage)
    return wanted.stream ? try await stream(wanted, origin, shape) : try await whole(wanted, origin, shape)
  }

  private func whole(_ wanted: OpenAIRequest, _ origin: RequestOrigin, _ shape: OpenAIAnswer) async throws -> Response {
    let gateway = self.gateway
    let finished = try await withThrowingTaskGroup(of: (Int, OpenAIAnswer.Collected).self) { group in
      for (index, call) in wanted.calls.enumerated() {
        var own = origin
        own.requestID = call.requestID
        group.addTask { [own] in
          var collected = OpenAIAnswer.Collected(ChoiceReader(call, tools: wanted.tools))
          for try await frame in gateway.generate(endpoint: wanted.model, call, origin: own) { collected.add(frame) }
          return (index, collected)
        }
      }
      var all: [(Int, OpenAIAnswer.Collected)] = []
      for try await one in group { all.append(one) }
      return all.sorted { $0.0 < $1.0 }.map(\.1)
    }
    return try Response.json(shape.complete(finished, choicesPerPrompt: wanted.choicesPerPrompt))
  }

  private func stream(_ wanted: OpenAIRequest, _ origin: RequestOrigin, _ shape: OpenAIAnswer) async throws -> Response {
    // Choices are streamed into one channel; the first frame decides whether the answer is a stream or an error status.
    let gateway = self.gateway
    let (frames, continuation) = AsyncThrowingStream<(Int, GenerateFrame), any Error>.makeStream(bufferingPolicy: .bufferingOldest(100_000))
    let producer = Task {
      do {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for (index, call) in wanted.calls.enumerated() {
            var own = origin
            own.requestID = call.requestID
            group.addTask { [own] in
              for try await frame in gateway.generate(endpoint: wanted.model, call, origin: own) { continuation.yield((index, frame)) }
            }
          }
          try await group.waitForAll()
        }
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    let source = FrameSource(frames)
    guard let first = try await source.next() else {
      throw PlatformError(.internalError, "the generation ended without a frame")
    }
    return Response(
      status: .ok, headers: [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"],
      body: ResponseBody { writer in
        // A client that has gone makes `write` throw, which ends the producer and frees the replica.
        defer { producer.cancel() }
        var started: Set<Int> = []
        var usage = OpenAIAnswer.Usage()
        var told = wanted.calls.map { OpenAIAnswer.Told(ChoiceReader($0, tools: wanted.tools)) }
        var next: (Int, GenerateFrame)? = first
        do {
          while let (index, frame) = next {
            var text = ""
            if started.insert(index).inserted, let opening = shape.opening(index) { text += Self.event(opening) }
            for chunk in shape.chunks(index, frame, &told[index]) { text += Self.event(chunk) }
            if frame.finish != nil { usage.add(frame, reasoning: told[index].reader.reasoningTokens, countsPrompt: index % wanted.choicesPerPrompt == 0) }
            if !text.isEmpty { try await writer.write(ByteBuffer(string: text)) }
            next = try await source.next()
          }
          if wanted.includeUsage {
            try await writer.write(ByteBuffer(string: Self.event(shape.usageChunk(usage))))
          }
          try await writer.write(ByteBuffer(string: "data: [DONE]\n\n"))
        } catch let error as PlatformError {
          // The status line has left already: the error is an event, as OpenAI's servers do it.
          let body: JSONValue = [
            "error": [
              "message": .string(error.message), "type": .string(StatusMapping.openAIType(error.code)), "param": nil,
              "code": .string(error.number.isEmpty ? error.code.rawValue : error.number),
            ]
          ]
          try await writer.write(ByteBuffer(string: Self.event(body)))
        }
        try await writer.finish(nil)
      })
  }

  private static func event(_ value: JSONValue) -> String { "data: \(value.sortedText)\n\n" }

  // MARK: embeddings

  private func embed(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let origin = RequestOrigin(
      requestID: "embd-" + UUID().uuidString.lowercased(), principal: context.principal.name, operation: "embeddings", stream: false)
    var model = ""
    let call: EmbedCall
    let dimensions: Int?
    let base64: Bool
    do {
      let body: JSONValue = try await request.json()
      model = body["model"]?.stringValue ?? ""
      guard !model.isEmpty else { throw PlatformError(.invalidArgument, "you must provide a model parameter", number: "missing_model") }
      let known: Set = ["model", "input", "dimensions", "encoding_format", "user"]
      for (name, value) in (body.objectValue ?? [:]).sorted(by: { $0.key < $1.key }) where value != .null && !known.contains(name) {
        throw PlatformError(.invalidArgument, "'\(name)' is no parameter of this route", number: "unknown_parameter")
      }
      call = try Self.embedded(body["input"])
      dimensions = try OpenAIFields(body).int("dimensions", in: 1...1_000_000)
      let format = body["encoding_format"]?.stringValue ?? "float"
      guard ["float", "base64"].contains(format) else {
        throw PlatformError(.invalidArgument, "'encoding_format' must be 'float' or 'base64'", number: "invalid_value")
      }
      base64 = format == "base64"
    } catch {
      gateway.logRefused(endpoint: model, origin: origin, error: error)
      throw error
    }
    let frame = try await gateway.embed(endpoint: model, call, origin: origin)
    let data = try frame.vectors.enumerated().map { index, whole -> JSONValue in
      let vector = try dimensions.map { try Self.shortened(whole, to: $0) } ?? whole
      let embedding: JSONValue =
        base64
        ? .string(vector.map { $0.bitPattern.littleEndian }.withUnsafeBytes { Data($0).base64EncodedString() })
        : .array(vector.map { .number(Double($0)) })
      return ["object": "embedding", "index": .integer(Int64(index)), "embedding": embedding]
    }
    return try Response.json(
      JSONValue.object([
        "object": "list", "data": .array(data), "model": .string(model),
        "usage": ["prompt_tokens": .integer(Int64(frame.tokens)), "total_tokens": .integer(Int64(frame.tokens))],
      ]))
  }

  /// A text, a list of texts, token ids, or a list of lists of them.
  private static func embedded(_ input: JSONValue?) throws -> EmbedCall {
    func refusal(_ what: String) -> PlatformError { PlatformError(.invalidArgument, what, number: "invalid_value") }
    if let text = input?.stringValue {
      guard !text.isEmpty else { throw refusal("'input' must not be empty") }
      return EmbedCall(inputs: [text])
    }
    guard let items = input?.arrayValue, !items.isEmpty else { throw refusal("'input' must be a text, token ids, or a list of either") }
    func tokens(_ items: [JSONValue]) -> [Int32]? {
      let ids = items.compactMap { $0.intValue.flatMap { Int32(exactly: $0) } }
      return ids.count == items.count && !ids.isEmpty ? ids : nil
    }
    if let ids = tokens(items) { return EmbedCall(tokenInputs: [ids]) }
    let (texts, lists) = (items.compactMap(\.stringValue), items.compactMap { $0.arrayValue.flatMap(tokens) })
    guard texts.count == items.count || lists.count == items.count else {
      throw refusal("'input' must be a text, token ids, or a list of either")
    }
    guard items.count <= 2048 else { throw refusal("'input' has \(items.count) texts, the most is 2048") }
    guard !texts.contains("") else { throw refusal("'input' must not be empty") }
    return lists.isEmpty ? EmbedCall(inputs: texts) : EmbedCall(tokenInputs: lists)
  }

  /// The first numbers of a vector, brought to length 1 again: models that were trained for it (Matryoshka) say most with those.
  static func shortened(_ vector: [Float], to count: Int) throws -> [Float] {
    guard count <= vector.count else {
      throw PlatformError(.invalidArgument, "'dimensions' is \(count), the model's vectors have \(vector.count)", number: "invalid_value")
    }
    guard count < vector.count else { return vector }
    let length = vector.prefix(count).reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
    return vector.prefix(count).map { length > 0 ? Float(Double($0) / length) : $0 }
  }
}
