// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

extension HTTPField.Name {
  static let requestID = HTTPField.Name("X-Request-Id")!
  static let apiKey = HTTPField.Name("X-Api-Key")!
  /// Which clients of Anthropic send with every request.
  static let anthropicVersion = HTTPField.Name("Anthropic-Version")!
  static let contentTypeOptions = HTTPField.Name("X-Content-Type-Options")!
}

/// Gives every request an identifier; a client may bring a plausible one.
struct RequestIdentity: RouterMiddleware {
  typealias Context = PlatformRequestContext

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    var context = context
    let given = request.headers[.requestID].flatMap { text in
      (1...64).contains(text.count) && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") } ? text : nil
    }
    context.requestID = given ?? RandomIdentifier.text()
    var response = try await next(request, context)
    // An error to HEAD must have no body either: the client would take it for the start of the next answer.
    if request.method == .head { response = response.createHeadResponse() }
    response.headers[.requestID] = context.requestID
    response.headers[.contentTypeOptions] = "nosniff"
    return response
  }
}

/// Turns thrown errors into the shape that the client family of the path expects.
struct ErrorMiddleware: RouterMiddleware {
  typealias Context = PlatformRequestContext
  let logger: Logger

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    do {
      return try await next(request, context)
    } catch {
      if let failure = error as? PlatformError, failure.code == .unauthenticated, request.method == .get,
        request.headers[.accept]?.contains("text/html") == true
      {
        return Self.signInPage(failure)
      }
      return try Self.response(error, path: request.uri.path, requestID: context.requestID, logger: logger)
    }
  }

  /// What a person sees who opens the console without being signed in.
  static func signInPage(_ failure: PlatformError) -> Response {
    let style = "font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 20vh auto; padding: 0 1rem"
    var response = Response.text(
      """
      <!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in - Platform</title>
      <body style="\(style)"><h1>Sign in</h1><p>\(failure.number == "PLT-1403" ? "This link was used already, or is too old." : "This console needs a sign-in.")
      Run <code>platform open</code> on the machine where the cluster runs, and follow the link that it prints.</p></body></html>

      """, type: "text/html; charset=utf-8")
    response.status = .unauthorized
    response.headers[.init("Content-Security-Policy")!] = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
    response.headers[.cacheControl] = "no-store"
    return response
  }

  static func response(_ error: any Error, path: String, requestID: String, logger: Logger) throws -> Response {
    let all = (error as? PlatformErrors)?.errors ?? []
    var failure: PlatformError
    // Clients that know several versions of an API try the next one on this code only.
    let isUnknownPath = (error as? any HTTPResponseError)?.status.code == 404
    if let first = all.first {
      failure = first
    } else if let http = error as? any HTTPResponseError {
      failure = PlatformError(
        http.status.code == 404 ? .notFound : http.status.code >= 500 ? .internalError : .invalidArgument,
        http.status.code == 404 ? "there is no \(path)" : "\(http.status.reasonPhrase)")
    } else {
      failure = PlatformError.from(error)
    }
    // Whatever Postgres or a change of the leading coordinator kept from being done may be asked again in a moment.
    if StatusMapping.isOutage(failure) { failure.code = .unavailable }
    if failure.code == .internalError {
      // The text of an unforeseen error may hold anything: it goes to the log, the client gets the identifier.
      logger.error("request failed", metadata: ["request.id": "\(requestID)", "path": "\(path)", "error": "\(error)"])
      if !(error is PlatformError) { failure.message = "internal error; request \(requestID)" }
    }
    // What a client may know of a file is the path that it asked for, not where the platform keeps it.
    if failure.path != nil, path.hasPrefix("/api/2.0/fs/"), let volumes = path.range(of: "/Volumes/") {
      failure.path = String(path[volumes.lowerBound...]).removingPercentEncoding
    }
    var response: Response
    if path.hasPrefix(MessagesRoutes.prefix) {
      response = try Response.json(MessagesAnswer.errorBody(failure, requestID: requestID), status: StatusMapping.status(failure.code))
    } else if path.hasPrefix("/v1/") || path == "/tokenize" || path == "/detokenize" || RerankRoutes.aliases.contains(path) {
      let body: JSONValue = [
        "error": [
          "message": .string(failure.message), "type": .string(StatusMapping.openAIType(failure.code)),
          "param": StatusMapping.openAIParameter(failure),
          "code": .string(failure.number.isEmpty ? failure.code.rawValue : failure.number), "request_id": .string(requestID),
        ]
      ]
      response = try Response.json(body, status: StatusMapping.status(failure.code))
    } else {
      let body = ErrorBody(
        failure, errorCode: isUnknownPath ? "ENDPOINT_NOT_FOUND" : StatusMapping.errorCode(failure.code), requestID: requestID, others: Array(all.dropFirst()),
        details: StatusMapping.details(failure))
      response = try Response.json(body, status: StatusMapping.status(failure.code))
    }
    if failure.code == .resourceExhausted || failure.code == .unavailable { response.headers[.retryAfter] = "1" }
    return response
  }
}

/// Refuses browsers that were sent here by another site: the Host must be one that we are called by, and a request that
/// changes something may not come from another origin (DNS rebinding, cross-site requests).
struct OriginCheck: RouterMiddleware {
  typealias Context = PlatformRequestContext

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    let authority = request.head.authority ?? ""
    if let origin = request.headers[.origin], origin != "http://\(authority)", origin != "https://\(authority)" {
      throw PlatformError(.permissionDenied, "requests from another site are refused")
    }
    if request.headers[.authorization] == nil, request.headers[.apiKey] == nil {
      let host = authority.split(separator: ":").first.map(String.init) ?? ""
      let numeric = host.allSatisfy { $0.isNumber || $0 == "." } || authority.hasPrefix("[")
      if !(numeric || host == "localhost" || host.isEmpty) {
        throw PlatformError(.permissionDenied, "unknown host name '\(host)' without a token")
      }
    }
    return try await next(request, context)
  }
}

/// A token on every route but health and the login page: `Authorization: Bearer`, `X-Api-Key` (Anthropic's clients), or the console's cookie.
struct Authentication: RouterMiddleware {
  typealias Context = PlatformRequestContext
  static let cookie = "platform_session"
  static let open: Set<String> = ["/healthz", "/livez", "/readyz", "/login", "/.well-known/databricks-config", "/openapi.json"]
  let service: any PlatformService

  func handle(
    _ request: Request, context: Context, next: (Request, Context) async throws -> Response
  ) async throws -> Response {
    if Self.open.contains(request.uri.path) || request.uri.path.hasPrefix(SQLStatementRoutes.signedPrefix) { return try await next(request, context) }
    guard let token = Self.token(of: request) else {
      throw PlatformError(
        .unauthenticated, "a token is needed",
        hint: "Send 'Authorization: Bearer TOKEN'; 'platform env' prints the token of this machine's cluster.",
        number: "PLT-1401")
    }
    var context = context
    context.principal = try await service.authenticate(token: token)
    return try await next(request, context)
  }

  static func token(of request: Request) -> String? {
    if let header = request.headers[.authorization] {
      guard header.utf8.count > 7, header.utf8.prefix(7).elementsEqual("bearer ".utf8, by: { $0 | 0x20 == $1 }) else { return nil }
      let token = header.utf8.dropFirst(7)
      // Nothing around it in nearly every request.
      guard token.first == 0x20 || token.last == 0x20 || token.contains(where: { $0 < 0x20 || $0 > 0x7E }) else { return String(Substring(token)) }
      return String(header.dropFirst(7)).trimmingCharacters(in: .whitespaces)
    }
    if let key = request.headers[.apiKey] { return key }
    for pair in (request.headers[.cookie] ?? "").split(separator: ";") {
      let parts = pair.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
      if parts.count == 2, parts[0] == cookie { return parts[1] }
    }
    return nil
  }
}
