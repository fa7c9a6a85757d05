// SPDX-License-Identifier: Apache-2.0

import CKernels
import Dispatch

/// What reading memory brings on this machine, as decoding reads weights: once, one byte behind the other.
public enum MemoryBandwidth {
  /// Far beyond the caches of processors.
  private static let bytes = 512 << 20
  private static let rounds = 4

  /// The best of some rounds over 512 MB, shared out among `threads`, in 10^9 bytes a second.
  public static func gigabytesPerSecond(threads: Int) -> Double {
    precondition(threads > 0)
    let words = bytes / 8
    let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: words)
    defer { memory.deallocate() }
    memory.initialize(repeating: 1, count: words)
    let source = Source(words: UnsafePointer(memory))
    var best = 0.0
    for _ in 0..<rounds {
      let began = ContinuousClock.now
      DispatchQueue.concurrentPerform(iterations: threads) { thread in
        let first = words * thread / threads
        precondition(pk_sum_words(source.words + first, words * (thread + 1) / threads - first) > 0)
      }
      let duration = (ContinuousClock.now - began).components
      best = max(best, Double(bytes) / (Double(duration.seconds) * 1e9 + Double(duration.attoseconds) * 1e-9))
    }
    return best
  }

  private struct Source: @unchecked Sendable {  // only read, while the memory lives
    let words: UnsafePointer<UInt64>
  }
}
