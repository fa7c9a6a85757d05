// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What a process asks before each write through `ObjectStores`: a coordinator that does not lead any more writes nothing.
public final class WriteGate: Sendable {
  /// The process's own.
  public static let shared = WriteGate()

  private let check = Mutex<(@Sendable () throws -> Void)?>(nil)

  public init() {}

  /// - Parameter check: may block; what it throws, the write throws. Nil lets everything pass.
  public func set(_ check: (@Sendable () throws -> Void)?) { self.check.withLock { $0 = check } }

  var isSet: Bool { check.withLock { $0 != nil } }
  func pass() throws { try check.withLock { $0 }?() }
}
