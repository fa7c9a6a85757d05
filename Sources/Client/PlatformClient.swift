// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
public import Foundation
import NIOCore
import NIOHTTP1

/// Speaks to a coordinator's HTTP API. Every call has a deadline; errors come back as the `PlatformError` that the server threw.
public struct PlatformClient: Sendable {
  /// `http://127.0.0.1:8400`
  public var host: String
  /// The same cluster's other coordinators, asked when `host` takes no connection.
  public var others: [String] = []
  public var token: String?
  /// Limit for one ordinary call; streams have none of their own.
  public var timeout: Duration

  public init(host: String, token: String?, timeout: Duration = .seconds(60)) {
    self.host = host.hasSuffix("/") ? String(host.dropLast()) : host
    self.token = token
    self.timeout = timeout
  }

  public func get<T: Decodable>(_ path: String, as type: T.Type = T.self) async throws -> T {
    try decode(await send("GET", path, body: nil))
  }

  public func post<T: Decodable>(_ path: String, _ body: some Encodable, as type: T.Type = T.self) async throws -> T {
    try decode(await send("POST", path, body: JSONEncoder.platform.encode(body)))
  }

  public func put<T: Decodable>(_ path: String, _ body: some Encodable, as type: T.Type = T.self) async throws -> T {
    try decode(await send("PUT", path, body: JSONEncoder.platform.encode(body)))
  }

  public func patch<T: Decodable>(_ path: String, _ body: some Encodable, as type: T.Type = T.self) async throws -> T {
    try decode(await send("PATCH", path, body: JSONEncoder.platform.encode(body)))
  }

  /// One request; the whole answer, at most 64 MiB.
  public func send(_ method: String, _ path: String, body: Data?) async throws -> Data {
    let response = try await execute(method, path, body: body, timeout: timeout)
    do {
      let buffer = try await response.body.collect(upTo: 64 << 20)
      let data = Data(buffer.readableBytesView)
      if !(200..<300).contains(Int(response.status.code)) { throw Self.error(status: Int(response.status.code), data) }
      return data
    } catch let error as PlatformError {
      throw error
    } catch {
      throw unreachable(error)
    }
  }

  /// Server-sent events of `path` until the server ends the stream.
  public func events(_ method: String, _ path: String, body: Data? = nil) -> AsyncThrowingStream<ServerSentEventParser.Event, any Error> {
    AsyncThrowingStream(bufferingPolicy: .unbounded) { continuation in
      let task = Task {
        do {
          let response = try await execute(method, path, body: body, timeout: .seconds(86_400))
          if !(200..<300).contains(Int(response.status.code)) {
            let buffer = try await response.body.collect(upTo: 1 << 20)
            throw Self.error(status: Int(response.status.code), Data(buffer.readableBytesView))
          }
          var parser = ServerSentEventParser()
          for try await buffer in response.body {
            guard let events = parser.feed(buffer.readableBytesView) else {
              throw PlatformError(.internalError, "the server sent a line above 16 MB")
            }
            for event in events { continuation.yield(event) }
          }
          continuation.finish()
        } catch let error as PlatformError {
          continuation.finish(throwing: error)
        } catch is CancellationError {
          continuation.finish()
        } catch {
          continuation.finish(throwing: unreachable(error))
        }
      }
      continuation.onTermination = { _ in task.cancel() }
    }
  }

  private func execute(_ method: String, _ path: String, body: Data?, timeout: Duration) async throws -> HTTPClientResponse {
    var request = HTTPClientRequest(url: host + path)
    request.method = HTTPMethod(rawValue: method)
    if let token { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
    if let body {
      request.headers.add(name: "Content-Type", value: "application/json")
      request.body = .bytes(ByteBuffer(bytes: body))
    }
    return try await perform(request, within: timeout)
  }

  /// One client for the process, as `HTTPClient.shared` is, but that it tries once to connect: that would try for as long as the request may take.
  private static let http: HTTPClient = {
    var configuration = HTTPClient.Configuration.singletonConfiguration
    configuration.timeout.connect = .seconds(5)
    configuration.connectionPool.retryConnectionEstablishment = false
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }()
  /// How long a coordinator that takes no connections is waited for: one that died is started again within seconds.
  private static let patience = Duration.seconds(10)

  /// Sends a request. One whose connection was refused, or had been closed before anything was written to it, has reached nobody and is sent
  /// again for `patience`.
  /// - Throws: as `unreachable`.
  func perform(_ request: HTTPClientRequest, within timeout: Duration) async throws -> HTTPClientResponse {
    let end = ContinuousClock.now + Self.patience
    var request = request
    let hosts = [host] + others
    var turn = 0
    do {
      while true {
        do {
          return try await Self.http.execute(request, timeout: .milliseconds(Int64(timeout / .milliseconds(1))))
        } catch ChannelError.ioOnClosedChannel where ContinuousClock.now < end {
          continue  // kept from an earlier request; the next one is taken, or made
        } catch  where Self.isRefused(error) && ContinuousClock.now < end {
          try await Task.sleep(for: .milliseconds(200))
          guard request.url.hasPrefix(hosts[turn]) else { continue }
          let path = request.url.dropFirst(hosts[turn].count)
          turn = (turn + 1) % hosts.count
          request.url = hosts[turn] + path
        }
      }
    } catch {
      throw unreachable(error)
    }
  }

  private static func isRefused(_ error: any Error) -> Bool {
    let text = "\(error)"
    return text.contains("ECONNREFUSED") || text.contains("Connection refused")
  }

  private func decode<T: Decodable>(_ data: Data) throws -> T {
    do {
      return try JSONDecoder.platform.decode(T.self, from: data)
    } catch {
      throw PlatformError(.internalError, "the server's answer cannot be read: \(JSONValue.reason(error))")
    }
  }

  func unreachable(_ error: any Error) -> PlatformError {
    if let known = error as? PlatformError { return known }
    if error is CancellationError { return PlatformError(.cancelled, "cancelled") }
    if let http = error as? HTTPClientError, http == .deadlineExceeded || http == .readTimeout {
      return PlatformError(.timeout, "the coordinator at \(host) did not answer in time", number: "PLT-1502")
    }
    if let http = error as? HTTPClientError, http == .remoteConnectionClosed {
      return PlatformError(.unavailable, "the coordinator at \(host) closed the connection before it answered", number: "PLT-1501")
    }
    return PlatformError(
      .unavailable, "cannot reach the coordinator at \(host)" + (Self.isRefused(error) ? "" : ": \(String("\(error)".prefix(200)))"),
      hint: "Start it with 'platform up', or set PLATFORM_HOST.", number: "PLT-1501")
  }

  static func error(status: Int, _ data: Data) -> PlatformError {
    if let body = try? JSONDecoder.platform.decode(ErrorBody.self, from: data) {  // other shapes are read below
      var error = body.platformError
      if let others = body.others, !others.isEmpty {
        error.message = ([error] + others).map { one in
          one.line.map { "\(one.path ?? ""):\($0)  \(one.message)" } ?? one.message
        }.joined(separator: "\n  ")
      }
      return error
    }
    let text = (try? JSONValue(parsing: data))?["error"]?["message"]?.stringValue  // OpenAI's shape under /v1
    let code: PlatformError.Code =
      switch status {
      case 401: .unauthenticated
      case 403: .permissionDenied
      case 404: .notFound
      case 409: .conflict
      case 429: .resourceExhausted
      case 503: .unavailable
      case 504: .timeout
      case 400..<500: .invalidArgument
      default: .internalError
      }
    return PlatformError(code, text ?? "HTTP \(status)")
  }
}
