// SPDX-License-Identifier: Apache-2.0

import Core
import Testing

@testable import Coordinator

@Suite struct ShardCountTests {
  @Test func numbersAndAutoAreTaken() throws {
    #expect(try ShardCount(nil) == nil && ShardCount("auto") == .automatic)
    #expect(try ShardCount("1") == .exactly(1) && ShardCount("1024") == .exactly(1024))
    for text in ["", "0", "-1", "1025", "many", "2.5", String(repeating: "9", count: 400)] {
      let error = #expect(throws: PlatformError.self) { try ShardCount(text) }
      #expect(error?.number == "PLT-3220")
    }
  }

  @Test func timeLimitsAreSeconds() throws {
    #expect(try StatementService.timeLimit([:]) == .seconds(3600) && StatementService.timeLimit(["PLATFORM_STATEMENT_TIMEOUT": ""]) == .seconds(3600))
    #expect(try StatementService.timeLimit(["PLATFORM_STATEMENT_TIMEOUT": "5"]) == .seconds(5))
    for text in ["0", "1h", "-3", "604801"] {
      #expect(throws: PlatformError.self) { try StatementService.timeLimit(["PLATFORM_STATEMENT_TIMEOUT": text]) }
    }
  }
}
