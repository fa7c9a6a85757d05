// SPDX-License-Identifier: Apache-2.0

import CZeroMQ
import Core
import Foundation

/// A ZeroMQ context. Every transport has its own, because a context has one authentication handler only.
///
/// `shutdown` may be called from any thread; sockets of the context then return `ETERM` and their owners close them.
/// The context itself ends when the last owner lets go of it.
package final class MessageContext: @unchecked Sendable {
  // Safe to share: libzmq's context calls are thread-safe, and the pointer never changes.
  let handle: UnsafeMutableRawPointer

  package init(maxSockets: Int = 256) throws {
    guard let handle = zmq_ctx_new() else { throw Self.failure("cannot make a ZeroMQ context") }
    self.handle = handle
    zmq_ctx_set(handle, ZMQ_MAX_SOCKETS, Int32(maxSockets))
    zmq_ctx_set(handle, ZMQ_BLOCKY, 0)
  }

  deinit { zmq_ctx_term(handle) }

  package func shutdown() { zmq_ctx_shutdown(handle) }

  static func failure(_ text: String, code: PlatformError.Code = .unavailable, hint: String = "") -> PlatformError {
    PlatformError(code, "\(text): \(String(cString: zmq_strerror(zmq_errno())))", hint: hint)
  }
}

/// Milliseconds of the monotonic clock: for deadlines, never for people.
package func monotonicMilliseconds() -> Int64 { pz_monotonic_milliseconds() }
