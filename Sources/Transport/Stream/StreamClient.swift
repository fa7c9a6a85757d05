// SPDX-License-Identifier: Apache-2.0

import Core
public import Foundation
import Synchronization

/// Calls a `StreamServer`: the asking end of the data plane. Reconnects by itself; a call that was on its way when the
/// server went silent fails with `unavailable` and is not repeated.
public final class StreamClient: Sendable {
  public struct Configuration: Sendable {
    public var address: String
    public var serverKey: CurvePublicKey
    public var keys: CurveKeyPair
    public var messageBytesMax: Int = 64 << 20
    /// The server is asked for a sign of life this often while calls are open.
    public var pingMilliseconds: Int = 400
    /// Open calls fail when the server was silent for so long.
    public var silenceMilliseconds: Int = 1600
    /// Calls that may be open at the same time; further ones fail with `resourceExhausted`.
    public var callsMax: Int = 4096
    public init(address: String, serverKey: CurvePublicKey, keys: CurveKeyPair) {
      self.address = address
      self.serverKey = serverKey
      self.keys = keys
    }
  }

  private let loop: SocketLoop<StreamClientHandler>
  private let nextRequest = Atomic<UInt64>(1)
  private let configuration: Configuration

  public init(_ configuration: Configuration) throws {
    loop = try SocketLoop(name: "stream-client", queueLimit: 100_000) { try StreamClientHandler(configuration) }
    self.configuration = configuration
  }

  deinit { loop.close() }

  /// Starts a call. The pieces come in order; the stream ends when the answer is complete. The server runs at most 64
  /// pieces ahead of the reader. Cancelling the reading task, or letting go of the stream, cancels the call.
  /// - Parameter deadline: for the whole answer.
  /// - Throws (from the stream): the server's error; `unavailable` when the server cannot be reached or falls silent;
  ///   `timeout`; `resourceExhausted` when too many calls are open.
  public func call(verb: String, payload: Data, deadline: Duration) -> AsyncThrowingStream<Data, any Error> {
    let request = nextRequest.add(1, ordering: .relaxed).oldValue
    let call = StreamCall(request: request, loop: loop)
    let (seconds, attoseconds) = deadline.components
    let limit =
      monotonicMilliseconds() + Int64(clamping: min(seconds, 1_000_000_000)) * 1000 + attoseconds / 1_000_000_000_000_000
    if verb.utf8.count > 256 || payload.count > configuration.messageBytesMax - 256 {
      call.buffer.finish(
        PlatformError(.invalidArgument, "the call '\(verb.prefix(64))' of \(payload.count) bytes is too large"))
    } else {
      do {
        try loop.post(.call(.call(request, verb: verb, payload: payload), call.buffer, limit: limit))
      } catch {
        call.buffer.finish(PlatformError.from(error))
      }
    }
    return AsyncThrowingStream { try await call.next() }
  }

  public func close() { loop.close() }
  public func closed() async { await loop.ended() }
}

/// What has arrived of one answer and was not read yet; at most one window.
final class StreamBuffer: Sendable {
  private struct State {
    var pieces: [Data] = []
    var result: PlatformError??
    var waiter: CheckedContinuation<Data?, any Error>?
  }
  private let state = Mutex(State())

  /// False when the server sent more than it was allowed to.
  func append(_ piece: Data) -> Bool {
    let (waiter, fits) = state.withLock { state -> (CheckedContinuation<Data?, any Error>?, Bool) in
      guard state.result == nil else { return (nil, true) }
      if let waiter = state.waiter {
        state.waiter = nil
        return (waiter, true)
      }
      guard state.pieces.count < Int(StreamFrame.window) else { return (nil, false) }
      state.pieces.append(piece)
      return (nil, true)
    }
    waiter?.resume(returning: piece)
    return fits
  }

  /// Ends the answer, with `nil` when it is complete. Only the first call counts.
  func finish(_ error: PlatformError?) {
    let waiter = state.withLock { state -> CheckedContinuation<Data?, any Error>? in
      guard state.result == nil else { return nil }
      state.result = .some(error)
      defer { state.waiter = nil }
      return state.waiter
    }
    if let error { waiter?.resume(throwing: error) } else { waiter?.resume(returning: nil) }
  }

  var isFinished: Bool { state.withLock { $0.result != nil } }

  func next() async throws -> Data? {
    try await withCheckedThrowingContinuation { continuation in
      let ready: Result<Data?, any Error>? = state.withLock { state in
        if !state.pieces.isEmpty { return .success(state.pieces.removeFirst()) }
        if let result = state.result {
          // Said once; afterwards the stream is over.
          state.result = .some(nil)
          if let error = result { return .failure(error) }
          return .success(nil)
        }
        state.waiter = continuation
        return nil
      }
      if let ready { continuation.resume(with: ready) }
    }
  }
}

/// The reader's end of a call; cancels it when the reader goes away.
final class StreamCall: Sendable {
  let buffer = StreamBuffer()
  private let request: UInt64
  private let loop: SocketLoop<StreamClientHandler>
  private let taken = Atomic<UInt32>(0)

  init(request: UInt64, loop: SocketLoop<StreamClientHandler>) {
    self.request = request
    self.loop = loop
  }

  deinit { if !buffer.isFinished { cancel() } }

  private func cancel() {
    buffer.finish(PlatformError(.cancelled, "the call was cancelled"))
    try? loop.post(.cancel(request))  // a closed client has no calls
  }

  func next() async throws -> Data? {
    let piece = try await withTaskCancellationHandler {
      try await buffer.next()
    } onCancel: {
      cancel()
    }
    guard piece != nil else { return nil }
    // Credit goes back in halves of the window, so that a stream costs one small message in 32 pieces.
    if taken.add(1, ordering: .relaxed).newValue % (StreamFrame.window / 2) == 0 {
      try? loop.post(.credit(request))  // the call fails by itself when the client is closed
    }
    return piece
  }
}

/// The client's socket and open calls; lives on the loop's thread.
final class StreamClientHandler: LoopHandler {
  enum Command: Sendable {
    case call(StreamFrame, StreamBuffer, limit: Int64)
    case credit(UInt64)
    case cancel(UInt64)
  }

  private struct Open {
    var buffer: StreamBuffer
    var limit: Int64
  }

  var sockets: [Socket] { [socket] }
  private let context: MessageContext
  private var socket: Socket
  private let configuration: StreamClient.Configuration
  private var open: [UInt64: Open] = [:]
  /// Frames that the socket does not take yet (no connection).
  private var waiting: [StreamFrame] = []
  private var nextPing: Int64 = 0
  /// When the server was last heard, or when there began to be something to hear.
  private var heard: Int64 = 0

  init(_ configuration: StreamClient.Configuration) throws {
    context = try MessageContext()
    self.configuration = configuration
    socket = try Self.open(context, configuration)
  }

  private static func open(_ context: MessageContext, _ configuration: StreamClient.Configuration) throws -> Socket {
    var limits = SocketLimits(messageBytesMax: configuration.messageBytesMax)
    limits.receiveQueue = 0  // bounded by the window of each call
    let socket = try Socket(.dealer, context: context, limits: limits)
    try socket.authenticate(keys: configuration.keys, server: configuration.serverKey)
    try socket.connect(configuration.address)
    return socket
  }

  func receive(_ index: Int) {
    for _ in 0..<256 {
      guard let message = socket.receive(framesMax: 2) else { return }
      guard message.frames.count == 2, let frame = StreamFrame(header: message.frames[0], payload: message.frames[1]) else {
        continue
      }
      heard = monotonicMilliseconds()
      guard let call = open[frame.request] else { continue }
      switch frame.kind {
      case .data:
        if !call.buffer.append(frame.payload) {
          close(frame.request, PlatformError(.internalError, "the server sent more than its window"), cancels: true)
        }
      case .end: close(frame.request, nil)
      case .fail:
        close(
          frame.request,
          (try? JSONDecoder().decode(PlatformError.self, from: frame.payload))  // unreadable: still a failure
            ?? PlatformError(.internalError, "the server failed without saying why"))
      case .call, .cancel, .credit, .ping, .pong: break
      }
    }
  }

  private func close(_ request: UInt64, _ error: PlatformError?, cancels: Bool = false) {
    guard let call = open.removeValue(forKey: request) else { return }
    call.buffer.finish(error)
    waiting.removeAll { $0.request == request }
    if cancels { _ = transmit(StreamFrame(kind: .cancel, request: request)) }
  }

  private func transmit(_ frame: StreamFrame) -> Bool { socket.send([frame.header, frame.payload]) == .sent }

  private func queue(_ frame: StreamFrame) {
    if !waiting.isEmpty || !transmit(frame) { waiting.append(frame) }
  }

  func perform(_ command: Command) {
    switch command {
    case .call(let frame, let buffer, let limit):
      guard !buffer.isFinished else { return }
      guard open.count < configuration.callsMax else {
        buffer.finish(
          PlatformError(.resourceExhausted, "\(configuration.callsMax) calls are already open", hint: "Try again later."))
        return
      }
      if open.isEmpty {
        heard = monotonicMilliseconds()
        nextPing = 0
      }
      open[frame.request] = Open(buffer: buffer, limit: limit)
      queue(frame)
    case .credit(let request):
      guard open[request] != nil else { return }
      queue(StreamFrame(kind: .credit, request: request, argument: StreamFrame.window / 2))
    case .cancel(let request):
      let neverSent = waiting.contains { $0.request == request && $0.kind == .call }
      close(request, PlatformError(.cancelled, "the call was cancelled"), cancels: !neverSent)
    }
  }

  func tick(now: Int64) -> Int {
    guard !open.isEmpty else { return 1000 }
    while let first = waiting.first, transmit(first) { waiting.removeFirst() }
    for (request, call) in open where now >= call.limit {
      close(request, PlatformError(.timeout, "no complete answer from \(configuration.address) in time"), cancels: true)
    }
    if now - heard >= Int64(configuration.silenceMilliseconds) {
      let error = PlatformError(
        .unavailable, "\(configuration.address) did not answer for \(configuration.silenceMilliseconds) ms",
        number: "PLT-2140")
      for request in Array(open.keys) { close(request, error) }
      reconnect()
      return 1000
    }
    if now >= nextPing {
      _ = transmit(StreamFrame(kind: .ping, request: 0))
      nextPing = now + Int64(configuration.pingMilliseconds)
    }
    let nextLimit = open.values.map(\.limit).min() ?? now
    return max(1, Int(min(waiting.isEmpty ? 1000 : 10, nextPing - now, nextLimit - now)))
  }

  /// A fresh connection: what the old one still holds must not reach a server that comes back.
  private func reconnect() {
    socket.close()
    waiting.removeAll()
    // Opening a socket fails only when the process has no descriptors left; the closed one then refuses all sends.
    if let fresh = try? Self.open(context, configuration) { socket = fresh }
  }

  func stop() {
    for request in Array(open.keys) { close(request, PlatformError(.unavailable, "the client is closing")) }
    socket.close()
    context.shutdown()
  }
}
