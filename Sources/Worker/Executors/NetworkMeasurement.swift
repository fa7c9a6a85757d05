// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Tensor

/// One rank of a gang that adds up buffers over the nodes' network, as training does, and says how long that takes.
enum NetworkMeasurement {
  /// Floats of a small buffer, for the time of one exchange, and of a large one, for the rate.
  static let small = 16 << 10
  static let large = 2 << 20

  struct Result: Codable {
    var smallMilliseconds: Double
    var largeMilliseconds: Double
    var smallBytes: Int
    var largeBytes: Int
  }

  static func run(context: ExecutorContext) throws -> JSONValue {
    guard let seat = context.gang else { throw PlatformError(.internalError, "a rank needs a gang") }
    let collective = try TrainingExecutor.joinGang(seat, context, overNetwork: true)
    let result = Result(
      smallMilliseconds: try median(of: 21, count: small, collective, context), largeMilliseconds: try median(of: 5, count: large, collective, context),
      smallBytes: small * 4, largeBytes: large * 4)
    return try JSONValue(encoding: result)
  }

  /// Checks each sum.
  private static func median(of rounds: Int, count: Int, _ collective: any Collective, _ context: ExecutorContext) throws -> Double {
    var buffer = [Float](repeating: 0, count: count)
    // Whole numbers, so that the sum is exact in whatever order it is made.
    let expected = Float(collective.worldSize * (collective.worldSize + 1) / 2)
    var times: [Double] = []
    for _ in 0..<rounds {
      try context.checkCancelled()
      for index in buffer.indices { buffer[index] = Float(collective.rank + 1) }
      try collective.barrier()
      let begin = ContinuousClock.now
      try buffer.withUnsafeMutableBufferPointer { try collective.allReduceSum($0.baseAddress!, count: count) }
      times.append((ContinuousClock.now - begin) / .milliseconds(1))
      guard buffer.allSatisfy({ $0 == expected }) else {
        throw PlatformError(.internalError, "the sum over \(collective.worldSize) ranks is wrong: a node computes or transfers wrongly", number: "PLT-4442")
      }
    }
    return times.sorted()[rounds / 2]
  }
}
