// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Models
import Tensor
import Transport

/// One rank of a gang that measures what a plan of an endpoint is made from: all nodes at the same time, so that those of one machine share it
/// as their replicas would.
enum ServingMeasurement {
  private static let smallCount = 1024
  private static let largeCount = 1 << 18

  static func run(_ work: ServingMeasureWork, context: ExecutorContext) throws -> JSONValue {
    guard let seat = context.gang else { throw PlatformError(.internalError, "a rank needs a gang") }
    guard let precision = WeightPrecision(rawValue: work.dtype) else {
      throw PlatformError(.invalidArgument, "dtype '\(work.dtype)' is unknown", hint: "Use f32, bf16, int8 or int4.", number: "PLT-5201")
    }
    let collective = try TrainingExecutor.joinGang(seat, context, overNetwork: true)
    let threads = ProcessInfo.processInfo.activeProcessorCount
    try collective.barrier()
    let bandwidth = MemoryBandwidth.gigabytesPerSecond(threads: threads) * 1e9
    try context.checkCancelled()
    let rate = MultiplicationRate.perSecond(precision: precision, threads: threads)
    try context.checkCancelled()
    let isAlone = seat.size == 1
    return try JSONValue(
      encoding: ServingMeasure(
        hostID: ProcessSupport.hostID, memoryBytes: Int64(ProcessInfo.processInfo.physicalMemory), processors: threads, bytesPerSecond: bandwidth,
        multiplicationsPerSecond: rate, smallSeconds: isAlone ? nil : try median(of: 41, count: smallCount, collective),
        largeSeconds: isAlone ? nil : try median(of: 9, count: largeCount, collective), largeBytes: largeCount * 4))
  }

  private static func median(of rounds: Int, count: Int, _ collective: any Collective) throws -> Double {
    let own = [Float](repeating: 1, count: count)
    var all = [Float](repeating: 0, count: count * collective.worldSize)
    var times: [Double] = []
    for _ in 0..<rounds {
      try collective.barrier()
      let began = ContinuousClock.now
      try own.withUnsafeBufferPointer { own in
        try all.withUnsafeMutableBufferPointer { try collective.allGather(own.baseAddress!, count: count, into: $0.baseAddress!) }
      }
      times.append((ContinuousClock.now - began) / .seconds(1))
    }
    return times.sorted()[rounds / 2]
  }
}
