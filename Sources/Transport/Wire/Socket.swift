// SPDX-License-Identifier: Apache-2.0

import CSupport
import CZeroMQ
import Core
package import Foundation

/// What every socket of this project sets. Each field says what it bounds.
package struct SocketLimits: Sendable {
  /// Largest single frame that is accepted; a peer that sends a larger one is disconnected.
  package var messageBytesMax: Int
  /// Messages queued towards one peer; 0: the caller bounds them.
  package var sendQueue: Int = 1000
  /// Messages received from one peer and not yet read; 0: the caller bounds them.
  package var receiveQueue: Int = 1000
  package var heartbeatMilliseconds: Int = 1000
  package var heartbeatTimeoutMilliseconds: Int = 3000
  /// A peer that has not finished its handshake after this time is disconnected.
  package var handshakeMilliseconds: Int = 5000
  /// How long a closed socket goes on delivering what it has queued.
  package var lingerMilliseconds: Int = 200

  package init(messageBytesMax: Int) { self.messageBytesMax = messageBytesMax }
}

/// A message as received: its frames, and who sent them as proven by the CURVE handshake.
package struct ReceivedMessage {
  package var frames: [Data]
  /// The sender's public key in hexadecimal, as the authentication handler wrote it; nil where there is none.
  package var userID: String?
}

package enum SendOutcome { case sent, full, unroutable }

/// One ZeroMQ socket. Belongs to one thread at a time; closed by `close` or when the last reference goes away.
package final class Socket {
  package enum Kind { case router, dealer, reply, pair }

  private let context: MessageContext
  private var handle: UnsafeMutableRawPointer?
  /// Where libzmq tells what happens to this socket's connections, once `watchConnections` was called.
  private var monitor: Socket?

  package init(_ kind: Kind, context: MessageContext, limits: SocketLimits) throws {
    let type =
      switch kind {
      case .router: ZMQ_ROUTER
      case .dealer: ZMQ_DEALER
      case .reply: ZMQ_REP
      case .pair: ZMQ_PAIR
      }
    guard let handle = zmq_socket(context.handle, type) else { throw MessageContext.failure("cannot open a ZeroMQ socket") }
    self.context = context
    self.handle = handle
    try set(ZMQ_LINGER, limits.lingerMilliseconds)
    var size = Int64(limits.messageBytesMax)
    try check(zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &size, 8), "MAXMSGSIZE")
    try set(ZMQ_SNDHWM, limits.sendQueue)
    try set(ZMQ_RCVHWM, limits.receiveQueue)
    if kind == .router || kind == .dealer {
      try set(ZMQ_HEARTBEAT_IVL, limits.heartbeatMilliseconds)
      try set(ZMQ_HEARTBEAT_TIMEOUT, limits.heartbeatTimeoutMilliseconds)
      try set(ZMQ_HANDSHAKE_IVL, limits.handshakeMilliseconds)
      try set(ZMQ_RECONNECT_IVL, 50)
      try set(ZMQ_RECONNECT_IVL_MAX, 1000)
    }
    // ROUTER_HANDOVER stays off on purpose: peers are known by their key, routes are the connection's own, and with
    // handover an admitted peer could take another's route by naming it.
    if kind == .router { try set(ZMQ_ROUTER_MANDATORY, 1) }
    // Without this, messages to a peer that is away would wait in libzmq and arrive long after they made sense.
    if kind == .dealer { try set(ZMQ_IMMEDIATE, 1) }
  }

  deinit { close() }

  package func close() {
    if let handle {
      // In this order: libzmq would wait for ever to tell a monitor whose reader is closed.
      if monitor != nil { zmq_socket_monitor(handle, nil, 0) }
      monitor?.close()
      zmq_close(handle)
    }
    monitor = nil
    handle = nil
  }

  private func check(_ result: Int32, _ what: String) throws {
    guard result == 0 else { throw MessageContext.failure("cannot set \(what)", code: .internalError) }
  }

  private func set(_ option: Int32, _ value: Int) throws {
    var value = Int32(clamping: value)
    try check(zmq_setsockopt(handle, option, &value, 4), "socket option \(option)")
  }

  private func set(_ option: Int32, _ bytes: [UInt8]) throws {
    try check(zmq_setsockopt(handle, option, bytes, bytes.count), "socket option \(option)")
  }

  /// This end answers handshakes with `keys`; `domain` is what the authentication handler of the context sees.
  package func serve(keys: CurveKeyPair, domain: String) throws {
    try set(ZMQ_CURVE_SERVER, 1)
    try set(ZMQ_CURVE_SECRETKEY, keys.secretKey)
    try set(ZMQ_ZAP_DOMAIN, Array(domain.utf8))
  }

  /// This end proves itself with `keys` and accepts no other server than the holder of `server`.
  package func authenticate(keys: CurveKeyPair, server: CurvePublicKey) throws {
    try set(ZMQ_CURVE_SERVERKEY, server.bytes)
    try set(ZMQ_CURVE_PUBLICKEY, keys.publicKey.bytes)
    try set(ZMQ_CURVE_SECRETKEY, keys.secretKey)
  }

  /// Binds, and returns the address with the real port.
  /// - Throws: `invalidArgument` for an address that cannot be bound by rule, `unavailable` when it is taken.
  package func bind(_ address: String, allowsWildcard: Bool = false) throws -> String {
    if !address.hasPrefix("inproc:") { try EndpointRules.checkBind(address, allowsWildcard: allowsWildcard) }
    guard zmq_bind(handle, address) == 0 else {
      let code = zmq_errno()
      if code == EADDRINUSE {
        throw PlatformError(
          .unavailable, "cannot listen on \(address): the address is already in use",
          hint: "Stop the other process or configure another port.", number: "PLT-2110")
      }
      throw MessageContext.failure(
        "cannot listen on \(address)", code: .badConfiguration,
        hint: "Give an address of this machine, such as tcp://10.0.0.5:7077.")
    }
    var buffer = [CChar](repeating: 0, count: 1024)
    var size = buffer.count
    guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &buffer, &size) == 0 else {
      throw MessageContext.failure("cannot read the bound address")
    }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Starts connecting; the connection itself is made in the background, for ever.
  package func connect(_ address: String) throws {
    guard zmq_connect(handle, address) == 0 else {
      throw MessageContext.failure(
        "cannot connect to \(address)", code: .invalidArgument, hint: "Write it as tcp://host:port.")
    }
  }

  /// `lost` also stands for a handshake that failed.
  package enum ConnectionEvent { case established, lost }

  private static let lostEvents =
    ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
    | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL

  /// From now on `connectionEvent` tells what happens to this socket's connections. Call it before `connect`.
  package func watchConnections() throws {
    let address = "inproc://monitor-\(UUID().uuidString)"
    let wanted = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | Self.lostEvents
    guard zmq_socket_monitor(handle, address, wanted) == 0 else {
      throw MessageContext.failure("cannot watch a connection")
    }
    var limits = SocketLimits(messageBytesMax: 4096)
    limits.receiveQueue = 0  // libzmq must never wait for us
    limits.lingerMilliseconds = 0
    let reader = try Socket(.pair, context: context, limits: limits)
    monitor = reader
    try reader.connect(address)
  }

  /// The next thing that happened to a connection and was not yet read. Never waits.
  package func connectionEvent() -> ConnectionEvent? {
    while let message = monitor?.receive(framesMax: 2) {
      guard let first = message.frames.first, first.count >= 2 else { continue }
      let number = first.withUnsafeBytes { Int32($0.loadUnaligned(as: UInt16.self)) }
      if number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED { return .established }
      if number & Self.lostEvents != 0 { return .lost }
    }
    return nil
  }

  /// To be watched by `poll` for news of connections; nil when they are not watched.
  package var connectionNews: Socket? { monitor }

  /// Sends all frames as one message without waiting.
  package func send(_ frames: [Data]) -> SendOutcome {
    for (index, frame) in frames.enumerated() {
      let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
      var result: Int32
      repeat {
        result = frame.withUnsafeBytes { zmq_send(handle, $0.baseAddress, $0.count, flags) }
      } while result < 0 && zmq_errno() == EINTR
      if result < 0 { return zmq_errno() == EAGAIN ? .full : .unroutable }
    }
    return .sent
  }

  /// Sends `header` and `bytes` as a message of two frames without waiting; both are copied.
  package func send(header: Data, bytes: UnsafeRawBufferPointer) -> SendOutcome {
    var result: Int32
    repeat {
      result = header.withUnsafeBytes { zmq_send(handle, $0.baseAddress, $0.count, ZMQ_DONTWAIT | ZMQ_SNDMORE) }
    } while result < 0 && zmq_errno() == EINTR
    if result < 0 { return zmq_errno() == EAGAIN ? .full : .unroutable }
    repeat {
      result = zmq_send(handle, bytes.baseAddress, bytes.count, ZMQ_DONTWAIT)
    } while result < 0 && zmq_errno() == EINTR
    return result < 0 ? .unroutable : .sent
  }

  /// The next whole message, or nil when there is none now. Frames beyond `framesMax` are read and thrown away, and the
  /// message then comes back without frames.
  /// - Parameter waits: blocks until a message comes or the context shuts down.
  package func receive(framesMax: Int = 8, waits: Bool = false) -> ReceivedMessage? {
    var message = ReceivedMessage(frames: [], userID: nil)
    var tooMany = false
    while true {
      var part = zmq_msg_t()
      zmq_msg_init(&part)
      defer { zmq_msg_close(&part) }
      var result: Int32
      repeat { result = zmq_msg_recv(&part, handle, waits ? 0 : ZMQ_DONTWAIT) } while result < 0 && zmq_errno() == EINTR
      guard result >= 0 else { return nil }
      if message.userID == nil, let text = zmq_msg_gets(&part, "User-Id") {
        message.userID = String(cString: text)
      }
      if message.frames.count < framesMax {
        let size = zmq_msg_size(&part)
        message.frames.append(size == 0 ? Data() : Data(bytes: zmq_msg_data(&part), count: size))
      } else {
        tooMany = true
      }
      if zmq_msg_more(&part) == 0 { break }
    }
    if tooMany { message.frames = [] }
    return message
  }

  package struct Readiness: OptionSet, Sendable {
    package let rawValue: Int
    package init(rawValue: Int) { self.rawValue = rawValue }
    package static let readable = Readiness(rawValue: 1)
    package static let writable = Readiness(rawValue: 2)
  }

  /// Waits until one of the sockets has something, `descriptor` is readable, or the time is over.
  /// Returns what each socket is ready for.
  package static func poll(
    _ sockets: [(socket: Socket, wanted: Readiness)], descriptor: Int32 = -1, milliseconds: Int
  ) -> [Readiness] {
    var items = sockets.map { entry in
      var events: Int32 = 0
      if entry.wanted.contains(.readable) { events |= ZMQ_POLLIN }
      if entry.wanted.contains(.writable) { events |= ZMQ_POLLOUT }
      return zmq_pollitem_t(socket: entry.socket.handle, fd: 0, events: Int16(events), revents: 0)
    }
    if descriptor >= 0 { items.append(zmq_pollitem_t(socket: nil, fd: descriptor, events: Int16(ZMQ_POLLIN), revents: 0)) }
    _ = zmq_poll(&items, Int32(items.count), milliseconds)
    return items.prefix(sockets.count).map { item in
      var ready: Readiness = []
      if Int32(item.revents) & ZMQ_POLLIN != 0 { ready.insert(.readable) }
      if Int32(item.revents) & ZMQ_POLLOUT != 0 { ready.insert(.writable) }
      return ready
    }
  }
}

/// Which addresses a server may listen on.
enum EndpointRules {
  /// - Throws: `badConfiguration` for wildcards (unless allowed), names without a port, and unknown transports.
  static func checkBind(_ address: String, allowsWildcard: Bool) throws {
    guard address.hasPrefix("tcp://"), let colon = address.lastIndex(of: ":") else {
      throw PlatformError(
        .badConfiguration, "cannot listen on '\(address)': not an address", hint: "Write it as tcp://host:port.",
        number: "PLT-2111")
    }
    let host = address[
      address.index(address.startIndex, offsetBy: 6)..<max(colon, address.index(address.startIndex, offsetBy: 6))]
    guard !host.isEmpty, UInt16(address[address.index(after: colon)...]) != nil else {
      throw PlatformError(
        .badConfiguration, "cannot listen on '\(address)': host or port is missing", hint: "Write it as tcp://host:port.",
        number: "PLT-2111")
    }
    if !allowsWildcard, ["*", "0.0.0.0", "[::]", "::", "[::0]", "0"].contains(String(host)) {
      throw PlatformError(
        .badConfiguration, "refusing to listen on all interfaces (\(address))",
        hint: "Name one address of this machine, or allow wildcard addresses in the configuration.", number: "PLT-2112")
    }
  }
}
