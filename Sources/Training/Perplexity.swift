// SPDX-License-Identifier: Apache-2.0

public import Core
public import Tensor

/// How well a model predicts held-out rows.
public enum Perplexity {
  /// Sum of negative log-likelihoods (nats) and number of predicted tokens over the first `rows` rows of `source`.
  /// Collective. perplexity = exp(result.mean).
  public static func measure(_ decoder: TrainableDecoder, _ source: BatchSource, rows: Int, context: any WorkContext) throws
    -> CrossEntropy
  {
    precondition(source.length <= decoder.configuration.sequenceLength)
    let batch = decoder.configuration.rowsPerStep
    var tokens = [Int32](repeating: 0, count: batch * (source.length + 1))
    var total = CrossEntropy(lossSum: 0, count: 0)
    let all = min(rows, source.rowCount)
    for start in stride(from: 0, to: all, by: batch) {
      try context.checkCancelled()
      let count = min(batch, all - start)
      tokens.withUnsafeMutableBufferPointer { buffer in
        for row in 0..<count { source.copy(row: start + row, buffer.baseAddress! + row * (source.length + 1)) }
      }
      let part = try decoder.loss(tokens, rows: count, length: source.length, train: false)
      total.lossSum += part.lossSum
      total.count += part.count
    }
    return total
  }
}
