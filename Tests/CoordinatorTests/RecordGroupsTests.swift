// SPDX-License-Identifier: Apache-2.0

import Core
import DeltaLog
import Testing

@testable import Coordinator

/// Which pushed batches share a commit.
@Suite struct RecordGroupsTests {
  private let limits = RecordGroups.Limits(windowMilliseconds: 50, groupCount: 3, groupBytes: 100, waitingCount: 5, waitingBytes: 1000)

  @Test func batchesThatMeetShareACommit() throws {
    var groups = RecordGroups(limits)
    #expect(groups.next(now: 0) == .idle && groups.isEmpty)
    #expect(try groups.add("a", bytes: 10, now: 1000) == .queued)
    #expect(groups.next(now: 1010) == .wait(untilMilliseconds: 1050))
    #expect(try groups.add("b", bytes: 10, now: 1020) == .queued)
    #expect(try groups.add("a", bytes: 10, now: 1030) == .joined)
    #expect(groups.next(now: 1050) == .start(["a", "b"]))
    // One group at a time; who comes meanwhile is in the next one, and who waited long enough does not wait again.
    #expect(try groups.add("b", bytes: 10, now: 1060) == .joined)
    #expect(try groups.add("c", bytes: 10, now: 1060) == .queued)
    #expect(groups.next(now: 2000) == .idle && !groups.isEmpty)
    groups.finished()
    #expect(groups.next(now: 2000) == .start(["c"]))
    groups.finished()
    #expect(groups.isEmpty)
    // What is answered can come again.
    #expect(try groups.add("a", bytes: 10, now: 3000) == .queued)
  }

  @Test func sizesBoundAGroup() throws {
    var groups = RecordGroups(limits)
    for name in ["a", "b", "c", "d"] { _ = try groups.add(name, bytes: 1, now: 0) }
    #expect(groups.next(now: 1) == .start(["a", "b", "c"]))
    groups.finished()
    #expect(groups.next(now: 1) == .wait(untilMilliseconds: 50))
    _ = try groups.add("large", bytes: 500, now: 2)
    #expect(groups.next(now: 2) == .start(["d"]))
    groups.finished()
    // One that is larger than a group goes alone.
    #expect(groups.next(now: 2) == .start(["large"]))
    groups.finished()
    for index in 0..<5 { _ = try groups.add("\(index)", bytes: 1, now: 0) }
    #expect(throws: PlatformError.self) { try groups.add("6", bytes: 1, now: 0) }
    var other = RecordGroups(limits)
    _ = try other.add("a", bytes: 900, now: 0)
    do {
      _ = try other.add("b", bytes: 200, now: 0)
      Issue.record("too much was admitted")
    } catch let error as PlatformError { #expect(error.code == .resourceExhausted && error.number == "PLT-3121") }
  }

  @Test func aCommitTellsItsBatches() throws {
    let notes = [RecordLedger.Note(id: "a\"b", rows: 3), RecordLedger.Note(id: "c", rows: 0)]
    var info = CommitInfo()
    #expect(RecordLedger.notes(info) == nil)
    info.operationParameters = ["outputMode": "Append", "batches": try RecordLedger.parameter(notes)]
    #expect(RecordLedger.notes(info) == notes)
    info.operationParameters = ["batches": "something else"]
    #expect(RecordLedger.notes(info) == nil)
  }
}
