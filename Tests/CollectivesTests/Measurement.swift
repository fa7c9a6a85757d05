// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor
import Testing
import Transport

/// Figures, not checks; run with `PLATFORM_MEASURE=1` and an optimised build.
@Suite(.serialized, .enabled(if: ProcessInfo.processInfo.environment["PLATFORM_MEASURE"] != nil))
struct CollectiveMeasurements {
  @Test(arguments: Carrier.allCases, [8 << 10, 16 << 20]) func allReduce(_ carrier: Carrier, _ bytes: Int) throws {
    let count = bytes / 4
    let rounds = bytes > 1 << 20 ? 20 : 1000
    let results = try gang(carrier, ranks: 2, slotBytes: 1 << 20) { collective in
      let buffer = UnsafeMutablePointer<Float>.allocate(capacity: count)
      defer { buffer.deallocate() }
      buffer.initialize(repeating: 0, count: count)
      var times: [Duration] = []
      for _ in 0..<rounds {
        let begin = ContinuousClock.now
        try collective.allReduceSum(buffer, count: count)
        times.append(begin.duration(to: .now))
      }
      return times.sorted()
    }
    let times = try results[0].get()
    FileHandle.standardError.write(
      Data("all-reduce \(carrier.rawValue) \(bytes) bytes: p50 \(times[rounds / 2]), p99 \(times[rounds * 99 / 100])\n".utf8)
    )
  }
}
