// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A worker's control link: connects, says hello, sends heartbeats from its own thread, and goes on for ever with the
/// same identity when the coordinator goes away and comes back, or another one takes over.
public final class ControlClient: ControlConnecting {
  public struct Configuration: Sendable {
    /// As in `tcp://10.0.0.5:7077`.
    public var address: String
    /// Further coordinators, which have the same key; the first to answer counts. More are learned from its welcome.
    public var others: [String] = []
    public var serverKey: CurvePublicKey
    public var keys: CurveKeyPair
    /// Largest control message in bytes.
    public var messageBytesMax: Int = 16 << 20
    /// How often a hello is repeated while there is no answer.
    public var helloMilliseconds: Int = 300
    public init(address: String, serverKey: CurvePublicKey, keys: CurveKeyPair) {
      self.address = address
      self.serverKey = serverKey
      self.keys = keys
    }
  }

  public let events: AsyncStream<WorkerEvent>
  private let loop: SocketLoop<ControlClientHandler>
  private let online: OnlineFlag
  private let messageBytesMax: Int

  /// - Parameters:
  ///   - hello: what to say about this node now. Called on the link's thread before each hello; must not block.
  ///   - heartbeat: the same for each heartbeat.
  public init(
    _ configuration: Configuration, hello: @escaping @Sendable () -> WorkerHello,
    heartbeat: @escaping @Sendable () -> Heartbeat
  ) throws {
    let (stream, continuation) = AsyncStream.makeStream(of: WorkerEvent.self, bufferingPolicy: .bufferingOldest(65_536))
    let online = OnlineFlag()
    loop = try SocketLoop(name: "control-link") {
      try ControlClientHandler(configuration, hello: hello, heartbeat: heartbeat, events: continuation, online: online)
    }
    events = stream
    messageBytesMax = configuration.messageBytesMax
    self.online = online
  }

  deinit { loop.close() }

  public func send(_ message: ControlMessage) throws {
    guard online.isSet else { throw PlatformError(.unavailable, "there is no connection to the coordinator") }
    try message.checkSize(messageBytesMax)
    try loop.post(message)
  }

  public func close() { loop.close() }

  /// Returns when the sockets are closed.
  public func closed() async { await loop.ended() }
}

/// Whether the link has a session, readable from any thread.
final class OnlineFlag: Sendable {
  private let flag = Atomic<Bool>(false)
  var isSet: Bool { flag.load(ordering: .acquiring) }
  func set(_ value: Bool) { flag.store(value, ordering: .releasing) }
}

/// The worker's socket and session; lives on the loop's thread.
final class ControlClientHandler: LoopHandler {
  typealias Command = ControlMessage

  var sockets: [Socket] { [socket] }
  private let context: MessageContext
  private var socket: Socket
  private let configuration: ControlClient.Configuration
  private let hello: @Sendable () -> WorkerHello
  private let heartbeat: @Sendable () -> Heartbeat
  private let events: AsyncStream<WorkerEvent>.Continuation
  private let online: OnlineFlag
  private var session = ClientSession()
  private var sequence: UInt64 = 0
  private var node = ""
  private var incarnation: UInt64 = 0
  private var nextHello: Int64 = 0
  private var nextBeat: Int64 = 0
  /// libzmq does not always come back by itself after a refused handshake, and the key may be admitted at any time.
  private var nextOpen: Int64
  private static let reopenMilliseconds: Int64 = 3000
  /// As long as a handshake may take; longer with each round, for machines that are overloaded.
  private static let turnMilliseconds: Int64 = 1000
  /// Where coordinators are, beginning with the one that is tried or used now.
  private var addresses: [String]
  private var turns: Int64 = 0
  /// Messages that the socket did not take yet; bounded, and dropped with the session.
  private var backlog: [ControlMessage] = []

  init(
    _ configuration: ControlClient.Configuration, hello: @escaping @Sendable () -> WorkerHello,
    heartbeat: @escaping @Sendable () -> Heartbeat, events: AsyncStream<WorkerEvent>.Continuation, online: OnlineFlag
  ) throws {
    context = try MessageContext()
    self.configuration = configuration
    self.hello = hello
    self.heartbeat = heartbeat
    self.events = events
    self.online = online
    addresses = [configuration.address] + configuration.others.filter { $0 != configuration.address }
    socket = try Self.open(context, configuration, configuration.address)
    nextOpen = 0
    nextOpen = monotonicMilliseconds() + patience
  }

  /// How long one coordinator is tried.
  private var patience: Int64 {
    guard addresses.count > 1 else { return Self.reopenMilliseconds }
    return min(Self.reopenMilliseconds, Self.turnMilliseconds + turns / Int64(addresses.count) * 250)
  }

  private static func open(_ context: MessageContext, _ configuration: ControlClient.Configuration, _ address: String) throws -> Socket {
    let socket = try Socket(.dealer, context: context, limits: SocketLimits(messageBytesMax: configuration.messageBytesMax))
    try socket.authenticate(keys: configuration.keys, server: configuration.serverKey)
    try socket.connect(address)
    return socket
  }

  func receive(_ index: Int) {
    for _ in 0..<256 {
      guard let message = socket.receive(framesMax: 1) else { return }
      guard let frame = message.frames.first, let envelope = try? Envelope(decoding: frame) else { continue }  // garbage
      let before = session.state
      switch session.received(envelope, now: monotonicMilliseconds()) {
      case .ignore: break
      case .helloAgain(let lost):
        updateOnline()
        if lost { emit(.lost) }
        nextHello = 0
      case .event(let event):
        updateOnline()
        if session.state == .online { turns = 0 }
        if case .refused = event {
          if before == .online { emit(.lost) }
          // Nothing changes by itself within moments.
          nextHello = monotonicMilliseconds() + Int64(configuration.helloMilliseconds) * 10
        }
        emit(event)
      }
    }
  }

  /// Tells what has happened. `updateOnline` comes first: whoever sees `.connected` may send at once.
  private func emit(_ event: WorkerEvent) {
    guard case .dropped = events.yield(event) else { return }
    session.drop()
    updateOnline()
  }

  private func updateOnline() {
    online.set(session.state == .online)
    if session.state != .online { backlog.removeAll() }
  }

  func perform(_ command: ControlMessage) {
    guard session.state == .online else { return }
    guard backlog.isEmpty else {
      if backlog.count < 10_000 {
        backlog.append(command)
      } else {
        loseSession()
      }
      return
    }
    if transmit(command) != .sent { backlog.append(command) }
  }

  private func loseSession() {
    session.drop()
    updateOnline()
    emit(.lost)
  }

  func tick(now: Int64) -> Int {
    if session.expire(now: now) {
      updateOnline()
      emit(.lost)
      nextHello = 0
      if addresses.count > 1 || session.coordinators.count > 1 { nextOpen = now }
    }
    if session.state == .online {
      nextOpen = now + patience
      backlog.removeFirst(backlog.firstIndex { transmit($0) != .sent } ?? backlog.count)
      let interval = Int64(session.welcome?.heartbeatMilliseconds ?? 500)
      if now >= nextBeat {
        _ = transmit(.heartbeat(heartbeat()))
        nextBeat = now + interval
      }
      return backlog.isEmpty ? max(1, Int(nextBeat - now)) : 5
    }
    if now >= nextOpen {
      if !session.coordinators.isEmpty { addresses = [addresses[0]] + session.coordinators.filter { $0 != addresses[0] } }
      addresses.append(addresses.removeFirst())
      turns += 1
      nextOpen = now + patience
      nextHello = now
      // Where no socket can be opened (no descriptors left), the old one stays until the next try.
      if let fresh = try? Self.open(context, configuration, addresses[0]) {
        socket.close()
        socket = fresh
      }
    }
    if now >= nextHello {
      let hello = hello()
      node = hello.node
      incarnation = hello.incarnation
      // Not connected yet: look again soon, so that the hello leaves at once when the handshake is done.
      nextHello = now + (transmit(.hello(hello)) == .sent ? Int64(configuration.helloMilliseconds) : 20)
      nextBeat = 0
    }
    return max(1, Int(nextHello - now))
  }

  func stop() {
    online.set(false)
    events.finish()
    socket.close()
    context.shutdown()
  }

  private func transmit(_ message: ControlMessage) -> SendOutcome {
    let envelope = Envelope(
      sender: node, sequence: sequence + 1, epoch: session.epoch, incarnation: incarnation, body: .message(message))
    guard let data = try? envelope.encoded(), data.count <= configuration.messageBytesMax else {
      return .sent  // cannot ever be sent; `send` has checked what callers give
    }
    let outcome = socket.send([data])
    if outcome == .sent { sequence += 1 }
    return outcome
  }
}
