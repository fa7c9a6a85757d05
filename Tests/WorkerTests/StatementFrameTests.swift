// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Worker

@Suite struct StatementFrameTests {
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
}
