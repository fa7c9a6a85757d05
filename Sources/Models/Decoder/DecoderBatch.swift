// SPDX-License-Identifier: Apache-2.0

import CKernels

/// One step's rows. A row is one token of one sequence; rows of a sequence come in position order.
public struct DecoderBatch: Sendable {
  /// [rows] token ids, each inside the vocabulary.
  public var tokens: [Int32] = []
  /// [rows] positions, from 0.
  public var positions: [Int32] = []
  /// [rows] where the row's block list begins in `blocks`.
  public var tables: [Int64] = []
  /// Block lists of all sequences, one behind the other: entry i holds positions 16 i ..< 16 (i + 1).
  public var blocks: [Int32] = []
  /// Rows whose logits are wanted, ascending.
  public var outputs: [Int] = []

  /// The adapters of rows, in order; rows in none of them have none.
  public var adapters: [AdapterSpan] = []

  public init() {}

  /// Adds the tokens of one sequence that follow its first `computed` ones.
  /// - Parameters:
  ///   - logits: whose logits are wanted.
  ///   - adapter: of these rows.
  public mutating func append(
    tokens new: some Collection<Int32>, computed: Int, blocks list: [Int32], logits: Logits, adapter: LoRAAdapter? = nil
  ) {
    if let adapter, !new.isEmpty {
      let rows = tokens.count..<tokens.count + new.count
      if let last = adapters.last, last.adapter === adapter, last.rows.upperBound == rows.lowerBound {
        adapters[adapters.count - 1].rows = last.rows.lowerBound..<rows.upperBound
      } else {
        adapters.append(AdapterSpan(rows: rows, adapter: adapter))
      }
    }
    let table = Int64(blocks.count)
    blocks += list
    let count = new.count
    for (offset, token) in new.enumerated() {
      if offset >= count - logits.wanted { outputs.append(tokens.count) }
      tokens.append(token)
      positions.append(Int32(computed + offset))
      tables.append(table)
    }
  }

  /// Of which of a sequence's tokens logits are wanted.
  public enum Logits: Sendable, Equatable {
    case none, last, all
    case tail(Int)

    fileprivate var wanted: Int {
      switch self {
      case .none: 0
      case .last: 1
      case .all: 1 << 40
      case .tail(let count): count
      }
    }
  }

  /// [rows] how many positions a row attends to: its own and those before it.
  var lengths: [Int32] { positions.map { $0 + 1 } }

  /// [rows] where in the cache each row's key and value go, in positions from the cache's begin.
  /// - Precondition: every block in use is inside a cache of `blockCount` blocks.
  func slots(blockCount: Int) -> [Int64] {
    let size = Int(PK_KV_BLOCK)
    return positions.indices.map { row in
      let position = Int(positions[row])
      let block = blocks[Int(tables[row]) + position / size]
      precondition(block >= 0 && block < blockCount)
      return Int64(block) * Int64(size) + Int64(position % size)
    }
  }
}
