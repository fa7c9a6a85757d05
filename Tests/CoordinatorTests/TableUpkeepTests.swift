// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Coordinator

@Suite struct TableUpkeepTests {
  @Test func workIsNotedOnceAndNotTooOften() {
    let upkeep = TableUpkeep()
    let start = ContinuousClock.now
    upkeep.add(.compact(table: "a"), now: start)
    upkeep.add(.compact(table: "a"), now: start)
    upkeep.add(.cleanLog(location: "/a"), now: start)
    #expect(upkeep.next(now: start) == .compact(table: "a") && upkeep.next(now: start) == .cleanLog(location: "/a") && upkeep.next(now: start) == nil)
    upkeep.add(.compact(table: "a"), now: start + .seconds(30))
    #expect(upkeep.next(now: start + .seconds(30)) == nil)
    upkeep.add(.compact(table: "a"), now: start + .seconds(90))
    #expect(upkeep.next(now: start + .seconds(90)) == .compact(table: "a"))
    for index in 0..<1000 { upkeep.add(.compact(table: "\(index)"), now: start) }
    var count = 0
    while upkeep.next(now: start) != nil { count += 1 }
    #expect(count == TableUpkeep.queueLimit)
  }
}
