// SPDX-License-Identifier: Apache-2.0

import Console
import Core
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
public import Logging
import NIOCore
import Serving

/// The HTTP server of a coordinator: console, platform API and OpenAI API on one port.
public struct APIServer: Sendable {
  private let application: Application<SwitchResponder>

  /// - Parameters:
  ///   - address: `HOST:PORT`.
  ///   - requests: who answers.
  ///   - onReady: called when the socket listens.
  public init(
    address: String, requests: RequestSwitch, logger: Logger,
    onReady: @escaping @Sendable () async -> Void = {}
  ) throws {
    let parts = address.split(separator: ":")
    guard parts.count == 2, let port = Int(parts[1]) else {
      throw PlatformError(.invalidArgument, "'\(address)' is not HOST:PORT", number: "PLT-1003")
    }
    // What one client may take: connections wait in the system's queue above the limit, silent ones are closed. An answer
    // that is being streamed is not silent.
    var limits = HTTP1Channel.Configuration(idleTimeout: .seconds(75))
    limits.httpDecoder = .init(maxHeaderFieldSize: 16 << 10, maxHeaderListSize: 64 << 10, maxHeaderFieldCount: 100)
    application = Application(
      responder: SwitchResponder(requests: requests),
      server: .http1(configuration: limits),
      configuration: .init(
        address: .hostname(String(parts[0]), port: port), serverName: "platform", backlog: 1024,
        availableConnectionsDelegate: MaximumAvailableConnections(4096)),
      onServerRunning: { _ in await onReady() }, logger: logger)
  }

  /// Serves until the task is cancelled.
  /// - Throws: `conflict` when the address is in use.
  public func run() async throws {
    do {
      try await application.run()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw PlatformError(
        .conflict, "the HTTP address is in use by another program", hint: "Choose another with --bind.", number: "PLT-1004")
    }
  }

  static func router(service: any PlatformService, gateway: ServingGateway, logger: Logger) -> Router<PlatformRequestContext> {
    let router = Router(context: PlatformRequestContext.self)
    router.addMiddleware {
      RequestIdentity()
      ErrorMiddleware(logger: logger)
      OriginCheck()
      Authentication(service: service)
      Administration()
    }
    SystemRoutes(service: service).add(to: router)
    EventRoutes(service: service).add(to: router)
    ConsoleRoutes(service: service).add(to: router)
    JobRoutes(service: service).add(to: router)
    JobsAPIRoutes(service: service).add(to: router)
    ArtifactRoutes(service: service).add(to: router)
    NotificationRoutes(service: service).add(to: router)
    SecretRoutes(service: service).add(to: router)
    GitFolderRoutes(service: service).add(to: router)
    GitCredentialRoutes(service: service).add(to: router)
    DataRoutes(service: service).add(to: router)
    let description = APIDescription()
    let routes = DescribedRoutes(router: router, description: description, tag: "System")
    SQLStatementRoutes(service: service).add(to: routes)
    IdentityRoutes(service: service).add(to: routes)
    UnityCatalogRoutes(service: service).add(to: routes)
    DeploymentRoutes(service: service).add(to: routes)
    UnityCatalogFiles(service: service).add(to: routes)
    ServingRoutes(service: service).add(to: router)
    OpenAIRoutes(gateway: gateway, service: service).add(to: router)
    ResponsesRoutes(gateway: gateway).add(to: router)
    MessagesRoutes(gateway: gateway).add(to: router)
    TokenRoutes(gateway: gateway).add(to: router)
    AdapterRoutes(service: service).add(to: router)
    RerankRoutes(gateway: gateway).add(to: router)
    let document = description.document(version: PlatformVersion.current)
    router.get("/openapi.json") { _, _ in try Response.json(document) }
    return router
  }
}

/// What travels with a request: its identifier and who makes it.
struct PlatformRequestContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  var requestID = ""
  var principal = Principal(name: "")

  init(source: ApplicationRequestContextSource) { coreContext = .init(source: source) }

  var maxUploadSize: Int { 8 << 20 }
}

extension Request {
  /// The body as JSON of a type, at most 8 MB.
  /// - Throws: `invalidArgument` naming what is missing or of the wrong type.
  func json<T: Decodable>(_ type: T.Type = T.self) async throws -> T { try await Self.decode(data()) }

  /// The body, at most 8 MB.
  func data() async throws -> Data {
    do {
      return Data(try await body.collect(upTo: 8 << 20).readableBytesView)
    } catch {
      throw PlatformError(.invalidArgument, "the request body is larger than 8 MB or broke off")
    }
  }

  static func decode<T: Decodable>(_ data: Data) throws -> T {
    do {
      return try JSONDecoder.platform.decode(T.self, from: data)
    } catch {
      throw PlatformError.malformedBody(error)
    }
  }

  /// The first value of the name, as forms are encoded: `+` is a space.
  func query(_ name: String) -> String? {
    for pair in (uri.query ?? "").split(separator: "&") {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
        String($0).replacing("+", with: " ").removingPercentEncoding
      }
      if parts[0] == name { return parts.count == 2 ? parts[1] : "" }
    }
    return nil
  }

  /// - Throws: `invalidArgument` when the parameter is not a number in the range.
  func queryInt(_ name: String, in range: ClosedRange<Int>, default fallback: Int) throws -> Int {
    guard let text = query(name) else { return fallback }
    guard let value = Int(text), range.contains(value) else {
      throw PlatformError(.invalidArgument, "\(name) must be a number from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// - Throws: `invalidArgument` when it is missing.
  func requiredQuery(_ name: String) throws -> String {
    guard let value = query(name), !value.isEmpty else {
      throw PlatformError(.invalidArgument, "the query parameter '\(name)' is missing")
    }
    return value
  }
}

extension Response {
  static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) throws -> Response {
    let data = try JSONEncoder.platform.encode(value)
    return Response(
      status: status, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(bytes: data)))
  }

  static func text(_ text: String, type: String) -> Response {
    Response(status: .ok, headers: [.contentType: type], body: .init(byteBuffer: ByteBuffer(string: text)))
  }
}
