// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing
import Transport

@testable import Worker

@Suite struct PipeFrameTests {
  private let frames = [
    StatementFrame(kind: .run, number: 1, payload: Data("{}".utf8)), StatementFrame(kind: .cancel, number: 1),
    StatementFrame(kind: .succeeded, number: .max, payload: Data((0..<1000).map { UInt8($0 % 256) })), StatementFrame(kind: .ready, number: 0),
  ]

  @Test(arguments: [1, 2, 3, 7, 64, 5000]) func framesComeOutAsTheyWentIn(piece: Int) {
    let bytes = Array(frames.map(\.encoded).joined())
    var reader = StatementFrameReader()
    var seen: [StatementFrame] = []
    for start in stride(from: 0, to: bytes.count, by: piece) {
      seen += bytes[start..<min(bytes.count, start + piece)].withUnsafeBytes { reader.feed($0) } ?? []
    }
    #expect(seen == frames)
  }

  @Test func garbageIsNoFrame() {
    var reader = StatementFrameReader()
    #expect([UInt8](repeating: 0xFF, count: 9).withUnsafeBytes { reader.feed($0) } == nil)
    var other = StatementFrameReader()
    #expect([0, 0, 0, 0, 1, 0, 0, 0, 99].map { UInt8($0) }.withUnsafeBytes { other.feed($0) } == nil)
  }

  @Test func ordersComeOutAsTheyWentIn() throws {
    let work = AssignedWork(
      incarnation: 7, payload: ["a": [1, 2.5, .null]], gang: .init(gang: "g", generation: 2, rank: 1, size: 4), isReplica: false, mayWait: true,
      keys: [StorageKeys(place: "s3://b", accessKey: "k", secretKey: "s")], secrets: ["a/b": "c"])
    let order = ExecutorOrder(unit: "1/t/1/0/2", attempt: 3, kind: "wait", scratch: "/x/ü", work: try work.json.sortedData)
    let other = try ExecutorOrder(decoding: order.encoded)
    #expect((other.unit, other.attempt, other.kind, other.scratch) == ("1/t/1/0/2", 3, "wait", "/x/ü"))
    let seen = try AssignedWork(json: JSONValue(parsing: other.work))
    #expect(seen.incarnation == 7 && seen.payload == work.payload && seen.gang?.generation == 2 && seen.mayWait == true)
    #expect(seen.keys == work.keys && seen.secrets == work.secrets)
    #expect(throws: PlatformError.self) { try ExecutorOrder(decoding: Data([9, 0, 0, 0, 1])) }
    #expect(throws: PlatformError.self) { try AssignedWork(json: ["incarnation": 7]) }
  }
}
