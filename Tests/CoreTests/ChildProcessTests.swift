// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Synchronization
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

  @Test func joinedStreamsKeepTheirOrder() async throws {
    let script = "i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    let seen = Mutex("")
    let (ends, continuation) = AsyncStream<ChildProcess.Exit>.makeStream()
    _ = try await ChildProcess.start(.init(executable: "/bin/sh", arguments: ["-c", script], joinsError: true)) { bytes in
      if let bytes { seen.withLock { $0 += String(decoding: bytes, as: UTF8.self) } }
    } onError: { _ in
      Issue.record("joined streams have one reader")
    } onExit: {
      continuation.yield($0)
      continuation.finish()
    }
    for await exit in ends { #expect(exit == .status(0)) }
    #expect(seen.withLock { $0 } == (0..<200).map { "out \($0)\nerr \($0)\n" }.joined())
  }
}
