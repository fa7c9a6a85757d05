// SPDX-License-Identifier: Apache-2.0

import CKernels

/// How fast this machine multiplies rows of a prompt with matrices of a model.
public enum MultiplicationRate {
  private static let width = 2048
  private static let rows = 64
  private static let rounds = 4

  /// The best of some rounds over a matrix of 2048 x 2048, in multiplications a second.
  public static func perSecond(precision: WeightPrecision, threads: Int) -> Double {
    let type: Int32 =
      switch precision {
      case .f32: Int32(PK_WEIGHT_F32)
      case .bf16: Int32(PK_WEIGHT_BF16)
      case .int8: Int32(PK_WEIGHT_I8)
      case .int4: Int32(PK_WEIGHT_I4)
      }
    // Zeros: what is multiplied does not change how long it takes.
    let weights = UnsafeMutableRawPointer.allocate(byteCount: width * width * 4 + 4096, alignment: 64)
    weights.initializeMemory(as: UInt8.self, repeating: 0, count: width * width * 4 + 4096)
    let (x, y) = (UnsafeMutablePointer<Float>.allocate(capacity: rows * width), UnsafeMutablePointer<Float>.allocate(capacity: rows * width))
    x.initialize(repeating: 1, count: rows * width)
    y.initialize(repeating: 0, count: rows * width)
    defer {
      weights.deallocate()
      x.deallocate()
      y.deallocate()
    }
    let runner = BlockRunner(isa: pk_decode_isa_best(), threads: threads)
    let matrix = Matrix(type: type, rows: width, columns: width, weights: UnsafeRawPointer(weights), bias: nil)
    var best = 0.0
    for _ in 0..<rounds {
      let began = ContinuousClock.now
      runner.linear(matrix, x, y, rows: rows)
      let seconds = (ContinuousClock.now - began) / .seconds(1)
      best = max(best, Double(rows * width * width) / max(seconds, 1e-9))
    }
    return best
  }
}
