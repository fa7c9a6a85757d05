// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Synchronization

/// What Ctrl-C (SIGINT) means: what the last caller said, else the end of the program.
///
/// One source serves all waits: one made for each would meet the end of the one before, and then never be told.
final class Interrupts: @unchecked Sendable {  // the source is never touched after `init`
  static let shared = Interrupts()
  private let handlers = Mutex<[@Sendable () -> Void]>([])
  private let source: any DispatchSourceSignal

  private init() {
    signal(SIGINT, SIG_IGN)
    source = DispatchSource.makeSignalSource(signal: SIGINT, queue: .global())
    source.setEventHandler { [unowned self] in
      guard let act = handlers.withLock({ $0.last }) else { exit(130) }  // as a shell tells of SIGINT
      act()
    }
    source.resume()
  }

  /// From now until the matching `forget`, Ctrl-C means `act`.
  func handle(_ act: @escaping @Sendable () -> Void) { handlers.withLock { $0.append(act) } }
  func forget() { handlers.withLock { _ = $0.popLast() } }
}
