// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@Suite struct ChildProcessTests {
  /// The nice value of a process, from the kernel's own table.
  private func niceness(_ process: Int32) throws -> String {
    let text = String(decoding: try Data(contentsOf: URL(fileURLWithPath: "/proc/\(process)/stat")), as: UTF8.self)
    let behindName = try #require(text.lastIndex(of: ")"))
    return String(text[behindName...].split(separator: " ")[17])
  }

  @Test func childrenThatComputeLetOthersGoFirst() async throws {
    let (ends, continuation) = AsyncStream<ChildProcess.Exit>.makeStream()
    let child = try await ChildProcess.start(.init(executable: "/bin/cat", wantsInput: true)) {
      continuation.yield($0)
      continuation.finish()
    }
    let before = try niceness(child.processID)
    child.yieldProcessors()
    #expect(try niceness(child.processID) == String(max(Int(before) ?? 0, 5)))
    child.closeInput()
    for await exit in ends { #expect("\(exit)" == "exit status 0") }
  }
}
