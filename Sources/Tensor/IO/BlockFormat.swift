// SPDX-License-Identifier: Apache-2.0

import CKernels

/// Quantized weights as GGUF files store them: blocks of numbers that share scales. Raw values are ggml's.
public enum BlockFormat: Int32, Sendable, CaseIterable {
  case q4_0 = 2
  case q4_1 = 3
  case q5_0 = 6
  case q5_1 = 7
  case q8_0 = 8
  case q4_K = 12
  case q5_K = 13
  case q6_K = 14
  case iq4_nl = 20

  /// Weights of a block; they lie one behind the other along the innermost axis.
  public var weightCount: Int { pk_block_weights(rawValue) }
  /// Bytes of a block.
  public var byteCount: Int { pk_block_bytes(rawValue) }

  /// Weights `first ..< first + count` of the blocks at `bytes`.
  func copyFloat32(_ bytes: UnsafeRawPointer, from first: Int, count: Int, into destination: UnsafeMutablePointer<Float>) {
    guard count > 0 else { return }
    let size = weightCount
    guard first % size != 0 || count % size != 0 else {
      return pk_dequantize_blocks(rawValue, bytes + first / size * byteCount, count / size, destination)
    }
    let blocks = first / size...(first + count - 1) / size
    let whole = UnsafeMutablePointer<Float>.allocate(capacity: blocks.count * size)
    defer { whole.deallocate() }
    pk_dequantize_blocks(rawValue, bytes + blocks.lowerBound * byteCount, blocks.count, whole)
    destination.update(from: whole + first % size, count: count)
  }
}
