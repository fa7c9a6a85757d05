// SPDX-License-Identifier: Apache-2.0

import AsyncHTTPClient
import Core
import Foundation
import NIOCore
import NIOHTTP1

/// Signed requests to one bucket, repeated where that is safe and useful. Calls block the thread; they never run on Swift's
/// cooperative pool or wait for it: the answer is computed on the HTTP client's own event loops.
///
/// This target has its own use of the HTTP client beside `Client`'s: the two speak to different servers, and a store is a
/// lower layer than the platform's own API.
struct S3Client: Sendable {
  struct Answer: Sendable {
    var status: Int
    var headers: HTTPHeaders
    var body: Data
    /// Requests that it took.
    var attempts: Int
    /// Whether an earlier request may have been carried out without an answer.
    var mayHaveHappenedBefore: Bool

    var length: Int? { headers.first(name: "content-length").flatMap { Int($0) } }
    var tag: String? { headers.first(name: "etag") }
  }

  struct Call {
    var method: HTTPMethod
    /// The object; nil is the bucket.
    var path: ObjectPath?
    var query: [(name: String, value: String)] = []
    var headers: [(name: String, value: String)] = []
    var body = Data()
    /// What the answer may hold.
    var answerLimit = 64 << 20
    /// Statuses that are returned and not thrown.
    var accepted: Set<Int> = []
    /// For messages: "read", "write", ...
    var verb: String
  }

  let configuration: S3Configuration
  let endpoint: S3Endpoint
  private let signer: SigV4

  /// One client for the process. Redirects are not followed: the signature is for one host, and an answer must not choose another.
  private static let http: HTTPClient = {
    var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
    configuration.timeout.connect = .seconds(5)
    configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 32
    configuration.connectionPool.idleTimeout = .seconds(15)
    // Repeating is decided here, where it is known what a request does.
    configuration.connectionPool.retryConnectionEstablishment = false
    configuration.httpVersion = .http1Only
    return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
  }()

  init(_ configuration: S3Configuration) throws {
    self.configuration = configuration
    endpoint = try S3Endpoint(configuration)
    signer = SigV4(credentials: configuration.credentials, region: configuration.region)
  }

  func uri(_ path: ObjectPath?) -> String {
    endpoint.pathPrefix + "/" + (path.map { SigV4.encode($0.text, keepsSlashes: true) } ?? "")
  }

  /// What messages call the object.
  func name(_ path: ObjectPath?) -> String { "s3://\(configuration.bucket)" + (path.map { "/" + $0.text } ?? "") }

  /// A URL that anybody can use until it expires.
  func presigned(_ method: String, _ path: ObjectPath, lifetime: Int) -> String {
    let request = SigV4.Request(method: method, path: uri(path), headers: [("host", endpoint.authority)])
    let query = signer.presigned(request, lifetime: lifetime, seconds: ProcessSupport.wallMilliseconds / 1000)
    return "\(endpoint.scheme)://\(endpoint.authority)\(request.path)?\(SigV4.query(query))"
  }

  /// - Throws: `PlatformError` that names bucket and key, with the store's own code where it gave one.
  func send(_ call: Call) throws -> Answer {
    let started = ContinuousClock.now
    let limit = configuration.operationTimeout + .seconds(call.body.count >> 20)
    var random = SystemRandomNumberGenerator()
    var mayHaveHappened = false
    var attempt = 1
    while true {
      var failure: PlatformError
      var isRepeatable: Bool
      let left = limit - (ContinuousClock.now - started)
      do {
        let timeout = min(configuration.requestTimeout + .seconds(call.body.count >> 20), left)
        var answer = try once(call, timeout: timeout)
        (answer.attempts, answer.mayHaveHappenedBefore) = (attempt, mayHaveHappened)
        if (200..<300).contains(answer.status) || call.accepted.contains(answer.status) { return answer }
        let error = S3Failure(answer, call: call, name: name(call.path), configuration: configuration)
        (failure, isRepeatable) = (error.platformError, error.isRepeatable)
        if error.isOutcomeUnknown { mayHaveHappened = true }
      } catch let error as PlatformError {
        throw error
      } catch {
        (failure, isRepeatable) = (transportFailure(error, call), true)
        mayHaveHappened = true
      }
      let wait = Duration.milliseconds(
        configuration.backoff.delayMilliseconds(afterAttempt: attempt, unit: Double.random(in: 0..<1, using: &random)))
      guard isRepeatable, attempt < configuration.attempts, ContinuousClock.now - started + wait < limit else {
        if attempt > 1 { failure.message += " (\(attempt) attempts)" }
        throw failure
      }
      Thread.sleep(forTimeInterval: wait / .seconds(1))
      attempt += 1
    }
  }

  private func once(_ call: Call, timeout: Duration) throws -> Answer {
    let isSigned = configuration.signsPayload || endpoint.scheme == "http"
    let hash = call.body.isEmpty ? SigV4.emptyPayload : isSigned ? SHA256Digest.hex(call.body) : SigV4.unsignedPayload
    let request = SigV4.Request(
      method: call.method.rawValue, path: uri(call.path), query: call.query, headers: [("host", endpoint.authority)] + call.headers)
    let added = signer.headers(request, payloadHash: hash, seconds: ProcessSupport.wallMilliseconds / 1000)
    let query = SigV4.query(call.query)
    let url = "\(endpoint.scheme)://\(endpoint.authority)\(request.path)\(query.isEmpty ? "" : "?" + query)"
    var headers = HTTPHeaders()
    for header in request.headers + added { headers.add(name: header.name, value: header.value) }
    headers.add(name: "user-agent", value: "platform/\(PlatformVersion.current)")
    let hasBody = !call.body.isEmpty || call.method == .PUT || call.method == .POST
    let outgoing = try HTTPClient.Request(
      url: url, method: call.method, headers: headers, body: hasBody ? .byteBuffer(ByteBuffer(bytes: call.body)) : nil)
    let collector = ResponseAccumulator(request: outgoing, maxBodySize: call.answerLimit)
    let nanoseconds = max(1, Int64(timeout / .nanoseconds(1)))
    let response = try Self.http.execute(request: outgoing, delegate: collector, deadline: .now() + .nanoseconds(nanoseconds)).wait()
    let body = response.body.map { Data($0.readableBytesView) } ?? Data()
    if call.method != .HEAD, let announced = response.headers.first(name: "content-length").flatMap({ Int($0) }), announced != body.count {
      throw Truncated(announced: announced, received: body.count)
    }
    return Answer(status: Int(response.status.code), headers: response.headers, body: body, attempts: 1, mayHaveHappenedBefore: false)
  }

  private struct Truncated: Error {
    var announced: Int
    var received: Int
  }

  private func transportFailure(_ error: any Error, _ call: Call) -> PlatformError {
    let what: String
    if let cut = error as? Truncated {
      what = "the answer ended after \(cut.received) of \(cut.announced) bytes"
    } else if error is ResponseAccumulator.ResponseTooBigError {
      return PlatformError(.resourceExhausted, "cannot \(call.verb): the object is larger than \(call.answerLimit) bytes", path: name(call.path))
    } else if let known = error as? HTTPClientError, [.deadlineExceeded, .readTimeout, .connectTimeout].contains(known) {
      return PlatformError(
        .timeout, "cannot \(call.verb): \(endpoint.authority) did not answer in time", hint: "Try again later.", number: "PLT-3403", path: name(call.path))
    } else {
      what = String("\(error)".prefix(200))
    }
    return PlatformError(
      .unavailable, "cannot \(call.verb): no connection to \(endpoint.authority): \(what)", hint: "Is the store up, and the endpoint right?",
      number: "PLT-3403", path: name(call.path))
  }
}
