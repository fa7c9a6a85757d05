// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import HTTPTypes
import Hummingbird
import NIOCore

/// Registers routes by the types of their bodies and answers, which also describe them: reading, checking, answering and the document have
/// one source.
struct DescribedRoutes {
  let router: Router<PlatformRequestContext>
  let description: APIDescription
  var tag: String
  var prefix = ""

  typealias Context = PlatformRequestContext

  func tagged(_ tag: String) -> DescribedRoutes {
    var copy = self
    copy.tag = tag
    return copy
  }

  private func on(_ method: HTTPRequest.Method, _ path: String, _ handler: @escaping @Sendable (Request, Context) async throws -> Response) {
    router.on(RouterPath(prefix + path), method: method, use: handler)
  }

  private func note(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, _ query: [QueryField], _ body: (any (Decodable & Sendable).Type)?,
    _ answer: APIOperation.Answer, stream: [String] = []
  ) {
    description.add(
      APIOperation(
        method: method.rawValue, path: prefix + path, tag: tag, summary: summary, query: query, body: body, stream: stream, answer: answer))
  }

  /// Describes a route that reads its request or writes its answer as it goes, and is registered apart.
  /// - Parameters:
  ///   - body: what the route decodes.
  ///   - stream: media types of a body that is not decoded.
  func describe(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, query: [QueryField] = [], body: (any (Decodable & Sendable).Type)? = nil,
    stream: [String] = [], answer: APIOperation.Answer
  ) {
    note(method, path, summary, query, body, answer, stream: stream)
  }

  /// A route without a body, or with one that the handler reads as it comes: `stream` has its media types.
  func add<Answer: Codable & Sendable>(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, query: [QueryField] = [], stream: [String] = [],
    _ handler: @escaping @Sendable (Request, Context) async throws -> Answer
  ) {
    note(method, path, summary, query, nil, .object(Answer.self), stream: stream)
    on(method, path) { request, context in try Response.json(await handler(request, context)) }
  }

  /// A route that takes a body.
  func add<Body: Codable & Sendable, Answer: Codable & Sendable>(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, query: [QueryField] = [],
    _ handler: @escaping @Sendable (Body, Request, Context) async throws -> Answer
  ) {
    note(method, path, summary, query, Body.self, .object(Answer.self))
    on(method, path) { request, context in
      let body: Body = try await request.json()
      return try Response.json(await handler(body, request, context))
    }
  }

  /// A listing with `max_results` and `page_token`.
  func list<Entry: Codable & Sendable>(
    _ path: String, _ key: String, _ summary: String, query: [QueryField] = [],
    _ handler: @escaping @Sendable (PageRequest, Request, Context) async throws -> CatalogList<Entry>
  ) {
    note(.get, path, summary, query + QueryField.page, nil, .list(key, Entry.self))
    on(.get, path) { request, context in try Response.json(await handler(request.page(), request, context)) }
  }

  /// A route that answers with an empty object.
  func done(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, query: [QueryField] = [],
    _ handler: @escaping @Sendable (Request, Context) async throws -> Void
  ) {
    add(method, path, summary, query: query) { request, context -> EmptyAnswer in
      try await handler(request, context)
      return EmptyAnswer()
    }
  }

  /// As `done`, with a body.
  func done<Body: Codable & Sendable>(
    _ method: HTTPRequest.Method, _ path: String, _ summary: String, query: [QueryField] = [],
    _ handler: @escaping @Sendable (Body, Request, Context) async throws -> Void
  ) {
    add(method, path, summary, query: query) { (body: Body, request, context) -> EmptyAnswer in
      try await handler(body, request, context)
      return EmptyAnswer()
    }
  }
}

extension PlatformError {
  /// A body that could not be decoded, with the place of the member in it: `columns[3].type_name`.
  static func malformedBody(_ error: any Error) -> PlatformError {
    guard let error = error as? DecodingError else { return .from(error, context: "the request body cannot be read") }
    func place(_ path: [any CodingKey]) -> String {
      path.reduce(into: "") { text, key in
        if let index = key.intValue { text += "[\(index)]" } else { text += (text.isEmpty ? "" : ".") + key.stringValue }
      }
    }
    func word(_ type: Any.Type) -> String {
      switch type {
      case is String.Type: "a string"
      case is Bool.Type: "true or false"
      case is any BinaryInteger.Type: "a whole number"
      case is Double.Type, is Float.Type: "a number"
      case is any ListShape.Type, is [Any].Type: "an array"
      case is any MapShape.Type, is [String: Any].Type: "an object"
      default: "an object"
      }
    }
    let (path, reason): (String, String) =
      switch error {
      case .keyNotFound(let key, let context): (place(context.codingPath + [key]), "is missing")
      case .typeMismatch(let type, let context): (place(context.codingPath), "must be \(word(type))")
      case .valueNotFound(let type, let context): (place(context.codingPath), "must be \(word(type)), not null")
      case .dataCorrupted(let context): (place(context.codingPath), context.debugDescription)
      @unknown default: ("", "cannot be read")
      }
    return path.isEmpty
      ? PlatformError(.invalidArgument, "the request body cannot be read: \(reason)", number: "PLT-1405")
      : PlatformError(.invalidArgument, "\(path): \(reason)", number: "PLT-1405", path: path)
  }
}
