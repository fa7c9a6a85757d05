// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1

extension EgressClient {
  /// What comes before an answer's body.
  public struct Head: Sendable {
    public var status: Int
    var headers: [(name: String, value: String)]

    /// A header's first value; names in any case.
    public func first(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
  }

  /// Hands out an answer of any length as it comes. `call.patience` bounds the wait for its head and for each further piece, not the whole;
  /// `call.answerLimit` bounds the body.
  /// - Parameters:
  ///   - head: says whether the body is wanted.
  ///   - body: gets the pieces in order.
  /// - Throws: what `send` throws, `unavailable` PLT-4309 for an answer that is cut off or too long, and what the closures throw.
  public func download(
    _ call: Call, head: (Head) throws -> Bool, body: (UnsafeRawBufferPointer) throws -> Void
  ) async throws {
    guard let address = try await addresses(of: call.url.host).first else {
      throw PlatformError(.unavailable, "'\(call.url.host)' has no address", number: "PLT-4309")
    }
    let patience = TimeAmount.nanoseconds(Int64(call.patience / .nanoseconds(1)))
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout.connect = patience
    configuration.timeout.read = patience
    configuration.httpVersion = .http1Only
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.dnsOverride = [call.url.host: address.description]
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    let result: Result<Void, any Error>
    do {
      var request = HTTPClientRequest(url: call.url.text)
      request.method = HTTPMethod(rawValue: call.method)
      for header in call.headers { request.headers.add(name: header.name, value: header.value) }
      request.headers.add(name: "user-agent", value: "platform/\(PlatformVersion.current)")
      let response: HTTPClientResponse
      do {
        response = try await client.execute(request, deadline: .distantFuture)
      } catch {
        throw Self.lost(call, error)
      }
      let answer = Head(status: Int(response.status.code), headers: response.headers.map { ($0.name, $0.value) })
      if try head(answer) {
        var rest = call.answerLimit
        var pieces = response.body.makeAsyncIterator()
        while true {
          let piece: ByteBuffer?
          do {
            piece = try await pieces.next()
          } catch {
            throw Self.lost(call, error)
          }
          guard let piece else { break }
          rest -= piece.readableBytes
          guard rest >= 0 else { throw Self.lost(call, PlatformError(.unavailable, "the answer is longer than it may be")) }
          try piece.withUnsafeReadableBytes(body)
        }
      }
      result = .success(())
    } catch {
      result = .failure(error)
    }
    // What is left of a connection that was not read to its end is closed with the client.
    try? await client.shutdown()
    return try result.get()
  }

  private static func lost(_ call: Call, _ error: any Error) -> PlatformError {
    let reason = (error as? PlatformError)?.message ?? String("\(error)".prefix(200))
    return PlatformError(.unavailable, "no whole answer from \(call.url.authority): \(reason)", number: "PLT-4309")
  }
}
