// SPDX-License-Identifier: Apache-2.0

import Core
import DuckDB
import Foundation
import Synchronization

/// Interrupts a connection once its work is cancelled, and reports how far its query is where the connection tells
/// (`enable_progress_bar`). Looks every 50 ms, on a thread of its own, until `stop`.
final class WorkWatch: Sendable {
  private let isDone = Mutex(false)

  init(_ connection: Connection, _ context: any WorkContext) {
    let thread = Thread { [self] in
      while !isDone.withLock({ $0 }) {
        if context.isCancelled { connection.interrupt() }
        if let share = connection.progress { context.progress(done: Int64(share * 100), total: 100, unit: "percent") }
        usleep(50_000)
      }
    }
    thread.stackSize = 1 << 20
    thread.start()
  }

  func stop() { isDone.withLock { $0 = true } }
}
