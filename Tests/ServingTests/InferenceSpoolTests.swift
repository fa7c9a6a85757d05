// SPDX-License-Identifier: Apache-2.0

import Foundation
import Serving
import TestSupport
import Testing

@Suite struct InferenceSpoolTests {
  private func record(_ id: String) -> InferenceLogRecord {
    InferenceLogRecord(
      requestID: id, time: Date(timeIntervalSince1970: 1_000_000), endpoint: "e", model: "m", operation: "completions",
      principal: "p", stream: false)
  }

  @Test func recordsOfADeadProcessAreFoundByItsSuccessor() throws {
    let folder = TemporaryDirectory("spool")
    do {
      let spool = try InferenceSpool(directory: folder.path)
      for index in 0..<10 { spool.append(record("r\(index)")) }
    }
    let next = try InferenceSpool(directory: folder.path)
    next.append(record("new"))
    let drained = next.drain()
    #expect(drained.flatMap(\.records).map(\.requestID) == (0..<10).map { "r\($0)" } + ["new"])
    for one in drained { next.remove(one.segment) }
    #expect(next.drain().isEmpty)
    #expect(next.pendingBytes == 0)
  }

  @Test func aTornLastFrameAndADamagedOneAreSkipped() throws {
    let folder = TemporaryDirectory("spool")
    let spool = try InferenceSpool(directory: folder.path)
    for index in 0..<3 { spool.append(record("r\(index)")) }
    let segment = try #require(spool.drain().first?.segment)
    var data = try #require(FileManager.default.contents(atPath: folder.file(segment)))
    let whole = data
    for cut in [whole.count - 1, whole.count - 20, 5] {
      try whole.prefix(cut).write(to: URL(fileURLWithPath: folder.file(segment)))
      #expect(spool.drain().first?.records.count == (cut == 5 ? 0 : 2))
    }
    data[20] ^= 0xFF
    try data.write(to: URL(fileURLWithPath: folder.file(segment)))
    #expect(spool.drain().first?.records.map(\.requestID) == ["r1", "r2"])
  }

  @Test func aFullSpoolDropsAndCounts() throws {
    let folder = TemporaryDirectory("spool")
    let spool = try InferenceSpool(directory: folder.path, byteLimit: 2000)
    for index in 0..<100 { spool.append(record("r\(index)")) }
    let kept = spool.drain().flatMap(\.records).count
    #expect(kept > 0 && kept < 100)
    #expect(spool.dropped == Int64(100 - kept))
  }
}
