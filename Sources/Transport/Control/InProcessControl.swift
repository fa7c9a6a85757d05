// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization

/// A control link inside one process, without sockets and keys: same sessions, same rules, same messages as the real one
/// (each is encoded and decoded). For tests, and for a coordinator that runs its only worker itself.
public final class InProcessControl: ControlServing {
  public let events: AsyncStream<ControlEvent>
  private let continuation: AsyncStream<ControlEvent>.Continuation
  private let configuration: (platformVersion: String, epoch: UInt64, timing: ControlTiming)

  private struct State {
    var table: SessionTable
    var clients: [String: InProcessClient] = [:]
    var sequence: UInt64 = 0
    var isClosed = false
  }
  private let state: Mutex<State>
  private let timer: Timer

  public init(platformVersion: String, epoch: UInt64, timing: ControlTiming = ControlTiming()) {
    (events, continuation) = AsyncStream.makeStream(of: ControlEvent.self, bufferingPolicy: .bufferingOldest(65_536))
    configuration = (platformVersion, epoch, timing)
    state = Mutex(State(table: SessionTable(platformVersion: platformVersion, epoch: epoch)))
    timer = Timer()
    timer.start(milliseconds: timing.heartbeatMilliseconds / 2) { [weak self] in self?.expire() }
  }

  deinit { timer.stop() }

  /// A worker's end. The node is admitted under the name that its hello gives.
  public func connect(
    as node: String, hello: @escaping @Sendable () -> WorkerHello, heartbeat: @escaping @Sendable () -> Heartbeat
  ) -> any ControlConnecting {
    InProcessClient(self, node: node, hello: hello, heartbeat: heartbeat)
  }

  func received(_ data: Data, from node: String, client: InProcessClient) {
    guard let envelope = try? Envelope(decoding: data) else { return }  // as over a socket: garbage is dropped
    let isBeat = if case .message(.heartbeat) = envelope.body { true } else { false }
    let decision = state.withLock { state in
      state.isClosed ? .ignore : state.table.received(envelope, from: node, route: 0, now: monotonicMilliseconds())
    }
    switch decision {
    case .ignore: break
    case .refuse(let error): transmit(.refused(error), to: client)
    case .connected(let hello):
      state.withLock { $0.clients[node] = client }
      continuation.yield(.connected(hello))
      transmit(
        .welcome(
          Welcome(
            epoch: configuration.epoch, heartbeatMilliseconds: configuration.timing.heartbeatMilliseconds,
            leaseMilliseconds: configuration.timing.leaseMilliseconds)), to: client)
    case .deliver(let message):
      if isBeat { transmit(.heartbeatAck(epoch: configuration.epoch), to: client) }
      continuation.yield(.message(node: node, epoch: envelope.epoch, message))
    }
  }

  private func transmit(_ message: ControlMessage, to client: InProcessClient) {
    let sequence = state.withLock { state in
      state.sequence += 1
      return state.sequence
    }
    let envelope = Envelope(
      sender: "coordinator", sequence: sequence, epoch: configuration.epoch, incarnation: 1, body: .message(message))
    if let data = try? envelope.encoded() { client.received(data) }  // our own types always encode
  }

  private func expire() {
    let gone = state.withLock { state in
      let limit = monotonicMilliseconds() - Int64(configuration.timing.leaseMilliseconds)
      let gone = state.table.expire(heardBefore: limit)
      for node in gone { state.clients[node] = nil }
      return gone
    }
    for node in gone {
      continuation.yield(.disconnected(node: node, reason: "not heard for \(configuration.timing.leaseMilliseconds) ms"))
    }
  }

  public func send(_ message: ControlMessage, to node: String) throws {
    guard let client = state.withLock({ $0.clients[node] }) else {
      throw PlatformError(.unavailable, "node '\(node)' is not connected")
    }
    transmit(message, to: client)
  }

  public func disconnect(_ node: String, reason: String) {
    let ended = state.withLock { state in
      state.clients[node] = nil
      return state.table.end(node)
    }
    if ended { continuation.yield(.disconnected(node: node, reason: reason)) }
  }

  public func close() {
    timer.stop()
    state.withLock {
      $0.isClosed = true
      $0.clients = [:]
    }
    continuation.finish()
  }
}

/// The worker's end of `InProcessControl`.
final class InProcessClient: ControlConnecting {
  let events: AsyncStream<WorkerEvent>
  private let continuation: AsyncStream<WorkerEvent>.Continuation
  private let server: InProcessControl
  private let node: String
  private let hello: @Sendable () -> WorkerHello
  private let heartbeat: @Sendable () -> Heartbeat
  private struct State {
    var session = ClientSession()
    var sequence: UInt64 = 0
    var incarnation: UInt64 = 0
    var nextBeat: Int64 = 0
    var isClosed = false
  }
  private let state = Mutex(State())
  private let timer = Timer()

  init(
    _ server: InProcessControl, node: String, hello: @escaping @Sendable () -> WorkerHello,
    heartbeat: @escaping @Sendable () -> Heartbeat
  ) {
    (events, continuation) = AsyncStream.makeStream(of: WorkerEvent.self, bufferingPolicy: .bufferingOldest(65_536))
    self.server = server
    self.node = node
    self.hello = hello
    self.heartbeat = heartbeat
    timer.start(milliseconds: 10) { [weak self] in self?.tick() }
  }

  deinit { timer.stop() }

  func received(_ data: Data) {
    guard let envelope = try? Envelope(decoding: data) else { return }  // as over a socket: garbage is dropped
    let events: [WorkerEvent] = state.withLock { state in
      guard !state.isClosed else { return [] }
      let before = state.session.state
      switch state.session.received(envelope, now: monotonicMilliseconds()) {
      case .ignore: return []
      case .helloAgain(let lost): return lost ? [.lost] : []
      case .event(let event):
        if case .refused = event, before == .online { return [.lost, event] }
        return [event]
      }
    }
    for event in events { continuation.yield(event) }
  }

  private func tick() {
    let now = monotonicMilliseconds()
    let (lost, say): (Bool, ControlMessage?) = state.withLock { state in
      guard !state.isClosed else { return (false, nil) }
      let lost = state.session.expire(now: now)
      guard now >= state.nextBeat || lost else { return (lost, nil) }
      if state.session.state == .online {
        state.nextBeat = now + Int64(state.session.welcome?.heartbeatMilliseconds ?? 500)
        return (lost, .heartbeat(heartbeat()))
      }
      state.nextBeat = now + 20
      let hello = hello()
      state.incarnation = hello.incarnation
      return (lost, .hello(hello))
    }
    if lost { continuation.yield(.lost) }
    if let say { transmit(say) }
  }

  private func transmit(_ message: ControlMessage) {
    let envelope = state.withLock { state in
      state.sequence += 1
      return Envelope(
        sender: node, sequence: state.sequence, epoch: state.session.epoch, incarnation: state.incarnation,
        body: .message(message))
    }
    if let data = try? envelope.encoded() { server.received(data, from: node, client: self) }  // our own types always encode
  }

  func send(_ message: ControlMessage) throws {
    guard state.withLock({ $0.session.state == .online && !$0.isClosed }) else {
      throw PlatformError(.unavailable, "there is no connection to the coordinator")
    }
    transmit(message)
  }

  func close() {
    timer.stop()
    state.withLock { $0.isClosed = true }
    continuation.finish()
  }
}

/// Calls a closure again and again on a dispatch queue until stopped.
private final class Timer: Sendable {
  private let isStopped = Atomic<Bool>(false)
  private let queue = DispatchQueue(label: "control-timer")

  func start(milliseconds: Int, _ body: @escaping @Sendable () -> Void) {
    queue.asyncAfter(deadline: .now() + .milliseconds(milliseconds)) { [weak self] in
      guard let self, !isStopped.load(ordering: .acquiring) else { return }
      body()
      start(milliseconds: milliseconds, body)
    }
  }

  func stop() { isStopped.store(true, ordering: .releasing) }
}
