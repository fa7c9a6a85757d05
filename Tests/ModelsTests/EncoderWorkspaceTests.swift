// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Models

@Suite struct EncoderWorkspaceTests {
  @Test func neighboursGoTogetherAsLongAsTheyAreFew() {
    let most = EncoderWorkspace.batchTokens
    #expect(EncoderWorkspace.batches([]) == [])
    #expect(EncoderWorkspace.batches([most * 3]) == [0..<1])
    #expect(EncoderWorkspace.batches([1, most - 1, 1, 2]) == [0..<2, 2..<4])
    #expect(EncoderWorkspace.batches([most, most, 5, most + 1, 5]) == [0..<1, 1..<2, 2..<3, 3..<4, 4..<5])
    let counts = (0..<200).map { 1 + $0 * 37 % 90 }
    let batches = EncoderWorkspace.batches(counts)
    #expect(batches.flatMap { $0 } == Array(counts.indices))
    #expect(batches.allSatisfy { counts[$0].reduce(0, +) <= most })
  }
}
