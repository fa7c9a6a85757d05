// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation

/// A node's one conversation with the coordinator's join socket.
public enum Joining {
  /// Introduces this node.
  /// - Parameters:
  ///   - address: the coordinator's join socket.
  ///   - deadline: how long to try; the request is repeated each second until then.
  /// - Returns: the node's name and the control endpoint.
  /// - Throws: the coordinator's refusal, or `unavailable` PLT-2102 when nobody who holds the token's key answers there.
  public static func join(
    address: String, token: JoinToken, keys: CurveKeyPair, node: String, platformVersion: String,
    deadline: Duration = .seconds(10)
  ) async throws -> (node: String, controlEndpoint: String) {
    let limit =
      monotonicMilliseconds() + Int64(deadline.components.seconds * 1000) + deadline.components.attoseconds
      / 1_000_000_000_000_000
    let reply = try await BlockingPool.shared.run {
      try ask(address: address, token: token, keys: keys, node: node, platformVersion: platformVersion, limit: limit)
    }
    switch reply {
    case .accepted(let node, let endpoint): return (node, endpoint)
    case .refused(let error): throw error
    }
  }

  private static func ask(
    address: String, token: JoinToken, keys: CurveKeyPair, node: String, platformVersion: String, limit: Int64
  ) throws -> JoinReply {
    let context = try MessageContext()
    let socket = try Socket(.dealer, context: context, limits: SocketLimits(messageBytesMax: 16 << 10))
    defer { socket.close() }
    try socket.authenticate(keys: keys, server: token.coordinatorKey)
    try socket.connect(address)
    let request = Envelope(
      sender: node,
      body: .joinRequest(
        secret: token.secret, publicKey: keys.publicKey.description, node: node, platformVersion: platformVersion))
    let data = try request.encoded()
    var nextSend: Int64 = 0
    while true {
      let now = monotonicMilliseconds()
      if now >= limit { break }
      if now >= nextSend { nextSend = now + (socket.send([data]) == .sent ? 1000 : 20) }
      let ready = Socket.poll([(socket, .readable)], milliseconds: Int(min(limit, nextSend) - now))
      guard ready.first?.contains(.readable) == true, let message = socket.receive(framesMax: 1),
        let frame = message.frames.first, let envelope = try? Envelope(decoding: frame),  // garbage is no answer
        case .joinReply(let reply) = envelope.body
      else { continue }
      return reply
    }
    throw PlatformError(
      .unavailable, "no answer from a coordinator with fingerprint \(token.coordinatorKey.fingerprint) at \(address)",
      hint: "Check the address, that the coordinator runs, and that the token was made on it.", number: "PLT-2102")
  }
}
