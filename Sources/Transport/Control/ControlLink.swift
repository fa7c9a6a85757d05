// SPDX-License-Identifier: Apache-2.0

public import Core
import Foundation

/// What the coordinator sees of its workers.
public enum ControlEvent: Sendable, Equatable {
  /// A node said hello (again): from here on its earlier session is over.
  case connected(WorkerHello)
  /// `epoch` is the coordinator epoch under which the node sent it. Heartbeats come through here as well.
  case message(node: String, epoch: UInt64, ControlMessage)
  /// No sign of life for the lease time, or a queue towards or from it was full. It may come back with a hello.
  case disconnected(node: String, reason: String)
}

/// What a worker sees of the coordinator.
public enum WorkerEvent: Sendable, Equatable {
  /// The first welcome.
  case connected(Welcome)
  /// Nothing was heard for the lease time: side effects must stop until `restored`.
  case lost
  /// A welcome after `lost`, or from a coordinator that was started anew. Unacknowledged results must be sent again.
  case restored(Welcome)
  /// The coordinator does not want this node as it is (version, name). The client goes on trying, slowly.
  case refused(PlatformError)
  case message(ControlMessage)
}

/// The coordinator's end of the control link.
public protocol ControlServing: Sendable {
  /// At most one consumer. Holds up to 65,536 events; the node whose message does not fit loses its session and has to
  /// say hello again.
  var events: AsyncStream<ControlEvent> { get }
  /// Queues a message.
  /// - Throws: `unavailable` when the node has no session, `resourceExhausted` when 10,000 messages are waiting.
  func send(_ message: ControlMessage, to node: String) throws
  /// Ends a node's session; it will say hello again unless its key was revoked.
  func disconnect(_ node: String, reason: String)
  func close()
}

/// The worker's end of the control link.
public protocol ControlConnecting: Sendable {
  /// At most one consumer. Holds up to 65,536 events; when one does not fit, the session is dropped and made again.
  var events: AsyncStream<WorkerEvent> { get }
  /// Queues a message.
  /// - Throws: `unavailable` while there is no session, `resourceExhausted` when 10,000 messages are waiting.
  func send(_ message: ControlMessage) throws
  func close()
}

/// Timing and identity of a control link.
public struct ControlTiming: Sendable, Equatable {
  public var heartbeatMilliseconds: Int
  public var leaseMilliseconds: Int
  /// A lease of less than three heartbeats would take one late packet for a death.
  public init(heartbeatMilliseconds: Int = 500, leaseMilliseconds: Int = 3000) {
    self.heartbeatMilliseconds = max(10, heartbeatMilliseconds)
    self.leaseMilliseconds = max(leaseMilliseconds, 3 * max(10, heartbeatMilliseconds))
  }
}

/// The rules of a session at the coordinator's end, without sockets and clocks: who is connected, which messages count.
struct SessionTable {
  struct Session {
    var incarnation: UInt64
    var lastSequence: UInt64
    var heard: Int64
    var route: Int
  }

  enum Decision: Equatable {
    /// A new session begins.
    case connected(WorkerHello)
    case deliver(ControlMessage)
    /// Already seen, or of no interest.
    case ignore
    /// Answer with this refusal.
    case refuse(PlatformError)
  }

  static let helloFirst = "PLT-2120"

  let platformVersion: String
  let epoch: UInt64
  private(set) var sessions: [String: Session] = [:]

  init(platformVersion: String, epoch: UInt64) {
    self.platformVersion = platformVersion
    self.epoch = epoch
  }

  /// Decides about a message of the node that the key belongs to.
  mutating func received(_ envelope: Envelope, from node: String, route: Int, now: Int64) -> Decision {
    guard envelope.version == Envelope.protocolVersion else {
      return .refuse(
        PlatformError(
          .badConfiguration,
          "node '\(node)' speaks control protocol \(envelope.version), this coordinator speaks \(Envelope.protocolVersion)",
          hint: "Install the same platform version on both.", number: "PLT-2121"))
    }
    guard case .message(let message) = envelope.body else { return .ignore }
    if case .hello(let hello) = message { return received(hello, envelope, from: node, route: route, now: now) }
    guard var session = sessions[node], envelope.incarnation >= session.incarnation else {
      return .refuse(PlatformError(.unauthenticated, "no session: say hello first", number: Self.helloFirst))
    }
    guard envelope.incarnation == session.incarnation, envelope.epoch >= epoch else {
      return .refuse(
        PlatformError(
          .unauthenticated, "the message is of epoch \(envelope.epoch), this is epoch \(epoch): say hello first",
          number: Self.helloFirst))
    }
    guard envelope.sequence > session.lastSequence else { return .ignore }
    session.lastSequence = envelope.sequence
    session.heard = now
    session.route = route
    sessions[node] = session
    switch message {
    case .heartbeat, .unitStarted, .unitProgress, .unitMetric, .unitLog, .unitFinished, .unitEndpoint:
      return .deliver(message)
    default: return .ignore
    }
  }

  private mutating func received(
    _ hello: WorkerHello, _ envelope: Envelope, from node: String, route: Int, now: Int64
  ) -> Decision {
    guard hello.node == node else {
      return .refuse(
        PlatformError(
          .permissionDenied, "the key of this node belongs to '\(node)', but it calls itself '\(hello.node)'",
          number: "PLT-2122"))
    }
    guard ReleaseVersion.speak(hello.platformVersion, platformVersion) else {
      return .refuse(
        PlatformError(
          .badConfiguration,
          "node '\(node)' runs platform \(hello.platformVersion), the coordinator runs platform \(platformVersion)",
          hint: "Install platform \(platformVersion) on '\(node)'.", number: "PLT-2123"))
    }
    if let session = sessions[node] {
      guard hello.incarnation >= session.incarnation else {
        return .refuse(
          PlatformError(
            .conflict, "a newer process runs as node '\(node)'", hint: "Stop one of the two.", number: "PLT-2124"))
      }
      // A repeated or replayed hello of the running session begins nothing.
      guard hello.incarnation > session.incarnation || envelope.sequence > session.lastSequence else { return .ignore }
    }
    sessions[node] = Session(
      incarnation: hello.incarnation, lastSequence: envelope.sequence, heard: now, route: route)
    return .connected(hello)
  }

  /// Nodes that were not heard since `limit`. Their sessions end.
  mutating func expire(heardBefore limit: Int64) -> [String] {
    let gone = sessions.filter { $0.value.heard < limit }.map(\.key).sorted()
    for node in gone { sessions[node] = nil }
    return gone
  }

  /// Nodes that have a session and were not heard since `limit`.
  func unheard(since limit: Int64) -> [String] { sessions.filter { $0.value.heard < limit }.map(\.key).sorted() }

  mutating func end(_ node: String) -> Bool { sessions.removeValue(forKey: node) != nil }
}

/// The rules of a session at the worker's end.
struct ClientSession {
  enum State: Equatable { case searching, online }
  enum Decision: Equatable {
    case event(WorkerEvent)
    /// Say hello now.
    case helloAgain(lost: Bool)
    case ignore
  }

  private(set) var state: State = .searching
  private(set) var welcome: Welcome?
  /// Control endpoints of all coordinators, as the last one said that said any.
  private(set) var coordinators: [String] = []
  private var highestEpoch: UInt64 = 0
  private var server: (incarnation: UInt64, sequence: UInt64) = (0, 0)
  private var wasOnline = false
  private(set) var heard: Int64 = 0
  var epoch: UInt64 { welcome?.epoch ?? 0 }

  mutating func received(_ envelope: Envelope, now: Int64) -> Decision {
    guard case .message(let message) = envelope.body else { return .ignore }
    if case .refused(let error) = message {
      guard error.number == SessionTable.helloFirst else {
        state = .searching
        return .event(.refused(error))
      }
      let wasLost = state == .online
      state = .searching
      return .helloAgain(lost: wasLost)
    }
    guard envelope.version == Envelope.protocolVersion, envelope.epoch >= highestEpoch else { return .ignore }
    if envelope.epoch > highestEpoch || envelope.incarnation != server.incarnation {
      guard case .welcome = message else { return .ignore }
      highestEpoch = envelope.epoch
      server = (envelope.incarnation, 0)
    }
    guard envelope.sequence > server.sequence else { return .ignore }
    server.sequence = envelope.sequence
    heard = now
    switch message {
    case .welcome(let welcome):
      self.welcome = welcome
      if !welcome.coordinators.isEmpty { coordinators = welcome.coordinators }
      state = .online
      defer { wasOnline = true }
      return .event(wasOnline ? .restored(welcome) : .connected(welcome))
    case .heartbeatAck(_, let endpoints):
      if !endpoints.isEmpty { coordinators = endpoints }
      return .ignore
    case .assign, .cancel, .acknowledge, .peerTable, .drain, .shutdown:
      return state == .online ? .event(.message(message)) : .ignore
    default: return .ignore
    }
  }

  /// Whether the lease ran out just now.
  mutating func expire(now: Int64) -> Bool {
    guard state == .online, let welcome, now - heard >= Int64(welcome.leaseMilliseconds) else { return false }
    state = .searching
    return true
  }

  mutating func drop() { state = .searching }
}
