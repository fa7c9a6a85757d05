// SPDX-License-Identifier: Apache-2.0

import Scheduling

/// Milliseconds of a monotonic clock that was set by the wall clock once, at start: stored deadlines mean the same to a successor, and a jump of
/// the wall clock cannot end a lease early.
///
/// Never runs ahead of the time that has passed, however many events ask: leases would end early on a busy cluster.
struct SchedulerClock {
  /// Milliseconds since 1970 at the start.
  let wall: Int64
  private var last: Instant = 0

  init(wall: Int64) { self.wall = wall }

  /// - Parameter elapsed: since the start, of the monotonic clock.
  mutating func instant(after elapsed: Duration) -> Instant {
    last = max(last, wall + Int64(elapsed / .milliseconds(1)))
    return last
  }
}
