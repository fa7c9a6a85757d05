// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// The coordinator's control socket and join socket, on one thread.
///
///     let server = try ControlServer(.init(keys: keys, platformVersion: version, epoch: lease.epoch), admitted: admitted,
///       join: { request in await nodes.join(request) })
///     for await event in server.events { ... }
///
/// The control socket completes handshakes with admitted keys only; any other key gets silence. The join socket completes
/// them with any key but takes only one tiny message, the join request.
public final class ControlServer: ControlServing {
  public struct Configuration: Sendable {
    public var keys: CurveKeyPair
    /// Where to listen: an address of this machine; port 0 takes any free port.
    public var address: String = "tcp://127.0.0.1:0"
    public var joinAddress: String = "tcp://127.0.0.1:0"
    public var allowsWildcardAddress = false
    /// Told to joining nodes instead of `endpoint`, for machines behind address translation.
    public var advertisedAddress: String?
    public var platformVersion: String
    public var epoch: UInt64
    /// Control endpoints of all coordinators, which nodes are told.
    public var coordinators: [String] = []
    public var timing = ControlTiming()
    /// Largest control message in bytes; a peer that sends a larger one is disconnected.
    public var messageBytesMax: Int = 16 << 20

    public init(keys: CurveKeyPair, platformVersion: String, epoch: UInt64) {
      self.keys = keys
      self.platformVersion = platformVersion
      self.epoch = epoch
    }
  }

  /// Where the control and the join socket really listen.
  public let endpoint: String
  public let joinEndpoint: String
  public let publicKey: CurvePublicKey
  public let events: AsyncStream<ControlEvent>
  private let loop: SocketLoop<ControlServerHandler>
  private let connected: ConnectedNodes
  private let configuration: Configuration

  /// Binds and starts.
  /// - Parameter join: decides about a new node. Called as a task, at most 64 at a time; further requests are dropped and
  ///   tried again by the node.
  /// - Throws: `unavailable` PLT-2110 when a port is taken, `badConfiguration` for an address that may not be used.
  public init(
    _ configuration: Configuration, admitted: AdmittedKeys, join: @escaping @Sendable (JoinRequest) async -> JoinReply
  ) throws {
    let (stream, continuation) = AsyncStream.makeStream(of: ControlEvent.self, bufferingPolicy: .bufferingOldest(65_536))
    let connected = ConnectedNodes()
    let box = LoopBox()
    let endpoints = BoundEndpoints()
    let loop = try SocketLoop<ControlServerHandler>(name: "control") {
      let handler = try ControlServerHandler(
        configuration, admitted: admitted, join: join, events: continuation, connected: connected, loop: box)
      endpoints.set(handler.endpoint, handler.joinEndpoint)
      return handler
    }
    box.set(loop)
    self.loop = loop
    self.connected = connected
    self.configuration = configuration
    self.events = stream
    (endpoint, joinEndpoint) = endpoints.value
    publicKey = configuration.keys.publicKey
  }

  deinit { loop.close() }

  public func send(_ message: ControlMessage, to node: String) throws {
    guard connected.contains(node) else { throw PlatformError(.unavailable, "node '\(node)' is not connected") }
    try message.checkSize(configuration.messageBytesMax)
    try loop.post(.send(message, node))
  }

  public func disconnect(_ node: String, reason: String) {
    try? loop.post(.disconnect(node, reason))  // a closed server has no sessions left to end
  }

  /// What nodes are told of where coordinators are, with the next answers to their heartbeats.
  public func setCoordinators(_ endpoints: [String]) {
    try? loop.post(.coordinators(endpoints))  // a closed server has nobody to tell
  }

  public func close() { loop.close() }

  /// Returns when the sockets are closed.
  public func closed() async { await loop.ended() }
}

/// Names of the nodes with a session, readable from any thread.
final class ConnectedNodes: Sendable {
  private let names = Mutex<Set<String>>([])
  func contains(_ name: String) -> Bool { names.withLock { $0.contains(name) } }
  func insert(_ name: String) { _ = names.withLock { $0.insert(name) } }
  func remove(_ name: String) { _ = names.withLock { $0.remove(name) } }
}

/// Two endpoints on their way from the loop's thread to the initialiser.
private final class BoundEndpoints: Sendable {
  private let pair = Mutex<(String, String)>(("", ""))
  func set(_ first: String, _ second: String) { pair.withLock { $0 = (first, second) } }
  var value: (String, String) { pair.withLock { $0 } }
}

/// Lets tasks that answer join requests reach the loop without keeping it alive.
final class LoopBox: Sendable {
  private struct Weak { weak var loop: SocketLoop<ControlServerHandler>? }
  private let value = Mutex(Weak())
  func set(_ loop: SocketLoop<ControlServerHandler>) { value.withLock { $0.loop = loop } }
  func post(_ command: ControlServerHandler.Command) {
    let loop = value.withLock { $0.loop }
    try? loop?.post(command)  // the node asks again when its answer is lost
  }
}

/// The server's sockets and sessions; lives on the loop's thread.
final class ControlServerHandler: LoopHandler {
  enum Command: Sendable {
    case send(ControlMessage, String)
    case disconnect(String, String)
    case joinAnswer(JoinReply, route: Data)
    case coordinators([String])
  }

  let endpoint: String
  let joinEndpoint: String
  var sockets: [Socket] { [control, joining] }

  private let context: MessageContext
  private let control: Socket
  private let joining: Socket
  private var configuration: ControlServer.Configuration
  private let admitted: AdmittedKeys
  private let join: @Sendable (JoinRequest) async -> JoinReply
  private let events: AsyncStream<ControlEvent>.Continuation
  private let connected: ConnectedNodes
  private let loop: LoopBox
  private let incarnation: UInt64
  private var table: SessionTable
  /// Route of each node's latest message. Routes are made by libzmq for each connection.
  private var routes: [String: Data] = [:]
  /// Messages that a node's connection did not take yet, in their order; bounded, and dropped with the session.
  private var backlogs: [String: [ControlMessage]] = [:]
  private static let backlogLimit = 10_000
  private var sequence: UInt64 = 0
  private var joinsRunning = 0

  init(
    _ configuration: ControlServer.Configuration, admitted: AdmittedKeys,
    join: @escaping @Sendable (JoinRequest) async -> JoinReply, events: AsyncStream<ControlEvent>.Continuation,
    connected: ConnectedNodes, loop: LoopBox
  ) throws {
    context = try MessageContext()
    try AuthenticationHandler.start(context) { domain, key in domain == "join" || admitted.name(of: key) != nil }
    control = try Socket(.router, context: context, limits: SocketLimits(messageBytesMax: configuration.messageBytesMax))
    try control.serve(keys: configuration.keys, domain: "control")
    var limits = SocketLimits(messageBytesMax: 16 << 10)
    limits.sendQueue = 16
    limits.receiveQueue = 16
    joining = try Socket(.router, context: context, limits: limits)
    try joining.serve(keys: configuration.keys, domain: "join")
    do {
      endpoint = try control.bind(configuration.address, allowsWildcard: configuration.allowsWildcardAddress)
      joinEndpoint = try joining.bind(configuration.joinAddress, allowsWildcard: configuration.allowsWildcardAddress)
    } catch {
      control.close()
      joining.close()
      context.shutdown()
      throw error
    }
    self.configuration = configuration
    self.admitted = admitted
    self.join = join
    self.events = events
    self.connected = connected
    self.loop = loop
    incarnation = UInt64(max(0, ProcessSupport.wallMilliseconds)) << 12 | UInt64.random(in: 0..<4096)
    table = SessionTable(platformVersion: configuration.platformVersion, epoch: configuration.epoch)
  }

  func receive(_ index: Int) {
    // A bounded number a turn, so that one talkative socket does not starve the other and the timers.
    for _ in 0..<256 {
      guard let message = (index == 0 ? control : joining).receive(framesMax: 2) else { return }
      guard message.frames.count == 2, let text = message.userID, let key = try? CurvePublicKey(text),  // not ours: dropped
        let envelope = try? Envelope(decoding: message.frames[1])  // garbage of a peer is dropped
      else { continue }
      if index == 0 {
        received(envelope, key: key, route: message.frames[0])
      } else {
        receivedJoin(envelope, key: key, route: message.frames[0])
      }
    }
  }

  private func received(_ envelope: Envelope, key: CurvePublicKey, route: Data) {
    guard let node = admitted.name(of: key) else { return }  // revoked since its handshake
    let isBeat = if case .message(.heartbeat) = envelope.body { true } else { false }
    switch table.received(envelope, from: node, route: 0, now: monotonicMilliseconds()) {
    case .ignore: return
    case .refuse(let error): _ = transmit(.refused(error), to: route)
    case .connected(let hello):
      routes[node] = route
      backlogs[node] = nil
      connected.insert(node)
      if deliver(.connected(hello), of: node), transmit(.welcome(welcome), to: route) != .sent {
        end(node, reason: "it went away during its hello")
      }
    case .deliver(let message):
      routes[node] = route
      if isBeat { _ = transmit(.heartbeatAck(epoch: configuration.epoch, coordinators: configuration.coordinators), to: route) }
      _ = deliver(.message(node: node, epoch: envelope.epoch, message), of: node)
    }
  }

  private var welcome: Welcome {
    Welcome(
      epoch: configuration.epoch, heartbeatMilliseconds: configuration.timing.heartbeatMilliseconds,
      leaseMilliseconds: configuration.timing.leaseMilliseconds, coordinators: configuration.coordinators)
  }

  private func receivedJoin(_ envelope: Envelope, key: CurvePublicKey, route: Data) {
    guard envelope.version == Envelope.protocolVersion else {
      answer(
        .refused(
          PlatformError(
            .badConfiguration,
            "this node speaks control protocol \(envelope.version), the coordinator speaks \(Envelope.protocolVersion)",
            hint: "Install the coordinator's platform version.", number: "PLT-2121")), route)
      return
    }
    guard case .joinRequest(let secret, let claimed, let node, let version) = envelope.body, joinsRunning < 64 else {
      return
    }
    guard claimed == key.description, !node.isEmpty, node.utf8.count <= 128, secret.count == 32 else {
      answer(.refused(PlatformError(.invalidArgument, "the join request is malformed", number: "PLT-2130")), route)
      return
    }
    guard ReleaseVersion.speak(version, configuration.platformVersion) else {
      answer(
        .refused(
          PlatformError(
            .badConfiguration,
            "node '\(node)' runs platform \(version), the coordinator runs platform \(configuration.platformVersion)",
            hint: "Install platform \(configuration.platformVersion) on '\(node)'.", number: "PLT-2123")), route)
      return
    }
    joinsRunning += 1
    let request = JoinRequest(secret: secret, publicKey: key, node: node, platformVersion: version)
    // Ends by itself when the closure returns; it holds nothing of the server.
    Task { [join, loop] in loop.post(.joinAnswer(await join(request), route: route)) }
  }

  private func answer(_ reply: JoinReply, _ route: Data) {
    var reply = reply
    if case .accepted(let node, let address) = reply, address.isEmpty {
      reply = .accepted(node: node, controlEndpoint: configuration.advertisedAddress ?? endpoint)
    }
    guard let data = try? Envelope(sender: "coordinator", epoch: configuration.epoch, body: .joinReply(reply)).encoded()
    else {
      return  // the node asks again
    }
    _ = joining.send([route, data])
  }

  func perform(_ command: Command) {
    switch command {
    case .send(let message, let node):
      guard let route = routes[node] else { return }
      if let waiting = backlogs[node] {
        guard waiting.count < Self.backlogLimit else { return end(node, reason: "it does not read its messages") }
        backlogs[node]?.append(message)
        return
      }
      switch transmit(message, to: route) {
      case .sent: break
      case .full: backlogs[node] = [message]
      case .unroutable: end(node, reason: "its connection has ended")
      }
    case .disconnect(let node, let reason): end(node, reason: reason)
    case .joinAnswer(let reply, let route):
      joinsRunning -= 1
      answer(reply, route)
    case .coordinators(let endpoints): configuration.coordinators = endpoints
    }
  }

  func tick(now: Int64) -> Int {
    for node in table.expire(heardBefore: now - Int64(configuration.timing.leaseMilliseconds)) {
      forget(node, reason: "not heard for \(configuration.timing.leaseMilliseconds) ms")
    }
    // The connection of a process that has ended is closed by its system at once, which is seen when something is sent there.
    for node in table.unheard(since: now - 2 * Int64(configuration.timing.heartbeatMilliseconds)) {
      if let route = routes[node], probe(route) == .unroutable { end(node, reason: "its connection has ended") }
    }
    for node in backlogs.keys { sendBacklog(of: node) }
    return backlogs.isEmpty ? configuration.timing.heartbeatMilliseconds / 2 : 5
  }

  private func sendBacklog(of node: String) {
    guard let route = routes[node], let waiting = backlogs.removeValue(forKey: node) else { return }
    for (index, message) in waiting.enumerated() {
      switch transmit(message, to: route) {
      case .sent: continue
      case .full: backlogs[node] = Array(waiting[index...])
      case .unroutable: end(node, reason: "its connection has ended")
      }
      return
    }
  }

  func stop() {
    events.finish()
    control.close()
    joining.close()
    context.shutdown()
  }

  /// Sends what no worker takes notice of: its number is none, so nobody's lease is renewed by it.
  private func probe(_ route: Data) -> SendOutcome {
    let envelope = Envelope(
      sender: "coordinator", sequence: 0, epoch: configuration.epoch, incarnation: incarnation,
      body: .message(.heartbeatAck(epoch: configuration.epoch, coordinators: [])))
    guard let data = try? envelope.encoded() else { return .full }  // small and well formed
    return control.send([route, data])
  }

  private func transmit(_ message: ControlMessage, to route: Data) -> SendOutcome {
    sequence += 1
    let envelope = Envelope(
      sender: "coordinator", sequence: sequence, epoch: configuration.epoch, incarnation: incarnation,
      body: .message(message))
    guard let data = try? envelope.encoded(), data.count <= configuration.messageBytesMax else {
      return .unroutable  // cannot ever be sent; `send` has checked what callers give
    }
    return control.send([route, data])
  }

  /// Returns false when the reader is too far behind; the node's session then ends and it reports everything again.
  private func deliver(_ event: ControlEvent, of node: String) -> Bool {
    if case .dropped = events.yield(event) {
      end(node, reason: "the coordinator is too far behind")
      return false
    }
    return true
  }

  private func end(_ node: String, reason: String) {
    guard table.end(node) else { return }
    forget(node, reason: reason)
  }

  private func forget(_ node: String, reason: String) {
    routes[node] = nil
    backlogs[node] = nil
    connected.remove(node)
    events.yield(.disconnected(node: node, reason: reason))
  }
}
