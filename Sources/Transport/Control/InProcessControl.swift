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
  private let outbox = Outbox<(client: InProcessClient, envelope: Envelope)>()
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
    state.withLock { state in
      guard !state.isClosed else { return }
      switch state.table.received(envelope, from: node, route: 0, now: monotonicMilliseconds()) {
      case .ignore: break
      case .refuse(let error): number(.refused(error), for: client, &state)
      case .connected(let hello):
        state.clients[node] = client
        // Numbered before anybody can know of the node: whatever is sent to it comes after the welcome.
        let welcome = Welcome(
          epoch: configuration.epoch, heartbeatMilliseconds: configuration.timing.heartbeatMilliseconds,
          leaseMilliseconds: configuration.timing.leaseMilliseconds)
        number(.welcome(welcome), for: client, &state)
        continuation.yield(.connected(hello))
      case .deliver(let message):
        if case .heartbeat = message { number(.heartbeatAck(epoch: configuration.epoch), for: client, &state) }
        continuation.yield(.message(node: node, epoch: envelope.epoch, message))
      }
    }
    deliver()
  }

  /// Gives a message its number and its place in the queue, under the lock, so that both orders are the same.
  private func number(_ message: ControlMessage, for client: InProcessClient, _ state: inout State) {
    state.sequence += 1
    let envelope = Envelope(
      sender: "coordinator", sequence: state.sequence, epoch: configuration.epoch, incarnation: 1, body: .message(message))
    outbox.append((client, envelope))
  }

  private func deliver() {
    outbox.drain { client, envelope in
      if let data = try? envelope.encoded() { client.received(data) }  // our own types always encode
    }
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
    try state.withLock { state in
      guard let client = state.clients[node] else {
        throw PlatformError(.unavailable, "node '\(node)' is not connected")
      }
      number(message, for: client, &state)
    }
    deliver()
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
  private let outbox = Outbox<Envelope>()
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
    state.withLock { state in
      guard !state.isClosed else { return }
      let before = state.session.state
      switch state.session.received(envelope, now: monotonicMilliseconds()) {
      case .ignore: break
      case .helloAgain(let lost):
        state.nextBeat = 0
        if lost { continuation.yield(.lost) }
      case .event(let event):
        if case .refused = event, before == .online { continuation.yield(.lost) }
        continuation.yield(event)
      }
    }
  }

  private func tick() {
    let now = monotonicMilliseconds()
    let isOnline: Bool? = state.withLock { state in
      guard !state.isClosed else { return nil }
      let lost = state.session.expire(now: now)
      if lost { continuation.yield(.lost) }
      guard now >= state.nextBeat || lost else { return nil }
      let isOnline = state.session.state == .online
      state.nextBeat = now + (isOnline ? Int64(state.session.welcome?.heartbeatMilliseconds ?? 500) : 20)
      return isOnline
    }
    // The owner's closures run outside the lock: they may use this link.
    switch isOnline {
    case nil: return
    case true?: transmit(.heartbeat(heartbeat()))
    case false?:
      let hello = hello()
      transmit(.hello(hello), incarnation: hello.incarnation)
    }
  }

  /// Gives a message its number and its place in the queue, under the lock, so that both orders are the same.
  private func number(_ message: ControlMessage, _ state: inout State) {
    state.sequence += 1
    outbox.append(
      Envelope(
        sender: node, sequence: state.sequence, epoch: state.session.epoch, incarnation: state.incarnation,
        body: .message(message)))
  }

  private func transmit(_ message: ControlMessage, incarnation: UInt64? = nil) {
    state.withLock { state in
      if let incarnation { state.incarnation = incarnation }
      number(message, &state)
    }
    deliver()
  }

  private func deliver() {
    outbox.drain { envelope in
      if let data = try? envelope.encoded() { server.received(data, from: node, client: self) }  // our own types always encode
    }
  }

  func send(_ message: ControlMessage) throws {
    try state.withLock { state in
      guard state.session.state == .online, !state.isClosed else {
        throw PlatformError(.unavailable, "there is no connection to the coordinator")
      }
      number(message, &state)
    }
    deliver()
  }

  func close() {
    timer.stop()
    state.withLock { $0.isClosed = true }
    continuation.finish()
  }
}

/// Messages on their way in the order in which they were appended. One thread at a time hands them on, outside all locks;
/// others that come meanwhile, or the same thread from within a delivery, leave theirs to it.
private final class Outbox<Item: Sendable>: Sendable {
  private struct State {
    var items: [Item] = []
    var isDraining = false
  }
  private let state = Mutex(State())

  func append(_ item: Item) { state.withLock { $0.items.append(item) } }

  func drain(_ deliver: (Item) -> Void) {
    let begins = state.withLock { state in
      defer { state.isDraining = true }
      return !state.isDraining
    }
    guard begins else { return }
    while true {
      let items = state.withLock { state in
        defer { state.items = [] }
        if state.items.isEmpty { state.isDraining = false }
        return state.items
      }
      if items.isEmpty { return }
      for item in items { deliver(item) }
    }
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
