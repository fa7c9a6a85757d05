// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import TestSupport
import Testing

@Suite struct CoreTests {
  @Test func sha256MatchesThePublishedVectors() {
    #expect(SHA256Digest.hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(SHA256Digest.hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }

  @Test func splitMixMatchesTheReferenceSequence() {
    // First outputs for seed 1234567 of the public-domain reference implementation (Vigna, splitmix64.c).
    var generator = SplitMix64(seed: 1_234_567)
    #expect((0..<3).map { _ in generator.next() } == [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423])
  }

  @Test func jsonKeepsIntegersAndRefusesGarbage() throws {
    let value = try JSONValue(parsing: #"{"a":[1,2.5,true,null,"x"]}"#)
    #expect(value["a"] == [1, 2.5, true, nil, "x"])
    #expect(value.sortedText == #"{"a":[1,2.5,true,null,"x"]}"#)
    #expect(throws: PlatformError.self) { try JSONValue(parsing: "{") }
  }

  @Test func textsThatNameNumbersStayTexts() throws {
    for decoder in [JSONDecoder(), .platform] {
      let value = try decoder.decode(JSONValue.self, from: Data(#"["NaN", "Infinity", "-Infinity", "1", "true", "null", 1, 1.5, true, null]"#.utf8))
      #expect(value == ["NaN", "Infinity", "-Infinity", "1", "true", "null", 1, 1.5, true, nil])
    }
  }

  @Test func blockingPoolRunsAndRefusesAboveItsBound() async throws {
    let pool = BlockingPool(name: "t", threads: 1, queueLimit: 1)
    #expect(try await pool.run { 6 * 7 } == 42)
    let gate = DispatchSemaphore(value: 0)
    let started = DispatchSemaphore(value: 0)
    try pool.submit {
      started.signal()
      gate.wait()
    }
    await withCheckedContinuation { done in
      Thread {
        started.wait()
        done.resume()
      }.start()
    }
    try pool.submit {}
    #expect(throws: PlatformError.self) { try pool.submit {} }
    gate.signal()
  }

  @Test func backoffGrowsToItsLimit() {
    let backoff = Backoff(firstMilliseconds: 100, limitMilliseconds: 1000)
    #expect(backoff.delayMilliseconds(afterAttempt: 1, unit: 0) == 50)
    #expect(backoff.delayMilliseconds(afterAttempt: 2, unit: 0.999) <= 200)
    #expect(backoff.delayMilliseconds(afterAttempt: 60, unit: 0) == 500)
  }

  @Test func deadlineNamesWhatWasTooSlow() async {
    await #expect(throws: PlatformError.self) {
      try await withDeadline(.milliseconds(10), "the slow thing") { try await Task.sleep(for: .seconds(60)) }
    }
  }
}
