// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
public import Foundation
import NIOCore
import NIOHTTP1

/// HTTP to where somebody's URL leads: the one door for requests whose address does not come from the operator.
///
/// The name is resolved once, every address is held against the rules, and the connection goes to one of those addresses: a name that
/// changes in between changes nothing. Redirects are not followed; time and the answer's size are bounded.
///
/// A target of its own beside `Client` (the platform's own API) and `ObjectStore` (S3, where the operator's credentials say who may name
/// an endpoint): services of layer 4 and above can use it, and there is one place that knows the rules.
public struct EgressClient: Sendable {
  public struct Call: Sendable {
    public var url: EgressURL
    public var method = "POST"
    public var headers: [(name: String, value: String)] = []
    public var body = Data()
    /// From resolving the name to the answer's end.
    public var patience = Duration.seconds(10)
    /// Bytes of the answer that are read; the rest is not waited for.
    public var answerLimit = 16 << 10

    public init(_ url: EgressURL) { self.url = url }
  }

  public struct Answer: Sendable {
    public var status: Int
    /// Its first bytes.
    public var body: Data
  }

  public typealias Resolver = @Sendable (String) async throws -> [IPAddress]

  public let rules: EgressRules
  private let resolve: Resolver

  public init(rules: EgressRules, resolver: @escaping Resolver = { try await HostResolver.addresses(of: $0) }) {
    self.rules = rules
    resolve = resolver
  }

  /// - Throws: `permissionDenied` PLT-4308 when one of the addresses is not allowed, `unavailable` or `timeout` PLT-4309.
  public func send(_ call: Call) async throws -> Answer {
    do {
      return try await withDeadline(call.patience, "the request") { try await once(call) }
    } catch let error as PlatformError where !error.number.isEmpty {
      throw error
    } catch let error as PlatformError where error.code == .timeout {
      throw PlatformError(.timeout, "\(call.url.authority) did not answer within \(call.patience)", number: "PLT-4309")
    } catch {
      throw PlatformError(.unavailable, "no answer from \(call.url.authority): \(String("\(error)".prefix(200)))", number: "PLT-4309")
    }
  }

  /// The addresses that a host may be reached at.
  /// - Throws: PLT-4308, PLT-4309.
  public func addresses(of host: String) async throws -> [IPAddress] {
    let found = if let address = IPAddress(host) { [address] } else { try await resolve(host) }
    for address in found { try rules.require(address, of: host) }
    return found
  }

  private func once(_ call: Call) async throws -> Answer {
    // The system puts first what can be reached; a name with several addresses usually names another one first the next time.
    guard let address = try await addresses(of: call.url.host).first else {
      throw PlatformError(.unavailable, "'\(call.url.host)' has no address", number: "PLT-4309")
    }
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout.connect = .seconds(3)
    configuration.httpVersion = .http1Only
    configuration.connectionPool.retryConnectionEstablishment = false
    // The certificate is still that of the name.
    configuration.dnsOverride = [call.url.host: address.description]
    let client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    let result: Result<Answer, any Error>
    do {
      var request = HTTPClientRequest(url: call.url.text)
      request.method = HTTPMethod(rawValue: call.method)
      for header in call.headers { request.headers.add(name: header.name, value: header.value) }
      request.headers.add(name: "user-agent", value: "platform/\(PlatformVersion.current)")
      if !call.body.isEmpty { request.body = .bytes(ByteBuffer(bytes: call.body)) }
      let nanoseconds = Int64(call.patience / .nanoseconds(1))
      let response = try await client.execute(request, deadline: .now() + .nanoseconds(nanoseconds))
      var body = Data()
      for try await part in response.body {
        body.append(contentsOf: part.readableBytesView.prefix(call.answerLimit - body.count))
        if body.count >= call.answerLimit { break }
      }
      result = .success(Answer(status: Int(response.status.code), body: body))
    } catch {
      result = .failure(error)
    }
    // What is left of a connection that was not read to its end is closed with the client.
    try? await client.shutdown()
    return try result.get()
  }
}
