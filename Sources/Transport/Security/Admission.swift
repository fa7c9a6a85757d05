// SPDX-License-Identifier: Apache-2.0

import CSupport
import Foundation
import Synchronization

/// Which public keys may talk to a server, and under which name. May be changed at any time from any thread; a key that
/// is removed is not heard any more from its next message on.
public final class AdmittedKeys: Sendable {
  private let names = Mutex<[CurvePublicKey: String]>([:])

  public init(_ names: [CurvePublicKey: String] = [:]) { self.names.withLock { $0 = names } }

  public func admit(_ key: CurvePublicKey, as name: String) { names.withLock { $0[key] = name } }
  public func revoke(_ key: CurvePublicKey) { _ = names.withLock { $0.removeValue(forKey: key) } }
  public func replaceAll(_ names: [CurvePublicKey: String]) { self.names.withLock { $0 = names } }
  public func name(of key: CurvePublicKey) -> String? { names.withLock { $0[key] } }
}

/// The context's authentication handler (ZeroMQ RFC 27, "ZAP"): decides on each CURVE handshake by the client's key and
/// attaches that key to every message of the connection. Runs on a thread of its own, so that a busy socket owner delays
/// no handshake; ends when the context shuts down.
package enum AuthenticationHandler {
  /// - Parameter admits: given the security domain of the socket and the client's key. Called on the handler's thread;
  ///   must not block.
  package static func start(
    _ context: MessageContext, admits: @escaping @Sendable (_ domain: String, _ key: CurvePublicKey) -> Bool
  ) throws {
    let socket = ThreadBound(try Socket(.reply, context: context, limits: SocketLimits(messageBytesMax: 16_384)))
    _ = try socket.value.bind("inproc://zeromq.zap.01")
    let thread = Thread {
      ps_set_thread_name("zmq-auth")
      // Frames: version, request id, domain, address, identity, mechanism, credentials...
      while let request = socket.value.receive(framesMax: 16, waits: true) {
        let frames = request.frames
        var key: CurvePublicKey?
        if frames.count == 7, frames[0] == Data("1.0".utf8), frames[5] == Data("CURVE".utf8),
          let candidate = try? CurvePublicKey(bytes: Array(frames[6])),  // anything else is refused below
          admits(String(decoding: frames[2], as: UTF8.self), candidate)
        {
          key = candidate
        }
        _ = socket.value.send([
          Data("1.0".utf8), frames.count > 1 ? frames[1] : Data(), Data((key == nil ? "400" : "200").utf8),
          Data((key == nil ? "not admitted" : "OK").utf8), Data((key?.description ?? "").utf8), Data(),
        ])
      }
      socket.value.close()
    }
    thread.stackSize = 512 << 10
    thread.start()
  }
}

/// Hands a socket to the thread that will use it from then on; starting a thread orders the memory.
package final class ThreadBound<Value>: @unchecked Sendable {
  // Used by one thread at a time: the maker until it passes it on, then the receiver.
  package let value: Value
  package init(_ value: Value) { self.value = value }
}
