// SPDX-License-Identifier: Apache-2.0

import CKernels
import Foundation

/// What the cross entropy measured.
public struct CrossEntropy: Sendable, Equatable {
  /// Sum of -log p(target) over the rows that have a target, in nats.
  public var lossSum: Double
  public var count: Int
  public init(lossSum: Double, count: Int) {
    self.lossSum = lossSum
    self.count = count
  }
  public var mean: Double { count > 0 ? lossSum / Double(count) : 0 }
}

extension Tape {
  /// Output projection and cross entropy in one, over a vocabulary split by rows of `head` ([vocabulary, width]).
  ///
  /// Rows go through in chunks, so that [rows, vocabulary] never exists; per chunk two reductions over the ranks, the maxima
  /// and {sum of exponentials, target logit} in one. When the tape records, the gradients of x and head for the *mean* loss
  /// are formed here at once (they are the only use of the logits); `backward` continues from x.
  /// targets: [x.rows]; negative: not counted.
  public func crossEntropy(_ x: Activation, head: Parameter, targets: UnsafePointer<Int32>, chunk: Int = 256) throws
    -> CrossEntropy
  {
    precondition(x.columns == head.columns && chunk > 0)
    let (width, tokens) = (head.columns, head.rows)
    let first = Int32(head.firstRow)
    let counted = (0..<x.rows).reduce(0) { $0 + (targets[$1] >= 0 ? 1 : 0) }
    let scale = counted > 0 ? 1 / Float(counted) : 0
    let size = min(chunk, x.rows)
    let logits = scratch(size * tokens)
    let maxima = scratch(size)
    let pair = scratch(2 * size)
    let adds = records && marks(x)
    var sum = 0.0
    for start in stride(from: 0, to: x.rows, by: size) {
      let rows = min(size, x.rows - start)
      let input = x.value + start * width
      Self.product(rows, tokens, width, input, width, value(head), width, transposeB: true, logits, tokens, add: false)
      pk_train_row_max(logits, rows, tokens, maxima)
      if collective.worldSize > 1 { try collective.allReduceMax(maxima, count: rows) }
      pk_train_row_exp(logits, rows, tokens, maxima, targets + start, first, pair)
      if collective.worldSize > 1 { try collective.allReduceSum(pair, count: 2 * rows) }
      for row in 0..<rows where targets[start + row] >= 0 { sum += Double(log(pair[row])) - Double(pair[rows + row]) }
      guard records else { continue }
      pk_train_row_gradient(logits, rows, tokens, pair, targets + start, first, scale)
      Self.product(rows, width, tokens, logits, tokens, value(head), width, x.memory + start * width, width, add: adds)
      Self.product(
        tokens, width, rows, logits, tokens, transposeA: true, input, width, gradient(head), width, add: true)
    }
    return CrossEntropy(lossSum: sum, count: counted)
  }
}
