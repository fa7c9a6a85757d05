// SPDX-License-Identifier: Apache-2.0

import Core
import Pipelines
import Testing

@Suite struct WaitTests {
  @Test func itTakesItsTimeAndNoMoreWhenCancelled() throws {
    let result = try WaitWork(milliseconds: 20).run(context: QuietContext())
    #expect(result.ended - result.began >= 20_000)
    struct Cancelled: WorkContext {
      var scratchDirectory: String { "" }
      var isCancelled: Bool { true }
      func log(_ line: String) {}
      func progress(done: Int64, total: Int64, unit: String) {}
      func metric(_ name: String, step: Int64, value: Double) {}
    }
    // An hour, unless it looks.
    #expect(throws: CancellationError.self) { try WaitWork(milliseconds: 3_600_000).run(context: Cancelled()) }
  }
}
