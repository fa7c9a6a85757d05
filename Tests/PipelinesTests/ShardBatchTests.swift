// SPDX-License-Identifier: Apache-2.0

import Core
import Pipelines
import Synchronization
import Testing

@Suite struct ShardBatchTests {
  private final class Context: WorkContext {
    let stopsAfter: Int
    let begun = Mutex(0)
    init(stopsAfter: Int = .max) { self.stopsAfter = stopsAfter }
    var scratchDirectory: String { "" }
    var isCancelled: Bool { begun.withLock { $0 >= stopsAfter } }
    func log(_ line: String) {}
    func progress(done: Int64, total: Int64, unit: String) {}
    func metric(_ name: String, step: Int64, value: Double) {}
  }
  private let batch = ShardBatch(kind: "double", payloads: [1, 2, 3])

  private func run(_ context: Context = Context(), ended: (Int) -> Void = { _ in }, failing: Int? = nil) throws -> JSONValue {
    try ShardBatch(json: batch.json).run(context: context, ended: ended) { payload in
      context.begun.withLock { $0 += 1 }
      guard let number = payload.intValue, number != failing else { throw PlatformError(.unavailable, "no", hint: "wait") }
      return .integer(Int64(number * 2))
    }
  }

  @Test func resultsAreThoseOfItsPartsInTheirOrder() throws {
    var told: [Int] = []
    let result = try run(ended: { told.append($0) })
    #expect(told == [1, 2, 3])
    // Beside others, and a batch of batches' results is no batch's.
    #expect(ShardBatch.parts(of: [7, result, ["batch": 4], ["batch": [1], "other": 2]]) == [7, 2, 4, 6, ["batch": 4], ["batch": [1], "other": 2]])
    #expect(ShardBatch.parts(of: [["rows": 1], .null]) == [["rows": 1], .null])
  }

  @Test func aFailureNamesItsPartAndEndsTheBatch() throws {
    let context = Context()
    #expect {
      _ = try run(context, failing: 2)
    } throws: { error in
      guard let error = error as? PlatformError else { return false }
      return error.message == "part 2 of the 3 of its batch: no" && error.isRetryable && error.hint == "wait"
    }
    #expect(context.begun.withLock { $0 } == 2)
  }

  @Test func aCancelledOneBeginsNothingElse() throws {
    let context = Context(stopsAfter: 1)
    #expect(throws: CancellationError.self) { try run(context) }
    #expect(context.begun.withLock { $0 } == 1)
  }

  @Test(arguments: [.null, ["kind": "a"], ["kind": "batch", "payloads": []], ["kind": 1, "payloads": []]] as [JSONValue])
  func whatIsNoBatchIsRefused(_ json: JSONValue) { #expect(throws: PlatformError.self) { try ShardBatch(json: json) } }
}
