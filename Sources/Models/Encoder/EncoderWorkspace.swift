// SPDX-License-Identifier: Apache-2.0

import CKernels

/// What an encoder computes with: threads, and memory that one batch of texts leaves to the next. Belongs to one thread at a time.
final class EncoderWorkspace {
  /// Tokens that go through the layers together, so that weights are read once for many: more would leave the caches.
  static let batchTokens = 256

  let blocks: BlockRunner
  private var arena: (base: UnsafeMutablePointer<Float>, count: Int)?
  private var scores: (base: UnsafeMutablePointer<Float>, count: Int)?

  init(threads: Int) { blocks = BlockRunner(isa: pk_decode_isa_best(), threads: threads) }

  deinit {
    arena?.base.deallocate()
    scores?.base.deallocate()
  }

  /// `count` numbers of any value, until the next call.
  func floats(_ count: Int) -> UnsafeMutablePointer<Float> { Self.reserve(&arena, count) }

  /// As `floats`, for the scores of attention.
  func scores(_ count: Int) -> UnsafeMutablePointer<Float> { Self.reserve(&scores, count) }

  /// Neighbours in `counts` that together have at most `batchTokens`, or one alone that has more.
  static func batches(_ counts: [Int]) -> [Range<Int>] {
    var batches: [Range<Int>] = []
    var tokens = 0
    for (index, count) in counts.enumerated() {
      if let last = batches.last, tokens + count <= batchTokens {
        batches[batches.count - 1] = last.lowerBound..<index + 1
        tokens += count
      } else {
        batches.append(index..<index + 1)
        tokens = count
      }
    }
    return batches
  }

  private static func reserve(_ buffer: inout (base: UnsafeMutablePointer<Float>, count: Int)?, _ count: Int) -> UnsafeMutablePointer<Float> {
    if let buffer, buffer.count >= count { return buffer.base }
    buffer?.base.deallocate()
    let base = UnsafeMutablePointer<Float>.allocate(capacity: max(1, count))
    buffer = (base, count)
    return base
  }
}
