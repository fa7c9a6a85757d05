// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Scheduling

@Suite struct RecordTextTests {
  private static func shard() -> UnitRecord {
    UnitRecord(name: "7/a/1/0/2", kind: "k", payload: ["x": [1, .null, "ü\n"]], index: 2, run: "7", task: "a", taskAttempt: 1)
  }

  /// A member that is added to units is to be added to their text.
  @Test func everyMemberIsKnown() { #expect(Mirror(reflecting: Self.shard()).children.count == 34) }

  @Test func shardsAreWrittenAsCodableWritesThem() throws {
    var units = [Self.shard()]
    var full = Self.shard()
    full.state = .running
    full.attempt = 1 << 40
    full.worker = "w-1"
    full.incarnation = 1_700_000_000_000
    full.failures = 2
    full.losses = 1
    full.notBefore = 5
    full.readySince = 6
    full.drainDeadline = 7
    full.result = ["rows": 3]
    full.repeatable = true
    full.affinity = -9
    full.preemptions = 1
    full.preemptedBy = "s"
    full.rivalAttempt = 4
    full.stage = 3
    full.generation = 2
    units.append(full)
    for unit in units {
      #expect(unit.shardJSON != Optional.none)
      let record = Record.unit(unit)
      #expect(try record.json == JSONValue(encoding: record))
      #expect(try record.json.decode(Record.self) == record)
    }
  }

  @Test func whatHasMoreIsWrittenByCodable() throws {
    var failed = Self.shard()
    failed.error = PlatformError(.invalidArgument, "no")
    #expect(failed.shardJSON == Optional.none)
    var replica = Self.shard()
    replica.service = "s"
    replica.address = "tcp://x"
    #expect(replica.shardJSON == Optional.none)
    for unit in [failed, replica] {
      let record = Record.unit(unit)
      #expect(try record.json.decode(Record.self) == record)
    }
  }
}
