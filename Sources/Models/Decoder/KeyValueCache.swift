// SPDX-License-Identifier: Apache-2.0

import CKernels
import Core

/// How keys and values are kept.
public enum CacheFormat: String, CaseIterable, Codable, Sendable {
  /// As they were computed.
  case f32
  /// Rounded to bf16: half the memory.
  case bf16
  /// 8 bits and one f32 scale for each token and head: about a quarter of the memory.
  case int8

  /// Bytes of one token's keys and values of `heads` heads, `size` numbers each.
  public func bytes(heads: Int, size: Int) -> Int {
    switch self {
    case .f32: heads * size * 8
    case .bf16: heads * size * 4
    case .int8: heads * (size * 2 + 8)
    }
  }

  /// What a name says: `auto` is nil.
  /// - Throws: `invalidArgument` PLT-5201.
  public static func named(_ name: String) throws -> CacheFormat? {
    if name == "auto" { return nil }
    guard let format = CacheFormat(rawValue: name) else {
      throw PlatformError(
        .invalidArgument, "keys and values cannot be kept as '\(name)'", hint: "Use auto, f32, bf16 or int8.", number: "PLT-5201")
    }
    return format
  }

  fileprivate var type: Int32 {
    switch self {
    case .f32: Int32(PK_KV_F32)
    case .bf16: Int32(PK_KV_BF16)
    case .int8: Int32(PK_KV_I8)
    }
  }
}

extension WeightPrecision {
  /// What suits weights like these: nothing is rounded beside weights that are not.
  public var cacheFormat: CacheFormat { self == .f32 ? .f32 : .bf16 }
}

/// The paged keys and values of all layers of a model, in blocks of 16 tokens.
final class KeyValueCache {
  /// Heads and numbers of each that one layer stores.
  struct Shape {
    var heads: Int
    var size: Int
  }

  let layers: [pk_kv_cache]
  private let memory: [UnsafeMutableRawPointer]

  /// - Throws: `resourceExhausted` when the size overflows.
  init(_ shapes: [Shape], blockCount: Int, format: CacheFormat) throws {
    let perToken = shapes.reduce(0) { $0 + format.bytes(heads: $1.heads, size: $1.size) }
    let (tokens, overflow) = blockCount.multipliedReportingOverflow(by: Int(PK_KV_BLOCK))
    let (total, tooLarge) = tokens.multipliedReportingOverflow(by: max(1, perToken))
    guard !overflow, !tooLarge, total < 1 << 46, blockCount < Int(Int32.max) else {
      throw PlatformError(.resourceExhausted, "a key/value cache of \(blockCount) blocks is too large")
    }
    var memory: [UnsafeMutableRawPointer] = []
    func bytes(_ count: Int) -> UnsafeMutableRawPointer {
      // Pages are touched when tokens come, not here.
      let buffer = UnsafeMutableRawPointer.allocate(byteCount: max(count, 64), alignment: 64)
      memory.append(buffer)
      return buffer
    }
    layers = shapes.map { shape in
      let numbers = tokens * shape.heads * shape.size * (format == .f32 ? 4 : format == .bf16 ? 2 : 1)
      func scales() -> UnsafeMutablePointer<Float>? {
        format == .int8 ? bytes(tokens * shape.heads * 4).bindMemory(to: Float.self, capacity: tokens * shape.heads) : nil
      }
      return pk_kv_cache(
        type: format.type, kv_heads: shape.heads, head: shape.size, keys: bytes(numbers), values: bytes(numbers), key_scales: scales(),
        value_scales: scales())
    }
    self.memory = memory
  }

  deinit {
    for buffer in memory { buffer.deallocate() }
  }

  /// Keys and values of a step's rows, [rows, heads, size] each, into their slots.
  func store(layer: Int, _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>, _ slots: [Int64], rows: Int) {
    withUnsafePointer(to: layers[layer]) { pk_kv_store($0, key, value, slots, rows) }
  }
}

extension BlockRunner {
  /// Attention of a step's rows over one layer of the cache. query, out: [rows, plan.heads, size].
  /// - Parameter lengths: tokens up to each row's own.
  func attend(
    _ cache: pk_kv_cache, _ plan: pk_attention_plan, _ batch: DecoderBatch, _ lengths: [Int32], _ query: UnsafePointer<Float>,
    _ out: UnsafeMutablePointer<Float>
  ) {
    let rows = lengths.count
    // A rank may have no heads.
    guard plan.heads > 0, cache.kv_heads > 0 else { return }
    // Of few rows the heads are shared out.
    let byHeads = rows < threads * 2
    let pieces = threads == 1 ? 1 : min(byHeads ? cache.kv_heads : rows, threads * 2)
    parallel(pieces) { [isa] piece in
      let whole = byHeads ? cache.kv_heads : rows
      let part = whole * piece / pieces..<whole * (piece + 1) / pieces
      let (row, head) = byHeads ? (0..<rows, part) : (part, 0..<cache.kv_heads)
      withUnsafePointer(to: cache) { cache in
        withUnsafePointer(to: plan) { plan in
          pk_paged_attention(
            isa, cache, plan, query, lengths, batch.tables, batch.blocks, out, row.lowerBound, row.upperBound, head.lowerBound, head.upperBound)
        }
      }
    }
  }
}
