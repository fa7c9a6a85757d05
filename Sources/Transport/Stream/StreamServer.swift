// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// A request as a replica sees it.
public struct StreamRequest: Sendable {
  /// Unique per client connection.
  public let id: UInt64
  public let verb: String
  public let payload: Data
}

/// Answers streamed requests: the listening end of the data plane, one thread for its socket.
///
///     let server = try StreamServer(.init(keys: keys), admitted: [coordinatorKey]) { request, reply in
///       try await reply.send(piece)
///     }
public final class StreamServer: Sendable {
  public struct Configuration: Sendable {
    public var keys: CurveKeyPair
    public var address: String = "tcp://127.0.0.1:0"
    public var allowsWildcardAddress = false
    public var messageBytesMax: Int = 64 << 20
    /// Requests that may run at the same time; further ones fail with `resourceExhausted`.
    public var requestsMax: Int = 1024
    /// A client that was not heard for so long is taken for gone and its requests are cancelled.
    public var clientSilenceMilliseconds: Int = 10_000
    public init(keys: CurveKeyPair) { self.keys = keys }
  }

  /// Answers one request. When it returns, the answer ends; when it throws, the answer fails with that error.
  /// Runs as a task that is cancelled when the client has gone or does not want the answer any more.
  public typealias Handler = @Sendable (StreamRequest, StreamReply) async throws -> Void

  public let endpoint: String
  public let publicKey: CurvePublicKey
  private let loop: SocketLoop<StreamServerHandler>

  /// Binds and starts.
  /// - Parameter admitted: keys of those who may call.
  public init(_ configuration: Configuration, admitted: Set<CurvePublicKey>, handler: @escaping Handler) throws {
    let sender = StreamSender()
    let bound = BoundAddress()
    loop = try SocketLoop(name: "stream-server", queueLimit: 100_000) {
      let made = try StreamServerHandler(configuration, admitted: admitted, handler: handler, sender: sender)
      bound.set(made.endpoint)
      return made
    }
    sender.set(loop)
    endpoint = bound.value
    publicKey = configuration.keys.publicKey
  }

  deinit { loop.close() }

  /// Cancels what runs and closes the socket.
  public func close() { loop.close() }
  public func closed() async { await loop.ended() }
}

/// An address on its way from the loop's thread to the initialiser.
final class BoundAddress: Sendable {
  private let text = Mutex("")
  func set(_ value: String) { text.withLock { $0 = value } }
  var value: String { text.withLock { $0 } }
}

/// The way from replies to the loop, without keeping the loop alive.
final class StreamSender: Sendable {
  private struct Weak { weak var loop: SocketLoop<StreamServerHandler>? }
  private let box = Mutex(Weak())
  func set(_ loop: SocketLoop<StreamServerHandler>) { box.withLock { $0.loop = loop } }
  func post(_ command: StreamServerHandler.Command) throws {
    guard let loop = box.withLock({ $0.loop }) else { throw PlatformError(.unavailable, "the stream server is closed") }
    try loop.post(command)
  }
}

/// The way back to the caller. At most 64 pieces are on their way; `send` waits until the caller has taken some.
public final class StreamReply: Sendable {
  private struct State {
    var credit = StreamFrame.window
    var waiter: CheckedContinuation<Void, any Error>?
    var gone: PlatformError?
  }
  private let state = Mutex(State())
  private let sender: StreamSender
  private let route: Data
  private let request: UInt64
  private let messageBytesMax: Int

  init(sender: StreamSender, route: Data, request: UInt64, messageBytesMax: Int) {
    self.sender = sender
    self.route = route
    self.request = request
    self.messageBytesMax = messageBytesMax
  }

  /// Whether the caller still wants the answer.
  public var isWanted: Bool { state.withLock { $0.gone == nil } }

  /// Sends one piece; waits while 64 pieces are not yet taken. One call at a time.
  /// - Throws: `cancelled` when the caller gave up, `unavailable` when it has gone.
  public func send(_ piece: Data) async throws {
    guard piece.count <= messageBytesMax else {
      throw PlatformError(.resourceExhausted, "a piece of \(piece.count) bytes is over the limit of \(messageBytesMax)")
    }
    try await takeCredit()
    try sender.post(.send(StreamFrame(kind: .data, request: request, payload: piece), route: route))
  }

  private func takeCredit() async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let result: Result<Void, any Error>? = state.withLock { state in
        if let gone = state.gone { return .failure(gone) }
        if state.credit > 0 {
          state.credit -= 1
          return .success(())
        }
        guard state.waiter == nil else {
          return .failure(PlatformError(.internalError, "two pieces of one answer were sent at the same time"))
        }
        state.waiter = continuation
        return nil
      }
      if let result { continuation.resume(with: result) }
    }
  }

  func grant(_ count: UInt32) {
    let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
      state.credit = min(state.credit &+ min(count, StreamFrame.window), StreamFrame.window)
      guard state.credit > 0, let waiter = state.waiter else { return nil }
      state.credit -= 1
      state.waiter = nil
      return waiter
    }
    waiter?.resume()
  }

  func abandon(_ error: PlatformError) {
    let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
      if state.gone == nil { state.gone = error }
      defer { state.waiter = nil }
      return state.waiter
    }
    waiter?.resume(throwing: error)
  }
}

/// The server's socket and running requests; lives on the loop's thread.
final class StreamServerHandler: LoopHandler {
  enum Command: Sendable {
    case send(StreamFrame, route: Data)
    case finished(route: Data, request: UInt64, error: PlatformError?)
  }

  private struct Key: Hashable {
    var route: Data
    var request: UInt64
  }
  private struct Running {
    var task: Task<Void, Never>
    var reply: StreamReply
  }

  let endpoint: String
  var sockets: [Socket] { [socket] }
  private let context: MessageContext
  private let socket: Socket
  private let configuration: StreamServer.Configuration
  private let handler: StreamServer.Handler
  private let sender: StreamSender
  private var running: [Key: Running] = [:]
  private var heard: [Data: Int64] = [:]

  init(
    _ configuration: StreamServer.Configuration, admitted: Set<CurvePublicKey>, handler: @escaping StreamServer.Handler,
    sender: StreamSender
  ) throws {
    context = try MessageContext()
    try AuthenticationHandler.start(context) { _, key in admitted.contains(key) }
    var limits = SocketLimits(messageBytesMax: configuration.messageBytesMax)
    // The window of each request bounds what is queued, so the socket needs no mark of its own and never drops.
    limits.sendQueue = 0
    socket = try Socket(.router, context: context, limits: limits)
    do {
      try socket.serve(keys: configuration.keys, domain: "data")
      endpoint = try socket.bind(configuration.address, allowsWildcard: configuration.allowsWildcardAddress)
    } catch {
      socket.close()
      context.shutdown()
      throw error
    }
    self.configuration = configuration
    self.handler = handler
    self.sender = sender
  }

  func receive(_ index: Int) {
    for _ in 0..<256 {
      guard let message = socket.receive(framesMax: 3) else { return }
      guard message.frames.count == 3, message.userID != nil,
        let frame = StreamFrame(header: message.frames[1], payload: message.frames[2])
      else { continue }
      received(frame, route: message.frames[0])
    }
  }

  private func received(_ frame: StreamFrame, route: Data) {
    heard[route] = monotonicMilliseconds()
    let key = Key(route: route, request: frame.request)
    switch frame.kind {
    case .call:
      guard running[key] == nil else { return }
      guard let (verb, payload) = frame.call else {
        fail(key, PlatformError(.invalidArgument, "the call is malformed"))
        return
      }
      guard running.count < configuration.requestsMax else {
        fail(
          key,
          PlatformError(
            .resourceExhausted, "\(configuration.requestsMax) requests are already running here", hint: "Try again later."))
        return
      }
      start(key, StreamRequest(id: frame.request, verb: verb, payload: payload))
    case .cancel: abandon(key, PlatformError(.cancelled, "the caller does not wait any more"))
    case .credit: running[key]?.reply.grant(frame.argument)
    case .ping: transmit(StreamFrame(kind: .pong, request: frame.request), route)
    case .data, .end, .fail, .pong: break
    }
  }

  private func start(_ key: Key, _ request: StreamRequest) {
    let reply = StreamReply(
      sender: sender, route: key.route, request: key.request, messageBytesMax: configuration.messageBytesMax)
    let task = Task { [handler, sender] in
      var failure: PlatformError?
      do {
        try await handler(request, reply)
      } catch {
        failure = PlatformError.from(error)
      }
      // A closed server has already abandoned this request.
      try? sender.post(.finished(route: key.route, request: key.request, error: failure))
    }
    running[key] = Running(task: task, reply: reply)
  }

  private func abandon(_ key: Key, _ error: PlatformError) {
    guard let request = running.removeValue(forKey: key) else { return }
    request.reply.abandon(error)
    request.task.cancel()
  }

  private func abandonAll(of route: Data, _ error: PlatformError) {
    for key in running.keys.filter({ $0.route == route }) { abandon(key, error) }
    heard[route] = nil
  }

  private func fail(_ key: Key, _ error: PlatformError) {
    // Encoding an error of ours cannot fail.
    let payload = (try? JSONEncoder().encode(error)) ?? Data()
    transmit(StreamFrame(kind: .fail, request: key.request, payload: payload), key.route)
  }

  private func transmit(_ frame: StreamFrame, _ route: Data) {
    if socket.send([route, frame.header, frame.payload]) != .sent {
      abandonAll(of: route, PlatformError(.unavailable, "the caller has gone"))
    }
  }

  func perform(_ command: Command) {
    switch command {
    case .send(let frame, let route):
      guard running[Key(route: route, request: frame.request)] != nil else { return }
      transmit(frame, route)
    case .finished(let route, let request, let error):
      let key = Key(route: route, request: request)
      guard running.removeValue(forKey: key) != nil else { return }
      if let error {
        fail(key, error)
      } else {
        transmit(StreamFrame(kind: .end, request: request), route)
      }
    }
  }

  func tick(now: Int64) -> Int {
    for (route, time) in heard where now - time > Int64(configuration.clientSilenceMilliseconds) {
      abandonAll(of: route, PlatformError(.unavailable, "the caller was not heard any more"))
    }
    return max(10, min(1000, configuration.clientSilenceMilliseconds / 4))
  }

  func stop() {
    for key in Array(running.keys) { abandon(key, PlatformError(.unavailable, "the server is closing")) }
    socket.close()
    context.shutdown()
  }
}
