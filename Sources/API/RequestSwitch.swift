// SPDX-License-Identifier: Apache-2.0

import Client
import Core
import Foundation
import HTTPTypes
import Hummingbird
public import Logging
import NIOCore
public import Serving
import Synchronization

/// What a coordinator does with requests: it answers them itself while it leads, and hands them on to whoever leads otherwise.
///
/// While nobody leads, requests wait for a moment; so does one whose leader is lost before an answer began, when it was not sent yet or may
/// be sent twice (GET, HEAD). All others are told to ask again.
public final class RequestSwitch: Sendable {
  private final class Following: Sendable {
    let client: ForwardingClient
    let epoch: Int64
    init(_ address: String, epoch: Int64) {
      client = ForwardingClient(address)
      self.epoch = epoch
    }
  }

  private struct Leading: Sendable {
    var responder: RouterResponder<PlatformRequestContext>
    var verify: @Sendable () async throws -> Void
  }

  private enum Role: Sendable {
    /// Nobody leads, as far as is known.
    case waiting
    case following(Following)
    case leading(Leading)
  }

  /// How long a request waits for somebody to lead.
  private static let patience = Duration.seconds(10)
  /// Says that a request came from another coordinator.
  private static let forwarded = HTTPField.Name("X-Platform-Forwarded")!
  /// Says that the answer is not from the one that leads: nothing was done.
  private static let refused = HTTPField.Name("X-Platform-Standby")!

  private let role = Mutex<Role>(.waiting)
  private let logger: Logger

  public init(logger: Logger) { self.logger = logger }

  /// - Parameter address: `HOST:PORT` of the one that leads; nil: nobody does.
  public func follow(_ address: String?, epoch: Int64) {
    let old = role.withLock { role -> Following? in
      var old: Following?
      if case .following(let known) = role {
        if known.client.address == address, known.epoch == epoch { return nil }
        old = known
      }
      role = address.map { .following(Following($0, epoch: epoch)) } ?? .waiting
      return old
    }
    end(old)
  }

  /// From now on requests are answered here.
  /// - Parameter verify: called before each; throws when this coordinator does not lead any more.
  public func lead(service: any PlatformService, gateway: ServingGateway, verify: @escaping @Sendable () async throws -> Void) {
    let leading = Leading(responder: APIServer.router(service: service, gateway: gateway, logger: logger).buildResponder(), verify: verify)
    let old = role.withLock { role -> Following? in
      defer { role = .leading(leading) }
      if case .following(let known) = role { return known }
      return nil
    }
    end(old)
  }

  /// What was sent to a leader of the past has no answer any more.
  private func end(_ following: Following?) {
    guard let following else { return }
    Task { await following.client.close() }
  }

  func respond(to request: Request, context: PlatformRequestContext) async throws -> Response {
    if case .leading(let leading) = role.withLock({ $0 }) { return try await respond(leading, request, context) }
    let path = request.uri.path
    if path == "/livez" || path == "/healthz" { return Response.text("ok\n", type: "text/plain; charset=utf-8") }
    do {
      return try await forward(request, context)
    } catch is CancellationError {
      throw CancellationError()
    } catch {
      var response = try ErrorMiddleware.response(error, path: path, requestID: RandomIdentifier.text(), logger: logger)
      response.headers[Self.refused] = "1"
      return request.method == .head ? response.createHeadResponse() : response
    }
  }

  private func respond(_ leading: Leading, _ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    do {
      try await leading.verify()
    } catch let error as PlatformError {
      var response = try ErrorMiddleware.response(error, path: request.uri.path, requestID: RandomIdentifier.text(), logger: logger)
      response.headers[Self.refused] = "1"
      return response
    }
    return try await leading.responder.respond(to: request, context: context)
  }

  private func forward(_ request: Request, _ context: PlatformRequestContext) async throws -> Response {
    let nobody = PlatformError(
      .unavailable, "no coordinator leads at the moment", hint: "Ask again in a second; 'platform status' shows who leads.", number: "PLT-4360")
    // It came from one that has not heard of the change yet.
    if request.headers[Self.forwarded] != nil { throw nobody }
    let mayRepeat = request.method == .get || request.method == .head
    let end = ContinuousClock.now + (request.uri.path == "/readyz" ? .zero : Self.patience)
    while true {
      switch role.withLock({ $0 }) {
      case .leading(let leading): return try await respond(leading, request, context)
      case .waiting: break
      case .following(let leader):
        do {
          let answer = try await send(request, to: leader.client)
          let isRefused = answer.headers.contains { $0.name.lowercased() == Self.refused.canonicalName }
          if !isRefused || !mayRepeat || ContinuousClock.now >= end { return Self.response(answer, request) }
        } catch ForwardingClient.Failure.notSent {
          // Just gone, or just restarted: somebody will lead in a moment.
        } catch ForwardingClient.Failure.broken(let reason) {
          guard mayRepeat else {
            logger.info("a request lost its leader", metadata: ["path": "\(request.uri.path)", "reason": "\(reason)"])
            throw PlatformError(
              .unavailable, "the leading coordinator was lost while it worked on the request: whether it was done is not known",
              hint: "Look before you ask again, or ask with the same idempotency token.", number: "PLT-4361")
          }
        }
      }
      guard ContinuousClock.now < end else { throw nobody }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  private func send(_ request: Request, to client: ForwardingClient) async throws -> ForwardingClient.Answer {
    var headers = request.headers.map { (name: $0.name.rawName, value: $0.value) }
    if let authority = request.head.authority { headers.append((name: "Host", value: authority)) }
    headers.append((name: Self.forwarded.rawName, value: "1"))
    let length = request.headers[.contentLength].flatMap { Int64($0) }
    let hasBody = request.headers[.transferEncoding] != nil || (length ?? 0) > 0
    return try await client.send(
      request.method.rawValue, request.uri.string, headers: headers, body: hasBody ? request.body : nil, length: length)
  }

  private static func response(_ answer: ForwardingClient.Answer, _ request: Request) -> Response {
    var headers = HTTPFields()
    for header in answer.headers {
      guard let name = HTTPField.Name(header.name) else { continue }
      headers.append(HTTPField(name: name, value: header.value))
    }
    let status = HTTPResponse.Status(code: answer.status)
    guard request.method != .head, answer.status != 204, answer.status != 304 else { return Response(status: status, headers: headers) }
    return Response(
      status: status, headers: headers,
      body: ResponseBody { writer in
        try await answer.forEachPiece { try await writer.write($0) }
        try await writer.finish(nil)
      })
  }
}

/// The switch as the server wants it.
struct SwitchResponder: HTTPResponder {
  let requests: RequestSwitch

  func respond(to request: Request, context: PlatformRequestContext) async throws -> Response {
    try await requests.respond(to: request, context: context)
  }
}
