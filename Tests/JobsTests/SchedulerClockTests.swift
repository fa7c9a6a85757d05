// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Jobs

@Suite struct SchedulerClockTests {
  @Test func manyEventsDoNotMakeTimePass() {
    var clock = SchedulerClock(wall: 1_700_000_000_000)
    let read = (0..<10_000).map { _ in clock.instant(after: .milliseconds(3)) }
    #expect(Set(read) == [1_700_000_000_003])
    let later = clock.instant(after: .milliseconds(4))
    // Readings that come in another order than they were made.
    let earlier = clock.instant(after: .milliseconds(2))
    #expect(later == 1_700_000_000_004 && earlier == later)
  }
}
