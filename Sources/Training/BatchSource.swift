// SPDX-License-Identifier: Apache-2.0

import Core

/// Packs documents (with BOS and EOS) into rows of `length` + 1 tokens, neighbours sharing one token so that every token but
/// the first is a target once an epoch. The order is a function of (seed, step) only.
///
/// Our tokenizers have one special token, `<|endoftext|>`, which begins and ends a text, as GPT-2 does (Radford et al., 2019):
/// between two documents it stands once. Twice would teach a model to end every text right after its first token.
public struct BatchSource: Sendable {
  public let length: Int
  public let rowCount: Int
  private let stream: [Int32]
  private let seed: UInt64
  private var epoch = -1
  private var order: [Int] = []

  /// - Throws: `invalidArgument` when the files do not hold one row.
  public init(_ files: [TokenShardFile], length: Int, seed: UInt64) throws {
    var stream: [Int32] = []
    for file in files {
      for index in 0..<file.documentCount {
        if let end = file.end, end == file.beginning, stream.last == end { stream.removeLast() }
        file.appendDocument(index, to: &stream)
      }
    }
    rowCount = (stream.count - 1) / length
    guard rowCount > 0 else {
      throw PlatformError(.invalidArgument, "\(stream.count) tokens do not fill one row of \(length) and its target")
    }
    self.stream = stream
    self.length = length
    self.seed = seed
  }

  /// Copies `rows` rows of step `step` (from 0) to `out`: [rows, length + 1]. Epoch e is a permutation drawn from (seed, e).
  public mutating func fill(step: Int, rows: Int, _ out: UnsafeMutablePointer<Int32>) {
    for row in 0..<rows {
      let place = step * rows + row
      if place / rowCount != epoch {
        epoch = place / rowCount
        var generator = SplitMix64(seed: SplitMix64.mix(seed) ^ UInt64(epoch))
        order = Array(0..<rowCount)
        for index in stride(from: rowCount - 1, to: 0, by: -1) {
          order.swapAt(index, Int(generator.next() % UInt64(index + 1)))
        }
      }
      copy(row: order[place % rowCount], out + row * (length + 1))
    }
  }

  /// Copies row `row` in file order: [length + 1].
  public func copy(row: Int, _ out: UnsafeMutablePointer<Int32>) {
    stream.withUnsafeBufferPointer { out.update(from: $0.baseAddress! + row * length, count: length + 1) }
  }
}
