// SPDX-License-Identifier: Apache-2.0

/// Makes a deletion vector of rows that come in ascending order, compressed as they come: besides the block of 65,536 rows that is being
/// filled, which is kept as 8 KiB of bits, there is never more than the vector itself.
public struct DeletionVectorBuilder: Sendable {
  private var vector = DeletionVector()
  private var key: UInt64 = 0
  private var words: [UInt64] = []
  private var count = 0
  private var last: UInt64?

  public init() {}

  /// - Parameter row: not less than the one before; below 2^63.
  public mutating func append(_ row: UInt64) {
    precondition(row < 1 << 63 && last.map { $0 <= row } ?? true, "rows come in ascending order, each below 2^63")
    if row == last { return }
    last = row
    if count > 0, row >> 16 != key { close() }
    if count == 0 {
      key = row >> 16
      words = [UInt64](repeating: 0, count: RowContainer.words)
    }
    words[Int(row & 0xFFFF) >> 6] |= 1 << (row & 63)
    count += 1
  }

  private mutating func close() {
    vector.blocks.append(DeletionVector.Block(key: key, rows: RowContainer.bitmap(words, count: count).smallest))
    (words, count) = ([], 0)
  }

  /// The rows so far; the builder is empty afterwards.
  public mutating func finish() -> DeletionVector {
    if count > 0 { close() }
    defer { self = DeletionVectorBuilder() }
    return vector
  }

  /// What the rows take in memory now: of the values, not of the arrays around them.
  public var byteCount: Int { vector.byteCount + 8 * words.count }
}

extension DeletionVector {
  /// What the rows take in memory: of the values, not of the arrays around them.
  public var byteCount: Int {
    blocks.reduce(0) { sum, block in
      switch block.rows {
      case .array(let values): sum + 2 * values.count
      case .bitmap(let words, _): sum + 8 * words.count
      case .runs(let runs): sum + 4 * runs.count
      }
    }
  }
}
