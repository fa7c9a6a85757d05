// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
public import NIOCore
import NIOHTTP1

/// Hands requests of others on to one coordinator, piece by piece: nothing is gathered in memory, however large or long a body is.
public final class ForwardingClient: Sendable {
  public enum Failure: Error {
    /// Nobody took the connection: nothing was sent.
    case notSent
    /// The connection broke before an answer; whether the request was carried out is not known.
    case broken(String)
  }

  public struct Answer: Sendable {
    public var status: Int
    /// Without those that concern one connection only.
    public var headers: [(name: String, value: String)]
    private let body: HTTPClientResponse.Body

    init(_ response: HTTPClientResponse) {
      status = Int(response.status.code)
      headers = ForwardingClient.passing(response.headers.map { (name: $0.name, value: $0.value) })
      if let length = response.headers.first(name: "content-length") { headers.append((name: "Content-Length", value: length)) }
      body = response.body
    }

    /// Gives the body's pieces to `take` as they come.
    public func forEachPiece(_ take: (ByteBuffer) async throws -> Void) async throws {
      for try await piece in body { try await take(piece) }
    }
  }

  /// Longer than any stream lasts; whoever waits gives up on his own.
  private static let longest = TimeAmount.hours(24)

  /// `HOST:PORT`.
  public let address: String
  private let http: HTTPClient

  /// To be closed by its owner.
  public init(_ address: String) {
    self.address = address
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout.connect = .seconds(2)
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 1024
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }

  /// Ends all connections: requests and answers that are under way break.
  public func close() async {
    try? await http.shutdown()  // closed twice: nothing to do
  }

  /// - Parameters:
  ///   - target: path and query as they came.
  ///   - body: nil for a request without one.
  ///   - length: the body's, when it is known.
  /// - Returns: the head of the answer.
  /// - Throws: `Failure`; `CancellationError`.
  public func send(
    _ method: String, _ target: String, headers: [(name: String, value: String)], body: (any AsyncSequence<ByteBuffer, any Error> & Sendable)?,
    length: Int64?
  ) async throws -> Answer {
    var request = HTTPClientRequest(url: "http://\(address)\(target)")
    request.method = HTTPMethod(rawValue: method)
    for header in Self.passing(headers) { request.headers.add(name: header.name, value: header.value) }
    if let body { request.body = Self.stream(body, length.map { .known($0) } ?? .unknown) }
    do {
      return Answer(try await http.execute(request, timeout: Self.longest))
    } catch let error as CancellationError {
      throw error
    } catch {
      let text = "\(error)"
      // Kept from an earlier request and closed by the other side before anything was written to it.
      if case ChannelError.ioOnClosedChannel = error { throw Failure.notSent }
      let isUnsent = ["ECONNREFUSED", "Connection refused", "connectTimeout", "EHOSTUNREACH", "ENETUNREACH"].contains { text.contains($0) }
      throw isUnsent ? Failure.notSent : Failure.broken(String(text.prefix(200)))
    }
  }

  private static func stream(_ body: some AsyncSequence<ByteBuffer, any Error> & Sendable, _ length: HTTPClientRequest.Body.Length) -> HTTPClientRequest.Body {
    .stream(body, length: length)
  }

  /// Headers without those of one hop (RFC 9110, 7.6.1), and without the body's length, which travels with the body.
  static func passing(_ headers: [(name: String, value: String)]) -> [(name: String, value: String)] {
    var left: Set<String> = [
      "connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "expect",
      "content-length",
    ]
    for header in headers where header.name.lowercased() == "connection" {
      for name in header.value.split(whereSeparator: { $0 == "," || $0.isWhitespace }) { left.insert(name.lowercased()) }
    }
    return headers.filter { !left.contains($0.name.lowercased()) }
  }
}
