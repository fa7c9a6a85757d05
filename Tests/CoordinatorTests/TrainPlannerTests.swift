// SPDX-License-Identifier: Apache-2.0

import Core
import Testing
import Transport

@testable import Coordinator

@Suite struct TrainPlannerTests {
  /// The table may have a newer version when the tokenizer is ready: what follows reads, and lineage names, the planned one.
  @Test func theVersionOfTheDataIsThePlannedOne() throws {
    let planned = TokenizerWork(files: ["a.parquet"], vocabulary: 300, dataVersion: 41, output: "/t")
    let received = try JSONValue(encoding: planned).decode(TokenizerWork.self)
    let result = TokenizerResult(directory: "/t", vocabularySize: 290, dataVersion: received.dataVersion)
    let carry = try TrainPlanner.afterTokenizer([try JSONValue(encoding: result)])
    #expect(carry == TrainPlanner.Carry(dataVersion: 41, tokenizer: "/t", vocabulary: 290))
    #expect(throws: PlatformError.self) { try TrainPlanner.afterTokenizer([]) }
    #expect(throws: PlatformError.self) { try TrainPlanner.afterTokenizer([["directory": "/t", "vocabularySize": 290]]) }
  }
}
